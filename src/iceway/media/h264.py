"""H.264 in RTP (RFC 6184), packetization mode 1: coded pictures (Annex B streams) ⇄ payloads.

Small NAL units of a picture that follow each other share a packet (STAP-A), what is larger than a packet is cut
(FU-A), the rest goes as it is. Interleaving (mode 2) is nobody's and is refused.
"""

from __future__ import annotations

import re

from iceway.core.errors import ParseError
from iceway.media.vp8 import Piece

MAX_UNITS = 64  # in one aggregate

_START = b"\0\0\0\1"
_SPS = 7
_STAP_A, _FU_A = 24, 28
_START_CODE = re.compile(rb"\x00\x00\x01")


def units(stream: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream."""
    starts = [match.end() for match in _START_CODE.finditer(stream)]
    ends = [start - 3 for start in starts[1:]] + [len(stream)]
    # Zeros before a start code are no part of a unit, whose last byte is never zero (H.264 §7.4.1).
    found = (stream[start:end].rstrip(b"\0") for start, end in zip(starts, ends, strict=False))
    return [unit for unit in found if unit]


def packetize(picture: bytes, limit: int) -> list[bytes]:
    """Payloads of at most `limit` bytes for one picture."""
    payloads: list[bytes] = []
    waiting: list[bytes] = []
    for unit in units(picture):
        if waiting and _aggregated([*waiting, unit]) > limit:
            payloads.append(_together(waiting))
            waiting = []
        if len(unit) > limit:
            if waiting:
                payloads.append(_together(waiting))
                waiting = []
            payloads += _cut(unit, limit)
        else:
            waiting.append(unit)
    if waiting:
        payloads.append(_together(waiting))
    return payloads


def parse(payload: bytes) -> Piece:
    """What a payload adds to the Annex B stream of its picture. Raises ParseError."""
    if len(payload) < 2:
        raise ParseError("too short for H.264")
    kind = payload[0] & 0x1F
    if 1 <= kind <= 23:
        return Piece(_START + payload, _starts_key(payload))
    if kind == _STAP_A:
        inside = _inside(payload)
        return Piece(b"".join(_START + unit for unit in inside), any(map(_starts_key, inside)))
    if kind == _FU_A:
        if len(payload) < 3:
            raise ParseError("a piece of an H.264 unit is empty")
        if not payload[1] & 0x80:
            return Piece(payload[2:], False)
        unit = bytes([payload[0] & 0xE0 | payload[1] & 0x1F]) + payload[2:]
        return Piece(_START + unit, _starts_key(unit))
    raise ParseError(f"H.264 packets of type {kind} are not used in packetization mode 1")


def _inside(payload: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 1
    while at < len(payload):
        size = int.from_bytes(payload[at : at + 2])
        unit = payload[at + 2 : at + 2 + size]
        if at + 2 > len(payload) or not size or len(unit) < size or len(found) == MAX_UNITS:
            raise ParseError("an H.264 aggregate is inconsistent")
        found.append(unit)
        at += 2 + size
    return found


def _starts_key(unit: bytes) -> bool:
    """Parameter sets come before each picture that needs no other, as everybody sends them who sends them in RTP.

    A slice of such a picture says nothing: it may have overtaken the parameter sets that it needs.
    """
    return unit[0] & 0x1F == _SPS


def _aggregated(together: list[bytes]) -> int:
    return 1 + sum(2 + len(unit) for unit in together)


def _together(waiting: list[bytes]) -> bytes:
    if len(waiting) == 1:
        return waiting[0]
    importance = max(unit[0] & 0x60 for unit in waiting)  # RFC 6184 §5.7: the highest of NRI
    return bytes([importance | _STAP_A]) + b"".join(len(unit).to_bytes(2) + unit for unit in waiting)


def _cut(unit: bytes, limit: int) -> list[bytes]:
    head, body = unit[0], unit[1:]
    count = -(-len(body) // (limit - 2))
    size = -(-len(body) // count)
    pieces = []
    for at in range(0, len(body), size):
        edge = (0x80 if at == 0 else 0) | (0x40 if at + size >= len(body) else 0)
        pieces.append(bytes([head & 0xE0 | _FU_A, edge | head & 0x1F]) + body[at : at + size])
    return pieces
