from __future__ import annotations

import random
from collections import Counter

from iceway.core.machine import Answer
from iceway.core.srv import by_priority_and_weight


def srv(host: str, priority: int, weight: int = 0) -> Answer:
    return Answer(host, 3478, priority, weight)


def test_priority_orders_and_weight_shares() -> None:
    answers = [srv("backup", 20, 100), srv("small", 10, 25), srv("big", 10, 75)]
    rng = random.Random(7)
    orders = [[a.data for a in by_priority_and_weight(answers, rng)] for _ in range(1000)]
    assert {order[2] for order in orders} == {"backup"}
    first = Counter(order[0] for order in orders)
    assert 700 < first["big"] < 800
    unweighted = by_priority_and_weight([srv("a", 0), srv("b", 0)], rng)
    assert len(unweighted) == 2
