"""Video sessions in pairs, over a path that loses, delays, repeats, reorders and damages, in virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.machine import ClockSet, drain
from iceway.lab.crossing import Crossing
from iceway.lab.topology import Link
from iceway.media import pattern
from iceway.media.description import Negotiated
from iceway.media.formats import VIDEO_CODECS
from iceway.media.pattern import PatternSource
from iceway.media.picture import Picture
from iceway.media.pictures import MemoryPictures, MemorySink, PictureSource
from iceway.media.session import FirstMediaReceived, FirstMediaSent, SendMedia, SourceFinished
from iceway.media.srtp import SrtpKey, SrtpReceiver, SrtpSender
from iceway.media.video import VideoSession
from iceway.trace.records import MediaQuality, MediaRejected, MediaStarted, MediaSummary, Note, VideoFroze
from iceway.wire.rtcp_feedback import EstimatedBitRate, FullIntraRequest, GenericNack, PictureLoss
from iceway.wire.rtp import (
    Goodbye,
    ReceiverReport,
    RtcpPacket,
    RtpPacket,
    SenderReport,
    is_rtcp,
    parse_rtcp,
    parse_rtp,
    serialize_rtcp,
    serialize_rtp,
)

RATE = 15.0


def terms(
    codec: str = "VP8", clear: bool = False, direction: str = "sendrecv"
) -> tuple[Negotiated, Negotiated]:
    """What both sides would have negotiated, under keys of their own."""
    rng = random.Random(5)
    one, other = (None, None) if clear else (SrtpKey.draw(rng), SrtpKey.draw(rng))
    known = VIDEO_CODECS[codec]
    ours = Negotiated(known, (known,), one, other, None, Address("198.51.100.7", 7000), direction)
    return ours, replace(ours, send_key=other, recv_key=one, direction="sendrecv")


class Path:
    """What the network does to a datagram: gives the delays at which its copies arrive (none: lost)."""

    def __init__(self, seed: int = 0, loss: float = 0.0, jitter: float = 0.0, repeat: float = 0.0) -> None:
        self._rng = random.Random(seed)
        self._loss, self._jitter, self._repeat = loss, jitter, repeat

    def __call__(self, data: bytes, now: float) -> list[tuple[float, bytes]]:
        copies = 2 if self._rng.random() < self._repeat else 1
        return [
            (0.04 + self._rng.uniform(0, self._jitter), data)
            for _ in range(copies)
            if self._rng.random() >= self._loss
        ]


class Grainy:
    """The pattern as a camera would see it: with noise that costs bits, so that a picture is several packets."""

    def __init__(self, source: PatternSource, strength: int = 12) -> None:
        self._source = source
        self._rng = np.random.default_rng(1)
        self._strength = strength

    def read(self) -> Picture | None:
        picture = self._source.read()
        if picture is None:
            return None
        noise = self._rng.integers(-self._strength, self._strength + 1, picture.shape)
        return np.clip(picture + noise, 0, 255).astype(np.uint8)


class Call:
    """Alice and Bob, driven until an instant; Bob watches what Alice shows. What each said is kept with its time."""

    def __init__(
        self,
        codec: str = "VP8",
        *,
        source: PictureSource | None = None,
        path: Callable[[bytes, float], list[tuple[float, bytes]]] | None = None,
        agreed: tuple[Negotiated, Negotiated] | None = None,
        budget: int = 400_000,
    ) -> None:
        ours, theirs = agreed or terms(codec)
        self.sink = MemorySink()
        self.alice = VideoSession(
            "alice",
            ours,
            source or PatternSource(),
            MemorySink(),
            random.Random(3),
            "c1",
            frame_rate=RATE,
            budget=budget,
        )
        self.bob = VideoSession(
            "bob", theirs, MemoryPictures(()), self.sink, random.Random(4), "c1", frame_rate=RATE
        )
        self.said: dict[str, list[tuple[float, object]]] = {"alice": [], "bob": []}
        self.sent: dict[str, list[tuple[float, bytes]]] = {"alice": [], "bob": []}
        self.now = 0.0
        self.path = path or Path()
        self._flying: list[tuple[float, int, VideoSession, bytes]] = []
        self._count = 0
        self.alice.start_sending(0.0)

    def until(self, end: float) -> Call:
        while True:
            self._drain()
            instants = [at for at in (self.alice.poll_timeout(), self.bob.poll_timeout()) if at is not None]
            if self._flying:
                instants.append(self._flying[0][0])
            if not instants or min(instants) > end:
                self.now = end
                return self
            self.now = max(self.now, min(instants))
            if self._flying and self._flying[0][0] <= self.now:
                _, _, receiver, data = heapq.heappop(self._flying)
                receiver.receive(data, self.now)
            else:
                self.alice.handle_timeout(self.now)
                self.bob.handle_timeout(self.now)

    def numbers(self) -> list[int]:
        """Of the pictures that Bob saw, all of them readable and upright."""
        read = [pattern.read(picture) for _, picture in self.sink.seen]
        assert all(found is not None and found.lies == "upright" for found in read)
        return [found.number for found in read if found is not None]

    def outputs(self, who: str, kind: type) -> list[object]:
        return [output for _, output in self.said[who] if isinstance(output, kind)]

    def rtcp(self, who: str, kind: type) -> list[tuple[float, RtcpPacket]]:
        """What a side sent of one kind of RTCP, opened with a receiver that hears everything."""
        session = self.alice if who == "alice" else self.bob
        key = session.negotiated.send_key
        receiver = SrtpReceiver(key) if key else None
        found = []
        for at, data in self.sent[who]:
            if is_rtcp(data):
                packets = parse_rtcp(receiver.unprotect_rtcp(data) if receiver else data)
                found += [(at, packet) for packet in packets if isinstance(packet, kind)]
        return found

    def _drain(self) -> None:
        for session, other in ((self.alice, self.bob), (self.bob, self.alice)):
            for output in drain(session):
                self.said[session.name].append((self.now, output))
                if isinstance(output, SendMedia):
                    self.sent[session.name].append((self.now, output.data))
                    for delay, data in self.path(output.data, self.now):
                        self._count += 1
                        heapq.heappush(self._flying, (self.now + delay, self._count, other, data))


def ascending(numbers: list[int]) -> bool:
    return all(one < other for one, other in pairwise(numbers))


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_every_picture_arrives_over_a_good_path(codec: str) -> None:
    call = Call(codec).until(4.0)
    assert call.numbers() == list(range(60))
    stats = call.bob.stats(call.now)
    assert (stats.width, stats.height, stats.frames_shown, stats.freezes) == (320, 180, 60, 0)
    assert stats.frame_rate == pytest.approx(RATE, abs=1)
    assert (stats.packets_lost, stats.packets_requested, stats.whole_requested) == (0, 0, 0)
    assert call.alice.stats(call.now).whole_sent == 1
    # Shown when the sender says: at equal distances.
    times = [at for at, _ in call.sink.seen]
    assert np.diff(times) == pytest.approx(1 / RATE, abs=0.001)
    assert call.alice.stats(call.now).round_trip == pytest.approx(0.08, abs=0.001)
    assert call.outputs("alice", FirstMediaSent) == [FirstMediaSent("alice", True)]
    assert call.outputs("bob", FirstMediaReceived) == [FirstMediaReceived("bob", True)]
    assert call.outputs("bob", MediaStarted) == [
        MediaStarted("c1", "received", f"{codec}/90000", True, "video")
    ]


@pytest.mark.parametrize("codec", ["VP8", "H264"])
@pytest.mark.parametrize("seed", [1, 2])
def test_five_percent_lost_and_fifty_milliseconds_of_jitter(codec: str, seed: int) -> None:
    call = Call(codec, source=Grainy(PatternSource()), path=Path(seed, loss=0.05, jitter=0.05)).until(20.0)
    numbers = call.numbers()
    stats = call.bob.stats(call.now)
    assert ascending(numbers)
    sent = call.alice.stats(call.now).frames_sent
    assert len(numbers) >= 0.95 * (sent - 3)  # the last ones are on their way
    assert sent >= 0.9 * 300  # where it must be slow, pictures are left out
    assert stats.packets_recovered >= 0.8 * stats.packets_requested > 10
    froze = [record.length for record in call.outputs("bob", VideoFroze) if isinstance(record, VideoFroze)]
    assert len(froze) == stats.freezes
    assert max(froze) < 0.5
    assert stats.frozen < 6.0  # what is sent again comes more than two pictures late; nothing hides that


class Links:
    """A link of the lab each way."""

    def __init__(self, link: Link, seed: int = 1) -> None:
        self._crossing = Crossing(link, random.Random(seed))

    def __call__(self, data: bytes, now: float) -> list[tuple[float, bytes]]:
        sender = data[4:8] if is_rtcp(data) else data[8:12]  # each has a queue of its own
        fate = self._crossing.cross(len(data) + 28, sender.hex(), "other", now)
        return [] if isinstance(fate, str) else [(at - now, data) for at in fate]


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_over_the_labs_link_that_loses_and_delays(codec: str) -> None:
    link = Link(delay=0.03, jitter=0.05, loss=0.05)
    call = Call(codec, source=Grainy(PatternSource()), path=Links(link)).until(10.0)
    assert ascending(call.numbers())
    assert len(call.numbers()) >= 0.95 * (150 - 3)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_narrow_link_is_not_flooded(codec: str) -> None:
    """It carries 200 kbit/s where 800 would be allowed: the rate stays about there, and most pictures come."""
    link = Link(delay=0.03, rate=200_000)
    call = Call(codec, source=Grainy(PatternSource()), path=Links(link), budget=800_000)
    rates = [call.until(float(second)).alice.stats(call.now).bit_rate for second in range(1, 16)]
    assert max(rates) < 260_000
    assert ascending(call.numbers())
    assert len(call.numbers()) >= 0.9 * 225


def test_what_is_asked_for_is_sent_again_as_it_was() -> None:
    lost: list[bytes] = []

    def path(data: bytes, now: float) -> list[tuple[float, bytes]]:
        if 0.97 < now < 1.03 and not is_rtcp(data):
            lost.append(data)
            return []
        return [(0.04, data)]

    call = Call(path=path).until(3.0)
    assert call.numbers() == list(range(45))
    ((asked_at, nack),) = call.rtcp("bob", GenericNack)
    assert isinstance(nack, GenericNack)
    assert len(nack.sequences) == len(lost) == 1
    assert [data for _, data in call.sent["alice"]].count(lost[0]) == 2
    assert asked_at == pytest.approx(1.0 + 1 / RATE + 0.04 + 0.015, abs=0.005)
    assert call.rtcp("bob", PictureLoss) == []


def between(start: float, end: float) -> Callable[[bytes, float], list[tuple[float, bytes]]]:
    """A path that carries nothing of Alice's media or of requests during this time."""
    return lambda data, now: [] if start <= now < end else [(0.04, data)]


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_after_a_burst_of_losses_a_whole_picture_is_asked_for(codec: str) -> None:
    agreed = terms(codec)
    without_nack = replace(agreed[1].codec, feedback=("nack pli",))
    call = Call(path=between(1.0, 1.5), agreed=(agreed[0], replace(agreed[1], codec=without_nack))).until(4.0)
    asked = [at for at, _ in call.rtcp("bob", PictureLoss)]
    assert len(asked) == 1
    assert asked[0] == pytest.approx(1.5 + 0.04 + 0.5, abs=0.1)  # once patience is at its end
    assert call.alice.stats(call.now).whole_sent == 2
    numbers = call.numbers()
    assert ascending(numbers)
    assert numbers[-1] >= 58
    assert set(range(33, 59)) <= set(numbers)
    assert call.bob.stats(call.now).freezes == 1


def test_a_standstill_is_told_with_its_length_and_why() -> None:
    agreed = terms()
    without_nack = replace(agreed[1].codec, feedback=("nack pli",))
    call = Call(path=between(1.0, 1.5), agreed=(agreed[0], replace(agreed[1], codec=without_nack))).until(4.0)
    (froze,) = call.outputs("bob", VideoFroze)
    assert isinstance(froze, VideoFroze)
    assert (froze.call_id, froze.media, froze.reason) == ("c1", "video", "no whole picture")
    assert froze.start == pytest.approx(15 / RATE, abs=0.01)
    at = next(at for at, output in call.said["bob"] if output is froze)
    assert froze.length == pytest.approx(at - 0.04 - froze.start, abs=0.01)
    stats = call.bob.stats(call.now)
    assert stats.frozen == pytest.approx(froze.length, abs=0.1)


def test_standstills_while_packets_are_sent_again_are_told_apart() -> None:
    call = Call(path=between(1.0, 1.4)).until(4.0)
    (froze,) = call.outputs("bob", VideoFroze)
    assert isinstance(froze, VideoFroze)
    assert froze.reason == "loss"
    paused = Call().until(1.0)
    paused.alice.stop_sending(1.0)
    paused.until(2.0).alice.start_sending(2.0)
    (froze,) = paused.until(3.0).outputs("bob", VideoFroze)
    assert isinstance(froze, VideoFroze)
    assert froze.reason == "nothing came"


def test_how_pictures_fared_is_told_every_few_seconds() -> None:
    call = Call(path=Path(2, loss=0.02))
    call.bob = VideoSession("bob", terms()[1], PatternSource(), call.sink, random.Random(4), "c1")
    call.bob.start_sending(0.0)
    one, other = call.until(10.05).outputs("bob", MediaQuality)
    assert isinstance(one, MediaQuality)
    assert isinstance(other, MediaQuality)
    assert (other.media, other.span) == ("video", pytest.approx(5.0))
    assert other.frame_rate == pytest.approx(RATE, abs=1)
    assert other.one_way == pytest.approx(0.04, abs=1e-3)
    assert other.bit_rate > 5_000
    stats = call.bob.stats(call.now)
    assert one.freezes + other.freezes == stats.freezes
    assert (stats.one_way, stats.clocks_agree) == (other.one_way, True)


def test_after_a_burst_what_was_missed_is_sent_again_where_that_is_understood() -> None:
    call = Call(path=between(1.0, 1.4)).until(4.0)
    assert call.rtcp("bob", PictureLoss) == []
    assert call.numbers()[:58] == list(range(58))


def test_where_only_fir_was_agreed_it_is_asked_by_fir() -> None:
    agreed = terms()
    only_fir = replace(agreed[1].codec, feedback=("ccm fir",))
    call = Call(path=between(1.0, 1.5), agreed=(agreed[0], replace(agreed[1], codec=only_fir))).until(4.0)
    assert call.numbers()[-1] >= 58
    ((_, command),) = call.rtcp("bob", FullIntraRequest)
    assert isinstance(command, FullIntraRequest)
    assert command.entries == ((parse_rtp(opened(call)).ssrc, 0),)


def opened(call: Call) -> bytes:
    key = call.alice.negotiated.send_key
    first = next(data for _, data in call.sent["alice"] if not is_rtcp(data))
    return SrtpReceiver(key).unprotect(first) if key else first


def test_nothing_is_asked_of_who_agreed_to_nothing() -> None:
    agreed = terms("H264")  # libvpx would begin anew, and whole, for its rate alone
    silent = replace(agreed[1].codec, feedback=())
    call = Call(path=between(1.0, 1.5), agreed=(agreed[0], replace(agreed[1], codec=silent))).until(3.0)
    assert (
        not call.rtcp("bob", PictureLoss) + call.rtcp("bob", GenericNack) + call.rtcp("bob", FullIntraRequest)
    )
    assert call.numbers() == list(range(16))


def test_who_joins_late_asks_for_a_whole_picture() -> None:
    call = Call(path=between(0.0, 1.0)).until(3.0)
    assert len(call.rtcp("bob", PictureLoss)) == 1
    assert call.numbers()[0] in (17, 18, 19)
    assert ascending(call.numbers())


def asks(*packets: RtcpPacket) -> bytes:
    return serialize_rtcp(ReceiverReport(9), *packets)


def test_requests_for_whole_pictures_are_bounded() -> None:
    call = Call(agreed=terms(clear=True)).until(0.1)
    ours = parse_rtp(opened(call)).ssrc
    for step in range(1, 200):
        call.until(0.1 + step * 0.02)
        call.alice.receive(asks(PictureLoss(9, ours), FullIntraRequest(9, ((ours, step & 0xFF),))), call.now)
    assert 5 <= call.alice.stats(call.now).whole_sent <= 9  # twice a second at the most


def test_a_command_said_again_is_the_same_command() -> None:
    call = Call(agreed=terms(clear=True)).until(1.0)
    ours = parse_rtp(opened(call)).ssrc
    for at in (1.1, 2.1, 3.1):
        call.until(at).alice.receive(asks(FullIntraRequest(9, ((ours, 7),)), PictureLoss(9, ours ^ 1)), at)
    assert call.until(4.0).alice.stats(4.0).whole_sent == 2


def test_nobody_makes_us_send_more_again_than_we_sent() -> None:
    call = Call(agreed=terms(clear=True)).until(2.0)
    first = parse_rtp(opened(call))
    everything = tuple((first.sequence + step) & 0xFFFF for step in range(300))
    sent = sum(len(data) for _, data in call.sent["alice"])
    before = len(call.sent["alice"])
    for step in range(100):
        call.until(2.0 + step * 0.0005).alice.receive(asks(GenericNack(9, first.ssrc, everything)), call.now)
    again = call.until(2.06).sent["alice"][before:]
    assert 0 < sum(len(data) for _, data in again) <= sent


def test_a_new_path_begins_with_a_whole_picture() -> None:
    call = Call().until(2.0)
    call.alice.path_changed(call.now)
    assert call.until(3.0).alice.stats(3.0).whole_sent == 2
    assert call.numbers() == list(range(45))


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_lower_budget_is_kept(codec: str) -> None:
    call = Call(codec, source=Grainy(PatternSource()), budget=500_000).until(4.0)
    call.alice.set_budget(100_000, call.now)
    call.until(6.0)
    settled = len(call.sent["alice"])
    call.until(12.0)
    spent = sum(len(data) for _, data in call.sent["alice"][settled:]) * 8 / 6.0
    assert spent < 140_000
    assert call.alice.stats(call.now).bit_rate == 100_000
    assert ascending(call.numbers())
    assert len(call.numbers()) >= 170


@pytest.mark.parametrize("seed", [3, 4, 6, 8])
def test_losses_lower_the_rate_and_a_clear_path_lets_it_grow(seed: int) -> None:
    """A report that says 30 % takes 15 %. Of the eight in this time some are lost themselves; four tell enough."""
    call = Call(source=Grainy(PatternSource()), path=Path(seed), budget=800_000).until(8.0)
    grown = call.alice.stats(call.now).bit_rate
    assert grown > 3 * 80_000
    call.path = Path(seed, loss=0.3)
    assert call.until(16.0).alice.stats(call.now).bit_rate < 0.8 * grown


def test_the_other_side_may_say_how_much_the_path_carries() -> None:
    call = Call(agreed=terms(clear=True)).until(1.0)
    ours = parse_rtp(opened(call)).ssrc
    call.alice.receive(asks(EstimatedBitRate(9, 40_000, (ours,))), call.now)
    assert call.alice.stats(call.now).bit_rate == 40_000


def test_a_whole_picture_does_not_leave_in_one_burst() -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(16, 235, (540, 640)).astype(np.uint8)]
    call = Call(source=MemoryPictures(noise, loop=True), budget=2_000_000).until(0.3)
    times = [at for at, data in call.sent["alice"] if not is_rtcp(data)]
    sizes = [len(data) for _, data in call.sent["alice"] if not is_rtcp(data)]
    assert len(times) > 2
    rate = call.alice.stats(call.now).bit_rate
    for (at, size), (after, _) in pairwise(zip(times, sizes, strict=True)):
        assert after - at >= size * 8 / (2.5 * rate) - 1e-6 or after == at
    assert max(times.count(at) for at in times) <= 1 + 0.005 * 2.5 * rate / 8 / min(sizes)


@pytest.mark.parametrize("wrapping", ["sequence", "timestamp"])
def test_numbers_go_round(wrapping: str) -> None:
    """The stream is renumbered on its way so that it wraps; nobody sees it in the pictures."""
    first: list[RtpPacket] = []

    def path(data: bytes, now: float) -> list[tuple[float, bytes]]:
        if is_rtcp(data):
            return [(0.04, data)]
        packet = parse_rtp(data)
        first.append(packet)
        if wrapping == "sequence":
            packet = replace(packet, sequence=(packet.sequence - first[0].sequence + 65_526) & 0xFFFF)
        else:
            packet = replace(packet, timestamp=(packet.timestamp - first[0].timestamp - 90_000) & 0xFFFF_FFFF)
        return [(0.04, serialize_rtp(packet))]

    call = Call(path=path, agreed=terms(clear=True)).until(4.0)
    assert call.numbers() == list(range(60))
    assert np.diff([at for at, _ in call.sink.seen]) == pytest.approx(1 / RATE, abs=0.001)


def test_another_source_takes_over() -> None:
    call = Call(agreed=terms(clear=True)).until(2.0)
    call.alice.stop_sending(call.now)
    successor = VideoSession(
        "alice",
        call.alice.negotiated,
        PatternSource(first=1000),
        MemorySink(),
        random.Random(77),
        frame_rate=RATE,
    )
    call.alice = successor
    successor.start_sending(call.now)
    numbers = call.until(4.0).numbers()
    assert numbers[:30] == list(range(30))
    assert numbers[-20:] == list(range(numbers[-1] - 19, numbers[-1] + 1))
    assert numbers[-1] >= 1028
    times = [at for at, _ in call.sink.seen]
    assert max(np.diff(times)) < 0.3


def test_held_and_resumed_begins_whole() -> None:
    call = Call().until(2.0)
    call.alice.renegotiate(replace(call.alice.negotiated, direction="inactive"), call.now)
    shown = len(call.until(3.0).numbers())
    assert shown <= 31
    call.alice.renegotiate(replace(call.alice.negotiated, direction="sendrecv"), call.now)
    call.until(4.0)
    assert call.alice.stats(call.now).whole_sent == 2
    assert len(call.numbers()) >= shown + 13
    assert call.bob.stats(call.now).freezes == 1


def test_another_codec_in_the_middle() -> None:
    agreed = terms()
    both = tuple(VIDEO_CODECS.values())
    call = Call(agreed=(agreed[0], replace(agreed[1], receives=both))).until(2.0)
    call.alice.renegotiate(replace(call.alice.negotiated, codec=VIDEO_CODECS["H264"]), call.now)
    assert call.until(4.0).numbers()[-1] >= 58
    assert ascending(call.numbers())


def test_a_source_that_ends_is_said_once() -> None:
    call = Call(source=PatternSource(count=10)).until(3.0)
    assert call.numbers() == list(range(10))
    assert call.outputs("alice", SourceFinished) == [SourceFinished("alice")]


class FullDisk:
    def __init__(self) -> None:
        self.closed = False

    def show(self, picture: Picture, at: float) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.closed = True


def test_a_disk_that_is_full_ends_the_recording_and_not_the_call() -> None:
    call = Call()
    disk = FullDisk()
    call.bob = VideoSession("bob", terms()[1], MemoryPictures(()), disk, random.Random(4), "c1")
    call.until(2.0)
    assert call.outputs("bob", Note) == [
        Note("warning", "what is seen is not recorded from here on: No space left on device")
    ]
    assert disk.closed
    assert call.bob.stats(call.now).frames_shown > 25


def test_the_last_word() -> None:
    call = Call(path=Path(1, loss=0.1)).until(3.0)
    call.alice.close(call.now)
    call.until(3.2)
    (summary,) = call.outputs("alice", MediaSummary)
    assert isinstance(summary, MediaSummary)
    assert (summary.codec, summary.media) == ("VP8/90000", "video")
    assert summary.packets_sent > 40
    assert call.alice.poll_timeout() is None
    assert len(call.rtcp("alice", Goodbye)) == 1
    before = len(call.said["alice"])
    call.alice.close(call.now)
    call.alice.start_sending(call.now)
    call.alice.receive(call.sent["bob"][-1][1], call.now)
    assert len(call.until(4.0).said["alice"]) == before


def test_reports_say_when_a_picture_was_taken() -> None:
    call = Call()
    for session in (call.alice, call.bob):
        session.handle_input(ClockSet(1_000_000.0), 0.0)
    call.until(5.0)
    (at, one), (later, other), *_ = call.rtcp("alice", SenderReport)
    assert isinstance(one, SenderReport)
    assert isinstance(other, SenderReport)
    assert (other.ntp - one.ntp) / 2**32 == pytest.approx(later - at, abs=1e-4)
    ticks = (other.rtp_timestamp - one.rtp_timestamp) & 0xFFFF_FFFF
    assert ticks / 90_000 == pytest.approx(later - at, abs=1e-3)


def test_a_clock_that_stood_still_goes_on_without_catching_up() -> None:
    call = Call().until(1.0)
    call.now = 11.0
    call.until(12.0)
    sent = [at for at, data in call.sent["alice"] if not is_rtcp(data) and at >= 11.0]
    assert len(sent) <= 17
    assert call.sink.seen[-1][0] == pytest.approx(12.0, abs=0.3)


def test_packets_under_another_key_are_counted_and_named_once() -> None:
    call = Call().until(1.0)
    stranger = SrtpSender(SrtpKey.draw(random.Random(66)))
    for sequence in range(5):
        data = stranger.protect(serialize_rtp(RtpPacket(96, sequence, 0, 7, b"\x90\x80\x80\x01picture")))
        call.bob.receive(data, call.now)
    (rejected,) = call.until(2.0).outputs("bob", MediaRejected)
    assert isinstance(rejected, MediaRejected)
    assert "another key" in rejected.reason
    assert rejected.media == "video"
    assert call.bob.stats(call.now).packets_rejected == 5
    assert call.numbers()[-1] >= 28


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_damaged_payloads_end_nothing(codec: str) -> None:
    """In clear, where nothing keeps damage out: it costs pictures, and the stream goes on."""
    rng = random.Random(9)

    def path(data: bytes, now: float) -> list[tuple[float, bytes]]:
        if now < 3.0 and not is_rtcp(data) and rng.random() < 0.2:
            at = rng.randrange(12, len(data))
            data = data[:at] + rng.randbytes(min(8, len(data) - at)) + data[at + 8 :]
        return [(0.04, data)]

    call = Call(codec, path=path, agreed=terms(codec, clear=True)).until(6.0)
    read = [pattern.read(picture) for _, picture in call.sink.seen]
    last = [found.number for found in read[-20:] if found is not None]
    assert last == list(range(last[0], last[0] + 20))
    assert last[-1] >= 88


_SESSIONS = {"VP8": terms("VP8", clear=True), "H264": terms("H264", clear=True)}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["VP8", "H264"]),
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.builds(
                lambda kind, sequence, timestamp, ssrc, payload, marker: serialize_rtp(
                    RtpPacket(kind, sequence, timestamp, ssrc, payload, marker)
                ),
                st.sampled_from([96, 97]),
                st.integers(0, 65535),
                st.integers(0, 2**32 - 1),
                st.integers(0, 3),
                st.binary(max_size=40),
                st.booleans(),
            ),
            st.builds(
                lambda kind, form, body: bytes([0x80 | form, kind]) + (len(body) // 4).to_bytes(2) + body,
                st.sampled_from([200, 201, 205, 206]),
                st.integers(0, 31),
                st.binary(max_size=40).map(lambda data: data[: len(data) // 4 * 4]),
            ),
        ),
        max_size=20,
    ),
)
def test_nothing_that_arrives_crashes_a_session(codec: str, datagrams: list[bytes]) -> None:
    session = VideoSession(
        "s", _SESSIONS[codec][0], PatternSource(32, 32), MemorySink(), random.Random(1), frame_rate=10
    )
    session.start_sending(0.0)
    for at, data in enumerate(datagrams):
        now = at * 0.05
        session.receive(data, now)
        session.handle_timeout(now)
        drain(session)
    for _ in range(50):
        instant = session.poll_timeout()
        assert instant is not None
        session.handle_timeout(instant)
    session.close(99.0)
