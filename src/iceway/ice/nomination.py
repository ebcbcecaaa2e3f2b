"""When the controlling agent stops looking and nominates (RFC 8445 §8.1.1), and whom the controlled one follows.

Controlling: the best valid pair at once if nothing better can still come; otherwise after a bounded wait for
the better ones. A pair counts as still to come until `patience` and two round trips have passed since its first
check left: that one often meets a filter which only the peer's own check opens, and has to be repeated. So a
checklist that takes long to walk gets its time, and a dead pair costs no more than one patience.

Controlled: the last nomination that began is the one that holds; a retransmission begins nothing. Peers that
nominate with their very first check (aggressive nomination, RFC 5245 §8.1.1.2) mean the best of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iceway.ice.candidate import CandidateType
from iceway.ice.checklist import CandidatePair

MAX_WAIT = 3.0  # nothing is waited for longer than this after the first valid pair
ROUND_TRIPS = 2.0  # what an answer may take, in round trips of the best pair known


@dataclass(frozen=True, slots=True)
class Nominate:
    """Nominate `pair` at `at`, unless something better happens first."""

    pair: CandidatePair
    at: float


def decide(
    valid: Sequence[CandidatePair],
    pairs: Sequence[CandidatePair],
    *,
    valid_since: float,
    more_to_come: bool,
    patience: float,
    now: float,
) -> Nominate | None:
    """What the controlling agent should do for one component.

    `valid` is best first; `more_to_come`: candidates of either side are still being found.
    """
    if not valid:
        return None
    best = valid[0]
    patience += ROUND_TRIPS * (best.round_trip or 0.0)
    at = now
    for pair in pairs:
        if pair.unfinished and pair.priority > best.valid_priority:
            began = pair.first_sent_at
            at = max(at, (now if began is None else began) + patience, valid_since + patience)
    if more_to_come and _relayed(best):
        at = max(at, valid_since + patience)
    return Nominate(best, max(now, min(at, valid_since + max(MAX_WAIT, patience))))


def most_recently_heard(valid: Sequence[CandidatePair]) -> list[CandidatePair]:
    """The order after a nomination that got no answer: it may have arrived, and the peer may have followed it.

    Then the peer asks for consent on that pair and on no other, and has begun to give up the others' relays.
    """
    return sorted(valid, key=lambda pair: pair.heard_at or 0.0, reverse=True)


class Following:
    """The controlled agent's side, for one component."""

    def __init__(self) -> None:
        self.wanted: CandidatePair | None = None
        self._seen: dict[bytes, None] = {}
        self._aggressive = False

    def nominated(self, pair: CandidatePair, transaction_id: bytes, first_check: bool) -> bool:
        """The peer sent USE-CANDIDATE on the pair; True if that makes it the one to follow."""
        if transaction_id in self._seen:
            return False
        self._seen[transaction_id] = None
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._aggressive = self._aggressive or first_check
        if self.wanted is pair:
            return False
        if self._aggressive and self.wanted is not None and self.wanted.priority > pair.priority:
            return False
        self.wanted = pair
        return True


MAX_SEEN = 64


def _relayed(pair: CandidatePair) -> bool:
    return CandidateType.RELAY in (pair.local.type, pair.remote.type)
