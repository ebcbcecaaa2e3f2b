"""When to nominate, and whom to follow."""

from __future__ import annotations

import pytest

from iceway.core.address import Address
from iceway.ice.candidate import Candidate, CandidateType, local_preference, priority
from iceway.ice.checklist import CandidatePair, PairState, Prospect, pair_priority
from iceway.ice.nomination import MAX_WAIT, SLACK, Following, Nominate, decide


def candidate(type: CandidateType, ip: str) -> Candidate:
    address = Address(ip, 5000)
    return Candidate(type, address, priority(type, local_preference(0), 1), "1", base=address)


def pair(id: int, type: CandidateType, state: PairState, began: float | None = 0.0) -> CandidatePair:
    local, remote = candidate(type, f"10.0.0.{id}"), candidate(type, f"10.0.1.{id}")
    rank = pair_priority(local.priority, remote.priority)
    made = CandidatePair(id, local, remote, rank, state, first_sent_at=began)
    made.valid_priority = rank
    made.measured(0.02)
    return made


def plan(
    valid: list[CandidatePair], others: list[CandidatePair], now: float, **more: object
) -> Nominate | None:
    given = {"valid_since": 1.0, "more_to_come": False, "patience": 0.4} | more
    return decide(valid, others, now=now, **given)


HOST, RELAY = CandidateType.HOST, CandidateType.RELAY


def test_nothing_valid_nothing_to_nominate() -> None:
    assert plan([], [pair(1, HOST, PairState.IN_PROGRESS)], 1.0) is None


def test_the_best_possible_pair_is_nominated_at_once() -> None:
    best = pair(1, HOST, PairState.SUCCEEDED)
    assert plan([best], [], 1.0) == Nominate(best, 1.0)


def test_a_better_pair_under_way_is_given_its_patience() -> None:
    relayed = pair(2, RELAY, PairState.SUCCEEDED)
    direct = pair(1, HOST, PairState.IN_PROGRESS, began=0.8)
    assert plan([relayed], [direct], 1.0) == Nominate(relayed, 1.44)


def test_a_better_pair_that_was_only_just_checked_gets_its_full_time() -> None:
    relayed = pair(2, RELAY, PairState.SUCCEEDED)
    assert plan([relayed], [pair(1, HOST, PairState.IN_PROGRESS, began=1.5)], 1.75) == Nominate(relayed, 1.94)


def test_waiting_ends_even_if_the_checklist_is_long() -> None:
    relayed = pair(2, RELAY, PairState.SUCCEEDED)
    unchecked = pair(1, HOST, PairState.WAITING, began=None)
    assert plan([relayed], [unchecked], 3.9) == Nominate(relayed, 1.0 + MAX_WAIT)
    assert plan([relayed], [unchecked], 9.0) == Nominate(relayed, 9.0)


def test_slow_paths_are_given_time_in_round_trips() -> None:
    relayed = pair(2, RELAY, PairState.SUCCEEDED)
    relayed.measured(0.6)
    assert plan([relayed], [pair(1, HOST, PairState.IN_PROGRESS)], 1.0) == Nominate(relayed, 2.6)


def test_where_checks_are_repeated_later_they_are_waited_for_longer() -> None:
    # RFC 8445 §14.3: a long checklist on both sides. The peer's second check is what opens the way.
    relayed, direct = pair(2, RELAY, PairState.SUCCEEDED), pair(1, HOST, PairState.IN_PROGRESS)
    direct.rto = 1.2
    assert plan([relayed], [direct], 1.0) == Nominate(relayed, pytest.approx(1.44 + 0.7))


def test_what_may_have_been_a_long_round_trip_is_taken_for_one() -> None:
    """Of a check that was repeated nobody knows which request was answered; the first may have been."""
    relayed = pair(2, RELAY, PairState.SUCCEEDED)
    relayed.measured(0.1, at_most=1.6)
    direct = pair(1, HOST, PairState.IN_PROGRESS)
    assert plan([relayed], [direct], 1.0) == Nominate(relayed, pytest.approx(1.0 + 0.4 + 2 * 1.6))


def test_a_pair_that_hardly_works_gets_one_round_trip_from_its_first_check() -> None:
    relayed = pair(2, RELAY, PairState.SUCCEEDED)
    relayed.measured(0.1)
    poor = pair(1, HOST, PairState.IN_PROGRESS, began=0.95)
    poor.prospect = Prospect.POOR
    assert plan([relayed], [poor], 1.0) == Nominate(relayed, pytest.approx(0.95 + 0.1 + SLACK))
    poor.first_sent_at = None
    assert plan([relayed], [poor], 1.0) == Nominate(relayed, pytest.approx(1.0 + 0.1 + SLACK))


def test_a_pair_on_which_the_peer_was_heard_is_never_poor() -> None:
    relayed = pair(2, RELAY, PairState.SUCCEEDED)
    poor = pair(1, HOST, PairState.IN_PROGRESS, began=0.5)
    poor.prospect, poor.heard_at = Prospect.POOR, 1.4
    assert plan([relayed], [poor], 1.41) == Nominate(relayed, pytest.approx(1.4 + 2 * 0.02 + SLACK))


def test_a_pair_that_cannot_work_is_not_waited_for() -> None:
    relayed = pair(2, RELAY, PairState.SUCCEEDED)
    void = pair(1, HOST, PairState.IN_PROGRESS, began=0.99)
    void.prospect, void.heard_at = Prospect.NONE, 1.0
    assert plan([relayed], [void], 1.0) == Nominate(relayed, 1.0)


def test_a_relayed_path_waits_for_candidates_that_are_still_to_come_and_a_direct_one_does_not() -> None:
    relayed, direct = pair(2, RELAY, PairState.SUCCEEDED), pair(1, HOST, PairState.SUCCEEDED)
    assert plan([relayed], [], 1.0, more_to_come=True) == Nominate(relayed, 1.44)
    assert plan([direct], [], 1.0, more_to_come=True) == Nominate(direct, 1.0)


def test_the_last_nomination_holds() -> None:
    following = Following()
    better, worse = pair(1, HOST, PairState.SUCCEEDED), pair(2, RELAY, PairState.SUCCEEDED)
    assert following.nominated(better, b"1", first_check=False)
    assert following.nominated(worse, b"2", first_check=False)
    assert following.wanted is worse


def test_a_retransmission_that_comes_late_changes_nothing() -> None:
    following = Following()
    old, new = pair(1, HOST, PairState.SUCCEEDED), pair(2, RELAY, PairState.SUCCEEDED)
    following.nominated(old, b"1", first_check=False)
    following.nominated(new, b"2", first_check=False)
    assert not following.nominated(old, b"1", first_check=False)
    assert following.wanted is new


def test_a_peer_that_nominates_everything_means_the_best() -> None:
    # RFC 5245 §8.1.1.2: USE-CANDIDATE in the very first check of a pair.
    following = Following()
    better, worse = pair(1, HOST, PairState.SUCCEEDED), pair(2, RELAY, PairState.SUCCEEDED)
    following.nominated(better, b"1", first_check=True)
    assert not following.nominated(worse, b"2", first_check=True)
    assert following.wanted is better


def test_the_highest_number_holds_however_late_another_comes() -> None:
    following = Following()
    old, new = pair(1, HOST, PairState.SUCCEEDED), pair(2, RELAY, PairState.SUCCEEDED)
    assert following.nominated(new, b"2", first_check=True, number=2)
    assert not following.nominated(old, b"1", first_check=False, number=1)
    assert not following.nominated(old, b"3", first_check=False, number=2)
    assert following.wanted is new
    assert not following.nominated(new, b"4", first_check=False, number=3)  # the same, said again
    assert following.nominated(old, b"5", first_check=False, number=4)


def test_memory_of_nominations_is_bounded() -> None:
    following = Following()
    one = pair(1, HOST, PairState.SUCCEEDED)
    for number in range(1000):
        following.nominated(one, str(number).encode(), first_check=False)
    assert len(following._seen) <= 64
