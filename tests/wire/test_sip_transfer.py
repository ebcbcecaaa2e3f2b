"""Refer-To, Replaces, Event, Subscription-State and sipfrag: what they mean, and that nothing breaks their parsers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.sip import NameAddr
from iceway.wire.sip.transfer import (
    ReferTo,
    Replaces,
    fragment,
    parse_event,
    parse_fragment,
    parse_subscription_state,
)

CALL = Replaces("98asjd8@test.example", "12345", "54-ab")


def test_whom_to_call_and_which_call_to_replace() -> None:
    """The attended transfer of RFC 5589 §7.1."""
    target = ReferTo.parse(
        "<sips:482n4z24kdg@chicago.example.com;gr=8594958?Replaces=090459243588173445"
        "%3Bto-tag%3D9m2n3wq%3Bfrom-tag%3D763231&Require=replaces>"
    )
    assert target.address.uri == "sips:482n4z24kdg@chicago.example.com;gr=8594958"
    assert target.replaces == Replaces("090459243588173445", "9m2n3wq", "763231")
    assert target.method == "INVITE"


def test_what_is_written_is_read_again() -> None:
    for replaces in (None, CALL, Replaces("a?b&c=d%41", "x", "y", early_only=True)):
        target = ReferTo(NameAddr("sip:bob@example.test;gr=urn:uuid:1", "Bob & Co"), replaces)
        assert ReferTo.parse(str(target)) == target


def test_nobody_writes_our_requests_for_us() -> None:
    target = ReferTo.parse("<sip:bob@example.test;method=BYE?Route=%3Csip:evil%3E&Subject=x&body=v%3D0>")
    assert target == ReferTo(NameAddr("sip:bob@example.test"), None, "BYE")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bob",
        "<tel:+15551234>",
        "<sip:bob@example.test?Replaces=a%3Bto-tag%3D1>",
        "<sip:bob@example.test?Replaces=a%3Bto-tag%3D1%3Bto-tag%3D2%3Bfrom-tag%3D3>",
        "<sip:b@c?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D3&replaces=b%3Bto-tag%3D1%3Bfrom-tag%3D3>",
        "<sip:bob@example.test?Replaces=%0D%0AVia%3A%20x%3Bto-tag%3D1%3Bfrom-tag%3D3>",
        "<sip:bob@example.test?Replaces=a%3Bto-tag%3D1%0D%0AX%3Bfrom-tag%3D3>",
    ],
)
def test_what_makes_no_sense_is_not_carried_out(text: str) -> None:
    with pytest.raises(ParseError):
        ReferTo.parse(text)


def test_a_call_is_named_by_three_parts() -> None:
    assert Replaces.parse(" 98asjd8@test.example ; from-tag=54-ab;x=y; TO-TAG=12345") == CALL
    assert Replaces.parse(str(CALL)) == CALL
    assert Replaces.parse(f"{CALL};early-only").early_only
    for broken in (
        "",
        ";to-tag=1;from-tag=2",
        "a;to-tag=1",
        "a;to-tag=;from-tag=2",
        "a b;to-tag=1;from-tag=2",
    ):
        with pytest.raises(ParseError):
            Replaces.parse(broken)


def test_what_became_of_it() -> None:
    assert parse_fragment(b"SIP/2.0 180 Ringing\r\n") == (180, "Ringing")
    assert parse_fragment(b"SIP/2.0 486 Busy  Here\r\nTo: x\r\n\r\n") == (486, "Busy Here")
    assert parse_fragment(b"SIP/2.0 200") == (200, "")
    assert parse_fragment(fragment(603, "No\r\nway")) == (603, "No way")
    assert len(parse_fragment(fragment(500, "x" * 5000))[1]) == 200
    for broken in (b"", b"SIP/2.0 OK", b"SIP/2.0 700 What", b"INVITE sip:x SIP/2.0", b"\xff\xfe"):
        with pytest.raises(ParseError):
            parse_fragment(broken)


def test_subscriptions() -> None:
    assert parse_event("Refer ; id=93809823") == ("refer", "93809823")
    assert parse_event("refer") == ("refer", None)
    assert parse_subscription_state("Terminated;reason=noresource") == "terminated"
    for parse in (parse_event, parse_subscription_state):
        with pytest.raises(ParseError):
            parse("")


@given(st.text(), st.sampled_from([ReferTo.parse, Replaces.parse, parse_event, parse_subscription_state]))
def test_no_text_breaks_a_parser(text: str, parse: Callable[[str], object]) -> None:
    for given_text in (
        text,
        f"<sip:a@b?Replaces={text}>",
        f"<sip:a@b?{text}>",
        f"a;to-tag={text};from-tag=b",
    ):
        with suppress(ParseError):
            parse(given_text)


@given(st.binary(max_size=2000))
def test_no_bytes_break_the_reading_of_fragments(data: bytes) -> None:
    for body in (data, b"SIP/2.0 " + data, b"SIP/2.0 200 " + data):
        try:
            status, reason = parse_fragment(body)
        except ParseError:
            continue
        assert 100 <= status < 700
        assert "\r" not in reason
        assert "\n" not in reason
