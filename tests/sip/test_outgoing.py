"""Calls we make: early dialogs, forks, CANCEL, the other end's silence."""

from __future__ import annotations

import random

from iceway.core.address import Transport
from iceway.sip.endpoint import Endpoint, RequestReceived, Target
from iceway.sip.useragent import (
    Answered,
    Confirmed,
    Ended,
    Incoming,
    Provisional,
    UserAgent,
    UserAgentConfig,
)
from iceway.trace.records import Malformed, SipReceived
from iceway.wire.sip import Request, make_response, parse_message
from tests.sip.phones import ALICE, ANSWER, BOB, OFFER, Phones, both_transports
from tests.sip.sip_net import Net


class Forked:
    """Alice calls through a scripted proxy that answers for several phones."""

    def __init__(self) -> None:
        self.net = Net()
        self.proxy = Endpoint("proxy", random.Random(5))
        config = UserAgentConfig("sip:alice@example.test", outbound=(Target(BOB, Transport.UDP),))
        self.alice = UserAgent("alice", config, random.Random(6))
        self.a = self.net.add("alice", self.alice, ALICE.ip)
        self.p = self.net.add("proxy", self.proxy, BOB.ip)
        self.proxy.listen(Transport.UDP, BOB, 0)
        self.p.on_event = self._answers_all_but_invite
        self.call = self.alice.invite("sip:bob@example.test", OFFER, self.net.now)
        self.net.run(0.1)
        self.asked = self.p.seen(RequestReceived)[0]

    def _answers_all_but_invite(self, event: object, now: float) -> None:
        if isinstance(event, RequestReceived) and event.request.method != "INVITE":
            self.proxy.respond(event.transaction, make_response(event.request, 200), now)

    def says(self, status: int, tag: str, *fields: tuple[str, str], sdp: bytes = b"") -> None:
        response = make_response(self.asked.request, status, to_tag=tag)
        response = response.with_header("Contact", f"<sip:bob@{tag}.test>")
        response = response.with_header("Record-Route", "<sip:p2.test;lr>, <sip:p1.test;lr>")
        for name, value in fields:
            response = response.with_header(name, value)
        if sdp:
            response = response.with_body(sdp, "application/sdp")
        self.proxy.respond(self.asked.transaction, response, self.net.now)
        self.net.run(0.1)

    def got(self, method: str) -> list[Request]:
        requests = [e.request for e in self.p.seen(RequestReceived) if e.request.method == method]
        messages = [parse_message(r.text.encode()) for r in self.p.seen(SipReceived)]
        return requests or [m for m in messages if isinstance(m, Request) and m.method == method]


def test_every_ringing_end_is_a_dialog_of_its_own() -> None:
    forked = Forked()
    rel = ("Require", "100rel")
    forked.says(183, "one", rel, ("RSeq", "1"), sdp=b"one")
    forked.says(183, "two", rel, ("RSeq", "70"), sdp=b"two")
    forked.says(183, "one", rel, ("RSeq", "1"), sdp=b"one")  # a copy
    forked.says(180, "one", rel, ("RSeq", "3"))  # 2 is missing: not taken
    forked.says(180, "one", rel, ("RSeq", "2"))
    assert [(e.branch, e.status, e.sdp) for e in forked.a.seen(Provisional)] == [
        ("one", 183, b"one"),
        ("two", 183, b"two"),
        ("one", 180, None),
    ]
    pracks = forked.got("PRACK")
    assert [(p.uri, str(p.rack).split()[0], p.to.tag) for p in pracks] == [
        ("sip:bob@one.test", "1", "one"),
        ("sip:bob@two.test", "70", "two"),
        ("sip:bob@one.test", "2", "one"),
    ]
    assert [route.uri for route in pracks[0].routes] == ["sip:p1.test;lr", "sip:p2.test;lr"]
    assert [p.cseq.number - forked.asked.request.cseq.number for p in pracks] == [1, 1, 2]
    forked.says(200, "two")
    assert forked.a.seen(Answered) == [Answered(forked.call, None, "two")]


def test_a_second_2xx_is_acknowledged_and_hung_up() -> None:
    forked = Forked()
    forked.says(200, "one", sdp=b"one")
    forked.says(200, "two", sdp=b"two")
    forked.says(200, "two", sdp=b"two")
    forked.says(200, "one", sdp=b"one")
    assert forked.a.seen(Answered) == [Answered(forked.call, b"one", "one")]
    assert [ack.to.tag for ack in forked.got("ACK")] == ["one", "two", "two", "one"]
    assert [bye.to.tag for bye in forked.got("BYE")] == ["two"]
    assert not forked.a.seen(Ended)


def test_a_strict_router_finds_itself_on_the_request_line() -> None:
    forked = Forked()
    forked.says(200, "one", ("Record-Route", "<sip:strict.test>"), sdp=b"x")
    (ack,) = forked.got("ACK")
    assert ack.uri == "sip:strict.test"
    assert [route.uri for route in ack.routes] == ["sip:bob@one.test"]


def test_a_2xx_without_contact_is_recorded_as_malformed() -> None:
    forked = Forked()
    response = make_response(forked.asked.request, 200, to_tag="x")
    forked.proxy.respond(forked.asked.transaction, response, forked.net.now)
    forked.net.run(1)
    assert [r.reason for r in forked.a.seen(Malformed)] == ["a 2xx to INVITE has no Contact"]


@both_transports
def test_a_call_cancelled_while_it_rings(transport: Transport) -> None:
    phones = Phones(transport)
    call = phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.run()
    phones.alice.cancel(call, phones.net.now)
    phones.run()
    assert phones.a.said() == ["INVITE", "PRACK", "CANCEL", "ACK"]
    assert phones.a.seen(Ended) == [Ended(call, "cancelled", 487, True)]
    assert [(event.status, event.by_us) for event in phones.b.seen(Ended)] == [(487, False)]


def test_cancel_crossing_the_answer_becomes_bye() -> None:
    phones = Phones()
    call = phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now)
    phones.run()
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    phones.alice.cancel(call, phones.net.now)
    phones.run(1)
    assert phones.a.said() == ["INVITE", "CANCEL", "ACK", "BYE"]
    assert not phones.a.seen(Answered)
    assert phones.a.seen(Ended) == [Ended(call, "cancelled", 487, True)]
    assert [(event.status, event.by_us) for event in phones.b.seen(Ended)] == [(0, False)]
    phones.run(60)
    assert len(phones.a.seen(Ended)) == len(phones.b.seen(Ended)) == 1


def test_a_call_cancelled_before_it_could_be_sent() -> None:
    phones = Phones(Transport.TCP)
    call = phones.alice.invite("sip:bob@example.test", OFFER, phones.net.now)
    phones.alice.cancel(call, phones.net.now)
    phones.run(1)
    assert phones.a.said() == []
    assert [event.status for event in phones.a.seen(Ended)] == [487]


def test_nobody_rings_for_ever() -> None:
    phones = Phones(answer_timeout=20.0)
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now)
    phones.run(30)
    assert [event.reason for event in phones.a.seen(Ended)] == ["not answered in 20 s"]
    assert len(phones.b.seen(Ended)) == 1


def test_a_peer_that_never_answers_fails_the_call() -> None:
    phones = Phones()
    phones.net.loses = lambda packet: True
    call = phones.calls()
    phones.run(40)
    assert phones.a.seen(Ended) == [Ended(call, "no answer in 32 s", 408, False)]


def test_offer_in_the_2xx_and_answer_in_the_ack() -> None:
    phones = Phones()
    call = phones.calls(None)
    assert phones.b.seen(Incoming)[0].offer is None
    phones.bob.accept(phones.bobs, OFFER, phones.net.now)
    phones.run()
    (answered,) = phones.a.seen(Answered)
    assert answered.sdp == OFFER
    assert "ACK" not in phones.a.said()
    phones.alice.acknowledge(call, ANSWER, phones.net.now)
    phones.run(5)
    assert phones.b.seen(Confirmed) == [Confirmed(phones.bobs, ANSWER)]
    assert phones.b.said().count("200") == 1


def test_hanging_up_a_call_whose_offer_was_never_answered_sends_its_ack_first() -> None:
    phones = Phones()
    call = phones.calls(None)
    phones.bob.accept(phones.bobs, OFFER, phones.net.now)
    phones.run()
    phones.alice.hang_up(call, phones.net.now)
    phones.run()
    assert phones.a.said() == ["INVITE", "ACK", "BYE"]
    assert len(phones.b.seen(Ended)) == 1
