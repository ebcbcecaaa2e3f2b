"""Media that is broken, and sessions that go on: each case leaves a record with its reason, and sound or pictures return.

Real packets of a real session are changed on their way, in clear where nothing would keep the change out.
"""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.machine import ClockSet, drain
from iceway.media.files import MemorySink, ToneSource
from iceway.media.formats import CODECS, EVENTS, VIDEO_CODECS
from iceway.media.heard import Heard
from iceway.media.pattern import PatternSource
from iceway.media.session import AudioSession
from iceway.media.srtp import MAX_SOURCES, SrtpKey, SrtpReceiver, SrtpRefused, SrtpSender
from iceway.media.video import VideoSession
from iceway.trace.records import MediaRejected, Note
from iceway.wire.rtp import Goodbye, RtpPacket, is_rtcp, parse_rtcp, parse_rtp, serialize_rtp
from tests.media import test_session as audio
from tests.media import test_video as video

Change = Callable[[RtpPacket, float], list[bytes]]


def changed(change: Change) -> Callable[[bytes, float], list[tuple[float, bytes]]]:
    """A path of 40 ms that does this to each packet of RTP, and leaves RTCP alone."""

    def path(data: bytes, now: float) -> list[tuple[float, bytes]]:
        if is_rtcp(data):
            return [(0.04, data)]
        return [(0.04, one) for one in change(parse_rtp(data), now)]

    return path


def damaged(share: float, damage: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, float], list]:  # type: ignore[type-arg]
    """A path of 40 ms that adds a damaged copy of some packets."""
    rng = random.Random(7)

    def path(data: bytes, now: float) -> list[tuple[float, bytes]]:
        more = [(0.04, damage(data, rng))] if rng.random() < share else []
        return [(0.04, data), *more]

    return path


def clear_sound(path: Callable[[bytes, float], list[tuple[float, bytes]]], codec: str = "opus") -> audio.Call:
    ours, theirs = audio.negotiated(codec, clear=True)
    terms = replace(ours, send_key=None, recv_key=None), replace(theirs, send_key=None, recv_key=None)
    return audio.Call(terms=terms, path=path).both_talk()


def clear_pictures(
    path: Callable[[bytes, float], list[tuple[float, bytes]]], codec: str = "VP8"
) -> video.Call:
    return video.Call(codec, path=path, agreed=video.terms(codec, clear=True))


def reasons(call: audio.Call | video.Call, who: str = "bob") -> set[str]:
    return {one.reason for one in call.outputs(who, MediaRejected) if isinstance(one, MediaRejected)}


def notes(call: audio.Call | video.Call, who: str = "bob") -> list[str]:
    return [one.text for one in call.outputs(who, Note) if isinstance(one, Note)]


def well_heard(call: audio.Call) -> Heard:
    heard = call.heard("bob", "alice")
    assert heard.share > 0.95, heard
    return heard


# --- damage -----------------------------------------------------------------------------------------------
DAMAGE: dict[str, tuple[Callable[[bytes, random.Random], bytes], str]] = {
    "another version": (lambda data, rng: bytes([data[0] & 0x3F | rng.choice((0, 0x40, 0xC0))]) + data[1:], "version"),
    "truncated": (lambda data, rng: data[: rng.randrange(2, 12)], "no RT"),
    "more sources than there are": (lambda data, rng: bytes([data[0] | 0x0F]) + data[1:16], "CSRC list"),
    "an extension that never ends": (
        lambda data, rng: bytes([data[0] | 0x10]) + data[1:12] + b"\xbe\xde\xff\xff" + data[12:],
        "header extension",
    ),
    "padding longer than the packet": (
        lambda data, rng: bytes([data[0] | 0x20]) + data[1:-1] + b"\xff",
        "padding",
    ),
    "padding of nothing": (lambda data, rng: bytes([data[0] | 0x20]) + data[1:-1] + b"\0", "padding"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_sound_goes_on_beside_damaged_headers(case: str) -> None:
    damage, word = DAMAGE[case]
    call = clear_sound(damaged(0.3, lambda data, rng: data if is_rtcp(data) else damage(data, rng))).until(
        5.0
    )
    well_heard(call)
    assert any(word in reason for reason in reasons(call)), reasons(call)
    assert call.bob.stats().packets_rejected > 30
    assert call.bob.stats().packets_lost == 0


@pytest.mark.parametrize("case", DAMAGE)
def test_pictures_go_on_beside_damaged_headers(case: str) -> None:
    damage, word = DAMAGE[case]
    call = clear_pictures(
        damaged(0.3, lambda data, rng: data if is_rtcp(data) else damage(data[:200], rng))
    ).until(4.0)
    assert call.numbers()[:58] == list(range(58))
    assert any(word in reason for reason in reasons(call)), reasons(call)


@pytest.mark.parametrize("codec", ["opus", "PCMU"])
def test_bits_that_flip_anywhere_in_packets_of_sound(codec: str) -> None:
    rng = random.Random(3)

    def path(data: bytes, now: float) -> list[tuple[float, bytes]]:
        if rng.random() < 0.1:
            at = rng.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        return [(0.04, data)]

    call = clear_sound(path, codec).until(5.0)
    assert call.heard("bob", "alice").share > 0.85
    assert call.bob.stats().packets_received > 200


def test_damaged_reports_are_refused_with_their_reasons_and_nothing_else() -> None:
    def garble(data: bytes, rng: random.Random) -> bytes:
        if not is_rtcp(data):
            return data
        how = rng.randrange(4)
        if how == 0:
            return data[: rng.randrange(5, len(data))]
        if how == 1:
            return bytes([data[0] | 0x1F]) + data[1:]  # counts more reports than there are
        if how == 2:
            return data[:2] + b"\xff\xff" + data[4:]
        return bytes([data[0] | 0x20]) + data[1:-1] + b"\xff"

    call = clear_sound(damaged(1.0, garble)).until(30.0)
    assert any("RTCP" in reason for reason in reasons(call)), reasons(call)
    stats = call.bob.stats()
    assert stats.round_trip == pytest.approx(0.08, abs=0.001)


# --- numbers ----------------------------------------------------------------------------------------------
def test_sound_whose_source_changes_in_the_middle() -> None:
    other = random.Random(5).getrandbits(32)

    def change(packet: RtpPacket, now: float) -> list[bytes]:
        if now >= 2.0:
            packet = replace(
                packet,
                ssrc=other,
                sequence=(packet.sequence + 12_345) & 0xFFFF,
                timestamp=(packet.timestamp + 987_654_321) & 0xFFFF_FFFF,
            )
        return [serialize_rtp(packet)]

    call = clear_sound(changed(change)).until(5.0)
    well_heard(call)
    assert notes(call)[:1] == [f"another source of sound took over: SSRC {other:08x}"]
    assert call.bob.stats().packets_lost == 0


def test_two_sources_at_once_do_not_take_turns() -> None:
    """The second one is heard from its second packet on; the first one is refused with the reason."""

    def change(packet: RtpPacket, now: float) -> list[bytes]:
        echo = replace(packet, ssrc=packet.ssrc ^ 1, sequence=(packet.sequence + 700) & 0xFFFF)
        return [serialize_rtp(packet), *([serialize_rtp(echo)] if now > 2.0 else [])]

    call = clear_sound(changed(change)).until(5.0)
    well_heard(call)
    assert len([note for note in notes(call) if "took over" in note]) == 1
    assert reasons(call) == {"from a source that another one has replaced"}


def test_stray_packets_of_other_sources_and_other_times_do_not_disturb() -> None:
    rng = random.Random(2)

    def change(packet: RtpPacket, now: float) -> list[bytes]:
        stray = [
            replace(packet, ssrc=rng.getrandbits(32)),
            replace(packet, sequence=packet.sequence ^ 0x8000),
            replace(packet, timestamp=packet.timestamp ^ 0x8000_0000, sequence=packet.sequence + 1 & 0xFFFF),
        ]
        return [serialize_rtp(rng.choice(stray)), serialize_rtp(packet)]

    call = clear_sound(changed(change)).until(5.0)
    well_heard(call)
    assert len(notes(call)) < 8


@pytest.mark.parametrize("jump", ["sequence", "timestamp", "both"])
def test_sound_whose_numbers_jump_goes_on(jump: str) -> None:
    def change(packet: RtpPacket, now: float) -> list[bytes]:
        if now >= 2.0 and jump != "timestamp":
            packet = replace(packet, sequence=(packet.sequence + 20_000) & 0xFFFF)
        if now >= 2.0 and jump != "sequence":
            packet = replace(packet, timestamp=(packet.timestamp + 0x4000_0000) & 0xFFFF_FFFF)
        return [serialize_rtp(packet)]

    call = clear_sound(changed(change)).until(5.0)
    well_heard(call)
    assert call.bob.stats().packets_lost == 0
    assert call.bob.stats().jitter < 0.001


def probed(every: int) -> Change:
    """Numbers as of a sender that sends a packet of padding alone behind every so many packets, as browsers probe."""
    sent = [0, 0]

    def change(packet: RtpPacket, now: float) -> list[bytes]:
        packet = replace(packet, sequence=(packet.sequence + sent[1]) & 0xFFFF)
        out = [serialize_rtp(packet)]
        sent[0] += 1
        if packet.marker and sent[0] % every == 0:
            sent[1] += 1
            empty = serialize_rtp(
                replace(packet, sequence=(packet.sequence + 1) & 0xFFFF, payload=b"", marker=False)
            )
            out.append(bytes([empty[0] | 0x20]) + empty[1:] + bytes(199) + b"\xc8")
        return out

    return change


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_packets_of_padding_alone_leave_no_holes_between_pictures(codec: str) -> None:
    call = clear_pictures(changed(probed(2)), codec).until(5.0)
    stats = call.bob.stats(call.now)
    assert call.numbers()[:70] == list(range(70))
    assert (stats.packets_requested, stats.packets_lost, stats.whole_requested, stats.freezes) == (0, 0, 0, 0)
    assert not reasons(call)


def test_packets_without_sound_keep_the_path_open_and_are_not_lost() -> None:
    sent = Counter[int]()

    def change(packet: RtpPacket, now: float) -> list[bytes]:
        packet = replace(packet, sequence=(packet.sequence + sent[packet.ssrc]) & 0xFFFF)
        sent[packet.ssrc] += 1
        nothing = replace(packet, sequence=(packet.sequence + 1) & 0xFFFF, payload=b"")
        return [serialize_rtp(packet), serialize_rtp(nothing)]

    call = clear_sound(changed(change)).until(5.0)
    well_heard(call)
    assert call.bob.stats().packets_lost == 0
    assert not reasons(call)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_pictures_whose_timestamps_leap_keep_their_times(codec: str) -> None:
    """A recording would otherwise have a standstill of hours in it."""

    def change(packet: RtpPacket, now: float) -> list[bytes]:
        if now >= 2.0:
            packet = replace(packet, timestamp=(packet.timestamp + 0x4000_0000) & 0xFFFF_FFFF)
        return [serialize_rtp(packet)]

    call = clear_pictures(changed(change), codec).until(5.0)
    times = [at for at, _ in call.sink.seen]
    assert call.numbers()[-1] >= 72
    assert max(np.diff(times)) < 0.6
    assert times[-1] == pytest.approx(5.0, abs=0.3)


def test_pictures_whose_source_changes_are_told_and_lose_nothing_of_the_new_one() -> None:
    call = video.Call().until(2.0)
    call.alice = VideoSession(
        "alice",
        video.terms()[0],
        PatternSource(first=1000),
        video.MemorySink(),
        random.Random(77),
        frame_rate=15.0,
    )
    call.alice.start_sending(call.now)
    numbers = call.until(4.0).numbers()
    theirs = [number for number in numbers if number >= 1000]
    assert theirs == list(range(1000, 1000 + len(theirs)))
    assert len(theirs) >= 28
    assert f"another source of video took over: SSRC {call.alice._outgoing.ssrc:08x}" in notes(call)


# --- our own number ---------------------------------------------------------------------------------------
def goodbyes(sent: list[tuple[float, bytes]]) -> list[int]:
    said = [packet for _, data in sent if is_rtcp(data) for packet in parse_rtcp(data)]
    return [ssrc for packet in said if isinstance(packet, Goodbye) for ssrc in packet.ssrcs]


def test_somebody_who_drew_our_number_makes_us_say_goodbye_and_draw_another() -> None:
    """RFC 3550 §8.2."""
    call = clear_sound(audio.Path())
    call.until(1.0)
    ours = parse_rtp(call.sent["bob"][0][1]).ssrc

    def theirs_is_ours(packet: RtpPacket, now: float) -> list[bytes]:
        return [serialize_rtp(replace(packet, ssrc=ours) if packet.ssrc != ours else packet)]

    call._path = changed(theirs_is_ours)
    call.until(5.0)
    now_ours = {parse_rtp(data).ssrc for at, data in call.sent["bob"] if at > 2.0 and not is_rtcp(data)}
    assert len(now_ours) == 1
    assert ours not in now_ours
    assert goodbyes(call.sent["bob"]) == [ours]
    assert reasons(call) == {
        "another source drew the same number: we say goodbye and draw a new one",
        "our own packets come back to us: the path is a loop",
    }
    assert call.heard("bob", "alice").share > 0.6, "they are heard again after a second"
    assert call.heard("alice", "bob").share > 0.95, "we are heard all the time"


def test_our_own_packets_that_come_back_are_not_played() -> None:
    call = clear_sound(lambda data, now: [])
    looped: list[bytes] = []

    def back(data: bytes, now: float) -> list[tuple[float, bytes]]:
        looped.append(data)
        return []

    call._path = back
    for step in range(250):
        call.until(step * 0.02)
        while looped:
            data = looped.pop()
            sender = call.alice if parse_is_of(call, data) else call.bob
            sender.receive(data, call.now)
    assert reasons(call) == {
        "another source drew the same number: we say goodbye and draw a new one",
        "our own packets come back to us: the path is a loop",
    }
    assert call.bob.stats().packets_received == 0
    assert len(goodbyes(call.sent["bob"])) == 1
    assert not call.sinks["bob"].samples.any()


def parse_is_of(call: audio.Call, data: bytes) -> bool:
    return any(sent == data for _, sent in call.sent["alice"][-4:])


def test_both_drew_the_same_number() -> None:
    call = audio.Call()
    number = call.bob._our_stream().ssrc
    call.alice._our_stream().ssrc = number
    call.both_talk().until(5.0)
    for who, by, said in (("alice", "bob", "alice"), ("bob", "alice", "bob")):
        assert len({reason for reason in reasons(call, who) if "same number" in reason}) == 1
        assert call.heard(by, said).share > 0.95
    assert number not in (call.alice._our_stream().ssrc, call.bob._our_stream().ssrc)


def test_pictures_under_our_number() -> None:
    call = clear_pictures(video.Path())
    number = call.alice._outgoing.ssrc = call.bob._outgoing.ssrc
    call.until(5.0)
    assert goodbyes(call.sent["bob"]) == [number]
    assert call.bob._outgoing.ssrc != number
    assert call.numbers()[-1] >= 72


# --- what was agreed --------------------------------------------------------------------------------------
def test_a_codec_that_was_never_announced_is_refused_by_its_number() -> None:
    def change(packet: RtpPacket, now: float) -> list[bytes]:
        return [serialize_rtp(replace(packet, payload_type=18 if 1.0 <= now < 2.0 else packet.payload_type))]

    call = clear_sound(changed(change)).until(5.0)
    assert reasons(call) == {"payload type 18 was not negotiated"}
    assert call.bob.stats().packets_rejected == 50
    assert call.heard("bob", "alice").share > 0.6
    pictures = clear_pictures(changed(change)).until(4.0)
    assert reasons(pictures) == {"payload type 18 was not negotiated"}
    assert pictures.numbers()[-1] >= 58


def test_a_payload_type_that_comes_to_mean_another_codec() -> None:
    """RFC 3264 §8.3.2 forbids it; some do it. What waits under the old meaning is not played under the new one."""
    ours, theirs = audio.negotiated("PCMU", "PCMA", clear=True)
    mu, a = replace(CODECS["PCMU"], payload_type=96), replace(CODECS["PCMA"], payload_type=96)
    before = [replace(one, codec=mu, receives=(mu,), send_key=None, recv_key=None) for one in (ours, theirs)]
    call = audio.Call(terms=(before[0], before[1])).both_talk().until(2.0)
    for session, terms in zip((call.alice, call.bob), before, strict=True):
        session.renegotiate(replace(terms, codec=a, receives=(a,)), call.now)
    call.until(5.0)
    (note,) = notes(call)
    assert note.startswith("payload type 96 stood for PCMU/8000 and now stands for PCMA/8000")
    assert call.heard("bob", "alice").share > 0.9


def test_a_number_of_keys_that_comes_to_mean_sound_and_back() -> None:
    _, theirs = audio.negotiated("PCMU", clear=True)
    keys = replace(EVENTS[1], payload_type=96)
    sound = replace(CODECS["PCMA"], payload_type=96)
    bare = replace(theirs, send_key=None, recv_key=None, hears_events=(keys,))
    session = AudioSession("s", bare, ToneSource(), MemorySink(), random.Random(1))
    session.renegotiate(replace(bare, receives=(sound,), hears_events=()), 0.0)
    for number in range(5):
        session.receive(serialize_rtp(RtpPacket(96, number, number * 160, 5, b"\xd5" * 160)), number * 0.02)
    assert session.stats().packets_received == 5
    assert not [one for one in drain(session) if isinstance(one, MediaRejected)]
    session.renegotiate(bare, 1.0)
    session.receive(serialize_rtp(RtpPacket(96, 5, 800, 5, b"\xd5")), 1.0)
    (rejected,) = [one for one in drain(session) if isinstance(one, MediaRejected)]
    assert "event" in rejected.reason, "as a telephone key it makes no sense"


def test_pictures_of_another_codec_under_the_same_number() -> None:
    agreed = video.terms("VP8", clear=True)
    h264 = replace(VIDEO_CODECS["H264"], payload_type=96)
    call = video.Call(agreed=agreed).until(2.0)
    for session, terms in zip((call.alice, call.bob), agreed, strict=True):
        session.renegotiate(replace(terms, codec=h264, receives=(h264,)), call.now)
    call.until(5.0)
    assert "payload type 96 stood for VP8/90000 and now stands for H264/90000" in notes(call)[0]
    assert call.numbers()[-1] >= 72


# --- floods -----------------------------------------------------------------------------------------------
def test_a_flood_of_packets_under_another_key_costs_little_and_leaves_nothing() -> None:
    call = audio.Call().both_talk().until(1.0)
    stranger = SrtpSender(SrtpKey.draw(random.Random(66)))
    forged = [
        stranger.protect(serialize_rtp(RtpPacket(111, number & 0xFFFF, 0, number, bytes(60))))
        for number in range(5000)
    ]
    began = process_time()
    tracemalloc.start()
    for data in forged:
        call.bob.receive(data, call.now)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 20_000
    assert process_time() - began < 2.0, "a fraction of a millisecond each, measured with memory traced"
    assert reasons(call.until(1.1)) == {
        "bad authentication: encrypted with another key, or damaged on the way"
    }
    well_heard(call.until(5.0))


def test_one_key_has_a_bounded_number_of_sources() -> None:
    """libsrtp keeps the state of each; who has the key could fill our memory with them."""
    key = SrtpKey.draw(random.Random(1))
    sender, receiver = SrtpSender(key), SrtpReceiver(key)
    packets = [
        sender.protect(serialize_rtp(RtpPacket(0, 1, 0, ssrc, b"x"))) for ssrc in range(MAX_SOURCES + 2)
    ]
    for data in packets[:MAX_SOURCES]:
        receiver.unprotect(data)
    for data in packets[MAX_SOURCES:]:
        with pytest.raises(SrtpRefused, match="more sources"):
            receiver.unprotect(data)
    again = sender.protect(serialize_rtp(RtpPacket(0, 2, 0, 0, b"x")))
    assert parse_rtp(receiver.unprotect(again)).sequence == 2
    stranger = SrtpSender(SrtpKey.draw(random.Random(2)))
    fresh = SrtpReceiver(key)
    for ssrc in range(2 * MAX_SOURCES):
        with pytest.raises(SrtpRefused, match="authentication"):
            fresh.unprotect(stranger.protect(serialize_rtp(RtpPacket(0, 1, 0, ssrc, b"x"))))
    fresh.unprotect(packets[0])  # forged ones do not count


# --- clocks -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("jump", [5.0, -7200.0])
def test_a_wall_clock_that_is_set_in_the_middle_changes_no_sound_and_no_round_trip(jump: float) -> None:
    call = audio.Call().both_talk()
    for session in (call.alice, call.bob):
        session.handle_input(ClockSet(1_700_000_000.0), 0.0)
    trips: list[float | None] = []
    for step in range(1, 200):
        call.until(step * 0.1)
        if step == 103:
            call.bob.handle_input(ClockSet(1_700_000_000.0 + jump), call.now)
        trips.append(call.bob.stats().round_trip)
    known = [trip for trip in trips if trip is not None]
    assert known == pytest.approx([0.08] * len(known), abs=0.001)
    assert trips[-1] is not None
    assert call.heard("bob", "alice").share > 0.97


@pytest.mark.parametrize("jump", [3.0, -7200.0])
def test_a_wall_clock_that_is_set_in_the_middle_lowers_no_pictures(jump: float) -> None:
    call = video.Call()
    for session in (call.alice, call.bob):
        session.handle_input(ClockSet(1_700_000_000.0), 0.0)
    rate = call.until(3.0).alice.stats(call.now).bit_rate
    call.alice.handle_input(ClockSet(1_700_000_000.0 + jump), call.now)
    call.until(8.0)
    assert call.alice.stats(call.now).bit_rate >= rate
    assert call.numbers()[:118] == list(range(118))
    assert np.diff([at for at, _ in call.sink.seen]) == pytest.approx(1 / video.RATE, abs=0.001)


# --- anything ---------------------------------------------------------------------------------------------
def _traffic() -> dict[str, list[bytes]]:
    """What real sessions say in clear in half a second or so, sound and pictures, media and reports."""
    sound = clear_sound(audio.Path()).until(1.0)
    kept = {"audio": [data for _, data in sound.sent["alice"]] + [data for _, data in sound.sent["bob"]]}
    for codec in ("VP8", "H264"):
        call = clear_pictures(video.Path(1, loss=0.1), codec).until(1.5)
        kept[codec] = [data for _, data in call.sent["alice"]] + [data for _, data in call.sent["bob"]]
    return kept


TRAFFIC = _traffic()


@st.composite
def mutated(draw: st.DrawFn, kind: str) -> list[bytes]:
    """Some of the traffic, in any order, with bytes changed, cut out, put in or repeated."""
    packets = TRAFFIC[kind]
    taken = draw(st.lists(st.integers(0, len(packets) - 1), min_size=1, max_size=12))
    found = []
    for at in taken:
        data = bytearray(packets[at])
        for _ in range(draw(st.integers(0, 4))):
            place = draw(st.integers(0, max(0, min(len(data), 48) - 1)))
            match draw(st.integers(0, 2)):
                case 0 if data:
                    data[place] = draw(st.integers(0, 255))
                case 1:
                    del data[place : place + draw(st.integers(1, 40))]
                case _:
                    data[place:place] = draw(st.binary(max_size=8))
        found.append(bytes(data))
    return found


@settings(max_examples=60, deadline=None)
@given(mutated("audio"))
def test_real_sound_changed_at_will_ends_nothing(datagrams: list[bytes]) -> None:
    _, theirs = audio.TERMS
    terms = replace(theirs, codec=CODECS["opus"], receives=(CODECS["opus"], *theirs.receives))
    session = AudioSession(
        "s", replace(terms, send_key=None, recv_key=None), ToneSource(), MemorySink(), random.Random(1)
    )
    session.start_sending(0.0)
    for at, data in enumerate(datagrams):
        session.receive(data, at * 0.02)
        session.handle_timeout(at * 0.02)
        drain(session)
    for tick in range(len(datagrams), len(datagrams) + 60):
        session.handle_timeout(tick * 0.02)
    session.close(3.0)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["VP8", "H264"]).flatmap(lambda kind: st.tuples(st.just(kind), mutated(kind))))
def test_real_pictures_changed_at_will_end_nothing(given_: tuple[str, list[bytes]]) -> None:
    codec, datagrams = given_
    session = VideoSession(
        "s", video.terms(codec, clear=True)[0], PatternSource(32, 32), video.MemorySink(), random.Random(1)
    )
    session.start_sending(0.0)
    for at, data in enumerate(datagrams):
        session.receive(data, at * 0.05)
        session.handle_timeout(at * 0.05)
        drain(session)
    for _ in range(30):
        instant = session.poll_timeout()
        assert instant is not None
        session.handle_timeout(instant)
    session.close(99.0)
