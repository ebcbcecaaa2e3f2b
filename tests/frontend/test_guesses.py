"""Who guesses passwords is slowed down, and nobody else."""

from __future__ import annotations

from iceway.frontend import guesses
from iceway.frontend.guesses import FORGET, FREE, LAST_PAUSE, Guesses

ALICE = "sip:alice@example.test"


def test_a_few_mistakes_cost_nothing_then_pauses_double() -> None:
    tries, now, pauses = Guesses(), 0.0, []
    for _ in range(FREE + 7):
        tries.wrong(ALICE, "192.0.2.1", now)
        pauses.append(tries.pause(ALICE, "192.0.2.1", now))
        now += pauses[-1]
    assert pauses == [0.0] * (FREE - 1) + [2.0, 4.0, 8.0, 16.0, 32.0, LAST_PAUSE, LAST_PAUSE, LAST_PAUSE]


def test_a_pause_is_for_one_user_from_one_site() -> None:
    tries = Guesses()
    for _ in range(FREE):
        tries.wrong(ALICE, "192.0.2.1", 0.0)
        tries.wrong(ALICE, "2001:db8::1", 0.0)
    assert tries.pause(ALICE, "192.0.2.1", 1.0) == 1.0
    assert tries.pause(ALICE, "192.0.2.2", 1.0) == 0.0
    assert tries.pause("sip:bob@example.test", "192.0.2.1", 1.0) == 0.0
    assert tries.pause(ALICE, "2001:db8::2", 1.0) == 1.0
    assert tries.pause(ALICE, "2001:db8:0:1::1", 1.0) == 0.0


def test_the_right_password_and_time_make_good() -> None:
    tries = Guesses()
    for _ in range(FREE):
        tries.wrong(ALICE, "192.0.2.1", 0.0)
    tries.right(ALICE, "192.0.2.1")
    tries.wrong(ALICE, "192.0.2.1", 1.0)
    assert tries.pause(ALICE, "192.0.2.1", 1.0) == 0.0
    for _ in range(FREE):
        tries.wrong(ALICE, "192.0.2.1", 1.0)
    tries.wrong(ALICE, "192.0.2.1", 2.0 + FORGET)
    assert tries.pause(ALICE, "192.0.2.1", 2.0 + FORGET) == 0.0


def test_a_clock_set_back_makes_nobody_wait_longer() -> None:
    tries = Guesses()
    for _ in range(FREE):
        tries.wrong(ALICE, "192.0.2.1", 10_000.0)
    assert tries.pause(ALICE, "192.0.2.1", 0.0) <= LAST_PAUSE


def test_the_table_is_bounded() -> None:
    tries = Guesses()
    for number in range(guesses.MAX_TRACKED + 10):
        tries.wrong(f"{number}" + "x" * 10_000, "192.0.2.1", 0.0)
    assert len(tries._records) == guesses.MAX_TRACKED
    assert max(len(user) for user, _ in tries._records) == 256
