"""aiortc's own peer connections on our agent."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiortc import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceGatherer,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    rtcicetransport,
)

import iceway.aiortc
from iceway.aiortc import Connection
from iceway.core.address import Address, Transport
from iceway.core.errors import EnvironmentFailure
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig
from iceway.io.devca import DevCa
from tests.aiortc.harness import echoed, relay, settings, silent_server
from tests.io.harness import LOOPS

ALONE = RTCConfiguration([])


@pytest.fixture
def _ours() -> Iterator[None]:
    with iceway.aiortc.installed(settings()):
        yield


def configuration(*urls: str, relay_only: bool = False) -> RTCConfiguration:
    configured = RTCConfiguration([RTCIceServer(list(urls), "user", "secret")])
    if relay_only:
        configured.iceTransportPolicy = RTCIceTransportPolicy.RELAY
    return configured


def test_installed_and_taken_away_again() -> None:
    before = (rtcicetransport.Connection, RTCIceGatherer.gather, RTCPeerConnection.setLocalDescription)
    iceway.aiortc.install()
    iceway.aiortc.install(settings())
    assert isinstance(RTCIceGatherer([])._connection, Connection)
    iceway.aiortc.uninstall()
    iceway.aiortc.uninstall()
    after = (rtcicetransport.Connection, RTCIceGatherer.gather, RTCPeerConnection.setLocalDescription)
    assert before == after
    assert not isinstance(RTCIceGatherer([])._connection, Connection)


def test_without_aiortc_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)
    with pytest.raises(EnvironmentFailure, match=r"pip install 'iceway\[aiortc\]'"):
        iceway.aiortc.install()


@pytest.mark.usefixtures("_ours")
@pytest.mark.parametrize("loop", LOOPS)
def test_a_data_channel(loop: str) -> None:
    async def run() -> None:
        alice, bob = RTCPeerConnection(ALONE), RTCPeerConnection(ALONE)
        assert await echoed(alice, bob) == "hello back"
        (connection,) = iceway.aiortc.connections(alice)
        assert connection.path is not None
        assert iceway.aiortc.why(alice).startswith("state: ")
        assert "transport" in {entry["type"] for entry in iceway.aiortc.statistics(alice).values()}
        await asyncio.gather(alice.close(), bob.close())
        assert (alice.iceConnectionState, bob.iceConnectionState) == ("closed", "closed")

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(run())


@pytest.mark.usefixtures("_ours")
def test_a_peer_that_is_closed_without_having_been_used() -> None:
    async def run() -> None:
        alice = RTCPeerConnection(ALONE)
        alice.createDataChannel("words")
        await alice.setLocalDescription()
        await asyncio.wait_for(alice.close(), 1)

    asyncio.run(run())


@pytest.mark.usefixtures("_ours")
def test_nothing_is_left_behind() -> None:
    async def run() -> list[weakref.ref[Any]]:
        async with relay(Transport.UDP) as (_, (udp,)):
            alice, bob = RTCPeerConnection(configuration(f"turn:{udp}")), RTCPeerConnection(ALONE)
            alice.on("icecandidate", lambda candidate: None)
            assert await echoed(alice, bob) == "hello back"
            (connection,) = iceway.aiortc.connections(alice)
            left = [weakref.ref(one) for one in (alice, bob, connection, connection._agent)]
            await asyncio.gather(alice.close(), bob.close())
            async with asyncio.timeout(5):
                while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - the relay is told goodbye
                    await asyncio.sleep(0.01)
            return left

    open_before = len(os.listdir("/proc/self/fd"))
    left = asyncio.run(run())
    gc.collect()
    assert [one() for one in left] == [None] * 4
    assert len(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.usefixtures("_ours")
def test_several_servers_of_one_configuration() -> None:
    async def run() -> None:
        async with relay(Transport.UDP, Transport.TCP) as (server, (udp, tcp)):
            urls = (f"stun:{udp}", f"turn:{udp}", f"turn:{tcp}?transport=tcp")
            alice, bob = RTCPeerConnection(configuration(*urls, relay_only=True)), RTCPeerConnection(ALONE)
            assert await echoed(alice, bob) == "hello back"
            sdp = alice.localDescription.sdp
            assert sdp.count("typ relay") == 2
            assert "typ host" not in sdp
            assert len(server.allocations) == 2
            await asyncio.gather(alice.close(), bob.close())

    asyncio.run(run())


def test_turn_over_tls_by_an_authority_of_our_own(tmp_path: Path) -> None:
    ca = DevCa.open(tmp_path)
    keys = ca.keystore(relay=ca.issue("relay", ["localhost"]))

    async def run() -> None:
        async with relay(Transport.TLS, keys=keys) as (_, (tls,)):
            trusting = RTCPeerConnection(configuration(f"turns:localhost:{tls.port}", relay_only=True))
            bob = RTCPeerConnection(ALONE)
            assert await echoed(trusting, bob) == "hello back"
            (connection,) = iceway.aiortc.connections(trusting)
            assert connection.path is not None
            assert connection.path.local.relay_transport is Transport.TLS
            await asyncio.gather(trusting.close(), bob.close())

    with iceway.aiortc.installed(settings(trust=(ca.certificate_path,))):
        asyncio.run(run())


@pytest.mark.usefixtures("_ours")
def test_candidates_are_trickled_both_ways_and_end() -> None:
    """Alice's dead server does not hold up her offer, and her relay is announced when it is there."""

    class Wire:
        """Signalling that carries the candidates after the description they belong to."""

        def __init__(self) -> None:
            self.said: dict[RTCPeerConnection, list[RTCIceCandidate | None]] = {}
            self.order: list[str] = []
            self.relayed = asyncio.Event()

        def join(self, sender: RTCPeerConnection, receiver: RTCPeerConnection) -> None:
            said = self.said[sender] = []

            @sender.on("icecandidate")
            async def _(candidate: RTCIceCandidate | None) -> None:
                said.append(candidate)
                self.order.append("candidate" if candidate is not None else "end")
                if candidate is not None and candidate.type == "relay":
                    self.relayed.set()
                await receiver.addIceCandidate(candidate)

        async def signal(self, caller: RTCPeerConnection, callee: RTCPeerConnection) -> None:
            await caller.setLocalDescription(await caller.createOffer())
            self.order.append("offer")
            assert "a=ice-options:trickle" in caller.localDescription.sdp
            await callee.setRemoteDescription(caller.localDescription)
            await callee.setLocalDescription(await callee.createAnswer())
            self.order.append("answer")
            await caller.setRemoteDescription(callee.localDescription)

    async def run() -> None:
        with silent_server() as hole:
            async with relay(Transport.UDP) as (_, (udp,)):
                wire = Wire()
                alice = RTCPeerConnection(configuration(f"turn:{Address(*hole)}", f"turn:{udp}"))
                bob = RTCPeerConnection(ALONE)
                wire.join(alice, bob)
                wire.join(bob, alice)
                assert await echoed(alice, bob, wire.signal) == "hello back"
                await asyncio.wait_for(wire.relayed.wait(), 10)
                assert wire.order[0] == "offer"
                assert [candidate and candidate.type for candidate in wire.said[alice]] == ["host", "relay"]
                assert [candidate and candidate.type for candidate in wire.said[bob]] == ["host", None]
                places = {
                    (candidate.sdpMid, candidate.sdpMLineIndex) for candidate in wire.said[alice] if candidate
                }
                assert places == {("0", 0)}
                assert (alice.iceGatheringState, bob.iceGatheringState) == ("gathering", "complete")
                await asyncio.gather(alice.close(), bob.close())

    asyncio.run(run())


@pytest.mark.usefixtures("_ours")
def test_both_announce_that_the_path_may_move_and_hear_it_of_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[bool] = []
    original = Agent.set_remote

    def spy(self: Agent, *what: Any, renomination: bool, **more: Any) -> None:
        told.append(renomination)
        original(self, *what, renomination=renomination, **more)

    monkeypatch.setattr(Agent, "set_remote", spy)

    async def run() -> None:
        alice, bob = RTCPeerConnection(ALONE), RTCPeerConnection(ALONE)
        assert await echoed(alice, bob) == "hello back"
        for pc in (alice, bob):
            assert "a=ice-options:renomination" in pc.localDescription.sdp
        await asyncio.gather(alice.close(), bob.close())

    asyncio.run(run())
    assert told == [True, True]


@pytest.mark.usefixtures("_ours")
def test_a_gatherer_by_itself_trickles() -> None:
    async def run() -> None:
        gatherer = RTCIceGatherer([])
        heard: list[Any] = []
        states: list[str] = []
        gatherer.on("icecandidate", heard.append)
        gatherer.on("statechange", lambda: states.append(gatherer.state))
        await gatherer.gather()
        await gatherer.gather()
        assert [candidate and candidate.type for candidate in heard] == ["host", None]
        assert states == ["gathering", "completed"]
        await gatherer._connection.close()

    asyncio.run(run())


def test_names_in_place_of_addresses() -> None:
    """The description is valid without an address of ours: c= names nobody, a name stands in the candidate."""

    async def run() -> None:
        alice, bob = RTCPeerConnection(ALONE), RTCPeerConnection(ALONE)
        alice.createDataChannel("words")
        await alice.setLocalDescription()
        sdp = alice.localDescription.sdp
        assert ".local" in sdp
        assert "c=IN IP4 0.0.0.0" in sdp
        assert "127.0.0.1" not in sdp
        await bob.setRemoteDescription(alice.localDescription)
        await asyncio.gather(alice.close(), bob.close())

    with iceway.aiortc.installed(settings(agent=AgentConfig(controlling=False, mdns=True))):
        asyncio.run(run())


@pytest.mark.parametrize("we_offer", [True, False])
def test_aioice_on_the_other_side(monkeypatch: pytest.MonkeyPatch, we_offer: bool) -> None:
    """What was made while we were installed goes on with us; what comes later is aioice's again."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])

    async def run() -> None:
        alice, bob = RTCPeerConnection(ALONE), RTCPeerConnection(ALONE)
        with iceway.aiortc.installed(settings()):
            alice.createDataChannel("first")
        bob.createDataChannel("first")
        assert [len(iceway.aiortc.connections(pc)) for pc in (alice, bob)] == [1, 0]
        assert await (echoed(alice, bob) if we_offer else echoed(bob, alice)) == "hello back"
        await asyncio.gather(alice.close(), bob.close())

    asyncio.run(run())
