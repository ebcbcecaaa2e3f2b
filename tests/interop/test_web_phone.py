"""A guest's web phone: page and WebSocket from the same door, calls with our client, relays by SERVICE."""

from __future__ import annotations

import asyncio
import re
import wave
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright")

from playwright.async_api import WebSocketRoute, async_playwright, expect

from iceway.client.run import CallFailed, Client, make_media
from iceway.media.speech import speech
from tests.conftest import unavailable
from tests.e2e.programs import DOMAIN, Company, password
from tests.interop.webphone import RELAYS_ONLY, Guest, built, guests

pytestmark = pytest.mark.interop("chromium")


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """Front end and edge, with a door for browsers; Alice, Bob and Carol have accounts."""
    if (reason := built()) is not None:
        unavailable(reason)
    company = Company(tmp_path_factory.mktemp("company"))
    try:
        told = company.serves(websocket=True).output
        assert f"In a browser: https://{company.ip}:{company.ports['websocket-port']}/" in told
        company.adds("alice", "bob", "carol")
        yield company
    finally:
        company.close()


def at_the_door(company: Company, visit: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """What guests do, who are let in one by one."""
    url = f"https://{company.ip}:{company.ports['websocket-port']}/"

    async def live() -> None:
        async with async_playwright() as playwright, guests(playwright, url) as new_guest:
            await visit(new_guest)

    asyncio.run(live())


def loudest(path: Path) -> float:
    with wave.open(str(path)) as recorded:
        samples = np.frombuffer(recorded.readframes(recorded.getnframes()), np.int16)
    return float(np.abs(samples.astype(float)).max())


def test_a_guest_signs_in_calls_is_called_and_leaves_nothing_behind(company: Company) -> None:
    bob = company.answers("bob")

    async def visit(new_guest: Callable[..., Coroutine[Any, Any, Guest]]) -> None:
        alice = await new_guest()
        await alice.signs_in("alice", "not it")
        await alice.reads("#sign-in-trouble", "Address or password is wrong.")
        await alice.signs_in("alice", password("alice"))
        await alice.is_ready()

        await alice.dials("nobody")
        await alice.reads("#notice", "There is nobody of that name here.")

        await alice.dials("bob")
        await alice.talks()
        await alice.reads("#path", "direct")
        await alice.reads("#quality", "Opus")
        await alice.types("k", "5")
        await asyncio.to_thread(bob.prints, "they press 5")
        await alice.types("h")
        await asyncio.to_thread(bob.prints, "they hold the call")
        await alice.reads("#call-state", "on hold")
        await alice.types("h")
        await asyncio.to_thread(bob.prints, "the call goes on")
        await alice.types("m")
        await alice.reads("#mute", "Unmute")
        await alice.presses("Hang up")
        await alice.reads("#recent", "you called, talked 0:0")

        caller = asyncio.create_task(asyncio.to_thread(company.calls, "bob", "alice", "call"))
        await alice.reads("#ringing", f"bob@{DOMAIN} calls")
        await alice.types("Enter")
        await alice.talks()
        await caller
        await alice.reads("#recent", "called you, talked 0:0")

        kept = await alice.page.evaluate(
            "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        )
        assert password("alice") not in kept
        assert f"alice@{DOMAIN}" in kept
        # The one refusal is the password's; nothing broke the content security policy.
        assert [one for one in alice.complaints if "401" not in one] == []

    at_the_door(company, visit)
    bob.interrupted()
    assert loudest(company.path("bob-1.wav")) > 1000
    assert loudest(company.path("call.wav")) > 1000


def test_relays_come_by_service_and_the_page_says_which_is_used(company: Company) -> None:
    bob = company.answers("bob")

    async def visit(new_guest: Callable[..., Coroutine[Any, Any, Guest]]) -> None:
        alice = await new_guest(RELAYS_ONLY)
        await alice.signs_in("alice", password("alice"))
        await alice.is_ready()
        await alice.dials("bob")
        await alice.talks()
        await alice.reads("#path", f"relayed via edge {company.ip} over UDP")
        await alice.presses("Hang up")

    at_the_door(company, visit)
    bob.interrupted()


def test_relays_are_asked_for_again_before_their_credentials_end(company: Company) -> None:
    async def visit(new_guest: Callable[..., Coroutine[Any, Any, Guest]]) -> None:
        alice = await new_guest()
        asked: list[str] = []

        def sent(payload: str | bytes) -> None:
            if str(payload).startswith("SERVICE") and "Authorization" in str(payload):
                asked.append(str(payload))

        alice.page.on("websocket", lambda socket: socket.on("framesent", sent))
        await alice.page.clock.install()
        await alice.signs_in("alice", password("alice"))
        await alice.is_ready()
        await alice.waits_for(lambda: len(asked) == 1)
        await alice.page.clock.fast_forward("06:20:00")
        await alice.is_ready()
        assert len(asked) == 1
        await alice.page.clock.fast_forward("00:05:00")  # 80 % of 8 hours have gone
        await alice.waits_for(lambda: len(asked) == 2)

    at_the_door(company, visit)


def test_a_change_that_is_refused_is_told_and_the_call_lives(company: Company) -> None:
    """By an answer without the stream, as our client's, and by 488 to all of it, whereupon JsSIP by itself hangs up."""
    bob = company.answers("bob")
    refused: list[str] = []

    def refusing(socket: WebSocketRoute) -> None:
        """Her first re-INVITE is answered on the way."""
        server = socket.connect_to_server()

        def from_page(message: str | bytes) -> None:
            text = str(message)
            branch = re.search(r"branch=(\S+)", text)
            if re.match(r"INVITE .*?\r\nTo: [^\r]*;tag=", text, re.DOTALL) and not refused:
                assert branch is not None
                refused.append(branch[1])
                kept = [line for line in text.split("\r\n") if re.match(r"(Via|From|To|Call-ID|CSeq):", line)]
                socket.send(
                    "\r\n".join(["SIP/2.0 488 Not Acceptable Here", *kept, "Content-Length: 0", "", ""])
                )
            elif branch is None or branch[1] not in refused:
                server.send(message)

        socket.on_message(from_page)

    async def visit(new_guest: Callable[..., Coroutine[Any, Any, Guest]]) -> None:
        alice = await new_guest()
        await alice.page.route_web_socket("wss://**", refusing)
        await alice.signs_in("alice", password("alice"))
        await alice.is_ready()
        await alice.dials("bob")
        await alice.talks()
        for times in (1, 2):
            await alice.presses("Video")
            await alice.reads("#notice", "The phone of bob takes no video.")
            await alice.types("k", "7")
            await asyncio.to_thread(bob.prints, "they press 7", times)
            await alice.types("k")
            await alice.reads("#video", "Video")
        assert refused
        await alice.presses("Hang up")
        await alice.reads("#recent", "talked")

    at_the_door(company, visit)
    bob.interrupted()


def test_a_guest_is_sent_on_to_somebody_else_or_back_if_there_is_nobody(company: Company) -> None:
    """REFER: the page calls whom our client names, and says how that went."""

    def client(name: str) -> Client:
        return Client(
            f"sip:{name}@{DOMAIN}",
            password(name),
            server=f"tls:{company.ip}:{company.ports['access-port']}",
            trust=[company.path("data/ca/ca.pem")],
            media=lambda _: make_media(speech("bob")),
        )

    async def visit(new_guest: Callable[..., Coroutine[Any, Any, Guest]]) -> None:
        async with client("bob") as bob, client("carol") as carol:
            alice = await new_guest()
            await alice.signs_in("alice", password("alice"))
            await alice.is_ready()
            await alice.dials("bob")
            call = await asyncio.wait_for(bob.incoming(), 15)
            call.pick_up()
            await call.answered()
            await alice.reads("#call-state", "0:0")

            call.transfer(f"sip:nobody@{DOMAIN}")
            with pytest.raises(CallFailed, match="404"):
                await call.transferred(20)
            await alice.reads("#notice", "There is nobody of that name here.")
            await alice.reads("#call-peer", "bob")
            await expect(alice.page.locator("#call-state")).not_to_contain_text("hold")
            await alice.types("k", "3")
            assert await call.digit(10) == "3"

            call.transfer(f"sip:carol@{DOMAIN}")
            (await asyncio.wait_for(carol.incoming(), 15)).pick_up()
            await alice.reads("#call-peer", "carol")
            await alice.talks()
            await call.transferred(20)
            await call.ended(10)
            await alice.presses("Hang up")
            assert [one for one in alice.complaints if "404" not in one] == []

    at_the_door(company, visit)


def test_a_connection_that_breaks_is_made_again_and_the_call_goes_on(company: Company) -> None:
    bob = company.answers("bob")
    sockets: list[WebSocketRoute] = []

    def remember(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    async def visit(new_guest: Callable[..., Coroutine[Any, Any, Guest]]) -> None:
        alice = await new_guest()
        await alice.page.route_web_socket("wss://**", remember)
        await alice.signs_in("alice", password("alice"))
        await alice.is_ready()
        await alice.dials("bob")
        await alice.talks()
        await sockets[0].close(code=1011)
        await alice.reads("#line-state", "no connection to the server, trying again")
        await alice.is_ready()
        assert len(sockets) == 2
        await alice.types("k", "9")
        await asyncio.to_thread(bob.prints, "they press 9")
        await asyncio.to_thread(bob.interrupted)
        await alice.reads("#recent", "talked")

    at_the_door(company, visit)
