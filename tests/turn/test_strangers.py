"""The rate of answers to strangers, by IP and by second."""

from __future__ import annotations

from iceway.turn import strangers
from iceway.turn.strangers import Strangers


def test_each_ip_has_its_own_rate_and_every_second_is_new() -> None:
    table = Strangers(2)
    assert [table.may_be_answered("a", 10.0) for _ in range(3)] == [True, True, False]
    assert table.may_be_answered("b", 10.5)
    assert not table.may_be_answered("a", 10.9)
    assert table.may_be_answered("a", 11.0)


def test_a_flood_of_sources_fills_no_memory() -> None:
    table = Strangers(2)
    answered = sum(table.may_be_answered(str(n), 10.0) for n in range(strangers.MAX_TRACKED + 100))
    assert answered == strangers.MAX_TRACKED
    assert table.may_be_answered("0", 10.0)
