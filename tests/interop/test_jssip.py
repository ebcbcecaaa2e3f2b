"""JsSIP in Chromium registers over a WebSocket with our edge and front end, and signalling goes both ways."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright")

from iceway.trace.records import SipReceived
from tests.conftest import unavailable
from tests.e2e.programs import DOMAIN, Company, password
from tests.interop.jssip import WebPhone, bundle, web_phones

pytestmark = pytest.mark.interop("chromium")


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """Front end and edge, with a door for browsers; Alice and Bob have accounts."""
    if isinstance(bundle(), str):
        unavailable(str(bundle()))
    company = Company(tmp_path_factory.mktemp("company"))
    try:
        company.serves(websocket=True)
        company.adds("alice", "bob")
        yield company
    finally:
        company.close()


def in_browser(company: Company, talk: Callable[..., Coroutine[Any, Any, None]], *people: str) -> None:
    """What people do, each in a page of one browser, once they are registered."""
    script = bundle()
    assert isinstance(script, Path)
    door = f"{company.ip}:{company.ports['websocket-port']}"

    async def live() -> None:
        async with web_phones(script, f"https://{door}") as new_phone:
            phones = [await new_phone() for _ in people]
            for name, phone in zip(people, phones, strict=True):
                await phone.begin(f"wss://{door}/", f"sip:{name}@{DOMAIN}", password(name))
            for phone in phones:
                await phone.hears("registered")
            await talk(*phones)

    asyncio.run(live())


def test_a_browser_registers_and_leaves(company: Company) -> None:
    async def alice(phone: WebPhone) -> None:
        await phone.leaves()
        await phone.hears("disconnected")
        assert "registration failed" not in str(await phone.told())

    in_browser(company, alice, "alice")


def test_a_message_goes_from_browser_to_browser(company: Company) -> None:
    """In over one WebSocket and out over another, by the Path and the token of its flow."""

    async def chat(alice: WebPhone, bob: WebPhone) -> None:
        await alice.says(f"sip:bob@{DOMAIN}", "Grüße")
        await bob.hears("message: Grüße")
        await alice.hears("delivered: 200")

    in_browser(company, chat, "alice", "bob")


def test_a_call_of_the_browser_rings_at_our_client(company: Company) -> None:
    bob = company.answers("bob")

    async def alice(phone: WebPhone) -> None:
        await phone.calls(f"sip:bob@{DOMAIN}")
        await asyncio.to_thread(bob.prints, "call from|alice@")

    in_browser(company, alice, "alice")
    bob.interrupted()
    (invite, *_) = [
        entry.record
        for entry in company.trace("bob")
        if isinstance(entry.record, SipReceived) and entry.record.start_line.startswith("INVITE")
    ]
    assert "SIP/2.0/WSS" in invite.text
    assert f"Contact: <sip:alice@{DOMAIN};gr=" in invite.text, (
        "its public GRUU, since its own host is .invalid"
    )
    assert "UDP/TLS/RTP/SAVPF" in invite.text


def test_sound_goes_both_ways_between_the_browser_and_our_client(company: Company) -> None:
    """Over DTLS-SRTP. The browser's microphone beeps; our client plays its speech."""
    bob = company.answers("bob")

    async def alice(phone: WebPhone) -> None:
        await phone.calls(f"sip:bob@{DOMAIN}")
        await phone.hears("confirmed")
        await phone.talks()
        await phone.hangs_up()
        await phone.hears("ended")

    in_browser(company, alice, "alice")
    bob.interrupted()
    with wave.open(str(company.path("bob-1.wav"))) as recorded:
        heard = np.frombuffer(recorded.readframes(recorded.getnframes()), np.int16)
    assert np.abs(heard.astype(float)).max() > 1000, "no beep"


def test_our_client_rings_at_the_browser_and_hears_that_she_is_busy(company: Company) -> None:
    async def alice(phone: WebPhone) -> None:
        caller = asyncio.create_task(asyncio.to_thread(company.calls, "bob", "alice", "call"))
        await phone.hears(f"invited by sip:bob@{DOMAIN}")
        await phone.rejects(486)
        assert "486" in (await caller).told()

    in_browser(company, alice, "alice")
