"""The web phone and our client with cameras and screens both ways, whoever calls: seen by the numbers in the pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.async_api import async_playwright

from iceway.client.run import Client, make_media
from iceway.media.pattern import PatternSource, read
from iceway.media.pictures import MemorySink, Pictures
from iceway.media.speech import speech
from tests.conftest import unavailable
from tests.e2e.programs import DOMAIN, Company, password
from tests.interop.watching import camera_file, is_a_desktop, seen, until, watch
from tests.interop.webphone import Guest, built, guests

pytestmark = pytest.mark.interop("chromium")

PATIENCE = 15.0
LOOK = 4.0
CAMERA, VIDEO, SLIDES = 7000, 0, 100_000
"""Where the pictures of the browser's camera, ours and our slides begin to count."""


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    if (reason := built()) is not None:
        unavailable(reason)
    company = Company(tmp_path)
    try:
        company.serves(websocket=True)
        company.adds("alice", "bob")
        yield company
    finally:
        company.close()


class Show:
    """What Bob shows in a call, and what he sees."""

    def __init__(self) -> None:
        self.video, self.slides = MemorySink(), MemorySink()

    def pictures(self) -> Pictures:
        return Pictures(PatternSource(320, 180, first=VIDEO), self.video)

    def desktop(self) -> Pictures:
        return Pictures(PatternSource(640, 360, first=SLIDES), self.slides, frame_rate=5.0)


def test_cameras_and_screens_go_both_ways_in_either_ones_call(company: Company) -> None:
    camera = camera_file(company.path("camera.y4m"), CAMERA, 60)
    shows = [Show()]

    async def live() -> None:
        server = f"tls:{company.ip}:{company.ports['access-port']}"
        url = f"https://{company.ip}:{company.ports['websocket-port']}/"
        async with (
            Client(
                f"sip:bob@{DOMAIN}",
                password("bob"),
                server=server,
                trust=[company.path("data/ca/ca.pem")],
                media=lambda _: make_media(
                    speech("bob"), video=shows[-1].pictures(), share=shows[-1].desktop()
                ),
            ) as bob,
            async_playwright() as playwright,
            guests(playwright, url, f"--use-file-for-fake-video-capture={camera}") as new_guest,
        ):
            alice = await new_guest()
            await alice.signs_in("alice", password("alice"))
            await alice.is_ready()
            await she_calls(alice, bob, shows[-1])
            shows.append(Show())
            await he_calls(alice, bob, shows[-1])
            assert alice.complaints == []

    asyncio.run(live())


async def she_calls(alice: Guest, bob: Client, show: Show) -> None:
    """With her camera; the screen comes later, and both are taken away again."""
    await alice.dials("bob", "Video call")
    call = await asyncio.wait_for(bob.incoming(), PATIENCE)
    call.pick_up()
    await alice.talks()
    await sees(alice, "video", VIDEO)
    ours_see_the_camera(show)

    await alice.presses("Share")
    await until(lambda: "slides" in call.streams and len(show.slides.seen) > 10)
    await sees(alice, "slides", SLIDES)
    is_a_desktop(show.slides)

    await alice.presses("Stop video")
    await alice.presses("Stop sharing")
    await until(lambda: not shown(show.video) and not shown(show.slides))
    await sees(alice, "video", VIDEO)
    await alice.presses("Hang up")
    await call.ended(PATIENCE)


async def he_calls(alice: Guest, bob: Client, show: Show) -> None:
    """With his camera and his desktop."""
    call = await bob.call(
        f"sip:alice@{DOMAIN}", play=speech("bob"), video=show.pictures(), share=show.desktop()
    )
    await alice.reads("#ringing", "calls, with video")
    await alice.presses("With video")
    await call.answered(PATIENCE)
    await alice.talks()
    await sees(alice, "video", VIDEO)
    await sees(alice, "slides", SLIDES)
    ours_see_the_camera(show)
    assert call.streams == ("audio", "video", "slides")

    call.drop("slides")
    await alice.page.wait_for_selector("#tile-slides", state="hidden")
    call.hold()
    await alice.reads("#call-state", "they hold the call")
    call.resume()
    await sees(alice, "video", VIDEO)
    await alice.reads("#call-state", "0:")
    call.hang_up()
    await call.ended(PATIENCE)
    await alice.reads("#recent", "called you, talked")


async def sees(alice: Guest, kind: str, first: int) -> None:
    """Our numbered pictures on her page, upright and in order. (A busy browser need not show every one.)"""
    await alice.page.wait_for_selector(f"#tile-{kind}:not([hidden])")
    await watch(alice.page, f"remote-{kind}")
    await asyncio.sleep(LOOK)
    readings = [reading for reading in await seen(alice.page, f"remote-{kind}") if reading is not None]
    numbers = [reading.number for reading in readings]
    assert all(reading.lies == "upright" for reading in readings)
    assert numbers == sorted(numbers)
    assert numbers[0] >= first
    assert len(set(numbers)) > 0.6 * (numbers[-1] - numbers[0] + 1)
    assert numbers[-1] - numbers[0] > 2 * LOOK


def ours_see_the_camera(show: Show) -> None:
    """At least 95 % of the numbered pictures of her camera, which plays them over and over, upright."""
    pictures = [picture for _, picture in show.video.seen]
    readings = [read(picture) for picture in pictures]
    good = [one for one in readings if one is not None and one.lies == "upright"]
    assert len(good) > 0.95 * len(readings) > 20
    steps = [(later.number - one.number) % 60 for one, later in pairwise(good)]
    assert {one.number // 1000 for one in good} == {CAMERA // 1000}
    assert steps.count(1) > 0.8 * len(steps)


def shown(sink: MemorySink) -> bool:
    """Whether something has come since this was asked for last."""
    came = len(sink.seen) > 0
    sink.seen.clear()
    return came
