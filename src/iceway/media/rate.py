"""How many bits a second a picture may cost: less where packets are lost or queue up, more where the path is clear.

Each report of the other side moves the rate, as RFC 8698 and Google's congestion control do by loss: more than a
seventh lost cuts by half of the share lost, less than a fiftieth lets it grow, and a little more, which a radio link
may well lose by itself, lets it grow a little. A round trip that grows far beyond the shortest one seen means a queue,
in which sound waits, too, and cuts more. The rate grows fast until there was trouble for the first time; near the rate
at which there was, it grows slowly, or it would come back to the same trouble every few seconds. Above it all stands
the budget, which whoever cares for a whole call sets.
"""

from __future__ import annotations

from collections import deque
from math import inf

LEAST = 20_000
_MUCH, _SOME, _LITTLE = 0.15, 0.10, 0.02
_SMOOTHING, _ROW = (
    0.15,
    3,
)  # one report on ten packets says little about the share; so many in a row say something
_FIRST_GROWTH, _GROWTH, _CAREFUL = 1.2, 1.06, 1.02  # a second
_LONGEST = 1.0  # seconds that one report lets it grow for
_NEAR = 0.85  # of the rate that was too much
_FORGOTTEN = 30.0  # seconds until that is tried again
_USED = 0.6  # of the rate: who sends less has not tried whether the path carries more
_QUEUEING = 0.08  # seconds over the shortest round trip, twice in a row
_DEEP = 0.25
_DRIFT = 0.002  # seconds a report: what takes longer whatever we do is the path, or somebody else's queue
_DRAIN, _EMPTY = 0.75, 0.5  # of the rate, so that a queue is gone soon; a deep one
_SETTLING = 1.0  # seconds, and a round trip, until a cut shows in reports
_UNHEARD = 0.6


class RateControl:
    """The rate of one stream in bit/s, between `LEAST` and the budget."""

    def __init__(self, start: int, budget: int) -> None:
        self._budget = max(LEAST, budget)
        self._estimate = self._budget
        self._rate = float(min(max(LEAST, start), self._budget))
        self._shortest: float | None = None
        self._last_trip: float | None = None
        self._waits = False
        self._reported_at: float | None = None
        self._cut_at: float | None = None
        self._too_much = inf
        self._lost = 0.0
        self._lately: deque[float] = deque(maxlen=_ROW)

    @property
    def bit_rate(self) -> int:
        return int(min(self._rate, self._budget, self._estimate))

    def set_budget(self, budget: int) -> None:
        """What the stream may take at the most, from now on."""
        self._budget = max(LEAST, budget)

    def estimated(self, bit_rate: int) -> None:
        """The other side thinks that the path carries this much (REMB)."""
        self._estimate = max(LEAST, bit_rate)

    def reported(self, lost: float, round_trip: float | None, used: int, now: float) -> None:
        """For the time since the last report: the share of packets lost, also of those sent again; bit/s sent."""
        passed = min(now - self._reported_at, _LONGEST) if self._reported_at is not None else 0.0
        self._reported_at = now
        self._lost += (lost - self._lost) * _SMOOTHING
        self._lately.append(lost)
        lost = max(self._lost, min(self._lately) if len(self._lately) == _ROW else 0.0)
        queue = self._queue(round_trip)
        if lost > _MUCH or queue > _QUEUEING:
            if self._cut_at is None or now >= self._cut_at + _SETTLING + (round_trip or 0.0):
                self._too_much = self._rate
                drained = 1.0 if queue <= _QUEUEING else _DRAIN if queue <= _DEEP else _EMPTY
                self._cut(drained * (1 - lost / 2 if lost > _MUCH else 1.0), now)
        elif lost < _SOME and not self._waits and used > _USED * self._rate:
            self._rate = min(self._rate * self._growth(lost, now) ** passed, self._budget)

    def unheard(self, now: float) -> None:
        """No report came for a while, though some were due: the path may be so full that they are lost (RFC 8083)."""
        self._cut(_UNHEARD, now)

    def path_changed(self, round_trip: float | None = None) -> None:
        """Another path has other round trips; what the old one carried is still the best guess."""
        self._shortest, self._last_trip, self._waits = round_trip, None, False
        self._estimate = self._budget

    def _queue(self, round_trip: float | None) -> float:
        """Seconds that packets wait."""
        if round_trip is None:
            return 0.0
        before, self._last_trip = self._last_trip, round_trip
        self._shortest = round_trip if self._shortest is None else min(self._shortest + _DRIFT, round_trip)
        self._waits = round_trip > self._shortest + _QUEUEING
        if round_trip > self._shortest + _DEEP:
            return round_trip - self._shortest
        longer = round_trip if before is None else min(before, round_trip)  # one alone may be jitter
        return longer - self._shortest

    def _growth(self, lost: float, now: float) -> float:
        if lost >= _LITTLE:
            return _CAREFUL
        if self._cut_at is None:
            return _FIRST_GROWTH
        near = self._rate > _NEAR * self._too_much and now < self._cut_at + _FORGOTTEN
        return _CAREFUL if near else _GROWTH

    def _cut(self, share: float, now: float) -> None:
        self._cut_at = now
        self._rate = max(self._rate * share, LEAST)
