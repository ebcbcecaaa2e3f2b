"""Everything one ICE agent recorded, read into one place: candidates, pairs and how they went, the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from iceway.explain.model import PairTried, pair_class
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CandidateGathered,
    CandidateInfo,
    CandidatePruned,
    CandidateReceived,
    IceStateChanged,
    PairChecked,
    PairFailed,
    PairFormed,
    PairNominated,
    PairPruned,
    PairSelected,
    PairSucceeded,
)


@dataclass(slots=True)
class AgentView:
    """Everything one ICE agent recorded, in one place."""

    node: str
    agent: str
    first: Entry
    gathered: list[CandidateInfo] = field(default_factory=list)
    received: list[CandidateInfo] = field(default_factory=list)
    pairs: dict[int, PairTried] = field(default_factory=dict)
    pruned: list[PairTried] = field(default_factory=list)
    left_out: dict[CandidateInfo, str] = field(default_factory=dict)
    selected: PairSelected | None = None
    state: str = ""
    reason: str = ""

    @property
    def unused(self) -> dict[CandidateInfo, str]:
        """Candidates of either side that made no pair, and why."""
        found = dict(self.left_out)
        pairs = [*self.pairs.values(), *self.pruned]
        for side, others, whose in (
            (self.gathered, self.received, "the peer has"),
            (self.received, self.gathered, "we have"),
        ):
            paired = {c for pair in pairs for c in (pair.local, pair.remote)}
            for candidate in side:
                if candidate not in paired and candidate not in found and self.gathered and self.received:
                    found[candidate] = _unpaired(candidate, others, whose)
        return found


def _unpaired(candidate: CandidateInfo, others: Sequence[CandidateInfo], whose: str) -> str:
    """Why nothing on the other side fits a candidate (RFC 8445 §6.1.2.2)."""
    family = candidate.address.family
    if candidate.transport not in {other.transport for other in others}:
        return f"{whose} no candidate over {candidate.transport.upper()}"
    if family not in {other.address.family for other in others}:
        return f"{whose} no base of IPv{family}"
    if candidate.component not in {other.component for other in others}:
        return f"{whose} no component {candidate.component}"
    return "its pairs were not needed any more, or there were too many"


def agents(entries: Sequence[Entry]) -> list[AgentView]:
    """What each (node, agent) recorded, in the order they began."""
    views: dict[tuple[str, str], AgentView] = {}
    for entry in entries:
        record = entry.record
        agent = getattr(record, "agent", None)
        if agent is None:
            continue
        view = views.get((entry.node, agent))
        if view is None:
            view = views[entry.node, agent] = AgentView(entry.node, agent, entry)
        _note(view, entry)
    return list(views.values())


def _note(view: AgentView, entry: Entry) -> None:
    """Take one record of the agent into its view."""

    def change(number: int, **what: object) -> None:
        if number in view.pairs:
            pair = view.pairs[number]
            view.pairs[number] = replace(pair, seen=(*pair.seen, entry.id), **what)  # type: ignore[arg-type]

    match entry.record:
        case CandidateGathered(candidate=candidate):
            if candidate not in view.gathered:
                view.gathered.append(candidate)
        case CandidateReceived(candidate=candidate):
            if candidate not in view.received:
                view.received.append(candidate)
        case CandidatePruned(candidate=candidate, reason=reason):
            view.left_out[candidate] = reason
        case PairFormed(pair=number, local=local, remote=remote, priority=priority):
            path = pair_class(local, remote)
            view.pairs[number] = PairTried(number, local, remote, priority, path, seen=(entry.id,))
        case PairPruned(local=local, remote=remote, reason=reason):
            path = pair_class(local, remote)
            pruned = PairTried(0, local, remote, 0, path, outcome="pruned", reason=reason, seen=(entry.id,))
            view.pruned.append(pruned)
        case PairChecked(pair=number, attempt=attempt):
            pair = view.pairs.get(number)
            if pair and pair.outcome == "waiting":
                view.pairs[number] = replace(pair, outcome="checking")
            if pair:
                change(number, checks=max(attempt, pair.checks + 1))
        case PairSucceeded(pair=number, round_trip=round_trip, mapped=mapped):
            change(number, outcome="succeeded", reason="", round_trip=round_trip, mapped=mapped)
        case PairFailed(pair=number, reason=reason):
            change(number, outcome="failed", reason=reason)
        case PairNominated(pair=number):
            change(number, nominated=True)
        case PairSelected(pair=number) as selected:
            view.selected = selected
            for other in view.pairs:
                view.pairs[other] = replace(view.pairs[other], selected=other == number)
            change(number)
        case IceStateChanged(state=state, reason=reason):
            if (view.state, state) != ("failed", "closed"):  # what failed is closed as well, and stays failed
                view.state, view.reason = state, reason or view.reason
        case _:
            pass
