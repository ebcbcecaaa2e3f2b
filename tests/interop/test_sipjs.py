"""SIP.js in Chromium, by way of its SimpleUser: it registers over a WebSocket, calls us and is called, heard both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.async_api import Page, Route, async_playwright

from iceway.media.heard import compare
from iceway.media.speech import speech
from iceway.trace.records import SipReceived
from tests.conftest import unavailable
from tests.e2e.programs import DOMAIN, Company, password
from tests.interop.bundles import bundle
from tests.interop.chromium import PROGRAM, QUIET
from tests.interop.listening import heard, listen
from tests.interop.webphone import FLAGS

pytestmark = pytest.mark.interop("chromium")

PACKAGE = "sip.js@0.21.2"
PATIENCE = 30_000  # milliseconds
HEARD_ENOUGH = 0.9
SPOKEN_ENOUGH = 0.75
"""Of what goes through the browser's echo cancellation and noise suppression."""
TALK = 10.0
"""Seconds: the speech, and what it takes to begin."""
_USER = """
async ([server, aor, name, password]) => {
  const said = window.said = [];
  const user = window.user = new SIP.Web.SimpleUser(server, {
    aor,
    media: {constraints: {audio: true, video: false}, remote: {audio: document.getElementById("voice")}},
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


def test_it_calls_and_is_called_and_both_hear_what_was_said(company: Company, script: Path) -> None:
    door = f"{company.ip}:{company.ports['websocket-port']}"
    bob = company.answers("bob")

    async def blank(route: Route) -> None:
        await route.fulfill(content_type="text/html", body="<!doctype html><audio id=voice autoplay></audio>")

    async def live() -> None:
        async with async_playwright() as playwright:
            microphone = f"--use-file-for-fake-audio-capture={speech('alice')}"
            chromium = await playwright.chromium.launch(
                executable_path=PROGRAM, args=[*QUIET, *FLAGS, microphone]
            )
            page = await chromium.new_page()
            await page.route(f"https://{door}/**", blank)
            await page.goto(f"https://{door}/")
            await page.add_script_tag(path=script)
            await page.evaluate(_USER, [f"wss://{door}/", f"sip:alice@{DOMAIN}", "alice", password("alice")])
            await hears(page, "registered")

            await page.evaluate("(to) => user.call(to)", f"sip:bob@{DOMAIN}")
            await hears(page, "answered")
            await listen(page, "voice")
            await asyncio.sleep(TALK)
            await page.evaluate("() => user.hangup()")
            await hears(page, "ended")
            assert compare(speech("bob"), await heard(page)).share > HEARD_ENOUGH

            caller = asyncio.create_task(asyncio.to_thread(company.calls, "bob", "alice", "call"))
            await hears(page, "invited")
            await page.evaluate("() => { said.length = 0; return user.answer(); }")
            await hears(page, "answered")
            await listen(page, "voice")
            assert f"alice@{DOMAIN} answered" in (await caller).told()
            await hears(page, "ended")
            assert compare(speech("bob"), await heard(page)).share > HEARD_ENOUGH

            await page.evaluate("() => user.unregister()")
            await hears(page, "unregistered")
            await chromium.close()

    asyncio.run(live())
    bob.interrupted()
    assert compare(speech("alice"), company.path("bob-1.wav")).share > SPOKEN_ENOUGH
    (invite, *_) = [
        entry.record
        for entry in company.trace("bob")
        if isinstance(entry.record, SipReceived) and entry.record.start_line.startswith("INVITE")
    ]
    assert "User-Agent: SIP.js/" in invite.text
