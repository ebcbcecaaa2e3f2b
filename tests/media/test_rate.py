"""The rate of a picture: what lowers it, what lets it grow, what it never passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.media.rate import LEAST, RateControl


class Stream:
    """Reports of so much lost and such a round trip, one a second, about a stream that uses all it may."""

    def __init__(self, start: int = 200_000, budget: int = 1_000_000) -> None:
        self.rate = RateControl(start, budget)
        self.now = 0.0

    def after(self, *reports: tuple[float, float | None], used: float = 1.0) -> int:
        for lost, round_trip in reports:
            self.now += 1.0
            self.rate.reported(lost, round_trip, int(self.rate.bit_rate * used), self.now)
        return self.rate.bit_rate


CLEAR = (0.0, 0.05)


def test_a_clear_path_lets_it_grow_up_to_the_budget() -> None:
    stream = Stream(100_000, 300_000)
    assert stream.after(CLEAR) == 100_000, "one report says what was, not what will be"
    assert stream.after(CLEAR) == 120_000
    assert stream.after(*[CLEAR] * 30) == 300_000
    stream.rate.set_budget(120_000)
    assert stream.rate.bit_rate == 120_000


def test_what_is_not_used_does_not_grow() -> None:
    assert Stream().after(*[CLEAR] * 10, used=0.3) == 200_000


def test_reports_that_come_often_do_not_let_it_grow_faster() -> None:
    rate = RateControl(100_000, 1_000_000)
    for tick in range(21):
        rate.reported(0.0, 0.05, 10**6, tick * 0.1)
    assert rate.bit_rate == pytest.approx(100_000 * 1.2**2, rel=0.02)


def test_many_losses_cut_and_some_are_borne() -> None:
    some = Stream()
    before = some.after(*[(0.04, None)] * 4)
    assert some.after((0.04, None)) == pytest.approx(1.02 * before, rel=0.001)
    more = Stream()
    before = more.after(*[(0.12, None)] * 4)
    assert more.after((0.12, None)) == before
    assert Stream().after(*[(0.3, None)] * 20) == LEAST
    # One report of ten packets of which two were lost is chance.
    assert Stream().after(CLEAR, CLEAR, (0.2, 0.05)) >= 240_000


def test_a_queue_cuts_until_it_is_gone() -> None:
    stream = Stream()
    before = stream.after(CLEAR, CLEAR)
    assert stream.after((0.0, 0.2)) == before == 240_000  # once may be jitter
    assert stream.after((0.0, 0.2)) == pytest.approx(0.75 * before, rel=0.01)
    assert stream.after((0.0, 0.2)) == pytest.approx(0.75 * before, rel=0.01)  # has not shown yet
    assert stream.after((0.0, 0.2)) == pytest.approx(0.75**2 * before, rel=0.01)
    assert stream.after(CLEAR) > 0.75**2 * before


def test_a_deep_queue_cuts_to_half() -> None:
    stream = Stream()
    assert stream.after(CLEAR, CLEAR, (0.0, 0.5)) == pytest.approx(120_000, rel=0.01)


def test_a_queue_from_the_start_shows_by_what_was_known_of_the_path() -> None:
    stream = Stream()
    stream.rate.path_changed(0.05)
    assert stream.after((0.0, 0.5)) == pytest.approx(100_000, rel=0.01)


def test_what_is_slow_whatever_we_do_is_the_path() -> None:
    """Reports that go another way than the media, or a peer that is slow to answer, are no queue for ever."""
    stream = Stream()
    stream.rate.path_changed(0.05)
    low = stream.after(*[(0.0, 0.16)] * 20)
    assert low < 100_000
    assert stream.after(*[(0.0, 0.16)] * 60) > 200_000


def test_another_path_has_other_round_trips() -> None:
    stream = Stream()
    stream.after(CLEAR)
    stream.rate.path_changed()
    before = stream.rate.bit_rate
    assert stream.after((0.0, 0.4), (0.0, 0.4)) > before


def test_it_comes_back_slowly_to_what_was_too_much() -> None:
    stream = Stream()
    stream.after(*[CLEAR] * 4, (0.0, 0.2), (0.0, 0.2))
    grown = [stream.after(CLEAR) for _ in range(8)]
    assert grown[1] / grown[0] == pytest.approx(1.06, abs=0.005)
    assert grown[-1] / grown[-2] == pytest.approx(1.02, abs=0.005)
    assert stream.after(*[CLEAR] * 50) == 1_000_000  # but not for ever


def test_silence_of_who_reported_before_is_a_bad_sign() -> None:
    rate = RateControl(200_000, 300_000)
    rate.unheard(3.0)
    assert rate.bit_rate == 120_000


def test_what_the_other_side_estimates_holds_until_the_path_changes() -> None:
    rate = RateControl(200_000, 300_000)
    rate.estimated(90_000)
    assert rate.bit_rate == 90_000
    rate.path_changed()
    assert rate.bit_rate == 200_000


@given(st.lists(st.tuples(st.floats(0, 1), st.none() | st.floats(0, 30)), max_size=40), st.integers(0, 10**7))
def test_it_stays_within_its_bounds(reports: list[tuple[float, float | None]], budget: int) -> None:
    assert LEAST <= Stream(budget=budget).after(*reports) <= max(LEAST, budget)
