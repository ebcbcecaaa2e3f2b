"""When the controlling agent stops looking and nominates (RFC 8445 §8.1.1), and whom the controlled one follows.

Controlling: the best valid pair at once if nothing better can still come; otherwise after a bounded wait for
the better ones. A pair counts as still to come until `patience` and two round trips have passed since its first
check left: that one often meets a filter which only the peer's own check opens, and has to be repeated. In a long
checklist that happens later (RFC 8445 §14.3), and the peer's list is as long as ours, so patience follows the
interval of the pair's own check. What the peer's check has just come in on gets the time of an answer in any
case. Pairs of poor prospect get no more than that, since nothing filters where they would work; those without
any are not waited for.

Controlled: the last nomination that began is the one that holds; a retransmission begins nothing. Where
nominations are numbered (see `improvement`), it is the one with the highest number. Peers that
nominate with their very first check (aggressive nomination, RFC 5245 §8.1.1.2) mean the best of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from iceway.ice.candidate import CandidateType
from iceway.ice.checklist import CandidatePair, Prospect
from iceway.ice.config import RTO

MAX_WAIT = 3.0  # nothing is waited for longer than this after the first valid pair
ROUND_TRIPS = (
    2.0  # what it may take to be heard and to hear, in round trips of the best pair known, at their longest
)
SLACK = 0.05  # and this long in any case: turns in the pacer's queue, and hosts that are busy


@dataclass(frozen=True, slots=True)
class Nominate:
    """Nominate `pair` at `at`, unless something better happens first."""

    pair: CandidatePair
    at: float


def decide(
    valid: Sequence[CandidatePair],
    better: Iterable[CandidatePair],
    *,
    valid_since: float,
    more_to_come: bool,
    patience: float,
    now: float,
) -> Nominate | None:
    """What the controlling agent should do for one component.

    `valid` is best first; `better` are the pairs under way that may beat it. `patience` is for checks that are
    repeated after the usual interval; `more_to_come`: candidates of either side are still being found.
    """
    if not valid:
        return None
    best = valid[0]
    round_trip = best.longest_round_trip
    patience += ROUND_TRIPS * round_trip
    at = now
    for pair in better:
        began = now if pair.first_sent_at is None else pair.first_sent_at
        if pair.prospect is Prospect.NONE:
            continue
        if pair.heard_at is not None:
            at = max(at, pair.heard_at + ROUND_TRIPS * round_trip + SLACK)
        elif pair.prospect is Prospect.POOR:
            at = max(at, began + round_trip + SLACK)
            continue
        at = max(at, max(began, valid_since) + patience + max(0.0, pair.rto - RTO))
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
        self._highest = 0

    def nominated(
        self, pair: CandidatePair, transaction_id: bytes, first_check: bool, number: int = 0
    ) -> bool:
        """The peer nominated the pair; True if that makes it the one to follow. `number` is 0 if it gave none."""
        if number:
            if number <= self._highest:
                return False
            self._highest = number
            changed, self.wanted = self.wanted is not pair, pair
            return changed
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
