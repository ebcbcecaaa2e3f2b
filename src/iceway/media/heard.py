"""How much of what was said was heard: two recordings compared, one number for the whole of it.

The recording that was played is cut into pieces of 160 ms, and each piece that holds sound is looked for in
what was recorded by cross-correlation of the speech band: near where the piece before it was found, or farther
off if it is alike enough. Within a piece that is found, each block of 10 ms that is alike at that very place
arrived. So coding and a jitter buffer that shifts time do not count as loss; gaps, noise and somebody else's
voice do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from iceway.media.files import load
from iceway.media.sound import RATE, Samples

Signal = npt.NDArray[np.float64]

_RATE = 8000
_PIECE = _RATE * 160 // 1000
_BLOCK = _RATE * 10 // 1000
_NEAR = _RATE * 300 // 1000  # how far a piece may have moved against the one before it
_FAR = _RATE * 10  # and where it is looked for after that
_FOUND_NEAR = 0.5
_FOUND_FAR = 0.75  # other voices reach this nowhere, in a whole recording to choose from
_BLOCK_ARRIVED = 0.6
_SILENT = 0.05  # pieces and blocks quieter than this share of the loudest piece say nothing
_BAND = (250.0, 2500.0)  # Hz: where voice has its strength and codecs keep the wave's shape


@dataclass(frozen=True, slots=True)
class Heard:
    """`share` of the recording's sound that arrived (0–1), the mean `correlation` of its pieces (0–1),
    and the `delay` in seconds from the start of what was heard to the start of what was said (negative if its
    beginning is missing).
    """

    share: float
    correlation: float
    delay: float


def compare(said: Samples | Path | str, heard: Samples | Path | str) -> Heard:
    """Compare what was said with what was heard; arrays are 48 kHz mono, paths are recordings."""
    original = _band(said if isinstance(said, np.ndarray) else load(said))
    recorded = _band(heard if isinstance(heard, np.ndarray) else load(heard))
    if not len(original) or not recorded.any():
        return Heard(0.0, 0.0, 0.0)
    shift = delay = _whole_delay(original, recorded)
    # Room at both ends, so that every piece can be compared at every place.
    room = len(original)
    padded = np.concatenate([np.zeros(room), recorded, np.zeros(room)])
    starts = range(0, len(original) - _PIECE + 1, _PIECE)
    loudness = [_loudness(original[start : start + _PIECE]) for start in starts]
    floor = _SILENT * max(loudness, default=0.0)
    if not floor:
        return Heard(0.0, 0.0, 0.0)
    scores, blocks, arrived = [], 0, 0
    for start, loud in zip(starts, loudness, strict=True):
        if loud < floor:
            continue
        piece = original[start : start + _PIECE]
        score, place = _find(piece, padded, start + shift + room)
        scores.append(score)
        total, good = _blocks(piece, padded[place : place + _PIECE], floor)
        blocks += total
        if score > _FOUND_NEAR:
            shift = place - start - room
            arrived += good
    return Heard(arrived / blocks, float(np.mean(scores)), delay / _RATE)


def _band(samples: Samples) -> Signal:
    """The speech band at 8 kHz, by cutting the spectrum."""
    if not len(samples):
        return np.zeros(0)
    spectrum = np.fft.rfft(samples.astype(np.float64))
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(frequencies < _BAND[0]) | (frequencies > _BAND[1])] = 0
    # Nothing is left above 4 kHz, so every sixth sample holds it all.
    filtered: Signal = np.fft.irfft(spectrum, len(samples))[:: RATE // _RATE]
    return filtered


def _whole_delay(original: Signal, recorded: Signal) -> int:
    """The shift at which the two agree best. The spectrum is whitened, so that pitch does not mislead."""
    size = 1 << (len(original) + len(recorded) - 1).bit_length()
    cross = np.fft.rfft(recorded, size) * np.conj(np.fft.rfft(original, size))
    cross /= np.sqrt(np.abs(cross)) + 1e-9
    correlation = np.fft.irfft(cross, size)
    shift = int(np.argmax(correlation))
    return shift if shift < len(recorded) else shift - size


def _correlation(piece: Signal, recorded: Signal) -> Signal:
    """The normalised correlation (0–1) of the piece with every place of the recording."""
    size = 1 << (len(recorded) - 1).bit_length()  # a fast length; zeros behind keep it from wrapping
    products = np.fft.irfft(np.fft.rfft(recorded, size) * np.conj(np.fft.rfft(piece, size)), size)
    energy = np.concatenate([[0.0], np.cumsum(recorded**2)])
    local = energy[len(piece) :] - energy[: -len(piece)]
    own = float(piece @ piece)
    # A place much quieter than the piece is no match, however alike what little is there.
    match: Signal = products[: len(local)] / np.sqrt(own * np.maximum(local, own * 1e-3))
    return np.clip(match, 0.0, 1.0)


def _find(piece: Signal, recorded: Signal, expected: int) -> tuple[float, int]:
    """How well and where a piece was found: near where it is expected, else farther off."""
    near = _best(piece, recorded, expected, _NEAR)
    if near[0] > _FOUND_NEAR:
        return near
    far = _best(piece, recorded, expected, _FAR)
    return far if far[0] > _FOUND_FAR else near


def _best(piece: Signal, recorded: Signal, expected: int, reach: int) -> tuple[float, int]:
    last = len(recorded) - len(piece)
    low, high = (min(max(0, expected + way), last) for way in (-reach, reach))
    match = _correlation(piece, recorded[low : high + len(piece)])
    best = int(np.argmax(match))
    return float(match[best]), low + best


def _blocks(piece: Signal, found: Signal, floor: float) -> tuple[int, int]:
    """How many blocks of a piece hold sound, and how many of those are in what was found for it."""
    total = good = 0
    for at in range(0, len(piece), _BLOCK):
        said, heard = piece[at : at + _BLOCK], found[at : at + _BLOCK]
        if _loudness(said) < floor:
            continue
        total += 1
        own, there = float(said @ said), float(heard @ heard)
        good += float(said @ heard) > _BLOCK_ARRIVED * (own * max(there, own * 1e-3)) ** 0.5
    return total, good


def _loudness(samples: Signal) -> float:
    return float(np.sqrt(np.mean(samples**2)))
