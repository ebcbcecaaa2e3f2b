"""The two halves of an RTP stream's bookkeeping: what we number, and what we make of theirs.

`Outgoing` counts and stamps our packets; `Incoming` unwraps the other side's numbers and keeps the statistics
of RFC 3550 Appendix A, from which reports are made. Neither sees keys or sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.media.sound import FRAME, RATE
from iceway.wire.rtp import ReceptionReport, RtpPacket, SenderReport

if TYPE_CHECKING:
    from random import Random

MAX_DROPOUT = 3000  # RFC 3550 §A.1
MAX_LEAP = 10.0  # seconds by which timestamps and arrival may come apart between two packets
NTP_EPOCH = 2_208_988_800  # 1900 to 1970


def ntp_time(wall: float) -> int:
    """A 64-bit NTP timestamp (RFC 3550 §4) of Unix seconds."""
    seconds = int(wall // 1)
    fraction = int((wall - seconds) * (1 << 32))
    return ((seconds + NTP_EPOCH) % (1 << 32)) << 32 | fraction


def middle(ntp: int) -> int:
    """The 32 bits that reports compare."""
    return ntp >> 16 & 0xFFFF_FFFF


class Outgoing:
    """Our packets, in the clock of the codec. Timestamps advance with time even when nothing is sent."""

    def __init__(self, rng: Random, ssrc: int | None = None) -> None:
        """`ssrc`: as it was announced; drawn where nothing was."""
        self.ssrc = rng.getrandbits(32) if ssrc is None else ssrc
        # Below 2^15, so that the first packets lost cannot hide a wrap from SRTP (RFC 3711 §3.3.1).
        self._sequence = rng.getrandbits(15)
        self._timestamp = rng.getrandbits(32)
        self.packets = 0
        self.octets = 0
        self._before = 0, 0  # packets and octets under the SSRC that was ours

    def next_packet(self, payload_type: int, payload: bytes, clock_rate: int, marker: bool) -> RtpPacket:
        """The packet of one frame of sound, after which a frame's time has passed."""
        packet = self.part(payload_type, payload, marker)
        self.skip(clock_rate)
        return packet

    def part(self, payload_type: int, payload: bytes, marker: bool) -> RtpPacket:
        """The next packet, at an instant that others may share: a piece of a picture."""
        packet = RtpPacket(payload_type, self._sequence, self._timestamp, self.ssrc, payload, marker)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self.packets += 1
        self.octets += len(payload)
        return packet

    def event_packet(
        self, payload_type: int, payload: bytes, timestamp: int, clock_rate: int, marker: bool
    ) -> RtpPacket:
        """A report on an event that began at `timestamp`, in place of a frame of sound (RFC 4733 §2.2.1)."""
        now = self._timestamp
        self._timestamp = timestamp
        packet = self.next_packet(payload_type, payload, clock_rate, marker)
        self._timestamp = now
        self.skip(clock_rate)
        return packet

    def rename(self, rng: Random) -> None:
        """Go on under another SSRC (RFC 3550 §8.2). Time goes on; numbers begin anew."""
        self.ssrc = rng.getrandbits(32)
        self._sequence = rng.getrandbits(15)
        self._before = self.packets, self.octets

    def counts(self) -> tuple[int, int]:
        """Packets and octets sent under this SSRC, as a sender report has them."""
        packets, octets = self._before
        return (self.packets - packets) & 0xFFFF_FFFF, (self.octets - octets) & 0xFFFF_FFFF

    def skip(self, clock_rate: int) -> None:
        """One frame's time passes."""
        self.advance(FRAME * clock_rate // RATE)

    def advance(self, ticks: int) -> None:
        self._timestamp = (self._timestamp + ticks) & 0xFFFF_FFFF

    @property
    def timestamp(self) -> int:
        """Of the next packet."""
        return self._timestamp


@dataclass(slots=True)
class Unwrapped:
    """A packet's place without wrap-around; the timestamp in samples at 48 kHz."""

    sequence: int
    timestamp: int


class Incoming:
    """One SSRC of the other side."""

    def __init__(self, packet: RtpPacket, clock_rate: int) -> None:
        self.ssrc = packet.ssrc
        self.received = 0
        self.jitter = 0.0
        """Seconds (RFC 3550 §A.8)."""
        self._clock_rate = clock_rate
        self._base = packet.sequence
        self._highest = packet.sequence
        self._timestamp = packet.timestamp
        self._transit: float | None = None
        self._reported_expected = 0
        self._reported_received = 0
        self._last_sr: tuple[int, float] | None = None

    def accept(self, packet: RtpPacket, clock_rate: int, now: float) -> Unwrapped | None:
        """Count a packet and unwrap its numbers; None if they jump so far that the stream began anew."""
        step = _signed(packet.sequence - self._highest, 16)
        if abs(step) > MAX_DROPOUT or clock_rate != self._clock_rate:
            return None
        sequence = self._highest + step
        timestamp = self._timestamp + _signed(packet.timestamp - self._timestamp, 32)
        if step >= 0:
            self._highest, self._timestamp = sequence, timestamp
        self.received += 1
        transit = now - timestamp / clock_rate
        if self._transit is not None:
            self.jitter += (abs(transit - self._transit) - self.jitter) / 16
        self._transit = transit
        return Unwrapped(sequence, timestamp * RATE // clock_rate)

    def jumps(self, packet: RtpPacket, clock_rate: int, misorder: int, now: float) -> bool:
        """Whether its numbers are so far from those before that it may be of another stream, or damaged."""
        step = _signed(packet.sequence - self._highest, 16)
        if not -misorder <= step <= MAX_DROPOUT or clock_rate != self._clock_rate:
            return True
        if self._transit is None:
            return False
        timestamp = self._timestamp + _signed(packet.timestamp - self._timestamp, 32)
        return abs(now - timestamp / clock_rate - self._transit) > MAX_LEAP

    def accept_soundless(self, packet: RtpPacket) -> int | None:
        """Count a packet that carries no sound; its number unwrapped, None if it is not of this stream."""
        step = _signed(packet.sequence - self._highest, 16)
        if packet.ssrc != self.ssrc or abs(step) > MAX_DROPOUT:
            return None
        sequence = self._highest + step
        self._highest = max(self._highest, sequence)
        self.received += 1
        return sequence

    @property
    def expected(self) -> int:
        return self._highest - self._base + 1 if self.received else 0

    def heard_report(self, report: SenderReport, now: float) -> None:
        self._last_sr = (middle(report.ntp), now)

    def report(self, now: float) -> ReceptionReport:
        """A report block on this stream, for the time since the last one (RFC 3550 §A.3)."""
        expected = self.expected - self._reported_expected
        lost = expected - (self.received - self._reported_received)
        self._reported_expected, self._reported_received = self.expected, self.received
        fraction = min(255, lost * 256 // expected) if expected > 0 and lost > 0 else 0
        last_sr, delay = 0, 0
        if self._last_sr is not None:
            last_sr = self._last_sr[0]
            delay = min(int((now - self._last_sr[1]) * 65536), 0xFFFF_FFFF)
        return ReceptionReport(
            self.ssrc,
            fraction,
            self.expected - self.received,
            self._highest & 0xFFFF_FFFF,
            min(int(self.jitter * self._clock_rate), 0xFFFF_FFFF),
            last_sr,
            delay,
        )


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
