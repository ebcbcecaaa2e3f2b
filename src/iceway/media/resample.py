"""Sample rates by whole factors, in a stream: exactly as many samples out as the factor says, every time.

One windowed-sinc low-pass serves both ways; its delay is half its length, 1 ms at 48 kHz.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_TAPS_A_PHASE = 16


class Decimator:
    """From the high rate to the low one. Pieces must be multiples of the factor long."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._taps = _low_pass(factor)
        self._past = np.zeros(len(self._taps) - 1)

    def process(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        line = np.concatenate([self._past, samples])
        self._past = line[len(line) - len(self._past) :]
        return _to_int16(np.convolve(line, self._taps, "valid")[:: self._factor])


class Interpolator:
    """From the low rate to the high one."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        # Row p makes output sample p of each input sample (polyphase form of the same filter).
        self._phases = (_low_pass(factor) * factor).reshape(-1, factor).T
        self._past = np.zeros(self._phases.shape[1] - 1)

    def process(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        if not len(samples):
            return samples
        line = np.concatenate([self._past, samples])
        self._past = line[len(line) - len(self._past) :]
        rows = [np.convolve(line, phase, "valid") for phase in self._phases]
        return _to_int16(np.stack(rows, axis=1).reshape(-1))


def _low_pass(factor: int) -> npt.NDArray[np.float64]:
    """A low-pass a little under the low rate's Nyquist frequency, unit gain, `factor` × 16 taps."""
    length = factor * _TAPS_A_PHASE
    offset = np.arange(length) - (length - 1) / 2
    taps: npt.NDArray[np.float64] = np.sinc(offset * 0.92 / factor) * np.blackman(length)
    taps /= taps.sum()
    return taps


def _to_int16(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
