"""The TURN server, spoken to in raw messages: every answer the RFCs prescribe, and every abuse."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import (
    AddressesChanged,
    DatagramReceived,
    ListenerFailed,
    StreamCongested,
    TlsServer,
    UdpFailed,
)
from iceway.trace.records import (
    AllocationCreated,
    AllocationEnded,
    ConnectionClosed,
    ConnectionOpened,
    Malformed,
    Note,
    PermissionInstalled,
    RelayDropped,
    RelayRefused,
    StunSent,
)
from iceway.turn.auth import Accepted, Rejected, StaticAuthenticator
from iceway.turn.config import TurnListener
from iceway.turn.server import ListenFailed, TurnServer
from iceway.wire import stun
from iceway.wire.channel_data import parse_channel_data, serialize_channel_data
from iceway.wire.stun import MessageClass, Method, StunMessage
from tests.turn.harness import REALM, RELAY, RELAY_IP, Net, Node, Peer, RawStream, add_server, server_config

CLIENT = Address("198.51.100.7", 40_000)
PEER = Address("198.51.100.99", 7000)
UDP = stun.REQUESTED_TRANSPORT(17)


class Caller:
    """A client made by hand over UDP: asks one thing, waits, returns the answer."""

    def __init__(self, net: Net, address: Address = CLIENT, user: str = "alice") -> None:
        self.net = net
        self.socket: Peer = net.peer(address.ip, address.port)
        self.user = user
        self.key = stun.long_term_key(user, REALM, f"{user}'s password")
        self.nonce: bytes | None = None
        self._ids = Random(str(address))

    def asks(self, method: Method, *attributes: Any, **more: Any) -> StunMessage:
        self.sends(method, *attributes, **more)
        count = len(self.socket.heard)
        assert self.net.run_until(lambda: len(self.socket.heard) > count, 1), "no answer"
        answer = stun.parse(self.socket.heard[-1][1])
        self.nonce = answer.get(stun.NONCE) or self.nonce
        return answer

    def sends(
        self,
        method: Method,
        *attributes: Any,
        signed: bool = True,
        kind: MessageClass = MessageClass.REQUEST,
        key: bytes | None = None,
        transaction_id: bytes | None = None,
        **drop: bool,
    ) -> None:
        if signed and self.nonce is None:
            self.nonce = b""
            self.asks(Method.ALLOCATE, UDP, signed=False)
        credentials = {
            "username": stun.USERNAME(self.user.encode()),
            "realm": stun.REALM(REALM),
            "nonce": stun.NONCE(self.nonce or b""),
        }
        if signed:
            attributes += tuple(pair for name, pair in credentials.items() if drop.get(name, True))
        transaction_id = transaction_id or self._ids.randbytes(12)
        message = StunMessage(method, kind, transaction_id, attributes)
        self.socket.sends(RELAY, stun.serialize(message, (key or self.key) if signed else None))

    def allocates(self, *attributes: Any) -> Address:
        answer = self.asks(Method.ALLOCATE, UDP, *attributes)
        relayed = answer.get(stun.XOR_RELAYED_ADDRESS)
        assert relayed is not None, error(answer)
        return relayed


def error(answer: StunMessage) -> int | None:
    said = answer.get(stun.ERROR_CODE)
    return said.code if said else None


def peers(*ips: str) -> tuple[Any, ...]:
    return tuple(stun.XOR_PEER_ADDRESS(Address(ip, 0)) for ip in ips)


def channel(number: int, peer: Address = PEER) -> tuple[Any, ...]:
    return stun.CHANNEL_NUMBER(number), stun.XOR_PEER_ADDRESS(peer)


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def server(net: Net) -> Node:
    return add_server(net)


@pytest.fixture
def alice(net: Net, server: Node) -> Caller:
    return Caller(net)


# --- authentication, RFC 8489 §9.2.4 --------------------------------------------------------------------
def test_without_credentials_there_is_a_challenge(server: Node, alice: Caller) -> None:
    answer = alice.asks(Method.ALLOCATE, UDP, signed=False)
    assert error(answer) == 401
    assert answer.get(stun.REALM) == REALM
    assert len(answer.get(stun.NONCE) or b"") == 16
    assert not answer.has_integrity
    assert not server.records(RelayRefused), "a challenge is no refusal"


def test_a_challenge_amplifies_no_more_than_fourfold(alice: Caller) -> None:
    """A forged source of 20 bytes makes the server send 76, and of 28 bytes (a real Allocate) 2.7 times as much."""
    alice.asks(Method.ALLOCATE, signed=False)
    assert len(alice.socket.heard[-1][1]) <= 4 * 20
    alice.asks(Method.ALLOCATE, UDP, signed=False)
    assert len(alice.socket.heard[-1][1]) <= 2.75 * 28


def test_a_forged_source_gets_no_more_than_the_rate(net: Net) -> None:
    server = add_server(net, server_config(stranger_rate=5))
    victim = Caller(net)
    for _ in range(50):
        victim.sends(Method.ALLOCATE, UDP, signed=False)
        victim.sends(Method.BINDING, signed=False)
        victim.socket.sends(RELAY, b"\x00garbage")
    net.run(0.5)
    assert len(victim.socket.heard) + len(server.records(Malformed)) == 5
    net.run(1)
    assert error(victim.asks(Method.ALLOCATE, UDP, signed=False)) == 401


@pytest.mark.parametrize("missing", ["username", "realm", "nonce"])
def test_integrity_without_the_rest_is_a_bad_request(alice: Caller, missing: str) -> None:
    assert error(alice.asks(Method.ALLOCATE, UDP, **{missing: False})) == 400


def test_a_wrong_key_is_challenged_again(server: Node, alice: Caller) -> None:
    assert error(alice.asks(Method.ALLOCATE, UDP, key=b"wrong")) == 401
    assert [record.detail for record in server.records(RelayRefused)] == ["wrong password for alice"]  # type: ignore[attr-defined]


def test_a_nonce_of_another_address_is_stale(net: Net, server: Node, alice: Caller) -> None:
    alice.asks(Method.ALLOCATE, UDP, signed=False)
    bob = Caller(net, Address("198.51.100.8", 40_000), "bob")
    bob.nonce = alice.nonce
    answer = bob.asks(Method.ALLOCATE, UDP)
    assert error(answer) == 438
    assert answer.get(stun.NONCE) != alice.nonce
    bob.allocates()


def test_another_realm_is_challenged(server: Node, alice: Caller) -> None:
    alice.asks(Method.ALLOCATE, UDP, signed=False)
    assert error(alice.asks(Method.ALLOCATE, UDP, stun.REALM("other.test"))) == 401
    assert [record.detail for record in server.records(RelayRefused)] == ["realm 'other.test' is not ours"]  # type: ignore[attr-defined]


def test_the_phrase_tells_what_the_authenticator_wants_told(net: Net) -> None:
    class Strict:
        def lookup(self, username: bytes, realm: str, wall_time: float) -> Accepted | Rejected:
            return Rejected("made with key 7, which this edge does not hold", "Unknown key")

    server = add_server(net, authenticator=Strict())
    answer = Caller(net).asks(Method.ALLOCATE, UDP)
    assert answer.get(stun.ERROR_CODE) == (401, "Unknown key")
    assert [r.detail for r in server.records(RelayRefused)] == [
        "made with key 7, which this edge does not hold"
    ]  # type: ignore[attr-defined]


def test_answers_to_the_authenticated_are_protected(alice: Caller) -> None:
    answer = alice.asks(Method.ALLOCATE, UDP)
    assert stun.verify_integrity(answer, alice.key)
    refusal = alice.asks(Method.ALLOCATE, UDP)
    assert error(refusal) == 437
    assert stun.verify_integrity(refusal, alice.key)


def test_sha256_integrity_is_answered_in_kind(net: Net, alice: Caller) -> None:
    alice.asks(Method.ALLOCATE, UDP, signed=False)
    credentials = stun.USERNAME(b"alice"), stun.REALM(REALM), stun.NONCE(alice.nonce or b"")
    message = StunMessage(Method.ALLOCATE, MessageClass.REQUEST, bytes(12), (UDP, *credentials))
    alice.socket.sends(RELAY, stun.serialize(message, alice.key, sha256=True, fingerprint=True))
    net.run(1)
    answer = stun.parse(alice.socket.heard[-1][1])
    assert answer.integrity_sha256_at is not None
    assert answer.has_fingerprint
    assert stun.verify_integrity(answer, alice.key)


# --- Binding --------------------------------------------------------------------------------------------
def test_binding_needs_no_credentials(alice: Caller) -> None:
    assert alice.asks(Method.BINDING, signed=False).get(stun.XOR_MAPPED_ADDRESS) == CLIENT


def test_unknown_required_attributes_are_named(alice: Caller) -> None:
    strange = stun.Attribute(0x7ABC, "strange", lambda data, _: data, lambda value, _: value)
    for signed, method in ((False, Method.BINDING), (True, Method.ALLOCATE)):
        answer = alice.asks(method, strange(b"x"), signed=signed)
        assert error(answer) == 420
        assert answer.get(stun.UNKNOWN_ATTRIBUTES) == (0x7ABC,)


# --- Allocate, RFC 8656 §7.2 ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ((), 400),
        ((stun.REQUESTED_TRANSPORT(6),), 442),
        ((UDP, stun.REQUESTED_ADDRESS_FAMILY(stun.FAMILY_IPV6)), 440),
        ((UDP, stun.REQUESTED_ADDRESS_FAMILY(9)), 440),
        ((UDP, stun.DONT_FRAGMENT(True)), 420),
        ((UDP, stun.EVEN_PORT(True)), 508),
        ((UDP, stun.RESERVATION_TOKEN(bytes(8))), 508),
        ((UDP, stun.RESERVATION_TOKEN(bytes(8)), stun.EVEN_PORT(False)), 400),
    ],
)
def test_allocate_is_refused_with_the_right_code(
    server: Node, alice: Caller, attributes: tuple[Any, ...], code: int
) -> None:
    assert error(alice.asks(Method.ALLOCATE, *attributes)) == code
    assert [record.code for record in server.records(RelayRefused)] == [code]  # type: ignore[attr-defined]
    alice.allocates()


@pytest.mark.parametrize(
    ("asked", "granted"), [(None, 600), (0, 600), (60, 600), (1000, 1000), (2**32 - 1, 3600)]
)
def test_lifetimes_are_kept_within_bounds(alice: Caller, asked: int | None, granted: int) -> None:
    more = () if asked is None else (stun.LIFETIME(asked),)
    answer = alice.asks(Method.ALLOCATE, UDP, *more)
    assert answer.get(stun.LIFETIME) == granted
    assert answer.get(stun.XOR_MAPPED_ADDRESS) == CLIENT


def test_an_even_port_is_even_even_if_some_are_taken(net: Net, server: Node) -> None:
    for number in range(10):
        caller = Caller(net, Address(f"198.51.100.{number}", 1000))
        assert caller.allocates(stun.EVEN_PORT(False)).port % 2 == 0


def test_when_even_ports_run_out_it_is_a_508(net: Net) -> None:
    add_server(net, server_config(relay_ports=(50_000, 50_003)))
    net.taken.update(Address(RELAY_IP, port) for port in range(50_000, 50_004))
    assert error(Caller(net).asks(Method.ALLOCATE, UDP, stun.EVEN_PORT(False))) == 508


def test_the_same_request_again_gets_the_same_answer(net: Net, server: Node, alice: Caller) -> None:
    first = alice.asks(Method.ALLOCATE, UDP, transaction_id=bytes(12))
    again = alice.asks(Method.ALLOCATE, UDP, transaction_id=bytes(12))
    assert first.raw == again.raw
    assert len(server.records(AllocationCreated)) == 1
    net.run(41)
    assert error(alice.asks(Method.ALLOCATE, UDP, transaction_id=bytes(12))) == 437


def test_a_repeated_request_while_the_socket_opens_is_left_alone(
    net: Net, server: Node, alice: Caller
) -> None:
    alice.asks(Method.ALLOCATE, UDP, signed=False)
    alice.sends(Method.ALLOCATE, UDP, transaction_id=b"a" * 12)
    alice.sends(Method.ALLOCATE, UDP, transaction_id=b"a" * 12)
    net.run(1)
    assert len(server.records(AllocationCreated)) == 1


def test_the_whole_relay_has_a_limit(net: Net) -> None:
    add_server(net, server_config(max_allocations=1))
    Caller(net).allocates()
    assert error(Caller(net, Address("198.51.100.8", 1), "bob").asks(Method.ALLOCATE, UDP)) == 508


# --- Refresh --------------------------------------------------------------------------------------------
def test_refresh_extends_and_zero_ends(net: Net, server: Node, alice: Caller) -> None:
    alice.allocates()
    net.run(500)
    assert alice.asks(Method.REFRESH, stun.LIFETIME(900)).get(stun.LIFETIME) == 900
    net.run(800)
    assert not server.records(AllocationEnded)
    assert alice.asks(Method.REFRESH, stun.LIFETIME(0), transaction_id=b"z" * 12).get(stun.LIFETIME) == 0
    assert [record.reason for record in server.records(AllocationEnded)] == ["released by client"]  # type: ignore[attr-defined]
    assert error(alice.asks(Method.REFRESH, stun.LIFETIME(0), transaction_id=b"z" * 12)) is None
    assert error(alice.asks(Method.REFRESH)) == 437


def test_without_refresh_it_expires(net: Net, server: Node, alice: Caller) -> None:
    relayed = alice.allocates()
    net.run(599)
    assert not server.records(AllocationEnded)
    net.run(2)
    (ended,) = server.records(AllocationEnded)
    assert (ended.relayed, ended.reason) == (relayed, "expired")  # type: ignore[attr-defined]
    assert server.machine.poll_timeout() is None


def test_refresh_with_the_other_family_is_a_mismatch(alice: Caller) -> None:
    alice.allocates()
    assert error(alice.asks(Method.REFRESH, stun.REQUESTED_ADDRESS_FAMILY(stun.FAMILY_IPV6))) == 443


def test_another_users_credentials_do_not_fit(net: Net, server: Node, alice: Caller) -> None:
    alice.allocates()
    alice.user = "bob"
    alice.key = stun.long_term_key("bob", REALM, "bob's password")
    for method in (Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND):
        assert error(alice.asks(method, *peers(PEER.ip))) == 441


# --- permissions ----------------------------------------------------------------------------------------
def test_a_permission_opens_both_directions_for_five_minutes(net: Net, server: Node, alice: Caller) -> None:
    relayed = alice.allocates(stun.LIFETIME(3600))
    peer = net.peer(*PEER)
    peer.sends(relayed, b"too early")
    net.run(1)
    assert error(alice.asks(Method.CREATE_PERMISSION, *peers(PEER.ip))) is None
    alice.sends(
        Method.SEND,
        stun.XOR_PEER_ADDRESS(PEER),
        stun.DATA(b"out"),
        kind=MessageClass.INDICATION,
        signed=False,
    )
    peer.sends(relayed, b"in")
    net.run(1)
    assert peer.heard == [(relayed, b"out")]
    indication = stun.parse(alice.socket.heard[-1][1])
    assert (indication.method, indication.message_class) == (Method.DATA, MessageClass.INDICATION)
    assert indication.get(stun.XOR_PEER_ADDRESS) == PEER
    assert indication.get(stun.DATA) == b"in"
    before = len(alice.socket.heard)
    net.run(300)
    peer.sends(relayed, b"too late")
    alice.sends(
        Method.SEND, stun.XOR_PEER_ADDRESS(PEER), stun.DATA(b"x"), kind=MessageClass.INDICATION, signed=False
    )
    net.run(1)
    assert len(alice.socket.heard) == before
    assert len(peer.heard) == 1
    assert [(r.peer.ip, r.reason) for r in server.records(RelayDropped)] == [  # type: ignore[attr-defined]
        (PEER.ip, "no permission for the peer, from the peer"),
        (PEER.ip, "no permission for the peer, from the client"),
    ]


def test_one_forbidden_peer_forbids_the_request(server: Node, alice: Caller) -> None:
    alice.allocates()
    assert error(alice.asks(Method.CREATE_PERMISSION, *peers(PEER.ip, "10.0.0.1"))) == 403
    assert not server.records(PermissionInstalled)
    assert error(alice.asks(Method.CREATE_PERMISSION, *peers(PEER.ip, "192.0.2.1"))) is None
    assert len(server.records(PermissionInstalled)) == 2
    assert error(alice.asks(Method.CREATE_PERMISSION)) == 400
    assert error(alice.asks(Method.CREATE_PERMISSION, *peers("2001:db8::1"))) == 443


def test_permissions_are_limited_and_dead_ones_make_room(net: Net) -> None:
    add_server(net, server_config(max_permissions=2))
    alice = Caller(net)
    alice.allocates()
    assert error(alice.asks(Method.CREATE_PERMISSION, *peers("192.0.2.1", "192.0.2.2"))) is None
    assert error(alice.asks(Method.CREATE_PERMISSION, *peers("192.0.2.3"))) == 508
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000))) == 508
    assert error(alice.asks(Method.CREATE_PERMISSION, *peers("192.0.2.1"))) is None
    net.run(301)
    assert error(alice.asks(Method.CREATE_PERMISSION, *peers("192.0.2.3"))) is None


def test_own_addresses_are_no_peers(net: Net, server: Node, alice: Caller) -> None:
    """Only live relayed addresses are, whatever the packet is wrapped in."""
    server.feed(AddressesChanged(("203.0.113.1", "203.0.113.77")))
    alice.allocates()
    assert error(alice.asks(Method.CREATE_PERMISSION, *peers("203.0.113.77"))) == 403
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000, RELAY))) == 403
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000, Address(RELAY_IP, 22)))) == 403
    assert error(alice.asks(Method.CREATE_PERMISSION, *peers(RELAY_IP))) is None
    for port in (3478, 22):
        alice.sends(
            Method.SEND,
            stun.XOR_PEER_ADDRESS(Address(RELAY_IP, port)),
            stun.DATA(b"x"),
            kind=MessageClass.INDICATION,
            signed=False,
        )
    net.run(1)
    assert [record.reason for record in server.records(RelayDropped)] == [  # type: ignore[attr-defined]
        "203.0.113.1:3478 is the relay's own port",
        "203.0.113.1:22 is the relay's own address and no relayed one",
    ]


def test_own_ports_stay_closed_even_where_the_operator_allows_the_address(net: Net) -> None:
    add_server(net, server_config(allow_peers=("203.0.113.0/24",)))
    alice = Caller(net)
    alice.allocates()
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000, RELAY))) == 403
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000, Address(RELAY_IP, 7000)))) is None


def test_allowed_loopback_does_not_lead_back_to_our_own_listeners(net: Net) -> None:
    """A listener on all addresses hears 127.0.0.9 as well; a relay that asks itself has no end."""
    server = add_server(net, server_config(allow_peers=("127.0.0.0/8",)))
    alice = Caller(net)
    alice.allocates()
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000, Address("127.0.0.9", 3478)))) == 403
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000, Address("127.0.0.9", 7000)))) is None
    to_itself = stun.XOR_PEER_ADDRESS(Address("127.0.0.9", 3478))
    alice.sends(Method.SEND, to_itself, stun.DATA(b"x"), kind=MessageClass.INDICATION, signed=False)
    net.run(1)
    assert [record.reason for record in server.records(RelayDropped)] == [  # type: ignore[attr-defined]
        "127.0.0.9:3478 is the relay's own port"
    ]


def test_many_addresses_of_one_ipv6_host_are_one_site(net: Net) -> None:
    add_server(net, server_config(max_idle_streams_per_ip=3))
    streams = [RawStream(net, Address(f"2001:db8::{n + 1:x}", 1000), RELAY) for n in range(4)]
    net.run(1)
    assert [stream.closed is not None for stream in streams] == [False, False, False, True]


# --- channels -------------------------------------------------------------------------------------------
def test_channel_bind_rules_of_rfc_8656_12_2(net: Net, server: Node, alice: Caller) -> None:
    alice.allocates(stun.LIFETIME(3600))
    other = Address(PEER.ip, 7001)
    assert error(alice.asks(Method.CHANNEL_BIND, stun.CHANNEL_NUMBER(0x4000))) == 400
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x3FFF))) == 400
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x7FFF))) == 400
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000, Address(PEER.ip, 0)))) == 400
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000, Address("10.0.0.1", 5)))) == 403
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000))) is None
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000))) is None
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4001))) == 400
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000, other))) == 400
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4001, other))) is None
    net.run(601)
    assert error(alice.asks(Method.CHANNEL_BIND, *channel(0x4000, other))) is None


def test_a_channel_carries_data_both_ways_and_installs_the_permission(
    net: Net, server: Node, alice: Caller
) -> None:
    relayed = alice.allocates()
    peer = net.peer(*PEER, echo=True)
    alice.asks(Method.CHANNEL_BIND, *channel(0x4ABC))
    alice.socket.sends(RELAY, serialize_channel_data(0x4ABC, b"voice"))
    net.run(1)
    assert peer.heard == [(relayed, b"voice")]
    assert parse_channel_data(alice.socket.heard[-1][1]) == (0x4ABC, b"voice")
    net.call(server, server.machine.stop)  # type: ignore[attr-defined]
    (ended,) = server.records(AllocationEnded)
    assert (ended.packets_to_peers, ended.bytes_to_peers) == (1, 5)  # type: ignore[attr-defined]
    assert (ended.packets_to_client, ended.bytes_to_client) == (1, 5)  # type: ignore[attr-defined]


@pytest.mark.parametrize("data", [b"\x40\x00\x00\x05x", b"\x4f\xff\x00\x01x", b"\x40", b"\xff" * 30])
def test_senseless_channel_data_goes_nowhere(net: Net, server: Node, alice: Caller, data: bytes) -> None:
    alice.allocates()
    peer = net.peer(*PEER)
    alice.asks(Method.CHANNEL_BIND, *channel(0x4000))
    before = len(alice.socket.heard)
    alice.socket.sends(RELAY, data)
    net.run(1)
    assert not peer.heard
    assert len(alice.socket.heard) == before


def test_the_first_drop_of_a_cause_is_recorded_and_no_more(net: Net, server: Node, alice: Caller) -> None:
    relayed = alice.allocates()
    for number in range(200):
        net.peer(f"192.0.2.{number}", 9).sends(relayed, b"x")
        net.peer("198.51.100.50", 1000 + number).sends(relayed, b"x")
    net.run(1)
    assert len(server.records(RelayDropped)) == 64


# --- streams --------------------------------------------------------------------------------------------
def test_half_a_message_on_tcp_waits_and_garbage_closes(net: Net, server: Node) -> None:
    request = stun.serialize(StunMessage(Method.BINDING, MessageClass.REQUEST, bytes(12)))
    stream = RawStream(net, CLIENT, RELAY)
    net.run(0.1)
    stream.sends(request[:9])
    net.run(1)
    assert not stream.heard
    stream.sends(request[9:])
    net.run(1)
    assert stun.parse(stream.heard).get(stun.XOR_MAPPED_ADDRESS) == CLIENT
    stream.sends(b"GET / HTTP/1.1\r\n"[::-1])
    net.run(1)
    assert stream.closed == "closed by peer"
    assert len(server.records(Malformed)) == 1
    assert [type(r) for r in server.records(ConnectionOpened, ConnectionClosed)] == [
        ConnectionOpened,
        ConnectionClosed,
    ]


def test_a_stream_that_does_nothing_is_closed_after_half_a_minute(net: Net, server: Node) -> None:
    stream = RawStream(net, CLIENT, RELAY)
    net.run(29)
    assert stream.closed is None
    net.run(2)
    assert stream.closed == "closed by peer"
    assert [r.reason for r in server.records(ConnectionClosed)] == ["no allocation in time"]  # type: ignore[attr-defined]
    assert server.machine.poll_timeout() is None


def test_a_stranger_on_tcp_cannot_make_us_hold_much(net: Net, server: Node) -> None:
    stream = RawStream(net, CLIENT, RELAY)
    net.run(0.1)
    stream.sends(b"\x00\x01\xff\xf0\x21\x12\xa4\x42" + bytes(100))
    net.run(1)
    assert stream.closed == "closed by peer"
    assert "at most 4096" in server.records(Malformed)[0].reason  # type: ignore[attr-defined]


def test_with_an_allocation_messages_may_be_long(net: Net, server: Node) -> None:
    stream, relayed = tcp_allocation(net)
    peer = net.peer(*PEER)
    stream.sends(serialize_channel_data(0x4000, bytes(60_000), stream=True))
    net.run(1)
    assert peer.heard == [(relayed, bytes(60_000))]


def test_idle_streams_of_one_ip_are_limited(net: Net) -> None:
    server = add_server(net, server_config(max_idle_streams_per_ip=3))
    streams = [RawStream(net, Address(CLIENT.ip, 1000 + n), RELAY) for n in range(5)]
    elsewhere = RawStream(net, Address("198.51.100.8", 1), RELAY)
    net.run(1)
    assert [stream.closed is not None for stream in streams] == [False, False, False, True, True]
    assert elsewhere.closed is None
    streams[0].closes()
    net.run(1)
    late = RawStream(net, Address(CLIENT.ip, 2000), RELAY)
    net.run(1)
    assert late.closed is None
    assert "too many connections from 198.51.100.7" in {r.reason for r in server.records(ConnectionClosed)}  # type: ignore[attr-defined]


def tcp_allocation(net: Net) -> tuple[RawStream, Address]:
    """A client by hand over TCP with an allocation and a channel to PEER."""
    stream = RawStream(net, CLIENT, RELAY)
    key = stun.long_term_key("alice", REALM, "alice's password")
    net.run(0.1)
    stream.sends(stun.serialize(StunMessage(Method.ALLOCATE, MessageClass.REQUEST, bytes(12), (UDP,))))
    net.run(0.1)
    nonce = stun.parse(stream.heard).get(stun.NONCE) or b""
    relayed = None
    for method, attributes in ((Method.ALLOCATE, (UDP,)), (Method.CHANNEL_BIND, channel(0x4000))):
        stream.heard = b""
        credentials = stun.USERNAME(b"alice"), stun.REALM(REALM), stun.NONCE(nonce)
        message = StunMessage(
            method, MessageClass.REQUEST, method.name[:12].encode().ljust(12), (*attributes, *credentials)
        )
        stream.sends(stun.serialize(message, key))
        net.run(0.1)
        relayed = relayed or stun.parse(stream.heard).get(stun.XOR_RELAYED_ADDRESS)
    stream.heard = b""
    assert relayed is not None
    return stream, relayed


def test_a_client_that_reads_too_slowly_loses_media_not_memory(net: Net, server: Node) -> None:
    stream, relayed = tcp_allocation(net)
    name = server.records(ConnectionOpened)[0].stream  # type: ignore[attr-defined]
    peer = net.peer(*PEER)
    server.feed(StreamCongested(name, True))
    peer.sends(relayed, b"lost")
    net.run(1)
    server.feed(StreamCongested(name, False))
    peer.sends(relayed, b"heard")
    net.run(1)
    assert stream.heard == serialize_channel_data(0x4000, b"heard", stream=True)
    assert [r.reason for r in server.records(RelayDropped)] == ["the client's connection is congested"]  # type: ignore[attr-defined]


def test_when_the_stream_closes_the_allocation_ends(net: Net, server: Node) -> None:
    stream, relayed = tcp_allocation(net)
    net.run(100)
    assert stream.closed is None, "a stream with an allocation may be quiet"
    stream.closes()
    net.run(1)
    (ended,) = server.records(AllocationEnded)
    assert (ended.relayed, ended.reason) == (relayed, "stream closed")  # type: ignore[attr-defined]
    assert server.machine.poll_timeout() is None


def test_a_stream_that_closes_while_its_socket_opens_leaves_nothing(net: Net, server: Node) -> None:
    stream = RawStream(net, CLIENT, RELAY)
    key = stun.long_term_key("alice", REALM, "alice's password")
    net.run(0.1)
    stream.sends(stun.serialize(StunMessage(Method.ALLOCATE, MessageClass.REQUEST, bytes(12), (UDP,))))
    net.run(0.1)
    nonce = stun.parse(stream.heard).get(stun.NONCE) or b""
    pairs = UDP, stun.USERNAME(b"alice"), stun.REALM(REALM), stun.NONCE(nonce)
    stream.sends(stun.serialize(StunMessage(Method.ALLOCATE, MessageClass.REQUEST, b"a" * 12, pairs), key))
    stream.closes()
    net.run(1)
    assert not server.records(AllocationCreated)
    assert server.machine.allocations == ()  # type: ignore[attr-defined]
    assert server.machine.poll_timeout() is None


# --- listeners ------------------------------------------------------------------------------------------
def test_a_listener_that_cannot_open_is_told() -> None:
    net = Net()
    net.taken.add(RELAY)
    server = add_server(net, server_config(listeners=(TurnListener(Transport.UDP, RELAY),)))
    assert server.events() == [ListenFailed(Transport.UDP, RELAY, "address already in use")]
    (note,) = server.records(Note)
    assert note.text == "the relay cannot listen on udp 203.0.113.1:3478: address already in use"  # type: ignore[attr-defined]


def test_misuse_is_an_exception() -> None:
    net = Net()
    server = add_server(net)
    with pytest.raises(UsageError):
        server.machine.start(net.now)  # type: ignore[attr-defined]
    with pytest.raises(UsageError):
        TurnListener(Transport.TLS, RELAY)
    with pytest.raises(UsageError):
        TurnListener(Transport.TCP, RELAY, TlsServer("edge"))
    with pytest.raises(UsageError):
        TurnServer(server_config(relay_ip6="192.0.2.1"), StaticAuthenticator({}), Random(1))


def test_inputs_about_strangers_are_ignored(net: Net, server: Node) -> None:
    server.feed(DatagramReceived(Address("203.0.113.1", 9), CLIENT, b"x"))
    server.feed(UdpFailed("nobody", "x"))
    server.feed(ListenerFailed("nobody", "x"))
    server.feed(StreamCongested("nobody", True))
    assert not server.events(ListenFailed)


# --- any bytes ------------------------------------------------------------------------------------------
_methods = st.sampled_from([*Method, 0x0F])
_values = st.sampled_from(
    [
        UDP,
        stun.LIFETIME(0),
        stun.LIFETIME(77),
        stun.EVEN_PORT(True),
        stun.DONT_FRAGMENT(True),
        stun.CHANNEL_NUMBER(0x4000),
        stun.CHANNEL_NUMBER(0xFFFF),
        stun.XOR_PEER_ADDRESS(PEER),
        stun.XOR_PEER_ADDRESS(Address("::1", 0)),
        stun.XOR_PEER_ADDRESS(RELAY),
        stun.DATA(b"payload"),
        stun.REQUESTED_ADDRESS_FAMILY(2),
        stun.NONCE(b"\xff" * 16),
        stun.USERNAME(b"\xff"),
    ]
)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("raw"), st.binary(max_size=60)),
            st.tuples(st.just("ask"), _methods, st.sampled_from(MessageClass), st.lists(_values, max_size=4)),
            st.tuples(st.just("peer"), st.binary(max_size=20)),
        ),
        max_size=12,
    )
)
@settings(max_examples=80, deadline=None)
def test_no_sequence_of_datagrams_brings_the_server_down(script: list[Any]) -> None:
    net = Net()
    server, alice = add_server(net), Caller(net)
    relayed = alice.allocates()
    peer = net.peer(*PEER)
    for step in script:
        match step:
            case ("raw", data):
                alice.socket.sends(RELAY, data)
            case ("ask", method, kind, values):
                alice.sends(method, *values, kind=kind)
            case ("peer", data):
                peer.sends(relayed, data)
    net.run(5)
    assert server.records(StunSent)
    bob = Caller(net, Address("198.51.100.8", 1), "bob")
    bob.allocates()
