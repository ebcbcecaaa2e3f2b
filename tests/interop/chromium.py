"""Chromium, headless, on a host of a kernel laboratory, and a relay on another.

The browser is driven through pipes, so it needs no network of its own beside the one that is tried.
"""

from __future__ import annotations

import asyncio
import random
import shlex
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright

from iceway.core.address import Address, Transport
from iceway.io.driver import Driver
from iceway.lab.namespaces import KernelLab
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import Listening, TurnServer

PROGRAM = "/usr/bin/chromium"
PATIENCE = 30.0
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NO_MDNS = "--disable-features=WebRtcHideLocalIpsWithMdns"

# One peer a page. `found` is ours: candidates go to it as they come, null at the end.
_PEER = """
async (config) => {
  const pc = window.pc = new RTCPeerConnection(config);
  pc.onicecandidate = (event) => window.found(event.candidate ? event.candidate.toJSON() : null);
  window.heard = [];
  window.open = new Promise((done) => { window.opened = done; });
  window.use = (channel) => {
    channel.onmessage = (event) => { window.heard.push(event.data); channel.send(event.data + " back"); };
    channel.onopen = () => window.opened();
    window.channel = channel;
  };
  pc.ondatachannel = (event) => window.use(event.channel);
}
"""
_OFFER = """
async () => { use(pc.createDataChannel("words")); await pc.setLocalDescription(); return pc.localDescription.sdp; }
"""
_RESTART = "async () => { pc.restartIce(); await pc.setLocalDescription(); return pc.localDescription.sdp; }"
_ANSWER = """
async (sdp) => {
  await pc.setRemoteDescription({type: "offer", sdp});
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}
"""
_SELECTED = """
async () => {
  const stats = new Map((await pc.getStats()).entries());
  for (const entry of stats.values())
    if (entry.type == "transport" && entry.selectedCandidatePairId) {
      const pair = stats.get(entry.selectedCandidatePairId);
      const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
      return [[local.candidateType, local.port], [remote.candidateType, remote.port]];
    }
}
"""


class Peer:
    """A peer connection of the browser. Its candidates go to whom `trickles_to` names, once there is somebody."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._waiting: list[dict[str, Any] | None] = []
        self._listener: Callable[[dict[str, Any] | None], Awaitable[None]] | None = None

    async def begin(self, config: dict[str, Any]) -> None:
        await self._page.expose_function("found", self._found)
        await self._page.evaluate(_PEER, config)

    async def offer(self) -> str:
        return str(await self._page.evaluate(_OFFER))

    async def restart(self) -> str:
        """The offer that restarts ICE."""
        return str(await self._page.evaluate(_RESTART))

    async def answer(self, offer: str) -> str:
        return str(await self._page.evaluate(_ANSWER, offer))

    async def take_answer(self, answer: str) -> None:
        await self._page.evaluate("async (sdp) => pc.setRemoteDescription({type: 'answer', sdp})", answer)

    async def take_candidate(self, candidate: dict[str, Any]) -> None:
        await self._page.evaluate("async (candidate) => pc.addIceCandidate(candidate)", candidate)

    async def trickle_to(self, listener: Callable[[dict[str, Any] | None], Awaitable[None]]) -> None:
        self._listener = listener
        while self._waiting:
            await listener(self._waiting.pop(0))

    async def send(self, word: str) -> None:
        await self._page.evaluate("async (word) => { await open; channel.send(word); }", word)

    async def selected(self) -> list[tuple[str, int]] | None:
        """Type and port of the local candidate and of the remote one, once there is a pair."""
        pair = await self._page.evaluate(_SELECTED)
        return [(type, port) for type, port in pair] if pair else None

    async def _found(self, candidate: dict[str, Any] | None) -> None:
        if self._listener is None:
            self._waiting.append(candidate)
        else:
            await self._listener(candidate)


class Browser:
    def __init__(self, new_page: Callable[[], Awaitable[Page]]) -> None:
        self._new_page = new_page

    @asynccontextmanager
    async def peer(self, config: dict[str, Any]) -> AsyncIterator[Peer]:
        page = await self._new_page()
        try:
            peer = Peer(page)
            await peer.begin(config)
            yield peer
        finally:
            await page.close()


@asynccontextmanager
async def browser(lab: KernelLab, host: str, directory: Path, *flags: str) -> AsyncIterator[Browser]:
    program = directory / "chromium"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([*lab.words(host), PROGRAM])} "$@"\n')
    program.chmod(0o700)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=program, args=[*QUIET, *flags])
        try:
            yield Browser(chromium.new_page)
        finally:
            await chromium.close()


@contextmanager
def relay(lab: KernelLab, host: str, ip: str, port: int = 3478) -> Iterator[TurnServer]:
    """A TURN server over UDP and TCP on this host, in a thread of its own. User "user", password "secret"."""
    listeners = tuple(
        TurnListener(transport, Address(ip, port)) for transport in (Transport.UDP, Transport.TCP)
    )
    server = TurnServer(
        TurnServerConfig("example.test", listeners, ip),
        StaticAuthenticator({"user": "secret"}),
        random.Random(1),
    )
    listening, over = threading.Semaphore(0), threading.Event()

    async def serve() -> None:
        def heard(event: object, now: float) -> None:
            if isinstance(event, Listening):
                listening.release()

        async with Driver(server, on_event=heard) as driver:
            driver.call(server.start)
            await asyncio.to_thread(over.wait)

    def live() -> None:
        with lab.enter(host):
            asyncio.run(serve())

    thread = threading.Thread(target=live, name="relay")
    thread.start()
    try:
        for _ in listeners:
            assert listening.acquire(timeout=PATIENCE)
        yield server
    finally:
        over.set()
        thread.join(PATIENCE)
