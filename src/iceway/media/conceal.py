"""Packet loss concealment: a hole is filled with the last pitch period, over and over, fading out in 60 ms.

The idea of G.711 Appendix I, for codecs that know no concealment of their own: voice goes on for some
milliseconds as it was, and what goes on longer than that would sound like a machine.
"""

from __future__ import annotations

import numpy as np

from iceway.media.sound import RATE, Samples, silence

_HISTORY = RATE * 40 // 1000
_MIN_PERIOD = RATE // 400  # the pitch of a high voice
_MAX_PERIOD = RATE // 80  # and of a low one
_FADE = RATE * 60 // 1000
_OVERLAP = RATE * 4 // 1000


class Concealer:
    """Follows what was heard, fills what was not."""

    def __init__(self) -> None:
        self._history: Samples = silence(_HISTORY)
        self._cycle: Samples = silence(0)
        self._filled = 0

    def heard(self, samples: Samples) -> Samples:
        """Real sound again: its beginning is faded over from the filling, if there was any."""
        if self._filled:
            overlap = min(_OVERLAP, len(samples))
            bridge = self.fill(overlap)
            fade = np.linspace(0.0, 1.0, overlap, endpoint=False)
            mixed = np.rint(bridge * (1 - fade) + samples[:overlap] * fade).astype(np.int16)
            samples = np.concatenate([mixed, samples[overlap:]])
            self._filled = 0
        self._history = np.concatenate([self._history, samples])[-_HISTORY:]
        return samples

    def fill(self, count: int) -> Samples:
        """`count` samples in place of sound that did not come."""
        if self._filled >= _FADE:
            return silence(count)
        if not self._filled:
            self._cycle = self._history[-_pitch(self._history) :]
        indices = np.arange(self._filled, self._filled + count)
        loudness = np.clip(1.0 - indices / _FADE, 0.0, 1.0)
        self._filled += count
        return np.rint(self._cycle[indices % len(self._cycle)] * loudness).astype(np.int16)


def _pitch(history: Samples) -> int:
    """The lag at which the last sound best repeats itself, judged at 8 kHz."""
    low = history[:: RATE // 8000].astype(np.float64)
    step = RATE // 8000
    tail = low[len(low) - _MAX_PERIOD // step :]
    best, best_lag = -1.0, _MAX_PERIOD // step
    for lag in range(_MIN_PERIOD // step, _MAX_PERIOD // step + 1):
        before = low[len(low) - len(tail) - lag : len(low) - lag]
        norm = float(np.sqrt((before @ before) * (tail @ tail)))
        score = float(before @ tail) / norm if norm else 0.0
        if score > best:
            best, best_lag = score, lag
    return best_lag * step
