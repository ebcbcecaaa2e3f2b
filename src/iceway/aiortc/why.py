"""Why a connection took the path it took, or none: every server, candidate and pair of one agent, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from iceway.explain.agents import AgentView, agents
from iceway.explain.model import PairTried
from iceway.explain.nat import nat_behaviours
from iceway.explain.servers import silent_servers
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CandidatePruned,
    GatheringStarted,
    NameResolved,
    Note,
    ServerAnswered,
    ServerRefused,
)


def why(entries: Sequence[Entry]) -> str:
    """Lines for people. The last agent of the trace is told of."""
    views = agents(entries)
    if not views:
        return "nothing happened yet"
    view = views[-1]
    lines = [f"state: {view.state or 'new'}" + (f": {view.reason}" if view.reason else "")]
    if view.selected is not None:
        lines.append(f"path: {view.selected.local} ↔ {view.selected.remote}")
    for title, told in (
        ("servers", _servers(view, entries)),
        ("NAT", (f"{one.interface}: {one}" for one in nat_behaviours(entries))),
        ("our candidates", (str(candidate) for candidate in view.gathered)),
        ("the peer's candidates", _remotes(view, entries)),
        ("pairs", (_pair(pair) for pair in sorted(view.pairs.values(), key=lambda pair: -pair.priority))),
        ("pairs left out", (_pair(pair) for pair in view.pruned)),
        ("notes", _notes(entries)),
    ):
        found = list(dict.fromkeys(told))
        if found:
            lines += [f"{title}:", *(f"  {line}" for line in found)]
    return "\n".join(lines)


def _servers(view: AgentView, entries: Sequence[Entry]) -> Iterator[str]:
    """What each server said last; those that were never heard of say so too."""
    said: dict[str, str] = {}
    for entry in entries:
        match entry.record:
            case GatheringStarted(servers=servers):
                said |= {
                    server: "asked, and nothing came of it yet" for server in servers if server not in said
                }
            case ServerAnswered(server=server, round_trip=round_trip):
                said[server] = f"answered in {round_trip * 1000:.0f} ms"
            case ServerRefused(server=server, code=code, reason=reason, detail=detail):
                said[server] = f"refused with {code} {reason}" + (f": {detail}" if detail else "")
    said |= {silent.server: silent.detail for silent in silent_servers(view.node, view.agent, entries)}
    return (f"{server}: {words}" for server, words in said.items())


def _remotes(view: AgentView, entries: Sequence[Entry]) -> Iterator[str]:
    unused = {
        entry.record.candidate: entry.record.reason
        for entry in entries
        if isinstance(entry.record, CandidatePruned) and entry.record.candidate in view.received
    }
    for candidate in view.received:
        reason = unused.get(candidate)
        yield f"{candidate}" + (f": not used, {reason}" if reason else "")


def _pair(pair: PairTried) -> str:
    words = {
        "succeeded": "works",
        "waiting": "not tried yet",
        "checking": f"no answer to {pair.checks} checks yet",
    }
    outcome = pair.reason or words.get(pair.outcome, pair.outcome)
    if pair.round_trip is not None:
        outcome += f", round trip {pair.round_trip * 1000:.0f} ms"
    return f"{pair.local} → {pair.remote}: {outcome}"


def _notes(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        match entry.record:
            case Note(level="warning" | "error", text=text):
                yield text
            case NameResolved(name=name, record_type=record_type, error=str(error)):
                yield f"{record_type} of {name}: {error}"
