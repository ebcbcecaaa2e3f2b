"""RTP and RTCP: headers as RFC 3550 draws them, told apart as RFC 5761 says."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.rtcp_feedback import PictureLoss
from iceway.wire.rtp import (
    Goodbye,
    ReceiverReport,
    ReceptionReport,
    RtpPacket,
    SenderReport,
    SourceDescription,
    is_rtcp,
    looks_like_rtp,
    parse_rtcp,
    parse_rtp,
    serialize_rtcp,
    serialize_rtp,
)

PLAIN = bytes.fromhex("80 6f 1234 00000fa0 deadbeef") + b"sound"


def test_a_plain_header() -> None:
    packet = parse_rtp(PLAIN)
    assert packet == RtpPacket(111, 0x1234, 4000, 0xDEADBEEF, b"sound")
    assert serialize_rtp(packet) == PLAIN


def test_marker_sources_extension_and_padding() -> None:
    data = bytes.fromhex("b2 80 0001 00000000 00000001 0000000a 0000000b bede 0001 10ff0000") + b"xy\0\0\3"
    packet = parse_rtp(data)
    assert packet == RtpPacket(0, 1, 0, 1, b"xy", True, (10, 11), (0xBEDE, b"\x10\xff\0\0"))
    assert parse_rtp(serialize_rtp(packet)) == packet


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:11],
        b"\x40" + PLAIN[1:],
        b"\x8f" + PLAIN[1:],
        b"\x90" + PLAIN[1:13],
        b"\x90" + PLAIN[1:12] + b"\0\0\0\2abcd",
        b"\xa0" + PLAIN[1:12],
        b"\xa0" + PLAIN[1:12] + b"\0",
        b"\xa0" + PLAIN[1:12] + b"\x09",
    ],
)
def test_cut_rtp_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_rtp(data)


REPORT = ReceptionReport(7, 25, -3, 0x10001, 160, 0x1234ABCD, 65536)


def test_a_compound_report() -> None:
    sender = SenderReport(1, 0xE0000000_80000000, 960, 50, 4000, (REPORT,))
    compound = serialize_rtcp(sender, SourceDescription(1, "alice@a.test"), Goodbye((1,), "bye"))
    assert parse_rtcp(compound) == (sender, SourceDescription(1, "alice@a.test"), Goodbye((1,), "bye"))
    assert compound[:8] == bytes.fromhex("81c8000c 00000001")
    assert len(compound) % 4 == 0


def test_unknown_types_are_skipped_and_reduced_size_is_read() -> None:
    extended = bytes.fromhex("80cf0002 00000001 00000002")
    receiver = ReceiverReport(9, (REPORT, REPORT))
    assert parse_rtcp(extended + serialize_rtcp(receiver)) == (receiver,)
    assert parse_rtcp(extended) == ()
    assert parse_rtcp(bytes.fromhex("81ce0002 00000001 00000002")) == (PictureLoss(1, 2),)


def test_padding_of_the_last_packet_is_taken_off() -> None:
    padded = bytes.fromhex("a0c90002 00000009 00000004")
    assert parse_rtcp(padded) == (ReceiverReport(9),)


@pytest.mark.parametrize(
    "text",
    [
        "80c9",
        "00c90000",
        "80c90001",
        "80c80001 00000001",
        "81c90001 00000001",
        "80c90000",
        "81ca0000",
        "81ca0001 00000001 01",
        "81ca0002 00000001 01ff6161",
        "82cb0001 00000001",
        "81cb0002 00000001 09616161",
        "a0c90001 00000009",
    ],
)
def test_cut_rtcp_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_rtcp(bytes.fromhex(text))


def test_rtp_and_rtcp_are_told_apart() -> None:
    assert not is_rtcp(PLAIN)
    assert is_rtcp(serialize_rtcp(ReceiverReport(1)))
    assert not is_rtcp(b"\x80")
    marked = serialize_rtp(RtpPacket(0, 1, 1, 1, b"", marker=True))
    assert not is_rtcp(marked)
    assert looks_like_rtp(PLAIN)
    assert not looks_like_rtp(b"\x00\x01\x00\x00" * 5)
    assert not looks_like_rtp(b"\x80")


u32 = st.integers(0, 2**32 - 1)
packets = st.builds(
    RtpPacket,
    st.integers(0, 127),
    st.integers(0, 65535),
    u32,
    u32,
    st.binary(max_size=40),
    st.booleans(),
    st.lists(u32, max_size=15).map(tuple),
    st.none() | st.tuples(st.integers(0, 65535), st.binary(max_size=6).map(lambda b: b * 4)),
)
reports = st.lists(
    st.builds(
        ReceptionReport, u32, st.integers(0, 255), st.integers(-(2**23), 2**23 - 1), u32, u32, u32, u32
    ),
    max_size=31,
).map(tuple)
compounds = st.lists(
    st.one_of(
        st.builds(SenderReport, u32, st.integers(0, 2**64 - 1), u32, u32, u32, reports),
        st.builds(ReceiverReport, u32, reports),
        st.builds(SourceDescription, u32, st.text(max_size=30)),
        st.builds(Goodbye, st.lists(u32, max_size=31).map(tuple), st.text(max_size=30)),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100)
@given(packets)
def test_rtp_written_is_read_back(packet: RtpPacket) -> None:
    assert parse_rtp(serialize_rtp(packet)) == packet


@settings(max_examples=100)
@given(compounds)
def test_rtcp_written_is_read_back(packets: list[SenderReport]) -> None:
    assert parse_rtcp(serialize_rtcp(*packets)) == tuple(packets)


@settings(max_examples=200)
@given(st.binary(max_size=100), st.integers(200, 204), st.booleans())
def test_no_bytes_crash_the_parsers(data: bytes, kind: int, plausible: bool) -> None:
    if plausible and len(data) >= 4:
        words = (len(data) // 4 - 1).to_bytes(2)
        data = bytes([0x80 | data[0] & 0x3F, kind]) + words + data[4 : len(data) // 4 * 4]
    for parser in (parse_rtp, parse_rtcp):
        with contextlib.suppress(ParseError):
            parser(data)
