"""RTP and RTCP packets (RFC 3550) ⇄ values, and how to tell them apart on one port (RFC 5761).

Parsers raise ParseError and nothing else. RTCP reads what a call needs (sender and receiver reports, source
descriptions, goodbyes, and the feedback of `wire/rtcp_feedback.py`); packets of other types are skipped over,
since RFC 3550 §6.1 allows any after the first. Timestamps and sequence numbers stay modular here;
`media/stream.py` unwraps them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from iceway.core.errors import ParseError
from iceway.wire.rtcp_feedback import (
    EstimatedBitRate,
    Feedback,
    FullIntraRequest,
    GenericNack,
    PictureLoss,
    parse_feedback,
    serialize_feedback,
)

VERSION = 2
MAX_PACKET = 65_535
MAX_REPORTS = 31  # five bits of count

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203
CNAME = 1  # RFC 3550 §6.5.1

_RTP_HEADER = struct.Struct("!BBHII")
_RTCP_HEADER = struct.Struct("!BBH")
_SENDER_INFO = struct.Struct("!QIII")
_REPORT = struct.Struct("!IB3sIIII")


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet (RFC 3550 §5.1). `extension` is (profile, words), kept and not understood."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """A report block (RFC 3550 §6.4.1). `last_sr` and `delay` are in 1/65536 s; `jitter` in clock ticks."""

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    highest_sequence: int
    jitter: int
    last_sr: int
    delay: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReceptionReport, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    ssrc: int
    reports: tuple[ReceptionReport, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """One chunk of an SDES packet; of its items only the canonical name."""

    ssrc: int
    cname: str


@dataclass(frozen=True, slots=True)
class Goodbye:
    ssrcs: tuple[int, ...]
    reason: str = ""


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Goodbye | Feedback


def is_rtcp(data: bytes) -> bool:
    """Whether a packet on a shared port is RTCP: its type lies in 192–223 (RFC 5761 §4)."""
    return len(data) >= 2 and 192 <= data[1] <= 223


def looks_like_rtp(data: bytes) -> bool:
    """Whether a datagram is RTP or RTCP among STUN, DTLS and channel data: first byte 128–191 (RFC 7983 §7)."""
    return len(data) >= 8 and 128 <= data[0] <= 191


def parse_rtp(data: bytes) -> RtpPacket:
    """Raises ParseError."""
    if not 12 <= len(data) <= MAX_PACKET:
        raise ParseError(f"{len(data)} bytes are no RTP packet")
    first, second, sequence, timestamp, ssrc = _RTP_HEADER.unpack_from(data)
    if first >> 6 != VERSION:
        raise ParseError(f"RTP version {first >> 6} is not 2")
    at = 12 + 4 * (first & 0x0F)
    if at > len(data):
        raise ParseError("RTP ends within its CSRC list")
    csrcs = struct.unpack_from(f"!{first & 0x0F}I", data, 12)
    extension = None
    if first & 0x10:
        if at + 4 > len(data):
            raise ParseError("RTP ends within its header extension")
        profile, words = struct.unpack_from("!HH", data, at)
        at += 4
        if at + 4 * words > len(data):
            raise ParseError("RTP ends within its header extension")
        extension = (profile, data[at : at + 4 * words])
        at += 4 * words
    payload = data[at:]
    if first & 0x20:
        if not payload or not 1 <= payload[-1] <= len(payload):
            raise ParseError("RTP padding is longer than its payload")
        payload = payload[: -payload[-1]]
    return RtpPacket(second & 0x7F, sequence, timestamp, ssrc, payload, bool(second & 0x80), csrcs, extension)


def serialize_rtp(packet: RtpPacket) -> bytes:
    first = VERSION << 6 | len(packet.csrcs) | (0x10 if packet.extension is not None else 0)
    second = packet.payload_type | (0x80 if packet.marker else 0)
    head = _RTP_HEADER.pack(first, second, packet.sequence, packet.timestamp, packet.ssrc)
    csrcs = struct.pack(f"!{len(packet.csrcs)}I", *packet.csrcs)
    extension = b""
    if packet.extension is not None:
        profile, content = packet.extension
        extension = struct.pack("!HH", profile, len(content) // 4) + content
    return head + csrcs + extension + packet.payload


def parse_rtcp(data: bytes) -> tuple[RtcpPacket, ...]:
    """The packets of a compound one, unknown types left out. Raises ParseError if any is cut or inconsistent.

    Reduced-size packets (RFC 5506) are accepted: a compound need not begin with a report.
    """
    if not 4 <= len(data) <= MAX_PACKET:
        raise ParseError(f"{len(data)} bytes are no RTCP packet")
    packets: list[RtcpPacket] = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise ParseError("RTCP ends within a header")
        first, kind, words = _RTCP_HEADER.unpack_from(data, at)
        end = at + 4 * (words + 1)
        if first >> 6 != VERSION:
            raise ParseError(f"RTCP version {first >> 6} is not 2")
        if end > len(data):
            raise ParseError("RTCP ends within a packet")
        body = data[at + 4 : end]
        if first & 0x20:
            if not body or not 1 <= body[-1] <= len(body):
                raise ParseError("RTCP padding is longer than its packet")
            body = body[: -body[-1]]
        packets += _parse_one(kind, first & 0x1F, body)
        at = end
    return tuple(packets)


def serialize_rtcp(*packets: RtcpPacket) -> bytes:
    """A compound packet. RFC 3550 §6.1 wants a report first and a source description in it; so pass them."""
    return b"".join(_serialize_one(packet) for packet in packets)


def _parse_one(kind: int, count: int, body: bytes) -> list[RtcpPacket]:
    match kind:
        case 200:
            if len(body) < 24:
                raise ParseError("a sender report is cut short")
            ntp, timestamp, sent, octets = _SENDER_INFO.unpack_from(body, 4)
            reports = _reports(body[24:], count)
            return [SenderReport(int.from_bytes(body[:4]), ntp, timestamp, sent, octets, reports)]
        case 201:
            if len(body) < 4:
                raise ParseError("a receiver report is cut short")
            return [ReceiverReport(int.from_bytes(body[:4]), _reports(body[4:], count))]
        case 202:
            return list(_chunks(body, count))
        case 203:
            return [_goodbye(body, count)]
        case 205 | 206:
            feedback = parse_feedback(kind, count, body)
            return [] if feedback is None else [feedback]
        case _:
            return []


def _reports(body: bytes, count: int) -> tuple[ReceptionReport, ...]:
    if len(body) < count * _REPORT.size:
        raise ParseError("RTCP has fewer reports than it counts")
    found = []
    for index in range(count):
        ssrc, fraction, lost, highest, jitter, last_sr, delay = _REPORT.unpack_from(
            body, index * _REPORT.size
        )
        cumulative = int.from_bytes(lost, signed=True)
        found.append(ReceptionReport(ssrc, fraction, cumulative, highest, jitter, last_sr, delay))
    return tuple(found)


def _chunks(body: bytes, count: int) -> list[SourceDescription]:
    found = []
    at = 0
    for _ in range(count):
        if at + 4 > len(body):
            raise ParseError("RTCP has fewer source descriptions than it counts")
        ssrc, cname = int.from_bytes(body[at : at + 4]), ""
        at += 4
        while at < len(body) and body[at] != 0:
            if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                raise ParseError("a source description item is cut short")
            if body[at] == CNAME:
                cname = body[at + 2 : at + 2 + body[at + 1]].decode("utf-8", "replace")
            at += 2 + body[at + 1]
        at += 4 - at % 4  # at least one null octet ends the items (RFC 3550 §6.5)
        found.append(SourceDescription(ssrc, cname))
    return found


def _goodbye(body: bytes, count: int) -> Goodbye:
    if len(body) < 4 * count:
        raise ParseError("RTCP has fewer goodbyes than it counts")
    rest = body[4 * count :]
    reason = ""
    if rest:
        if 1 + rest[0] > len(rest):
            raise ParseError("the reason of a goodbye is cut short")
        reason = rest[1 : 1 + rest[0]].decode("utf-8", "replace")
    return Goodbye(struct.unpack_from(f"!{count}I", body), reason)


def _serialize_one(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport():
            info = _SENDER_INFO.pack(packet.ntp, packet.rtp_timestamp, packet.packets, packet.octets)
            body = packet.ssrc.to_bytes(4) + info + _pack_reports(packet.reports)
            kind, count = SENDER_REPORT, len(packet.reports)
        case ReceiverReport():
            body = packet.ssrc.to_bytes(4) + _pack_reports(packet.reports)
            kind, count = RECEIVER_REPORT, len(packet.reports)
        case SourceDescription():
            name = packet.cname.encode()[:255]
            items = bytes([CNAME, len(name)]) + name
            body = packet.ssrc.to_bytes(4) + items + bytes(4 - len(items) % 4)
            kind, count = SOURCE_DESCRIPTION, 1
        case Goodbye():
            reason = packet.reason.encode()[:255]
            text = bytes([len(reason)]) + reason if reason else b""
            body = struct.pack(f"!{len(packet.ssrcs)}I", *packet.ssrcs) + text + bytes(-len(text) % 4)
            kind, count = GOODBYE, len(packet.ssrcs)
        case GenericNack() | PictureLoss() | FullIntraRequest() | EstimatedBitRate():
            kind, count, body = serialize_feedback(packet)
    return _RTCP_HEADER.pack(VERSION << 6 | count, kind, len(body) // 4) + body


def _pack_reports(reports: tuple[ReceptionReport, ...]) -> bytes:
    return b"".join(
        _REPORT.pack(
            report.ssrc,
            report.fraction_lost,
            max(-(1 << 23), min(report.cumulative_lost, (1 << 23) - 1)).to_bytes(3, signed=True),
            report.highest_sequence,
            report.jitter,
            report.last_sr,
            report.delay,
        )
        for report in reports
    )
