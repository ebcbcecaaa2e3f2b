"""SIP.js in Chromium, by way of its SimpleUser: over a WebSocket it calls us and is called, heard and seen both
ways, and its screen as well."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.async_api import Page, Route, async_playwright

from iceway.client.media import Media
from iceway.client.run import Client, make_media
from iceway.media.heard import compare
from iceway.media.pattern import PatternSource, read
from iceway.media.pictures import MemorySink, Pictures
from iceway.media.speech import speech
from iceway.trace.records import SipReceived
from tests.conftest import unavailable
from tests.e2e.programs import DOMAIN, Company, password
from tests.interop.baresip import pause_before
from tests.interop.bundles import bundle
from tests.interop.chromium import PROGRAM, QUIET
from tests.interop.listening import heard, listen
from tests.interop.watching import camera_file, is_a_desktop, seen, until, watch
from tests.interop.webphone import FLAGS

pytestmark = pytest.mark.interop("chromium")

PACKAGE = "sip.js@0.21.2"
PATIENCE = 30_000  # milliseconds
HEARD_ENOUGH = 0.9
SPOKEN_ENOUGH = 0.75
"""Of what goes through the browser's echo cancellation and noise suppression."""
CAMERA = 7000
"""Where the pictures of the browser's camera begin to count."""
PAUSE = 2.0
TALK = 12.0
"""Seconds: the speech, and what it takes to begin."""
_USER = """
async ([server, aor, name, password]) => {
  const said = window.said = [];
  const user = window.user = new SIP.Web.SimpleUser(server, {
    aor,
    media: {constraints: {audio: true, video: true}, remote: {video: document.getElementById("face")}},
    userAgentOptions: {authorizationUsername: name, authorizationPassword: password},
    delegate: {
      onRegistered: () => said.push("registered"),
      onUnregistered: () => said.push("unregistered"),
      onCallReceived: () => said.push("invited"),
      onCallAnswered: () => said.push("answered"),
      onCallHangup: () => said.push("ended"),
    },
  });
  await user.connect();
  await user.register();
}
"""
# A second stream of pictures, which nobody marks as slides.
_SHARE = """
async () => {
  const screen = await navigator.mediaDevices.getDisplayMedia({video: true});
  const {peerConnection} = user.session.sessionDescriptionHandler;
  peerConnection.addTransceiver(screen.getVideoTracks()[0], {direction: "sendrecv", streams: [screen]});
  await user.session.invite();
}
"""


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    """Front end and edge, with a door for browsers; Alice and Bob have accounts."""
    company = Company(tmp_path)
    try:
        company.serves(websocket=True)
        company.adds("alice", "bob")
        yield company
    finally:
        company.close()


@pytest.fixture(scope="module")
def script() -> Path:
    made = bundle(PACKAGE, 'window.SIP = require("sip.js");\n')
    if isinstance(made, str):
        unavailable(made)
    assert isinstance(made, Path)
    return made


async def hears(page: Page, word: str) -> None:
    await page.wait_for_function("(word) => said.includes(word)", arg=word, timeout=PATIENCE)


def test_it_calls_and_is_called_with_sound_and_pictures_both_ways(company: Company, script: Path) -> None:
    door = f"{company.ip}:{company.ports['websocket-port']}"
    seen_by_bob, screen = [MemorySink()], MemorySink()

    def bobs_words() -> Path:
        """He waits until the page listens."""
        return pause_before(speech("bob"), company.path("said.wav"), PAUSE)

    def bobs_media(_: str = "") -> Media:
        share = Pictures(PatternSource(640, 360), screen, frame_rate=5.0)
        return make_media(bobs_words(), company.path("bob.wav"), video=bobs_pictures(), share=share)

    def bobs_pictures() -> Pictures:
        return Pictures(PatternSource(320, 180), seen_by_bob[-1])

    async def blank(route: Route) -> None:
        await route.fulfill(content_type="text/html", body="<!doctype html><video id=face autoplay></video>")

    async def live() -> None:
        camera = camera_file(company.path("camera.y4m"), CAMERA, 60)
        fakes = (
            f"--use-file-for-fake-audio-capture={speech('alice')}",
            f"--use-file-for-fake-video-capture={camera}",
        )
        async with (
            Client(
                f"sip:bob@{DOMAIN}",
                password("bob"),
                server=f"tls:{company.ip}:{company.ports['access-port']}",
                trust=[company.path("data/ca/ca.pem")],
                media=bobs_media,
            ) as bob,
            async_playwright() as playwright,
        ):
            chromium = await playwright.chromium.launch(
                executable_path=PROGRAM, args=[*QUIET, *FLAGS, *fakes]
            )
            page = await chromium.new_page()
            await page.route(f"https://{door}/**", blank)
            await page.goto(f"https://{door}/")
            await page.add_script_tag(path=script)
            await page.evaluate(_USER, [f"wss://{door}/", f"sip:alice@{DOMAIN}", "alice", password("alice")])
            await hears(page, "registered")

            await page.evaluate("(to) => user.call(to)", f"sip:bob@{DOMAIN}")
            call = await asyncio.wait_for(bob.incoming(), PATIENCE / 1000)
            assert "User-Agent: SIP.js/" in the_invite(bob)
            call.pick_up()
            await hears(page, "answered")
            await both_see_and_hear(page, seen_by_bob[-1])

            await page.evaluate(_SHARE)
            await until(lambda: len(screen.seen) > 10)
            assert call.streams == ("audio", "video", "slides")
            is_a_desktop(screen)
            await page.evaluate("() => user.hangup()")
            await call.ended(PATIENCE / 1000)
            assert compare(speech("alice"), company.path("bob.wav")).share > SPOKEN_ENOUGH

            seen_by_bob.append(MemorySink())
            await page.evaluate("() => { said.length = 0; }")
            call = await bob.call(f"sip:alice@{DOMAIN}", play=bobs_words(), video=bobs_pictures())
            await hears(page, "invited")
            await page.evaluate("() => user.answer()")
            await hears(page, "answered")
            await both_see_and_hear(page, seen_by_bob[-1])
            call.hang_up()
            await hears(page, "ended")

            await page.evaluate("() => user.unregister()")
            await hears(page, "unregistered")
            await chromium.close()

    asyncio.run(live())


async def both_see_and_hear(page: Page, bobs: MemorySink) -> None:
    await listen(page, "face")
    await page.wait_for_function("() => document.getElementById('face').videoWidth")
    await watch(page, "face")
    await asyncio.sleep(TALK)
    assert compare(speech("bob"), await heard(page)).share > HEARD_ENOUGH
    numbers = [reading.number for reading in await seen(page, "face") if reading is not None]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 0.6 * (numbers[-1] - numbers[0] + 1) > 4 * TALK
    readings = [read(picture) for _, picture in bobs.seen]
    good = [one for one in readings if one is not None and one.lies == "upright"]
    assert len(good) > 0.95 * len(readings) > 4 * TALK
    assert {one.number // 1000 for one in good} == {CAMERA // 1000}


def the_invite(bob: Client) -> str:
    texts = [entry.record.text for entry in bob.trace if isinstance(entry.record, SipReceived)]
    return next(text for text in texts if text.startswith("INVITE"))
