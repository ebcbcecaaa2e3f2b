"""An audio session: one RTP stream each way over whatever path carries datagrams, as a pure machine.

Every 20 ms one frame is taken from the source and leaves as `SendMedia`; what arrives goes through `receive`,
and from the first packet on, every 20 ms one frame is played to the sink. RTP and RTCP share the path
(RFC 5761). The session knows no addresses: its parent sends `SendMedia.data` along the path ICE found and
hands in what came. It receives from the start (early media, before the call is answered) and sends when told.

Bad packets are counted by cause, the first of each cause is recorded, and none ends the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import ClockSet, Input
from iceway.core.timers import Timers
from iceway.media.codecs import Decoder, decoder, encoder
from iceway.media.description import Negotiated
from iceway.media.digits import DigitReceiver, DigitSender
from iceway.media.far_source import MAX_TOLD, FarSource, Ours, OwnName
from iceway.media.files import Sink, Source
from iceway.media.intervals import Counts, Intervals, Link
from iceway.media.jitter import START_DELAY, JitterBuffer
from iceway.media.quality import look_ahead
from iceway.media.secured import SecuredSession
from iceway.media.sound import FRAME_DURATION, RATE, Samples, silence
from iceway.media.stream import Incoming, Outgoing, ntp_time
from iceway.media.supplied import SoundIn, SoundOut
from iceway.trace.records import MediaStarted, MediaSummary, Note
from iceway.wire import telephone_event
from iceway.wire.rtp import (
    Goodbye,
    ReceiverReport,
    RtcpPacket,
    RtpPacket,
    SenderReport,
    SourceDescription,
    serialize_rtcp,
)

if TYPE_CHECKING:
    from random import Random

REPORT_INTERVAL = 5.0  # RFC 3550 §6.2
MAX_MISORDER = 100  # RFC 3550 §A.1
_CATCH_UP = 10 * FRAME_DURATION  # a clock later than this has stood still; frames of that time are skipped


@dataclass(frozen=True, slots=True)
class SendMedia:
    """A datagram (SRTP or SRTCP) for the other side, along the media path."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class FirstMediaSent:
    name: str
    early: bool


@dataclass(frozen=True, slots=True)
class FirstMediaReceived:
    """The first packet that verified and can be played."""

    name: str
    early: bool


@dataclass(frozen=True, slots=True)
class SourceFinished:
    """The source gave its last frame; the session goes on with silence."""

    name: str


@dataclass(frozen=True, slots=True)
class DigitReceived:
    """A telephone key that the other side pressed, told when it is released; `duration` in seconds."""

    name: str
    digit: str
    duration: float


@dataclass(frozen=True, slots=True)
class MediaStats:
    """How the session fares. `lost`: never played; `rejected`: not ours, not decodable. Times in seconds.

    `discarded` came and were thrown away; of `samples_played`, at 48 kHz, some were `concealed`: made up in place of
    what was missing. `fraction_lost` and `far_jitter` are what the other side last reported of our packets, in
    `reports` reports so far, which gave so many `round_trips`. `one_way` is from there to here, `mouth_to_ear` with
    coding and the jitter buffer; unless `clocks_agree`, half a round trip is assumed. `r` and `mos` rate the last
    seconds by the E-model (`quality.py`).
    """

    codec: str
    packets_sent: int
    packets_received: int
    packets_lost: int
    packets_late: int
    packets_discarded: int
    packets_duplicate: int
    packets_rejected: int
    samples_played: int
    samples_concealed: int
    jitter: float
    buffered: float
    round_trip: float | None
    one_way: float | None
    clocks_agree: bool | None
    mouth_to_ear: float | None
    r: float | None
    mos: float | None
    fraction_lost: float | None
    far_jitter: float | None
    reports: int
    round_trips: int


class AudioSession(SecuredSession):
    """The sound of one call. `early` until `confirm`; `sink` is closed by `close`."""

    def __init__(
        self,
        name: str,
        negotiated: Negotiated,
        source: Source,
        sink: Sink,
        rng: Random,
        call_id: str = "",
        *,
        early: bool = True,
        cname: str = "",
    ) -> None:
        super().__init__(name, negotiated, call_id, early, cname)
        self._source = SoundIn(source, self.emit)
        self._sink = SoundOut(sink, self.emit)
        self._rng = rng
        self._timers = Timers()
        self._wall_offset = self._clock_set_at = 0.0

        self._encoder = encoder(negotiated.codec.name)
        self._outgoing: Outgoing | None = None
        self._wants_to_send = False
        self._silent = True
        self._muted = self._on_hold = False
        self._source_finished = False
        self._send_at = 0.0
        self._sent_at_last_report = 0
        self._reported = False
        self._digits = DigitSender()
        self._pressed_at = 0  # RTP time of the key that is being sent
        self._event_types = {event.payload_type: event for event in negotiated.hears_events}
        self._hears = DigitReceiver()

        self._decoders: dict[str, Decoder] = {}
        self._playing: Decoder | None = None
        self._heard_codec = negotiated.codec.name
        self._buffer = JitterBuffer(self._decode, self._conceal)
        self._far_source = FarSource(MAX_MISORDER)
        self._own_name = OwnName()
        self._play_at = 0.0
        self._received = 0
        self._octets = 0

    # --- commands -----------------------------------------------------------------------------------
    def start_sending(self, now: float) -> None:
        """Send from now on (as far as the negotiated direction lets us)."""
        if self.closed or self._wants_to_send:
            return
        self._wants_to_send = True
        self._silent = True
        self._send_at = now
        self._timers.arm("send", now)
        self._arm_report(now)

    def mute(self, muted: bool) -> None:
        """Say nothing while the source goes on."""
        self._muted = muted

    def hold(self, holding: bool) -> None:
        """Neither say nor play anything; the source keeps its place. The path is kept warm with silence."""
        self._on_hold = holding

    def press(self, digits: str, duration: float, now: float) -> None:
        """Send telephone keys in place of sound, one after the other (RFC 4733). Raises UsageError."""
        if self.negotiated.events is None:
            raise UsageError("the other side takes no telephone keys (telephone-event) in this call")
        if not self.closed:
            self._digits.press(digits, duration)

    def stop_sending(self, now: float) -> None:
        """Send no more, but go on listening. The source keeps its place."""
        self._wants_to_send = False
        self._timers.cancel("send")

    def renegotiate(self, negotiated: Negotiated, now: float) -> None:
        """Go on under what a re-INVITE negotiated. Streams whose key and codec stay are not disturbed."""
        before = self._agreed(negotiated)
        if negotiated.codec.name != before.codec.name:
            self._encoder = encoder(negotiated.codec.name)
        if negotiated.recv_key != before.recv_key:
            self._far_source.trust_anew()
        if negotiated.hears and not before.hears:
            self._drop_what_waits()
        for codec in negotiated.receives:
            self._event_types.pop(codec.payload_type, None)
        for event in negotiated.hears_events:
            self._means(event)
            self._codecs.pop(event.payload_type, None)
            self._event_types[event.payload_type] = event

    def takes(self, payload_type: int) -> bool:
        return super().takes(payload_type) or payload_type in self._event_types

    def close(self, now: float) -> None:
        """Say goodbye (RTCP BYE), sum up, close the sink. Nothing comes out after that."""
        if self.closed:
            return
        if self._outgoing is not None:
            self._send_report(now, goodbye=True)
        self.closed = True
        self._timers.clear()
        self._sink.close()
        stats = self.stats()
        self.emit(
            MediaSummary(
                call_id=self._call_id,
                codec=stats.codec,
                packets_sent=stats.packets_sent,
                packets_received=stats.packets_received,
                packets_lost=stats.packets_lost,
                packets_late=stats.packets_late,
                jitter=stats.jitter,
                round_trip=stats.round_trip,
            )
        )

    def stats(self) -> MediaStats:
        one_way = self._one_way.seconds
        score = self._intervals.score if self._intervals else None
        return MediaStats(
            codec=str(self.negotiated.codec),
            packets_sent=self._outgoing.packets if self._outgoing else 0,
            packets_received=self._received,
            packets_lost=self._buffer.lost,
            packets_late=self._buffer.late,
            packets_discarded=self._buffer.discarded,
            packets_duplicate=self._buffer.duplicate + self._replayed,
            packets_rejected=self._refusals.total,
            samples_played=self._buffer.samples,
            samples_concealed=self._buffer.concealed,
            jitter=self._incoming.jitter if self._incoming else 0.0,
            buffered=self._buffer.delay,
            round_trip=self._far_side.round_trip,
            one_way=one_way,
            clocks_agree=self._one_way.clocks_agree,
            mouth_to_ear=None if one_way is None else one_way + self._delay_here(),
            r=score.r if score else None,
            mos=score.mos if score else None,
            fraction_lost=self._far_side.fraction_lost,
            far_jitter=self._far_side.jitter,
            reports=self._far_side.reports,
            round_trips=self._far_side.round_trips,
        )

    # --- the machine contract -----------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, ClockSet):
            self._wall_offset = event.wall_offset
            self._clock_set_at = now
            self._one_way.forget()

    def handle_timeout(self, now: float) -> None:
        for timer in self._timers.due(now):
            if timer == "send":
                self._send_frame()
                self._send_at = self._next_tick("send", self._send_at, now)
            elif timer == "play":
                # Who is told to say nothing is not missed.
                heard = self._buffer.get() if self.negotiated.hears else silence()
                self._sink.write(silence() if self._on_hold else heard)
                self._play_at = self._next_tick("play", self._play_at, now)
            elif timer == "digit":
                self._tell_digits(self._hears.released(now))
            elif timer == "look":
                self._look(now)
            else:
                self._send_report(now)
                self._arm_report(now)

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- sending ------------------------------------------------------------------------------------
    def _send_frame(self) -> None:
        codec, outgoing = self.negotiated.codec, self._our_stream()
        if not self.negotiated.sends:
            outgoing.skip(codec.clock_rate)
            self._silent = True
            return
        frame = silence() if self._on_hold else self._source.read()
        if frame is None:
            frame = silence()
            if not self._source_finished:
                self._source_finished = True
                self.emit(SourceFinished(self.name))
        heard = silence() if self._muted else frame
        packet = self._bytes_of(self._digit_packet() or self._sound_packet(heard))
        self.emit(SendMedia(self.name, self._keys.protect(packet)))
        if outgoing.packets == 1:
            self.emit(MediaStarted(self._call_id, "sent", str(codec), self._early))
            self.emit(FirstMediaSent(self.name, self._early))

    def _sound_packet(self, frame: Samples) -> RtpPacket:
        codec = self.negotiated.codec
        payload = self._encoder.encode(frame)
        marker, self._silent = self._silent, False
        return self._our_stream().next_packet(codec.payload_type, payload, codec.clock_rate, marker)

    def _digit_packet(self) -> RtpPacket | None:
        """A report on the key that is being pressed, if one is; what the source says meanwhile is not heard."""
        form = self.negotiated.events
        report = self._digits.next_report(form.clock_rate) if form else None
        if form is None or report is None:
            return None
        stream = self._our_stream()
        if report.first:
            self._pressed_at = stream.timestamp
        self._silent = True
        return stream.event_packet(
            form.payload_type,
            telephone_event.serialize(report.event),
            self._pressed_at,
            self.negotiated.codec.clock_rate,
            marker=report.first,
        )

    def _next_tick(self, timer: str, at: float, now: float) -> float:
        """Arm the tick after the one at `at`. After a standstill the clock starts anew at `now`."""
        at += FRAME_DURATION
        if at < now - _CATCH_UP:
            if timer == "send":
                for _ in range(int((now - at) / FRAME_DURATION)):
                    self._our_stream().skip(self.negotiated.codec.clock_rate)
            at = now + FRAME_DURATION
        self._timers.arm(timer, at)
        return at

    def _our_stream(self) -> Outgoing:
        if self._outgoing is None:
            self._outgoing = Outgoing(self._rng, self.negotiated.ssrc)
        return self._outgoing

    def _send_report(self, now: float, *, goodbye: bool = False) -> None:
        """A report on both streams, a source description with it (RFC 3550 §6.1)."""
        if not self.negotiated.reports:
            return
        stream = self._our_stream()
        blocks = (self._incoming.report(now),) if self._incoming else ()
        report: RtcpPacket
        if stream.packets > self._sent_at_last_report:
            ntp = ntp_time(now + self._wall_offset)
            report = SenderReport(
                stream.ssrc,
                ntp,
                stream.timestamp,
                *stream.counts(),
                blocks,
            )
        else:
            report = ReceiverReport(stream.ssrc, blocks)
        self._sent_at_last_report = stream.packets
        packets: list[RtcpPacket] = [
            report,
            SourceDescription(stream.ssrc, self._cname or f"{stream.ssrc:08x}"),
        ]
        if goodbye:
            packets.append(Goodbye((stream.ssrc,)))
        data = serialize_rtcp(*packets)
        self.emit(SendMedia(self.name, self._keys.protect_rtcp(data)))

    def _arm_report(self, now: float) -> None:
        """Half to one and a half intervals from now (RFC 3550 §6.3.1), the first in half that time."""
        if self.negotiated.reports and self._timers.at("report") is None:
            interval = REPORT_INTERVAL if self._reported else REPORT_INTERVAL / 2
            self._reported = True
            self._timers.arm("report", now + interval * (0.5 + self._rng.random()))

    # --- receiving ----------------------------------------------------------------------------------
    @property
    def _incoming(self) -> Incoming | None:
        return self._far_source.incoming

    def _receive_rtp(self, packet: RtpPacket, now: float) -> None:
        codec = self._codecs.get(packet.payload_type)
        if codec is None and packet.payload_type in self._event_types:
            self._receive_digit(packet, now)
            return
        if codec is None:
            raise ParseError(f"payload type {packet.payload_type} was not negotiated")
        self._defend_our_name(packet.ssrc, now)
        if not packet.payload:  # keeps the path open (RFC 6263 §4) and stands for no sound
            self._receive_soundless(packet)
            return
        placed = self._far_source.take(packet, codec.clock_rate, now)
        for one in placed:
            if one.anew and self._received:
                self._another_source()
            self._received += 1
            self._octets += len(one.packet.payload)
            self._buffer.put(one.at.sequence, one.at.timestamp, one.packet.payload_type, one.packet.payload)
        if placed and self._timers.at("play") is None:
            self._play_at = now + START_DELAY / RATE
            self._timers.arm("play", self._play_at)
            self._arm_report(now)
            self.emit(MediaStarted(self._call_id, "received", str(codec), self._early))
            self.emit(FirstMediaReceived(self.name, self._early))
            self._intervals = Intervals(self._call_id, self._media, now)
            self._timers.arm("look", self._intervals.look_at)

    def _drop_what_waits(self) -> None:
        self._buffer.restart()

    def _another_source(self) -> None:
        self._buffer.restart()
        if self._far_source.changes <= MAX_TOLD and self._incoming is not None:
            self.emit(Note("info", f"another source of sound took over: SSRC {self._incoming.ssrc:08x}"))

    def _defend_our_name(self, ssrc: int, now: float) -> None:
        """RFC 3550 §8.2. Raises ParseError for what is not to be played."""
        taken = self._own_name.taken(ssrc, self._outgoing.ssrc if self._outgoing else None, now)
        if taken is Ours.COLLISION:
            self._send_report(now, goodbye=True)
            self._our_stream().rename(self._rng)
        if taken is not None:
            raise ParseError(taken.value)

    def _receive_digit(self, packet: RtpPacket, now: float) -> None:
        event = telephone_event.parse(packet.payload)
        self._received += 1
        self._receive_soundless(packet)
        clock_rate = self._event_types[packet.payload_type].clock_rate
        self._tell_digits(self._hears.receive(packet, event, clock_rate, now))
        self._timers.cancel("digit")
        if self._hears.release_at is not None:
            self._timers.arm("digit", self._hears.release_at)

    def _receive_soundless(self, packet: RtpPacket) -> None:
        sequence = self._incoming.accept_soundless(packet) if self._incoming else None
        if sequence is not None:
            self._buffer.put_soundless(sequence)

    def _tell_digits(self, released: list[tuple[str, float]]) -> None:
        for digit, duration in released:
            self.emit(DigitReceived(self.name, digit, duration))

    def _decode(self, payload_type: int, payload: bytes) -> Samples:
        name = self._codecs[payload_type].name
        if name not in self._decoders:
            self._decoders[name] = decoder(name)
        self._playing = self._decoders[name]
        self._heard_codec = name
        try:
            return self._playing.decode(payload)
        except ParseError:
            self._reject(f"not decodable as {name}")
            raise

    def _conceal(self, count: int) -> Samples:
        return self._playing.conceal(count) if self._playing else silence(count)

    def _receive_rtcp(self, packets: tuple[RtcpPacket, ...], now: float) -> None:
        for packet in packets:
            if not isinstance(packet, SenderReport | ReceiverReport):
                continue
            if isinstance(packet, SenderReport) and self._incoming and packet.ssrc == self._incoming.ssrc:
                self._incoming.heard_report(packet, now)
            for block in packet.reports:
                if self._outgoing is not None and block.ssrc == self._outgoing.ssrc:
                    clock_rate = self.negotiated.codec.clock_rate
                    wall, clock_age = now + self._wall_offset, now - self._clock_set_at
                    self._far_side.report(block, clock_rate, wall, clock_age)
            if isinstance(packet, SenderReport) and self._incoming and packet.ssrc == self._incoming.ssrc:
                self._one_way.heard(packet.ntp, now + self._wall_offset, self._far_side.round_trip)

    # --- how it was ---------------------------------------------------------------------------------
    def _look(self, now: float) -> None:
        assert self._intervals is not None
        buffer, far = self._buffer, self._far_side
        counts = Counts(
            buffer.played,
            self._octets,
            buffer.lost,
            buffer.samples,
            buffer.concealed,
            late=buffer.discarded,
        )
        jitter = self._incoming.jitter if self._incoming else 0.0
        link = Link(jitter, far.round_trip, self._one_way, far.fraction_lost)
        record = self._intervals.sound(self._heard_codec, counts, link, self._delay_here(), now)
        if record is not None and self.negotiated.hears:
            self.emit(record)
        self._timers.arm("look", self._intervals.look_at)

    def _delay_here(self) -> float:
        """What a frame of sound waits for: its own end, the coder's look ahead, its turn in the jitter buffer."""
        return FRAME_DURATION + look_ahead(self._heard_codec) + self._buffer.usual_delay
