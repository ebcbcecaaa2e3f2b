"""Audio sessions in pairs, over a path that loses, delays, repeats, reorders and damages, in virtual time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.machine import ClockSet, drain
from iceway.media.description import AudioNegotiation, Negotiated
from iceway.media.files import FileSource, MemorySink, SilenceSource, Source, ToneSource
from iceway.media.heard import Heard, compare
from iceway.media.session import (
    AudioSession,
    FirstMediaReceived,
    FirstMediaSent,
    SendMedia,
    SourceFinished,
)
from iceway.media.sound import FRAME, RATE, Samples
from iceway.media.speech import speech
from iceway.media.srtp import SrtpKey, SrtpReceiver, SrtpSender
from iceway.trace.records import MediaQuality, MediaRejected, MediaStarted, MediaSummary, Note, Record
from iceway.wire.rtp import (
    Goodbye,
    ReceiverReport,
    RtpPacket,
    SenderReport,
    SourceDescription,
    is_rtcp,
    parse_rtcp,
    parse_rtp,
    serialize_rtp,
)

HERE, THERE = Address("192.0.2.1", 5000), Address("198.51.100.7", 7000)


def negotiated(
    *codecs: str, direction: str = "sendrecv", clear: bool = False
) -> tuple[Negotiated, Negotiated]:
    one = AudioNegotiation(random.Random(1), codecs or ("opus",), allow_clear=clear)
    other = AudioNegotiation(random.Random(2), codecs or ("opus",), allow_clear=clear)
    offer = one.offer(None, HERE, direction)
    other.receive_offer(offer)
    ours = one.receive_answer(other.answer(None, THERE))
    assert other.negotiated is not None
    return ours, other.negotiated


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


class Call:
    """Alice and Bob, driven until an instant. What each said is kept with its time."""

    def __init__(
        self,
        *codecs: str,
        alice: Source | None = None,
        bob: Source | None = None,
        path: Callable[[bytes, float], list[tuple[float, bytes]]] | None = None,
        terms: tuple[Negotiated, Negotiated] | None = None,
    ) -> None:
        ours, theirs = terms or negotiated(*codecs)
        self.sinks = {"alice": MemorySink(), "bob": MemorySink()}
        self.alice = AudioSession(
            "alice",
            ours,
            alice or FileSource(speech("alice")),
            self.sinks["alice"],
            random.Random(3),
            "c1",
            cname="a@a.test",
        )
        self.bob = AudioSession(
            "bob", theirs, bob or FileSource(speech("bob")), self.sinks["bob"], random.Random(4), "c1"
        )
        self.said: dict[str, list[tuple[float, object]]] = {"alice": [], "bob": []}
        self.sent: dict[str, list[tuple[float, bytes]]] = {"alice": [], "bob": []}
        self.now = 0.0
        self._path = path or Path()
        self._flying: list[tuple[float, int, AudioSession, bytes]] = []
        self._count = 0

    def both_talk(self) -> Call:
        self.alice.start_sending(self.now)
        self.bob.start_sending(self.now)
        return self

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

    def heard(self, by: str, said: str) -> Heard:
        return compare(speech(said), self.sinks[by].samples)

    def outputs(self, who: str, kind: type) -> list[object]:
        return [output for _, output in self.said[who] if isinstance(output, kind)]

    def _drain(self) -> None:
        for session, other in ((self.alice, self.bob), (self.bob, self.alice)):
            for output in drain(session):
                if isinstance(output, SendMedia):
                    self.sent[session.name].append((self.now, output.data))
                    for delay, data in self._path(output.data, self.now):
                        self._count += 1
                        heapq.heappush(self._flying, (self.now + delay, self._count, other, data))
                else:
                    self.said[session.name].append((self.now, output))


@pytest.mark.parametrize("codec", ["opus", "G722", "PCMU", "PCMA"])
def test_two_people_hear_each_other(codec: str) -> None:
    call = Call(codec).both_talk().until(5.0)
    for by, said in (("bob", "alice"), ("alice", "bob")):
        heard = call.heard(by, said)
        assert heard.share > 0.97, heard
        assert heard.correlation > 0.9, heard
        assert abs(heard.delay) < 0.02, "played from the first packet on"
    stats = call.bob.stats()
    assert (stats.packets_lost, stats.packets_late, stats.packets_rejected) == (0, 0, 0)
    assert stats.packets_received == pytest.approx(248, abs=1)
    assert stats.jitter < 1e-6
    assert stats.buffered == pytest.approx(0.04, abs=0.021)


def looks(call: Call, who: str) -> list[MediaQuality]:
    return [record for record in call.outputs(who, MediaQuality) if isinstance(record, MediaQuality)]


def test_a_clean_call_is_rated_as_one_and_its_delays_are_told() -> None:
    call = Call("PCMU").both_talk().until(16.0)
    told = looks(call, "bob")
    assert [record.span for record in told] == pytest.approx([5.0, 5.0, 5.0])
    last = told[-1]
    assert (last.media, last.loss, last.concealed) == ("audio", 0.0, 0.0)
    assert last.bit_rate == pytest.approx(64_000, rel=0.01)
    assert last.round_trip == pytest.approx(0.08, abs=1e-3)
    assert last.one_way == pytest.approx(0.04, abs=1e-3)
    assert last.clocks_agree
    # A frame's own time, the way, and the 40 ms after which the first frame was played.
    assert last.mouth_to_ear == pytest.approx(0.02 + 0.04 + 0.04, abs=0.012)
    assert last.mos == pytest.approx(4.35, abs=0.02)
    stats = call.bob.stats()
    assert (stats.mos, stats.one_way, stats.clocks_agree) == (last.mos, last.one_way, True)
    assert stats.samples_played == pytest.approx((16.0 - 0.08) * RATE, abs=FRAME)
    assert stats.samples_concealed == 0
    assert stats.reports >= 3


@pytest.mark.parametrize("ahead", [-40.0, 300.0])
def test_clocks_that_differ_are_said_to(ahead: float) -> None:
    call = Call().both_talk()
    call.alice.handle_input(ClockSet(1_800_000_000.0 + ahead), 0.0)
    call.bob.handle_input(ClockSet(1_800_000_000.0), 0.0)
    stats = call.until(11.0).bob.stats()
    assert stats.clocks_agree is False
    assert stats.one_way == pytest.approx(0.04, abs=1e-3)


def test_losses_show_in_rating_and_concealment() -> None:
    call = Call(path=Path(1, loss=0.1)).both_talk().until(11.0)
    clean = looks(Call().both_talk().until(6.0), "bob")[0]
    for record in looks(call, "bob"):
        assert 0.03 < record.loss < 0.2
        assert record.concealed == pytest.approx(record.loss, abs=0.02)
        assert record.mos is not None
        assert clean.mos is not None
        assert record.mos < clean.mos - 0.4
    stats = call.bob.stats()
    assert stats.samples_concealed / stats.samples_played == pytest.approx(0.1, abs=0.04)


def test_packets_that_come_too_late_are_counted_as_such() -> None:
    """Every ninth is held back for longer than the jitter buffer waits."""
    count = itertools.count()

    def path(data: bytes, now: float) -> list[tuple[float, bytes]]:
        return [(0.24 if next(count) % 9 == 8 and not is_rtcp(data) else 0.04, data)]

    call = Call(path=path).both_talk().until(6.0)
    record = looks(call, "bob")[0]
    assert record.loss > 0.02
    assert record.late == pytest.approx(record.loss, rel=0.5)
    lossy = looks(Call(path=Path(3, loss=0.1)).both_talk().until(6.0), "bob")[0]
    assert lossy.late < lossy.loss / 10


def test_who_is_on_hold_rates_nothing() -> None:
    ours, theirs = negotiated()
    held = replace(theirs, direction="inactive")
    call = Call(terms=(ours, theirs)).both_talk().until(4.0)
    call.bob.renegotiate(held, call.now)
    call.alice.stop_sending(call.now)
    assert looks(call.until(20.0), "bob") == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_loss_is_heard_as_loss_and_nothing_more(seed: int) -> None:
    call = Call(path=Path(seed, loss=0.1)).both_talk().until(5.0)
    heard = call.heard("bob", "alice")
    assert 0.85 < heard.share < 0.98, heard
    stats = call.bob.stats()
    received = [data for _, data in call.sent["alice"] if not is_rtcp(data)]
    assert stats.packets_lost == pytest.approx(len(received) - stats.packets_received, abs=6)
    assert stats.packets_late == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_jitter_reordering_and_repeats_are_made_good(seed: int) -> None:
    call = Call(path=Path(seed, jitter=0.06, repeat=0.2)).both_talk().until(5.0)
    heard = call.heard("bob", "alice")
    assert heard.share > 0.9, heard
    stats = call.bob.stats()
    assert stats.packets_duplicate > 20
    assert stats.jitter > 0.01
    assert stats.packets_lost < 15
    assert stats.buffered < 0.2


def test_an_outage_in_the_middle_costs_what_it_lasts() -> None:
    def path(data: bytes, now: float) -> list[tuple[float, bytes]]:
        return [] if 1.2 <= now < 2.4 else [(0.04, data)]

    call = Call(path=path).both_talk().until(5.0)
    assert call.heard("bob", "alice").share == pytest.approx(0.7, abs=0.08)
    assert call.bob.stats().packets_lost == pytest.approx(60, abs=1)
    assert call.bob.stats().buffered < 0.1
    # What came after the outage is played at its time: the recording is as long as the call.
    assert len(call.sinks["bob"].samples) / RATE == pytest.approx(5.0 - 0.08, abs=0.03)


def test_the_same_seeds_give_the_same_packets_and_sound() -> None:
    one, other = (Call(path=Path(5, loss=0.05, jitter=0.03)).both_talk().until(2.0) for _ in range(2))
    assert one.sent == other.sent
    assert np.array_equal(one.sinks["bob"].samples, other.sinks["bob"].samples)
    assert one.said == other.said


def test_five_seconds_both_ways_cost_well_under_a_second() -> None:
    begun = process_time()
    Call().both_talk().until(5.0)
    assert process_time() - begun < 1.0


# --- early media, directions, ends ----------------------------------------------------------------------
def test_who_is_told_what_and_when() -> None:
    call = Call()
    call.bob.start_sending(0.0)
    call.until(1.0)
    assert call.outputs("bob", FirstMediaSent) == [FirstMediaSent("bob", early=True)]
    assert call.outputs("alice", FirstMediaReceived) == [FirstMediaReceived("alice", early=True)]
    assert call.alice.stats().packets_sent == 0
    call.alice.confirm(1.0)
    call.bob.confirm(1.0)
    call.alice.start_sending(1.0)
    call.until(5.0)
    assert call.outputs("bob", FirstMediaReceived) == [FirstMediaReceived("bob", early=False)]
    assert call.outputs("bob", MediaStarted) == [
        MediaStarted("c1", "sent", "opus/48000", early=True),
        MediaStarted("c1", "received", "opus/48000", early=False),
    ]
    (first,) = [at for at, output in call.said["alice"] if isinstance(output, FirstMediaReceived)]
    assert first == pytest.approx(0.04)
    assert call.outputs("bob", SourceFinished) == [SourceFinished("bob")]


def test_a_packet_every_20_ms_numbered_and_stamped() -> None:
    ours, theirs = negotiated("PCMU")
    call = Call(terms=(ours, theirs)).both_talk().until(1.0)
    assert ours.send_key is not None
    opener = SrtpReceiver(ours.send_key)
    packets = [parse_rtp(opener.unprotect(data)) for _, data in call.sent["alice"] if not is_rtcp(data)]
    assert [round(at, 6) for at, _ in call.sent["alice"][:4]] == [0.0, 0.02, 0.04, 0.06]
    first = packets[0]
    assert [packet.marker for packet in packets] == [True] + [False] * (len(packets) - 1)
    for number, packet in enumerate(packets):
        assert (packet.payload_type, packet.ssrc, len(packet.payload)) == (0, first.ssrc, 160)
        assert packet.sequence == (first.sequence + number) & 0xFFFF
        assert packet.timestamp == (first.timestamp + 160 * number) & 0xFFFFFFFF


def test_who_is_told_to_say_nothing_is_not_missed() -> None:
    """Bob holds the call: Alice's sound stops, and none is made up for it, then or when it comes back."""
    call = Call(alice=ToneSource(500.0), bob=SilenceSource()).both_talk().until(2.0)
    talking = {"alice": call.alice.negotiated, "bob": call.bob.negotiated}
    before = call.bob.stats()
    call.bob.renegotiate(replace(talking["bob"], direction="sendonly"), call.now)
    call.alice.renegotiate(replace(talking["alice"], direction="recvonly"), call.now)
    held = call.until(6.0).bob.stats()
    assert held.samples_concealed == before.samples_concealed
    call.bob.renegotiate(talking["bob"], call.now)
    call.alice.renegotiate(talking["alice"], call.now)
    after = call.until(8.0).bob.stats()
    assert after.samples_concealed - before.samples_concealed < RATE * 0.1
    assert after.packets_lost == 0
    assert np.abs(call.sinks["bob"].samples[-RATE // 2 :]).max() > 1000


def test_on_hold_nothing_is_sent_and_the_recording_waits() -> None:
    call = Call().both_talk().until(1.0)
    sent = len(call.sent["bob"])
    terms = negotiated(direction="sendonly")
    call.bob.renegotiate(terms[1], 1.0)
    call.until(3.0)
    assert len(call.sent["bob"]) - sent <= 1, "at most a report"
    call.bob.renegotiate(negotiated()[1], 3.0)
    call.until(7.0)
    heard = call.heard("alice", "bob")
    assert heard.share > 0.9, "what was held back came later, nothing of it lost"
    assert call.alice.stats().packets_lost == 0


def test_new_keys_and_another_codec_in_mid_call() -> None:
    call = Call("opus", "PCMU").both_talk().until(1.5)
    one, other = AudioNegotiation(random.Random(8), ("PCMU",)), AudioNegotiation(random.Random(9), ("PCMU",))
    other.receive_offer(one.offer(None, HERE))
    ours = one.receive_answer(other.answer(None, THERE))
    assert other.negotiated is not None
    call.alice.renegotiate(ours, 1.5)
    call.bob.renegotiate(other.negotiated, 1.5)
    call.until(5.0)
    heard = call.heard("bob", "alice")
    assert heard.share > 0.9, heard
    assert call.bob.stats().codec == "PCMU/8000"
    assert call.bob.stats().packets_rejected <= 3, "those under way under the old key"


def test_a_key_that_comes_back_does_not_begin_anew() -> None:
    """After a while in clear, the packets' numbers would repeat under the key: a key stream used twice."""
    ours, theirs = negotiated()
    call = Call(terms=(ours, theirs))
    call.alice._our_stream()._sequence = 0xFFF0  # about to wrap, which only the two ends' counters know
    call.both_talk().until(1.0)
    call.alice.renegotiate(replace(ours, send_key=None), 1.0)
    call.until(1.5)
    call.alice.renegotiate(ours, 1.5)
    refused = call.bob.stats().packets_rejected
    call.until(4.0)
    assert call.bob.stats().packets_rejected <= refused + 3, "those under way in clear"


def test_the_same_terms_again_disturb_nothing() -> None:
    call = Call().both_talk().until(1.0)
    ours, theirs = negotiated()
    call.alice.renegotiate(ours, 1.0)
    call.bob.renegotiate(theirs, 1.0)
    call.until(5.0)
    assert call.bob.stats().packets_rejected == call.bob.stats().packets_lost == 0
    assert call.heard("bob", "alice").share > 0.97


def test_stop_and_start_again() -> None:
    call = Call().both_talk().until(1.0)
    call.alice.stop_sending(1.0)
    call.until(2.0)
    received = call.bob.stats().packets_received
    assert received == pytest.approx(50, abs=2)
    call.alice.start_sending(2.0)
    call.alice.start_sending(2.0)
    call.until(6.0)
    assert call.bob.stats().packets_received == pytest.approx(received + 198, abs=2)
    assert call.heard("bob", "alice").share > 0.95


def test_a_call_ends_with_a_goodbye_and_a_sum() -> None:
    call = Call().both_talk().until(2.0)
    call.alice.close(2.0)
    call.until(2.5)
    (summary,) = call.outputs("alice", MediaSummary)
    assert isinstance(summary, MediaSummary)
    assert (summary.call_id, summary.codec, summary.packets_lost, summary.packets_late) == (
        "c1",
        "opus/48000",
        0,
        0,
    )
    assert summary.packets_sent == pytest.approx(100, abs=1)
    assert summary.packets_received == pytest.approx(98, abs=1)
    ours, _ = negotiated()
    assert ours.send_key is not None
    rtcp = [data for _, data in call.sent["alice"] if is_rtcp(data)]
    packets = [parse_rtcp(SrtpReceiver(ours.send_key).unprotect_rtcp(data)) for data in rtcp]
    report, description, goodbye = packets[-1]
    assert isinstance(report, SenderReport)
    assert report.packets == summary.packets_sent
    assert description == SourceDescription(report.ssrc, "a@a.test")
    assert goodbye == Goodbye((report.ssrc,))
    assert call.alice.poll_timeout() is None
    call.alice.receive(b"anything", 2.6)
    call.alice.start_sending(2.6)
    call.alice.close(2.6)
    assert drain(call.alice) == []


def test_a_session_that_never_spoke_closes_quietly() -> None:
    ours, _ = negotiated()
    session = AudioSession("s", ours, SilenceSource(), MemorySink(), random.Random(1), "c")
    assert session.poll_timeout() is None
    session.close(1.0)
    assert [type(output) for output in drain(session)] == [MediaSummary]


# --- reports --------------------------------------------------------------------------------------------
def test_reports_measure_the_round_trip_and_the_loss() -> None:
    call = Call(path=Path(3, loss=0.1), alice=ToneSource(), bob=ToneSource(500)).both_talk()
    call.alice.handle_input(ClockSet(1_700_000_000.0), 0.0)
    call.until(30.0)
    for session in (call.alice, call.bob):
        stats = session.stats()
        assert stats.round_trip == pytest.approx(0.08, abs=0.001)
        assert stats.fraction_lost == pytest.approx(0.1, abs=0.07)
    reports = [at for at, data in call.sent["alice"] if is_rtcp(data)]
    assert 1.25 <= reports[0] <= 3.75
    gaps = np.diff(reports)
    assert ((gaps >= 2.5) & (gaps <= 7.5)).all()


def test_a_listener_reports_too() -> None:
    call = Call(alice=ToneSource())
    call.alice.start_sending(0.0)
    call.until(10.0)
    _, theirs = negotiated()
    assert theirs.send_key is not None
    opener = SrtpReceiver(theirs.send_key)
    packets = [packet for _, data in call.sent["bob"] for packet in parse_rtcp(opener.unprotect_rtcp(data))]
    assert {type(packet) for packet in packets} == {ReceiverReport, SourceDescription}
    assert call.alice.stats().round_trip == pytest.approx(0.08, abs=0.001)


def test_without_rtcp_mux_there_are_no_reports() -> None:
    offer = AudioNegotiation(random.Random(1)).offer(None, HERE).replace("a=rtcp-mux\r\n", "")
    other = AudioNegotiation(random.Random(2))
    terms = other.receive_offer(offer)
    session = AudioSession("s", terms, ToneSource(), MemorySink(), random.Random(1))
    session.start_sending(0.0)
    for tick in range(500):
        session.handle_timeout(tick * 0.02)
    session.close(10.0)
    assert not any(is_rtcp(output.data) for output in drain(session) if isinstance(output, SendMedia))


# --- bad packets ----------------------------------------------------------------------------------------
class Stranger:
    """Whoever can send to Bob: with Alice's key, or another."""

    def __init__(self, key: SrtpKey | None = None) -> None:
        ours, theirs = negotiated("opus", "PCMU")
        self.sink = MemorySink()
        self.bob = AudioSession("bob", theirs, SilenceSource(), self.sink, random.Random(4), "c1")
        assert ours.send_key is not None
        self.sender = SrtpSender(key or ours.send_key)
        self.now = 0.0

    def sends(
        self,
        payload_type: int = 111,
        sequence: int = 1,
        timestamp: int = 0,
        ssrc: int = 5,
        payload: bytes = b"\xf8",
    ) -> None:
        packet = RtpPacket(payload_type, sequence, timestamp, ssrc, payload)
        self.bob.receive(self.sender.protect(serialize_rtp(packet)), self.now)

    def rejections(self) -> list[str]:
        return [output.reason for output in drain(self.bob) if isinstance(output, MediaRejected)]

    def play(self, frames: int) -> None:
        for _ in range(frames):
            self.now += 0.02
            self.bob.handle_timeout(self.now)


def test_another_key_is_rejected_once_aloud_and_counted() -> None:
    stranger = Stranger(SrtpKey("AES_CM_128_HMAC_SHA1_80", bytes(30)))
    for sequence in range(10):
        stranger.sends(sequence=sequence)
    (reason,) = stranger.rejections()
    assert "another key" in reason
    assert stranger.bob.stats().packets_rejected == 10
    assert stranger.bob.poll_timeout() is None, "nothing to play"


def test_a_damaged_packet_is_counted_and_the_next_is_played() -> None:
    rng = random.Random(6)

    def path(data: bytes, now: float) -> list[tuple[float, bytes]]:
        if rng.random() < 0.05:
            at = rng.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        return [(0.04, data)]

    call = Call(path=path).both_talk().until(5.0)
    assert call.heard("bob", "alice").share > 0.85
    assert call.bob.stats().packets_rejected > 4


def test_what_was_not_negotiated_or_does_not_decode() -> None:
    stranger = Stranger()
    stranger.sends(payload_type=9, sequence=1)
    stranger.sends(payload_type=9, sequence=2)
    assert stranger.rejections() == ["payload type 9 was not negotiated"]
    stranger.sends(sequence=3, payload=b"\xff" * 40)
    stranger.play(10)
    assert stranger.rejections() == ["not decodable as opus"]
    assert len(stranger.sink.samples) > 0


def test_a_few_bytes_that_open_the_path_are_no_offence() -> None:
    stranger = Stranger()
    for data in (b"", b"\0", bytes.fromhex("80cc00031727d21750494e47504f4e47")):
        stranger.bob.receive(data, 0.0)
    assert stranger.rejections() == []
    stranger.bob.receive(b"\x80" * 30, 0.0)
    assert stranger.rejections() == ["bad authentication: encrypted with another key, or damaged on the way"]


def test_a_repeat_is_a_duplicate_and_no_rejection() -> None:
    stranger = Stranger()
    data = stranger.sender.protect(serialize_rtp(RtpPacket(111, 1, 0, 5, b"\xf8")))
    stranger.bob.receive(data, 0.0)
    stranger.bob.receive(data, 0.0)
    assert stranger.rejections() == []
    assert stranger.bob.stats().packets_duplicate == 1


def test_another_ssrc_takes_over() -> None:
    stranger = Stranger()
    for number in range(10):
        stranger.sends(sequence=60000 + number, timestamp=number * 960, ssrc=5)
        stranger.play(1)
    for number in range(10):
        stranger.sends(sequence=17 + number, timestamp=12345 + number * 960, ssrc=6)
        stranger.play(1)
    assert stranger.bob.stats().packets_lost == 0
    assert stranger.bob.stats().packets_received == 20


def test_packets_across_both_wraps() -> None:
    ours, theirs = negotiated("PCMU")
    assert ours.send_key is not None
    sender, sink = SrtpSender(ours.send_key), MemorySink()
    bob = AudioSession("bob", theirs, SilenceSource(), sink, random.Random(4))
    for number in range(40):
        packet = RtpPacket(
            0, (65520 + number) & 0xFFFF, (2**32 - 3200 + 160 * number) & 0xFFFFFFFF, 5, b"\x90" * 160
        )
        bob.receive(sender.protect(serialize_rtp(packet)), number * 0.02)
        bob.handle_timeout(number * 0.02)
    assert bob.stats().packets_lost == bob.stats().packets_late == 0
    assert (abs(sink.samples[FRAME:].astype(int)) > 1000).all()


def test_a_driver_that_slept_skips_the_time_it_slept() -> None:
    ours, _ = negotiated("PCMU")
    assert ours.send_key is not None
    session = AudioSession("s", ours, ToneSource(), MemorySink(), random.Random(1))
    session.start_sending(0.0)
    for now in (0.0, 0.02, 3.0, 3.02):
        session.handle_timeout(now)
    opener = SrtpReceiver(ours.send_key)
    packets = [
        parse_rtp(opener.unprotect(output.data))
        for output in drain(session)
        if isinstance(output, SendMedia) and not is_rtcp(output.data)
    ]
    assert len(packets) == 4
    steps = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in pairwise(packets)]
    assert steps[0] == 160
    assert max(steps) == pytest.approx(160 * 149, abs=320)


def test_causes_of_rejection_are_limited() -> None:
    ours, theirs = negotiated("PCMU", clear=True)
    bare = AudioSession("s", _without_keys(theirs), SilenceSource(), MemorySink(), random.Random(1), "c")
    for payload_type in range(1, 128):
        bare.receive(serialize_rtp(RtpPacket(payload_type, 1, 1, 1, b"x")), 0.0)
    rejected = [output for output in drain(bare) if isinstance(output, MediaRejected)]
    assert 30 < len(rejected) <= 33
    assert rejected[-1].reason == "other causes"
    assert ours.send_key is not None


def test_clear_media_where_it_was_agreed() -> None:
    ours, theirs = negotiated("PCMU", clear=True)
    terms = (_without_keys(ours), _without_keys(theirs))
    call = Call(terms=terms).both_talk().until(5.0)
    assert call.heard("bob", "alice").share > 0.97
    assert parse_rtp(call.sent["alice"][0][1]).payload_type == 0


def _without_keys(terms: Negotiated) -> Negotiated:
    return Negotiated(terms.codec, terms.receives, None, None, terms.ice, terms.remote)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=80) | st.just(b"\x80" * 2500), max_size=8), st.booleans())
def test_no_datagram_ends_a_session(datagrams: list[bytes], clear: bool) -> None:
    _, theirs = TERMS
    session = AudioSession(
        "s", _without_keys(theirs) if clear else theirs, SilenceSource(), MemorySink(), random.Random(1)
    )
    for number, data in enumerate(datagrams):
        for shaped in (data, b"\x80\x00" + data, b"\x80\xc8" + data):
            session.receive(shaped, number * 0.02)
        session.handle_timeout(number * 0.02)
    session.close(5.0)
    assert all(isinstance(output, Record | SendMedia | FirstMediaReceived) for output in drain(session))


TERMS = negotiated("PCMU")


class FullDisk(MemorySink):
    """Takes half a second of sound, then no more, and cannot be closed properly either."""

    def write(self, samples: Samples) -> None:
        if len(self.samples) >= RATE // 2:
            raise OSError(28, "No space left on device")
        super().write(samples)

    def close(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_disk_ends_the_recording_and_not_the_call() -> None:
    ours, theirs = negotiated()
    alice = AudioSession("alice", ours, SilenceSource(), FullDisk(), random.Random(3))
    sender = AudioSession("bob", theirs, ToneSource(), MemorySink(), random.Random(4))
    sender.start_sending(0.0)
    records: list[object] = []
    now = 0.0
    while now < 2.0:
        sender.handle_timeout(now)
        for output in drain(sender):
            if isinstance(output, SendMedia):
                alice.receive(output.data, now)
        alice.handle_timeout(now)
        records += drain(alice)
        now += 0.02
    alice.close(now)
    records += drain(alice)
    notes = [record.text for record in records if isinstance(record, Note)]
    assert notes == [
        "what is heard is not recorded from here on: No space left on device",
        "the recording may lack its end: No space left on device",
    ]
    assert alice.stats().packets_received > 90
