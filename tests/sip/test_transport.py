"""Flows: connections found again, kept alive, limited, closed; what cannot be read."""

from __future__ import annotations

import random

from iceway.core.address import Address, Transport
from iceway.core.machine import (
    DatagramReceived,
    ListenerFailed,
    StreamAccepted,
    StreamClosed,
    StreamCongested,
    StreamConnected,
    StreamReceived,
)
from iceway.sip.endpoint import (
    Endpoint,
    EndpointConfig,
    Flow,
    FlowClosed,
    FlowOpened,
    ListenFailed,
    Listening,
    RequestReceived,
    ResponseReceived,
    Target,
    TransactionFailed,
)
from iceway.trace.records import (
    ConnectionClosed,
    Malformed,
    SipSent,
)
from iceway.wire.sip import make_response
from tests.sip.pair import ALICE, BOB, Pair, a_request, statuses
from tests.sip.sip_net import Net


# --- connections ----------------------------------------------------------------------------------------
def test_a_connection_is_used_again_in_both_directions() -> None:
    pair = Pair(Transport.TLS)
    pair.bob_answers(200)
    pair.send(a_request())
    pair.send(a_request())  # while the connection is still being made
    pair.net.run(1)
    pair.send(a_request())
    pair.net.run(1)
    assert statuses(pair.alice) == [200, 200, 200]
    (opened,) = pair.bob.seen(FlowOpened)
    pair.bob_endpoint.request(a_request(), Target.over(opened.flow), pair.net.now)
    pair.net.run(1)
    (asked,) = pair.alice.seen(RequestReceived)
    assert asked.flow == pair.alice.seen(FlowOpened)[0].flow


def test_messages_cut_into_single_bytes_arrive_whole() -> None:
    pair = Pair(Transport.TCP)
    pair.net.chunk = 1
    pair.bob_answers(180, 200)
    pair.send(a_request().with_body(b"\x00\xff" * 50, "application/octet-stream"))
    pair.net.run(1)
    assert statuses(pair.alice) == [180, 200]
    assert pair.bob.seen(RequestReceived)[0].request.body == b"\x00\xff" * 50


def test_a_refused_connection_fails_the_transaction_with_the_reason() -> None:
    pair = Pair()
    pair.target = Target(Address(BOB.ip, 9), Transport.TCP)
    transaction = pair.send(a_request())
    pair.net.run(1)
    assert pair.alice.seen(TransactionFailed) == [TransactionFailed(transaction, "connection refused", 503)]
    assert [event.reason for event in pair.alice.seen(FlowClosed)] == ["connection refused"]


def test_a_certificate_for_another_name_fails_the_transaction() -> None:
    pair = Pair()
    pair.target = Target(Address(BOB.ip, 5061), Transport.TLS, "evil.test")
    pair.send(a_request())
    pair.net.run(1)
    assert "certificate is for b.test" in pair.alice.seen(TransactionFailed)[0].reason


def test_a_connection_that_never_comes_up_is_given_up() -> None:
    pair = Pair()
    pair.target = Target(Address("192.0.2.99", 5060), Transport.TCP)
    pair.net.unreachable.add(pair.target.address)
    pair.send(a_request())
    pair.net.run(11)
    assert [event.reason for event in pair.alice.seen(TransactionFailed)] == ["not connected after 10 s"]


def test_a_connection_that_breaks_fails_what_waits_on_it_at_both_ends() -> None:
    pair = Pair(Transport.TCP)
    pair.send(a_request("INVITE"))
    pair.net.run(1)
    pair.net.break_streams("alice")
    assert [event.reason for event in pair.alice.seen(TransactionFailed)] == ["connection reset"]
    assert [event.reason for event in pair.bob.seen(TransactionFailed)] == ["connection reset"]
    (opened,) = pair.bob.seen(FlowOpened)
    assert pair.bob_endpoint.flow(opened.flow.id) is None
    transaction = pair.bob_endpoint.request(a_request(), Target.over(opened.flow), pair.net.now)
    pair.net.settle()
    assert [(e.transaction, e.status) for e in pair.bob.seen(TransactionFailed)][-1] == (transaction, 503)


def test_pings_are_answered_and_a_missing_pong_ends_the_flow() -> None:
    pair = Pair(Transport.TLS)
    flow_id = pair.alice_endpoint.open_flow(pair.target, pair.net.now)
    assert flow_id is not None
    pair.alice_endpoint.keep_alive(flow_id, pair.net.now)
    pair.net.run(1000)
    assert pair.alice_endpoint.flow(flow_id) is not None, "pinging keeps it from being idle"
    pair.net.silent.add(flow_id)
    pair.net.run(40)
    assert [event.reason for event in pair.alice.seen(FlowClosed)] == ["no answer to a keep-alive in 10 s"]


def test_udp_is_pinged_too() -> None:
    pair = Pair()
    sent: list[bytes] = []
    pair.net.loses = lambda packet: sent.append(packet.data) is not None
    flow_id = pair.alice_endpoint.open_flow(pair.target, pair.net.now)
    assert flow_id is not None
    pair.alice_endpoint.keep_alive(flow_id, pair.net.now)
    pair.net.run(60)
    assert sent == [b"\r\n\r\n"] * 2
    assert not pair.bob.seen(Malformed)
    assert pair.alice_endpoint.flow(flow_id) is not None


def test_idle_connections_are_closed() -> None:
    pair = Pair(Transport.TCP, idle_timeout=100.0)
    pair.bob_answers(200)
    pair.send(a_request())
    pair.net.run(90)
    pair.send(a_request())
    pair.net.run(90)
    assert not pair.bob.seen(FlowClosed)
    pair.net.run(20)
    assert len(pair.bob.seen(FlowClosed)) == len(pair.alice.seen(FlowClosed)) == 1


def test_half_a_message_is_not_waited_for_for_ever() -> None:
    pair = Pair(Transport.TCP)
    pair.alice_endpoint.open_flow(pair.target, pair.net.now)
    pair.net.run(1)
    flow = pair.bob.seen(FlowOpened)[0].flow
    for _ in range(20):  # a slow drip does not help
        pair.bob_endpoint.handle_input(StreamReceived(flow.id, b"O"), pair.net.now)
        pair.net.run(2)
    assert [event.reason for event in pair.bob.seen(FlowClosed)] == ["a message was not finished in 30 s"]


def test_connections_are_limited() -> None:
    pair = Pair(Transport.TCP, max_connections=1)
    pair.send(a_request())
    pair.net.run(1)
    other = pair.net.add("carol", Endpoint("carol", random.Random(3)), "192.0.2.3")
    assert isinstance(other.machine, Endpoint)
    other.machine.request(a_request(), pair.target, pair.net.now)
    pair.net.run(1)
    assert "too many connections" in [record.reason for record in pair.bob.seen(ConnectionClosed)]
    assert [event.status for event in other.seen(TransactionFailed)] == [503]


def test_sockets_report_themselves() -> None:
    pair = Pair()
    assert [event.transport for event in pair.bob.seen(Listening)] == ["udp", "tcp", "tls"]
    assert pair.bob.seen(Listening)[0].local == BOB
    assert not pair.bob.seen(ListenFailed)


def test_closing_ends_everything() -> None:
    pair = Pair(Transport.TCP)
    pair.send(a_request())
    pair.net.run(1)
    pair.alice_endpoint.close(pair.net.now)
    pair.net.run(1)
    assert [event.reason for event in pair.alice.seen(TransactionFailed)] == ["closed by us"]
    assert pair.alice_endpoint.poll_timeout() is None
    assert [event.reason for event in pair.bob.seen(FlowClosed)] == ["closed by peer"]


# --- bad input ------------------------------------------------------------------------------------------
def datagram(pair: Pair, data: bytes) -> list[str]:
    """What Bob answers to a datagram of Alice's: start lines."""
    before = len(pair.bob.seen(SipSent))
    pair.bob_endpoint.handle_input(DatagramReceived(BOB, ALICE, data), pair.net.now)
    pair.net.settle()
    return [record.start_line for record in pair.bob.seen(SipSent)[before:]]


def test_a_malformed_request_is_answered_with_the_fault() -> None:
    pair = Pair()
    good = a_request().with_first("Via", "SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK1").serialize()
    assert datagram(pair, good.replace(b"1 OPTIONS", b"1 INVITE")) == [
        "SIP/2.0 400 Bad Request: CSeq says INVITE, the request line OPTIONS"
    ]
    assert datagram(pair, good.replace(b"Content-Length: 0", b"Content-Length: 9")) == [
        "SIP/2.0 400 Bad Request: the body has 0 octets, Content-Length says 9"
    ]
    assert datagram(pair, good.replace(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia")) == [
        "SIP/2.0 505 Version Not Supported"
    ]
    assert len(pair.bob.seen(Malformed)) == 3
    assert not pair.bob.seen(RequestReceived)


def test_what_cannot_be_answered_is_dropped_and_recorded() -> None:
    pair = Pair()
    for data in (
        b"\x00\x01",
        b"hello",
        b"\x16\x03\x01" * 30,
        b"SIP/2.0 200 OK\r\n\r\n",
        b"ACK x SIP/2.0\r\n\r\n",
    ):
        assert datagram(pair, data) == []
    assert len(pair.bob.seen(Malformed)) == 5
    assert datagram(pair, b"\r\n\r\n") == datagram(pair, b"\0") == []
    assert len(pair.bob.seen(Malformed)) == 5


def test_an_unreadable_stream_is_answered_and_closed() -> None:
    pair = Pair(Transport.TCP)
    pair.alice_endpoint.open_flow(pair.target, pair.net.now)
    pair.net.run(1)
    flow: Flow = pair.bob.seen(FlowOpened)[0].flow
    bare = a_request().with_first("Via", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1").serialize()
    pair.bob_endpoint.handle_input(
        StreamReceived(flow.id, bare.replace(b"Content-Length: 0\r\n", b"")), pair.net.now
    )
    pair.net.run(1)
    assert pair.bob.seen(SipSent)[-1].start_line == "SIP/2.0 400 Bad Request: no Content-Length on a stream"
    assert [event.reason for event in pair.bob.seen(FlowClosed)] == [
        "unreadable stream: no Content-Length on a stream"
    ]


def test_a_stray_response_is_dropped() -> None:
    pair = Pair()
    response = make_response(a_request().with_first("Via", "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1"), 200)
    assert datagram(pair, response.serialize()) == []
    assert not pair.bob.seen(ResponseReceived)


def test_too_many_transactions_are_refused_without_state() -> None:
    endpoint = Endpoint("bob", random.Random(1), EndpointConfig(max_transactions=1))
    net = Net()
    node = net.add("bob", endpoint, BOB.ip)
    endpoint.listen(Transport.UDP, BOB, 0)
    net.run(0)
    for number in range(3):
        data = (
            a_request().with_first("Via", f"SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK{number}").serialize()
        )
        endpoint.handle_input(DatagramReceived(BOB, ALICE, data), net.now)
    net.settle()
    assert len(node.seen(RequestReceived)) == 1
    assert node.said() == ["503", "503"]


def test_a_peer_that_does_not_read_is_let_go() -> None:
    pair = Pair(Transport.TCP)
    flow_id = pair.alice_endpoint.open_flow(pair.target, pair.net.now)
    assert flow_id is not None
    pair.net.run(1)
    pair.alice_endpoint.handle_input(StreamCongested(flow_id, True), pair.net.now)
    pair.net.run(29)
    pair.alice_endpoint.handle_input(StreamCongested(flow_id, False), pair.net.now)
    pair.net.run(10)
    assert pair.alice_endpoint.flow(flow_id) is not None, "it read again in time"
    pair.alice_endpoint.handle_input(StreamCongested(flow_id, True), pair.net.now)
    pair.net.run(31)
    assert [event.reason for event in pair.alice.seen(FlowClosed)] == ["the other end has not read for 30 s"]


def test_a_socket_that_cannot_be_opened() -> None:
    pair = Pair()
    key = pair.alice_endpoint.listen(Transport.TCP, ALICE, pair.net.now)
    pair.alice_endpoint.handle_input(ListenerFailed(key, "address in use"), pair.net.now)
    pair.net.settle()
    assert pair.alice.seen(ListenFailed) == [ListenFailed(key, Transport.TCP, "address in use")]


def test_events_of_streams_long_gone_are_overlooked() -> None:
    pair = Pair()
    endpoint = pair.alice_endpoint
    for event in (
        StreamReceived("gone", b"x"),
        StreamClosed("gone", "x"),
        StreamConnected("gone", ALICE, BOB),
        StreamAccepted("gone/1", "gone", ALICE, BOB),
        StreamCongested("gone", True),
        ListenerFailed("gone", "x"),
    ):
        endpoint.handle_input(event, pair.net.now)
    endpoint.close_flow("gone", pair.net.now)
    assert endpoint.flow("udp|nonsense|x") is endpoint.flow("udp|192.0.2.9:1|192.0.2.8:1") is None
    pair.net.run(100)
    assert not [e for e in pair.alice.events if not isinstance(e, Listening)]


def test_no_more_connections_are_opened_than_allowed() -> None:
    pair = Pair(Transport.TCP, max_connections=1)
    pair.alice_endpoint.open_flow(pair.target, pair.net.now)
    transaction = pair.alice_endpoint.request(
        a_request(), Target(Address("192.0.2.9", 5060), Transport.TCP), pair.net.now
    )
    pair.net.settle()
    assert pair.alice.seen(TransactionFailed) == [
        TransactionFailed(transaction, "no way to 192.0.2.9:5060", 503)
    ]


def test_without_a_socket_of_the_family_nothing_goes_out() -> None:
    pair = Pair()
    pair.target = Target(Address("2001:db8::1", 5060), Transport.UDP)
    pair.send(a_request())
    assert [event.reason for event in pair.alice.seen(TransactionFailed)] == ["no way to [2001:db8::1]:5060"]


def test_a_flow_closed_by_its_owner() -> None:
    pair = Pair(Transport.TCP)
    flow_id = pair.alice_endpoint.open_flow(pair.target, pair.net.now)
    assert flow_id is not None
    pair.net.run(1)
    pair.alice_endpoint.close_flow(flow_id, pair.net.now, "changed networks")
    pair.net.run(1)
    assert [event.reason for event in pair.alice.seen(FlowClosed)] == ["changed networks"]
    assert [event.reason for event in pair.bob.seen(FlowClosed)] == ["closed by peer"]


def test_large_requests_stay_on_udp() -> None:
    pair = Pair()
    pair.bob_answers(200)
    pair.send(a_request().with_body(b"x" * 4000, "text/plain"))
    pair.net.run(1)
    assert statuses(pair.alice) == [200]
    assert pair.bob.seen(RequestReceived)[0].flow.transport is Transport.UDP
