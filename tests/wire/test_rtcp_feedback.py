"""Feedback packets: bytes as RFC 4585 and RFC 5104 draw them, there and back, and garbage."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.rtcp_feedback import (
    EstimatedBitRate,
    Feedback,
    FullIntraRequest,
    GenericNack,
    PictureLoss,
    parse_feedback,
)
from iceway.wire.rtp import ReceiverReport, parse_rtcp, serialize_rtcp

u32 = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("feedback", "bytes_of"),
    [
        (GenericNack(1, 2, (5, 6, 21, 22)), "81cd0004 00000001 00000002 00058001 00160000"),
        (GenericNack(1, 2, (65_535, 0)), "81cd0003 00000001 00000002 ffff0001"),
        (PictureLoss(1, 2), "81ce0002 00000001 00000002"),
        (FullIntraRequest(1, ((7, 9),)), "84ce0004 00000001 00000000 00000007 09000000"),
        (EstimatedBitRate(1, 1_000_000, (7,)), "8fce0005 00000001 00000000 52454d42 010bd090 00000007"),
    ],
)
def test_bytes(feedback: Feedback, bytes_of: str) -> None:
    assert serialize_rtcp(feedback) == bytes.fromhex(bytes_of)
    assert parse_rtcp(bytes.fromhex(bytes_of)) == (feedback,)


@given(
    u32, u32, st.lists(st.integers(0, 3000), min_size=1, max_size=120, unique=True), st.integers(0, 65_535)
)
def test_lists_of_the_missing_are_read_back(sender: int, media: int, steps: list[int], first: int) -> None:
    sequences = tuple((first + step) & 0xFFFF for step in sorted(steps))
    (found,) = parse_rtcp(serialize_rtcp(GenericNack(sender, media, sequences)))
    assert found == GenericNack(sender, media, sequences)


@given(st.integers(1, 2**40))
def test_estimates_keep_eighteen_bits(bit_rate: int) -> None:
    (found,) = parse_rtcp(serialize_rtcp(EstimatedBitRate(1, bit_rate, (2, 3))))
    assert isinstance(found, EstimatedBitRate)
    assert 0 <= bit_rate - found.bit_rate <= bit_rate / 2**17


def test_what_is_not_known_is_skipped() -> None:
    other = bytes.fromhex("8fcd0003 00000001 00000002 00000000")  # transport-wide congestion control
    own = bytes.fromhex("8fce0003 00000001 00000000 41424344")
    assert parse_rtcp(other + own + serialize_rtcp(ReceiverReport(9))) == (ReceiverReport(9),)


@pytest.mark.parametrize(
    "bytes_of",
    [
        "81ce0001 00000001",
        "81cd0002 00000001 00000002",
        "84ce0002 00000001 00000000",
        "84ce0003 00000001 00000000 00000007",
        "8fce0003 00000001 00000000 52454d42",
        "8fce0004 00000001 00000000 52454d42 020bd090",
        "81cd0103 00000001 00000002" + "00000000" * 258,
    ],
)
def test_what_is_cut_short_or_too_long(bytes_of: str) -> None:
    with pytest.raises(ParseError):
        parse_rtcp(bytes.fromhex(bytes_of))


@given(st.sampled_from([205, 206]), st.integers(0, 31), st.binary(max_size=60))
def test_no_bytes_crash_it(kind: int, form: int, body: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse_feedback(kind, form, body)
    with contextlib.suppress(ParseError):
        parse_feedback(kind, 15, body[:8] + b"REMB" + body[8:])
