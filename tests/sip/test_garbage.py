"""Hostile and broken input: whatever comes, endpoint and user agent live on and go on working."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.core.machine import DatagramReceived, Resolved, SendDatagram, StreamReceived
from iceway.sip.endpoint import Target
from iceway.sip.referral import ReferralProgress, Referred
from iceway.sip.useragent import Answered, Ended, Incoming, UserAgent, UserAgentConfig
from tests.sip.sip_net import Net

ALICE, BOB = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060)

# What to put in place of some octets: the grammar's own hooks, and plain rubbish.
SHRAPNEL = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [
            b"\r\n",
            b'"',
            b"<",
            b">",
            b";;",
            b",",
            b"%",
            b"\x00",
            b"\xff",
            b"-1",
            b"99999999999999999999",
            b"*",
            b"@",
        ]
    ),
)
WOUND = st.tuples(st.floats(0, 1), st.integers(0, 8), SHRAPNEL)


def wounded(data: bytes, wounds: list[tuple[float, int, bytes]]) -> bytes:
    for where, cut, patch in wounds:
        at = int(where * len(data))
        data = data[:at] + patch + data[at + cut :]
    return data


def a_pair() -> tuple[Net, UserAgent, UserAgent]:
    net = Net()
    agents = []
    for number, (name, me, peer) in enumerate((("alice", ALICE, BOB), ("bob", BOB, ALICE))):
        config = UserAgentConfig(
            f"sip:{name}@example.test", password="x", outbound=(Target(peer, Transport.UDP),)
        )
        agent = UserAgent(name, config, random.Random(number))
        agents.append(agent)
        net.add(name, agent, me.ip)
        agent.listen(Transport.UDP, me, net.now)
        agent.listen(Transport.TCP, me, net.now)
    net.run(0)
    return net, agents[0], agents[1]


@given(
    st.dictionaries(st.integers(0, 11), st.lists(WOUND, min_size=1, max_size=3), max_size=4), st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_any_damage_to_a_call_is_survived(
    damage: dict[int, list[tuple[float, int, bytes]]], also_whole: bool
) -> None:
    net, alice, bob = a_pair()
    count = 0

    def hits(packet: SendDatagram) -> bool:
        """Damaged copies arrive first; the whole one follows, or only its retransmission does."""
        nonlocal count
        count += 1
        wounds = damage.get(count)
        if wounds is None:
            return False
        receiver = bob if packet.remote == BOB else alice
        event = DatagramReceived(packet.remote, packet.local, wounded(packet.data, wounds))
        net._later(lambda: receiver.handle_input(event, net.now))
        return not also_whole

    net.loses = hits
    a, b = net.nodes["alice"], net.nodes["bob"]

    def picks_up(event: object, now: float) -> None:
        if isinstance(event, Incoming):
            bob.ring(event.call, now, b"v=0")
            bob.accept(event.call, b"v=0", now)

    b.on_event = picks_up
    call = alice.invite("sip:bob@example.test", b"v=0", net.now)
    net.run(80)
    if a.seen(Answered):
        alice.hang_up(call, net.now)
    net.run(80)
    ended = [event.call for event in a.seen(Ended)]
    assert ended.count(call) == 1, "the call has come to one end"
    # And everything still works.
    net.loses = lambda packet: False
    answered = len(a.seen(Answered))
    alice.invite("sip:bob@example.test", b"v=0", net.now)
    net.run(5)
    assert len(a.seen(Answered)) == answered + 1


@given(st.dictionaries(st.integers(0, 7), st.lists(WOUND, min_size=1, max_size=3), max_size=4), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_damage_to_a_transfer_is_survived(
    damage: dict[int, list[tuple[float, int, bytes]]], also_whole: bool
) -> None:
    net, alice, bob = a_pair()
    a, b = net.nodes["alice"], net.nodes["bob"]
    b.on_event = lambda event, now: (
        bob.accept(event.call, b"v=0", now) if isinstance(event, Incoming) else None
    )
    call = alice.invite("sip:bob@example.test", b"v=0", net.now)
    net.run(2)
    count = 0

    def hits(packet: SendDatagram) -> bool:
        nonlocal count
        count += 1
        wounds = damage.get(count)
        if wounds is None:
            return False
        receiver = bob if packet.remote == BOB else alice
        event = DatagramReceived(packet.remote, packet.local, wounded(packet.data, wounds))
        net._later(lambda: receiver.handle_input(event, net.now))
        return not also_whole

    def carries_out(event: object, now: float) -> None:
        if isinstance(event, Referred):
            bob.transfers.accept(event.call, now)
            bob.transfers.report(event.call, 180, "Ringing", now)
            bob.transfers.report(event.call, 200, "OK", now)

    net.loses, b.on_event = hits, carries_out
    alice.transfers.refer(call, "sip:carol@example.test", net.now)
    net.run(300)
    last = [event.status for event in a.seen(ReferralProgress) if event.status >= 200]
    assert len(last) <= 1, "there is one last word, unless the call is over"
    assert last or a.seen(Ended)
    alice.hang_up(call, net.now)
    net.run(80)
    assert [event.call for event in a.seen(Ended)] == [call]


@given(st.lists(st.binary(max_size=80), max_size=5), st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_any_bytes_on_any_socket_are_survived(chunks: list[bytes], name: str) -> None:
    net, alice, bob = a_pair()
    flow = alice.endpoint.open_flow(Target(BOB, Transport.TCP), net.now)
    net.run(1)
    assert flow is not None
    for chunk in chunks:
        alice.handle_input(StreamReceived(flow, chunk), net.now)
        bob.handle_input(DatagramReceived(BOB, ALICE, chunk), net.now)
        bob.handle_input(DatagramReceived(ALICE, BOB, chunk), net.now)
        alice.handle_input(Resolved(name, name, "SRV", (), name), net.now)
    net.run(1)
    alice.invite("sip:bob@example.test", b"v=0", net.now)
    net.run(1)
    assert len(net.nodes["bob"].seen(Incoming)) == 1
