"""Named deadlines of one machine. A name is armed at most once; `due` hands each out once, in time order.

Equal instants come out in the order in which they were armed, so runs repeat exactly.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from itertools import count


class Timers:
    """A set of deadlines by name. Cancelling is O(1); stale heap entries are dropped as they surface."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable]] = []
        self._armed: dict[Hashable, tuple[float, int]] = {}
        self._order = count()

    def arm(self, name: Hashable, at: float) -> None:
        """Set (or move) the deadline `name` to the instant `at`."""
        order = next(self._order)
        self._armed[name] = (at, order)
        heapq.heappush(self._heap, (at, order, name))

    def cancel(self, name: Hashable) -> None:
        self._armed.pop(name, None)

    def clear(self) -> None:
        self._armed.clear()
        self._heap.clear()

    def at(self, name: Hashable) -> float | None:
        """The instant of a deadline, or None if it is not armed."""
        armed = self._armed.get(name)
        return armed[0] if armed else None

    def next_at(self) -> float | None:
        heap, armed = self._heap, self._armed
        while heap:  # asked more often than anything else, so nothing is called here
            at, order, name = heap[0]
            if armed.get(name) == (at, order):
                return at
            heapq.heappop(heap)
        return None

    def due(self, now: float) -> Iterator[Hashable]:
        """Disarm and yield every deadline at or before `now`, including those armed meanwhile."""
        while True:
            at = self.next_at()
            if at is None or at > now:
                return
            _, _, name = heapq.heappop(self._heap)
            del self._armed[name]
            yield name

    def __len__(self) -> int:
        return len(self._armed)
