"""VP8 in RTP (RFC 7741): coded pictures ⇄ payloads.

A payload is a descriptor and a piece of one picture. We send the shortest descriptor that numbers pictures; of
what others send, all that RFC 7741 §4.2 allows is read, and layers beyond the first are taken as they come.
"""

from __future__ import annotations

from dataclasses import dataclass

from iceway.core.errors import ParseError


@dataclass(frozen=True, slots=True)
class Piece:
    """What one packet brings of a picture. `starts_key`: a picture that needs no other begins here."""

    data: bytes
    starts_key: bool


def packetize(picture: bytes, picture_id: int, limit: int) -> list[bytes]:
    """Payloads of at most `limit` bytes, of about equal size. `picture_id` counts pictures, modulo 2^15."""
    room = limit - 4
    count = max(1, -(-len(picture) // room))
    size = -(-len(picture) // count)
    numbered = (0x8000 | picture_id & 0x7FFF).to_bytes(2)  # M: fifteen bits
    return [
        bytes([0x80 | (0x10 if at == 0 else 0), 0x80]) + numbered + picture[at : at + size]
        for at in range(0, max(1, len(picture)), max(1, size))
    ]


def parse(payload: bytes) -> Piece:
    """Raises ParseError."""
    if not payload:
        raise ParseError("an empty payload holds no VP8")
    first, at = payload[0], 1
    if first & 0x80:
        if len(payload) < 2:
            raise ParseError("a VP8 descriptor is cut short")
        extensions, at = payload[1], 2
        if extensions & 0x80:  # I: a number of the picture, in seven bits or fifteen
            at += 2 if payload[at : at + 1] >= b"\x80" else 1
        if extensions & 0x40:  # L
            at += 1
        if extensions & 0x30:  # T or K share a byte
            at += 1
    data = payload[at:]
    if not data:
        raise ParseError("a VP8 payload ends with its descriptor")
    starts = bool(first & 0x10) and not first & 0x07
    return Piece(data, starts and not data[0] & 0x01)  # RFC 6386 §9.1: 0 is a key frame
