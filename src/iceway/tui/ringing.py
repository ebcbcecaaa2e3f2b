"""A telephone that rings: two notes that warble for a second, then three of silence; a short soft beep while we talk.

It plays on loudspeakers of its own while something rings. Without any, or where they fail, it is the terminal's bell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from iceway.core.errors import IcewayError

if TYPE_CHECKING:
    from iceway.media.files import Sink
    from iceway.media.sound import Samples

NOTES = (587.3, 740.0)  # Hz
BEEP = 440.0
PERIOD = 4.0  # seconds from ring to ring
_RING, _WARBLE, _SHORT = 1.0, 0.06, 0.15  # seconds
_LOUD, _SOFT = 0.2, 0.06  # of full scale
_EDGE = 0.005  # seconds in which a tone swells and dies, so that it does not click


def ringing(frame: int, *, softly: bool) -> Samples:
    """The 20 ms that are due `frame` frames after it began to ring."""
    from iceway.media.sound import FRAME, RATE

    at = (frame * FRAME + np.arange(FRAME)) / RATE
    within = at % PERIOD
    length, level = (_SHORT, _SOFT) if softly else (_RING, _LOUD)
    note = np.full(FRAME, BEEP) if softly else np.where((within // _WARBLE) % 2 == 0, *NOTES)
    swell = np.clip(np.minimum(within, length - within) / _EDGE, 0.0, 1.0)
    tone: Samples = np.rint(np.sin(2 * np.pi * note * within) * swell * level * 32767).astype(np.int16)
    return tone


class Ringer:
    """Told `ring` and `stop` as often as one likes."""

    def __init__(self, speakers: Callable[[], Sink] | None, bell: Callable[[], None]) -> None:
        self._speakers = speakers
        self._bell = bell
        self._task: asyncio.Task[None] | None = None
        self._softly = False

    def ring(self, *, softly: bool) -> None:
        """Ring until told to stop; `softly` while somebody is talked with."""
        self._softly = softly
        if self._task is None:
            self._task = asyncio.create_task(self._play())

    def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _play(self) -> None:
        sink = self._open()
        if sink is None:
            while True:
                self._bell()
                await asyncio.sleep(PERIOD)
        from iceway.media.sound import FRAME_DURATION

        loop = asyncio.get_running_loop()
        began, frame = loop.time(), 0
        try:
            while True:
                sink.write(ringing(frame, softly=self._softly))
                frame += 1
                await asyncio.sleep(began + frame * FRAME_DURATION - loop.time())
        finally:
            sink.close()

    def _open(self) -> Sink | None:
        try:
            return self._speakers() if self._speakers is not None else None
        except IcewayError:
            return None
