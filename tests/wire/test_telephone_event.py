"""Telephone keys on the wire: RFC 4733 payloads and INFO bodies; nothing that comes in crashes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.telephone_event import DIGITS, TelephoneEvent, parse, parse_relay, serialize


def test_a_report_reads_as_rfc_4733_draws_it() -> None:
    assert serialize(TelephoneEvent(11, True, 10, 800)) == bytes.fromhex("0b8a0320")
    assert parse(bytes.fromhex("0b8a0320")) == TelephoneEvent(11, True, 10, 800)
    assert parse(bytes.fromhex("0b8a0320")).digit == "#"
    assert parse(bytes.fromhex("100a0320")).digit is None, "a flash hook is no key"


@given(st.binary(max_size=12))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    try:
        event = parse(payload)
    except ParseError:
        assert len(payload) < 4
    else:
        assert parse(serialize(event)) == event


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b"Signal=5\r\nDuration=250\r\n", ("5", 0.25)),
        (b"Signal= #\nDuration= 100", ("#", 0.1)),
        (b"signal=a", ("A", 0.16)),
    ],
)
def test_what_phones_send_by_info(body: bytes, key: tuple[str, float]) -> None:
    assert parse_relay(body) == key


@pytest.mark.parametrize(
    "body", [b"", b"Signal=", b"Signal=55", b"Signal=x", b"Signal=1\nDuration=-3", b"S" * 300]
)
def test_what_names_no_key(body: bytes) -> None:
    with pytest.raises(ParseError):
        parse_relay(body)


@given(st.binary(max_size=300) | st.text(max_size=80).map(lambda text: b"Signal=" + text.encode()))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        digit, duration = parse_relay(body)
    except ParseError:
        return
    assert digit in DIGITS
    assert 0 <= duration < 100
