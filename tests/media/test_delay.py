"""One-way delay by the times in sender reports, with clocks that agree and clocks that do not."""

from __future__ import annotations

import pytest

from iceway.media.delay import OneWay
from iceway.media.stream import ntp_time

NOON = 1_800_000_000.0


def told(*trips: tuple[float, float], ahead: float = 0.0, round_trip: float | None = 0.08) -> OneWay:
    """Reports sent at an instant that take so long; the other side's clock is `ahead`."""
    delay = OneWay()
    for sent, took in trips:
        delay.heard(ntp_time(NOON + sent + ahead), NOON + sent + took, round_trip)
    return delay


def test_clocks_that_agree_tell_each_way_apart() -> None:
    delay = told((0, 0.065), round_trip=0.08)
    assert delay.clocks_agree
    assert delay.seconds == pytest.approx(0.065, abs=1e-5)


@pytest.mark.parametrize("ahead", [-3600.0, -0.5, 0.5, 3600.0])
def test_clocks_that_differ_leave_half_a_round_trip_and_what_comes_on_top(ahead: float) -> None:
    delay = told((0, 0.065), ahead=ahead)
    assert delay.clocks_agree is False
    assert delay.seconds == pytest.approx(0.04, abs=1e-5)
    # A queue of 100 ms builds up; nobody's clock matters for that.
    delay = told((0, 0.065), (5, 0.165), ahead=ahead)
    assert delay.seconds == pytest.approx(0.14, abs=1e-5)


def test_without_a_round_trip_nothing_is_said() -> None:
    delay = told((0, 0.065), round_trip=None)
    assert (delay.seconds, delay.clocks_agree) == (None, None)
    assert (OneWay().seconds, OneWay().clocks_agree) == (None, None)


def test_the_year_2036_is_like_any_other() -> None:
    around = (1 << 32) - 2_208_988_800  # the Unix second in which the NTP seconds begin anew
    delay = OneWay()
    delay.heard(ntp_time(around - 0.02), around + 0.02, 0.08)
    assert delay.clocks_agree
    assert delay.seconds == pytest.approx(0.04, abs=1e-5)


def test_another_path_is_measured_anew() -> None:
    delay = told((0, 0.01), round_trip=0.02)
    delay.forget()
    assert delay.seconds is None
    delay.heard(ntp_time(NOON + 5), NOON + 5.2, 0.4)
    assert delay.seconds == pytest.approx(0.2, abs=1e-5)
