"""When an offer may go out."""

from __future__ import annotations

import pytest

from iceway.ice.candidate import CandidateType
from iceway.ice.settling import SETTLE, SETTLE_ALONE, Settling

HOST, SRFLX, RELAY = CandidateType.HOST, CandidateType.SRFLX, CandidateType.RELAY


@pytest.mark.parametrize(
    ("found", "busy", "relays_wanted", "after"),
    [
        ([HOST], False, True, 0.0),
        ([HOST], True, True, SETTLE_ALONE),
        ([HOST, SRFLX], True, True, SETTLE_ALONE),
        ([HOST, SRFLX], True, False, SETTLE),
        ([HOST, RELAY], True, True, SETTLE),
    ],
)
def test_the_best_kind_of_candidate_there_can_be_ends_the_wait(
    found: list[CandidateType], busy: bool, relays_wanted: bool, after: float
) -> None:
    settling = Settling()
    settling.begin(100.0)
    assert settling.at(found, busy=busy, relays_wanted=relays_wanted) == 100.0 + after


def test_slow_answers_are_waited_for_in_round_trips_until_the_next_gathering() -> None:
    settling = Settling()
    settling.begin(0.0)
    settling.answered(0.6)
    settling.answered(0.2)
    assert settling.at([RELAY], busy=True, relays_wanted=True) == pytest.approx(2.4)
    settling.begin(0.0)
    assert settling.at([RELAY], busy=True, relays_wanted=True) == SETTLE
