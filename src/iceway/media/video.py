"""A video session: one stream of pictures each way over whatever path carries datagrams, as a pure machine.

It has the shape of `AudioSession`: at each frame's time a picture is taken from the source and leaves as some
`SendMedia`; what arrives goes through `receive`, and a picture is shown as soon as it and all that it needs are there.
Packets that are missing are asked for again (RFC 4585), a whole picture is asked for when there is no other way on
(PLI, or FIR of RFC 5104), and both are done for the other side, within bounds. Bad packets are counted by cause, the
first of each cause is recorded, and none ends the session.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from iceway.core.errors import ParseError
from iceway.core.machine import ClockSet, Input
from iceway.core.timers import Timers
from iceway.media import h264, vp8
from iceway.media.description import Negotiated
from iceway.media.far_source import MAX_TOLD, FarSource, Ours, OwnName, Placed
from iceway.media.frames import MAX_HELD, CodedPicture, PictureBuffer
from iceway.media.intervals import Counts, Intervals, Link
from iceway.media.missing import MissingPackets
from iceway.media.pacing import SLICE, Pace
from iceway.media.picture import size
from iceway.media.pictures import PictureSink, PictureSource
from iceway.media.rate import RateControl
from iceway.media.resending import SentPackets
from iceway.media.secured import SecuredSession
from iceway.media.session import FirstMediaReceived, FirstMediaSent, SendMedia, SourceFinished
from iceway.media.sound import RATE
from iceway.media.stream import Incoming, Outgoing, ntp_time
from iceway.media.supplied import PicturesIn, PicturesOut
from iceway.media.video_codecs import VIDEO_CLOCK, VideoDecoder, VideoEncoder
from iceway.media.video_stats import Flow, VideoStats
from iceway.trace.records import MediaStarted, MediaSummary, Note, VideoFroze
from iceway.wire.rtcp_feedback import EstimatedBitRate, FullIntraRequest, GenericNack, PictureLoss
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

PAYLOAD = 1100
"""The most bytes of a payload: what IPv6, SRTP and a relay add keeps the packet under 1280."""
REPORT_INTERVAL = 0.5  # RFC 4585 §3.4 lets feedback be this frequent; a queue grows in a second
WHOLE_INTERVAL = 0.5
"""Seconds between two whole pictures on request at least, and between two requests for one."""
_CATCH_UP = 0.5  # a clock later than this has stood still; pictures of that time are skipped
_FIRST_PATIENCE = 0.1  # a stream begins with a whole picture, which may be overtaken
_IN_VAIN = 10  # requests for a whole picture to somebody from whom nothing comes
_FIRST_RATE = 80_000  # bit/s, before anything is known of the path
_UNHEARD = 1.6  # seconds without a report at least; more where they come rarely


class VideoSession(SecuredSession):
    """The pictures of one stream of a call. `early` until `confirm`; `sink` is closed by `close`.

    `frame_rate` is how often the source is read; `budget` the bit/s that the stream may take (`set_budget`);
    `media` what records call it: "video" or "slides".
    """

    def __init__(
        self,
        name: str,
        negotiated: Negotiated,
        source: PictureSource,
        sink: PictureSink,
        rng: Random,
        call_id: str = "",
        *,
        early: bool = True,
        cname: str = "",
        frame_rate: float = 15.0,
        budget: int = 600_000,
        media: str = "video",
    ) -> None:
        super().__init__(name, negotiated, call_id, early, cname, media)
        self._source = PicturesIn(source, self.emit)
        self._sink = PicturesOut(sink, self.emit)
        self._rng = rng
        self._frame_rate = frame_rate
        self._timers = Timers()
        self._wall_offset = self._clock_set_at = 0.0

        self._rate = RateControl(min(budget // 2, _FIRST_RATE), budget)
        self._encoder: VideoEncoder | None = None
        self._outgoing = Outgoing(rng, negotiated.ssrc)
        self._sent = SentPackets()
        self._queue: deque[bytes] = deque()
        self._pace = Pace()
        self._sending = False
        self._source_finished = False
        self._frame_at = self._began_at = self._heard_at = self._unheard_at = 0.0
        self._longest_wait = 0.0
        self._frames_sent = 0
        self._whole_sent = 0
        self._whole_wanted = True
        self._whole_at: float | None = None
        self._last_command: int | None = None
        self._sent_at_last_report = 0
        self._used_before = (0, 0.0)

        self._far_source = FarSource(MAX_HELD)
        self._own_name = OwnName()
        self._received = 0
        self._buffer = PictureBuffer()
        self._missing = MissingPackets()
        self._decoder: VideoDecoder | None = None
        self._decodes = ""
        self._octets = 0
        self._flow = Flow()
        self._base = 0
        self._asked_whole = 0
        self._asked_in_vain = 0
        self._ask_whole_at: float | None = None
        self._commands = 0

    # --- commands -----------------------------------------------------------------------------------
    def start_sending(self, now: float) -> None:
        """Send from now on (as far as the negotiated direction lets us), beginning with a whole picture."""
        if self.closed or self._sending:
            return
        self._sending = self._whole_wanted = True
        self._frame_at = self._began_at = self._heard_at = now
        self._unheard_at = now + _UNHEARD
        self._timers.arm("frame", now)
        self._arm_report(now)

    def stop_sending(self, now: float) -> None:
        """Send no more, but go on watching. The source keeps its place."""
        self._sending = False
        self._timers.cancel("frame")

    def renegotiate(self, negotiated: Negotiated, now: float) -> None:
        """Go on under what a re-INVITE negotiated. Streams whose key and codec stay are not disturbed."""
        before = self._agreed(negotiated)
        if negotiated.send_key != before.send_key:
            self._sent.clear()  # kept under the key that is gone
        if negotiated.recv_key != before.recv_key:
            self._far_source.trust_anew()
        if negotiated.codec.name != before.codec.name:
            self._encoder = None
        if negotiated.sends and not before.sends:
            self._whole_wanted = True

    def set_budget(self, bit_rate: int, now: float) -> None:
        """The bit/s that this stream may take: lowered by whoever sees that sound would suffer."""
        self._rate.set_budget(bit_rate)

    def path_changed(self, now: float, round_trip: float | None = None) -> None:
        """Media takes another path: what was under way may be lost, so the next picture is a whole one.

        `round_trip` is what is known of it: a queue that our own packets make is what goes beyond that.
        """
        self._whole_wanted = True
        self._rate.path_changed(
            round_trip if self.negotiated.rtcp_mux else None
        )  # reports may go another way
        self._one_way.forget()

    def close(self, now: float) -> None:
        """Say goodbye (RTCP BYE), sum up, close the sink. Nothing comes out after that."""
        if self.closed:
            return
        if self._outgoing.packets:
            self._send_report(now, goodbye=True)
        self.closed = True
        self._timers.clear()
        self._queue.clear()
        self._sink.close()
        stats = self.stats(now)
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
                media=self._media,
            )
        )

    def stats(self, now: float) -> VideoStats:
        return VideoStats(
            codec=str(self.negotiated.codec),
            width=self._flow.width,
            height=self._flow.height,
            frames_sent=self._frames_sent,
            frames_shown=self._flow.shown,
            frame_rate=self._flow.rate(now),
            freezes=self._flow.freezes,
            frozen=self._flow.frozen,
            whole_sent=self._whole_sent,
            whole_requested=self._asked_whole,
            packets_sent=self._outgoing.packets,
            packets_resent=self._sent.resent,
            packets_received=self._received,
            packets_requested=self._missing.requested,
            packets_recovered=self._missing.recovered,
            packets_lost=self._buffer.lost,
            packets_late=self._buffer.late,
            packets_duplicate=self._buffer.duplicate + self._replayed,
            packets_rejected=self._refusals.total,
            bit_rate=self._rate.bit_rate,
            jitter=self._incoming.jitter if self._incoming else 0.0,
            round_trip=self._far_side.round_trip,
            one_way=self._one_way.seconds,
            clocks_agree=self._one_way.clocks_agree,
            fraction_lost=self._far_side.fraction_lost,
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
            if timer == "frame":
                self._send_frame(now)
            elif timer == "pace":
                self._send_queued(now)
            elif timer == "repair":
                self._show_what_is_ready(now)
            elif timer == "look":
                self._look(now)
            else:
                self._send_report(now)
                self._arm_report(now)

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- sending ------------------------------------------------------------------------------------
    def _send_frame(self, now: float) -> None:
        if self.negotiated.sends and not self._source_finished:
            picture = self._source.read()
            if picture is None:
                self._source_finished = True
                self.emit(SourceFinished(self.name))
            elif not self._pace.too_fast(self._rate.bit_rate, now):
                codec = self.negotiated.codec
                if self._encoder is None:
                    self._encoder = VideoEncoder(codec.name, self._frame_rate, self._rate.bit_rate)
                self._encoder.set_bit_rate(self._rate.bit_rate)
                whole = self._whole_wanted and (
                    self._whole_at is None or now >= self._whole_at + WHOLE_INTERVAL
                )
                if whole:
                    self._whole_wanted, self._whole_at = False, now
                    self._whole_sent += 1
                self._send_picture(self._encoder.encode(picture, whole), now)
        self._outgoing.advance(round(VIDEO_CLOCK / self._frame_rate))
        self._frame_at += 1 / self._frame_rate
        if self._frame_at < now - _CATCH_UP:
            stood_still = int((now - self._frame_at) * self._frame_rate) + 1
            self._outgoing.advance(round(stood_still * VIDEO_CLOCK / self._frame_rate))
            self._frame_at += stood_still / self._frame_rate
        if self._sending and not self._source_finished:
            self._timers.arm("frame", self._frame_at)

    def _send_picture(self, coded: bytes, now: float) -> None:
        if not coded:
            return  # an encoder may leave a picture out to keep to its rate
        codec, first = self.negotiated.codec, not self._outgoing.packets
        if codec.name == "VP8":
            payloads = vp8.packetize(coded, self._frames_sent, PAYLOAD)
        else:
            payloads = h264.packetize(coded, PAYLOAD)
        self._frames_sent += 1
        for at, payload in enumerate(payloads):
            packet = self._outgoing.part(codec.payload_type, payload, marker=at == len(payloads) - 1)
            protected = self._keys.protect(self._bytes_of(packet))
            self._sent.keep(packet.sequence, protected)
            self._queue.append(protected)
        if self._timers.at("pace") is None:
            self._send_queued(now)
        if first:
            self.emit(MediaStarted(self._call_id, "sent", str(codec), self._early, self._media))
            self.emit(FirstMediaSent(self.name, self._early))

    def _send_queued(self, now: float) -> None:
        """A whole picture is many packets; at once they would fill some queue on the path, in front of the sound."""
        taken = 0.0
        while self._queue and taken < SLICE:
            data = self._queue.popleft()
            taken += self._pace.spent(len(data), self._rate.bit_rate, now)
            self.emit(SendMedia(self.name, data))
        if self._queue:
            self._timers.arm("pace", now + taken)

    def _send_rtcp(self, *packets: RtcpPacket) -> None:
        if self.negotiated.reports:
            ssrc = self._outgoing.ssrc
            named = SourceDescription(ssrc, self._cname or f"{ssrc:08x}")
            data = serialize_rtcp(packets[0], named, *packets[1:])
            self.emit(SendMedia(self.name, self._keys.protect_rtcp(data)))

    def _send_report(self, now: float, *, goodbye: bool = False) -> None:
        """A report on both streams (RFC 3550 §6.1)."""
        stream = self._outgoing
        blocks = (self._incoming.report(now),) if self._incoming else ()
        report: RtcpPacket = ReceiverReport(stream.ssrc, blocks)
        if stream.packets > self._sent_at_last_report:
            # The stream's timestamp is that of the next picture, which is due at `_frame_at`.
            timestamp = stream.timestamp + round((now - self._frame_at) * VIDEO_CLOCK)
            report = SenderReport(
                stream.ssrc,
                ntp_time(now + self._wall_offset),
                timestamp & 0xFFFF_FFFF,
                *stream.counts(),
                blocks,
            )
        self._sent_at_last_report = stream.packets
        if self._sending and now >= self._unheard_at:
            self._unheard_at = now + _UNHEARD
            if self._far_side.reports or now < self._began_at + 2 * _UNHEARD:
                self._rate.unheard(now)
        self._send_rtcp(report, *([Goodbye((stream.ssrc,))] if goodbye else []))

    def _arm_report(self, now: float) -> None:
        """Half to one and a half intervals from now (RFC 3550 §6.3.1)."""
        if self.negotiated.reports and self._timers.at("report") is None:
            self._timers.arm("report", now + REPORT_INTERVAL * (0.5 + self._rng.random()))

    # --- receiving ----------------------------------------------------------------------------------
    @property
    def _incoming(self) -> Incoming | None:
        return self._far_source.incoming

    def _receive_rtp(self, packet: RtpPacket, now: float) -> None:
        codec = self._codecs.get(packet.payload_type)
        if codec is None:
            raise ParseError(f"payload type {packet.payload_type} was not negotiated")
        if not packet.payload:
            self._receive_padding(packet, now)
            return
        piece = self._piece(packet)
        self._defend_our_name(packet.ssrc, now)
        first = not self._received
        for one in self._far_source.take(packet, codec.clock_rate, now):
            if one.anew:
                self._begin(one.packet, now)
            self._take(one, piece if one.packet is packet else self._piece(one.packet), now)
        if first and self._received:
            self._arm_report(now)
            self.emit(MediaStarted(self._call_id, "received", str(codec), self._early, self._media))
            self.emit(FirstMediaReceived(self.name, self._early))
            self._intervals = Intervals(self._call_id, self._media, now)
            self._timers.arm("look", self._intervals.look_at)
        self._show_what_is_ready(now)

    def _receive_padding(self, packet: RtpPacket, now: float) -> None:
        """Some probe the path with packets that carry nothing but a number; it is not missing then."""
        sequence = self._incoming.accept_soundless(packet) if self._incoming else None
        if self._incoming is not None and sequence is not None:
            self._missing.arrived(sequence, self._incoming.jitter, now)
            self._buffer.put_nothing(sequence, now)
            self._show_what_is_ready(now)

    def _take(self, placed: Placed, piece: vp8.Piece, now: float) -> None:
        assert self._incoming is not None
        packet, place = placed.packet, placed.at
        self._received += 1
        self._octets += len(packet.payload)
        self._asked_in_vain = 0
        self._missing.arrived(place.sequence, self._incoming.jitter, now)
        self._buffer.put(place.sequence, place.timestamp, packet.payload_type, piece, packet.marker, now)

    def _piece(self, packet: RtpPacket) -> vp8.Piece:
        name = self._codecs[packet.payload_type].name
        return vp8.parse(packet.payload) if name == "VP8" else h264.parse(packet.payload)

    def _begin(self, packet: RtpPacket, now: float) -> None:
        """A stream of theirs begins, or begins anew: another source, or numbers that jumped."""
        if self._received and self._far_source.changes <= MAX_TOLD:
            self.emit(Note("info", f"another source of {self._media} took over: SSRC {packet.ssrc:08x}"))
        self._drop_what_waits()
        self._base = packet.timestamp * RATE // self._codecs[packet.payload_type].clock_rate
        self._base -= self._flow.elapsed(now)
        self._ask_whole_at = now + _FIRST_PATIENCE

    def _drop_what_waits(self) -> None:
        self._buffer.restart()
        self._missing.restart()
        self._decodes = ""

    def _defend_our_name(self, ssrc: int, now: float) -> None:
        """RFC 3550 §8.2. Raises ParseError for what is not to be shown."""
        taken = self._own_name.taken(ssrc, self._outgoing.ssrc, now)
        if taken is Ours.COLLISION:
            self._send_report(now, goodbye=True)
            self._outgoing.rename(self._rng)
            self._sent.clear()  # kept under the number that is gone
            self._whole_wanted = True
        if taken is not None:
            raise ParseError(taken.value)

    def _show_what_is_ready(self, now: float) -> None:
        """Also asks for what is missing, and arms the timer for when there is something of it to do."""
        round_trip = self._far_side.round_trip
        if round_trip is not None:
            self._buffer.patience = min(max(0.4, 5 * round_trip), 1.0)
        while (picture := self._buffer.take(now)) is not None:
            self._show(picture, now)
        self._ask(now)
        instants = [self._buffer.gives_up_at(), self._missing.next_at(), self._ask_whole_at]
        waiting = [at for at in instants if at is not None]
        if waiting:
            self._timers.arm("repair", max(now, min(waiting)))
        else:
            self._timers.cancel("repair")

    def _show(self, coded: CodedPicture, now: float) -> None:
        name = self._codecs[coded.payload_type].name
        if self._decoder is None or self._decodes != name:
            self._decoder, self._decodes = VideoDecoder(name), name
        try:
            pictures = self._decoder.decode(coded.data)
        except ParseError:
            self._reject(f"not decodable as {name}")
            self._buffer.lose_ground()
            return
        for picture in pictures:
            stood = self._flow.shows(*size(picture), now)
            if stood is not None:
                self.emit(VideoFroze(self._call_id, stood.start, stood.length, stood.reason, self._media))
            self._sink.show(picture, max(0.0, (coded.timestamp - self._base) / RATE))

    def _ask(self, now: float) -> None:
        """For packets that are missing, and for a whole picture when they are no help any more."""
        assert self._incoming is not None
        ours, theirs = self._outgoing.ssrc, self._incoming.ssrc
        accepted = self.negotiated.codec.feedback
        if (first := self._buffer.wanted_from) is not None:
            self._missing.forget_before(first)
        sequences = self._missing.due(now, self._far_side.round_trip)
        if self._buffer.needs_whole:
            self._flow.waits("no whole picture")
        elif sequences:
            self._flow.waits("loss")
        if sequences and "nack" in accepted:
            self._send_rtcp(ReceiverReport(ours), GenericNack(ours, theirs, sequences))
        if not self._buffer.needs_whole:
            # Whatever comes to need one may ask at once, but not sooner after the last time.
            if self._ask_whole_at is not None and now >= self._ask_whole_at:
                self._ask_whole_at = None
            return
        if self._ask_whole_at is not None and now < self._ask_whole_at:
            return
        if self._asked_in_vain >= _IN_VAIN:
            self._ask_whole_at = None
            return
        self._ask_whole_at = now + max(WHOLE_INTERVAL, 1.5 * (self._far_side.round_trip or 0.0))
        if "nack pli" in accepted:
            self._send_rtcp(ReceiverReport(ours), PictureLoss(ours, theirs))
        elif "ccm fir" in accepted:
            self._send_rtcp(ReceiverReport(ours), FullIntraRequest(ours, ((theirs, self._commands & 0xFF),)))
            self._commands += 1
        else:
            return
        self._asked_whole += 1
        self._asked_in_vain += 1

    def _receive_rtcp(self, packets: tuple[RtcpPacket, ...], now: float) -> None:
        ours = self._outgoing.ssrc
        for packet in packets:
            match packet:
                case SenderReport() | ReceiverReport():
                    self._receive_report(packet, now)
                case GenericNack(media=media, sequences=sequences) if media == ours:
                    for data in self._sent.again(sequences, now, self._far_side.round_trip):
                        self._pace.spent(len(data), self._rate.bit_rate, now)
                        self.emit(SendMedia(self.name, data))
                case PictureLoss(media=media) if media == ours:
                    self._whole_wanted = True
                case FullIntraRequest(entries=entries):
                    # The same number is the same command, said again (RFC 5104 §4.3.1.2).
                    for source, command in entries:
                        if source == ours and command != self._last_command:
                            self._last_command, self._whole_wanted = command, True
                case EstimatedBitRate(sources=sources, bit_rate=bit_rate) if ours in sources:
                    self._rate.estimated(bit_rate)

    def _receive_report(self, packet: SenderReport | ReceiverReport, now: float) -> None:
        if isinstance(packet, SenderReport) and self._incoming and packet.ssrc == self._incoming.ssrc:
            self._incoming.heard_report(packet, now)
        for block in packet.reports:
            if block.ssrc == self._outgoing.ssrc:
                clock_rate = self.negotiated.codec.clock_rate
                wall, clock_age = now + self._wall_offset, now - self._clock_set_at
                self._expect_reports(now)
                measured = self._far_side.round_trips
                self._far_side.report(block, clock_rate, wall, clock_age)
                # What was sent again in time is not lost any more, but the path did lose it.
                lost = max(block.fraction_lost / 256, self._sent.share_resent())
                fresh = self._far_side.round_trips > measured
                round_trip = self._far_side.round_trip if fresh else None
                self._rate.reported(lost, round_trip, self._used(now), now)
        if isinstance(packet, SenderReport) and self._incoming and packet.ssrc == self._incoming.ssrc:
            self._one_way.heard(packet.ntp, now + self._wall_offset, self._far_side.round_trip)

    def _expect_reports(self, now: float) -> None:
        """One came; when the silence after it will be too long. Some send them every five seconds."""
        if self._far_side.reports:
            self._longest_wait = max(0.9 * self._longest_wait, now - self._heard_at)
        self._heard_at = now
        self._unheard_at = now + max(_UNHEARD, 1.5 * self._longest_wait)

    def _used(self, now: float) -> int:
        """Bit/s that were sent since the last report."""
        octets, since = self._used_before
        self._used_before = self._outgoing.octets, now
        return int((self._outgoing.octets - octets) * 8 / max(now - since, 0.1))

    # --- how it was ---------------------------------------------------------------------------------
    def _look(self, now: float) -> None:
        assert self._intervals is not None
        flow, far = self._flow, self._far_side
        counts = Counts(
            self._received, self._octets, self._buffer.lost, 0, 0, flow.shown, flow.freezes, flow.frozen
        )
        jitter = self._incoming.jitter if self._incoming else 0.0
        link = Link(jitter, far.round_trip, self._one_way, far.fraction_lost)
        record = self._intervals.pictures(counts, link, now)
        if record is not None and self.negotiated.hears:
            self.emit(record)
        self._timers.arm("look", self._intervals.look_at)
