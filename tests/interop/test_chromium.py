"""aiortc on our agent and Chromium exchange words over a data channel, with kernel NATs between them.

Alice is aiortc, Bob is the browser. Candidates are trickled both ways, and both ends must name the same pair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import iceway.aiortc
from iceway.aiortc import Settings
from iceway.core.address import Transport
from iceway.ice.candidate import CandidateType
from iceway.ice.config import AgentConfig
from iceway.ice.events import CandidatePath
from iceway.lab import topologies
from iceway.lab.namespaces import KernelLab
from iceway.lab.topologies import EDGE_OUTER
from iceway.lab.topology import Firewall, Nat, Topology

pytest.importorskip("aiortc")
pytest.importorskip("playwright")

from aiortc import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

from tests.interop.chromium import NO_MDNS, PATIENCE, Peer, browser, relay

pytestmark = pytest.mark.interop("chromium", "ip", "nft", "nsenter", "unshare")

SETTLING = 12.0
TURN = [f"turn:{EDGE_OUTER}:3478", f"turn:{EDGE_OUTER}:3478?transport=tcp"]
STUN = f"stun:{EDGE_OUTER}:3478"


@pytest.fixture(autouse=True)
def _ours() -> Iterator[None]:
    with iceway.aiortc.installed():
        yield


def alice(*, relay_only: bool = False) -> RTCPeerConnection:
    configuration = RTCConfiguration([RTCIceServer(STUN), RTCIceServer(TURN, "user", "secret")])
    if relay_only:
        configuration.iceTransportPolicy = RTCIceTransportPolicy.RELAY
    return RTCPeerConnection(configuration)


def config_of_bob(*, relay_only: bool = False) -> dict[str, Any]:
    servers = [{"urls": STUN}, {"urls": TURN, "username": "user", "credential": "secret"}]
    return {"iceServers": servers, "iceTransportPolicy": "relay" if relay_only else "all"}


async def introduce(pc: RTCPeerConnection, peer: Peer, *, browser_offers: bool, trickle: bool = True) -> None:
    """Descriptions one after the other, candidates whenever they come."""
    said: list[str] = []

    async def ours(candidate: RTCIceCandidate | None) -> None:
        if candidate is not None:
            line = f"candidate:{candidate_to_sdp(candidate)}"
            said.append(line)
            await peer.take_candidate({"candidate": line, "sdpMid": candidate.sdpMid})

    async def theirs(found: dict[str, Any] | None) -> None:
        if found is None or not found["candidate"]:
            return
        candidate = candidate_from_sdp(found["candidate"].partition(":")[2])
        candidate.sdpMid, candidate.sdpMLineIndex = found["sdpMid"], found["sdpMLineIndex"]
        await pc.addIceCandidate(candidate)

    if browser_offers:
        await pc.setRemoteDescription(RTCSessionDescription(await peer.offer(), "offer"))
        if trickle:
            pc.on("icecandidate", ours)
        await pc.setLocalDescription(await pc.createAnswer())
        await peer.take_answer(pc.localDescription.sdp)
        await peer.trickle_to(theirs)
        return
    # The browser refuses candidates before the offer.
    offered = asyncio.Event()

    async def after_the_offer(candidate: RTCIceCandidate | None) -> None:
        await offered.wait()
        await ours(candidate)

    if trickle:
        pc.on("icecandidate", after_the_offer)
    await pc.setLocalDescription(await pc.createOffer())
    answer = await peer.answer(pc.localDescription.sdp)
    offered.set()
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await peer.trickle_to(theirs)


async def talk(pc: RTCPeerConnection, peer: Peer, *, browser_offers: bool, trickle: bool = True) -> None:
    """A word goes to who answers and back, whoever opened the channel."""
    heard: asyncio.Queue[str] = asyncio.Queue()

    def use(channel: Any) -> None:
        channel.on("message", heard.put_nowait)

    if browser_offers:
        pc.on("datachannel", use)
        await introduce(pc, peer, browser_offers=True, trickle=trickle)
        await peer.send("hello from the browser")
        assert await heard.get() == "hello from the browser"
    else:
        channel = pc.createDataChannel("words")
        use(channel)
        channel.on("open", lambda: channel.send("hello"))
        await introduce(pc, peer, browser_offers=False, trickle=trickle)
        assert await heard.get() == "hello back"


async def agreed(pc: RTCPeerConnection, peer: Peer, wanted: Callable[[CandidatePath], bool]) -> None:
    """Returns when both ends name the same pair and it is of the kind that is wanted."""
    (connection,) = iceway.aiortc.connections(pc)
    theirs = None
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLING):
            while True:
                path, theirs = connection.path, await peer.selected()
                if path is not None and theirs is not None and wanted(path):
                    local, remote = theirs
                    if (path.local.address.port, path.remote.address.port) == (remote[1], local[1]):
                        return
                await asyncio.sleep(0.1)
    pytest.fail(f"no agreement on the best path; the browser: {theirs}; we: {connection.why()}")


def kind(path: CandidatePath) -> str:
    types = {path.local.type.value, path.remote.type.value}
    return "relayed" if "relay" in types else "direct" if types == {"host"} else "reflexive"


def on(topology: Topology, run: Callable[[KernelLab], Coroutine[Any, Any, None]]) -> None:
    with KernelLab(topology) as lab, relay(lab, "edge", EDGE_OUTER), lab.enter("alice"):
        asyncio.run(run(lab))


@pytest.mark.parametrize(
    ("topology", "wanted"),
    [
        (topologies.one_lan(), "direct"),
        (topologies.reflexive(), "reflexive"),
        (topologies.relayed_udp(), "relayed"),
        (topologies.relayed_tcp(), "relayed"),
    ],
    ids=lambda value: value.name if isinstance(value, Topology) else "",
)
def test_the_best_path_whoever_offers(topology: Topology, wanted: str, tmp_path: Path) -> None:
    async def run(lab: KernelLab) -> None:
        async with browser(lab, "bob", tmp_path, NO_MDNS) as chromium:
            for browser_offers in (False, True):
                async with asyncio.timeout(PATIENCE), chromium.peer(config_of_bob()) as peer:
                    pc = alice()
                    await talk(pc, peer, browser_offers=browser_offers)
                    await agreed(pc, peer, lambda path: kind(path) == wanted)
                    await pc.close()

    on(topology, run)


def test_relays_alone_by_policy_of_both(tmp_path: Path) -> None:
    def both_relayed(path: CandidatePath) -> bool:
        return {path.local.type, path.remote.type} == {CandidateType.RELAY}

    async def run(lab: KernelLab) -> None:
        async with browser(lab, "bob", tmp_path, NO_MDNS) as chromium:
            for browser_offers in (False, True):
                async with asyncio.timeout(PATIENCE), chromium.peer(config_of_bob(relay_only=True)) as peer:
                    pc = alice(relay_only=True)
                    await talk(pc, peer, browser_offers=browser_offers)
                    await agreed(pc, peer, both_relayed)
                    await pc.close()

    on(topologies.reflexive(), run)


def test_over_tcp_where_udp_is_blocked_and_there_is_no_relay(tmp_path: Path) -> None:
    """We can be reached, and listen; the browser connects through its NAT."""
    reachable = topologies.nats(None, Nat())
    blocked = [
        replace(router, firewall=Firewall(block_udp=True)) if router.name == "hq-nat" else router
        for router in reachable.routers
    ]

    async def run(lab: KernelLab) -> None:
        async with browser(lab, "bob", tmp_path, NO_MDNS) as chromium:
            for browser_offers in (False, True):
                async with asyncio.timeout(PATIENCE), chromium.peer({}) as peer:
                    pc = RTCPeerConnection(RTCConfiguration([]))
                    await talk(pc, peer, browser_offers=browser_offers)
                    (connection,) = iceway.aiortc.connections(pc)
                    assert connection.path is not None
                    assert connection.path.local.transport is Transport.TCP
                    await pc.close()

    with iceway.aiortc.installed(Settings(agent=AgentConfig(controlling=False, tcp=True))):
        on(replace(reachable, routers=tuple(blocked)), run)


def test_restarts_by_either(tmp_path: Path) -> None:
    """New credentials on both ends, and words go on."""

    async def run(lab: KernelLab) -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        async with (
            browser(lab, "bob", tmp_path, NO_MDNS) as chromium,
            asyncio.timeout(PATIENCE),
            chromium.peer(config_of_bob()) as peer,
        ):
            pc = alice()
            channel = pc.createDataChannel("words")
            opened = asyncio.Event()
            channel.on("open", opened.set)
            channel.on("message", heard.put_nowait)
            await introduce(pc, peer, browser_offers=False)
            await opened.wait()
            (connection,) = iceway.aiortc.connections(pc)
            known = {connection.local_username, connection.remote_username}

            iceway.aiortc.restart(pc)
            await pc.setLocalDescription(await pc.createOffer())
            answer = await peer.answer(pc.localDescription.sdp)
            await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await agreed(pc, peer, lambda path: kind(path) == "reflexive")
            channel.send("we did")
            assert await heard.get() == "we did back"
            known |= {connection.local_username, connection.remote_username}

            await pc.setRemoteDescription(RTCSessionDescription(await peer.restart(), "offer"))
            await pc.setLocalDescription(await pc.createAnswer())
            await peer.take_answer(pc.localDescription.sdp)
            await agreed(pc, peer, lambda path: kind(path) == "reflexive")
            channel.send("they did")
            assert await heard.get() == "they did back"
            known |= {connection.local_username, connection.remote_username}
            assert len(known) == 6
            await pc.close()

    on(topologies.reflexive(), run)


@pytest.mark.parametrize("hidden", [False, True], ids=["", "ours too"])
def test_addresses_hidden_behind_mdns_names(tmp_path: Path, hidden: bool) -> None:
    """The browser as it comes. We put all candidates into the description, it trickles."""
    settings = Settings(agent=AgentConfig(controlling=False, mdns=hidden))

    async def run(lab: KernelLab) -> None:
        async with browser(lab, "bob", tmp_path) as chromium:
            for browser_offers in (False, True):
                async with asyncio.timeout(PATIENCE), chromium.peer(config_of_bob()) as peer:
                    pc = alice()
                    await talk(pc, peer, browser_offers=browser_offers, trickle=False)
                    assert "a=end-of-candidates" in pc.localDescription.sdp
                    assert ("10.0.0.21" in pc.localDescription.sdp) == (not hidden)
                    await agreed(pc, peer, lambda path: path.remote.address.ip == "10.0.0.20")
                    assert "typ host" in pc.remoteDescription.sdp
                    assert "10.0.0.20" not in pc.remoteDescription.sdp
                    await pc.close()

    with iceway.aiortc.installed(settings):
        on(topologies.one_lan(), run)
