"""How fast packets leave, and when a picture is left out."""

from __future__ import annotations

import pytest

from iceway.media.pacing import Pace


def test_packets_take_their_time_at_two_and_a_half_times_the_rate() -> None:
    assert Pace().spent(1000, 320_000, 0.0) == pytest.approx(0.01)


def test_a_second_of_debt_is_too_much_until_time_has_paid_it() -> None:
    pace = Pace()
    for _ in range(20):
        pace.spent(1000, 80_000, 0.0)
    assert pace.too_fast(80_000, 0.0)
    assert pace.too_fast(80_000, 0.9)
    assert not pace.too_fast(80_000, 1.1)
    assert pace.debt(80_000, 2.5) == 0.0
    assert not pace.too_fast(200_000, 0.0)
