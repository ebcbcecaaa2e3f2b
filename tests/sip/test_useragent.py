"""Two user agents call each other, over UDP that loses and TCP that cuts, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import DatagramReceived, SendDatagram
from iceway.sip.endpoint import Endpoint, RequestReceived, ResponseReceived, Target, TransactionFailed
from iceway.sip.useragent import (
    Answered,
    Confirmed,
    Ended,
    Incoming,
    Provisional,
    ProvisionalAcknowledged,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
    RequestAnswered,
    RequestFailed,
    UserAgent,
    UserAgentConfig,
)
from iceway.trace.records import CallState, Malformed, SipReceived
from iceway.wire.sip import Headers, Request, Response, make_response, parse_message
from tests.sip.sip_net import Net

ALICE, BOB = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060)
OFFER, ANSWER = b"v=0 offer", b"v=0 answer"

both_transports = pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])


class Phones:
    """Alice and Bob, each the other's outbound proxy."""

    def __init__(self, transport: Transport = Transport.UDP, seed: int = 1, **config: float) -> None:
        self.net = Net()
        self.alice = UserAgent("alice", self._config("alice", BOB, transport, **config), random.Random(seed))
        self.bob = UserAgent("bob", self._config("bob", ALICE, transport, **config), random.Random(seed + 1))
        self.a = self.net.add("alice", self.alice, ALICE.ip)
        self.b = self.net.add("bob", self.bob, BOB.ip)
        for agent in (self.alice, self.bob):
            agent.listen(transport, Address("0.0.0.0", 5060), self.net.now)
        self.net.run(0)

    @staticmethod
    def _config(user: str, peer: Address, transport: Transport, **config: float) -> UserAgentConfig:
        return UserAgentConfig(f"sip:{user}@example.test", outbound=(Target(peer, transport),), **config)  # type: ignore[arg-type]

    def calls(self, offer: bytes | None = OFFER) -> str:
        call = self.alice.invite("sip:bob@example.test", offer, self.net.now)
        self.net.run(0.1)
        return call

    @property
    def bobs(self) -> str:
        return self.b.seen(Incoming)[-1].call

    def answered(self) -> str:
        """A call set up and confirmed; gives Alice's id of it."""
        call = self.calls()
        self.bob.accept(self.bobs, ANSWER, self.net.now)
        self.net.run(0.1)
        assert self.b.seen(Confirmed)
        return call

    def run(self, seconds: float = 0.1) -> None:
        self.net.run(seconds)


@both_transports
def test_a_call_from_ringing_to_hanging_up(transport: Transport) -> None:
    phones = Phones(transport)
    call = phones.calls()
    (incoming,) = phones.b.seen(Incoming)
    assert incoming.caller.uri == "sip:alice@example.test"
    assert incoming.offer == OFFER
    phones.bob.ring(incoming.call, phones.net.now)
    phones.run()
    (ringing,) = phones.a.seen(Provisional)
    assert (ringing.status, ringing.sdp, ringing.reliable) == (180, None, False)
    phones.bob.accept(incoming.call, ANSWER, phones.net.now)
    phones.run()
    assert phones.a.seen(Answered) == [Answered(call, ANSWER, ringing.branch)]
    assert phones.b.seen(Confirmed) == [Confirmed(incoming.call)]
    phones.alice.bye(call, phones.net.now)
    phones.run()
    assert phones.a.seen(Ended) == [Ended(call, "hung up", 0, True)]
    assert phones.b.seen(Ended) == [Ended(incoming.call, "the other side hung up", 0, False)]
    assert phones.a.said() == ["INVITE", "ACK", "BYE"]
    assert phones.b.said() == ["180", "200", "200"]
    assert [r.state for r in phones.a.seen(CallState)] == ["trying", "ringing", "confirmed", "ended"]
    assert [r.state for r in phones.b.seen(CallState)] == ["trying", "ringing", "confirmed", "ended"]
    phones.run(100)
    assert phones.alice._calls == phones.bob._calls == {}
    assert phones.alice._requester._by_transaction == {}


@both_transports
def test_the_called_side_hangs_up(transport: Transport) -> None:
    phones = Phones(transport)
    phones.answered()
    phones.bob.hang_up(phones.bobs, phones.net.now)
    phones.run()
    assert phones.b.said()[-1] == "BYE"
    assert [event.by_us for event in phones.a.seen(Ended)] == [False]


@both_transports
def test_early_answer_reliably_with_prack(transport: Transport) -> None:
    phones = Phones(transport)
    call = phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.run()
    (progress,) = phones.a.seen(Provisional)
    assert (progress.status, progress.sdp, progress.reliable) == (183, ANSWER, True)
    assert phones.b.seen(ProvisionalAcknowledged) == [ProvisionalAcknowledged(phones.bobs)]
    phones.bob.accept(phones.bobs, b"", phones.net.now)
    phones.run(5)
    assert phones.a.seen(Answered) == [Answered(call, None, progress.branch)], "the answer was in the 183"
    assert phones.a.said() == ["INVITE", "PRACK", "ACK"]
    assert phones.b.said() == ["183", "200", "200"]
    assert [r.state for r in phones.a.seen(CallState)] == ["trying", "early", "confirmed"]


def test_a_lost_183_is_repeated_until_its_prack_and_heard_once() -> None:
    phones = Phones()
    lost = {"183": 2, "PRACK": 1}

    def loses(packet: SendDatagram) -> bool:
        for word in lost:
            if word.encode() in packet.data.split(b"\r\n")[0] and lost[word] > 0:
                lost[word] -= 1
                return True
        return False

    phones.net.loses = loses
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.run(10)
    assert len(phones.a.seen(Provisional)) == 1
    assert len(phones.b.seen(ProvisionalAcknowledged)) == 1
    assert phones.b.said().count("183") >= 3


def test_picking_up_waits_for_the_prack_of_an_answer() -> None:
    phones = Phones()
    phones.calls()
    lossy = iter([True, False])
    phones.net.loses = lambda packet: b" 183 " in packet.data[:20] and next(lossy, False)
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    phones.run(0.3)
    assert phones.b.said() == ["183"]
    phones.run(5)
    assert phones.b.said() == ["183", "183", "200", "200"]
    assert len(phones.a.seen(Answered)) == 1


def test_a_183_never_acknowledged_gives_the_call_up() -> None:
    phones = Phones()
    phones.net.loses = lambda packet: packet.data.startswith(b"PRACK")
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.run(60)
    assert [event.reason for event in phones.b.seen(Ended)] == ["no PRACK for our 183 in 32 s"]
    assert [event.status for event in phones.a.seen(Ended)] == [504]


def test_a_caller_without_100rel_gets_an_unreliable_183() -> None:
    phones = Phones()
    phones.net.loses = lambda packet: False
    phones.calls(None)  # without an offer we do not claim 100rel
    phones.bob.ring(phones.bobs, phones.net.now, OFFER)
    phones.run()
    assert [event.reliable for event in phones.a.seen(Provisional)] == [False]
    assert "PRACK" not in phones.a.said()


def test_a_stray_prack_is_answered_481() -> None:
    phones = Phones()
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.run()
    prack = next(r.text for r in phones.b.seen(SipReceived) if r.start_line.startswith("PRACK"))
    again = prack.replace("branch=z9hG4bK", "branch=z9hG4bKother").replace("RAck: ", "RAck: 9")
    phones.bob.handle_input(DatagramReceived(BOB, ALICE, again.encode()), phones.net.now)
    phones.run()
    assert phones.b.said()[-1] == "481"


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


def test_a_2xx_is_repeated_until_its_ack_and_each_copy_acknowledged() -> None:
    phones = Phones()
    lost = iter([True, True])
    phones.net.loses = lambda packet: packet.data.startswith(b"ACK") and next(lost, False)
    phones.calls()
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    phones.run(30)
    assert phones.b.said() == ["200"] * 3
    assert phones.a.said() == ["INVITE", "ACK", "ACK", "ACK"]
    assert len(phones.a.seen(Answered)) == 1
    acks = [
        parse_message(r.text.encode()) for r in phones.b.seen(SipReceived) if r.start_line.startswith("ACK")
    ]
    assert len(acks) == 1


def test_without_an_ack_the_called_side_gives_up_with_bye() -> None:
    phones = Phones()
    phones.net.loses = lambda packet: packet.data.startswith(b"ACK")
    phones.calls()
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    phones.run(40)
    assert [event.reason for event in phones.b.seen(Ended)] == ["no ACK for our answer in 32 s"]
    assert phones.b.said()[-1] == "BYE"
    assert [event.by_us for event in phones.a.seen(Ended)] == [False]


@both_transports
def test_a_rejected_call(transport: Transport) -> None:
    phones = Phones(transport)
    call = phones.calls()
    phones.bob.reject(phones.bobs, 486, phones.net.now)
    phones.run()
    assert phones.a.seen(Ended) == [Ended(call, "486 Busy Here", 486, False)]
    assert phones.a.seen(CallState)[-1].state == "failed"
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)  # crosses the end: nothing happens
    phones.run()
    assert phones.b.said() == ["486"]


# --- cancel ---------------------------------------------------------------------------------------------
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


def test_a_connection_lost_while_ringing_ends_the_call_at_both_ends() -> None:
    phones = Phones(Transport.TCP)
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now)
    phones.run()
    phones.net.break_streams("alice")
    assert [event.reason for event in phones.a.seen(Ended)] == ["connection reset"]
    assert [event.reason for event in phones.b.seen(Ended)] == ["the caller is gone: connection reset"]


# --- re-INVITE ------------------------------------------------------------------------------------------
@both_transports
@pytest.mark.parametrize("by", ["alice", "bob"])
def test_a_reinvite_in_either_direction(transport: Transport, by: str) -> None:
    phones = Phones(transport)
    call = phones.answered()
    asking, asked, mine, theirs = (
        (phones.alice, phones.bob, call, phones.bobs)
        if by == "alice"
        else (phones.bob, phones.alice, phones.bobs, call)
    )
    asker, answerer = (phones.a, phones.b) if by == "alice" else (phones.b, phones.a)
    for round_number in range(2):
        asking.reinvite(mine, b"new offer %d" % round_number, phones.net.now)
        phones.run()
        assert answerer.seen(ReinviteReceived)[-1] == ReinviteReceived(theirs, b"new offer %d" % round_number)
        asked.answer_reinvite(theirs, b"new answer", phones.net.now)
        phones.run()
        assert asker.seen(ReinviteAnswered)[-1] == ReinviteAnswered(mine, b"new answer")
    phones.run(5)
    assert len(asker.seen(ReinviteAnswered)) == 2
    assert answerer.said()[-1] == "200", "the ACK stopped its repetition"


def test_a_refused_reinvite_leaves_the_call_as_it_was() -> None:
    phones = Phones()
    call = phones.answered()
    phones.alice.reinvite(call, b"worse", phones.net.now)
    phones.run()
    phones.bob.reject_reinvite(phones.bobs, 488, phones.net.now)
    phones.run()
    assert phones.a.seen(ReinviteFailed) == [ReinviteFailed(call, 488, "488 Not Acceptable Here")]
    assert not phones.a.seen(Ended)


def test_a_reinvite_before_the_ack_waits_for_it() -> None:
    phones = Phones()
    phones.calls()
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    phones.bob.reinvite(phones.bobs, b"later", phones.net.now)
    phones.run(0.015)
    assert phones.b.said() == ["200"]
    phones.run()
    assert [event.offer for event in phones.a.seen(ReinviteReceived)] == [b"later"]


@pytest.mark.parametrize("seed", range(5))
def test_glare_is_settled_the_caller_waiting_longer(seed: int) -> None:
    phones = Phones(seed=seed * 10)
    call = phones.answered()

    def answers(agent: UserAgent) -> Callable[[object, float], None]:
        def on_event(event: object, now: float) -> None:
            if isinstance(event, ReinviteReceived):
                agent.answer_reinvite(event.call, b"yes", now)

        return on_event

    phones.a.on_event, phones.b.on_event = answers(phones.alice), answers(phones.bob)
    phones.alice.reinvite(call, b"alice wants", phones.net.now)
    phones.bob.reinvite(phones.bobs, b"bob wants", phones.net.now)
    phones.run(0.1)
    assert phones.a.said()[-2:] == ["491", "ACK"] or phones.a.said()[-2:] == ["ACK", "491"]
    phones.run(10)
    assert [event.offer for event in phones.b.seen(ReinviteReceived)] == [b"alice wants"]
    assert [event.offer for event in phones.a.seen(ReinviteReceived)] == [b"bob wants"]
    first = [r.text for r in phones.b.seen(SipReceived) if "alice wants" in r.text]
    assert len(first) == 2, "once refused, once taken"


def test_a_reinvite_the_other_side_knows_nothing_of_ends_the_call() -> None:
    phones = Phones()
    call = phones.answered()
    phones.bob._calls.clear()
    phones.alice.reinvite(call, OFFER, phones.net.now)
    phones.run()
    assert [event.status for event in phones.a.seen(Ended)] == [481]


def test_hanging_up_amid_a_reinvite() -> None:
    phones = Phones()
    call = phones.answered()
    phones.alice.reinvite(call, b"x", phones.net.now)
    phones.run()
    phones.alice.bye(call, phones.net.now)
    phones.run(1)
    assert len(phones.a.seen(Ended)) == len(phones.b.seen(Ended)) == 1
    assert "487" in phones.b.said()
    phones.bob.answer_reinvite(phones.bobs, b"y", phones.net.now)
    phones.run(100)
    assert phones.alice._requester._by_transaction == {}


# --- forks ----------------------------------------------------------------------------------------------
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


# --- what strangers send --------------------------------------------------------------------------------
class Stranger:
    """A bare endpoint that sends Bob's phone what it likes."""

    def __init__(self) -> None:
        self.phones = Phones()
        self.endpoint = Endpoint("eve", random.Random(9))
        self.e = self.phones.net.add("eve", self.endpoint, "192.0.2.3")
        self.endpoint.listen(Transport.UDP, Address("192.0.2.3", 5060), 0)
        self.phones.run(0)

    def asks(self, method: str, uri: str = "sip:bob@example.test", **fields: str) -> Response | None:
        headers = {
            "Max-Forwards": "70",
            "From": "<sip:eve@x.test>;tag=e",
            "To": "<sip:bob@example.test>",
            "Call-ID": "eve-1",
            "CSeq": f"1 {method}",
            "Contact": "<sip:eve@192.0.2.3>",
        } | {name.replace("_", "-"): value for name, value in fields.items()}
        request = Request(method, uri, headers=Headers.of(*((n, v) for n, v in headers.items() if v)))
        self.endpoint.request(request, Target(BOB, Transport.UDP), self.phones.net.now)
        self.phones.run(0.1)
        responses = self.e.seen(ResponseReceived)
        return responses[-1].response if responses else None


@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("OPTIONS", {}, 200),
        ("MESSAGE", {}, 405),
        ("BYE", {}, 481),
        ("BYE", {"To": "<sip:bob@example.test>;tag=none"}, 481),
        ("PRACK", {"To": "<sip:bob@example.test>;tag=none"}, 481),
        ("INVITE", {"Require": "100rel, precondition"}, 420),
        ("INVITE", {"Contact": ""}, 400),
        ("INVITE", {"To": "<sip:bob@example.test>;tag=none"}, 481),
    ],
)
def test_requests_a_phone_cannot_serve(method: str, fields: dict[str, str], status: int) -> None:
    stranger = Stranger()
    response = stranger.asks(method, **fields)
    assert response is not None
    assert response.status == status
    if status == 420:
        assert response.headers.get("Unsupported") == "precondition"
    if status in (405, 200):
        assert "INVITE" in response.headers.values("Allow")
    assert not stranger.phones.b.seen(Incoming)


def test_another_uri_scheme_is_answered_416() -> None:
    response = Stranger().asks("INVITE", uri="tel:+1234")
    assert response is not None
    assert response.status == 416


def test_an_invite_that_came_over_two_ways_is_taken_once() -> None:
    stranger = Stranger()
    stranger.asks("INVITE")
    response = stranger.asks("INVITE")
    assert response is not None
    assert response.status == 482
    assert len(stranger.phones.b.seen(Incoming)) == 1


def test_a_request_out_of_order_is_answered_500() -> None:
    phones = Phones()
    call = phones.answered()
    phones.alice.reinvite(call, b"x", phones.net.now)
    phones.run()
    phones.bob.answer_reinvite(phones.bobs, b"y", phones.net.now)
    phones.run()
    invite = next(r.text for r in phones.b.seen(SipReceived) if r.start_line.startswith("INVITE"))
    to = phones.alice._calls[call].dialog
    assert to is not None
    old = invite.replace("branch=z9hG4bK", "branch=z9hG4bKold").replace(
        "To: <sip:bob@example.test>", f"To: {to.remote}"
    )
    phones.bob.handle_input(DatagramReceived(BOB, ALICE, old.encode()), phones.net.now)
    phones.run()
    assert phones.b.said()[-1] == "500"


def test_commands_that_do_not_fit_are_the_callers_mistake() -> None:
    phones = Phones()
    call = phones.calls()
    with pytest.raises(UsageError):
        phones.alice.bye(call, phones.net.now)
    with pytest.raises(UsageError):
        phones.alice.accept(call, ANSWER, phones.net.now)
    with pytest.raises(UsageError):
        phones.bob.cancel(phones.bobs, phones.net.now)
    with pytest.raises(UsageError):
        phones.alice.invite("not an address", OFFER, phones.net.now)
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    with pytest.raises(UsageError):
        phones.bob.answer_reinvite(phones.bobs, ANSWER, phones.net.now)
    phones.alice.bye("no such call", phones.net.now)


# --- requests outside of calls --------------------------------------------------------------------------
def test_a_request_outside_of_calls_is_answered_or_fails() -> None:
    phones = Phones()
    asked = phones.alice.request_out_of_dialog(
        "OPTIONS", "sip:bob@example.test", phones.net.now, (("Accept", "application/sdp"),)
    )
    phones.run()
    (answered,) = phones.a.seen(RequestAnswered)
    assert (answered.request, answered.response.status) == (asked, 200)
    phones.net.loses = lambda packet: True
    asked = phones.alice.request_out_of_dialog(
        "SERVICE", "sip:bob@example.test", phones.net.now, body=b"<x/>"
    )
    phones.run(40)
    assert phones.a.seen(RequestFailed) == [RequestFailed(asked, "no answer in 32 s", 408)]


def test_any_conversation_survives_loss() -> None:
    """A third of all datagrams lost: the call still comes about, or is given up, alike at both ends."""
    for seed in range(20):
        phones = Phones(seed=seed)
        chance = random.Random(seed)
        phones.net.loses = lambda packet, chance=chance: chance.random() < 0.33  # type: ignore[misc]

        def picks_up(event: object, now: float, phones: Phones = phones) -> None:
            if isinstance(event, Incoming):
                phones.bob.ring(event.call, now, ANSWER)
                phones.bob.accept(event.call, ANSWER, now)

        phones.b.on_event = picks_up
        call = phones.alice.invite("sip:bob@example.test", OFFER, phones.net.now)
        phones.run(70)
        assert len(phones.a.seen(Answered)) == len(phones.b.seen(Confirmed)) == 1
        phones.alice.hang_up(call, phones.net.now)
        phones.run(110)
        assert len(phones.a.seen(Ended)) == len(phones.b.seen(Ended)) == 1
        assert not [e for e in phones.a.events if isinstance(e, TransactionFailed)]
        assert phones.alice._calls == phones.bob._calls == {}
