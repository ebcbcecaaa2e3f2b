"""Virtual time: one heap of actions keyed by (instant, sequence), never by what they do.

Actions of one instant run in the order in which they were scheduled, so equal runs repeat exactly. Time
jumps from action to action; nobody waits.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class Clock:
    """The time of a world. `now` starts at zero and only moves when somebody steps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Action]] = []
        self._sequence = count()

    def at(self, instant: float, action: Action) -> None:
        """Run the action at the instant, or now if that has passed."""
        heapq.heappush(self._heap, (max(instant, self.now), next(self._sequence), action))

    def after(self, delay: float, action: Action) -> None:
        self.at(self.now + delay, action)

    def next_at(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def step(self) -> None:
        """Run the earliest action; there must be one."""
        self.now, _, action = heapq.heappop(self._heap)
        action()
