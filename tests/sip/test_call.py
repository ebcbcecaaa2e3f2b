"""Calls once there is a dialog: ACK and 2xx, re-INVITE, glare, BYE."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from iceway.core.address import Transport
from iceway.core.machine import DatagramReceived
from iceway.sip.endpoint import Target, TransactionFailed
from iceway.sip.useragent import (
    Answered,
    Confirmed,
    Ended,
    Incoming,
    Provisional,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
    UserAgent,
)
from iceway.trace.records import CallState, SipReceived
from iceway.wire.sip import parse_message
from tests.sip.phones import ALICE, ANSWER, BOB, OFFER, Phones, both_transports


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
    assert phones.a.seen(Ended) == [Ended(call, "hung up here", 0, True)]
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


def test_a_reinvite_that_still_waits_can_be_withdrawn() -> None:
    phones = Phones()
    phones.calls()
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    phones.bob.reinvite(phones.bobs, b"later", phones.net.now)  # the ACK is not here yet
    phones.bob.withdraw_reinvite(phones.bobs, phones.net.now)
    phones.run(5)
    assert "INVITE" not in phones.b.said()
    phones.bob.reinvite(phones.bobs, b"after all", phones.net.now)
    phones.bob.withdraw_reinvite(phones.bobs, phones.net.now)  # too late: it is on its way
    phones.run()
    assert [event.offer for event in phones.a.seen(ReinviteReceived)] == [b"after all"]


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


def test_hanging_up_before_the_ack_waits_for_it() -> None:
    phones = Phones()
    lost = iter([True])
    phones.net.loses = lambda packet: packet.data.startswith(b"ACK") and next(lost, False)
    phones.calls()
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    phones.bob.bye(phones.bobs, phones.net.now, "changed my mind")
    phones.run(0.4)
    assert "BYE" not in phones.b.said()
    phones.run(1)
    assert phones.b.said()[-1] == "BYE"
    assert [(event.reason, event.by_us) for event in phones.a.seen(Ended)] == [("changed my mind", False)]
    assert [(event.reason, event.by_us) for event in phones.b.seen(Ended)] == [("changed my mind", True)]


def test_a_reinvite_without_an_offer_asks_for_ours() -> None:
    phones = Phones()
    call = phones.answered()
    dialog = phones.alice._calls[call].dialog
    assert dialog is not None
    stranger = dialog.request("INVITE").with_header("Contact", "<sip:alice@192.0.2.1>")
    transaction = phones.alice.endpoint.request(stranger, Target(BOB, Transport.UDP), phones.net.now)
    phones.run()
    assert phones.b.seen(ReinviteReceived) == [ReinviteReceived(phones.bobs, None)]
    phones.bob.answer_reinvite(phones.bobs, b"our offer", phones.net.now)
    phones.run()
    assert transaction
    ack = dialog.request("ACK", stranger.cseq.number).with_body(b"their answer", "application/sdp")
    phones.alice.endpoint.send_ack(ack, Target(BOB, Transport.UDP), phones.net.now)
    phones.run()
    assert phones.b.seen(ReinviteAnswered) == [ReinviteAnswered(phones.bobs, b"their answer")]


def test_an_offer_that_was_asked_for_over_a_connection_that_is_gone() -> None:
    phones = Phones()
    call = phones.answered()
    dialog = phones.alice._calls[call].dialog
    assert dialog is not None
    stranger = dialog.request("INVITE").with_header("Contact", "<sip:alice@192.0.2.1>")
    phones.alice.endpoint.request(stranger, Target(BOB, Transport.UDP), phones.net.now)
    phones.run()
    (bobs,) = phones.bob._calls.values()
    assert bobs._asked is not None
    assert bobs.transaction_failed(bobs._asked.transaction, "the connection is gone", 503, phones.net.now)
    phones.run()
    assert phones.b.seen(ReinviteFailed) == [ReinviteFailed(phones.bobs, 503, "the connection is gone")]
    phones.bob.answer_reinvite(phones.bobs, b"our offer", phones.net.now)
    phones.run()
    assert "200" not in phones.b.said()[2:]


@pytest.mark.parametrize(
    ("method", "content_type", "status"),
    [("OPTIONS", "application/sdp", 200), ("PRACK", "application/sdp", 481), ("INVITE", "text/plain", 415)],
)
def test_other_requests_within_a_call(method: str, content_type: str, status: int) -> None:
    phones = Phones()
    call = phones.answered()
    dialog = phones.alice._calls[call].dialog
    assert dialog is not None
    request = dialog.request(method).with_body(b"x", content_type).with_header("RAck", "1 1 INVITE")
    request = request.with_header("Contact", "<sip:alice@192.0.2.1>")
    phones.alice.endpoint.request(request, Target(BOB, Transport.UDP), phones.net.now)
    phones.run()
    assert phones.b.said()[-1] == str(status)
    assert not phones.b.seen(Ended)


def test_a_second_reinvite_before_the_first_is_answered_is_told_to_come_later() -> None:
    phones = Phones()
    call = phones.answered()
    dialog = phones.alice._calls[call].dialog
    assert dialog is not None
    for _ in range(2):
        request = dialog.request("INVITE").with_header("Contact", "<sip:alice@192.0.2.1>")
        phones.alice.endpoint.request(request, Target(BOB, Transport.UDP), phones.net.now)
        phones.run()
    assert phones.b.said()[-1] == "500"
    assert len(phones.b.seen(ReinviteReceived)) == 1


def test_a_lost_call_gets_no_reinvite_and_no_answer() -> None:
    phones = Phones()
    call = phones.answered()
    phones.alice.reinvite(call, b"x", phones.net.now)
    phones.run()
    phones.bob.bye(phones.bobs, phones.net.now)
    phones.run()
    for command in (phones.alice.reinvite, phones.alice.answer_reinvite):
        command(call, b"y", phones.net.now)
    phones.alice.reject_reinvite(call, 488, phones.net.now)
    phones.alice.bye(call, phones.net.now)
    phones.run(5)
    assert len(phones.a.seen(Ended)) == 1
    assert not phones.a.seen(ReinviteFailed)


def test_a_reinvite_nobody_answers_ends_the_call() -> None:
    phones = Phones()
    call = phones.answered()
    phones.net.loses = lambda packet: True
    phones.alice.reinvite(call, b"x", phones.net.now)
    phones.run(40)
    assert [event.status for event in phones.a.seen(Ended)] == [408]


def test_a_connection_replaced_does_not_end_the_call() -> None:
    phones = Phones(Transport.TCP)
    call = phones.answered()
    phones.net.break_streams("alice")
    phones.run()
    assert not phones.a.seen(Ended)
    phones.alice.reinvite(call, b"from elsewhere", phones.net.now)
    phones.run()
    phones.bob.answer_reinvite(phones.bobs, b"fine", phones.net.now)
    phones.run()
    assert phones.a.seen(ReinviteAnswered) == [ReinviteAnswered(call, b"fine")]
    phones.bob.bye(phones.bobs, phones.net.now)
    phones.run()
    assert [event.by_us for event in phones.a.seen(Ended)] == [False]


@pytest.mark.parametrize("taken", [True, False], ids=["answered", "rejected"])
def test_a_reinvite_that_went_with_its_connection_needs_no_answer(taken: bool) -> None:
    """Whoever takes a while to answer may not have heard of that yet."""
    phones = Phones(Transport.TCP)
    call = phones.answered()
    phones.alice.reinvite(call, b"let us move", phones.net.now)
    phones.run()
    assert phones.b.seen(ReinviteReceived)
    phones.net.break_streams("alice")
    phones.run(1)
    before = phones.b.said()
    if taken:
        phones.bob.answer_reinvite(phones.bobs, b"fine", phones.net.now)
    else:
        phones.bob.reject_reinvite(phones.bobs, 488, phones.net.now)
    phones.run()
    assert phones.b.said() == before
