"""The jitter buffer: packets in as they come, sound out by the clock, holes filled.

It plays along the RTP timestamps, not packet by packet, so packets of any length, lost packets and pauses of
the sender (no packets, timestamps that jump) are one case: a gap. A gap is played as concealment. When there
is nothing to play at all, concealment is played on credit: `_credit` samples too many were heard. If the
packets of that time were lost, the credit is used up against the gap that shows, and time stays true; if they
come after all, the credit stays as delay, which is how the buffer grows under jitter. It shrinks again when
it has held more than it needed for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from iceway.core.errors import ParseError
from iceway.media.sound import FRAME, RATE, Samples, silence

START_DELAY = 2 * FRAME  # heard before the first sample is played
MAX_DELAY = 10 * FRAME  # 200 ms: what adaptation may add up to
_TOO_MUCH = 15 * FRAME  # more than this waiting is not jitter: somebody stood still, so catch up
MAX_HELD = 50  # packets
_MAX_SOUNDLESS = 512  # packets; ten seconds of one telephone key
_SPARE = 3 * FRAME  # held at the least moment of a window, this much is too much
_WINDOW = 150  # frames between two looks at whether to shrink
_REMEMBERED = 64  # frames that the usual delay is an average of
_MAX_GAP = 2 * RATE  # a timestamp jump further than this is a new start


class Fate(Enum):
    """What became of a packet on arrival."""

    KEPT = "kept"
    LATE = "late"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class _Held:
    timestamp: int
    payload_type: int
    payload: bytes


class JitterBuffer:
    """One stream's packets. `decode` turns (payload type, payload) into samples or raises ParseError;
    `conceal` gives as many samples as it is asked for, in place of what did not come.

    Sequence numbers and timestamps come in unwrapped, timestamps in samples at 48 kHz.
    """

    def __init__(self, decode: Callable[[int, bytes], Samples], conceal: Callable[[int], Samples]) -> None:
        self.lost = 0
        """Packets never played: not there when their time came, or not decodable."""
        self.late = 0
        self.duplicate = 0
        self.undecodable = 0
        self.played = 0
        """Packets decoded and played."""
        self.discarded = 0
        """Packets that came and were thrown away unplayed: too late, or too many after a standstill."""
        self.samples = 0
        """Given out, and of these:"""
        self.concealed = 0
        """made up, because nothing was there to be played."""
        self._decode = decode
        self._conceal = conceal
        self._held: dict[int, _Held] = {}
        self._soundless: set[int] = set()
        self._next_sequence: int | None = None
        self._next_timestamp = 0
        self._playing = False
        self._ready: Samples = silence(0)
        self._credit = 0
        self._least = MAX_HELD * FRAME
        self._looks = 0
        self._grow = False
        self._usual = START_DELAY / RATE

    @property
    def delay(self) -> float:
        """Seconds of sound waiting to be played."""
        return self._waiting() / RATE

    @property
    def usual_delay(self) -> float:
        """Seconds that a sample waits here, on the average of late."""
        return max(0.0, self._usual - FRAME / RATE / 2)

    def put(self, sequence: int, timestamp: int, payload_type: int, payload: bytes) -> Fate:
        if self._next_sequence is None or (not self._playing and sequence < self._next_sequence):
            self._next_sequence = sequence
            self._next_timestamp = timestamp
        if sequence in self._held:
            self.duplicate += 1
            return Fate.DUPLICATE
        if sequence < self._next_sequence:
            self.late += 1
            self.discarded += 1
            # Had we played a frame later it would have been in time: so do, as far as that may go.
            self._grow = self._waiting() < MAX_DELAY
            return Fate.LATE
        self._held[sequence] = _Held(timestamp, payload_type, payload)
        if len(self._held) > MAX_HELD:
            self._skip_to_newest()
        return Fate.KEPT

    def put_soundless(self, sequence: int) -> None:
        """A packet that came and is not for playing: it is not lost."""
        if self._next_sequence is not None and sequence >= self._next_sequence:
            if len(self._soundless) >= _MAX_SOUNDLESS:
                self._soundless.remove(min(self._soundless))
            self._soundless.add(sequence)

    def get(self) -> Samples:
        """The next `FRAME` samples to be heard."""
        self._playing = True
        self._usual += (self.delay - self._usual) / _REMEMBERED
        self._adapt()
        while len(self._ready) < FRAME:
            self._extend()
        frame, self._ready = self._ready[:FRAME], self._ready[FRAME:]
        self.samples += FRAME
        return frame

    def restart(self) -> None:
        """Forget the stream's numbering (another SSRC took over); what is ready is still played."""
        self._held.clear()
        self._soundless.clear()
        self._next_sequence = None
        self._playing = False
        self._credit = 0

    def _extend(self) -> None:
        """Add to `_ready` the next packet, or the filling of a gap, or what bridges having nothing."""
        wanted = FRAME - len(self._ready)
        if not self._held or self._grow:
            self._grow = False
            self._make_up(wanted)
            self._credit += wanted
            return
        sequence = min(self._held)
        held = self._held[sequence]
        gap = held.timestamp - self._next_timestamp
        if not 0 <= gap <= _MAX_GAP:
            gap, self._next_timestamp = 0, held.timestamp
        if gap > self._credit:
            missing = min(gap - self._credit, wanted)
            self._make_up(missing)
            self._next_timestamp += missing
            return
        self._credit = 0
        self._play(sequence, held)

    def _play(self, sequence: int, held: _Held) -> None:
        del self._held[sequence]
        self.lost += self._missing_before(sequence)
        self._next_sequence = sequence + 1
        try:
            samples = self._decode(held.payload_type, held.payload)
        except ParseError:
            self.lost += 1
            self.undecodable += 1
            self._next_timestamp = held.timestamp + FRAME
            self._make_up(FRAME)
            return
        self.played += 1
        self._next_timestamp = held.timestamp + len(samples)
        self._append(samples)

    def _adapt(self) -> None:
        """Play two packets in the time of one when, for a whole window, there was always some to spare."""
        waiting = self._waiting()
        if waiting > _TOO_MUCH:
            self._skip_to_newest()
        self._least = min(self._least, waiting)
        self._looks += 1
        if self._looks < _WINDOW:
            return
        first = self._next_sequence
        if self._least > _SPARE and first is not None and {first, first + 1} <= self._held.keys():
            self._play(first, self._held[first])
            self._play(first + 1, self._held[first + 1])
            self._ready = _shortened(self._ready, FRAME)
        self._least, self._looks = MAX_HELD * FRAME, 0

    def _skip_to_newest(self) -> None:
        """Leave only what may wait: after a stop, hearing now matters more than hearing all."""
        newest = self._held[max(self._held)].timestamp
        for sequence in sorted(self._held)[:-1]:
            if self._held[sequence].timestamp < newest - MAX_DELAY or len(self._held) > MAX_HELD:
                del self._held[sequence]
                self.discarded += 1
        oldest = min(self._held)
        self.lost += self._missing_before(oldest)
        self._next_sequence = oldest
        self._next_timestamp = self._held[oldest].timestamp
        self._credit = 0

    def _missing_before(self, sequence: int) -> int:
        """How many packets since the last one played never came."""
        assert self._next_sequence is not None
        passed = {one for one in self._soundless if one < sequence}
        self._soundless -= passed
        return sequence - self._next_sequence - len(passed)

    def _waiting(self) -> int:
        if not self._held:
            return len(self._ready)
        newest = self._held[max(self._held)].timestamp
        ahead = newest + FRAME - self._next_timestamp - self._credit
        return len(self._ready) + min(max(0, ahead), MAX_HELD * FRAME)

    def _make_up(self, count: int) -> None:
        self.concealed += count
        self._append(self._conceal(count))

    def _append(self, samples: Samples) -> None:
        self._ready = np.concatenate([self._ready, samples])


def _shortened(samples: Samples, by: int) -> Samples:
    """The same sound `by` samples shorter, its two ends faded into each other where it was cut."""
    keep = len(samples) - by
    if keep <= 0:
        return silence(0)
    fade = np.linspace(0.0, 1.0, keep)
    mixed = samples[:keep] * (1 - fade) + samples[by:] * fade
    return np.rint(mixed).astype(np.int16)
