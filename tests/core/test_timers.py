"""Named deadlines against the simplest thing that could work: a list searched for its minimum."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from iceway.core.timers import Timers

NAMES = st.sampled_from("abcd")


def test_due_hands_out_in_time_order_each_once() -> None:
    timers = Timers()
    timers.arm("late", 3.0)
    timers.arm("soon", 1.0)
    timers.arm("next", 2.0)
    assert timers.next_at() == 1.0
    assert list(timers.due(2.0)) == ["soon", "next"]
    assert list(timers.due(2.0)) == []
    assert timers.next_at() == 3.0


def test_equal_instants_come_in_the_order_they_were_armed() -> None:
    timers = Timers()
    for name in ("z", "a", "m"):
        timers.arm(name, 1.0)
    assert list(timers.due(1.0)) == ["z", "a", "m"]


def test_arming_again_moves_the_deadline() -> None:
    timers = Timers()
    timers.arm("a", 1.0)
    timers.arm("a", 5.0)
    assert len(timers) == 1
    assert list(timers.due(4.0)) == []
    assert timers.at("a") == 5.0
    timers.arm("a", 2.0)
    assert list(timers.due(4.0)) == ["a"]
    assert list(timers.due(9.0)) == []


def test_what_is_armed_while_handing_out_is_handed_out_too() -> None:
    timers = Timers()
    timers.arm("first", 1.0)
    seen = []
    for name in timers.due(2.0):
        seen.append(name)
        if name == "first":
            timers.arm("second", 2.0)
            timers.arm("third", 2.1)
    assert seen == ["first", "second"]


def test_cancelled_while_handing_out_stays_silent() -> None:
    timers = Timers()
    timers.arm("a", 1.0)
    timers.arm("b", 1.0)
    seen = []
    for name in timers.due(1.0):
        seen.append(name)
        timers.cancel("b")
    assert seen == ["a"]


class Compared(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        self.reference: dict[str, float] = {}

    @rule(name=NAMES, at=st.integers(0, 20))
    def arm(self, name: str, at: int) -> None:
        self.timers.arm(name, at)
        self.reference[name] = at

    @rule(name=NAMES)
    def cancel(self, name: str) -> None:
        self.timers.cancel(name)
        self.reference.pop(name, None)

    @rule()
    def clear(self) -> None:
        self.timers.clear()
        self.reference.clear()

    @rule(now=st.integers(0, 20))
    def due(self, now: int) -> None:
        given_out = [(self.reference.pop(str(name)), name) for name in self.timers.due(now)]
        assert [at for at, _ in given_out] == sorted(at for at, _ in given_out)
        assert all(at <= now for at, _ in given_out)
        assert all(at > now for at in self.reference.values())

    @invariant()
    def agree(self) -> None:
        assert self.timers.next_at() == min(self.reference.values(), default=None)
        assert len(self.timers) == len(self.reference)
        assert all(self.timers.at(name) == self.reference.get(name) for name in "abcd")


TestCompared = Compared.TestCase
