"""What a call plays: one thing while it rings, another once somebody has picked up."""

from __future__ import annotations

from iceway.media.codecs import Samples, silence
from iceway.media.files import Source


class CallSource:
    """Plays `early` (ringback, an announcement) until `answered` is set, then `main` from its beginning."""

    def __init__(self, early: Source, main: Source) -> None:
        self.answered = False
        self._early = early
        self._main = main

    def read(self) -> Samples | None:
        if self.answered:
            return self._main.read()
        frame = self._early.read()
        return silence() if frame is None else frame
