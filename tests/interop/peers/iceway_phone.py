"""Our client, as a program that shows numbered pictures in one call and tells which ones it saw.

    python iceway_phone.py orders.json

What it does is in a file of one JSON object (`Orders`); what happens is a JSON object a line on stdout: `registered`,
`answered`, `closed` with the streams that there were and the numbers of the test patterns.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from iceway.client.phone import Media
from iceway.client.run import CallFailed, Client, LiveCall, make_media
from iceway.media.keying import Keys
from iceway.media.pattern import PatternSource, read
from iceway.media.picture import Picture
from iceway.media.pictures import Pictures


@dataclass(frozen=True, slots=True)
class Orders:
    """`calls`: whom, else it waits to be called. `talks`: seconds until it hangs up, 0: that is for the other side."""

    identity: str
    password: str
    ca: str
    play: str
    record: str
    trace: str
    calls: str = ""
    talks: float = 0.0
    video: bool = True
    share: bool = False
    keys: str = "both"


class Watcher:
    """A sink that reads the pictures' numbers. What it cannot read it only counts."""

    def __init__(self) -> None:
        self.saw: list[tuple[int, str]] = []
        self.unread = 0

    def show(self, picture: Picture, at: float) -> None:
        reading = read(picture)
        if reading is None:
            self.unread += 1
        else:
            self.saw.append((reading.number, reading.lies))

    def close(self) -> None:
        pass


def tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def live(orders: Orders) -> None:
    watchers = {"video": Watcher(), "slides": Watcher()}

    def media(_: str = "") -> Media:
        wanted = make_media(orders.play, orders.record)
        if orders.video:
            wanted = replace(wanted, video=Pictures(PatternSource(), watchers["video"]))
        if orders.share:
            wanted = replace(wanted, slides=Pictures(PatternSource(first=5000), watchers["slides"], 5.0))
        return wanted

    client = Client(
        orders.identity,
        orders.password,
        trust=[orders.ca],
        trace=orders.trace,
        keys=Keys(orders.keys),
        ring_for=0.5,
        media=media,
    )
    async with client:
        tell(did="registered")
        call = await _call(client, orders, media())
        await call.answered(20.0)
        tell(did="answered")
        with contextlib.suppress(CallFailed):
            await call.ended(orders.talks or 60.0)
        streams = call.streams
        call.hang_up()
        await call.ended(5.0)
        tell(
            did="closed",
            streams=streams,
            saw={kind: watcher.saw for kind, watcher in watchers.items()},
            unread={kind: watcher.unread for kind, watcher in watchers.items()},
        )


async def _call(client: Client, orders: Orders, media: Media) -> LiveCall:
    if not orders.calls:
        return await client.incoming()
    return await client.call(
        orders.calls, play=media.source, record=media.sink, video=media.video, share=media.slides
    )


if __name__ == "__main__":
    asyncio.run(live(Orders(**json.loads(Path(sys.argv[1]).read_text()))))
