"""RTCP feedback (RFC 4585, RFC 5104) ⇄ values: packets that are missing, pictures that are wanted whole.

`wire/rtp.py` reads and writes compound packets and asks here for types 205 and 206. Feedback of a format that is
not known gives None and is skipped; what is known and cut short raises ParseError. Lists are bounded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from iceway.core.errors import ParseError

TRANSPORT_FEEDBACK = 205
PAYLOAD_FEEDBACK = 206
MAX_ENTRIES = 256  # of a generic NACK, each for up to 17 packets; and of a FIR

_NACK, _PLI, _FIR, _APPLICATION = 1, 1, 4, 15
_PAIR = struct.Struct("!II")
_ENTRY = struct.Struct("!HH")
_FIR_ENTRY = struct.Struct("!IB3x")


@dataclass(frozen=True, slots=True)
class GenericNack:
    """`sender` asks the source `media` for packets again (RFC 4585 §6.2.1), by sequence number."""

    sender: int
    media: int
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureLoss:
    """`sender` cannot go on without a whole picture of `media` (RFC 4585 §6.3.1)."""

    sender: int
    media: int


@dataclass(frozen=True, slots=True)
class FullIntraRequest:
    """A command for a whole picture (RFC 5104 §4.3.1): (source, command number) each; a repeat has the same number."""

    sender: int
    entries: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class EstimatedBitRate:
    """REMB (draft-alvestrand-rmcat-remb-03): what `sender` thinks the path carries, in bit/s, for these sources."""

    sender: int
    bit_rate: int
    sources: tuple[int, ...]


Feedback = GenericNack | PictureLoss | FullIntraRequest | EstimatedBitRate


def parse_feedback(kind: int, form: int, body: bytes) -> Feedback | None:
    """The body behind the common header of a packet of type 205 or 206. Raises ParseError."""
    if len(body) < _PAIR.size:
        raise ParseError("RTCP feedback is cut short")
    sender, media = _PAIR.unpack_from(body)
    rest = body[_PAIR.size :]
    match kind, form:
        case (205, 1):
            return GenericNack(sender, media, _sequences(rest))
        case (206, 1):
            return PictureLoss(sender, media)
        case (206, 4):
            if not rest or len(rest) % _FIR_ENTRY.size or len(rest) > MAX_ENTRIES * _FIR_ENTRY.size:
                raise ParseError(f"{len(rest)} bytes are no list of full intra requests")
            return FullIntraRequest(sender, tuple(_FIR_ENTRY.iter_unpack(rest)))
        case (206, 15):
            return _estimate(sender, rest)
        case _:
            return None


def serialize_feedback(feedback: Feedback) -> tuple[int, int, bytes]:
    """Packet type, feedback format and body."""
    match feedback:
        case GenericNack(sender, media, sequences):
            entries = b"".join(_ENTRY.pack(first, following) for first, following in _entries(sequences))
            return TRANSPORT_FEEDBACK, _NACK, _PAIR.pack(sender, media) + entries
        case PictureLoss(sender, media):
            return PAYLOAD_FEEDBACK, _PLI, _PAIR.pack(sender, media)
        case FullIntraRequest(sender, entries_of):
            wanted = b"".join(_FIR_ENTRY.pack(source, number) for source, number in entries_of)
            return PAYLOAD_FEEDBACK, _FIR, _PAIR.pack(sender, 0) + wanted
        case EstimatedBitRate(sender, bit_rate, sources):
            exponent = max(0, bit_rate.bit_length() - 18)
            said = (len(sources) << 24 | exponent << 18 | bit_rate >> exponent).to_bytes(4)
            listed = struct.pack(f"!{len(sources)}I", *sources)
            return PAYLOAD_FEEDBACK, _APPLICATION, _PAIR.pack(sender, 0) + b"REMB" + said + listed


def _sequences(rest: bytes) -> tuple[int, ...]:
    if not rest or len(rest) % _ENTRY.size or len(rest) > MAX_ENTRIES * _ENTRY.size:
        raise ParseError(f"{len(rest)} bytes are no list of missing packets")
    found = []
    for first, following in _ENTRY.iter_unpack(rest):
        found.append(first)
        found += [(first + 1 + bit) & 0xFFFF for bit in range(16) if following >> bit & 1]
    return tuple(found)


def _entries(sequences: tuple[int, ...]) -> list[tuple[int, int]]:
    """Sequences in ascending (modular) order as first ones and bits for the sixteen after each."""
    entries: list[tuple[int, int]] = []
    for sequence in sequences:
        if entries:
            first, following = entries[-1]
            distance = (sequence - first) & 0xFFFF
            if distance == 0:
                continue
            if distance <= 16:
                entries[-1] = first, following | 1 << (distance - 1)
                continue
        entries.append((sequence, 0))
    return entries[:MAX_ENTRIES]


def _estimate(sender: int, rest: bytes) -> EstimatedBitRate | None:
    if not rest.startswith(b"REMB"):
        return None  # an application of its own
    if len(rest) < 8 or len(rest) != 8 + 4 * rest[4]:
        raise ParseError("a REMB counts other sources than it lists")
    said = int.from_bytes(rest[4:8])
    return EstimatedBitRate(
        sender, (said & 0x3FFFF) << (said >> 18 & 0x3F), struct.unpack(f"!{rest[4]}I", rest[8:])
    )
