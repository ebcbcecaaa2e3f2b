"""ICE restarts, by whoever of the two, and the change of an interface in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCIceCandidate, RTCPeerConnection

import iceway.aiortc
from iceway.aiortc import Connection
from iceway.core.machine import AddressesChanged
from tests.aiortc.harness import PATIENCE, offer_and_answer, settings


@dataclass
class Talk:
    """Two peer connections and a channel between them."""

    caller: RTCPeerConnection = field(default_factory=lambda: RTCPeerConnection(RTCConfiguration([])))
    callee: RTCPeerConnection = field(default_factory=lambda: RTCPeerConnection(RTCConfiguration([])))
    answers: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self.channel: RTCDataChannel = self.caller.createDataChannel("words")
        self.channel.on("message", self.answers.put_nowait)
        self.callee.on(
            "datachannel", lambda theirs: theirs.on("message", lambda word: theirs.send(f"{word}!"))
        )

    async def begin(self) -> None:
        opened = asyncio.Event()
        self.channel.on("open", opened.set)
        await offer_and_answer(self.caller, self.callee)
        await asyncio.wait_for(opened.wait(), PATIENCE)

    async def says(self, word: str) -> None:
        self.channel.send(word)
        assert await asyncio.wait_for(self.answers.get(), PATIENCE) == f"{word}!"

    def credentials(self) -> list[tuple[str, str]]:
        return [(one.local_username, one.local_password) for one in self.connections]

    @property
    def connections(self) -> list[Connection]:
        return [one for pc in (self.caller, self.callee) for one in iceway.aiortc.connections(pc)]

    async def found_again(self) -> None:
        """Both ends have chosen a pair of the new search."""
        async with asyncio.timeout(PATIENCE):
            while not all(map(selected, self.connections)):  # noqa: ASYNC110 - nothing is told of it
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        await asyncio.gather(self.caller.close(), self.callee.close())


def selected(connection: Connection) -> bool:
    transports = [entry for entry in connection.statistics().values() if entry["type"] == "transport"]
    return all("selectedCandidatePairId" in transport for transport in transports)


@pytest.fixture
def _ours() -> Iterator[None]:
    with iceway.aiortc.installed(settings()):
        yield


@pytest.mark.usefixtures("_ours")
@pytest.mark.parametrize("caller_begins", [True, False])
def test_new_credentials_and_a_new_path_under_the_same_channel(caller_begins: bool) -> None:
    async def run() -> None:
        talk = Talk()
        await talk.begin()
        await talk.says("before")
        before = talk.credentials()
        beginner, other = (talk.caller, talk.callee) if caller_begins else (talk.callee, talk.caller)
        iceway.aiortc.restart(beginner)
        await talk.says("during")
        await offer_and_answer(beginner, other)
        await talk.found_again()
        await talk.says("after")
        assert not set(before) & set(talk.credentials())
        assert talk.caller.connectionState == talk.callee.connectionState == "connected"
        await talk.end()

    asyncio.run(run())


@pytest.mark.usefixtures("_ours")
def test_a_reoffer_without_a_restart_changes_nothing() -> None:
    async def run() -> None:
        talk = Talk()
        ends: list[RTCIceCandidate | None] = []
        talk.caller.on("icecandidate", lambda candidate: ends.append(candidate))
        await talk.begin()
        before = talk.credentials()
        await offer_and_answer(talk.caller, talk.callee)
        await talk.says("still there")
        assert talk.credentials() == before
        assert [candidate and candidate.type for candidate in ends] == ["host", None]
        await talk.end()

    asyncio.run(run())


def test_the_interface_changes_and_the_channel_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ["127.0.0.1"]

    async def run() -> None:
        talk = Talk()
        reasons: asyncio.Queue[str] = asyncio.Queue()
        talk.caller.on("icerestartneeded", reasons.put_nowait)
        await talk.begin()
        await talk.found_again()
        caller, _ = talk.connections
        here[:] = ["127.0.0.9"]
        assert caller._driver is not None
        caller._driver.feed(AddressesChanged(tuple(here)))  # it would look by itself within 5 s
        assert "127.0.0.1, which is gone" in await asyncio.wait_for(reasons.get(), PATIENCE)
        iceway.aiortc.restart(talk.caller)
        await offer_and_answer(talk.caller, talk.callee)
        assert "127.0.0.9" in talk.caller.localDescription.sdp
        await talk.found_again()
        await talk.says("from elsewhere")
        assert caller.path is not None
        assert caller.path.local.address.ip == "127.0.0.9"
        await talk.end()

    with iceway.aiortc.installed(settings(addresses=lambda: tuple(here))):
        asyncio.run(run())


def test_a_peer_that_does_not_follow_stays_on_the_old_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiortc with aioice answers as if nothing had happened."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])

    async def run() -> None:
        with iceway.aiortc.installed(settings()):
            talk = Talk()
        plain: Any = talk.callee
        await talk.begin()
        assert [len(iceway.aiortc.connections(pc)) for pc in (talk.caller, plain)] == [1, 0]
        iceway.aiortc.restart(talk.caller)
        await offer_and_answer(talk.caller, plain)
        await talk.says("as before")
        await talk.end()

    asyncio.run(run())
