"""JsSIP in Chromium, as a web phone would hold it: bundled from npm, in a page of the door's own origin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Page, Route, TimeoutError, async_playwright

from tests.interop import bundles
from tests.interop.chromium import NO_MDNS, PROGRAM, QUIET

PACKAGE = "jssip@3.13.8"
PATIENCE = 30_000  # milliseconds

_FLAGS = (
    "--ignore-certificate-errors",  # the development CA is not the browser's
    # A page of the internet may not reach for loopback without asking; and addresses are to be seen.
    f"{NO_MDNS},LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
# Everything that happens to the phone goes to `said`, by name.
_PHONE = """
(config) => {
  const said = window.said = [];
  const socket = new JsSIP.WebSocketInterface(config.url);
  const phone = window.phone = new JsSIP.UA({
    sockets: [socket], uri: config.uri, password: config.password, register_expires: 120,
  });
  phone.on("connected", () => said.push("connected"));
  phone.on("registered", () => said.push("registered"));
  phone.on("registrationFailed", (event) => said.push("registration failed: " + event.cause));
  phone.on("disconnected", (event) => said.push("disconnected: " + event.reason));
  phone.on("newMessage", (event) => {
    if (event.originator == "remote") said.push("message: " + event.request.body);
  });
  phone.on("newRTCSession", (event) => {
    if (event.originator != "remote") return;
    window.session = event.session;
    said.push("invited by " + event.request.from.uri.toAor());
    event.session.on("failed", (end) => said.push("call failed: " + end.cause));
  });
  phone.start();
}
"""
_MESSAGE = """
([to, text]) => phone.sendMessage(to, text, {eventHandlers: {
  succeeded: (event) => said.push("delivered: " + event.response.status_code),
  failed: (event) => said.push("not delivered: " + event.cause),
}})
"""
_CALL = """
(to) => {
  const session = window.session = phone.call(to, {
    mediaConstraints: {audio: true, video: false}, pcConfig: {iceServers: []},
    eventHandlers: {
      progress: (event) => said.push("progress: " + (event.response ? event.response.status_code : "")),
      accepted: () => said.push("accepted"),
      confirmed: () => said.push("confirmed"),
      ended: (event) => said.push("ended: " + event.cause),
      failed: (event) => said.push("call failed: " + event.cause),
    },
  });
}
"""
# Whether sound has come in that is louder than silence, and two seconds of our own have gone out.
_TALKING = """
async () => {
  let energy = 0, sent = 0;
  for (const entry of (await session.connection.getStats()).values()) {
    if (entry.type == "inbound-rtp" && entry.kind == "audio") energy += entry.totalAudioEnergy || 0;
    if (entry.type == "outbound-rtp" && entry.kind == "audio") sent += entry.packetsSent;
  }
  return energy > 0.0001 && sent > 100;
}
"""


def bundle() -> Path | str:
    """JsSIP as one script, or why there is none."""
    return bundles.bundle(PACKAGE, 'window.JsSIP = require("jssip");\n')


class WebPhone:
    """JsSIP in one page. `hears` waits for what it says."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def begin(self, url: str, uri: str, password: str) -> None:
        await self._page.evaluate(_PHONE, {"url": url, "uri": uri, "password": password})

    async def says(self, to: str, text: str) -> None:
        await self._page.evaluate(_MESSAGE, [to, text])

    async def calls(self, to: str) -> None:
        await self._page.evaluate(_CALL, to)

    async def rejects(self, status: int) -> None:
        await self._page.evaluate("(status) => session.terminate({status_code: status})", status)

    async def talks(self) -> None:
        """Wait until the other end has been heard, and has had something to hear."""
        try:
            await self._page.wait_for_function(_TALKING, timeout=PATIENCE)
        except TimeoutError as error:
            raise AssertionError(f"silence; {await self.told()}") from error

    async def hangs_up(self) -> None:
        await self._page.evaluate("() => session.terminate()")

    async def leaves(self) -> None:
        """Unregister and close the WebSocket."""
        await self._page.evaluate("() => phone.stop()")

    async def hears(self, words: str) -> None:
        try:
            await self._page.wait_for_function(
                "(words) => said.some((line) => line.startsWith(words))", arg=words, timeout=PATIENCE
            )
        except TimeoutError as error:
            raise AssertionError(f"no {words!r} in {await self.told()}") from error

    async def told(self) -> Any:
        return await self._page.evaluate("() => said")


@asynccontextmanager
async def web_phones(script: Path, origin: str) -> AsyncIterator[Callable[[], Awaitable[WebPhone]]]:
    """A browser; each call opens a phone in a page of this origin, which exists nowhere but here."""

    async def page_of_ours(route: Route) -> None:
        await route.fulfill(content_type="text/html", body="<!doctype html><title>phone</title>")

    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=PROGRAM, args=[*QUIET, *_FLAGS])

        async def phone() -> WebPhone:
            page = await chromium.new_page()
            await page.route(f"{origin}/**", page_of_ours)
            await page.goto(f"{origin}/")
            await page.add_script_tag(path=script)
            return WebPhone(page)

        try:
            yield phone
        finally:
            await chromium.close()
