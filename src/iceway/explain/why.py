"""Why the better paths failed: pairs grouped by cause, each cause in plain words with what proves it.

The cause is read from what both ends and the boxes between them recorded; where nothing proves one, the words
say what was tried and leave it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iceway.explain.addresses import NatEvidence, is_private, same_network
from iceway.explain.agents import AgentView
from iceway.explain.cast import Cast
from iceway.explain.model import PairTried, PathClass, PathVerdict, WhyNot
from iceway.explain.servers import over, silent_servers
from iceway.trace.entry import Entry
from iceway.trace.records import CandidateInfo, PacketDropped, ServerRefused


@dataclass(frozen=True, slots=True)
class _Scene:
    """What every cause may need."""

    one: PathVerdict
    view: AgentView
    peer: AgentView | None
    entries: Sequence[Entry]
    cast: Cast
    nats: NatEvidence

    def name(self, node: str) -> str:
        return self.cast.name(node)


def why_not(
    one: PathVerdict, view: AgentView, peer: AgentView | None, entries: Sequence[Entry], cast: Cast
) -> tuple[WhyNot, ...]:
    """For each class better than the chosen one, from the best: what was tried and why it carried nothing."""
    scene = _Scene(one, view, peer, entries, cast, NatEvidence(entries, cast))
    found: list[WhyNot] = []
    for path in PathClass:
        if path.rank >= one.path.rank:
            break
        tried = [pair for pair in one.pairs if pair.path is path and pair.outcome != "pruned"]
        found += _grouped(scene, path, tried) if tried else _untried(scene, path)
    return tuple(found)


def _grouped(scene: _Scene, path: PathClass, tried: list[PairTried]) -> list[WhyNot]:
    groups: dict[str, list[PairTried]] = {}
    for pair in tried:
        groups.setdefault(_cause(scene, pair), []).append(pair)
    found = []
    for cause, pairs in groups.items():
        first = pairs[0]
        title = f"{_end(first.local)} → {_end(first.remote)}"
        if len(pairs) > 1:
            title += f" and {len(pairs) - 1} more"
        reasons = dict.fromkeys(_ending(pair) for pair in pairs)
        found.append(WhyNot(path, title, cause, "; ".join(reasons), tuple(pair.number for pair in pairs)))
    return found


def _end(candidate: CandidateInfo) -> str:
    if candidate.type == "host":
        return candidate.address.ip
    return f"{'reflexive' if candidate.type != 'relay' else 'relay'} {candidate.address}"


def _ending(pair: PairTried) -> str:
    if pair.reason:
        return pair.reason
    times = f"{pair.checks} check{'s' if pair.checks != 1 else ''}"
    return {
        "waiting": "not tried before another path was chosen",
        "checking": f"no answer to {times} before another path was chosen",
        "succeeded": "worked, but was not nominated",
    }.get(pair.outcome, pair.outcome)


def _cause(scene: _Scene, pair: PairTried) -> str:
    local, remote = pair.local, pair.remote
    if pair.outcome == "succeeded":
        return "this way works, yet the controlling side chose another"
    if pair.path is PathClass.DIRECT:
        return _direct_cause(scene, pair)
    if pair.path is PathClass.REFLEXIVE:
        if is_private(remote.address.ip):
            return "a private address of another network cannot be reached from outside it"
        return _reflexive_cause(scene)
    if local.type == "relay" and is_private(remote.address.ip):
        return "a relay does not forward to private addresses"
    if (blocked := _udp_blocked(scene)) is not None:
        return blocked
    return "nothing came back through the relay"


def _direct_cause(scene: _Scene, pair: PairTried) -> str:
    here, there = pair.local.address.ip, pair.remote.address.ip
    if (":" in here) != (":" in there):
        return "IPv4 and IPv6 do not speak to each other"
    if is_private(here) and is_private(there):
        if same_network(here, there):
            return "both look like one network, yet nothing came back: a host firewall or client isolation"
        return "private addresses of different networks cannot reach each other"
    if is_private(there):
        return f"{there} is private to {scene.name(scene.one.peer)}'s network"
    if is_private(here):
        return "the way from a private address leads through a NAT, which the peer did not know to expect"
    return "a firewall on the way lets nothing in that was not asked for"


def _reflexive_cause(scene: _Scene) -> str:
    causes = []
    for node in (scene.one.node, scene.one.peer):
        remapped = scene.nats.symmetric(node)
        if remapped is not None:
            box = scene.name(remapped.nat) if remapped.nat else f"the NAT in front of {scene.name(node)}"
            causes.append(f"{box} maps each destination anew (symmetric): {remapped}")
    if causes:
        dropped = _dropped_by(scene)
        return "; ".join(causes) + (f"; {dropped}" if dropped else "")
    return _udp_blocked(scene) or _dropped_by(scene) or "no hole could be punched through the NATs in between"


def _dropped_by(scene: _Scene) -> str | None:
    """What boxes between the two ends said they dropped."""
    ours = {candidate.address.ip for view in (scene.view, scene.peer) if view for candidate in view.gathered}
    drops = [
        entry.record
        for entry in scene.entries
        if isinstance(entry.record, PacketDropped)
        and entry.record.transport == "udp"
        and entry.record.source.ip in ours
        and entry.record.destination.ip in ours
        and not is_private(entry.record.destination.ip)
    ]
    said = dict.fromkeys(
        f"{scene.name(drop.where)} dropped what came from {drop.source} ({drop.reason})" for drop in drops
    )
    return "; ".join(list(said)[:2]) or None


def _udp_blocked(scene: _Scene) -> str | None:
    for view in (scene.view, scene.peer):
        if view is not None and (line := udp_blocked(view, scene.entries)):
            return f"UDP does not leave the network of {scene.name(view.node)}: {line}"
    return None


def udp_blocked(view: AgentView, entries: Sequence[Entry]) -> str | None:
    """Whether all UDP servers were silent for an agent that has no candidate through UDP; the evidence in words."""
    through_udp = [
        candidate
        for candidate in view.gathered
        if candidate.type in ("srflx", "prflx")
        or (candidate.type == "relay" and (candidate.relay_transport or "udp") == "udp")
    ]
    if through_udp:
        return None
    silent = [str(one) for one in silent_servers(view.node, view.agent, entries) if over(one.server) == "udp"]
    boxes = [
        entry.record
        for entry in entries
        if isinstance(entry.record, PacketDropped)
        and entry.record.transport == "udp"
        and entry.record.source.ip
        in {candidate.address.ip for candidate in view.gathered if candidate.type == "host"}
        and "UDP" in entry.record.reason
    ]
    said = [f"{box.where} says: {box.reason}" for box in boxes]
    return "; ".join(dict.fromkeys([*silent, *said])) or None


def _untried(scene: _Scene, path: PathClass) -> list[WhyNot]:
    """No pair of this class existed: say which side lacked the candidate, and why."""
    if path is PathClass.RELAY_TLS:
        return []
    wanted = {PathClass.DIRECT: "host", PathClass.REFLEXIVE: "srflx"}.get(path, "relay")
    words = {"host": "host", "srflx": "reflexive", "relay": path.value.replace("relayed", "relay")}[wanted]
    for node, candidates, view in (
        (scene.one.node, scene.one.local_candidates, scene.view),
        (scene.one.peer, scene.one.remote_candidates, scene.peer),
    ):
        held = [c for c in candidates if c.type == wanted and (wanted != "relay" or _relay_fits(c, path))]
        if held or not node:
            continue
        cause = _lack(scene, view, path)
        if cause:
            return [WhyNot(path, path.value, f"{scene.name(node)} has no {words} candidate", cause)]
    return []


def _relay_fits(candidate: CandidateInfo, path: PathClass) -> bool:
    return path is not PathClass.RELAY_UDP or (candidate.relay_transport or "udp") == "udp"


def _lack(scene: _Scene, view: AgentView | None, path: PathClass) -> str:
    """What servers of the right transport said, or that they said nothing."""
    if view is None:
        return ""
    wanted = "tcp" if path is PathClass.RELAY_TCP else "udp"
    said = [
        str(one) for one in silent_servers(view.node, view.agent, scene.entries) if over(one.server) == wanted
    ]
    for entry in scene.entries:
        record = entry.record
        if not isinstance(record, ServerRefused) or (entry.node, record.agent) != (view.node, view.agent):
            continue
        if over(record.server) == wanted:
            said.append(f"{record.server} answered {record.code} {record.detail or record.reason}")
    return "; ".join(dict.fromkeys(said))
