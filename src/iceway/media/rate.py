"""How many bits a second a picture may cost: less where packets are lost or queue up, more where the path is clear.

Each report of the other side moves the rate, as RFC 8698 and Google's congestion control do by loss: more than a tenth
lost cuts by half of the share lost, less than a fiftieth lets it grow. A round trip that grows far beyond the shortest
one seen means a queue, and cuts as well. Near the rate at which that happened last it grows slowly, or it would come
back to the same trouble every few seconds. Above it all stands the budget, which whoever cares for a whole call sets:
sound goes first, so its owner lowers the picture's budget before sound suffers.
"""

from __future__ import annotations

LEAST = 40_000
_MUCH, _LITTLE = 0.10, 0.02
_GROWTH, _CAREFUL = 1.08, 1.02
_NEAR = 0.85  # of the rate that was too much
_REMEMBERED = 30  # reports for which it is taken for too much
_QUEUEING = 0.10  # seconds over the shortest round trip
_DRAIN = 0.85


class RateControl:
    """The rate of one stream in bit/s, between `LEAST` and the budget."""

    def __init__(self, start: int, budget: int) -> None:
        self._budget = max(LEAST, budget)
        self._estimate = self._budget
        self._rate = float(min(max(LEAST, start), self._budget))
        self._shortest: float | None = None
        self._too_much = float("inf")
        self._since = 0

    @property
    def bit_rate(self) -> int:
        return int(min(self._rate, self._budget, self._estimate))

    def set_budget(self, budget: int) -> None:
        """What the stream may take at the most, from now on."""
        self._budget = max(LEAST, budget)

    def estimated(self, bit_rate: int) -> None:
        """The other side thinks that the path carries this much (REMB)."""
        self._estimate = max(LEAST, bit_rate)

    def reported(self, lost: float, round_trip: float | None) -> None:
        """For the time since the last report: the share of packets lost, also of those sent again since."""
        queueing = False
        if round_trip is not None:
            self._shortest = round_trip if self._shortest is None else min(self._shortest, round_trip)
            queueing = round_trip > self._shortest + _QUEUEING
        self._since += 1
        rate = self._rate
        if lost > _MUCH or queueing:
            if self._since > 3:
                self._too_much, self._since = rate, 0
            rate *= 1 - lost / 2 if lost > _MUCH else _DRAIN
        elif lost < _LITTLE:
            if self._since > _REMEMBERED:
                self._too_much = float("inf")
            rate *= _GROWTH if rate < _NEAR * self._too_much else _CAREFUL
        self._rate = min(max(rate, LEAST), self._budget)

    def path_changed(self) -> None:
        """Another path has other round trips; what the old one carried is still the best guess."""
        self._shortest = None
        self._estimate = self._budget
