"""Sound between two clocks that are never quite the same: a device's and the session's.

One side puts, the other takes, each from its own thread. Nothing is given before `target` samples are there, and again
after the ring ran dry, so that neither side's unevenness is heard. A giver that is too slow makes the last frame be
heard twice, one too fast makes the oldest be left out; either costs a frame at a time and is counted. What piled up
while the taker stood still is left out at once.
"""

from __future__ import annotations

import threading

import numpy as np

from iceway.media.sound import FRAME, RATE, Samples, silence

TARGET = 2 * FRAME  # 40 ms
_LIMIT = 10 * FRAME
_WINDOW = RATE  # taken samples after which it is asked whether more lie here than ever were needed


class SoundRing:
    """`repeated` and `dropped` count frames of 20 ms; `dry` how often it ran empty for longer than one."""

    def __init__(self, target: int = TARGET, limit: int = _LIMIT) -> None:
        self.repeated = 0
        self.dropped = 0
        self.dry = 0
        self._target = target
        self._limit = limit
        self._lock = threading.Lock()
        self._held: Samples = silence(0)
        self._last: Samples = silence(0)
        self._flowing = False
        self._repeats = False
        self._least = limit
        self._since = 0

    def __len__(self) -> int:
        """Samples that lie here."""
        return len(self._held)

    def put(self, samples: Samples) -> None:
        with self._lock:
            self._held = np.concatenate([self._held, samples])
            if not self._flowing:  # nobody has begun to listen
                self._held = self._held[-max(self._target, len(samples)) :]
            while len(self._held) > self._limit:
                self._drop()
                self._start_window()  # what was needed before the taker stood still tells nothing

    def take(self, count: int) -> Samples:
        """The next samples, silence where there are none."""
        with self._lock:
            if not self._flowing:
                if len(self._held) < self._target:
                    return silence(count)
                self._flowing = True
                self._start_window()
            if len(self._held) < count:
                return self._gap(count)
            self._repeats = False
            self._least = min(self._least, len(self._held) - count)
            self._since += count
            if self._since >= _WINDOW:
                for _ in range((self._least - self._target) // FRAME):
                    self._drop()
                self._start_window()
            taken, self._held = self._held[:count], self._held[count:]
            self._last = taken
            return taken

    def _gap(self, count: int) -> Samples:
        """What was heard last, once more; after that silence, until there is enough again."""
        if not self._repeats and len(self._last) >= count:
            self._repeats = True
            self.repeated += 1
            return self._last[-count:]
        self.dry += 1
        self._flowing = self._repeats = False
        rest = np.concatenate([self._held, silence(count)])[:count]
        self._held = silence(0)
        return rest

    def _drop(self) -> None:
        self._held = self._held[FRAME:]
        self.dropped += 1

    def _start_window(self) -> None:
        self._least = self._limit
        self._since = 0
