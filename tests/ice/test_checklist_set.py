"""What streams share, piece by piece."""

from __future__ import annotations

import random

from iceway.core.address import Address
from iceway.ice.candidate import Candidate, CandidateType, priority
from iceway.ice.checklist import CandidatePair, Checklist, PairState
from iceway.ice.checklist_set import ChecklistSet, Role, Slots
from iceway.ice.config import MAX_PAIRS


def host(ip: str, preference: int = 65535, foundation: str = "1") -> Candidate:
    address = Address(ip, 5000)
    return Candidate(
        CandidateType.HOST, address, priority(CandidateType.HOST, preference, 1), foundation, base=address
    )


class Stream:
    """A checklist that sends whatever it has, and how often it was woken."""

    def __init__(self, together: ChecklistSet, name: str) -> None:
        self.checklist = Checklist(together)
        self.stopped = False
        self.name = name
        self.sent: list[CandidatePair] = []
        self.woken = 0
        self.together = together
        together.join(self, name)

    def wake(self, now: float) -> None:
        self.woken += 1

    def send_next(self, now: float) -> float | None:
        pair = self.checklist.next_ordinary()
        if pair is None:
            return None
        pair.move(PairState.IN_PROGRESS)
        self.sent.append(pair)
        return 0.020

    def has(self, *foundations: str) -> list[CandidatePair]:
        found = []
        for number, foundation in enumerate(foundations):
            pair, _ = self.checklist.add(
                host("10.0.0.1"), host(f"10.0.1.{number}", 60000 - number, foundation)
            )
            assert pair is not None
            found.append(pair)
        return found

    def ends(self, pair: CandidatePair, state: PairState, now: float = 0.0) -> None:
        pair.move(state)
        if state is PairState.SUCCEEDED:
            self.together.thaw(pair.foundation)
        self.together.stir(self.checklist, now)


def streams(count: int) -> tuple[ChecklistSet, list[Stream]]:
    together = ChecklistSet(controlling=True)
    return together, [Stream(together, f"stream {number}") for number in range(count)]


def test_turns_go_round() -> None:
    together, members = streams(3)
    for number, member in enumerate(members):
        member.has(*(f"{number}.{n}" for n in range(4)))
    for tick in range(12):
        assert together.pace(tick * 0.021)
        counts = [len(member.sent) for member in members]
        assert max(counts) - min(counts) <= 1
    assert not together.pace(1.0)


def test_nobody_is_faster_than_the_pace_of_all() -> None:
    together, (one, two) = streams(2)
    one.has("a", "b")
    two.has("c")
    assert together.pace(5.0)
    assert together.pace(5.010)  # too early: come again
    assert len(one.sent) + len(two.sent) == 1
    assert together.next_at == 5.020
    assert together.pace(5.020)
    assert len(one.sent) + len(two.sent) == 2


def test_the_next_in_turn_with_something_to_send_sends() -> None:
    together, (_, two, _) = streams(3)
    two.has("a", "b")
    assert together.pace(0.0)
    assert together.pace(0.020)
    assert len(two.sent) == 2


def test_the_table_of_rfc_8445_6_1_2_6() -> None:
    """Of every foundation in the set one pair waits, the first of them; the others are frozen."""
    _, (one, two, three) = streams(3)
    first = one.has("a", "b", "c")
    second = two.has("a", "b", "c", "d")
    third = three.has("d", "a")
    assert [pair.state for pair in first] == [PairState.WAITING] * 3
    assert [pair.state for pair in second] == [PairState.FROZEN] * 3 + [PairState.WAITING]
    assert [pair.state for pair in third] == [PairState.FROZEN] * 2


def test_what_works_in_one_stream_is_tried_in_the_others_at_once() -> None:
    _, (one, two) = streams(2)
    (first,), (second, other) = one.has("a"), two.has("a", "b")
    assert two.send_next(0.0)
    assert two.sent == [other]
    assert two.send_next(0.0) is None  # its like is under way elsewhere
    first.move(PairState.IN_PROGRESS)
    one.ends(first, PairState.SUCCEEDED)
    assert second.state is PairState.WAITING
    assert two.woken == 1
    (late,) = one.has("a")
    assert late.state is PairState.WAITING


def test_what_failed_in_one_stream_is_still_tried_in_the_others_but_last() -> None:
    _, (one, two) = streams(2)
    (first,), (second,) = one.has("a"), two.has("a")
    first.move(PairState.IN_PROGRESS)
    assert two.send_next(0.0) is None
    one.ends(first, PairState.FAILED)
    assert two.woken == 1
    assert two.send_next(0.0)
    assert two.sent == [second]


def test_streams_that_wait_for_each_other_do_not_wake_each_other_forever() -> None:
    together, (one, two) = streams(2)
    (first, _), _ = one.has("a", "b"), two.has("b", "a")
    first.move(PairState.IN_PROGRESS)
    one.ends(first, PairState.FAILED)
    assert two.woken == 1
    for member in (one, two) * 3:
        together.stir(member.checklist, 0.0)
    assert (one.woken, two.woken) == (0, 1)


def test_a_stream_that_stopped_holds_up_nobody() -> None:
    _, (one, two) = streams(2)
    one.has("a")
    (second,) = two.has("a")
    one.stopped = True
    assert two.send_next(0.0)
    assert two.sent == [second]


def test_a_pair_whose_turn_never_comes_holds_up_nobody() -> None:
    _, (one, two) = streams(2)
    (first,), (second,) = one.has("a"), two.has("a")
    one.checklist.enough[1] = first.priority  # what it has is as good
    assert two.send_next(0.0)
    assert two.sent == [second]


def test_a_restart_does_not_wait_for_what_the_stream_tried_before() -> None:
    together = ChecklistSet(True)
    before, now = Stream(together, "audio"), Stream(together, "audio")
    before.has("a")
    (again,) = now.has("a")
    assert again.state is PairState.WAITING


def test_who_waited_for_a_stream_that_leaves_goes_on() -> None:
    together, (one, two) = streams(2)
    one.has("a")
    two.has("a")
    assert two.send_next(0.0) is None
    together.leave(one, 0.0)
    assert two.woken == 1
    assert two.send_next(0.0)


def test_all_streams_share_a_hundred_pairs() -> None:
    together, (one, two) = streams(2)
    assert one.checklist.limit == two.checklist.limit == MAX_PAIRS // 2
    again = Stream(together, two.name)  # a restart: the same stream, two sessions
    assert again.checklist.limit == MAX_PAIRS // 2
    together.leave(two, 0.0)
    together.leave(again, 0.0)
    together.leave(again, 0.0)
    assert one.checklist.limit == MAX_PAIRS


def test_a_switched_role_is_told_to_all() -> None:
    role = Role(True).drawn(random.Random(1))
    told: list[str] = []
    for agent in ("a", "b", "c"):
        role.listen(agent, lambda agent=agent: told.append(agent))  # type: ignore[misc]
    role.forget("b")
    role.switch()
    assert told == ["a", "c"]
    assert not role.controlling
    assert role.drawn(random.Random(2)).tie_breaker == role.tie_breaker


def test_slots_follow_each_other() -> None:
    slots = Slots()
    assert [slots.reserve(1.0, 0.5) for _ in range(3)] == [1.0, 1.5, 2.0]
    assert slots.reserve(9.0, 0.5) == 9.0
