"""The rate of a picture: what lowers it, what lets it grow, what it never passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.media.rate import LEAST, RateControl


def after(rate: RateControl, *reports: tuple[float, float | None]) -> int:
    for lost, round_trip in reports:
        rate.reported(lost, round_trip)
    return rate.bit_rate


def test_a_clear_path_lets_it_grow_up_to_the_budget() -> None:
    rate = RateControl(100_000, 300_000)
    assert after(rate, (0.0, 0.05)) == 108_000
    assert after(rate, *[(0.01, 0.05)] * 30) == 300_000
    rate.set_budget(120_000)
    assert rate.bit_rate == 120_000


def test_losses_cut_and_some_are_borne() -> None:
    assert after(RateControl(200_000, 300_000), (0.05, None)) == 200_000
    assert after(RateControl(200_000, 300_000), (0.2, None)) == 180_000


def test_a_queue_cuts_too_until_it_is_gone() -> None:
    rate = RateControl(200_000, 300_000)
    assert after(rate, (0.03, 0.05), (0.0, 0.3)) == 170_000
    assert after(rate, (0.03, 0.06)) == 170_000
    rate.path_changed()
    assert after(rate, (0.03, 0.3)) == 170_000  # on this path that is no queue


def test_it_comes_back_slowly_to_what_was_too_much() -> None:
    rate = RateControl(200_000, 1_000_000)
    assert after(rate, *[(0.0, 0.05)] * 4, (0.4, 0.05)) == pytest.approx(217_000, abs=1000)
    grown = [after(rate, (0.0, 0.05)) for _ in range(5)]
    assert grown[0] == pytest.approx(1.08 * 217_000, rel=0.01)
    assert grown[-1] < 1.02 * grown[-2] + 1  # 272 kbit/s were too much
    assert after(rate, *[(0.0, 0.05)] * 40) > 500_000  # but not for ever


def test_what_the_other_side_estimates_holds_until_the_path_changes() -> None:
    rate = RateControl(200_000, 300_000)
    rate.estimated(90_000)
    assert rate.bit_rate == 90_000
    rate.path_changed()
    assert rate.bit_rate == 200_000


@given(st.lists(st.tuples(st.floats(0, 1), st.none() | st.floats(0, 30)), max_size=40), st.integers(0, 10**7))
def test_it_stays_within_its_bounds(reports: list[tuple[float, float | None]], budget: int) -> None:
    assert LEAST <= after(RateControl(200_000, budget), *reports) <= max(LEAST, budget)
