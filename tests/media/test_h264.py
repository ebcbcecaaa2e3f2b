"""H.264 payloads: what RFC 6184 §5 draws, and garbage."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.media.h264 import packetize, parse, units

SPS, PPS, IDR, SLICE = (
    b"\x67\x42\x00\x1f",
    b"\x68\xce\x01",
    b"\x65\x88" + bytes(range(1, 200)),
    b"\x41\x9a\x05",
)
START = b"\0\0\0\1"


def stream(*parts: bytes) -> bytes:
    return b"".join(START + part for part in parts)


def together(payloads: list[bytes]) -> bytes:
    return b"".join(parse(payload).data for payload in payloads)


unit = st.builds(
    lambda kind, body: bytes([0x60 | kind]) + body.replace(b"\0", b"\3") + b"\x80",
    st.integers(1, 12),
    st.binary(max_size=3000),
)


@given(st.lists(unit, min_size=1, max_size=6), st.integers(60, 1200))
def test_a_picture_comes_together_again(parts: list[bytes], limit: int) -> None:
    payloads = packetize(stream(*parts), limit)
    assert max(map(len, payloads)) <= limit
    assert together(payloads) == stream(*parts)


def test_small_units_share_a_packet_and_large_ones_are_cut() -> None:
    first, *pieces = packetize(stream(SPS, PPS, IDR), 100)
    assert first == b"\x78\0\4" + SPS + b"\0\3" + PPS
    assert parse(first).starts_key
    assert [piece[0] for piece in pieces] == [0x7C] * 3
    assert [piece[1] for piece in pieces] == [0x85, 0x05, 0x45]
    assert not any(parse(piece).starts_key for piece in pieces)
    assert packetize(stream(SLICE), 100) == [SLICE]
    assert not parse(SLICE).starts_key
    assert parse(SPS).starts_key


def test_units_of_a_stream_with_short_start_codes_and_zeros_behind() -> None:
    assert units(b"\0\0\1" + SPS + b"\0\0\0\1" + PPS + b"\0\0\0") == [SPS, PPS]
    assert units(b"nothing") == []


@pytest.mark.parametrize(
    "payload", ["", "41", "78", "780004", "780000", "78000467", "7c85", "79000141", "1f00"]
)
def test_what_is_no_payload_of_mode_1(payload: str) -> None:
    if payload == "78":
        payload += "00"
    with pytest.raises(ParseError):
        parse(bytes.fromhex(payload))


@given(st.binary(max_size=60), st.sampled_from([None, 0x78, 0x7C]))
def test_no_bytes_crash_it(data: bytes, head: int | None) -> None:
    with contextlib.suppress(ParseError):
        parse(data if head is None else bytes([head]) + data)
