"""RTP bookkeeping: numbers that wrap, statistics as RFC 3550 Appendix A computes them."""

from __future__ import annotations

import random

import pytest

from iceway.media.stream import Incoming, Outgoing, Unwrapped, middle, ntp_time
from iceway.wire.rtp import RtpPacket, SenderReport


def packet(sequence: int, timestamp: int, ssrc: int = 9) -> RtpPacket:
    return RtpPacket(0, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc, b"x")


def test_our_numbers_wrap_and_time_passes_in_silence() -> None:
    stream = Outgoing(random.Random(1))
    first = stream.next_packet(0, b"12345", 8000, marker=True)
    assert first.marker
    assert first.sequence < 1 << 15
    stream.skip(8000)
    second = stream.next_packet(0, b"1", 8000, marker=False)
    assert (second.timestamp - first.timestamp) & 0xFFFFFFFF == 320
    assert second.sequence == first.sequence + 1
    assert (stream.packets, stream.octets) == (2, 6)
    for _ in range(70_000):
        last = stream.next_packet(111, b"", 48000, marker=False)
    assert last.sequence == (first.sequence + 70_001) % 65536
    assert last.timestamp < 1 << 32


def test_their_numbers_are_unwrapped_in_both_directions() -> None:
    stream = Incoming(packet(65534, 2**32 - 160), 8000)
    places = [
        stream.accept(packet(65534 + step, 2**32 - 160 + 160 * step), 8000, 0.02 * step)
        for step in (0, 2, 1, 3)
    ]
    assert [place.sequence for place in places if place] == [65534, 65536, 65535, 65537]
    base = (2**32 - 160) * 6
    assert [place.timestamp for place in places if place] == [base, base + 1920, base + 960, base + 2880]
    assert (stream.expected, stream.received) == (4, 4)


@pytest.mark.parametrize("jump", [3001, -3001, 30000])
def test_a_jump_or_another_clock_is_another_stream(jump: int) -> None:
    stream = Incoming(packet(5000, 0), 8000)
    assert stream.accept(packet(5000, 0), 8000, 0.0) == Unwrapped(5000, 0)
    assert stream.accept(packet(5000 + jump, 160), 8000, 0.02) is None
    assert stream.accept(packet(5001, 160), 48000, 0.02) is None
    assert stream.received == 1


def test_jitter_follows_the_difference_of_transit() -> None:
    steady, shaky = Incoming(packet(0, 0), 8000), Incoming(packet(0, 0), 8000)
    for number in range(400):
        steady.accept(packet(number, number * 160), 8000, 5 + number * 0.02)
        shaky.accept(packet(number, number * 160), 8000, number * 0.02 + 0.01 * (number % 2))
    assert steady.jitter == pytest.approx(0, abs=1e-9)
    assert shaky.jitter == pytest.approx(0.01, rel=0.01)
    assert shaky.report(8).jitter == pytest.approx(80, abs=1)


def test_a_report_speaks_of_the_time_since_the_last() -> None:
    stream = Incoming(packet(0, 0), 8000)
    for number in (0, 1, 2, 3, 5, 6, 7, 9):
        stream.accept(packet(number, number * 160), 8000, 0.0)
    first = stream.report(1.0)
    assert (first.fraction_lost, first.cumulative_lost, first.highest_sequence) == (2 * 256 // 10, 2, 9)
    assert (first.last_sr, first.delay) == (0, 0)
    for number in range(10, 20):
        stream.accept(packet(number, number * 160), 8000, 0.0)
    stream.heard_report(SenderReport(9, 0x11112222_33334444, 0, 0, 0), 2.0)
    second = stream.report(2.5)
    assert (second.fraction_lost, second.cumulative_lost, second.highest_sequence) == (0, 2, 19)
    assert (second.last_sr, second.delay) == (0x22223333, 32768)


def test_repeats_make_a_negative_loss_not_a_negative_fraction() -> None:
    stream = Incoming(packet(0, 0), 8000)
    for _ in range(3):
        stream.accept(packet(0, 0), 8000, 0.0)
    report = stream.report(0.0)
    assert (report.fraction_lost, report.cumulative_lost) == (0, -2)


def test_ntp_time() -> None:
    assert ntp_time(0.0) == 2_208_988_800 << 32
    assert ntp_time(0.5) & 0xFFFFFFFF == 1 << 31
    assert middle(0x1234_5678_9ABC_DEF0) == 0x5678_9ABC
    assert ntp_time(-2_208_988_800.0 + 2.25) == 2 << 32 | 1 << 30
