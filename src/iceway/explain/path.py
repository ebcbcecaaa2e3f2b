"""The path of a call, as each end saw it, compared.

What one end only knows as "an address that checks came from" (prflx) is given the type its owner announced, when
the trace holds it. Everything is read from records, so both ends can be compared; with one end's trace alone the
verdict says what that end knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from iceway.core.address import Address
from iceway.explain.agents import AgentView, agents
from iceway.explain.cast import Cast
from iceway.explain.model import PathClass, PathVerdict, Unused, pair_class
from iceway.explain.streams import AUDIO
from iceway.explain.why import why_not
from iceway.trace.entry import Entry
from iceway.trace.records import CallState, CandidateInfo, MediaStarted


def verdict(entries: Sequence[Entry], who: str | None = None) -> PathVerdict:
    """The verdict of a node, or of one ICE agent by its name; of the caller if nobody is named.

    Of several calls of a node it is the last. A trace without any ICE agent gives a verdict of class none.
    """
    every = verdicts(entries)
    wanted = [one for one in every if who in (one.node, one.agent, f"{one.node}:{one.agent}")]
    if who is not None:
        return (
            _first_of_the_last(wanted)
            if wanted
            else PathVerdict(who, "", PathClass.NONE, reason="no ICE agent in this trace")
        )
    return every[-1 if len({one.node for one in every}) == 1 else 0] if every else _nothing()


def verdicts(entries: Sequence[Entry]) -> list[PathVerdict]:
    """A verdict for each ICE agent of the trace, callers first."""
    cast = Cast(entries)
    # Streams that turned out to be bundled need no way of their own.
    views = [view for view in agents(entries) if view.pairs or not _further(view.agent)]
    order = cast.in_order(view.node for view in views)
    views.sort(key=lambda view: order.index(view.node))
    typed = _announced_types(views)
    found = []
    for view in views:
        peer = _peer_view(view, views)
        one = _judge(view, peer, typed, cast)
        one = _timed(one, view, views, entries)
        found.append(replace(one, why_not=why_not(one, view, peer, entries, cast)))
    return found


def _announced_types(views: list[AgentView]) -> dict[Address, CandidateInfo]:
    """What each address is, in its owner's own words, or else as those words reached the other side."""
    typed: dict[Address, CandidateInfo] = {}
    for candidates in (*(view.gathered for view in views), *(view.received for view in views)):
        for candidate in candidates:
            if candidate.type != "prflx":
                typed.setdefault(candidate.address, candidate)
    return typed


def _better_known(candidate: CandidateInfo, typed: dict[Address, CandidateInfo]) -> CandidateInfo:
    """The candidate as its owner announced it: its true type, and how its owner reaches its relay."""
    owners = typed.get(candidate.address)
    if owners is None or (owners.type == candidate.type and candidate.relay_transport):
        return candidate
    if candidate.type in ("prflx", "relay", owners.type):
        return replace(candidate, type=owners.type, relay_transport=owners.relay_transport)
    return candidate


def _judge(
    view: AgentView, peer: AgentView | None, typed: dict[Address, CandidateInfo], cast: Cast
) -> PathVerdict:
    pairs = sorted([*view.pairs.values(), *view.pruned], key=lambda pair: -pair.priority)
    pairs = [
        replace(pair, path=pair_class(pair.local, _better_known(pair.remote, typed), pair.mapped))
        for pair in pairs
    ]
    one = PathVerdict(
        view.node,
        view.agent,
        PathClass.NONE,
        state=view.state,
        reason=view.reason,
        local_candidates=tuple(view.gathered),
        remote_candidates=_without_doubles([_better_known(candidate, typed) for candidate in view.received]),
        unused=tuple(Unused(candidate, reason) for candidate, reason in view.unused.items()),
        pairs=tuple(pairs),
        peer=peer.node if peer else cast.behind(view.received[0].address, view.node) if view.received else "",
        peer_agent=peer.agent if peer else None,
    )
    chosen = view.selected
    if chosen is None:
        return one
    pair = view.pairs.get(chosen.pair)
    local, remote = _better_known(chosen.local, typed), _better_known(chosen.remote, typed)
    mapped = pair.mapped if pair else None
    path = pair_class(local, remote, mapped)
    agreed = None
    if peer is not None and peer.selected is not None:
        agreed = _same_path(view, peer)
        back = peer.selected
        theirs = pair_class(_better_known(back.local, typed), _better_known(back.remote, typed))
        path = max(path, theirs, key=lambda way: way.rank) if agreed else path
    elif peer is not None:
        agreed = False
    round_trip = chosen.round_trip if chosen.round_trip is not None else (pair.round_trip if pair else None)
    return replace(one, path=path, local=local, remote=remote, round_trip=round_trip, agreed=agreed)


def _without_doubles(candidates: list[CandidateInfo]) -> tuple[CandidateInfo, ...]:
    """One candidate an address: a check often comes in before the list that announces where it came from."""
    best: dict[Address, CandidateInfo] = {}
    for candidate in candidates:
        known = best.get(candidate.address)
        if known is None or known.type == "prflx":
            best[candidate.address] = candidate
    return tuple(best.values())


def _ends(view: AgentView) -> tuple[set[Address], Address]:
    """All addresses the local end of the selected pair goes by, and the remote one."""
    assert view.selected is not None
    local = view.selected.local
    known = {local.address}
    if local.type != "relay":
        pair = view.pairs.get(view.selected.pair)
        known |= {
            address for address in (local.related, pair.mapped if pair else None) if address is not None
        }
    return known, view.selected.remote.address


def _same_path(view: AgentView, peer: AgentView) -> bool:
    ours, to_peer = _ends(view)
    theirs, to_us = _ends(peer)
    return to_peer in theirs and to_us in ours


def _peer_view(view: AgentView, views: list[AgentView]) -> AgentView | None:
    """The agent at the other end: the one whose candidates this one was told, closest in time."""
    told = {candidate.address for candidate in view.received} | {
        pair.remote.address for pair in view.pairs.values()
    }
    others = [
        other
        for other in views
        if other.node != view.node and told & {candidate.address for candidate in other.gathered}
    ]
    return min(others, key=lambda other: abs(other.first.at - view.first.at), default=None)


def _timed(
    one: PathVerdict, view: AgentView, views: list[AgentView], entries: Sequence[Entry]
) -> PathVerdict:
    """Add when the call was answered and when its first media came in at this end."""
    calls = list(dict.fromkeys(e.record.call_id for e in entries if isinstance(e.record, CallState)
                               and e.node == view.node))  # fmt: skip
    own = sorted((other for other in views if other.node == view.node), key=lambda other: other.first.id)
    position = list(dict.fromkeys(_owner(other.agent) for other in own)).index(_owner(view.agent))
    call = calls[min(position, len(calls) - 1)] if calls else None
    answered = media = None
    early = False
    for entry in entries:
        record = entry.record
        if entry.node != view.node:
            continue
        if isinstance(record, CallState) and record.call_id == call and record.state == "confirmed":
            answered = entry.at if answered is None else answered
        if isinstance(record, MediaStarted) and record.direction == "received" and media is None:
            if call not in (None, record.call_id) or record.media != AUDIO:
                continue
            media, early = entry.at, record.early
    return replace(one, answered_at=answered, first_media_at=media, early_media=early)


def _owner(agent: str) -> str:
    """The call that an agent is of: streams that are not bundled have an agent each ("c1/ice", "c1/ice.video")."""
    owner, _, own = agent.rpartition("/")
    return owner if own.partition(".")[0] == "ice" else agent


def _further(agent: str) -> bool:
    return agent.rpartition("/")[2].startswith("ice.")


def _first_of_the_last(every: list[PathVerdict]) -> PathVerdict:
    """Of the last call that agent which it began with: the one of its sound."""
    last = every[-1]
    return next(one for one in every if (one.node, _owner(one.agent)) == (last.node, _owner(last.agent)))


def _nothing() -> PathVerdict:
    return PathVerdict("", "", PathClass.NONE, reason="no ICE agent in this trace")
