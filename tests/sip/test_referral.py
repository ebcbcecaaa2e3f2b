"""Transfers in the dialog of a call (RFC 3515): asked for, granted or not, and told of until the last word."""

from __future__ import annotations

import pytest

from iceway.core.address import Transport
from iceway.core.errors import UsageError
from iceway.sip.endpoint import Target
from iceway.sip.referral import MOST, PATIENCE, ReferralProgress, Referred
from iceway.sip.useragent import Ended
from iceway.trace.records import Malformed, SipReceived, SipSent
from iceway.wire.sip import NameAddr, parse_message
from iceway.wire.sip.transfer import ReferTo
from tests.sip.phones import ANSWER, OFFER, Phones, both_transports

CAROL = "sip:carol@example.test"


def told(phones: Phones) -> list[tuple[int, str]]:
    return [(event.status, event.reason) for event in phones.a.seen(ReferralProgress)]


def asked(phones: Phones) -> str:
    """Alice asks Bob to call Carol; gives her call."""
    call = phones.answered()
    phones.alice.transfers.refer(call, CAROL, phones.net.now)
    phones.run()
    return call


def sent(phones: Phones, start: str) -> list[str]:
    return [record.text for record in phones.b.seen(SipSent) if record.start_line.startswith(start)]


def writes(phones: Phones, method: str, *fields: tuple[str, str], body: bytes = b"", kind: str = "") -> int:
    """A request that Alice writes by hand into the dialog; the status that answers it."""
    (call,) = phones.alice._calls.values()
    assert call.dialog is not None
    request = call.dialog.request(method).with_last("Contact", "<sip:alice@192.0.2.1>")
    for name, value in fields:
        request = request.with_last(name, value)
    if body:
        request = request.with_body(body, kind)
    flow = phones.alice.endpoint.flow(call.dialog.flow or "")
    assert flow is not None
    phones.alice.endpoint.request(request, Target.over(flow), phones.net.now)
    phones.run()
    answers = [
        parse_message(record.text.encode())
        for record in phones.a.seen(SipReceived)
        if record.cseq == f"{request.cseq.number} {method}"
    ]
    return answers[-1].status  # type: ignore[union-attr]


@both_transports
def test_a_transfer_from_the_question_to_the_last_word(transport: Transport) -> None:
    phones = Phones(transport)
    call = asked(phones)
    (referred,) = phones.b.seen(Referred)
    assert referred == Referred(phones.bobs, ReferTo(NameAddr(CAROL)), "<sip:alice@example.test>")
    assert told(phones) == []
    phones.bob.transfers.accept(phones.bobs, phones.net.now)
    phones.run()
    assert phones.b.said()[-2:] == ["202", "NOTIFY"]
    for status, reason in ((180, "Ringing"), (200, "OK"), (486, "too late")):
        phones.bob.transfers.report(phones.bobs, status, reason, phones.net.now)
        phones.run()
    assert told(phones) == [(100, "Trying"), (180, "Ringing"), (200, "OK")]
    assert all("\r\nEvent: refer\r\n" in notify for notify in sent(phones, "NOTIFY"))
    states = [
        notify.partition("Subscription-State: ")[2].partition(";")[0] for notify in sent(phones, "NOTIFY")
    ]
    assert states == ["active", "active", "terminated"]
    phones.alice.bye(call, phones.net.now)
    phones.run(100)
    assert phones.alice._calls == phones.bob._calls == {}
    assert phones.alice._requester._by_transaction == phones.bob._requester._by_transaction == {}


def test_one_that_is_not_granted() -> None:
    phones = Phones()
    asked(phones)
    phones.bob.transfers.refuse(phones.bobs, 603, phones.net.now)
    phones.run()
    assert told(phones) == [(603, "the transfer was refused: Decline")]
    phones.bob.transfers.report(phones.bobs, 200, "OK", phones.net.now)
    phones.run()
    assert "NOTIFY" not in phones.b.said(), "there is nothing to tell of"
    assert phones.a.seen(Ended) == [], "the call goes on"


def test_a_second_one_after_the_first_has_failed_is_named_by_its_number() -> None:
    phones = Phones()
    call = asked(phones)
    phones.bob.transfers.accept(phones.bobs, phones.net.now)
    phones.bob.transfers.report(phones.bobs, 486, "Busy Here", phones.net.now)
    phones.run()
    phones.alice.transfers.refer(call, CAROL, phones.net.now)
    phones.run()
    phones.bob.transfers.accept(phones.bobs, phones.net.now)
    phones.run()
    assert told(phones) == [(100, "Trying"), (486, "Busy Here"), (100, "Trying")]
    assert "\r\nEvent: refer;id=" in sent(phones, "NOTIFY")[-1]


def test_a_reinvite_goes_first() -> None:
    """JsSIP takes no REFER before the ACK; and hold comes first in RFC 5589 §6, too."""
    phones = Phones()
    call = phones.answered()
    phones.alice.reinvite(call, OFFER, phones.net.now)
    phones.alice.transfers.refer(call, CAROL, phones.net.now)
    with pytest.raises(UsageError, match="under way"):
        phones.alice.transfers.refer(call, CAROL, phones.net.now)
    phones.run()
    assert phones.b.seen(Referred) == [], "the re-INVITE is not answered yet"
    phones.bob.answer_reinvite(phones.bobs, ANSWER, phones.net.now)
    phones.run()
    heard = [record.start_line.partition(" ")[0] for record in phones.b.seen(SipReceived)]
    assert heard[-3:] == ["INVITE", "ACK", "REFER"]
    assert len(phones.b.seen(Referred)) == 1


def test_a_reinvite_that_is_refused_holds_nothing_up() -> None:
    phones = Phones()
    call = phones.answered()
    phones.alice.reinvite(call, OFFER, phones.net.now)
    phones.alice.transfers.refer(call, CAROL, phones.net.now)
    phones.run()
    phones.bob.reject_reinvite(phones.bobs, 488, phones.net.now)
    phones.run()
    assert len(phones.b.seen(Referred)) == 1


def test_one_at_a_time() -> None:
    phones = Phones()
    call = asked(phones)
    with pytest.raises(UsageError, match="under way"):
        phones.alice.transfers.refer(call, CAROL, phones.net.now)
    assert writes(phones, "REFER", ("Refer-To", f"<{CAROL}>")) == 491
    assert len(phones.b.seen(Referred)) == 1


def test_nobody_makes_us_call_the_whole_world_in_one_call() -> None:
    phones = Phones()
    phones.answered()
    (call,) = phones.bob._calls
    for _ in range(MOST):
        assert writes(phones, "REFER", ("Refer-To", "<tel:110>")) == 416
    assert writes(phones, "REFER", ("Refer-To", f"<{CAROL}>")) == 403
    assert not phones.b.seen(Referred)
    assert not phones.bob._calls[call].is_over


@pytest.mark.parametrize(
    ("refer_to", "status"),
    [
        ((), 400),
        ((f"<{CAROL}>", f"<{CAROL}>"), 400),
        (("<tel:+15551234>",), 416),
        (("<https://example.test/>",), 416),
        (("carol",), 400),
        ((f"<{CAROL};method=BYE>",), 403),
        ((f"<{CAROL}?Replaces=nonsense>",), 400),
    ],
)
def test_what_nobody_carries_out(refer_to: tuple[str, ...], status: int) -> None:
    phones = Phones()
    phones.answered()
    assert writes(phones, "REFER", *(("Refer-To", value) for value in refer_to)) == status
    assert not phones.b.seen(Referred)


def test_nobody_is_referred_out_of_a_call_or_before_it_is_one() -> None:
    phones = Phones()
    phones.alice.request_out_of_dialog(
        "REFER", "sip:bob@example.test", phones.net.now, (("Refer-To", f"<{CAROL}>"),)
    )
    phones.run()
    assert phones.b.said() == ["403"]
    call = phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now)
    phones.run()
    with pytest.raises(UsageError, match="does not fit a call that is ringing"):
        phones.alice.transfers.refer(call, CAROL, phones.net.now)
    with pytest.raises(UsageError, match="cannot transfer to 'tel:110'"):
        phones.alice.transfers.refer(call, "tel:110", phones.net.now)


def test_news_may_overtake_the_answer_to_the_question() -> None:
    phones = Phones()
    phones.net.loses = lambda packet: packet.data.startswith(b"SIP/2.0 202")
    asked(phones)
    phones.bob.transfers.accept(phones.bobs, phones.net.now)
    phones.bob.transfers.report(phones.bobs, 200, "OK", phones.net.now)
    phones.run()
    assert told(phones) == [(100, "Trying"), (200, "OK")]
    phones.run(40)
    assert len(told(phones)) == 2, "that nobody answered the REFER changes nothing any more"


def test_who_wants_no_word_of_it_gets_none() -> None:
    """RFC 4488."""
    phones = Phones()
    phones.answered()
    (call,) = phones.bob._calls
    phones.b.on_event = lambda event, now: (
        phones.bob.transfers.accept(call, now) if isinstance(event, Referred) else None
    )
    assert writes(phones, "REFER", ("Refer-To", f"<{CAROL}>"), ("Refer-Sub", "false")) == 202
    phones.bob.transfers.report(call, 200, "OK", phones.net.now)
    phones.run()
    assert "NOTIFY" not in phones.b.said()
    assert "\r\nRefer-Sub: false\r\n" in sent(phones, "SIP/2.0 202")[0]


def test_the_last_word_may_come_after_the_end_of_the_call() -> None:
    """Many hang up as soon as the transfer is granted (RFC 5589 §6)."""
    phones = Phones()
    call = asked(phones)
    phones.bob.transfers.accept(phones.bobs, phones.net.now)
    phones.run()
    bobs = phones.bobs
    phones.alice.bye(call, phones.net.now)
    phones.run()
    phones.bob.transfers.report(bobs, 200, "OK", phones.net.now)
    phones.run()
    assert phones.b.said()[-2:] == ["200", "NOTIFY"]
    assert phones.a.said()[-1] == "200"
    assert told(phones) == [(100, "Trying")], "after its end nothing more is told of a call"


def test_somebody_who_never_says_what_became_of_it() -> None:
    phones = Phones()
    asked(phones)
    phones.bob.transfers.accept(phones.bobs, phones.net.now)
    phones.run(PATIENCE - 1)
    assert told(phones) == [(100, "Trying")]
    phones.run(2)
    assert told(phones)[-1] == (408, "no word of what became of the transfer")


def test_somebody_who_does_not_answer() -> None:
    phones = Phones()
    call = phones.answered()
    phones.net.loses = lambda packet: packet.data.startswith(b"REFER")
    phones.alice.transfers.refer(call, CAROL, phones.net.now)
    phones.run(40)
    assert [status for status, _ in told(phones)] == [408]


NOTE = (("Event", "refer"), ("Subscription-State", "active;expires=60"))


@pytest.mark.parametrize(
    ("fields", "body", "kind", "status"),
    [
        (NOTE, b"SIP/2.0 180 Ringing", "message/sipfrag;version=2.0", 481),
        ((("Event", "message-summary"), NOTE[1]), b"x", "text/plain", 489),
        ((NOTE[1],), b"", "", 400),
    ],
)
def test_news_that_nobody_asked_for(
    fields: tuple[tuple[str, str], ...], body: bytes, kind: str, status: int
) -> None:
    phones = Phones()
    phones.answered()
    assert writes(phones, "NOTIFY", *fields, body=body, kind=kind) == status


@pytest.mark.parametrize(
    ("fields", "body", "kind", "status", "news"),
    [
        (NOTE, b"SIP/2.0 183 Progress", "message/sipfrag", 200, [(183, "Progress")]),
        (NOTE, b"SIP/2.0 404 Not Found", "message/sipfrag", 200, [(404, "Not Found")]),
        (NOTE, b"", "", 200, []),
        (NOTE, b"half a line", "message/sipfrag", 400, []),
        (NOTE, b"SIP/2.0 200 OK", "application/sdp", 415, []),
        ((NOTE[0],), b"SIP/2.0 200 OK", "message/sipfrag", 400, []),
        ((("Event", "refer;id=99999"), NOTE[1]), b"SIP/2.0 200 OK", "message/sipfrag", 481, []),
        (
            (NOTE[0], ("Subscription-State", "terminated")),
            b"SIP/2.0 100 Trying",
            "message/sipfrag",
            200,
            [(503, "the other side says no more about the transfer")],
        ),
    ],
)
def test_news_of_all_kinds(
    fields: tuple[tuple[str, str], ...], body: bytes, kind: str, status: int, news: list[tuple[int, str]]
) -> None:
    """Bob has asked Alice; she writes by hand."""
    phones = Phones()
    phones.answered()
    phones.bob.transfers.refer(phones.bobs, CAROL, phones.net.now)
    phones.run()
    phones.alice.transfers.accept(next(iter(phones.alice._calls)), phones.net.now)
    phones.run()
    assert writes(phones, "NOTIFY", *fields, body=body, kind=kind) == status
    heard = [(event.status, event.reason) for event in phones.b.seen(ReferralProgress)]
    assert heard == [(100, "Trying"), *news]
    assert bool(phones.b.seen(Malformed)) == (status == 400)
