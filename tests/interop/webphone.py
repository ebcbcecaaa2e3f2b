"""The web phone in Chromium, used as a guest would: by what can be read, pressed and typed on its page."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from playwright.async_api import Page, Playwright, expect

from tests.interop.chromium import NO_MDNS, PROGRAM, QUIET

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--ignore-certificate-errors",  # the development CA is not the browser's
    # A page of the internet may not reach for loopback without asking; and addresses are to be seen.
    f"{NO_MDNS},LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
PATIENCE = 20_000  # milliseconds
# From here on the browser uses relays alone.
RELAYS_ONLY = """
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(config) { super({...config, iceTransportPolicy: "relay"}); }
};
"""


@cache
def built() -> str | None:
    """Why there is no web phone in the source tree, after having tried; None if it is there."""
    if (ROOT / "src/iceway/web/page/jssip.js").exists():
        return None
    made = subprocess.run(
        [sys.executable, "web/build.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return made.stderr.strip() if made.returncode else None


class Guest:
    """Somebody in front of the page. `complaints` is what the browser said on its console."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))

    async def signs_in(self, address: str, password: str) -> None:
        await self.page.get_by_label("Address", exact=True).fill(address)
        await self.page.get_by_label("Password", exact=True).fill(password)
        await self.page.get_by_role("button", name="Sign in").click()

    async def is_ready(self) -> None:
        await self.reads("#line-state", "ready")

    async def dials(self, peer: str, button: str = "Call") -> None:
        await self.page.get_by_label("Name or address").fill(peer)
        await self.presses(button)

    async def presses(self, button: str) -> None:
        await self.page.get_by_role("button", name=button, exact=True).click()

    async def types(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def reads(self, where: str, what: str) -> None:
        """Wait until it can be seen there."""
        await expect(self.page.locator(where)).to_contain_text(what, timeout=PATIENCE)

    async def waits_for(self, what: Callable[[], bool]) -> None:
        """Until it is so; the page's own clock may stand still meanwhile."""
        async with asyncio.timeout(PATIENCE / 1000):
            while not what():  # noqa: ASYNC110  (the page tells of it in passing)
                await asyncio.sleep(0.05)

    async def talks(self) -> None:
        """Wait until the call is up, and both levels have moved."""
        await self.reads("#call-state", "0:0")
        for who in ("own", "peer"):
            await self.page.wait_for_function(
                "(who) => Number(document.getElementById(`level-${who}`).getAttribute('aria-valuenow')) > 10",
                arg=who,
            )


@asynccontextmanager
async def guests(
    playwright: Playwright, url: str, *flags: str, program: str | Path = PROGRAM
) -> AsyncIterator[Callable[..., Awaitable[Guest]]]:
    """A browser; each call opens the page there, after the scripts given."""
    chromium = await playwright.chromium.launch(executable_path=program, args=[*QUIET, *FLAGS, *flags])

    async def guest(*scripts: str) -> Guest:
        page = await (await chromium.new_context()).new_page()
        for script in scripts:
            await page.add_init_script(script)
        guest = Guest(page)
        await page.goto(url)
        return guest

    try:
        yield guest
    finally:
        await chromium.close()
