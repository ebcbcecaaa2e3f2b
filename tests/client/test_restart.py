"""When a restart begins, by whom, how often, and when the call is let go."""

from __future__ import annotations

from iceway.client.restart import CALLEE_WAITS, HELD, LIMIT, MAX_ATTEMPTS, PAUSE, Due, Restarts, Step


def next_due(restarts: Restarts) -> tuple[list[Due], float]:
    at = restarts.poll_timeout()
    assert at is not None
    return restarts.due(at), at


def test_the_caller_begins_at_once_and_the_called_one_waits() -> None:
    caller, callee = Restarts(incoming=False), Restarts(incoming=True)
    for restarts, pause in ((caller, 0.0), (callee, CALLEE_WAITS)):
        assert restarts.trouble("silent", 5.0, ours=False)
        assert next_due(restarts) == ([Due.BEGIN], 5.0 + pause)


def test_whose_network_changed_waits_for_nobody() -> None:
    callee = Restarts(incoming=True)
    callee.trouble("silent", 5.0, ours=False)
    assert not callee.trouble("the interface is gone", 5.5, ours=True)
    assert next_due(callee) == ([Due.BEGIN], 5.5)


def test_a_restart_of_the_other_side_spares_ours() -> None:
    callee = Restarts(incoming=True)
    callee.trouble("silent", 5.0, ours=False)
    callee.checking()
    assert next_due(callee) == ([Due.OVER], 5.0 + LIMIT)


def test_a_path_ends_the_trouble() -> None:
    caller = Restarts(incoming=False)
    caller.trouble("silent", 5.0, ours=False)
    caller.begun()
    assert caller.mended(6.0)
    assert not caller.mended(7.0)
    assert caller.poll_timeout() is None
    assert caller.step is Step.IDLE


def test_attempts_are_repeated_until_the_limit() -> None:
    caller = Restarts(incoming=False)
    caller.trouble("silent", 0.0, ours=False)
    caller.due(0.0)
    caller.begun()
    caller.failed(3.0)
    assert next_due(caller) == ([Due.BEGIN], 3.0 + PAUSE)


def test_a_path_that_keeps_dying_uses_up_the_attempts_and_one_that_holds_gives_them_back() -> None:
    caller = Restarts(incoming=False)
    now = 0.0
    for _ in range(MAX_ATTEMPTS):
        caller.trouble("silent", now, ours=False)
        assert caller.due(now) == [Due.BEGIN]
        caller.begun()
        caller.mended(now + 1)
        now += 5.0
    now += HELD
    caller.trouble("silent", now, ours=False)
    assert caller.due(now) == [Due.BEGIN]
    caller.begun()
    caller.mended(now + 1)
    for _ in range(MAX_ATTEMPTS - 1):
        now += 5.0
        caller.trouble("silent", now, ours=False)
        caller.due(now)
        caller.begun()
        caller.mended(now + 1)
    caller.trouble("silent", now + 2, ours=False)
    assert caller.due(now + 2) == [Due.OVER]


def test_who_is_refused_does_not_ask_again() -> None:
    caller = Restarts(incoming=False)
    caller.trouble("silent", 0.0, ours=False)
    caller.due(0.0)
    caller.begun()
    caller.offered()
    caller.refused()
    caller.trouble("the interface is gone", 2.0, ours=True)
    assert next_due(caller) == ([Due.OVER], LIMIT)
