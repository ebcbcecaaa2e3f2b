"""Pairs: their order, their states, and who has to go when there are too many."""

from __future__ import annotations

import pytest

from iceway.core.address import Address
from iceway.ice.candidate import Candidate, CandidateType, priority
from iceway.ice.checklist import TRANSITIONS, CandidatePair, Checklist, PairState, Prospect, pair_priority
from iceway.ice.checklist_set import ChecklistSet


def host(ip: str, preference: int = 65535, foundation: str = "1", component: int = 1) -> Candidate:
    address = Address(ip, 5000)
    return Candidate(
        CandidateType.HOST,
        address,
        priority(CandidateType.HOST, preference, component),
        foundation,
        component,
        base=address,
    )


def added(checklist: Checklist, local: Candidate, remote: Candidate) -> CandidatePair:
    pair, _ = checklist.add(local, remote)
    assert pair is not None
    return pair


def test_pair_priority_is_that_of_rfc_8445_6_1_2_3() -> None:
    g, d = 2130706431, 1694498815
    assert pair_priority(g, d) == 2**32 * d + 2 * g + 1
    assert pair_priority(d, g) == 2**32 * d + 2 * g


def test_both_agents_give_a_pair_the_same_priority() -> None:
    ours, theirs = host("10.0.0.1"), host("10.0.0.2", 1000)
    controlling, controlled = Checklist(ChecklistSet(True)), Checklist(ChecklistSet(False))
    assert controlling.priority_of(ours, theirs) == controlled.priority_of(theirs, ours)


def test_pairs_come_best_first() -> None:
    checklist = Checklist(ChecklistSet(True))
    ours = host("10.0.0.1")
    worse = added(checklist, ours, host("10.0.0.2", 100, "2"))
    better = added(checklist, ours, host("10.0.0.3", 200, "3"))
    assert list(checklist) == [better, worse]
    assert checklist.next_ordinary() is better


def test_pairs_that_hardly_work_come_last_until_something_works() -> None:
    checklist, ours = Checklist(ChecklistSet(True)), host("10.0.0.1")
    poor, better, worse = (added(checklist, ours, host(f"10.0.0.{n}", 900 - n, str(n))) for n in (2, 3, 4))
    poor.prospect = Prospect.POOR
    assert checklist.next_ordinary() is better
    assert checklist.next_ordinary([better]) is worse
    assert checklist.next_ordinary([better, worse]) is poor
    better.move(PairState.SUCCEEDED)  # from now on the question is what may be better still
    assert checklist.next_ordinary() is poor


def test_what_is_hoped_for_is_under_way_and_better_as_the_peer_will_see_it() -> None:
    checklist, ours = Checklist(ChecklistSet(True)), host("10.0.0.1")
    best, middle, least = (added(checklist, ours, host(f"10.0.0.{n}", 900 - n, str(n))) for n in (2, 3, 4))
    assert checklist.hoped_for(1, least.priority) == [best, middle]
    assert checklist.hoped_for(2, 0) == []
    best.hoped_local = host("198.51.100.1", 1)
    assert checklist.hoped_for(1, least.priority) == [middle]
    middle.move(PairState.FAILED)
    assert checklist.hoped_for(1, least.priority) == []


def test_pairs_of_a_kind_stay_frozen_behind_the_first() -> None:
    checklist = Checklist(ChecklistSet(True))
    ours = host("10.0.0.1")
    first = added(checklist, ours, host("10.0.0.2", 200))
    second = added(checklist, ours, host("10.0.0.3", 100))
    assert (first.state, second.state) == (PairState.WAITING, PairState.FROZEN)
    first.move(PairState.IN_PROGRESS)
    first.move(PairState.SUCCEEDED)
    checklist.thaw(first.foundation)
    assert second.state is PairState.WAITING


def test_a_frozen_pair_thaws_when_there_is_nothing_else_to_do() -> None:
    checklist = Checklist(ChecklistSet(True))
    ours = host("10.0.0.1")
    first = added(checklist, ours, host("10.0.0.2", 200))
    second = added(checklist, ours, host("10.0.0.3", 100))
    first.move(PairState.IN_PROGRESS)
    assert checklist.next_ordinary() is second


def test_the_best_hundred_stay() -> None:
    checklist = Checklist(ChecklistSet(True), limit=3)
    ours = host("10.0.0.1")
    pairs = [added(checklist, ours, host(f"10.0.1.{n}", 100 + n)) for n in range(3)]
    pair, dropped = checklist.add(ours, host("10.0.1.9", 99))
    assert pair is None
    assert dropped is not None
    assert dropped.remote.address.ip == "10.0.1.9"
    pair, dropped = checklist.add(ours, host("10.0.1.10", 200))
    assert pair is not None
    assert dropped is pairs[0]
    assert len(checklist) == 3
    assert checklist.find(pairs[0].base, pairs[0].remote.address) is None


def test_a_pair_that_the_peer_checks_gets_in_even_if_it_is_the_worst() -> None:
    checklist = Checklist(ChecklistSet(True), limit=2)
    ours = host("10.0.0.1")
    for n in range(2):
        added(checklist, ours, host(f"10.0.1.{n}", 100 + n))
    pair, dropped = checklist.add(ours, host("10.0.1.9", 1), needed=True)
    assert pair is not None
    assert dropped is not None


def test_pairs_under_way_are_never_thrown_out() -> None:
    checklist = Checklist(ChecklistSet(True), limit=1)
    ours = host("10.0.0.1")
    added(checklist, ours, host("10.0.1.1", 1)).move(PairState.IN_PROGRESS)
    pair, _ = checklist.add(ours, host("10.0.1.2", 999), needed=True)
    assert pair is None
    assert len(checklist) == 1


def test_a_role_switch_turns_the_order_around_where_it_must() -> None:
    together = ChecklistSet(True)
    checklist = Checklist(together)
    a = added(checklist, host("10.0.0.1", 900), host("10.0.1.1", 100))
    before = a.priority
    together.role.switch()
    checklist.role_switched()
    assert a.priority == before - 1


def test_a_learned_candidate_takes_the_rank_of_the_announced_one() -> None:
    checklist = Checklist(ChecklistSet(True))
    learned = Candidate(CandidateType.PRFLX, Address("10.0.1.1", 5000), 7, "learned1")
    pair = added(checklist, host("10.0.0.1"), learned)
    before = pair.priority
    announced = host("10.0.1.1")
    assert checklist.replace_remote(learned, announced) == [pair]
    assert pair.remote is announced
    assert pair.priority > before


@pytest.mark.parametrize(
    ("state", "then"),
    [(PairState.FROZEN, PairState.SUCCEEDED), (PairState.SUCCEEDED, PairState.IN_PROGRESS)],
)
def test_impossible_steps_are_our_bugs(state: PairState, then: PairState) -> None:
    pair = added(Checklist(ChecklistSet(True)), host("10.0.0.1"), host("10.0.0.2"))
    pair.state = state
    with pytest.raises(AssertionError, match="cannot go"):
        pair.move(then)


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(PairState)
