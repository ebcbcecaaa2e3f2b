"""The order of SRV records (RFC 2782): by priority, and by chance according to weight within one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.core.machine import Answer

if TYPE_CHECKING:
    from random import Random


def by_priority_and_weight(answers: list[Answer], rng: Random) -> list[Answer]:
    """SRV records in the order in which to try them (RFC 2782)."""
    ordered = []
    left = sorted(answers, key=lambda answer: (answer.priority, answer.weight))
    while left:
        priority = left[0].priority
        group = [answer for answer in left if answer.priority == priority]
        mark = rng.random() * sum(answer.weight for answer in group)
        chosen = group[-1]
        for answer in group:
            mark -= answer.weight
            if mark <= 0:
                chosen = answer
                break
        ordered.append(chosen)
        left.remove(chosen)
    return ordered
