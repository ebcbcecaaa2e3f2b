"""What a stream came to between two looks."""

from __future__ import annotations

import pytest

from iceway.media.delay import OneWay
from iceway.media.intervals import INTERVAL, LATER, Counts, Intervals, Link
from iceway.media.stream import ntp_time


def link(one_way: float | None = None) -> Link:
    delay = OneWay()
    if one_way is not None:
        delay.heard(ntp_time(1000.0), 1000.0 + one_way, 2 * one_way)
    return Link(0.003, None if one_way is None else 2 * one_way, delay, 0.01)


def test_each_interval_stands_for_itself() -> None:
    intervals = Intervals("c1", "audio", 10.0)
    assert intervals.look_at == 15.0
    clean = intervals.sound("PCMU", Counts(250, 40_000, 0, 240_000, 0), link(0.04), 0.06, 15.0)
    assert clean is not None
    assert (clean.call_id, clean.media, clean.span, clean.loss, clean.concealed) == ("c1", "audio", 5, 0, 0)
    assert clean.bit_rate == 64_000
    assert clean.mouth_to_ear == pytest.approx(0.1, abs=1e-4)
    assert clean.mos == pytest.approx(4.35, abs=0.01)
    lossy = intervals.sound("PCMU", Counts(475, 76_000, 25, 480_000, 24_000), link(0.04), 0.06, 20.0)
    assert lossy is not None
    assert (lossy.loss, lossy.concealed) == (0.1, 0.1)
    assert lossy.mos is not None
    assert lossy.mos < 3.4
    assert intervals.score is not None
    assert intervals.score.mos == lossy.mos
    assert lossy.wideband is False


def test_before_a_round_trip_is_known_the_delay_is_that_of_this_end() -> None:
    record = Intervals("c1", "audio", 0.0).sound("opus", Counts(250, 1, 0, 1, 0), link(), 0.06, 5.0)
    assert record is not None
    assert (record.one_way, record.mouth_to_ear, record.clocks_agree) == (None, None, None)
    assert record.wideband


def test_silence_is_said_once_and_not_rated() -> None:
    intervals = Intervals("c1", "audio", 0.0)
    assert intervals.sound("opus", Counts(250, 20_000, 0, 240_000, 0), link(), 0.06, 5.0)
    silent = intervals.sound("opus", Counts(250, 20_000, 0, 480_000, 240_000), link(), 0.06, 10.0)
    assert silent is not None
    assert (silent.bit_rate, silent.concealed, silent.mos) == (0, 1.0, None)
    assert intervals.sound("opus", Counts(250, 20_000, 0, 720_000, 480_000), link(), 0.06, 15.0) is None
    again = intervals.sound("opus", Counts(400, 32_000, 100, 960_000, 576_000), link(), 0.06, 20.0)
    assert again is not None
    assert again.span == 5.0
    assert again.loss == 0.4


def test_pictures_are_told_by_rate_and_standstills() -> None:
    intervals = Intervals("c1", "slides", 0.0)
    intervals.pictures(Counts(100, 50_000, 0, shown=50), link(0.02), 5.0)
    record = intervals.pictures(Counts(190, 90_000, 10, shown=100, freezes=2, frozen=1.5), link(0.02), 10.0)
    assert record is not None
    assert (record.media, record.frame_rate, record.freezes, record.frozen) == ("slides", 10.0, 2, 1.5)
    assert (record.loss, record.mos, record.concealed) == (0.1, None, None)


def test_a_long_call_is_looked_at_now_and_then() -> None:
    intervals = Intervals("c1", "audio", 0.0)
    looks = []
    for packets in range(1, 100):
        now = intervals.look_at
        intervals.sound("opus", Counts(packets, packets, 0, packets, 0), link(), 0.06, now)
        looks.append(intervals.look_at - now)
    assert set(looks[:59]) == {INTERVAL}
    assert set(looks[59:]) == {LATER}
