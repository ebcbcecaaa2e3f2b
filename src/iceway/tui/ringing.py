"""A telephone that rings, beeps while somebody is talked with, and says that it rings at the other end.

It plays on loudspeakers of its own. Without any, or where they fail, the terminal's bell rings; there is no bell for the
rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from iceway.core.errors import IcewayError

if TYPE_CHECKING:
    from iceway.media.files import Sink
    from iceway.media.sound import Samples


class Tone(Enum):
    """Its notes (Hz), for how long and how often (seconds), and how loud (of full scale)."""

    RING = (587.3, 740.0), 1.0, 4.0, 0.2
    BEEP = (440.0, 440.0), 0.15, 4.0, 0.06
    RINGBACK = (425.0, 425.0), 1.0, 5.0, 0.06


BELL = 4.0  # seconds from bell to bell
_WARBLE = 0.06  # seconds from note to note
_EDGE = 0.005  # seconds in which a tone swells and dies, so that it does not click


def sounds(tone: Tone, frame: int) -> Samples:
    """The 20 ms that are due `frame` frames after it began."""
    import numpy as np

    from iceway.media.sound import FRAME, RATE

    notes, length, period, level = tone.value
    within = ((frame * FRAME + np.arange(FRAME)) / RATE) % period
    note = np.where((within // _WARBLE) % 2 == 0, *notes)
    swell = np.clip(np.minimum(within, length - within) / _EDGE, 0.0, 1.0)
    samples: Samples = np.rint(np.sin(2 * np.pi * note * within) * swell * level * 32767).astype(np.int16)
    return samples


class Ringer:
    """Told what to sound, or None, as often as one likes."""

    def __init__(self, speakers: Callable[[], Sink] | None, bell: Callable[[], None]) -> None:
        self._speakers = speakers
        self._bell = bell
        self._tone: Tone | None = None
        self._task: asyncio.Task[None] | None = None

    def sound(self, tone: Tone | None) -> None:
        """Sound like this until told otherwise."""
        if tone is self._tone:
            return
        self._tone = tone
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._play(tone)) if tone is not None else None

    async def _play(self, tone: Tone) -> None:
        sink = self._open()
        if sink is None:
            while tone is not Tone.RINGBACK:
                self._bell()
                await asyncio.sleep(BELL)
            return
        from iceway.media.sound import FRAME_DURATION

        loop = asyncio.get_running_loop()
        began, frame = loop.time(), 0
        try:
            while True:
                sink.write(sounds(tone, frame))
                frame += 1
                await asyncio.sleep(began + frame * FRAME_DURATION - loop.time())
        finally:
            sink.close()

    def _open(self) -> Sink | None:
        try:
            return self._speakers() if self._speakers is not None else None
        except IcewayError:
            return None
