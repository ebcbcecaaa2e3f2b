"""Dialogs from both ends: names, routes, targets, order."""

from __future__ import annotations

import pytest

from iceway.core.errors import ParseError
from iceway.sip.dialog import Dialog
from iceway.wire.sip import Headers, Request, Response, make_response

INVITE = Request(
    "INVITE",
    "sip:bob@b.test",
    headers=Headers.of(
        ("Via", "SIP/2.0/TLS a;branch=z9hG4bK1"),
        ("Record-Route", "<sip:p2.test;lr>, <sip:p1.test;lr>"),
        ("From", '"Alice" <sip:alice@a.test>;tag=a1'),
        ("To", "<sip:bob@b.test>"),
        ("Call-ID", "c1"),
        ("CSeq", "7 INVITE"),
        ("Contact", "<sip:alice@192.0.2.1;transport=tls>"),
    ),
)


def ok(tag: str = "b1", *fields: tuple[str, str]) -> Response:
    response = make_response(INVITE, 200, to_tag=tag)
    response = response.with_header("Record-Route", *INVITE.headers.all("Record-Route"))
    response = response.with_header("Contact", "<sip:bob@192.0.2.2>")
    for name, value in fields:
        response = response.with_header(name, value)
    return response


def test_both_ends_see_the_same_dialog_mirrored() -> None:
    caller, called = Dialog.from_response(INVITE, ok(), "f"), Dialog.from_request(INVITE, "b1", "g")
    assert caller.id == ("c1", "a1", "b1")
    assert called.id == ("c1", "b1", "a1")
    assert [r.uri for r in caller.routes] == ["sip:p1.test;lr", "sip:p2.test;lr"]
    assert [r.uri for r in called.routes] == ["sip:p2.test;lr", "sip:p1.test;lr"]
    bye = caller.request("BYE")
    assert (bye.uri, bye.cseq.number) == ("sip:bob@192.0.2.2", 8)
    assert (bye.from_.tag, bye.to.tag, bye.from_.display) == ("a1", "b1", "Alice")
    assert called.in_order(bye)
    answer = called.request("INVITE")
    assert (answer.uri, answer.cseq.number) == ("sip:alice@192.0.2.1;transport=tls", 1)
    assert (answer.from_.tag, answer.to.tag) == ("b1", "a1")


def test_an_ack_repeats_the_number_of_its_invite() -> None:
    dialog = Dialog.from_response(INVITE, ok(), None)
    assert dialog.request("ACK", 7).cseq.number == 7
    assert dialog.request("BYE").cseq.number == 8


def test_a_strict_router_gets_the_target_as_last_route() -> None:
    dialog = Dialog.from_response(
        INVITE, ok("b1", ("Record-Route", "<sip:p2.test;lr>, <sip:strict.test;x=y>")), None
    )
    bye = dialog.request("BYE")
    assert bye.uri == "sip:strict.test;x=y"
    assert [route.uri for route in bye.routes] == ["sip:p2.test;lr", "sip:bob@192.0.2.2"]


def test_order_within_one_direction() -> None:
    dialog = Dialog.from_request(INVITE, "b1", None)
    other = Dialog.from_response(INVITE, ok(), None)
    first, second, third = (other.request("INFO") for _ in range(3))
    assert dialog.in_order(first)
    assert dialog.in_order(third), "gaps are allowed: somebody was challenged"
    assert not dialog.in_order(second)


def test_the_target_moves_with_a_reinvite() -> None:
    dialog = Dialog.from_request(INVITE, "b1", None)
    dialog.refresh_target(INVITE.with_header("Contact", "<sip:alice@10.0.0.1>"))
    assert dialog.request("BYE").uri == "sip:alice@10.0.0.1"
    dialog.refresh_target(INVITE.without_header("Contact"))
    assert dialog.request("BYE").uri == "sip:alice@10.0.0.1"


def test_an_early_dialog_is_confirmed_with_its_numbers_kept() -> None:
    ringing = make_response(INVITE, 180, to_tag="b1")
    early = Dialog.from_response(INVITE, ringing, None)
    assert early.remote_target == INVITE.uri, "until a Contact says better"
    early.request("PRACK")
    confirmed = early.confirmed(ok())
    assert (confirmed.remote_target, len(confirmed.routes)) == ("sip:bob@192.0.2.2", 2)
    assert confirmed.request("BYE").cseq.number == 9


def test_what_makes_no_dialog() -> None:
    with pytest.raises(ParseError, match="no Contact"):
        Dialog.from_response(INVITE, ok().without_header("Contact"), None)
    with pytest.raises(ParseError, match="one Contact"):
        Dialog.from_request(INVITE.without_header("Contact"), "b1", None)
    with pytest.raises(ParseError, match="one Contact"):
        Dialog.from_request(INVITE.with_header("Contact", "<sip:a>, <sip:b>"), "b1", None)
