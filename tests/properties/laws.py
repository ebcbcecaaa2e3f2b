"""The laws. `check(case)` plays a case and raises AssertionError where one is broken.

(a) If the oracle says that they can meet they do, in time; if not, both fail with a reason, in time.
    The one excuse is a relay over TCP or TLS to which no connection came up, for packets lost (`missed_relay`).
(b) Both ends stand on the same path, up to a moment for a move to a better one; and each hears the other.
(c) It is of the oracle's class, if nothing was lost and all was known when it was chosen; else it may be a worse one
    at first, until no packet is lost any more: then a path without relay wins, where there is one.
    A mishap ends the path for both or for none of them; where it did, a restart finds a way once there is one.
(d) After `close` nothing is left: no timer, no record, no socket, no allocation.
(e) The same case is the same trace, byte for byte (`same_again`).

*In time*: `last_told` is when the last description or candidate arrived. A valid pair must be there after

    connect = oracle's budget for this path + walk + conflict + permission + SHAKES × shake + repeats

* *walk*: an interval Ta for each pair, as the checklist may be anywhere when the last candidate comes;
* *conflict*: one check more if both begin in the same role;
* *permission*: the round trip after which a relay lets a peer through of whom it hears only now;
* *shake*: the most that jitter and reordering add to one crossing of the internet;
* *repeats*, when packets are lost: RTO × (1 + 2 + 4 + …), what the retransmissions of RFC 8445 §14.3 take, with
  RTO = max(500 ms, Ta × pairs).

A nominated pair: the longest that the agent waits for a better one later, and two round trips. A failure: after
RFC 8863's 39.5 s, and once more as long for what was checked last.
"""

from __future__ import annotations

from functools import partial

from iceway.explain.model import PathClass
from iceway.explain.path import verdicts
from iceway.ice.candidate import CandidateType
from iceway.ice.config import PATIENCE, RTO, TA, AgentConfig
from iceway.ice.nomination import MAX_WAIT
from iceway.lab.grid.networks import EDGE, ENDS, RELAY_PORT, WEB_PORT
from iceway.lab.grid.play import CLASSES, expectation
from iceway.lab.oracle import Path, expected_path, rank
from iceway.lab.oracle_budget import Expectation
from iceway.lab.topology import Link
from iceway.trace.entry import Entry, to_json
from iceway.trace.records import PairNominated, ServerUnreachable
from tests.properties.cases import Case, Mishap
from tests.properties.course import Course

SHAKES = 8
TCP_LINGERS = 70.0
"""How long a kernel tries to say goodbye on a connection whose other end is silent."""
LIFETIME = 700.0
"""In this time a relay forgets an allocation whose owner could not say goodbye (600 s, RFC 8656 §3.2)."""
ROUNDING = 1e-6
HORIZON = 150.0
MOVING = 10.0
SECOND_LOOKS = 150.0
"""In this time an agent looks again at everything that may be better, more than once."""
AFTERMATH = 120.0
"""Twice the 30 s in which consent expires (RFC 7675): the second end may only notice by the silence of the first."""


def check(case: Case) -> Course:
    course = Course(case)
    course.world.run_until(course.ended, case.skew + HORIZON)
    assert course.ended(), "an end neither selected a path nor gave up"
    mishap = case.mishap
    if mishap is None or mishap.later:
        as_the_oracle_says(course)
    if mishap is not None:
        if mishap.later:
            course.world.clock.after(mishap.at, partial(course.strike, mishap))
        survives_or_ends(course, mishap)
    leaves_nothing(course)
    return course


def same_again(case: Case) -> None:
    ours, theirs = ([to_json(entry) for entry in check(case).world.trace] for _ in range(2))
    assert ours == theirs, "the same case went otherwise the second time"


# --- (a) (b) (c) --------------------------------------------------------------------------------------------
def as_the_oracle_says(course: Course) -> None:
    expected = expectation(course.world.topology)
    if expected.path is Path.NONE:
        assert not any(course.paths), "no way was expected"
        fails_in_time(course)
        return
    if missed_relay(course, expected) and not any(course.paths):
        assert all(end.failure for end in course.ends.values())
        return
    for end in course.ends.values():
        assert end.failure is None, f"{end.name} failed, though there is {expected.path}: {end.failure}"
    in_time(course, expected)
    decided = min(e.at for e in course.world.trace if isinstance(e.record, PairNominated) and e.record.by_us)
    course.clear_weather()
    agree(course)
    fair = course.case.weather.loss == 0 and decided > course.last_told
    better_path_wins(course, expected, at_once=fair)
    assert course.speak("hello"), "what one end said did not reach the other"


def missed_relay(course: Course, expected: Expectation) -> bool:
    """Whether the only way to the relay, which nothing stops, was missed: so many packets were lost that a connection
    did not come up in its 10 s. Nobody tries again."""
    scheme = {Path.RELAY_TCP: "turn", Path.RELAY_TLS: "turns"}.get(expected.path)
    unreachable = [e.record for e in course.world.trace if isinstance(e.record, ServerUnreachable)]
    missed = any(
        scheme and one.server.startswith(f"{scheme}:") and "tcp" in one.server for one in unreachable
    )
    return course.case.weather.loss > 0 and missed


def agree(course: Course) -> None:
    """They may be under way from one path to a better one, but not for long."""
    assert course.world.run_until(lambda: course.agreed, MOVING), "the ends selected different pairs"


def better_path_wins(course: Course, expected: Expectation, *, at_once: bool) -> None:
    """Relays that nobody used are given back after a while, so there is no way from one to another then."""
    wanted = CLASSES[expected.path]
    found = path_of(course)
    assert found.rank >= wanted.rank, f"the path is {found.value}, better than {wanted.value}"
    if rank(expected.path) < rank(Path.RELAY_UDP) and not at_once:
        patience = course.world.now + SECOND_LOOKS
        while found is not wanted and course.world.now < patience:
            course.world.advance(5)
            agree(course)
            found = path_of(course)
        at_once = True
    assert found is wanted or not at_once, f"the path is {found.value}, where {wanted.value} was expected"


def path_of(course: Course) -> PathClass:
    (found,) = {one.path for one in verdicts(course.world.trace)}
    return found


def survives_or_ends(course: Course, mishap: Mishap) -> None:
    """A mishap ends a path or it does not, for both alike; and nobody waits for ever."""
    relayed = any(CandidateType.RELAY in (path.local.type, path.remote.type) for path in course.paths if path)
    course.clear_weather()
    course.world.advance(mishap.at + AFTERMATH)
    alive = [end.failure is None for end in course.ends.values()]
    assert alive[0] == alive[1], "one end goes on, the other gave up"
    if alive[0]:
        agree(course)
        assert course.speak("still here"), "the path is dead, and neither end noticed"
    else:
        assert all(end.failure for end in course.ends.values()), "a failure without a reason"
        innocent = mishap.kind.startswith("relay") and not relayed
        assert not (innocent and oracle(course, alive=False) is not Path.NONE), (
            "it could do without the relay"
        )
        course.mend(mishap)
        restarts(course)


def restarts(course: Course) -> None:
    """An ICE restart (RFC 8445 §9) finds whatever way there is now."""
    way = oracle(course)
    course.restart()
    course.world.run_until(course.ended, HORIZON)
    assert course.ended(), "after a restart an end neither selected a path nor gave up"
    if way is Path.NONE:
        assert not any(course.paths), "no way was expected after a restart"
    else:
        assert all(course.paths), f"a restart does not bring them together again, though there is {way}"
        agree(course)
        assert course.speak("here again"), "what one end said after a restart did not reach the other"


def in_time(course: Course, expected: Expectation) -> None:
    assert expected.round_trip is not None
    assert expected.to_connect is not None
    late = allowance(course, expected)
    to_connect = expected.to_connect * expected.round_trip + late
    patience = AgentConfig(True).nomination_patience + 2 * expected.round_trip
    to_select = to_connect + max(MAX_WAIT, patience) + 2 * expected.round_trip
    for end in course.ends.values():
        assert end.connected_at is not None
        assert end.selected_at is not None
        for what, at, limit in (
            ("connected", end.connected_at, to_connect),
            ("selected", end.selected_at, to_select),
        ):
            took = at - course.last_told
            assert took <= limit, f"{end.name} {what} after {took:.3f} s of {limit:.3f}"


def allowance(course: Course, expected: Expectation) -> float:
    weather, (ours, theirs) = course.case.weather, course.case.controlling
    round_trip = expected.round_trip or 0.0
    walk = TA * most_pairs(course)
    conflict = TA + round_trip if ours == theirs else 0.0
    permission = round_trip if rank(expected.path) >= rank(Path.RELAY_UDP) else 0.0
    lost = repeats(course) if weather.loss else 0.0
    return ROUNDING + walk + conflict + permission + SHAKES * shake(weather) + lost


def shake(weather: Link) -> float:
    return weather.jitter + (max(weather.delay, 0.005) if weather.reorder else 0.0)


def repeats(course: Course) -> float:
    return interval(course) * 63


def interval(course: Course) -> float:
    return max(RTO, TA * most_pairs(course))


def most_pairs(course: Course) -> int:
    reports = [end.agent.statistics(course.world.now).values() for end in course.ends.values()]
    return max(sum(entry["type"] == "candidate-pair" for entry in report) for report in reports)


def fails_in_time(course: Course) -> None:
    limit = course.last_told + 2 * PATIENCE + TA * most_pairs(course) + ROUNDING
    for end in course.ends.values():
        assert end.failure, f"{end.name} gave no reason"
    assert course.world.now <= limit, f"they gave up after {course.world.now:.1f} s of {limit:.1f}"


def oracle(course: Course, *, alive: bool = True) -> Path:
    return expected_path(course.world.topology, *ENDS, EDGE, RELAY_PORT, WEB_PORT, alive=alive)


# --- (d) ----------------------------------------------------------------------------------------------------
def leaves_nothing(course: Course) -> None:
    course.clear_weather()
    course.close()
    course.world.advance(10)
    told = len(own_records(course))
    for name, end in course.ends.items():
        assert end.agent.closed, f"{name} is not done with closing"
        assert end.agent.poll_timeout() is None, f"{name} still has a timer"
    course.world.advance(TCP_LINGERS)
    assert len(own_records(course)) == told, "something was recorded after the end"
    for name in ENDS:
        assert not course.world.sockets(name), f"{name} still has {course.world.sockets(name)}"
    if course.relay_lives:
        course.world.run_until(lambda: not course.relay.allocations, LIFETIME)
        assert not course.relay.allocations, "the relay still has allocations"


def own_records(course: Course) -> list[Entry]:
    return [entry for entry in course.world.trace if entry.node in ENDS]
