"""VP8 payloads: what RFC 7741 §4 draws, and garbage."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.media.vp8 import Piece, packetize, parse


@given(st.binary(min_size=1, max_size=5000), st.integers(0, 70_000), st.integers(100, 1200))
def test_a_picture_comes_together_again(picture: bytes, number: int, limit: int) -> None:
    payloads = packetize(picture, number, limit)
    assert max(map(len, payloads)) <= limit
    pieces = [parse(payload) for payload in payloads]
    assert b"".join(piece.data for piece in pieces) == picture
    assert [piece.starts_key for piece in pieces] == [not picture[0] & 1] + [False] * (len(pieces) - 1)
    assert payloads[0][2:4] == (0x8000 | number & 0x7FFF).to_bytes(2)


@pytest.mark.parametrize(
    ("payload", "piece"),
    [
        ("10 00aa", Piece(b"\x00\xaa", True)),
        ("10 01aa", Piece(b"\x01\xaa", False)),  # a picture that needs others
        ("00 00aa", Piece(b"\x00\xaa", False)),  # not its beginning
        ("11 00aa", Piece(b"\x00\xaa", False)),  # a later partition
        ("90 80 11 00", Piece(b"\x00", True)),  # a number in seven bits
        ("90 80 8011 00", Piece(b"\x00", True)),  # and in fifteen
        ("90 e0 8011 05 40 00", Piece(b"\x00", True)),  # as browsers send it: with layers
        ("90 30 40 00", Piece(b"\x00", True)),
    ],
)
def test_descriptors(payload: str, piece: Piece) -> None:
    assert parse(bytes.fromhex(payload)) == piece


@pytest.mark.parametrize("payload", ["", "10", "90", "9080", "908011", "90808011", "90f0801105"])
def test_descriptors_without_a_picture(payload: str) -> None:
    with pytest.raises(ParseError):
        parse(bytes.fromhex(payload))


@given(st.binary(max_size=30))
def test_no_bytes_crash_it(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse(data)
