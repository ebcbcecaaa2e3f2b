"""Sound and pictures that a program makes and takes, frame by frame, from its own coroutines: what a voice bot needs.

    frames = AudioFrames(rate=16_000)
    call = await me.call("sip:bob@example.test", play=frames.source, record=frames.sink)
    async for samples in frames:                # 20 ms each, as they are heard
        await frames.write(samples)             # waits while `ahead` seconds are queued already

The call's clock takes and gives a frame each 20 ms and never waits. So a program that writes too fast waits in `write`;
one too slow is heard as silence (`missed` counts the frames); one that reads too slowly loses the oldest of what was
heard (`dropped`). All of it in one event loop, that of the client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from iceway.core.errors import IcewayError, UsageError
from iceway.media.picture import Picture, plain
from iceway.media.resample import Decimator, Interpolator
from iceway.media.sound import FRAME, FRAME_DURATION, RATE, Samples, silence

if TYPE_CHECKING:
    from iceway.client.run import LiveCall

RATES = (8_000, 16_000, 24_000, 48_000)

T = TypeVar("T")


class FramesClosed(IcewayError):
    """The call took its last frame: nothing that is written is heard or seen any more."""


class AudioFrames:
    """Sound in both directions, 16 bits mono at `rate`. `source` and `sink` are what a call is given.

    `ahead`: seconds that may be written before `write` waits; `behind`: seconds of what was heard that are kept for a
    program that does not read.
    """

    def __init__(self, rate: int = RATE, *, ahead: float = 0.2, behind: float = 2.0) -> None:
        if rate not in RATES:
            raise UsageError(f"rate: {rate} is none of {', '.join(map(str, RATES))}")
        self.rate = rate
        self._up = Interpolator(RATE // rate) if rate != RATE else None
        self._down = Decimator(RATE // rate) if rate != RATE else None
        self._out = _Outbound[Samples](max(1, round(ahead / FRAME_DURATION)))
        self._in = _Inbound[Samples](max(1, round(behind / FRAME_DURATION)))
        self._rest = silence(0)
        self._began = False
        self.missed = 0
        self.source = _AudioSource(self)
        self.sink = _AudioSink(self)

    @classmethod
    def of(cls, call: LiveCall) -> AudioFrames:
        """The frames that a call was given. Raises UsageError if it was given something else."""
        source = call.media.source if call.media is not None else None
        if not isinstance(source, _AudioSource):
            raise UsageError(f"the call with {call.peer} was not given AudioFrames")
        return source.frames

    @property
    def dropped(self) -> int:
        """Frames that were heard and never read."""
        return self._in.dropped

    @property
    def queued(self) -> float:
        """Seconds that were written and are not sent yet."""
        return len(self._out.queue) * FRAME_DURATION

    async def write(self, samples: Samples) -> None:
        """Say this next, whatever its length; back when no more than `ahead` is left to say. Raises FramesClosed."""
        if samples.dtype != np.int16 or samples.ndim != 1:
            raise UsageError(f"sound is one row of int16, not {samples.ndim} of {samples.dtype}")
        line = np.concatenate([self._rest, self._up.process(samples) if self._up else samples])
        whole = len(line) - len(line) % FRAME
        self._rest = line[whole:]
        for at in range(0, whole, FRAME):
            await self._out.put(line[at : at + FRAME])

    async def read(self) -> Samples | None:
        """The next 20 ms that were heard; None once the call is over and all of it was read."""
        return await self._in.get()

    async def __aiter__(self) -> AsyncIterator[Samples]:
        while (samples := await self.read()) is not None:
            yield samples

    async def said(self) -> None:
        """Wait until everything that was written is sent, or the call is over."""
        if len(self._rest):
            rest, self._rest = self._rest, silence(0)
            await self._out.put(np.concatenate([rest, silence(FRAME - len(rest))]))
        await self._out.emptied()

    def interrupt(self) -> None:
        """Forget what was written and is not sent yet: whoever talked over us is listened to."""
        self._rest = silence(0)
        self._out.clear()

    def finish(self) -> None:
        """Nothing more will be written: once all is sent, the call has `played`."""
        self._out.finished = True

    def _next(self) -> Samples | None:
        frame = self._out.get()
        if frame is not None:
            self._began = True
            return frame
        if self._out.finished:
            return None
        self.missed += self._began
        return silence()

    def _heard(self, samples: Samples) -> None:
        self._in.put(self._down.process(samples) if self._down else samples)


class PictureFrames:
    """Pictures in both directions. `source` and `sink` are what `Pictures` is given.

    A picture is shown until the next one was written; before the first one it is black. `ahead`: pictures that may be
    written before `write` waits; `behind`: pictures that are kept for a program that does not read.
    """

    def __init__(self, *, ahead: int = 2, behind: int = 4, size: tuple[int, int] = (320, 180)) -> None:
        self._out = _Outbound[Picture](max(1, ahead))
        self._in = _Inbound[tuple[Picture, float]](max(1, behind))
        self._shown = plain(*size)
        self.source = _PictureSource(self)
        self.sink = _PictureSink(self)

    @property
    def dropped(self) -> int:
        """Pictures that came and were never read."""
        return self._in.dropped

    async def write(self, picture: Picture) -> None:
        """Show this next; back when no more than `ahead` pictures wait for their turn. Raises FramesClosed."""
        await self._out.put(picture)

    async def read(self) -> tuple[Picture, float] | None:
        """The next picture that came, and its time in seconds since the first; None once the stream is over."""
        return await self._in.get()

    async def __aiter__(self) -> AsyncIterator[tuple[Picture, float]]:
        while (seen := await self.read()) is not None:
            yield seen

    def finish(self) -> None:
        """Nothing more will be written: the last picture stays."""
        self._out.finished = True

    def _next(self) -> Picture | None:
        picture = self._out.get()
        if picture is None:
            return None if self._out.finished else self._shown
        self._shown = picture
        return picture


class _Outbound(Generic[T]):
    """From the program to the call: whoever puts waits while it is full."""

    def __init__(self, limit: int) -> None:
        self.queue: deque[T] = deque()
        self.finished = self.closed = False
        self._limit = limit
        self._moved = asyncio.Event()

    async def put(self, item: T) -> None:
        if self.finished and not self.closed:
            raise UsageError("nothing can be written after finish()")
        while len(self.queue) >= self._limit and not self.closed:
            self._moved.clear()
            await self._moved.wait()
        if self.closed:
            raise FramesClosed("the call takes no more frames: it is over")
        self.queue.append(item)

    async def emptied(self) -> None:
        while self.queue and not self.closed:
            self._moved.clear()
            await self._moved.wait()

    def get(self) -> T | None:
        self._moved.set()
        return self.queue.popleft() if self.queue else None

    def clear(self) -> None:
        self.queue.clear()
        self._moved.set()

    def close(self) -> None:
        self.closed = True
        self.clear()


class _Inbound(Generic[T]):
    """From the call to the program: the oldest gives way when it is full."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._queue: deque[T] = deque(maxlen=limit)
        self._closed = False
        self._moved = asyncio.Event()

    def put(self, item: T) -> None:
        if not self._closed:
            self.dropped += len(self._queue) == self._queue.maxlen
            self._queue.append(item)
            self._moved.set()

    async def get(self) -> T | None:
        while not self._queue and not self._closed:
            self._moved.clear()
            await self._moved.wait()
        return self._queue.popleft() if self._queue else None

    def close(self) -> None:
        self._closed = True
        self._moved.set()


class _AudioSource:
    def __init__(self, frames: AudioFrames) -> None:
        self.frames = frames

    def read(self) -> Samples | None:
        return self.frames._next()

    def close(self) -> None:
        self.frames._out.close()


class _AudioSink:
    def __init__(self, frames: AudioFrames) -> None:
        self._frames = frames

    def write(self, samples: Samples) -> None:
        self._frames._heard(samples)

    def close(self) -> None:
        """The call is over, for what is said as well."""
        self._frames._in.close()
        self._frames._out.close()


class _PictureSource:
    def __init__(self, frames: PictureFrames) -> None:
        self._frames = frames

    def read(self) -> Picture | None:
        return self._frames._next()

    def close(self) -> None:
        self._frames._out.close()


class _PictureSink:
    def __init__(self, frames: PictureFrames) -> None:
        self._frames = frames

    def show(self, picture: Picture, at: float) -> None:
        self._frames._in.put((picture, at))

    def close(self) -> None:
        """The call is over, for what is said as well."""
        self._frames._in.close()
        self._frames._out.close()
