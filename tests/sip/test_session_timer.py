"""Session timers (RFC 4028): who refreshes, what is refused, and what becomes of a call whose other end is gone."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.sip.session_timer import SessionExpires, SessionTimer, min_se, session_expires
from iceway.sip.useragent import Ended, Incoming, RefreshDue, ReinviteReceived
from iceway.trace.records import SipSent
from iceway.wire.sip import Headers, Request, Response, make_response
from tests.sip.pair import a_request
from tests.sip.phones import ANSWER, OFFER, Phones


def phones(**config: object) -> Phones:
    return Phones(**{"session_expires": 90, **config})  # type: ignore[arg-type]


def sent(node: object, start: str) -> list[str]:
    return [record.text for record in node.seen(SipSent) if record.text.startswith(start)]  # type: ignore[attr-defined]


def test_the_caller_refreshes_by_update_at_half_the_interval() -> None:
    pair = phones()
    pair.answered()
    assert "\r\nSession-Expires: 90\r\n" in sent(pair.a, "INVITE")[0]
    (accepted,) = sent(pair.b, "SIP/2.0 200")
    assert "\r\nSession-Expires: 90;refresher=uac\r\n" in accepted
    assert "\r\nRequire: timer\r\n" in accepted
    pair.run(200)
    assert len(sent(pair.a, "UPDATE")) == 4
    assert not sent(pair.b, "UPDATE")
    assert "\r\nSession-Expires: 90;refresher=uac\r\n" in sent(pair.a, "UPDATE")[0]
    assert not pair.a.seen(Ended)
    assert not pair.b.seen(Ended)


def test_a_call_whose_other_end_is_gone_is_over_at_both() -> None:
    pair = phones()
    pair.answered()
    pair.net.loses = lambda packet: True
    pair.run(120)
    (alices,) = pair.a.seen(Ended)
    (bobs,) = pair.b.seen(Ended)
    assert alices.by_us  # type: ignore[attr-defined]
    assert "the other side is gone" in alices.reason  # type: ignore[attr-defined]
    assert bobs.reason == "the other side is gone: no sign of life for 60 s"  # type: ignore[attr-defined]
    assert sent(pair.b, "BYE")
    pair.run(100)
    assert pair.alice._calls == pair.bob._calls == {}


def test_who_takes_no_update_is_refreshed_by_reinvite() -> None:
    pair = phones()
    call = pair.answered()
    pair.alice._calls[call]._takes_update = False
    pair.run(50)
    assert pair.a.seen(RefreshDue) == [RefreshDue(call)]
    pair.alice.reinvite(call, OFFER, pair.net.now)
    pair.run()
    assert pair.b.seen(ReinviteReceived)
    pair.bob.answer_reinvite(pair.bobs, ANSWER, pair.net.now)
    pair.run(40)
    assert not pair.b.seen(Ended), "it counts from the re-INVITE"
    assert len(pair.a.seen(RefreshDue)) == 1


def test_an_update_may_carry_an_offer() -> None:
    pair = phones()
    call = pair.answered()
    alices = pair.alice._calls[call]
    assert alices.dialog is not None
    update = alices.dialog.request("UPDATE").with_body(OFFER, "application/sdp")
    answers: list[Response] = []
    from iceway.sip.exchange import Exchange

    exchange = Exchange(
        update,
        alices.dialog.next_cseq,
        lambda exchange, response, now: answers.append(response),
        lambda exchange, reason, status, now: None,
        flow=alices.dialog.flow,
    )
    pair.alice._requester.send(exchange, pair.net.now)
    pair.run()
    assert pair.b.seen(ReinviteReceived) == [ReinviteReceived(pair.bobs, OFFER)]
    pair.bob.answer_reinvite(pair.bobs, ANSWER, pair.net.now)
    pair.run()
    assert [(answer.status, answer.body) for answer in answers] == [(200, ANSWER)]
    pair.run(40)
    assert not pair.b.seen(Ended), "nobody waits for an ACK"


def test_a_session_too_short_is_refused_and_asked_for_again() -> None:
    request = Request(
        "INVITE", "sip:b@x", headers=Headers.of(("Session-Expires", "60"), ("Supported", "timer"))
    )
    assert SessionTimer(1800).objection(request) == 90
    timer = SessionTimer(90)
    refusal = make_response(a_request("INVITE"), 422).with_last("Min-SE", "300")
    assert timer.too_small(refusal)
    assert session_expires(timer.asked(a_request("INVITE"))) == SessionExpires(300)
    assert not timer.too_small(refusal), "the same again would not help"
    assert not timer.too_small(refusal.with_header("Min-SE", "99999999")), "nobody waits for a year"
    assert not timer.too_small(refusal.with_header("Min-SE", "x"))


def test_an_invite_for_too_short_a_session_is_answered_422_and_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wants_five_minutes(timer: SessionTimer, request: Request) -> int | None:
        wish = session_expires(request)
        return 300 if wish is not None and wish.seconds < 300 else None

    monkeypatch.setattr(SessionTimer, "objection", wants_five_minutes)
    pair = phones()
    pair.calls()
    assert pair.b.said() == ["422"]
    assert len(pair.b.seen(Incoming)) == 1
    assert "\r\nSession-Expires: 300\r\n" in sent(pair.a, "INVITE")[1]
    pair.bob.accept(pair.bobs, ANSWER, pair.net.now)
    pair.run(400)
    assert not pair.a.seen(Ended)
    assert len(sent(pair.a, "UPDATE")) == 2


@pytest.mark.parametrize(
    ("wish", "supports", "agreed", "ours"),
    [
        (None, True, "1800;refresher=uac", False),
        (None, False, "1800;refresher=uas", True),
        ("600", True, "600;refresher=uac", False),
        ("600;refresher=uas", True, "600;refresher=uas", True),
        ("9000", True, "1800;refresher=uac", False),
        ("600", False, "600;refresher=uas", True),
    ],
)
def test_what_the_called_side_agrees_to(wish: str | None, supports: bool, agreed: str, ours: bool) -> None:
    request = a_request("INVITE")
    if wish is not None:
        request = request.with_header("Session-Expires", wish)
    if supports:
        request = request.with_header("Supported", "timer")
    timer = SessionTimer(1800)
    response = timer.agree(request, make_response(request, 200))
    assert response.headers.get("Session-Expires") == agreed
    assert timer.we_refresh is ours
    assert response.requires("timer") is not ours


def test_no_timer_where_none_is_wanted() -> None:
    pair = phones(session_expires=0)
    pair.answered()
    assert "Session-Expires" not in sent(pair.a, "INVITE")[0]
    pair.run(4000)
    assert not pair.a.seen(Ended)
    assert pair.alice.poll_timeout() is None or pair.alice.poll_timeout() > pair.net.now  # type: ignore[operator]


LINE = st.text(st.characters(exclude_characters="\r\n"), max_size=40) | st.from_regex(
    r"[0-9]{0,12};refresher=ua[cs]", fullmatch=True
)


@given(LINE, LINE)
def test_any_header_is_read_or_refused(expires: str, least: str) -> None:
    request = a_request("INVITE").with_header("Session-Expires", expires).with_header("Min-SE", least)
    timer = SessionTimer(1800)
    for read in (session_expires, min_se, timer.objection):
        with contextlib.suppress(ParseError):
            read(request)
    timer.agree(request.with_header("Supported", "timer"), make_response(request, 200))
    assert timer.interval >= 90
    timer.answered(make_response(request, 200).with_header("Session-Expires", expires))
    assert timer.interval == 0 or timer.interval >= 90
