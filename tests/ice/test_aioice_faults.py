"""Faults that were found in another ICE agent (aioice 0.13) by running it, each shown to be absent here.

The first line of a test names the fault of the other one; what follows is what ours does instead.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from iceway.core.address import Transport
from iceway.core.machine import StreamReceived
from iceway.ice.config import IceServer, Policy
from iceway.ice.events import CandidateFound, GatheringSettled, IceState
from iceway.trace import records
from iceway.wire import stun
from iceway.wire.channel_data import serialize_channel_data
from tests.ice.harness import EDGE, Network, Peer, exchange, mirrored, turn

DEAD = "198.51.100.66"


def neighbours(seed: int = 1, *, delay: float = 0.01, **weather: float) -> tuple[Network, Peer, Peer]:
    network = Network(seed, **weather)
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True, delay=delay)
    bob = network.agent("bob", {"10.0.0.2": None}, controlling=False, delay=delay)
    for peer in (alice, bob):
        peer.gather()
    network.run(0.1)
    return network, alice, bob


def relayed(server: IceServer) -> tuple[Network, Peer, Peer]:
    """Alice talks through her relay only, Bob directly."""
    network = Network()
    network.edge()
    alice = network.agent("alice", {"203.0.113.10": None}, controlling=True, policy=Policy.RELAY)
    bob = network.agent("bob", {"203.0.113.20": None}, controlling=False)
    alice.gather(server)
    bob.gather()
    network.run(1)
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    return network, alice, bob


@pytest.mark.parametrize("jitter", [0.0, 0.02, 0.04, 0.06])
def test_ends_select_the_same_pair_under_jitter_on_two_families(jitter: float) -> None:
    """Fault: in 35 of 60 dual-stack runs the ends selected different pairs."""
    for seed in range(15):
        network = Network(seed, jitter=jitter)
        alice = network.agent("alice", {"203.0.113.1": None, "2001:db8::1": None}, controlling=True)
        bob = network.agent("bob", {"203.0.113.2": None, "2001:db8::2": None}, controlling=False)
        for peer in (alice, bob):
            peer.gather()
        network.run(0.2)
        exchange(alice, bob)
        assert network.run(5, until=lambda: mirrored(alice, bob)), f"seed {seed}"  # noqa: B023
        network.run(10)
        assert mirrored(alice, bob), f"seed {seed}: and they stay with it"


@pytest.mark.parametrize("round_trip", [0.6, 1.2, 4.0])
def test_a_slow_path_keeps_its_session(round_trip: float) -> None:
    """Fault: a round trip above 500 ms killed the session after 33.6 s."""
    network, alice, bob = neighbours(delay=round_trip / 4)
    exchange(alice, bob)
    assert network.run(60, until=lambda: mirrored(alice, bob))
    network.run(300)
    assert {alice.agent.state, bob.agent.state} == {IceState.COMPLETED}
    alice.says(b"still here")
    network.run(round_trip)
    assert bob.heard == [b"still here"]


def test_media_that_looks_like_stun_but_for_the_cookie_is_heard() -> None:
    """Fault: the magic cookie was not checked, so some RTP of G.711 parsed as STUN and was dropped."""
    network, alice, bob = neighbours()
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    silence = b"\xff" * 160
    # RTP whose sequence number is the length that a STUN header would count, and STUN's first byte itself.
    rtp = [b"\x80\x00" + (152).to_bytes(2, "big") + bytes(8) + silence, b"\x80\x08" + bytes(10) + silence]
    other = b"\x00\x01" + (152).to_bytes(2, "big") + b"\x21\x12\xa4\x43" + bytes(4) + silence
    for packet in (*rtp, other):
        alice.says(packet)
        network.run(0.1)
    assert bob.heard == [*rtp, other]
    assert not bob.records(records.Malformed)


def test_malformed_attributes_on_a_relay_stream_close_nothing() -> None:
    """Fault: malformed attributes raised struct.error, which closed a TURN connection over TCP."""
    network, alice, bob = relayed(turn(transport=Transport.TCP))
    (stream,) = [name for host, name in network._streams if host == "alice"]
    head = stun.serialize(
        stun.StunMessage(stun.Method.DATA, stun.MessageClass.INDICATION, bytes(12)), fingerprint=False
    )
    for attribute in (
        b"\x00\x12\x00\x00",  # XOR-PEER-ADDRESS without a value
        b"\x00\x12\x00\x04\x00\x01\xff\xff",  # … cut short
        b"\x00\x12\x00\x08\x00\x09\x12\x34" + bytes(4),  # … of no family
        b"\x00\x13\xff\xff",  # DATA that runs past the end
        b"\x00\x09\x00\x01\x04\x00\x00\x00",  # ERROR-CODE of one byte
    ):
        broken = head[:2] + len(attribute).to_bytes(2, "big") + head[4:] + attribute
        network.give(alice.host, StreamReceived(stream, broken))
    network.give(alice.host, StreamReceived(stream, serialize_channel_data(0x4FFF, b"?", stream=True)))
    assert len(alice.records(records.Malformed)) >= 4
    network.run(120)
    alice.says(b"to bob")
    bob.says(b"to alice")
    network.run(1)
    assert (alice.heard, bob.heard) == ([b"to alice"], [b"to bob"])


@pytest.mark.parametrize("before", [0.0, 0.005, 0.3, 30.0])
def test_close_is_bounded_when_the_relay_is_dead(before: float) -> None:
    """Fault: close() blocked for 63.5 s when the TURN server was dead."""
    network = Network()
    network.edge()
    alice = network.agent("alice", {"203.0.113.10": None}, controlling=True)
    alice.gather(turn(), turn(transport=Transport.TCP), turn(DEAD))
    network.run(before)
    network.dead.add("edge")
    began = network.now
    alice.do(lambda agent, now: agent.close(now))
    assert network.run(5, until=lambda: alice.agent.closed)
    assert network.now - began <= 2.6
    assert not alice.sockets
    assert alice.agent.poll_timeout() is None


def test_a_wrong_password_leaves_a_trace_and_a_reason() -> None:
    """Fault: a wrong TURN password left no trace."""
    network = Network()
    network.edge()
    alice = network.agent("alice", {"203.0.113.10": None}, controlling=True, policy=Policy.RELAY)
    alice.gather(turn(password="wrong"))
    network.run(2)
    (refused,) = alice.records(records.ServerRefused)
    assert refused.code == 401
    assert "does not accept user name and password" in refused.detail
    alice.do(lambda agent, now: agent.set_remote("peer", "p" * 24, now))
    alice.do(lambda agent, now: agent.end_of_remote_candidates(now))
    network.run(60)
    assert alice.agent.state is IceState.FAILED
    (failed,) = [r for r in alice.records(records.IceStateChanged) if r.state == "failed"]
    assert "401" in failed.reason


def test_nothing_is_repeated_over_tcp() -> None:
    """Fault: STUN was retransmitted over TCP."""
    network = Network()
    network.edge()
    alice = network.agent("alice", {"203.0.113.10": None}, controlling=True)
    alice.gather(turn(transport=Transport.TCP))
    network.run(0.03)
    network.dead.add("edge")  # The connection comes up, and then nobody answers.
    network.run(60)
    sent = [record.transaction_id for record in alice.records(records.StunSent) if record.transport == "tcp"]
    assert len(sent) == 1
    (lost,) = alice.records(records.ServerUnreachable)
    assert lost.detail == "no answer to the request in 39.5 s"


def test_a_dead_server_delays_no_other() -> None:
    """Fault: one dead server delayed gathering by 5 s."""

    def found(*servers: IceServer) -> tuple[list[float], float]:
        network = Network()
        network.edge()
        alice = network.agent("alice", {"203.0.113.10": None}, controlling=True)
        began = network.now
        alice.gather(*servers)
        times: list[float] = []
        while network.now < began + 3 and not (alice.events(GatheringSettled) and times[1:]):
            network.run(0.005)
            times += [network.now - began] * (len(alice.events(CandidateFound)) - len(times))
        return times, network.now - began

    alone, _ = found(turn())
    beside, settled = found(turn(DEAD), turn(DEAD, Transport.TCP), turn())
    assert len(alone) == len(beside) == 2, "host and relay"
    assert all(late - early <= 0.02 for early, late in zip(alone, beside, strict=True))
    assert settled <= 0.6, "and the offer goes out"


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_permissions_and_channels_are_renewed_before_permissions_end(transport: Transport) -> None:
    """Fault: the channel was refreshed after 500 s, though permissions last 300 s."""
    network, alice, bob = relayed(turn(transport=transport))
    renewals: dict[str, list[float]] = {"ChannelBind": [], "CreatePermission": []}
    network.run(1800)
    for at, who, record in network.log:
        if who == "alice" and isinstance(record, records.StunReceived) and record.method in renewals:
            assert record.message_class == "success"
            renewals[record.method].append(at)
    for times in renewals.values():
        assert len(times) >= 6
        assert max(later - earlier for earlier, later in pairwise([*times, network.now])) < 300
    bob.says(b"after half an hour")
    network.run(1)
    assert alice.heard == [b"after half an hour"]
    assert alice.agent.selected is not None
    assert alice.agent.selected.local.address.ip == EDGE
    assert bob.agent.selected.remote.address == alice.agent.selected.local.address
