"""A recorded call as the plain data that the report's page shows: steps with routes, paths, candidates, findings.

What is here ends up in the page word for word, so it is bounded: retransmissions fold into the step they repeat,
minor records are left out, long messages are cut, and past a budget for the whole call raw messages are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from iceway.core.address import Address
from iceway.explain.cast import Cast
from iceway.explain.findings import findings
from iceway.explain.messages import Message, is_check
from iceway.explain.model import PairTried, PathClass, PathVerdict
from iceway.explain.path import verdicts
from iceway.explain.steps import CHAPTERS, Step, steps
from iceway.explain.summary import result, timing
from iceway.explain.words import candidate_words
from iceway.studio.picture import Picture, from_entries
from iceway.trace.entry import Entry
from iceway.trace.records import (
    AllocationCreated,
    AllocationEnded,
    CallState,
    CandidateGathered,
    CandidateInfo,
    CandidatePruned,
    CandidateReceived,
    ChannelBound,
    ConnectionClosed,
    ConnectionOpened,
    CredentialsRequested,
    GatheringFinished,
    IceStateChanged,
    Measured,
    MediaStarted,
    NameResolved,
    PacketDropped,
    PacketTranslated,
    PairChecked,
    PairFailed,
    PairFormed,
    PairPruned,
    PairSelected,
    PairSucceeded,
    PermissionInstalled,
    Record,
    Registered,
    RelayRefused,
    ServerAnswered,
    SipReceived,
    SipSent,
    Started,
    StunReceived,
    StunSent,
    Unregistered,
)

MAX_STEPS = 1500
MAX_TEXT = 12_000
RAW_BUDGET = 1_500_000

_WORDS = {"CreatePermission": "Permit", "ChannelBind": "Channel"}
_LEFT_OUT: tuple[type[Record], ...] = (
    Started,
    PacketTranslated,
    PacketDropped,
    PairChecked,
    PairFailed,
    PairFormed,
    PairPruned,
    PairSucceeded,
    ServerAnswered,
    GatheringFinished,
    ConnectionOpened,
    AllocationCreated,
    AllocationEnded,
    PermissionInstalled,
    ChannelBound,
    Unregistered,
)


_GIVEN_UP = re.compile(r"\bpair \d+ was selected|never checked")


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call of a report. Without a picture, one is guessed from the trace. `lead` is a sentence under the title."""

    title: str
    entries: Sequence[Entry]
    picture: Picture | None = None
    lead: str = ""


@dataclass(slots=True)
class _Shown:
    """A step on its way into the page; `times` counts retransmissions folded into it."""

    step: Step
    times: int = 1
    lost: bool = False
    more: list[str] = field(default_factory=list)
    ids: tuple[int, ...] = ()


def call_model(call: CallReport) -> dict[str, Any]:
    """Everything the page knows about one call, as JSON-able values."""
    entries = call.entries
    cast = Cast(entries)
    picture = call.picture or from_entries(entries, cast)
    for node in picture.nodes:  # boxes that keep no trace still have a name in sentences
        if node.kind == "nat":
            cast.roles.setdefault(node.name, "nat")
    ways = verdicts(entries)
    one = ways[0] if ways else PathVerdict("", "", PathClass.NONE, reason="no call in this trace")
    sound = _media_route(one, picture, cast)
    translated = [entry.record for entry in entries if isinstance(entry.record, PacketTranslated)]
    rows = [_Row(shown, cast, picture, translated).plain() for shown in _selected(steps(entries, cast), cast)]
    for row in rows:
        if "media" in row and sound:
            row["r"] = sound if row["f"] == sound[0] else sound[::-1]
    _spend(rows)
    return {
        "title": call.title,
        "lead": call.lead,
        "path": one.path.value,
        "pathId": one.path.name.lower(),
        "headline": _headline(one, cast),
        "timing": timing(one),
        "agreed": one.agreed,
        "stats": _stats(one, ways, rows, entries),
        "picture": _picture(picture, cast),
        "lanes": _lanes(rows, cast),
        "chapters": list(CHAPTERS),
        "steps": rows,
        "names": {node: cast.name(node) for node in {*cast.nodes, *(n.name for n in picture.nodes)}},
        "media": sound,
        "sides": _sides(one, cast),
        "pairs": [_pair(pair) for pair in one.pairs if pair.outcome != "pruned"][:100],
        "why": [{"title": why.title, "cause": why.cause, "detail": why.detail, "path": why.path.value}
                for why in one.why_not],
        "findings": [
            {"severity": finding.severity.value, "title": finding.title, "meaning": finding.meaning,
             "remedy": finding.remedy, "steps": _steps_of(finding.seen, rows)}
            for finding in findings(entries)
        ],
    }  # fmt: skip


# --- steps ----------------------------------------------------------------------------------------------
def _selected(every: Sequence[Step], cast: Cast) -> list[_Shown]:
    """The steps worth an animation, retransmissions folded, lists of candidates told in one step."""
    shown: list[_Shown] = []
    first: dict[tuple[object, ...], _Shown] = {}
    learned: dict[str, _Shown] = {}
    known_candidates: set[tuple[str, CandidateInfo]] = set()
    asked: set[tuple[str, str, bool]] = set()
    resolved = {
        (step.sender, step.record.record_type == "SRV")
        for step in every
        if isinstance(step.record, NameResolved) and step.record.answers
    }
    for step in every:
        record = step.record
        if isinstance(record, NameResolved):
            question = (step.sender, record.name, bool(record.answers))
            vain = not record.answers and not record.error
            if question in asked or (vain and (step.sender, record.record_type == "SRV") in resolved):
                continue
            asked.add(question)
        if isinstance(record, _LEFT_OUT) or (isinstance(record, Registered) and record.outside is None):
            continue
        if isinstance(record, IceStateChanged) and record.state not in ("failed",):
            continue
        if isinstance(record, CredentialsRequested) and cast.roles.get(step.sender) in ("edge", "frontend"):
            continue
        if isinstance(record, ConnectionClosed) and record.reason.startswith("closed by"):
            continue
        if isinstance(record, RelayRefused) and record.code in (401, 403, 438):
            continue  # the answer itself is a step
        if isinstance(record, PairFailed) and _GIVEN_UP.search(record.reason):
            continue
        if isinstance(record, CandidatePruned) and record.reason.startswith("repeats"):
            continue
        if step.lost and isinstance(record, StunSent) and record.method == "Refresh":
            continue  # the answer to a client that has hung up already
        if isinstance(record, CandidateReceived):
            if (step.sender, record.candidate) in known_candidates:
                continue
            known_candidates.add((step.sender, record.candidate))
            known = learned.get(step.sender)
            if known is not None and step.at - known.step.at < 0.5:
                known.times += 1
                known.more.append(candidate_words(record.candidate, "the other side’s"))
                continue
            learned[step.sender] = _Shown(step, more=[candidate_words(record.candidate, "the other side’s")])
            shown.append(learned[step.sender])
            continue
        if step.message is not None:
            key = _key(step)
            known = first.get(key)
            if known is not None:
                known.times += 1
                known.lost = known.lost and step.lost
                known.ids += step.seen
                continue
            first[key] = _Shown(step, lost=step.lost)
            shown.append(first[key])
            continue
        shown.append(_Shown(step))
    if len(shown) > MAX_STEPS:
        shown = [one for one in shown if one.step.message is None or one.step.kind != "check"][:MAX_STEPS]
    return shown


def _key(step: Step) -> tuple[object, ...]:
    record = step.record
    if isinstance(record, StunSent | StunReceived):
        nominates = any(name == "USE-CANDIDATE" for name, _ in record.attributes)
        if is_check(record) and step.message is not None:
            way = (step.message.source, step.message.destination)
            return "check", step.sender, way, nominates, None if step.lost else record.transaction_id
        return "stun", step.sender, record.transaction_id, record.message_class
    if isinstance(record, SipSent | SipReceived):
        return "sip", step.sender, step.receiver, record.start_line, record.call_id, record.cseq, record.text
    return (id(step),)


class _Row:
    """One step as the page's data."""

    def __init__(
        self, shown: _Shown, cast: Cast, picture: Picture, translated: Sequence[PacketTranslated]
    ) -> None:
        self._shown = shown
        self._step = shown.step
        self._cast = cast
        self._picture = picture
        self._translated = translated

    def plain(self) -> dict[str, Any]:
        step = self._step
        row: dict[str, Any] = {
            "t": round(step.at, 4),
            "k": step.kind,
            "c": CHAPTERS.index(step.chapter),
            "f": step.sender,
            "o": step.receiver,
            "n": self._short(),
            "p": self._plain_line(),
            "x": step.technical,
            "ids": [*step.seen, *self._shown.ids],
        }
        if step.message is not None:
            row.update(self._travel(step.message))
        elif isinstance(step.record, MediaStarted) and step.receiver:
            row["media"] = step.sender
        if isinstance(step.record, PairSelected):
            row["pick"] = True
        if isinstance(step.record, CallState):
            row["state"] = step.record.state
        row["d"] = _details(step)
        return row

    def _plain_line(self) -> str:
        step, shown = self._step, self._shown
        line = step.plain
        if isinstance(step.record, CandidateReceived) and shown.times > 1:
            who = self._cast.name(step.sender)
            return f"{who[:1].upper()}{who[1:]} learns {shown.times} addresses of the other side: {'; '.join(shown.more)}"
        if step.message is not None and shown.times > 1:
            line += f" (sent {shown.times} times)"
        return line

    def _short(self) -> str:
        """What the packet wears on its back."""
        record = self._step.record
        if isinstance(record, SipSent | SipReceived):
            line = record.start_line
            return line[8:] if line.startswith("SIP/2.0 ") else line.partition(" ")[0]
        if isinstance(record, StunSent | StunReceived):
            return _stun_word(self._step.title)
        if isinstance(record, MediaStarted):
            return "sound" if self._step.receiver else "first sound"
        if isinstance(record, CallState):
            return record.state
        return self._step.title

    def _travel(self, message: Message) -> dict[str, Any]:
        record = message.record
        picture = self._picture
        source, destination = message.source, message.destination
        start_ip = (record.local if message.sent else record.remote).ip
        end_ip = (message.heard_at or destination).ip
        if message.via:
            relay_ip = next(
                (a.ip for a in (getattr(record, "relay", None), destination) if a is not None), ""
            )
            to_relay = picture.route(message.sender, message.via, start_ip, relay_ip)
            onward = picture.route(message.via, message.receiver, relay_ip, end_ip)
            route = to_relay + onward[1:]
        else:
            route = picture.route(message.sender, message.receiver, start_ip, end_ip)
        moved: dict[str, Any] = {"r": route, "tags": self._tags(message, route, source, destination)}
        if message.via:
            moved["v"] = message.via
        if message.arrived is not None and self._shown.times == 1:
            moved["a"] = round(message.arrived, 4)
        if message.lost and (self._shown.lost or self._shown.times == 1):
            moved["lost"] = True
            if message.dropped_at in route:
                moved["lostAt"] = message.dropped_at
                moved["why"] = message.dropped_why
        if self._shown.times > 1:
            moved["times"] = self._shown.times
        return moved

    def _tags(
        self, message: Message, route: Sequence[str], source: Address, destination: Address
    ) -> list[dict[str, str]]:
        """What the packet says about itself, from which node of the route on: NATs and relays change it."""
        record = message.record
        relay = getattr(record, "relay", None)
        local = record.local if message.sent else record.remote
        target = record.remote if message.sent else record.local
        lease = self._cast.lease(relay) if relay is not None else None
        if lease is not None:
            local, target = lease  # until the relay, the packet travels inside one to the relay
        tags = [{"at": route[0], "from": str(local), "to": str(target)}]
        gates = [name for name in route[1:-1] if self._kind(name) == "nat"]
        seen, arrived = message.heard_from, message.heard_at
        via = route.index(message.via) if message.via in route else len(route)
        outward = [gate for gate in gates if route.index(gate) < via][:1]
        mapped = self._mapped(message, local, target) or (seen if not message.via else None)
        if outward and mapped is not None and mapped != local:
            tags.append({"at": outward[0], "from": str(mapped), "to": str(target)})
        theirs = self._cast.lease(destination) if message.via else None
        if theirs is not None:  # from their relay on, it travels inside one from the relay
            inside, server = theirs
            outside = self._mapped(message, inside, server) or inside
            tags.append({"at": str(message.via), "from": str(server), "to": str(outside)})
            arrived = inside
        elif message.via:
            onward = str(seen or relay or tags[-1]["from"])
            tags.append({"at": message.via, "from": onward, "to": str(destination)})
        inward = [gate for gate in gates if gate not in outward or len(tags) == 1]
        if (
            arrived is not None
            and str(arrived) != tags[-1]["to"]
            and arrived != relay
            and (inward or message.via)
        ):
            where = inward[-1] if inward else str(message.via)
            tags.append({"at": where, "from": tags[-1]["from"], "to": str(arrived)})
        return tags

    def _mapped(self, message: Message, local: Address, destination: Address) -> Address | None:
        """What the sender's NAT made of its address, as the NAT recorded it."""
        fallback = None
        for record in self._translated:
            if record.outgoing and record.before == local:
                if record.peer == destination or record.peer == message.record.remote:
                    return record.after
                fallback = fallback or record.after
        return fallback if message.received is None or message.via else None

    def _kind(self, name: str) -> str:
        node = self._picture.node(name)
        return node.kind if node else ""


def _stun_word(title: str) -> str:
    """`Allocate request` → Allocate, `Allocate error 401` → 401, `check answered` → check ok."""
    fixed = {"check, nominating": "use this way", "check answered": "check ok"}
    fixed |= {"still there?": "still there?", "still here": "still here"}
    if title in fixed:
        return fixed[title]
    method, _, kind = title.partition(" ")
    method = _WORDS.get(method, method)
    if kind.startswith("error"):
        return f"{method}: {kind.removeprefix('error').strip() or 'error'}"
    return f"{method} ok" if kind.startswith("success") else method


def _details(step: Step) -> dict[str, Any]:
    """The real thing behind a step: SIP text, STUN attributes and bytes, or the fields of a record."""
    record = step.record
    if isinstance(record, SipSent | SipReceived):
        cut = record.text[:MAX_TEXT]
        return {"sip": cut + ("\n… (cut)" if len(record.text) > MAX_TEXT else "")}
    if isinstance(record, StunSent | StunReceived):
        return {
            "stun": f"{record.method} {record.message_class}",
            "id": record.transaction_id,
            "attrs": [list(pair) for pair in record.attributes],
            "hex": record.raw[:MAX_TEXT],
        }
    if record is None:
        return {}
    fields = getattr(record, "__dataclass_fields__", {})
    return {
        "fields": [[name, _text(getattr(record, name))] for name in fields if _text(getattr(record, name))]
    }


def _text(value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, tuple) and not isinstance(value, Address):
        return ", ".join(_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _spend(rows: Sequence[dict[str, Any]]) -> None:
    """Raw messages up to the budget; later steps keep their lines but not their bytes."""
    left = RAW_BUDGET
    for row in rows:
        details = row["d"]
        size = len(details.get("sip", "")) + len(details.get("hex", ""))
        left -= size
        if left < 0 and size:
            row["d"] = {"cut": "Left out to keep this page small; the trace file has it."}


def _steps_of(seen: Sequence[int], rows: Sequence[dict[str, Any]]) -> list[int]:
    """Positions of the steps that a finding rests on; what has no step of its own stands with the one before it."""
    found = []
    for wanted in seen:
        exact = next((place for place, row in enumerate(rows) if wanted in row["ids"]), None)
        before = [place for place, row in enumerate(rows) if row["ids"] and min(row["ids"]) < wanted]
        if exact is not None or before:
            found.append(exact if exact is not None else before[-1])
    return list(dict.fromkeys(found))[:8]


# --- around the steps -----------------------------------------------------------------------------------
def _picture(picture: Picture, cast: Cast) -> dict[str, Any]:
    return {
        "areas": [{"label": area.label, "b": area.begin, "e": area.end} for area in picture.areas],
        "nodes": [
            {"id": n.name, "kind": n.kind, "name": _short_name(n.name, n.kind, cast), "ips": list(n.ips), "x": n.along,
             "y": n.across, "note": n.note, "area": n.area}
            for n in picture.nodes
        ],
        "links": [[link.node, link.to] for link in picture.links],
    }  # fmt: skip


def _short_name(node: str, kind: str, cast: Cast) -> str:
    fixed = {"edge": "Edge", "frontend": "Front end", "nameserver": "DNS"}.get(kind)
    return fixed or _capital(cast.name(node).removeprefix("the "))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lanes(rows: Sequence[dict[str, Any]], cast: Cast) -> list[str]:
    """Everybody who talks, as columns; nodes that only note things stand in the map."""
    busy = [name for row in rows if row["o"] for name in (row["f"], row["o"])]
    if len({name for name in busy if name in cast.roles}) > 2:
        # strangers that hardly speak (a packet to an address nobody owns) are no column of their own
        busy = [name for name in busy if name in cast.roles or busy.count(name) > 4]
        busy = [name for name in busy if cast.roles.get(name) != "nat"]
    return cast.in_order(busy) or cast.in_order(row["f"] for row in rows)


def _headline(one: PathVerdict, cast: Cast) -> str:
    if one.path is PathClass.NONE:
        return f"No path: {one.reason}" if one.reason else "No path was found"
    ends = f"{cast.name(one.node)} and {cast.name(one.peer)}" if one.peer else cast.name(one.node)
    return {
        PathClass.DIRECT: f"{ends} talk directly, host to host",
        PathClass.REFLEXIVE: f"{ends} talk directly, through holes in their NATs",
    }.get(one.path, f"{ends} talk through the relay, reached {one.path.value.removeprefix('relayed ')}")


def _stats(
    one: PathVerdict, ways: Sequence[PathVerdict], rows: Sequence[dict[str, Any]], entries: Sequence[Entry]
) -> list[dict[str, str]]:
    stats = [{"label": "Path", "value": one.path.value, "note": _both(one)}]
    if one.round_trip is not None:
        stats.append(
            {"label": "Round trip", "value": f"{one.round_trip * 1000:.1f} ms", "note": "on the chosen path"}
        )
    waits = [way for way in ways if way.answer_to_media is not None]
    if waits:
        slowest = max(waits, key=lambda way: way.answer_to_media or 0.0)
        wait = slowest.answer_to_media or 0.0
        trips = slowest.media_round_trips
        note = f"{trips:.1f} round trips, at {slowest.node}" if trips else "it was there before"
        stats.append({"label": "Answer to first sound", "value": f"{wait * 1000:.0f} ms", "note": note})
    for entry in entries:
        record = entry.record
        if isinstance(record, Measured):
            value = (
                f"{record.value:.1%}" if record.unit == "share" else f"{record.value:g} {record.unit}".strip()
            )
            extra = ", ".join(f"{name} {held}" for name, held in record.details)
            stats.append({"label": record.what[:1].upper() + record.what[1:], "value": value, "note": extra})
    checks = [step for step in rows if step["k"] == "check" and "r" in step]
    answered = sum(isinstance(entry.record, PairSucceeded) for entry in entries)
    packets = sum(row.get("times", 1) for row in checks)
    stats.append(
        {
            "label": "Paths tried",
            "value": f"{len(one.pairs)} pairs",
            "note": f"{packets} check packets, {answered} answered",
        }
    )
    sip = sum(isinstance(entry.record, SipSent) for entry in entries)
    found = sum(isinstance(entry.record, CandidateGathered) for entry in entries)
    stats.append({"label": "Signalling", "value": f"{sip} messages", "note": f"{found} addresses found"})
    return stats


def _both(one: PathVerdict) -> str:
    return (
        {True: "both ends agree", False: "the two ends disagree"}.get(one.agreed, "")
        if one.agreed is not None
        else ""
    )


def _media_route(one: PathVerdict, picture: Picture, cast: Cast) -> list[str]:
    """The nodes that sound passes, from the first verdict's end to its peer."""
    if one.path is PathClass.NONE or one.local is None or one.remote is None:
        return []
    relays = [candidate for candidate in (one.local, one.remote) if candidate.type == "relay"]
    if not one.path.relayed or not relays:
        return picture.route(one.node, one.peer)
    via = cast.relay_of(relays[0].address) or next((n.name for n in picture.nodes if n.kind == "edge"), None)
    if via is None:
        return picture.route(one.node, one.peer)
    ip = relays[0].address.ip
    return picture.route(one.node, via, "", ip) + picture.route(via, one.peer, ip)[1:]


def _sides(one: PathVerdict, cast: Cast) -> list[dict[str, Any]]:
    return [
        {"name": cast.name(node)[:1].upper() + cast.name(node)[1:] if node else "The other side",
         "candidates": [_candidate(candidate, chosen) for candidate in held]}
        for node, held, chosen in (
            (one.node, one.local_candidates, one.local),
            (one.peer, one.remote_candidates, one.remote),
        )
    ]  # fmt: skip


def _candidate(candidate: CandidateInfo, chosen: CandidateInfo | None) -> dict[str, Any]:
    via = f" over {candidate.relay_transport.upper()}" if candidate.relay_transport else ""
    return {
        "type": candidate.type,
        "label": {
            "host": "own",
            "srflx": "seen from outside",
            "prflx": "seen by peer",
            "relay": f"lent by relay{via}",
        }.get(candidate.type, candidate.type),
        "address": str(candidate.address),
        "priority": candidate.priority,
        "chosen": chosen is not None and chosen.address == candidate.address,
    }


def _pair(pair: PairTried) -> dict[str, Any]:
    pair = replace(pair, reason=pair.reason)
    return {
        "local": str(pair.local),
        "remote": str(pair.remote),
        "path": pair.path.value,
        "outcome": "chosen" if pair.selected else pair.outcome,
        "result": result(pair),
        "checks": pair.checks,
    }
