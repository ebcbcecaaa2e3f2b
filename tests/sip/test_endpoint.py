"""Two endpoints in conversation: transactions over UDP that loses and TCP that cuts."""

from __future__ import annotations

import pytest

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import (
    DatagramReceived,
    SendDatagram,
)
from iceway.sip.endpoint import (
    AckReceived,
    CancelReceived,
    RequestReceived,
    Target,
    TransactionFailed,
)
from iceway.trace.records import (
    Note,
    SipReceived,
    SipSent,
    SipTransactionFailed,
)
from iceway.wire.sip import Request, make_response, parse_message
from tests.sip.pair import ALICE, BOB, Pair, a_request, statuses

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


def test_a_sender_cannot_say_itself_where_it_was_received_from() -> None:
    pair = Pair()
    lie = f"SIP/2.0/UDP {ALICE.ip}:{ALICE.port};received=203.0.113.9;branch=z9hG4bKx"
    data = a_request().with_first("Via", lie).serialize()
    pair.bob_endpoint.handle_input(DatagramReceived(BOB, ALICE, data), pair.net.now)
    pair.net.settle()
    (asked,) = pair.bob.seen(RequestReceived)
    assert asked.request.top_via.received == ALICE.ip


def test_ack_and_cancel_have_their_own_commands() -> None:
    pair = Pair()
    for method in ("ACK", "CANCEL"):
        with pytest.raises(UsageError):
            pair.send(a_request(method))


def test_an_ack_waits_for_its_connection_and_is_dropped_without_one() -> None:
    pair = Pair(Transport.TCP)
    ack = a_request("ACK").with_header("To", "<sip:bob@b.test>;tag=b1")
    pair.alice_endpoint.send_ack(ack, pair.target, pair.net.now)
    pair.net.run(1)
    assert len(pair.bob.seen(AckReceived)) == 1
    gone = Target(BOB, Transport.TCP, flow="gone")
    pair.alice_endpoint.send_ack(ack, gone, pair.net.now)
    pair.net.run(1)
    assert len(pair.bob.seen(AckReceived)) == 1
    assert "its connection is gone" in pair.alice.seen(Note)[-1].text


def test_a_response_whose_connection_is_gone_is_noted() -> None:
    pair = Pair(Transport.TCP)
    pair.send(a_request("INVITE"))
    pair.net.run(0.1)
    (asked,) = pair.bob.seen(RequestReceived)
    assert pair.bob_endpoint.request_of(asked.transaction) == asked.request
    assert pair.bob_endpoint.flow_of(asked.transaction) == asked.flow
    ok = make_response(asked.request, 200, to_tag="b1")
    assert pair.bob_endpoint.respond(asked.transaction, ok, pair.net.now)
    pair.net.break_streams("bob")
    assert pair.bob_endpoint.respond(asked.transaction, ok, pair.net.now), "its copies may still be wanted"
    pair.net.settle()
    assert "not sent: its connection is gone" in pair.bob.seen(Note)[-1].text
    busy = make_response(asked.request, 486, to_tag="b1")
    assert not pair.bob_endpoint.respond(asked.transaction, busy, pair.net.now), "it is answered"
    assert pair.bob_endpoint.request_of("unknown") is pair.bob_endpoint.flow_of("unknown") is None
