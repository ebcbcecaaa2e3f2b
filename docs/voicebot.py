"""A voice bot: it greets whoever calls, repeats what they say a second later, and says goodbye when they press #.

    ICEWAY_PASSWORD=secret python docs/voicebot.py echo@example.org greeting.wav [tls:host:port ca.pem]

A bot with a mind of its own feeds what `async for` brings to a recognizer, and writes what a synthesizer makes.
Those mostly run at another rate than 48 kHz: `AudioFrames(16_000)` speaks and hears at theirs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from contextlib import suppress

from iceway.client import AudioFrames, CallFailed, Client, FramesClosed, LiveCall, make_media
from iceway.client.media import Media
from iceway.media.files import load

DELAY = 50  # frames of 20 ms


def answers(peer: str) -> Media:
    """What a call that comes in plays and where its sound goes: frames of our own."""
    frames = AudioFrames()
    return make_media(frames.source, frames.sink)


async def greet(frames: AudioFrames, recording: str) -> None:
    await frames.write(load(recording))  # waits, since no more than 0.2 s are queued
    await frames.said()


async def echo(frames: AudioFrames) -> None:
    late: deque = deque()
    with suppress(FramesClosed):  # they hang up while we write
        async for samples in frames:  # 20 ms at a time, until the call is over
            late.append(samples)
            if len(late) > DELAY:
                await frames.write(late.popleft())


async def talk(call: LiveCall, greeting: str) -> None:
    frames = AudioFrames.of(call)
    call.pick_up()
    with suppress(CallFailed, FramesClosed):  # they hang up, whatever we are doing
        await call.answered()
        await greet(frames, greeting)
        echoing = asyncio.ensure_future(echo(frames))
        while await call.digit() != "#":
            pass
        echoing.cancel()
        frames.interrupt()  # what is still to be repeated is forgotten
        await greet(frames, greeting)
        call.hang_up()


async def main(identity: str, greeting: str, server: str | None = None, trust: str | None = None) -> None:
    password = os.environ["ICEWAY_PASSWORD"]
    trusted = [trust] if trust else None
    async with Client(f"sip:{identity}", password, server=server, trust=trusted, media=answers) as bot:
        talks = set()
        while True:
            call = await bot.incoming()
            talks.add(task := asyncio.create_task(talk(call, greeting)))
            task.add_done_callback(talks.discard)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
