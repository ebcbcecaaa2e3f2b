"""Which of the other side's synchronization sources is listened to, and what a source of it says under our own name.

The first source is believed at once. Later a source, or a jump in the numbers of the one that speaks, must prove itself with
two packets in a row (RFC 3550 §A.1), which are kept and not lost; a single stray packet changes nothing. Who was
replaced is not heard again while its successor speaks, so two that speak at once do not take turns.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

from iceway.core.errors import ParseError
from iceway.media.stream import Incoming, Unwrapped
from iceway.wire.rtp import RtpPacket

MAX_PROBATION = 4  # packets of one source that wait for a neighbour
MAX_REPLACED = 16
MAX_TOLD = 8  # changes of a source that are worth a record
SPEAKS = 2.0  # seconds after its last packet in which a source counts as speaking
LOOP = 50.0  # seconds: ten intervals of reports (RFC 3550 §8.2)
UNDER_WAY = 1.0  # seconds in which what we sent may still come back


@dataclass(slots=True)
class Placed:
    """A packet to be taken, and its place. `anew`: a stream begins with it, and nothing before it counts."""

    packet: RtpPacket
    at: Unwrapped
    anew: bool


class FarSource:
    """`misorder`: how many packets late one may be without being a jump (RFC 3550 §A.1 MAX_MISORDER)."""

    def __init__(self, misorder: int) -> None:
        self.incoming: Incoming | None = None
        self.changes = 0
        """How often another source took over, or this one began anew."""
        self._misorder = misorder
        self._heard_at = 0.0
        self._waiting: list[tuple[RtpPacket, int]] = []
        self._replaced: OrderedDict[int, None] = OrderedDict()

    def take(self, packet: RtpPacket, clock_rate: int, now: float) -> list[Placed]:
        """What this packet brings: itself as a rule, nothing or some. Raises ParseError for who is not listened to."""
        current = self.incoming
        if current is None:
            return self._begin([(packet, clock_rate)], now)
        if packet.ssrc == current.ssrc:
            if not current.jumps(packet, clock_rate, self._misorder, now):
                place = current.accept(packet, clock_rate, now)
                assert place is not None
                self._heard_at = now
                if self._waiting and self._waiting[0][0].ssrc == packet.ssrc:
                    self._waiting = []  # it goes on as before, so what jumped was damaged
                return [Placed(packet, place, False)]
        elif packet.ssrc in self._replaced and now < self._heard_at + SPEAKS:
            raise ParseError("from a source that another one has replaced")
        return self._on_probation(packet, clock_rate, now)

    def trust_anew(self) -> None:
        """Packets come under another key: whoever was replaced under the old one may be back."""
        self._replaced.clear()

    def _on_probation(self, packet: RtpPacket, clock_rate: int, now: float) -> list[Placed]:
        waiting = [one for one in self._waiting if one[0].ssrc == packet.ssrc]
        proved = any((packet.sequence - one.sequence) & 0xFFFF in (1, 0xFFFF) for one, _ in waiting)
        self._waiting = [*waiting, (packet, clock_rate)][-MAX_PROBATION:]
        if not proved:
            return []
        first = self._waiting[0][0].sequence
        return self._begin(
            sorted(self._waiting, key=lambda one: (one[0].sequence - first + 0x8000) & 0xFFFF), now
        )

    def _begin(self, packets: list[tuple[RtpPacket, int]], now: float) -> list[Placed]:
        packet, clock_rate = packets[0]
        if self.incoming is not None:
            self.changes += 1
            if self.incoming.ssrc != packet.ssrc:
                self._replaced.pop(packet.ssrc, None)
                self._replaced[self.incoming.ssrc] = None
                if len(self._replaced) > MAX_REPLACED:
                    self._replaced.popitem(last=False)
        self._waiting, self._heard_at = [], now
        self.incoming = Incoming(packet, clock_rate)
        placed: list[Placed] = []
        for one, rate in packets:
            place = self.incoming.accept(one, rate, now)
            if place is not None:  # those that waited may be of another time
                placed.append(Placed(one, place, not placed))
        return placed


class Ours(Enum):
    """What somebody who sends under our SSRC is."""

    COLLISION = "another source drew the same number: we say goodbye and draw a new one"
    LOOP = "our own packets come back to us: the path is a loop"


class OwnName:
    """Packets under the SSRC that is ours (RFC 3550 §8.2). We change it once; whoever has the new one too is ourselves."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._left_at = 0.0
        self._loop = False

    def taken(self, ssrc: int, ours: int | None, now: float) -> Ours | None:
        """Whether a packet that came in has our number, or a number that we gave up a moment ago."""
        if ssrc == ours:
            if self._left is not None and now < self._left_at + LOOP:
                self._loop = True
                self._left_at = now
                return Ours.LOOP
            self._left, self._left_at, self._loop = ssrc, now, False
            return Ours.COLLISION
        if ssrc == self._left and (self._loop or now < self._left_at + UNDER_WAY):
            return Ours.LOOP
        return None
