"""When waiting for servers longer is unlikely to bring more, so that an offer may go out.

That is at once when nobody is asked any more; soon, in round trips of the slowest answer, when the best kind of
candidate there can be is there; and after a fixed while in any case.
"""

from __future__ import annotations

from collections.abc import Container

from iceway.ice.candidate import CandidateType

SETTLE = 0.5  # what a server that lives may take at least, in seconds
SETTLE_ROUND_TRIPS = 4  # or this many of the slowest round trips seen: connect, ask, be challenged, ask again
SETTLE_ALONE = 2.0  # while nobody has answered at all


class Settling:
    """One gathering, begun at `began_at`; `settled` stays true until the next one begins."""

    def __init__(self) -> None:
        self.began_at = 0.0
        self.settled = False
        self._slowest = 0.0

    def begin(self, now: float) -> None:
        self.began_at = now
        self.settled = False
        self._slowest = 0.0

    def answered(self, round_trip: float) -> None:
        self._slowest = max(self._slowest, round_trip)

    def at(self, found: Container[CandidateType], *, busy: bool, relays_wanted: bool) -> float:
        """The instant at which it settles, if nothing happens before."""
        if not busy:
            return self.began_at
        best = CandidateType.RELAY if relays_wanted else CandidateType.SRFLX
        if best in found:
            return self.began_at + max(SETTLE, SETTLE_ROUND_TRIPS * self._slowest)
        return self.began_at + SETTLE_ALONE
