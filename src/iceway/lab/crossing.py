"""What crossing a link does to one packet after another, wherever the packets are: in the virtual world or on kernels.

A crossing draws chance in one fixed order (loss, jitter, reordering, copy), and only for what its link has. So the
same packets and the same seed meet the same fate in both.
"""

from __future__ import annotations

from random import Random

from iceway.lab.topology import Link

QUEUE_LIMIT = 0.25
"""Seconds of packets that a sender's queue holds in front of a link with a rate."""
HELD_BACK = 0.005
"""The least extra delay of a packet that is reordered."""


class Crossing:
    """The state of one segment: the queue of each sender, and what arrived last of each flow."""

    def __init__(self, link: Link, rng: Random) -> None:
        self.link = link
        self._rng = rng
        self._busy_until: dict[str, float] = {}
        self._last_arrival: dict[tuple[str, str], float] = {}

    def cross(self, size: int, sender: str, receiver: str, now: float) -> tuple[float, ...] | str:
        """When a packet of `size` bytes arrives (twice, if it is copied), or why it does not."""
        link, chance = self.link, self._rng.random
        if link.loss and chance() < link.loss:
            return "lost"
        departure = self._departure(size, sender, now)
        if departure is None:
            return "queue full"
        arrival = departure + link.delay + (link.jitter * chance() if link.jitter else 0.0)
        if link.reorder and chance() < link.reorder:
            arrival += max(link.delay, HELD_BACK)
        else:
            # Jitter varies the delay, it does not let packets overtake each other.
            flow = sender, receiver
            arrival = self._last_arrival[flow] = max(arrival, self._last_arrival.get(flow, 0.0))
        return (arrival, arrival) if link.duplicate and chance() < link.duplicate else (arrival,)

    def _departure(self, size: int, sender: str, now: float) -> float | None:
        if self.link.rate is None:
            return now
        start = max(now, self._busy_until.get(sender, 0.0))
        if start - now > QUEUE_LIMIT:
            return None
        self._busy_until[sender] = start + size * 8 / self.link.rate
        return self._busy_until[sender]
