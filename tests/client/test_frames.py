"""Frames of a program: the test is the call's clock, and the program a coroutine beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from iceway.client.frames import AudioFrames, FramesClosed, PictureFrames
from iceway.core.errors import UsageError
from iceway.media.files import ToneSource
from iceway.media.pattern import numbered, read
from iceway.media.picture import Picture, luma, size
from iceway.media.sound import FRAME, RATE, Samples, silence


def counted(count: int, first: int = 1) -> Samples:
    return np.arange(first, first + count).astype(np.int16)


async def goes_on() -> None:
    """Let the program do whatever it can without the clock."""
    for _ in range(20):
        await asyncio.sleep(0)


def run(scene: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scene

    asyncio.run(bounded())


def test_what_is_written_is_sent_in_frames_whatever_the_pieces() -> None:
    async def scene() -> None:
        frames = AudioFrames(ahead=1.0)
        for piece in (100, 2000, 1, 1739):
            await frames.write(counted(piece, 1))
        assert frames.queued == pytest.approx(0.08)
        sent = [frames.source.read() for _ in range(4)]
        expected = np.concatenate([counted(piece, 1) for piece in (100, 2000, 1, 1739)])
        assert np.array_equal(np.concatenate([frame for frame in sent if frame is not None]), expected)

    run(scene())


def test_who_writes_too_fast_waits() -> None:
    async def scene() -> None:
        frames = AudioFrames(ahead=0.1)
        writing = asyncio.ensure_future(frames.write(counted(8 * FRAME)))
        await goes_on()
        assert not writing.done()
        assert frames.queued == pytest.approx(0.1)
        for _ in range(2):
            frames.source.read()
            await goes_on()
        assert not writing.done()
        frames.source.read()
        await writing
        assert frames.missed == 0

    run(scene())


def test_who_writes_too_slowly_is_silent_and_that_is_counted() -> None:
    async def scene() -> None:
        frames = AudioFrames()
        assert not frames.source.read().any()  # type: ignore[union-attr]
        assert frames.missed == 0, "nobody has spoken yet"
        await frames.write(counted(FRAME))
        frames.source.read()
        assert not frames.source.read().any()  # type: ignore[union-attr]
        assert frames.missed == 1

    run(scene())


def test_who_reads_too_slowly_loses_the_oldest() -> None:
    async def scene() -> None:
        frames = AudioFrames(behind=0.1)
        for value in range(8):
            frames.sink.write(silence() + np.int16(value))
        assert frames.dropped == 3
        frames.sink.close()
        assert [int(samples[0]) async for samples in frames] == [3, 4, 5, 6, 7]
        assert await frames.read() is None

    run(scene())


def test_a_reader_waits_for_what_is_heard() -> None:
    async def scene() -> None:
        frames = AudioFrames()
        reading = asyncio.ensure_future(frames.read())
        await goes_on()
        assert not reading.done()
        frames.sink.write(counted(FRAME))
        assert np.array_equal(await reading, counted(FRAME))  # type: ignore[arg-type]

    run(scene())


def test_said_waits_and_finish_ends_the_source() -> None:
    async def scene() -> None:
        frames = AudioFrames()
        await frames.write(counted(FRAME + 10))
        saying = asyncio.ensure_future(frames.said())
        await goes_on()
        assert not saying.done()
        frames.finish()
        frames.source.read()
        last = frames.source.read()
        assert last is not None
        assert np.array_equal(last[:10], counted(10, FRAME + 1))
        assert not last[10:].any()
        await saying
        assert frames.source.read() is None
        with pytest.raises(UsageError, match="after finish"):
            await frames.write(counted(FRAME))

    run(scene())


def test_an_interruption_forgets_what_is_queued() -> None:
    async def scene() -> None:
        frames = AudioFrames(ahead=1.0)
        await frames.write(counted(10 * FRAME + 5))
        frames.interrupt()
        assert frames.queued == 0
        await frames.write(silence() + np.int16(7))
        assert set(frames.source.read().tolist()) == {7}  # type: ignore[union-attr]

    run(scene())


def test_the_end_of_the_call_ends_every_wait() -> None:
    async def scene() -> None:
        frames = AudioFrames(ahead=0.02)
        writing = asyncio.ensure_future(frames.write(counted(5 * FRAME)))
        saying = asyncio.ensure_future(frames.said())
        reading = asyncio.ensure_future(frames.read())
        await goes_on()
        frames.sink.close()
        assert await reading is None
        await saying
        with pytest.raises(FramesClosed, match="it is over"):
            await writing
        frames.sink.write(counted(FRAME))
        assert await frames.read() is None

    run(scene())


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_at_the_programs_own_rate(rate: int) -> None:
    async def scene() -> None:
        frames, tone = AudioFrames(rate, behind=1.0), ToneSource(500.0)
        for _ in range(25):
            frames.sink.write(tone.read())
        heard = [await frames.read() for _ in range(25)]
        sound = np.concatenate([frame for frame in heard if frame is not None])
        assert len(sound) == rate // 2
        pitch = np.argmax(np.abs(np.fft.rfft(sound))) * rate / len(sound)
        assert pitch == pytest.approx(500)
        back = AudioFrames(rate, ahead=1.0)
        await back.write(sound)
        sent = np.concatenate(
            [frame for frame in (back.source.read() for _ in range(25)) if frame is not None]
        )
        assert np.argmax(np.abs(np.fft.rfft(sent))) * RATE / len(sent) == pytest.approx(500)
        assert sent[4800:].std() == pytest.approx(32767 / 4 / 2**0.5, rel=0.03)

    run(scene())


def test_what_cannot_be_said_is_refused() -> None:
    async def scene() -> None:
        with pytest.raises(UsageError, match="44100 is none of 8000"):
            AudioFrames(44_100)
        for wrong in (np.zeros(960), np.zeros((2, 960), np.int16)):
            with pytest.raises(UsageError, match="one row of int16"):
                await AudioFrames().write(wrong)  # type: ignore[arg-type]

    run(scene())


def number(picture: Picture | None) -> int | None:
    found = None if picture is None else read(picture)
    return found.number if found else None


def test_a_picture_is_shown_until_the_next_one() -> None:
    async def scene() -> None:
        frames = PictureFrames(ahead=2, size=(64, 36))
        black = frames.source.read()
        assert black is not None
        assert (size(black), int(luma(black).max())) == ((64, 36), 16)
        await frames.write(numbered(1))
        await frames.write(numbered(2))
        third = asyncio.ensure_future(frames.write(numbered(3)))
        await goes_on()
        assert not third.done(), "two wait for their turn"
        assert number(frames.source.read()) == 1
        await third
        assert [number(frames.source.read()) for _ in range(4)] == [2, 3, 3, 3]
        frames.finish()
        assert frames.source.read() is None

    run(scene())


def test_pictures_that_nobody_reads_give_way_to_newer_ones() -> None:
    async def scene() -> None:
        frames = PictureFrames(behind=2)
        for count in range(5):
            frames.sink.show(numbered(count), count / 10)
        assert frames.dropped == 3
        frames.sink.close()
        assert [(number(picture), at) async for picture, at in frames] == [(3, 0.3), (4, 0.4)]
        with pytest.raises(FramesClosed):
            await frames.write(numbered(1))
        shown_only = PictureFrames()
        shown_only.source.close()
        with pytest.raises(FramesClosed):
            await shown_only.write(numbered(1))

    run(scene())
