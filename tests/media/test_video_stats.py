"""How evenly pictures came: rates and freezes."""

from __future__ import annotations

import pytest

from iceway.media.video_stats import Flow


def test_an_even_flow_has_a_rate_and_no_freezes() -> None:
    flow = Flow()
    for step in range(30):
        flow.shows(320, 180, step / 15)
    assert flow.rate(29 / 15) == 15
    assert flow.rate(29 / 15 + 0.5) == pytest.approx(8, abs=1)
    assert flow.rate(10.0) == 0
    assert (flow.shown, flow.freezes, flow.frozen) == (30, 0, 0.0)
    assert flow.elapsed(1.0) == 48_000


def test_a_standstill_is_a_freeze_and_unevenness_is_none() -> None:
    flow = Flow()
    for at in (0.0, 0.1, 0.2, 0.3, 0.45, 0.5, 1.5, 1.6):
        flow.shows(320, 180, at)
    assert flow.freezes == 1
    assert flow.frozen == pytest.approx(0.9, abs=0.01)


def test_a_slow_stream_that_begins_in_a_hurry_is_no_standstill() -> None:
    """The first two pictures of five a second came together, since the first had been sent again."""
    flow = Flow()
    for at in (0.0, 0.01, *(0.2 * step for step in range(1, 40))):
        flow.shows(640, 360, at)
    assert flow.freezes == 0


def test_before_the_first_picture_there_is_nothing() -> None:
    flow = Flow()
    assert (flow.rate(1.0), flow.elapsed(1.0), flow.width) == (0.0, 0, 0)
