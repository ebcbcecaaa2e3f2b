"""Whatever arrives, an agent neither raises nor forgets what it was doing."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.machine import (
    DatagramReceived,
    Resolved,
    StreamClosed,
    StreamReceived,
    UdpFailed,
    drain,
)
from iceway.ice.agent import MAX_MALFORMED
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.events import Selected
from iceway.trace.records import Malformed, PairFormed
from iceway.wire import stun
from tests.ice.harness import Network, exchange, mirrored, turn

SOCKET, EDGE = Address("10.0.0.1", 50000), Address("198.51.100.2", 3478)

attributes = st.lists(
    st.one_of(
        st.builds(stun.PRIORITY, st.integers(0, 2**32 - 1)),
        st.builds(stun.USERNAME, st.binary(max_size=40)),
        st.builds(stun.ICE_CONTROLLED, st.integers(0, 2**64 - 1)),
        st.builds(stun.ICE_CONTROLLING, st.integers(0, 2**64 - 1)),
        st.just(stun.USE_CANDIDATE(True)),
        st.builds(stun.XOR_MAPPED_ADDRESS, st.builds(Address, st.just("192.0.2.1"), st.integers(0, 65535))),
        st.builds(
            stun.ERROR_CODE,
            st.builds(stun.ErrorCode, st.sampled_from([300, 400, 401, 487, 699]), st.just("?")),
        ),
    ),
    max_size=5,
).map(tuple)
messages = st.builds(
    stun.StunMessage,
    st.sampled_from([1, 3, 4, 6, 7, 8, 9, 0x0FF]),
    st.sampled_from(stun.MessageClass),
    st.binary(min_size=12, max_size=12),
    attributes,
)
datagrams = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=60).map(lambda tail: b"\0\1\0" + bytes([len(tail)]) + b"\x21\x12\xa4\x42" + tail),
    st.builds(
        stun.serialize, messages, st.none() | st.binary(min_size=1, max_size=8), fingerprint=st.booleans()
    ),
)
sources = st.sampled_from(
    [EDGE, Address("10.0.0.2", 50000), Address("10.0.0.3", 7), Address("2001:db8::9", 1)]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(datagrams, sources), max_size=20), st.sampled_from([0.0, 0.1, 1.5]))
def test_garbage_changes_nothing(garbage: list[tuple[bytes, Address]], before: float) -> None:
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True)
    bob = network.agent("bob", {"10.0.0.2": None}, controlling=False)
    alice.gather(turn())
    bob.gather()
    network.run(0.1)
    exchange(alice, bob)
    network.run(before)
    for data, source in garbage:
        alice.hears(data, source, SOCKET)
    assert network.run(5, until=lambda: mirrored(alice, bob))


@settings(max_examples=100, deadline=None)
@given(messages, st.sampled_from(["local", "remote"]), st.booleans(), sources)
def test_authentic_nonsense_raises_nothing(
    message: stun.StunMessage, signed: str, named: bool, source: Address
) -> None:
    """A peer that knows the passwords may still say anything."""
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True)
    bob = network.agent("bob", {"10.0.0.2": None}, controlling=False)
    for peer in (alice, bob):
        peer.gather()
    network.run(0.1)
    exchange(alice, bob)
    network.run(0.02)
    if named:
        username = f"{alice.agent.local_ufrag}:{bob.agent.local_ufrag}".encode()
        kept = tuple(pair for pair in message.attributes if pair[0] != stun.USERNAME)
        message = stun.StunMessage(
            message.method, message.message_class, message.transaction_id, (stun.USERNAME(username), *kept)
        )
    password = alice.agent.local_pwd if signed == "local" else bob.agent.local_pwd
    data = stun.serialize(message, stun.short_term_key(password), fingerprint=True)
    alice.hears(data, source, SOCKET)
    network.run(3)


def test_a_flood_of_garbage_fills_no_trace() -> None:
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True)
    alice.gather()
    network.run(0.1)
    broken = stun.serialize(stun.StunMessage(1, stun.MessageClass.REQUEST, bytes(12)))[:-1] + b"\0\0\0\0\0"
    for _ in range(1000):
        alice.hears(broken, Address("10.0.0.9", 9), SOCKET)
    assert len(alice.records(Malformed)) == MAX_MALFORMED


def test_a_flood_of_candidates_is_bounded() -> None:
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True)
    alice.gather()
    network.run(0.1)
    alice.do(lambda agent, now: agent.set_remote("ufrag", "p" * 24, now))
    for number in range(1000):
        candidate = Candidate(
            CandidateType.HOST, Address(f"10.1.{number // 250}.{number % 250 + 1}", 9), 5, "1"
        )
        alice.do(lambda agent, now, candidate=candidate: agent.add_remote_candidate(candidate, now))
    assert len(alice.records(PairFormed)) <= 100


def test_a_flood_of_authentic_checks_from_everywhere_is_bounded() -> None:
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=False)
    alice.gather()
    network.run(0.1)
    alice.do(lambda agent, now: agent.set_remote("theirs", "p" * 24, now))
    key = stun.short_term_key(alice.agent.local_pwd)
    rng = random.Random(5)
    for number in range(500):
        request = stun.StunMessage(
            1,
            stun.MessageClass.REQUEST,
            rng.randbytes(12),
            (stun.USERNAME(f"{alice.agent.local_ufrag}:theirs".encode()), stun.PRIORITY(1 + number)),
        )
        alice.hears(stun.serialize(request, key), Address("10.0.0.9", 1000 + number), SOCKET)
    assert len(alice.records(PairFormed)) <= 100


def test_inputs_for_unknown_keys_and_hostile_credentials_are_survived() -> None:
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True)
    alice.gather()
    for event in (
        UdpFailed("alice/ice/udp.9.9", "no"),
        Resolved("alice/ice/resolve.9.A", "x.test", "A"),
        StreamClosed("alice/ice/server.9/stream", "gone"),
        StreamReceived("alice/ice/server.9/stream", b"?"),
        DatagramReceived(Address("10.9.9.9", 1), Address("10.0.0.2", 1), b"?"),
    ):
        network.give(alice.host, event)
    network.run(0.1)
    alice.do(lambda agent, now: agent.set_remote("u" * 5000, "p", now))
    assert alice.agent.state == "failed"
    drain(alice.agent)
    assert not alice.events(Selected)
