"""The TURN client against a server made by hand: what only misbehaving servers and attackers do."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import (
    CloseStream,
    Connect,
    DatagramReceived,
    SendDatagram,
    SendStream,
    StreamClosed,
    StreamCongested,
    StreamConnected,
    StreamReceived,
    TlsClient,
)
from iceway.trace.records import Malformed, Note
from iceway.turn.client import State, TurnClient
from iceway.turn.events import Allocated, AllocationFailed, AllocationLost, PeerData, PeerRefused
from iceway.wire import stun
from iceway.wire.channel_data import serialize_channel_data
from iceway.wire.stun import MessageClass, Method, StunMessage
from tests.turn.harness import REALM, RELAY, Net, Node

LOCAL = Address("198.51.100.7", 40_000)
RELAYED = Address(RELAY.ip, 50_000)
PEER = Address("198.51.100.99", 7000)
KEY = stun.long_term_key("alice", REALM, "secret")


class Server:
    """Answers a client request by request, as the test says."""

    def __init__(self, transport: Transport = Transport.UDP, **more: Any) -> None:
        self.net = Net()
        local = LOCAL if transport is Transport.UDP else None
        tls = TlsClient("relay.test") if transport is Transport.TLS else None
        self.client = TurnClient(
            "c", RELAY, transport, "alice", "secret", Random(1), local=local, tls=tls, **more
        )
        self.node: Node = Node(self.net, LOCAL.ip, self.client)
        self.stream = "c/stream"
        self.seen = 0
        self.command(self.client.allocate)

    def command(self, command: Any, *arguments: Any) -> None:
        command(*arguments, self.net.now)
        self.node.drain()

    def connects(self) -> None:
        self.node.feed(StreamConnected(self.stream, Address(LOCAL.ip, 50_001), self.client.server))

    def hears(self) -> StunMessage:
        """The next request of the client."""
        while True:
            message = stun.parse(self.node.sent()[self.seen])
            self.seen += 1
            if message.message_class is MessageClass.REQUEST:
                return message

    def says(self, message: StunMessage, key: bytes | None = None, source: Address = RELAY) -> None:
        self.says_bytes(stun.serialize(message, key), source)

    def says_bytes(self, data: bytes, source: Address = RELAY) -> None:
        if self.client.transport is Transport.UDP:
            self.node.feed(DatagramReceived(LOCAL, source, data))
        else:
            self.node.feed(StreamReceived(self.stream, data))

    def challenges(self, request: StunMessage, code: int = 401, nonce: bytes = b"nonce") -> None:
        self.says(stun.error_response(request, code, "", stun.REALM(REALM), stun.NONCE(nonce)))

    def allocates(self, lifetime: int = 600) -> None:
        self.challenges(self.hears())
        self.says(self.success(self.hears(), lifetime), KEY)
        assert self.client.state is State.ALLOCATED

    def success(self, request: StunMessage, lifetime: int = 600) -> StunMessage:
        return stun.success_response(
            request,
            stun.XOR_RELAYED_ADDRESS(RELAYED),
            stun.XOR_MAPPED_ADDRESS(LOCAL),
            stun.LIFETIME(lifetime),
        )


# --- who is believed ------------------------------------------------------------------------------------
def test_the_second_request_carries_credentials_under_the_long_term_key() -> None:
    server = Server()
    first = server.hears()
    assert not first.has_integrity
    server.challenges(first)
    second = server.hears()
    assert second.transaction_id != first.transaction_id
    assert (second.get(stun.USERNAME), second.get(stun.REALM)) == (b"alice", REALM)
    assert stun.verify_integrity(second, KEY)


@pytest.mark.parametrize("key", [None, b"somebody else's"])
def test_a_forged_success_is_as_if_it_had_not_come(key: bytes | None) -> None:
    server = Server()
    server.challenges(server.hears())
    request = server.hears()
    server.says(server.success(request), key)
    assert not server.node.events()
    assert "MESSAGE-INTEGRITY" in server.node.records(Malformed)[0].reason  # type: ignore[attr-defined]
    server.says(server.success(request), KEY)
    assert server.node.events(Allocated)


def test_an_error_with_a_wrong_integrity_is_not_believed_but_one_without_is() -> None:
    server = Server()
    server.challenges(server.hears())
    request = server.hears()
    server.says(stun.error_response(request, 486, "Quota"), b"somebody else's")
    assert not server.node.events()
    server.says(stun.error_response(request, 486, "Quota"))
    (failed,) = server.node.events()
    assert failed == AllocationFailed(
        486, "Quota", "486 Quota: the user has as many allocations as the relay allows"
    )


def test_answers_from_elsewhere_or_to_nothing_are_ignored() -> None:
    server = Server()
    request = server.hears()
    server.says(server.success(request), source=Address(RELAY.ip, 9))
    server.says(server.success(StunMessage(Method.ALLOCATE, MessageClass.REQUEST, bytes(12))))
    server.says(StunMessage(Method.REFRESH, MessageClass.SUCCESS, request.transaction_id))
    server.says(request)
    server.says_bytes(b"\x00\x01garbage")
    assert not server.node.events()
    assert server.client.state is State.ALLOCATING


def test_a_server_that_never_likes_a_nonce_is_given_up() -> None:
    server = Server()
    server.challenges(server.hears())
    for number in range(10):
        if server.node.events():
            break
        server.challenges(server.hears(), 438, b"%d" % number)
    (failed,) = server.node.events(AllocationFailed)
    assert failed.code == 438  # type: ignore[attr-defined]
    assert number <= 5


def test_a_new_realm_is_tried_once_more() -> None:
    server = Server()
    server.challenges(server.hears())
    server.says(stun.error_response(server.hears(), 401, "", stun.REALM("other.test"), stun.NONCE(b"n")))
    third = server.hears()
    assert stun.verify_integrity(third, stun.long_term_key("alice", "other.test", "secret"))


@pytest.mark.parametrize(
    ("code", "reason", "detail"),
    [
        (400, "Bad Request", "400 Bad Request: it did not understand our request"),
        (442, "", "442: it does not relay UDP"),
        (401, "", "401 : it"),
        (599, "Odd", "599 Odd"),
    ],
)
def test_refusals_are_explained(code: int, reason: str, detail: str) -> None:
    server = Server()
    server.says(stun.error_response(server.hears(), code, reason))
    (failed,) = server.node.events(AllocationFailed)
    assert failed.detail.replace("401:", "401 :").startswith(detail)  # type: ignore[attr-defined]


def test_a_success_that_says_nothing_is_a_failure() -> None:
    server = Server()
    request = server.hears()
    server.says(stun.success_response(request, stun.LIFETIME(600)))
    assert server.node.events() == [
        AllocationFailed(None, "useless answer", "the answer names no relayed address or lifetime")
    ]


# --- alternate servers, RFC 8489 §10 --------------------------------------------------------------------
def redirect(server: Server, to: Address) -> None:
    server.says(
        stun.error_response(server.hears(), 300, "Try Alternate", stun.ALTERNATE_SERVER(to)),
        source=server.client.server,
    )


def test_an_alternate_server_is_asked_from_the_beginning() -> None:
    other = Address("203.0.113.2", 3478)
    server = Server()
    server.challenges(server.hears())
    redirect(server, other)
    assert server.client.server == other
    sent = [o for o in server.node.outputs if isinstance(o, SendDatagram)][-1]
    assert sent.remote == other
    assert not stun.parse(sent.data).has_integrity


def test_over_tcp_the_alternate_server_gets_a_stream_of_its_own() -> None:
    other = Address("203.0.113.2", 3478)
    server = Server(Transport.TCP)
    server.connects()
    redirect(server, other)
    requests = [o for o in server.node.outputs if isinstance(o, Connect | CloseStream)]
    assert requests == [
        Connect("c/stream", RELAY),
        CloseStream("c/stream"),
        Connect("c/stream.2", other),
    ]
    server.node.feed(StreamClosed("c/stream", "closed by us"))
    server.stream = "c/stream.2"
    server.connects()
    server.allocates()


def test_servers_that_send_us_in_circles_are_given_up() -> None:
    server = Server()
    for number in range(2, 10):
        if server.node.events():
            break
        redirect(server, Address(f"203.0.113.{number}", 3478))
    assert server.node.events(AllocationFailed)[0].code == 300  # type: ignore[attr-defined]
    assert number <= 6
    back = Server()
    redirect(back, RELAY)
    assert back.node.events(AllocationFailed)


def test_an_alternate_server_of_another_family_is_of_no_use() -> None:
    server = Server()
    redirect(server, Address("2001:db8::1", 3478))
    assert server.node.events(AllocationFailed)[0].code == 300  # type: ignore[attr-defined]


# --- peers ----------------------------------------------------------------------------------------------
def test_data_waits_for_the_permission_but_not_without_end() -> None:
    server = Server()
    server.allocates()
    for number in range(100):
        server.command(server.client.send, PEER, b"%d" % number)
    request = server.hears()
    assert request.method == Method.CREATE_PERMISSION
    server.says(stun.success_response(request), KEY)
    payloads = [m.get(stun.DATA) for m in map(stun.parse, server.node.sent()) if m.method == Method.SEND]
    assert payloads == [b"%d" % number for number in range(68, 100)]


CHECK = stun.serialize(StunMessage(Method.BINDING, MessageClass.REQUEST, bytes(12)), fingerprint=True)


def checks_sent(server: Server) -> int:
    sent = [stun.parse(data) for data in server.node.sent()]
    return [message.get(stun.DATA) for message in sent if message.method == Method.SEND].count(CHECK)


def test_a_check_goes_right_behind_the_request_for_its_permission() -> None:
    server = Server()
    server.allocates()
    server.command(server.client.send, PEER, CHECK)
    methods = [stun.parse(data).method for data in server.node.sent()]
    assert methods[-2:] == [Method.CREATE_PERMISSION, Method.SEND]
    server.says(stun.success_response(server.hears()), KEY)
    assert checks_sent(server) == 1


def test_a_check_goes_again_if_its_permission_took_more_than_one_request() -> None:
    server = Server()
    server.allocates()
    server.command(server.client.send, PEER, CHECK)
    server.challenges(server.hears(), 438, b"another nonce")
    assert checks_sent(server) == 1
    server.says(stun.success_response(server.hears()), KEY)
    assert checks_sent(server) == 2


def test_a_permission_nobody_answers_about_is_told_and_may_be_asked_again() -> None:
    server = Server()
    server.allocates()
    server.command(server.client.permit, (PEER.ip, PEER.ip))
    server.net.nodes.append(server.node)
    server.net.run(40)
    assert server.node.events(PeerRefused) == [
        PeerRefused(PEER.ip, None, "no answer to 7 requests in 39.5 s")
    ]
    before = len(server.node.sent())
    server.command(server.client.permit, (PEER.ip,))
    assert len(server.node.sent()) == before + 1


@pytest.mark.parametrize("code", [401, 437, 441])
def test_a_relay_that_forgot_us_has_lost_the_allocation(code: int) -> None:
    server = Server()
    server.allocates()
    server.command(server.client.permit, (PEER.ip,))
    server.says(stun.error_response(server.hears(), code, "Gone"), KEY)
    assert server.node.events(AllocationLost)
    assert server.client.poll_timeout() is None


def test_without_channels_data_still_flows_and_a_note_says_why() -> None:
    server = Server()
    server.allocates()
    server.command(server.client.bind, PEER)
    server.says(stun.error_response(server.hears(), 508, "Insufficient Capacity"), KEY)
    (note,) = server.node.records(Note)
    assert "bound no channel to 198.51.100.99:7000: 508" in note.text  # type: ignore[attr-defined]
    server.command(server.client.send, PEER, b"x")
    assert server.hears().method == Method.CREATE_PERMISSION
    assert not server.node.events(PeerRefused)


def test_a_forbidden_channel_is_lost_alone_and_the_permission_decides_about_the_peer() -> None:
    server = Server()
    server.allocates()
    server.command(server.client.permit, (PEER.ip,))
    server.says(stun.success_response(server.hears()), KEY)
    server.command(server.client.bind, PEER)
    server.says(stun.error_response(server.hears(), 403, "Forbidden"), KEY)
    assert not server.node.events(PeerRefused)
    server.command(server.client.send, PEER, b"x")
    assert stun.parse(server.node.sent()[-1]).method == Method.SEND


def test_a_forbidden_peer_whose_channel_was_asked_for_first_is_refused_by_its_permission() -> None:
    server = Server()
    server.allocates()
    server.command(server.client.bind, PEER)
    server.says(stun.error_response(server.hears(), 403, "Forbidden"), KEY)
    server.command(server.client.send, PEER, b"x")
    server.says(stun.error_response(server.hears(), 403, "Forbidden"), KEY)
    assert server.node.events(PeerRefused) == [PeerRefused(PEER.ip, 403, "Forbidden")]
    before = len(server.node.sent())
    server.command(server.client.send, PEER, b"x")
    server.command(server.client.bind, PEER)
    assert len(server.node.sent()) == before


def test_data_may_overtake_the_answer_to_channel_bind() -> None:
    """RFC 8656 §12.3."""
    server = Server()
    server.allocates()
    server.command(server.client.bind, PEER)
    server.says_bytes(serialize_channel_data(0x4000, b"early"))
    server.says_bytes(serialize_channel_data(0x4001, b"unknown channel"))
    assert server.node.events(PeerData) == [PeerData(PEER, b"early")]


def test_data_indications_from_peers_never_permitted_are_dropped() -> None:
    server = Server()
    server.allocates()
    pairs = stun.XOR_PEER_ADDRESS(PEER), stun.DATA(b"x")
    indication = StunMessage(Method.DATA, MessageClass.INDICATION, bytes(12), pairs)
    server.says(indication)
    assert not server.node.events(PeerData)
    server.command(server.client.permit, (PEER.ip,))
    server.says(indication)
    assert server.node.events(PeerData) == [PeerData(PEER, b"x")]


def test_too_large_a_packet_is_lost_like_on_a_network() -> None:
    server = Server()
    server.allocates()
    before = len(server.node.sent())
    server.command(server.client.send, PEER, bytes(65_500))
    assert len(server.node.sent()) == before


# --- time -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("lifetime", "at"), [(600, 540), (3600, 3540), (60, 30)])
def test_the_allocation_is_refreshed_in_time(lifetime: int, at: float) -> None:
    server = Server()
    server.allocates(lifetime)
    assert server.client.poll_timeout() == pytest.approx(server.net.now + at)


def test_a_refused_refresh_loses_the_allocation() -> None:
    server = Server()
    server.allocates()
    server.net.nodes.append(server.node)
    server.net.run(541)
    server.says(stun.error_response(server.hears(), 437, "Allocation Mismatch"), KEY)
    (lost,) = server.node.events(AllocationLost)
    assert lost.reason.startswith("the relay refused to go on: 437")  # type: ignore[attr-defined]


def test_in_doubt_the_allocation_is_asked_after_at_once() -> None:
    server = Server()
    assert not server.client.verify(server.net.now), "there is none yet"
    server.allocates()
    server.node.events().clear()
    told = len(server.node.events(Allocated))
    server.command(server.client.verify)
    server.command(server.client.verify)  # asking twice is asking once
    request = server.hears()
    assert request.method == Method.REFRESH
    server.says(stun.success_response(request, stun.LIFETIME(600)), KEY)
    assert len(server.node.events(Allocated)) == told + 1
    server.command(server.client.verify)
    server.says(stun.error_response(server.hears(), 437, "Allocation Mismatch"), KEY)
    assert server.node.events(AllocationLost)


# --- streams --------------------------------------------------------------------------------------------
def test_over_tls_the_name_is_handed_to_whoever_connects() -> None:
    server = Server(Transport.TLS)
    assert server.node.outputs == [Connect("c/stream", RELAY, None, TlsClient("relay.test"))]
    server.node.feed(StreamClosed("c/stream", "certificate is for a.test, not relay.test"))
    assert server.node.events() == [
        AllocationFailed(None, "no connection", "certificate is for a.test, not relay.test")
    ]


def test_garbage_on_the_stream_closes_it_with_the_cause() -> None:
    server = Server(Transport.TCP)
    server.connects()
    server.says_bytes(b"HTTP/1.1 400 Bad Request\r\n"[::-1])
    (failed,) = server.node.events()
    assert "sent what is not TURN" in failed.detail  # type: ignore[attr-defined]
    assert CloseStream("c/stream", abort=True) in server.node.outputs


def test_a_congested_stream_loses_media_and_keeps_control() -> None:
    server = Server(Transport.TCP)
    server.connects()
    server.allocates()
    server.command(server.client.bind, PEER)
    server.says(stun.success_response(server.hears(), stun.LIFETIME(600)), KEY)
    server.node.feed(StreamCongested("c/stream", True))
    before = len(server.node.sent())
    server.command(server.client.send, PEER, b"late")
    assert len(server.node.sent()) == before
    server.command(server.client.permit, ("192.0.2.1",))
    assert len(server.node.sent()) == before + 1
    server.node.feed(StreamCongested("c/stream", False))
    server.command(server.client.send, PEER, b"on time")
    (last,) = [o for o in server.node.outputs if isinstance(o, SendStream)][-1:]
    assert last.data == serialize_channel_data(0x4000, b"on time", stream=True)


def test_close_while_connecting_gives_the_connection_up() -> None:
    server = Server(Transport.TCP)
    server.command(server.client.close)
    assert server.node.outputs[-1] == CloseStream("c/stream", abort=True)
    server.node.feed(StreamClosed("c/stream", "closed"))
    assert not server.node.events()
    assert server.client.poll_timeout() is None
    server.command(server.client.close)


# --- misuse ---------------------------------------------------------------------------------------------
def test_misuse_is_an_exception() -> None:
    with pytest.raises(UsageError):
        TurnClient("c", RELAY, Transport.UDP, "u", "p", Random(1))
    with pytest.raises(UsageError):
        TurnClient("c", RELAY, Transport.TLS, "u", "p", Random(1))
    server = Server()
    with pytest.raises(UsageError):
        server.client.allocate(0.0)


def test_a_client_that_never_began_closes_quietly() -> None:
    client = TurnClient("c", RELAY, Transport.TCP, b"u", b"p", Random(1))
    client.permit((PEER.ip,), 0.0)
    client.bind(PEER, 0.0)
    client.close(0.0)
    assert client.poll_output() is None
    assert client.state is State.ENDED


# --- any bytes ------------------------------------------------------------------------------------------
_answers = st.sampled_from(
    [
        stun.ERROR_CODE(stun.ErrorCode(300, "")),
        stun.ERROR_CODE(stun.ErrorCode(401, "")),
        stun.ERROR_CODE(stun.ErrorCode(437, "")),
        stun.ERROR_CODE(stun.ErrorCode(438, "")),
        stun.REALM("x"),
        stun.NONCE(b"y"),
        stun.ALTERNATE_SERVER(Address("203.0.113.2", 1)),
        stun.XOR_RELAYED_ADDRESS(RELAYED),
        stun.XOR_PEER_ADDRESS(PEER),
        stun.DATA(b"z"),
        stun.LIFETIME(0),
        stun.LIFETIME(2**32 - 1),
    ]
)


@given(
    st.sampled_from([Transport.UDP, Transport.TCP]),
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.tuples(
                st.sampled_from(Method),
                st.sampled_from(MessageClass),
                st.lists(_answers, max_size=4),
                st.booleans(),
            ),
            st.integers(1, 700),
        ),
        max_size=12,
    ),
)
@settings(max_examples=150, deadline=None)
def test_nothing_a_server_says_brings_the_client_down(transport: Transport, script: list[Any]) -> None:
    server = Server(transport)
    if transport is Transport.TCP:
        server.connects()
    server.net.nodes.append(server.node)
    for step in script:
        match step:
            case bytes():
                server.says_bytes(step, server.client.server)
            case int():
                server.net.run(step)
            case (method, kind, attributes, signed):
                last = stun.parse(server.node.sent()[-1]).transaction_id
                message = StunMessage(method, kind, last, tuple(attributes))
                server.says(message, KEY if signed else None, server.client.server)
        server.command(server.client.send, PEER, b"x")
        if server.client.state is State.ALLOCATED:
            server.command(server.client.bind, PEER)
    server.command(server.client.close)
    server.net.run(60)
    assert server.client.poll_timeout() is None


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_a_quiet_allocation_is_kept_alive_by_what_nobody_answers(transport: Transport) -> None:
    server = Server(transport)
    if transport.is_stream:
        server.connects()
    server.command(server.client.keep_alive)
    sent = len(server.node.outputs)
    server.allocates()
    server.command(server.client.keep_alive)
    (said,) = [o for o in server.node.outputs[sent:] if isinstance(o, SendDatagram | SendStream)][-1:]
    message = stun.parse(said.data)
    assert (message.method, message.message_class) == (Method.BINDING, MessageClass.INDICATION)
    assert server.client.poll_timeout() is not None
