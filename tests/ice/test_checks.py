"""The order in which checks leave; timing and answers are in `test_session`."""

from __future__ import annotations

import random

import pytest

from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.core.timers import Timers
from iceway.ice.candidate import Candidate, CandidateType, priority
from iceway.ice.checklist import CandidatePair, Checklist, PairState
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.checks import Cause, Checks
from iceway.ice.config import AgentConfig
from iceway.ice.messages import Credentials
from iceway.ice.standing import Standing
from iceway.trace.records import PairChecked


class Outbox:
    def __init__(self) -> None:
        self.checked: list[tuple[int, str]] = []

    def emit(self, output: object) -> None:
        if isinstance(output, PairChecked):
            self.checked.append((output.pair, output.cause))

    def send_stun(self, base: Address, remote: Address, data: bytes, now: float) -> None: ...

    def pair_selected(self, pair: CandidatePair, now: float) -> None: ...


class Scene:
    def __init__(self, pairs: int) -> None:
        together = ChecklistSet(controlling=True)
        role = together.role.drawn(random.Random(1))
        standing = Standing(Credentials("our", "o" * 22), role, random.Random(1))
        standing.remote = Credentials("their", "t" * 22)
        self.timers, self.outbox, self.checklist = Timers(), Outbox(), Checklist(together)
        config = AgentConfig(controlling=True)
        self.checks = Checks("agent", config, standing, self.checklist, together, self.timers, self.outbox)
        together.join(self.checks, "agent")
        self.now = 0.0
        for number in range(pairs):
            self.adds(number)

    def adds(self, number: int) -> CandidatePair:
        local = self.host("10.0.0.1", 65535, "1")
        remote = self.host(f"10.0.1.{number}", 60000 - number, str(number))
        pair, _ = self.checklist.add(local, remote)
        assert pair is not None
        return pair

    def host(self, ip: str, preference: int, foundation: str) -> Candidate:
        address = Address(ip, 5000)
        rank = priority(CandidateType.HOST, preference, 1)
        return Candidate(CandidateType.HOST, address, rank, foundation, base=address)

    def runs(self, seconds: float) -> list[tuple[int, str]]:
        """Only the pacer; what left meanwhile."""
        self.outbox.checked.clear()
        end = self.now + seconds
        while (at := self.timers.at("pace")) is not None and at < end:
            self.now = at
            self.timers.cancel("pace")
            self.checks.pace(at)
        self.now = end
        return list(self.outbox.checked)


def test_triggered_checks_go_before_ordinary_ones() -> None:
    scene = Scene(3)
    last = list(scene.checklist)[-1]
    scene.checks.trigger(last, 0.0)
    assert scene.runs(0.2) == [(3, "triggered"), (1, "ordinary"), (2, "ordinary")]


def test_a_nomination_goes_before_everything() -> None:
    scene = Scene(3)
    first, second, _ = scene.checklist
    for pair in (first, second):
        scene.checks.trigger(pair, 0.0)
    first.state = PairState.SUCCEEDED
    scene.checks.nominate(first, 0.0)
    assert scene.runs(0.08) == [(1, "nomination"), (2, "triggered")]


def test_triggered_checks_do_not_starve_ordinary_ones() -> None:
    # Two symmetric NATs with lenient filters: each check shows the peer a new address, which triggers another.
    scene = Scene(10)
    pairs = list(scene.checklist)
    for pair in pairs[:8]:
        scene.checks.trigger(pair, 0.0)
    causes = [cause for _, cause in scene.runs(0.39)]
    assert causes == ["triggered"] * 3 + ["ordinary"] + ["triggered"] * 3 + ["ordinary"]


def test_a_pair_is_queued_once_however_often_it_is_triggered() -> None:
    scene = Scene(1)
    (pair,) = scene.checklist
    for _ in range(5):
        scene.checks.trigger(pair, 0.0)
    assert scene.runs(1) == [(1, "triggered")]


def test_nothing_ordinary_after_the_end_but_triggered_ones_still() -> None:
    scene = Scene(2)
    scene.checks.stop_ordinary()
    scene.checks.wake(0.0)
    assert scene.runs(1) == []
    first, _ = scene.checklist
    scene.checks.trigger(first, scene.now)
    assert scene.runs(1) == [(1, "triggered")]


def test_clearing_the_queue_forgets_what_was_triggered() -> None:
    scene = Scene(1)
    (pair,) = scene.checklist
    scene.checks.trigger(pair, 0.0)
    scene.checks.clear_queue(1)
    scene.checks.stop_ordinary()
    assert scene.runs(1) == []


def test_retransmission_slows_down_as_the_checklist_grows() -> None:
    # RFC 8445 §14.3: RTO is Ta times the pairs that wait or are in progress, 500 ms at least.
    for pairs, rto in ((2, 0.5), (40, 2.0)):
        scene = Scene(pairs)
        scene.checks.wake(0.0)
        scene.runs(0.01)
        check = scene.checks.current(next(iter(scene.checklist)))
        assert check is not None
        assert check.cause is Cause.ORDINARY
        assert scene.timers.at(check) == rto


def test_what_a_silent_pair_is_said_to_have_done() -> None:
    scene = Scene(1)
    scene.checks.wake(0.0)
    scene.runs(0.01)
    (pair,) = scene.checklist
    assert scene.checks.silence(pair, 0.3) == "no answer to 1 check in 0.3 s"
    check = scene.checks.current(pair)
    assert scene.checks.retransmit(check, 0.5)
    pair.hint = "it rains"
    assert scene.checks.silence(pair, 0.5) == "no answer to 2 checks in 0.5 s; it rains"


@pytest.mark.parametrize(
    ("proposed", "agreed"), [(None, 0.05), (0.02, 0.02), (0.005, 0.02), (0.03, 0.03), (3600.0, 1.0)]
)
def test_checks_leave_as_far_apart_as_the_slower_of_both_wants(proposed: float | None, agreed: float) -> None:
    # RFC 8839 §5.5: we propose 20 ms, and who says nothing proposes 50 ms. Nobody slows us down without end.
    scene = Scene(100)
    scene.checks.agree(proposed)
    scene.checks.wake(0.0)
    assert len(scene.runs(10 * agreed - 0.001)) == 10
    check = scene.checks.current(next(iter(scene.checklist)))
    assert scene.timers.at(check) == pytest.approx(100 * agreed)  # RFC 8445 §14.3


@pytest.mark.parametrize("ta", [0.0, 0.004, 2.0])
def test_a_pace_that_no_network_bears_is_refused(ta: float) -> None:
    with pytest.raises(UsageError, match=r"ta must be 0\.005 to 1\.0 seconds"):
        AgentConfig(controlling=True, ta=ta)


def test_once_something_works_only_what_is_better_sets_the_pace_of_repetition() -> None:
    scene = Scene(40)
    scene.checks.wake(0.0)
    scene.runs(0.26)  # the first six, each to be repeated after 2 s or little less
    pairs = list(scene.checklist)
    first, fifth, sixth = (scene.checks.current(pairs[n]) for n in (0, 4, 5))
    assert scene.timers.at(first) == 2.0
    scene.checks.done(fifth)
    pairs[4].move(PairState.SUCCEEDED)
    pairs[4].valid_priority = pairs[4].priority
    scene.checks.hasten(1, 0.26)
    assert (scene.timers.at(first), pairs[0].rto) == (0.5, 0.5)
    assert scene.timers.at(sixth) > 2.0  # worse than what works: no hurry


@pytest.mark.parametrize(("round_trip", "rto"), [(0.02, 0.5), (0.4, 0.8), (5.5, 1.0)])
def test_a_nomination_on_a_slow_path_is_repeated_a_little_later(round_trip: float, rto: float) -> None:
    scene = Scene(1)
    (pair,) = scene.checklist
    pair.state, pair.round_trip = PairState.SUCCEEDED, round_trip
    scene.checks.nominate(pair, 0.0)
    assert scene.runs(0.1) == [(1, "nomination")]
    assert scene.timers.at(scene.checks.current(pair)) == rto
