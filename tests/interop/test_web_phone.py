"""A guest's web phone: page and WebSocket from the same door, calls with our client, relays by SERVICE."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright")

from playwright.async_api import async_playwright

from tests.conftest import unavailable
from tests.e2e.programs import DOMAIN, Company, password
from tests.interop.webphone import RELAYS_ONLY, Guest, built, guests

pytestmark = pytest.mark.interop("chromium")


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    """Front end and edge, with a door for browsers; Alice and Bob have accounts."""
    if (reason := built()) is not None:
        unavailable(reason)
    company = Company(tmp_path)
    try:
        company.serves(websocket=True)
        company.adds("alice", "bob")
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
    company.answers("bob")

    async def visit(new_guest: Callable[..., Coroutine[Any, Any, Guest]]) -> None:
        alice = await new_guest(RELAYS_ONLY)
        await alice.signs_in("alice", password("alice"))
        await alice.is_ready()
        await alice.dials("bob")
        await alice.talks()
        await alice.reads("#path", f"relayed via edge {company.ip} over UDP")

    at_the_door(company, visit)
