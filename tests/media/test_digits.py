"""Telephone keys between two sessions: what goes over the path, and what is heard, also when much is lost."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.media.description import AudioNegotiation
from iceway.media.digits import MAX_WAITING, DigitReceiver
from iceway.media.files import ToneSource
from iceway.media.formats import Codec
from iceway.media.session import DigitReceived
from iceway.wire.rtp import RtpPacket, is_rtcp, parse_rtp
from iceway.wire.telephone_event import TelephoneEvent, parse
from tests.media.test_session import Call, Path, negotiated

HERE, THERE = Address("192.0.2.1", 5000), Address("198.51.100.7", 7000)


def clear(codec: str) -> Call:
    """A call whose packets can be read."""
    one = AudioNegotiation(random.Random(1), (codec,), allow_clear=True)
    other = AudioNegotiation(random.Random(2), (codec,), allow_clear=True)
    lines = one.offer(None, HERE).split("\r\n")
    other.receive_offer("\r\n".join(line for line in lines if not line.startswith("a=crypto")))
    ours = one.receive_answer(other.answer(None, THERE))
    assert other.negotiated is not None
    return Call(terms=(ours, other.negotiated), alice=ToneSource(), bob=ToneSource())


def heard(call: Call) -> list[str]:
    return [event.digit for event in call.outputs("bob", DigitReceived) if isinstance(event, DigitReceived)]


@pytest.mark.parametrize(("codec", "rate"), [("opus", 48000), ("PCMU", 8000), ("PCMA", 8000)])
def test_keys_are_pressed_and_heard(codec: str, rate: int) -> None:
    ours, theirs = negotiated(codec)
    assert ours.events is not None
    assert theirs.events is not None
    assert (ours.events.clock_rate, theirs.events.clock_rate) == (rate, rate)
    call = Call(codec, alice=ToneSource(), bob=ToneSource()).both_talk().until(1.0)
    call.alice.press("12#", 0.1, call.now)
    call.until(3.0)
    assert call.outputs("bob", DigitReceived) == [DigitReceived("bob", digit, 0.1) for digit in "12#"]
    assert not call.outputs("alice", DigitReceived)
    assert call.bob.stats().packets_lost == 0, "a key is no loss"
    assert call.bob.stats().packets_rejected == 0


def test_what_goes_over_the_path_is_what_rfc_4733_says() -> None:
    call = clear("PCMU").both_talk().until(0.5)
    call.alice.press("7", 0.1, call.now)
    call.until(1.0)
    packets = [parse_rtp(data) for _, data in call.sent["alice"] if not is_rtcp(data)]
    keys = [packet for packet in packets if packet.payload_type == 101]
    first = packets.index(keys[0])
    reports = [parse(packet.payload) for packet in keys]
    assert [report.duration for report in reports] == [160, 320, 480, 640, 800, 800, 800]
    assert [report.end for report in reports] == [False] * 4 + [True] * 3
    assert {packet.timestamp for packet in keys} == {packets[first - 1].timestamp + 160}
    assert [packet.marker for packet in keys] == [True] + [False] * 6
    assert [packet.sequence for packet in packets] == [
        (packets[0].sequence + number) & 0xFFFF for number in range(len(packets))
    ], "keys and sound are one stream"
    after = packets[first + 7]
    assert (after.payload_type, after.marker) == (0, True)
    assert after.timestamp == (keys[0].timestamp + 7 * 160) & 0xFFFF_FFFF, "time went on"


@pytest.mark.parametrize("seed", range(6))
def test_loss_reordering_and_repeats_neither_lose_nor_double_a_key(seed: int) -> None:
    call = Call(path=Path(seed, loss=0.2, jitter=0.05, repeat=0.3), alice=ToneSource()).both_talk().until(1.0)
    call.alice.press("1122", 0.1, call.now)
    call.until(4.0)
    assert heard(call) == list("1122")


def test_a_key_whose_end_is_lost_is_released_by_silence() -> None:
    gone = False

    def path(data: bytes, now: float) -> list[tuple[float, bytes]]:
        return [] if gone else [(0.04, data)]

    call = Call(path=path, alice=ToneSource()).both_talk().until(1.0)
    call.alice.press("5", 0.2, call.now)
    call.until(1.1)
    gone = True
    call.until(2.0)
    assert heard(call) == ["5"]


def test_a_key_may_be_the_first_that_is_heard() -> None:
    call = Call(alice=ToneSource())
    call.alice.press("9", 0.1, 0.0)
    call.both_talk().until(2.0)
    assert heard(call) == ["9"]
    assert call.bob.stats().packets_received > 90
    assert len(call.sinks["bob"].samples) > 48000, "sound is played after it"


def test_whoever_takes_no_keys_is_sent_none() -> None:
    ours, theirs = negotiated("PCMU")
    call = Call(terms=(replace(ours, events=None), theirs))
    with pytest.raises(UsageError, match="takes no telephone keys"):
        call.alice.press("1", 0.1, 0.0)


@pytest.mark.parametrize(("digits", "duration"), [("", 0.1), ("12x", 0.1), ("1", 0.01), ("1", 5.0)])
def test_what_is_no_key_is_said_at_once(digits: str, duration: float) -> None:
    with pytest.raises(UsageError):
        Call().alice.press(digits, duration, 0.0)


def test_only_so_many_keys_wait() -> None:
    call = Call()
    call.alice.press("1" * MAX_WAITING, 0.1, 0.0)
    with pytest.raises(UsageError, match="bit by bit"):
        call.alice.press("1", 0.1, 0.0)


def test_an_opus_peer_that_knows_the_old_clock_alone() -> None:
    """As baresip offers: keys in 8 kHz beside Opus."""
    one, other = (AudioNegotiation(random.Random(seed), ("opus",)) for seed in (1, 2))
    lines = one.offer(None, HERE).replace(" 110 101", " 101").split("\r\n")
    other.receive_offer("\r\n".join(line for line in lines if ":110 " not in line))
    ours = one.receive_answer(other.answer(None, THERE))
    assert ours.events == Codec("telephone-event", 101, 8000)
    assert other.negotiated is not None
    call = Call(terms=(ours, other.negotiated), alice=ToneSource()).both_talk().until(1.0)
    call.alice.press("4", 0.1, call.now)
    call.until(2.0)
    assert call.outputs("bob", DigitReceived) == [DigitReceived("bob", "4", 0.1)]


def test_numbers_that_the_peer_gave_a_codec_are_not_given_to_keys() -> None:
    one, other = (AudioNegotiation(random.Random(seed), ("opus",)) for seed in (1, 2))
    lines = one.offer(None, HERE).replace(" 111 110 101", " 101").replace(":111 ", ":101 ").split("\r\n")
    kept = [line for line in lines if "telephone-event" not in line and " 0-15" not in line]
    assert other.receive_offer("\r\n".join(kept)).events is None
    assert "telephone-event" not in other.answer(None, THERE)
    (media,) = [line for line in other.offer(None, THERE).split("\r\n") if line.startswith("m=")]
    numbers = media.split()[3:]
    assert "101" in numbers
    assert len(numbers) == len(set(numbers)) == 3


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 255), st.booleans(), st.integers(0, 65535), st.floats(0, 1)
        ),
        max_size=40,
    )
)
def test_any_reports_release_each_key_once(reports: list[tuple[int, int, bool, int, float]]) -> None:
    receiver = DigitReceiver()
    now, told = 0.0, 0
    for timestamp, event, end, duration, later in reports:
        now += later
        told += len(receiver.released(now))
        packet = RtpPacket(101, 1, timestamp, 7, b"")
        told += len(receiver.receive(packet, TelephoneEvent(event, end, 10, duration), 8000, now))
    told += len(receiver.released(now + 1.0))
    assert told <= 4
    assert receiver.release_at is None
