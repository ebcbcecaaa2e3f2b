"""A program that makes or takes calls with our client, told what to do in lines of JSON.

    python bench/media/party.py NAME PORT TRUST [MEDIA]

MEDIA is "audio", or the codec of pictures that go with the sound, "VP8" or "H264". On standard input: {"take": 1} to
take calls as they come; {"call": "bob", "count": 3} to make some; {"hang up": true}; {"forget": true} what is over;
{"report": true}. Each is answered by one line. What is heard and seen is counted and thrown away.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from scenery import BIT_RATE, FRAME_RATE, pictures, tone
from stage import DOMAIN, HOME, PASSWORD

from iceway.client import Client, LiveCall, Ways, make_media
from iceway.client.phone import Media
from iceway.io.run import loop_factory
from iceway.media.files import Source
from iceway.media.picture import Picture
from iceway.media.pictures import Pictures
from iceway.media.sound import FRAME_DURATION, Samples

LATE = 0.020  # seconds: a frame later than this leaves when the next one should
PATIENCE = 30.0


class Punctual:
    """A source of sound that knows how late each of its frames is asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._due: float | None = None
        self.frames = self.late = 0
        self.latest = 0.0

    def read(self) -> Samples | None:
        now = time.monotonic()
        due = now if self._due is None or now < self._due - FRAME_DURATION else self._due
        lateness = now - due
        self.frames += 1
        self.late += lateness > LATE
        self.latest = max(self.latest, lateness)
        # After a standstill the session's clock starts anew, and so does ours.
        self._due = (now if lateness > 10 * FRAME_DURATION else due) + FRAME_DURATION
        return self._source.read()

    def begin_anew(self) -> None:
        self.frames = self.late = 0
        self.latest = 0.0


class Eye:
    """Counts pictures and looks at none."""

    def __init__(self) -> None:
        self.seen = 0

    def show(self, picture: Picture, at: float) -> None:
        self.seen += 1

    def close(self) -> None:
        pass


class Party:
    def __init__(self, name: str, port: int, trust: Path, media: str) -> None:
        self._shows = media != "audio"
        self.sources: list[Punctual] = []
        self.eyes: list[Eye] = []
        self.calls: list[LiveCall] = []
        self.client = Client(
            f"sip:{name}@{DOMAIN}",
            PASSWORD,
            server=f"tls:{HOME}:{port}",
            ways=Ways(interfaces=(HOME,)),
            trust=[trust],
            media=lambda _: self._media(),
            ring_for=None,
        )
        if self._shows:
            phone = self.client.phone
            phone.config = replace(phone.config, video_codecs=(media,))

    def _media(self) -> Media:
        self.sources.append(Punctual(tone()))
        video = None
        if self._shows:
            self.eyes.append(Eye())
            video = Pictures(pictures(), self.eyes[-1], FRAME_RATE, BIT_RATE)
        return make_media(self.sources[-1], video=video)

    async def take(self) -> None:
        while True:
            call = await self.client.incoming()
            self.calls.append(call)
            call.pick_up()

    async def make(self, peer: str, count: int) -> None:
        for _ in range(count):
            media = self._media()
            call = await self.client.call(f"sip:{peer}@{DOMAIN}", play=media.source, video=media.video)
            self.calls.append(call)
            await call.settled(PATIENCE)

    async def hang_up(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call.hang_up()
        for call in calls:
            await call.ended(PATIENCE)
        self.forget()

    def forget(self) -> None:
        """Of calls that are over; whoever is hung up on does not notice by itself. And what was recorded of them."""
        self.client.trace.clear()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is free is given back, so that what is held can be counted
        self.calls.clear()
        self.sources.clear()
        self.eyes.clear()

    def report(self) -> dict[str, float]:
        told = {
            "calls": len(self.calls),
            "frames": sum(one.frames for one in self.sources),
            "late": sum(one.late for one in self.sources),
            "latest": max((one.latest for one in self.sources), default=0.0),
            "seen": sum(one.seen for one in self.eyes),
            "tasks": len(asyncio.all_tasks()),
        }
        for one in self.sources:
            one.begin_anew()
        return told


async def main(name: str, port: int, trust: Path, media: str = "audio") -> None:
    party = Party(name, port, trust, media)
    loop = asyncio.get_running_loop()
    async with party.client:
        taking = None
        _say({"ready": True})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            told = json.loads(line)
            if "take" in told:
                taking = asyncio.ensure_future(party.take())
            if "call" in told:
                await party.make(told["call"], told.get("count", 1))
            if "forget" in told:
                party.forget()
            if "hang up" in told:
                await party.hang_up()
            _say(party.report())
        if taking is not None:
            taking.cancel()


def _say(what: dict[str, object] | dict[str, float]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:]))
