"""Candidate pairs and the checklist that orders them (RFC 8445 §6.1.2).

A pair is a base (host or relayed) and a remote candidate: reflexive local candidates send from their host
base, so their pairs would repeat the host's and are pruned as they form. Pairs live in priority order, at
most `limit` of them; a new pair throws the worst unchecked one out. What a check learned (the local address
as the peer saw it) stands in the pair as `valid_local`: together with `remote` that is the valid pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from iceway.core.address import Address
from iceway.ice.candidate import Candidate
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.config import MAX_PAIRS
from iceway.ice.events import CandidatePath


class PairState(StrEnum):
    FROZEN = "frozen"
    WAITING = "waiting"
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Prospect(StrEnum):
    """`GOOD` unless something speaks against the pair; `POOR`: if it works, it answers at once; `NONE`: it cannot."""

    GOOD = "good"
    POOR = "poor"
    NONE = "none"


# RFC 8445 §6.1.2.6, and §7.3.1.4 for the ways back that a check from the peer opens.
TRANSITIONS: dict[PairState, tuple[PairState, ...]] = {
    PairState.FROZEN: (PairState.WAITING, PairState.FAILED),
    PairState.WAITING: (PairState.IN_PROGRESS, PairState.SUCCEEDED, PairState.FAILED),
    PairState.IN_PROGRESS: (PairState.WAITING, PairState.SUCCEEDED, PairState.FAILED),
    # What worked once is asked again when another path fell silent.
    PairState.SUCCEEDED: (PairState.WAITING, PairState.FAILED),
    # A late answer to a check that was given up still proves the path (here and while waiting anew).
    PairState.FAILED: (PairState.WAITING, PairState.SUCCEEDED),
}

UNFINISHED = (PairState.FROZEN, PairState.WAITING, PairState.IN_PROGRESS)


@dataclass(slots=True)
class Counts:
    """What went over a pair, for statistics. Requests do not count their retransmissions."""

    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    requests_sent: int = 0
    requests_received: int = 0
    responses_sent: int = 0
    responses_received: int = 0
    consent_requests_sent: int = 0
    total_round_trip: float = 0.0

    def sent(self, size: int) -> None:
        self.packets_sent += 1
        self.bytes_sent += size

    def received(self, size: int) -> None:
        self.packets_received += 1
        self.bytes_received += size

    def answered(self, round_trip: float) -> None:
        self.responses_received += 1
        self.total_round_trip += round_trip


@dataclass(slots=True, eq=False)
class CandidatePair:
    """`id` numbers it in records. `hoped_local` is the local candidate that the peer would probably see; `rto`: after
    how long its last check is repeated; `recent` are its latest round trips; `heard_at`: when an authentic check last
    came in on it.
    `failure` says why it failed, `hint` what answers that do not count said, `hopeless` that it cannot come back."""

    id: int
    local: Candidate
    remote: Candidate
    priority: int
    state: PairState = PairState.FROZEN
    attempts: int = 0
    prospect: Prospect = Prospect.GOOD
    hoped_local: Candidate | None = None
    first_sent_at: float | None = None
    rto: float = 0.0
    valid_local: Candidate | None = None
    valid_priority: int = 0
    round_trip: float | None = None
    longest_round_trip: float = 0.0
    recent: tuple[float, ...] = ()
    heard_at: float | None = None
    failure: str = ""
    hint: str = ""
    hopeless: bool = False
    counts: Counts = field(default_factory=Counts)

    @property
    def base(self) -> Address:
        return self.local.address

    @property
    def component(self) -> int:
        return self.local.component

    @property
    def foundation(self) -> tuple[str, str]:
        return self.local.foundation, self.remote.foundation

    @property
    def unfinished(self) -> bool:
        return self.state in UNFINISHED

    @property
    def path(self) -> CandidatePath:
        return CandidatePath(self.component, self.valid_local or self.local, self.remote, self.round_trip)

    def measured(self, round_trip: float, at_most: float | None = None) -> None:
        """A check was answered. Of one that was repeated nobody knows which request it was that got the answer: if it
        was the first, the round trip took `at_most`."""
        self.round_trip = round_trip
        self.counts.answered(round_trip)
        exactly = at_most is None or at_most == round_trip
        if exactly:
            self.recent = (*self.recent[-2:], round_trip)
        self.longest_round_trip = round_trip if at_most is None else at_most

    def move(self, state: PairState) -> None:
        assert state in TRANSITIONS[self.state], f"a pair cannot go from {self.state} to {state}"
        self.state = state


def pair_priority(controlling: int, controlled: int) -> int:
    """RFC 8445 §6.1.2.3, from the priorities of the two agents' candidates."""
    return (
        (min(controlling, controlled) << 32) + 2 * max(controlling, controlled) + (controlling > controlled)
    )


class Checklist:
    """The pairs of one data stream, best first, at most `limit` of them; `together` with those of other streams."""

    def __init__(self, together: ChecklistSet, limit: int = MAX_PAIRS) -> None:
        self.limit = limit
        self.awaited: set[tuple[str, str]] = set()
        """Foundations whose trial here others wait for."""
        self.enough: dict[int, int] = {}
        """Priorities of what components have already: ordinary checks look for better alone."""
        self._together = together
        self._controlling = together.role.controlling
        self._pairs: list[CandidatePair] = []
        self._by_addresses: dict[tuple[Address, Address], CandidatePair] = {}
        self._last_id = 0

    def __iter__(self) -> Iterator[CandidatePair]:
        return iter(tuple(self._pairs))

    def __len__(self) -> int:
        return len(self._pairs)

    def find(self, base: Address, remote: Address) -> CandidatePair | None:
        return self._by_addresses.get((base, remote))

    def priority_of(self, local: Candidate, remote: Candidate) -> int:
        if self._controlling:
            return pair_priority(local.priority, remote.priority)
        return pair_priority(remote.priority, local.priority)

    def hoped_priority(self, pair: CandidatePair) -> int:
        """That of the valid pair which it would probably give."""
        return self.priority_of(pair.hoped_local or pair.local, pair.remote)

    def above(self, component: int, priority: int) -> list[CandidatePair]:
        """Pairs that would probably give better valid pairs than one of this priority, in any state."""
        return [p for p in self._pairs if p.component == component and self.hoped_priority(p) > priority]

    def hoped_for(self, component: int, priority: int) -> list[CandidatePair]:
        """Those of them that are under way."""
        return [pair for pair in self.above(component, priority) if pair.unfinished]

    def add(
        self, local: Candidate, remote: Candidate, *, needed: bool = False
    ) -> tuple[CandidatePair | None, CandidatePair | None]:
        """A new pair, and the one that had to go for it (RFC 8445 §6.1.2.5); either may be None.

        `needed` pairs (the peer checks them already) get in even if they are worse than all others. Its first
        state follows RFC 8838 §12: frozen behind a pair of the same foundation unless that one succeeded.
        """
        self._last_id += 1
        pair = CandidatePair(self._last_id, local, remote, self.priority_of(local, remote))
        dropped = None
        if len(self._pairs) >= self.limit:
            idle = [
                p for p in self._pairs if p.state in (PairState.FROZEN, PairState.WAITING, PairState.FAILED)
            ]
            dropped = min(idle, key=lambda p: (p.state is not PairState.FAILED, p.priority), default=None)
            if dropped is None or (dropped.priority > pair.priority and dropped.unfinished and not needed):
                return None, pair
            self.remove(dropped)
        like = pair.foundation
        new = not any(p.foundation == like for p in self._pairs) and not self._together.tried_elsewhere(
            like, self
        )
        if new or self._together.known_to_work(like) or self.reached(like):
            pair.move(PairState.WAITING)
        self._pairs.append(pair)
        self._by_addresses[pair.base, remote.address] = pair
        self._sort()
        return pair, dropped

    def remove(self, pair: CandidatePair) -> None:
        self._pairs.remove(pair)
        del self._by_addresses[pair.base, pair.remote.address]

    def replace_remote(self, old: Candidate, new: Candidate) -> list[CandidatePair]:
        """A peer-reflexive candidate turned out to be one that the peer announces: it takes its name and rank."""
        changed = [pair for pair in self._pairs if pair.remote is old]
        for pair in changed:
            pair.remote = new
        self._rank()
        return changed

    def role_switched(self) -> None:
        """After a role conflict every priority changes (RFC 8445 §7.3.1.1)."""
        self._controlling = self._together.role.controlling
        self._rank()

    def next_ordinary(self, queued: Sequence[CandidatePair] = ()) -> CandidatePair | None:
        """The pair to check next, `queued` ones aside: the best waiting one, else the best frozen one thaws.

        As long as nothing works, pairs that hardly will come after the others. A frozen pair does not wait for its
        kin in this checklist to end (RFC 8445 §6.1.4.2 would): with nothing else to check, sparing a check only costs
        time. It waits for other checklists, which need the slot more.
        """
        working = {pair.component for pair in self._pairs if pair.state is PairState.SUCCEEDED}
        order = sorted(
            filter(self._wanted, self._pairs),
            key=lambda p: p.prospect is not Prospect.GOOD and p.component not in working,
        )
        for pair in order:
            if pair.state is PairState.WAITING and pair not in queued:
                return pair
        for pair in order:
            if pair.state is PairState.FROZEN and not self._together.tried_elsewhere(pair.foundation, self):
                pair.move(PairState.WAITING)
                return pair
        return None

    @property
    def unchecked(self) -> bool:
        return any(pair.state in (PairState.FROZEN, PairState.WAITING) for pair in self._pairs)

    @property
    def tried(self) -> frozenset[tuple[str, str]]:
        """The foundations of pairs that are in progress, or whose turn will come."""
        return frozenset(
            pair.foundation
            for pair in self._pairs
            if pair.state is PairState.IN_PROGRESS or (pair.state is PairState.WAITING and self._wanted(pair))
        )

    def reached(self, foundation: tuple[str, str]) -> bool:
        """Whether a pair of this kind works."""
        return any(
            pair.state is PairState.SUCCEEDED and pair.foundation == foundation for pair in self._pairs
        )

    def thaw(self, foundation: tuple[str, str]) -> None:
        """A pair of this kind succeeded: its frozen kin may go (RFC 8445 §7.2.5.3.3)."""
        for pair in self._pairs:
            if pair.state is PairState.FROZEN and pair.foundation == foundation:
                pair.move(PairState.WAITING)

    def of(self, component: int) -> list[CandidatePair]:
        return [pair for pair in self._pairs if pair.component == component]

    def valid(self, component: int) -> list[CandidatePair]:
        """Succeeded pairs, the best valid pair first."""
        found = [p for p in self._pairs if p.component == component and p.state is PairState.SUCCEEDED]
        return sorted(found, key=lambda p: (-p.valid_priority, p.id))

    def busy(self) -> int:
        """Pairs waiting or in progress, which set the pace of retransmissions (RFC 8445 §14.3)."""
        return sum(pair.state in (PairState.WAITING, PairState.IN_PROGRESS) for pair in self._pairs)

    def _wanted(self, pair: CandidatePair) -> bool:
        return self.hoped_priority(pair) > self.enough.get(pair.component, -1)

    def _rank(self) -> None:
        for pair in self._pairs:
            pair.priority = self.priority_of(pair.local, pair.remote)
            if pair.valid_local is not None:
                pair.valid_priority = self.priority_of(pair.valid_local, pair.remote)
        self._sort()

    def _sort(self) -> None:
        self._pairs.sort(key=lambda pair: (-pair.priority, pair.id))
