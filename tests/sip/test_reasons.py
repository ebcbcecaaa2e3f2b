"""Why a call ends, in words (RFC 3326), whatever stands in the header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.sip.reasons import LONGEST, reason_words
from iceway.sip.refusal import why_refused
from iceway.sip.useragent import Ended
from iceway.wire.sip import make_response
from tests.sip.pair import a_request
from tests.sip.phones import Phones


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ('SIP;cause=200;text="Call completed elsewhere"', "Call completed elsewhere"),
        ("SIP ;cause=200", "answered elsewhere"),
        ("Q.850;cause=17", "busy"),
        ("Q.850;cause=16, SIP;cause=486", "the other side hung up"),
        ('X;cause=9, SIP;cause=603;text=""', "declined"),
        ("preemption;cause=99", "preemption;cause=99"),
        ('SIP;text="open', 'SIP;text="open'),
    ],
)
def test_what_a_reason_says(header: str, words: str) -> None:
    assert reason_words(a_request("BYE").with_header("Reason", header)) == words


def test_without_a_reason() -> None:
    assert reason_words(a_request("BYE")) is None


def test_a_gateway_s_reason_is_part_of_why_a_call_was_refused() -> None:
    response = make_response(a_request("INVITE"), 480).with_header("Reason", "Q.850;cause=31")
    assert why_refused(response) == "480 Temporarily Unavailable: ended by the telephone network"


def test_the_words_of_who_declines_reach_the_caller() -> None:
    pair = Phones()
    pair.calls()
    pair.bob.reject(pair.bobs, 603, pair.net.now, "In a meeting")
    pair.run()
    assert [event.reason for event in pair.a.seen(Ended)] == ["603 In a meeting"]


@given(st.text(st.characters(exclude_characters="\r\n"), max_size=400))
def test_any_header_is_said_somehow(header: str) -> None:
    words = reason_words(a_request("BYE").with_header("Reason", header))
    assert words is None or len(words) <= LONGEST
