"""What sessions of any kind have in common below their codecs: keys, refusals counted by cause, what reports tell.

`Protection` protects and opens packets under what was negotiated last. `Refusals` keeps count without end and speaks once a
cause. `FarSide` reads the report blocks about our stream. `SecuredSession` is what a session begins with.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import Outbox
from iceway.media.delay import OneWay
from iceway.media.description import Negotiated
from iceway.media.formats import Codec
from iceway.media.intervals import Intervals
from iceway.media.srtp import MAX_PACKET, SrtpKey, SrtpReceiver, SrtpRefused, SrtpSender
from iceway.media.stream import middle, ntp_time
from iceway.trace.records import MediaRejected, Note
from iceway.wire.rtp import (
    ReceptionReport,
    RtcpPacket,
    RtpPacket,
    is_rtcp,
    parse_rtcp,
    parse_rtp,
    serialize_rtp,
)
from iceway.wire.rtp_extension import serialize_element

_SHORTEST_SRTP = 12 + 4  # a header and the shortest tag
_SHORTEST_SRTCP = 8 + 4 + 10
_MAX_CAUSES = 32
_MAX_SENDERS = 32  # keys that may come back: more than the ends a fork can have
_MAX_ROUND_TRIP = 30.0


class Protection:
    """SRTP both ways, or packets in clear where no key was negotiated."""

    def __init__(self, negotiated: Negotiated) -> None:
        self._terms = negotiated
        self._senders: dict[SrtpKey, SrtpSender] = {}
        self._sender = self._sender_with(negotiated.send_key)
        self._receiver = SrtpReceiver(negotiated.recv_key) if negotiated.recv_key else None

    def change(self, negotiated: Negotiated) -> None:
        """Protection that stay go on where they are."""
        before, self._terms = self._terms, negotiated
        if negotiated.send_key != before.send_key:
            self._sender = self._sender_with(negotiated.send_key)
        if negotiated.recv_key != before.recv_key:
            self._receiver = SrtpReceiver(negotiated.recv_key) if negotiated.recv_key else None

    def protect(self, packet: bytes) -> bytes:
        if self._terms.dtls is not None and self._sender is None:
            raise UsageError("keys are still to come by DTLS; start a session once they are there")
        return self._sender.protect(packet) if self._sender else packet

    def protect_rtcp(self, packet: bytes) -> bytes:
        return self._sender.protect_rtcp(packet) if self._sender else packet

    def stray(self, data: bytes) -> bool:
        """Too short to be protected: some peers open the path with a few bytes in clear (RFC 6263 keepalives)."""
        return self._receiver is not None and len(data) < (
            _SHORTEST_SRTCP if is_rtcp(data) else _SHORTEST_SRTP
        )

    def opened(self, data: bytes) -> bytes:
        """Raises SrtpRefused, and ParseError for what is too long."""
        if self._receiver is None:
            if len(data) > MAX_PACKET:
                raise ParseError("longer than any packet of a call")
            return data
        return self._receiver.unprotect_rtcp(data) if is_rtcp(data) else self._receiver.unprotect(data)

    def _sender_with(self, key: SrtpKey | None) -> SrtpSender | None:
        """A key that comes back, after a while in clear or at another end of a fork, goes on counting where it was:
        begun anew, it would encrypt other packets with the same key stream (RFC 3711 §9.1)."""
        if key is None:
            return None
        if key not in self._senders:
            if len(self._senders) >= _MAX_SENDERS:
                del self._senders[next(iter(self._senders))]
            self._senders[key] = SrtpSender(key)
        return self._senders[key]


class Refusals:
    """How often a packet was refused, by cause."""

    def __init__(self) -> None:
        self._causes: dict[str, int] = {}

    def count(self, reason: str) -> str | None:
        """The cause, if this is the first refusal for it. Causes past a bound are one."""
        if reason not in self._causes and len(self._causes) >= _MAX_CAUSES:
            reason = "other causes"
        self._causes[reason] = self._causes.get(reason, 0) + 1
        return reason if self._causes[reason] == 1 else None

    @property
    def total(self) -> int:
        return sum(self._causes.values())


class FarSide:
    """What the other side reports of our stream."""

    def __init__(self) -> None:
        self.round_trip: float | None = None
        self.fraction_lost: float | None = None
        self.jitter: float | None = None
        """Seconds."""
        self.reports = 0
        self.round_trips = 0
        """Measured so far, one for each sender report of ours: said again, it tells how long it took back then."""
        self._last_sr = 0

    def report(self, block: ReceptionReport, clock_rate: int, wall: float, clock_age: float = inf) -> None:
        """A block about our stream, whose timestamps count `clock_rate` a second.

        `clock_age`: seconds since our clock was set; what was stamped before that tells no time.
        """
        self.reports += 1
        self.jitter = block.jitter / clock_rate
        self.fraction_lost = block.fraction_lost / 256
        if block.last_sr:
            stamped = ((middle(ntp_time(wall)) - block.last_sr) & 0xFFFF_FFFF) / 65536
            round_trip = stamped - block.delay / 65536
            # A report on somebody else's packet shows as nonsense.
            if 0 <= round_trip < _MAX_ROUND_TRIP and stamped <= clock_age:
                self.round_trip = round_trip
                self.round_trips += block.last_sr != self._last_sr
            self._last_sr = block.last_sr


class SecuredSession(Outbox):
    """What sessions of sound and of pictures share: packets are opened, and those that cannot be are counted by cause."""

    def __init__(
        self,
        name: str,
        negotiated: Negotiated,
        call_id: str,
        early: bool,
        cname: str,
        media: str = "audio",
    ) -> None:
        """`media`: what records call the stream."""
        super().__init__()
        self.name = name
        self.negotiated = negotiated
        self.closed = False
        self._call_id = call_id
        self._early = early
        self._cname = cname
        self._media = media
        self._keys = Protection(negotiated)
        self._codecs = {codec.payload_type: codec for codec in negotiated.receives}
        self._refusals = Refusals()
        self._replayed = 0
        self._far_side = FarSide()
        self._one_way = OneWay()
        self._intervals: Intervals | None = None

    def takes(self, payload_type: int) -> bool:
        """Whether packets of this type are the stream's."""
        return payload_type in self._codecs

    def confirm(self, now: float) -> None:
        """The call was answered: what starts from now on is not early."""
        self._early = False

    def receive(self, data: bytes, now: float) -> None:
        """A datagram of the other side that is neither STUN nor TURN."""
        if self.closed or self._keys.stray(data):
            return
        try:
            if is_rtcp(data):
                self._receive_rtcp(parse_rtcp(self._keys.opened(data)), now)
            else:
                self._receive_rtp(parse_rtp(self._keys.opened(data)), now)
        except SrtpRefused as refusal:
            if refusal.replayed:
                self._replayed += 1
            else:
                self._reject(refusal.reason)
        except ParseError as error:
            self._reject(str(error))

    def _bytes_of(self, packet: RtpPacket) -> bytes:
        """Named, where streams share a transport, until the other side has shown that it hears us (RFC 8843 §9.2)."""
        named = self.negotiated.named
        if named is not None and self._far_side.fraction_lost is None:
            number, mid = named
            packet = replace(packet, extension=serialize_element(number, mid.encode()))
        return serialize_rtp(packet)

    def _receive_rtp(self, packet: RtpPacket, now: float) -> None:
        raise NotImplementedError

    def _receive_rtcp(self, packets: tuple[RtcpPacket, ...], now: float) -> None:
        raise NotImplementedError

    def _agreed(self, negotiated: Negotiated) -> Negotiated:
        """Go on under new terms; those before. What was under way under the old numbers is taken still."""
        before, self.negotiated = self.negotiated, negotiated
        self._keys.change(negotiated)
        for codec in negotiated.receives:
            self._means(codec)
            self._codecs[codec.payload_type] = codec
        return before

    def _means(self, codec: Codec) -> None:
        """A payload type that stands for something else than before (RFC 3264 §8.3.2 forbids it): what waits is dropped."""
        before = self._codecs.get(codec.payload_type)
        if before is not None and before.name != codec.name:
            what = f"payload type {codec.payload_type} stood for {before} and now stands for {codec}"
            self.emit(Note("warning", f"{what}: what was under way cannot be told apart and is dropped"))
            self._drop_what_waits()

    def _drop_what_waits(self) -> None:
        raise NotImplementedError

    def _reject(self, reason: str) -> None:
        cause = self._refusals.count(reason)
        if cause is not None:
            self.emit(MediaRejected(self._call_id, cause, self._media))
