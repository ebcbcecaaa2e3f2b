"""After the choice: when another pair is the better one, and which pairs are worth another look.

Only between agents that both announced renomination. Then every nomination carries a number that grows (NOMINATION,
draft-thatcher-ice-renomination), the controlled agent follows the highest, and the controlling one may nominate
again whenever it knows better: a candidate came late, a check got through at last, a path became slow. Peers that
did not announce it have nominations end all (RFC 8445 §8.1.1), and are left alone.

A move must be worth it: off a relay or one of two, to a relay over UDP, to the local network, or off a path that is
far slower. Another pair of the same grade is none, whatever its priority.

The choice ends all checks under way, so that each pair has its reason. Both agents go on looking, at a pace that
falls: a path through two filters needs checks from both sides. Moves get rarer the more there were, or were tried, so
that two paths that take turns at being good do not make media take turns.
"""

from __future__ import annotations

from collections.abc import Sequence

from iceway.ice.checklist import CandidatePair, PairState, Prospect

FIRST_LOOK = 2.0
LAST_LOOK = 60.0  # between two looks, in the end
AT_ONCE = 5  # pairs in one look
FIRST_PAUSE = 0.5
LAST_PAUSE = 60.0  # between two moves, after many
SAMPLES = 3  # round trips of a path that say how slow it is
RELAYED, REFLEXIVE, INTERFACE = (
    10,
    100,
    120,
)  # type preferences in the field: below the first, from the others up
SLOW = 0.1  # a path is never far slower than another by less than this


def grade(pair: CandidatePair) -> tuple[int, int]:
    """What kind of path it is, as the priorities of both candidates tell (RFC 8445 §5.1.2.2): the lesser end first."""
    one, two = (_level(candidate.priority) for candidate in (pair.valid_local or pair.local, pair.remote))
    return min(one, two), max(one, two)


def _level(priority: int) -> int:
    """Relays by type and the first bits of their local preference, where agents put the way to them."""
    preference = priority >> 24
    if preference < RELAYED:
        return priority >> 22
    return 1000 + sum(preference >= kind for kind in (REFLEXIVE, INTERFACE))


def far_slower(one: CandidatePair, other: CandidatePair) -> bool:
    """Whether the latest round trips of one path were all more than twice those of the other, and some more."""
    enough = len(one.recent) >= SAMPLES and len(other.recent) >= SAMPLES
    return enough and min(one.recent) > 2 * max(other.recent) + SLOW


def _slow(pair: CandidatePair) -> bool:
    return pair.round_trip is not None and pair.round_trip > SLOW


class Improvement:
    """For one component."""

    def __init__(self) -> None:
        self._interval = FIRST_LOOK
        self._count = 0
        self._moved_at = 0.0

    def moves(self, now: float) -> None:
        """A pair was selected for the first time, or another one is being nominated, whatever comes of it."""
        self._count += 1
        self._moved_at = now

    @property
    def next_move_at(self) -> float:
        return self._moved_at + min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._count - 1, 10))

    def next_look(self, now: float) -> float:
        """When to look again; each time it takes longer."""
        interval, self._interval = self._interval, min(LAST_LOOK, 2 * self._interval)
        return now + interval

    def better(self, valid: Sequence[CandidatePair], active: CandidatePair) -> CandidatePair | None:
        """The pair to move to. `valid` is best first."""
        for pair in valid:
            above = grade(pair) > grade(active)
            if pair is not active and (far_slower(active, pair) or (above and not far_slower(pair, active))):
                return pair
        return None

    def to_check(
        self, pairs: Sequence[CandidatePair], above: Sequence[CandidatePair], active: CandidatePair
    ) -> list[CandidatePair]:
        """Which pairs that do not work to check once more: those `above`, which would be better, or any if this one is
        slow. Best first, as they are given."""
        failed = [
            pair
            for pair in (pairs if _slow(active) else above)
            if pair.state is PairState.FAILED and not pair.hopeless and pair.prospect is not Prospect.NONE
        ]
        return sorted(failed, key=lambda pair: pair.prospect is Prospect.POOR)[:AT_ONCE]

    def to_measure(self, valid: Sequence[CandidatePair], active: CandidatePair) -> list[CandidatePair]:
        """Which valid pairs to ask for their round trip: those that were too slow, or all if this one may be."""
        slow = _slow(active)
        others = [pair for pair in valid if pair is not active]
        return [pair for pair in others if slow or grade(pair) > grade(active)][:AT_ONCE]
