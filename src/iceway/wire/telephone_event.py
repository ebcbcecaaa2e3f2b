"""Keys of a telephone as peers send them: RTP's telephone-event (RFC 4733) and INFO's `application/dtmf-relay`.

Parsers raise ParseError and nothing else. Only the sixteen DTMF keys have a meaning here; other events
(flash hook, fax tones) are parsed and have no digit.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from iceway.core.errors import ParseError

DIGITS = "0123456789*#ABCD"  # RFC 4733 §3.2: a digit's place is its event code
RELAY = "application/dtmf-relay"
MAX_DURATION = 0xFFFF  # clock ticks; longer events are sent in segments, which nobody needs for a key
MAX_RELAY = 256  # bytes of a body that names one key
DEFAULT_RELAY = 0.16  # seconds, where an INFO does not say how long

_EVENT = struct.Struct("!BBH")


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """One report of an event (RFC 4733 §2.3). `duration` so far, in clock ticks; `volume` in −dBm0."""

    event: int
    end: bool
    volume: int
    duration: int

    @property
    def digit(self) -> str | None:
        return DIGITS[self.event] if self.event < len(DIGITS) else None


def parse(payload: bytes) -> TelephoneEvent:
    """The first report of a payload; what follows it is redundancy (RFC 4733 §2.5.1.5)."""
    if len(payload) < _EVENT.size:
        raise ParseError("a telephone event has four bytes")
    event, flags, duration = _EVENT.unpack_from(payload)
    return TelephoneEvent(event, bool(flags & 0x80), flags & 0x3F, duration)


def serialize(report: TelephoneEvent) -> bytes:
    return _EVENT.pack(report.event, (0x80 if report.end else 0) | report.volume, report.duration)


def parse_relay(body: bytes) -> tuple[str, float]:
    """The key and the seconds that an INFO names: `Signal=5`, `Duration=160` in milliseconds."""
    if len(body) > MAX_RELAY:
        raise ParseError(f"{len(body)} bytes are too many for one key")
    fields: dict[str, str] = {}
    for line in body.decode("ascii", "replace").splitlines():
        name, _, value = line.partition("=")
        fields.setdefault(name.strip().lower(), value.strip().upper())
    signal = fields.get("signal", "")
    if len(signal) != 1 or signal not in DIGITS:
        raise ParseError("the INFO names no key of a telephone")
    duration = fields.get("duration", "")
    if not duration:
        return signal, DEFAULT_RELAY
    if not (duration.isascii() and duration.isdigit() and len(duration) <= 5):
        raise ParseError("the duration of a key is no number of milliseconds")
    return signal, int(duration) / 1000
