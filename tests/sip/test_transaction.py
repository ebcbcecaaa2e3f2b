"""The transaction tables are whole, and their timers last as long as the RFC says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.sip.transaction import (
    FIRST_STATE,
    TABLES,
    TIMERS,
    Action,
    Happening,
    Kind,
    State,
    Timer,
    Transaction,
    happening,
)
from iceway.wire.sip import Request, Response

every_kind = pytest.mark.parametrize("kind", list(Kind))
EVENTS = [*Timer, *Happening]


def a_transaction(kind: Kind, reliable: bool = False) -> Transaction:
    return Transaction("t", kind, Request("INVITE", "sip:x"), "flow", reliable)


def successors(kind: Kind, state: State) -> set[State]:
    return {after for (before, _), (after, _) in TABLES[kind].items() if before is state}


def reachable(kind: Kind, start: State) -> set[State]:
    found, front = {start}, {start}
    while front:
        front = {after for state in front for after in successors(kind, state)} - found
        found |= front
    return found


@every_kind
def test_every_state_is_reached_and_leads_to_an_end(kind: Kind) -> None:
    states = {state for state, _ in TABLES[kind]}
    assert states | {State.TERMINATED} == reachable(kind, FIRST_STATE[kind])
    assert all(State.TERMINATED in reachable(kind, state) for state in states)
    assert State.TERMINATED not in states, "nothing happens after the end"


@every_kind
def test_the_timers_of_a_state_are_those_its_rows_know(kind: Kind) -> None:
    rows = {(state, event) for state, event in TABLES[kind] if isinstance(event, Timer)}
    running = {(state, timer) for state, timers in TIMERS[kind].items() for timer in timers}
    assert rows == running


@every_kind
def test_the_user_hears_of_every_end_that_nobody_answered(kind: Kind) -> None:
    """Only a server's user, who simply never answered, is not told so."""
    for (state, event), (after, actions) in TABLES[kind].items():
        before_final = state in (State.CALLING, State.TRYING, State.PROCEEDING)
        if before_final and after is State.TERMINATED and event is not Timer.ABANDONED:
            assert set(actions) & {Action.TIMED_OUT, Action.FAILED}


@given(st.sampled_from(list(Kind)), st.booleans(), st.lists(st.sampled_from(EVENTS), max_size=30))
def test_any_order_of_events_is_borne(kind: Kind, reliable: bool, events: list[Timer | Happening]) -> None:
    transaction = a_transaction(kind, reliable)
    for event in events:
        known = (transaction.state, event) in TABLES[kind]
        before = transaction.state
        actions = transaction.step(event)
        assert known or (actions == () and transaction.state is before)
        assert all(seconds >= 0 for seconds in transaction.timers().values())


@pytest.mark.parametrize(
    ("kind", "state", "unreliable", "reliable"),
    [
        (Kind.INVITE_CLIENT, State.CALLING, {Timer.A: 0.5, Timer.B: 32}, {Timer.B: 32}),
        (Kind.INVITE_CLIENT, State.COMPLETED, {Timer.D: 32}, {Timer.D: 0}),
        (Kind.INVITE_CLIENT, State.ACCEPTED, {Timer.M: 32}, {Timer.M: 32}),
        (Kind.CLIENT, State.TRYING, {Timer.E: 0.5, Timer.F: 32}, {Timer.F: 32}),
        (Kind.CLIENT, State.PROCEEDING, {Timer.E: 4, Timer.F: 32}, {Timer.F: 32}),
        (Kind.CLIENT, State.COMPLETED, {Timer.K: 5}, {Timer.K: 0}),
        (Kind.INVITE_SERVER, State.COMPLETED, {Timer.G: 0.5, Timer.H: 32}, {Timer.H: 32}),
        (Kind.INVITE_SERVER, State.CONFIRMED, {Timer.I: 5}, {Timer.I: 0}),
        (Kind.INVITE_SERVER, State.ACCEPTED, {Timer.L: 32}, {Timer.L: 32}),
        (Kind.SERVER, State.COMPLETED, {Timer.J: 32}, {Timer.J: 0}),
    ],
)
def test_how_long_timers_last(
    kind: Kind, state: State, unreliable: dict[Timer, float], reliable: dict[Timer, float]
) -> None:
    for is_reliable, expected in ((False, unreliable), (True, reliable)):
        transaction = a_transaction(kind, is_reliable)
        transaction.state = state
        assert transaction.timers() == expected


def test_trying_is_said_only_while_nothing_else_was() -> None:
    transaction = a_transaction(Kind.INVITE_SERVER)
    assert transaction.timers() == {Timer.TRYING: 0.2}
    transaction.response = Response(180)
    assert transaction.timers() == {}


def test_what_a_response_is_to_whom() -> None:
    received = [happening(Response(status), sending=False) for status in (100, 200, 302, 600)]
    assert received == [Happening.PROVISIONAL, Happening.SUCCESS, Happening.FAILURE, Happening.FAILURE]
    assert happening(Response(183), sending=True) is Happening.SEND_PROVISIONAL
