"""Two endpoints in conversation: transactions over UDP that loses and TCP that cuts."""

from __future__ import annotations

import random

import pytest

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import (
    DatagramReceived,
    SendDatagram,
    StreamReceived,
    TlsServer,
)
from iceway.sip.endpoint import (
    AckReceived,
    CancelReceived,
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
    TransportConfig,
)
from iceway.trace.records import (
    ConnectionClosed,
    Malformed,
    SipReceived,
    SipSent,
    SipTransactionFailed,
)
from iceway.wire.sip import Headers, Request, make_response, parse_message
from tests.sip.sip_net import Net, Node

ALICE, BOB = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060)


def a_request(method: str = "OPTIONS", **extra: str) -> Request:
    return Request(
        method,
        "sip:bob@b.test",
        headers=Headers.of(
            ("Max-Forwards", "70"),
            ("From", "<sip:alice@a.test>;tag=a1"),
            ("To", "<sip:bob@b.test>"),
            ("Call-ID", "call-1"),
            ("CSeq", f"1 {method}"),
            *extra.items(),
        ),
    )


class Pair:
    """Alice and Bob, listening on everything; Bob does what `bob_does` says to each request."""

    def __init__(self, transport: Transport = Transport.UDP, **config: float) -> None:
        self.net = Net()
        self.net.certificates = {"bob": ("b.test",), "alice": ("a.test",)}
        limits = EndpointConfig(transport=TransportConfig(**config))  # type: ignore[arg-type]
        self.alice_endpoint = Endpoint("alice", random.Random(1), limits)
        self.bob_endpoint = Endpoint("bob", random.Random(2), limits)
        self.alice = self.net.add("alice", self.alice_endpoint, ALICE.ip)
        self.bob = self.net.add("bob", self.bob_endpoint, BOB.ip)
        for endpoint in (self.alice_endpoint, self.bob_endpoint):
            endpoint.listen(Transport.UDP, Address("0.0.0.0", 5060), 0)
        self.bob_endpoint.listen(Transport.TCP, Address("0.0.0.0", 5060), 0)
        self.bob_endpoint.listen(Transport.TLS, Address("0.0.0.0", 5061), 0, TlsServer("bob"))
        self.net.run(0)
        port = 5061 if transport is Transport.TLS else 5060
        self.target = Target(Address(BOB.ip, port), transport, "b.test", "alice")

    def send(self, request: Request) -> str:
        transaction = self.alice_endpoint.request(request, self.target, self.net.now)
        self.net.settle()
        return transaction

    def bob_answers(self, *statuses: int) -> None:
        """Bob answers every request at once with these responses."""

        def on_event(event: object, now: float) -> None:
            if isinstance(event, RequestReceived):
                for status in statuses:
                    response = make_response(event.request, status, to_tag="b1")
                    self.bob_endpoint.respond(event.transaction, response, now)

        self.bob.on_event = on_event

    def respond(self, status: int) -> None:
        (asked,) = self.bob.seen(RequestReceived)
        assert self.bob_endpoint.respond(
            asked.transaction, make_response(asked.request, status, to_tag="b1"), self.net.now
        )
        self.net.settle()


def statuses(node: Node) -> list[int]:
    return [event.response.status for event in node.seen(ResponseReceived)]


EVERY_TRANSPORT = pytest.mark.parametrize("transport", list(Transport))


@EVERY_TRANSPORT
def test_a_request_is_answered_over_the_flow_it_came_in_on(transport: Transport) -> None:
    pair = Pair(transport)
    pair.bob_answers(200)
    pair.send(a_request())
    pair.net.run(10)
    assert statuses(pair.alice) == [200]
    (asked,) = pair.bob.seen(RequestReceived)
    via = asked.request.top_via
    assert (via.transport, via.host) == (transport.upper(), ALICE.ip)
    assert via.branch
    assert via.branch.startswith("z9hG4bK")
    assert (via.received, via.rport) == (asked.source.ip, asked.source.port)
    assert asked.flow.peer_names == (("a.test",) if transport is Transport.TLS else ())
    assert [record.start_line for record in pair.alice.seen(SipSent)] == ["OPTIONS sip:bob@b.test SIP/2.0"]
    assert pair.bob.seen(SipReceived)[0].text.startswith("OPTIONS")
    pair.net.run(100)
    assert pair.alice_endpoint._transactions == pair.bob_endpoint._transactions == {}


def test_lost_requests_and_responses_are_sent_again_over_udp() -> None:
    pair = Pair()
    pair.bob_answers(200)
    lost = iter([True, True, False, True])  # request, request, request, response, then all arrives
    pair.net.loses = lambda packet: next(lost, False)
    pair.send(a_request())
    pair.net.run(10)
    assert statuses(pair.alice) == [200]
    assert len(pair.bob.seen(RequestReceived)) == 1
    assert pair.alice.said() == ["OPTIONS"] * 4
    assert pair.bob.said() == ["200"] * 2


def test_retransmissions_back_off_and_give_up() -> None:
    pair = Pair()
    sent_at: list[float] = []

    def lose(packet: SendDatagram) -> bool:
        sent_at.append(round(pair.net.now - start, 3))
        return True

    pair.net.loses = lose
    start = pair.net.now
    transaction = pair.send(a_request())
    pair.net.run(40)
    assert sent_at == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert pair.alice.seen(TransactionFailed) == [TransactionFailed(transaction, "no answer in 32 s", 408)]
    assert pair.alice.seen(SipTransactionFailed)[0].call_id == "call-1"
    sent_at.clear()
    start = pair.net.now
    pair.send(a_request("INVITE"))
    pair.net.run(40)
    assert sent_at == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]


def test_nothing_is_sent_twice_over_tcp() -> None:
    pair = Pair(Transport.TCP)
    pair.send(a_request())
    pair.net.run(40)
    assert pair.alice.said() == ["OPTIONS"]
    assert [event.status for event in pair.alice.seen(TransactionFailed)] == [408]


@EVERY_TRANSPORT
def test_a_refused_invite_is_acknowledged_hop_by_hop(transport: Transport) -> None:
    pair = Pair(transport)
    pair.send(a_request("INVITE", Route="<sip:edge.test;lr>"))
    pair.net.run(1)
    assert pair.bob.said() == ["100"], "the endpoint says Trying when nobody has answered in 200 ms"
    pair.respond(486)
    pair.net.run(1)
    assert pair.alice.said() == ["INVITE", "ACK"]
    assert pair.bob.said() == ["100", "486"], "the ACK stopped the retransmissions"
    assert not pair.bob.seen(AckReceived), "and is no business of the owner"
    ack = pair.bob.seen(SipReceived)[-1].text
    assert "Route: <sip:edge.test;lr>" in ack
    assert "To: <sip:bob@b.test>;tag=b1" in ack
    pair.net.run(60)
    assert pair.alice_endpoint._transactions == pair.bob_endpoint._transactions == {}


def test_a_refusal_is_repeated_until_the_ack_and_each_copy_acknowledged() -> None:
    pair = Pair()
    pair.bob_answers(486)
    lost_acks = iter([True, True])
    pair.net.loses = lambda packet: packet.data.startswith(b"ACK") and next(lost_acks, False)
    pair.send(a_request("INVITE"))
    pair.net.run(60)
    assert pair.bob.said() == ["486"] * 3
    assert pair.alice.said() == ["INVITE", "ACK", "ACK", "ACK"]
    assert statuses(pair.alice) == [486], "copies are not reported"


def test_a_refusal_never_acknowledged_is_reported_to_the_server() -> None:
    pair = Pair()
    pair.bob_answers(486)
    pair.net.loses = lambda packet: packet.data.startswith(b"ACK")
    pair.send(a_request("INVITE"))
    pair.net.run(60)
    assert [event.reason for event in pair.bob.seen(TransactionFailed)] == ["no ACK for our response in 32 s"]


def test_every_2xx_is_reported_and_may_be_repeated() -> None:
    pair = Pair()
    pair.send(a_request("INVITE"))
    pair.net.run(0.1)
    pair.respond(180)
    pair.respond(200)
    pair.respond(200)
    pair.net.run(1)
    assert statuses(pair.alice) == [180, 200, 200]
    ack = a_request("ACK").with_header("To", "<sip:bob@b.test>;tag=b1")
    pair.alice_endpoint.send_ack(ack, pair.target, pair.net.now)
    pair.net.run(1)
    assert [event.request.method for event in pair.bob.seen(AckReceived)] == ["ACK"]
    pair.net.run(60)
    assert pair.alice_endpoint._transactions == pair.bob_endpoint._transactions == {}
    (asked,) = pair.bob.seen(RequestReceived)
    assert not pair.bob_endpoint.respond(asked.transaction, make_response(asked.request, 200), pair.net.now)


def test_an_invite_copy_gets_the_last_provisional_again() -> None:
    pair = Pair()
    pair.bob_answers(180)
    lost = iter([False, True])
    pair.net.loses = lambda packet: next(lost, False)
    pair.send(a_request("INVITE"))
    pair.net.run(3)
    assert pair.bob.said() == ["180", "180"]
    assert statuses(pair.alice) == [180]


@EVERY_TRANSPORT
def test_cancel_waits_for_a_provisional_response(transport: Transport) -> None:
    pair = Pair(transport)
    transaction = pair.send(a_request("INVITE"))
    assert pair.alice_endpoint.cancel(
        transaction, pair.net.now, 'SIP;cause=200;text="Call completed elsewhere"'
    )
    pair.net.settle()
    assert "CANCEL" not in pair.alice.said()
    pair.net.run(0.1)
    pair.respond(180)
    pair.net.run(0.1)
    (cancelled,) = pair.bob.seen(CancelReceived)
    (asked,) = pair.bob.seen(RequestReceived)
    assert cancelled.transaction == asked.transaction
    assert cancelled.request.headers.get("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    assert cancelled.request.top_via.branch == asked.request.top_via.branch
    assert cancelled.request.cseq.number == asked.request.cseq.number
    pair.respond(487)
    pair.net.run(1)
    assert statuses(pair.alice) == [180, 487], "the 200 of the CANCEL is not reported"
    assert not pair.alice_endpoint.cancel(transaction, pair.net.now)
    pair.net.run(60)
    assert not pair.alice.seen(TransactionFailed)


def test_a_cancelled_invite_nobody_answers_ends_all_the_same() -> None:
    pair = Pair()
    pair.bob_answers(180)
    transaction = pair.send(a_request("INVITE"))
    pair.net.run(50)
    pair.alice_endpoint.cancel(transaction, pair.net.now)
    pair.net.run(31)
    assert not pair.alice.seen(TransactionFailed)
    pair.net.run(2)
    assert [event.status for event in pair.alice.seen(TransactionFailed)] == [408]


def test_cancel_of_nothing_is_answered_481() -> None:
    pair = Pair()
    cancel = a_request("CANCEL").with_first("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKnone")
    pair.bob_endpoint.handle_input(DatagramReceived(BOB, ALICE, cancel.serialize()), pair.net.now)
    pair.net.run(1)
    assert pair.bob.said() == ["481"]
    assert not pair.bob.seen(CancelReceived)


def test_requests_of_old_clients_without_a_branch_are_matched_all_the_same() -> None:
    pair = Pair()

    def hears(request: Request) -> None:
        data = request.with_first("Via", "SIP/2.0/UDP 192.0.2.1:5060").serialize()
        pair.bob_endpoint.handle_input(DatagramReceived(BOB, ALICE, data), pair.net.now)
        pair.net.settle()

    hears(a_request("INVITE"))
    hears(a_request("INVITE"))
    hears(a_request("CANCEL"))
    assert len(pair.bob.seen(RequestReceived)) == 1
    assert len(pair.bob.seen(CancelReceived)) == 1
    pair.respond(487)
    hears(a_request("ACK").with_header("To", "<sip:bob@b.test>;tag=b1"))
    pair.net.run(20)
    assert pair.bob.said() == ["200", "487"]


def test_without_rport_a_response_goes_to_the_port_in_via() -> None:
    pair = Pair()
    pair.bob_answers(200)
    request = a_request().with_first("Via", "SIP/2.0/UDP host.test:5070;branch=z9hG4bKx")
    sent: list[SendDatagram] = []
    pair.net.loses = lambda packet: sent.append(packet) is None
    pair.bob_endpoint.handle_input(DatagramReceived(BOB, ALICE, request.serialize()), pair.net.now)
    pair.net.settle()
    assert [packet.remote for packet in sent] == [Address(ALICE.ip, 5070)]
    assert parse_message(sent[0].data).top_via.received == ALICE.ip


def test_ack_and_cancel_have_their_own_commands() -> None:
    pair = Pair()
    for method in ("ACK", "CANCEL"):
        with pytest.raises(UsageError):
            pair.send(a_request(method))


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
