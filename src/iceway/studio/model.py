"""A recorded call as the plain data that the report's page shows: its verdict, picture, steps, figures, findings."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iceway.explain.cast import Cast
from iceway.explain.findings import findings
from iceway.explain.model import PairTried, PathClass, PathVerdict
from iceway.explain.path import verdicts
from iceway.explain.quality import qualities
from iceway.explain.steps import CHAPTERS
from iceway.explain.streams import bare
from iceway.explain.summary import never_checked, result, timing
from iceway.explain.words import measured
from iceway.studio.picture import Picture, from_entries
from iceway.studio.rows import step_rows
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CandidateGathered,
    CandidateInfo,
    Measured,
    PairSucceeded,
    SipSent,
)


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """Pictures that somebody saw in a call, as JPEG, each with a few words."""

    title: str
    note: str
    pictures: Sequence[tuple[bytes, str]]


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call of a report. Without a picture, one is guessed from the trace. `lead` is a sentence under the title."""

    title: str
    entries: Sequence[Entry]
    picture: Picture | None = None
    lead: str = ""
    sheets: Sequence[ContactSheet] = ()


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
    rows = step_rows(entries, cast, picture)
    for row in rows:
        if "media" in row and sound:
            row["r"] = sound if row["f"] == sound[0] else sound[::-1]
    return {
        "title": call.title,
        "lead": call.lead,
        "path": one.path.value,
        "pathId": one.path.name.lower(),
        "headline": _headline(one, cast),
        "timing": timing(one),
        "agreed": one.agreed,
        "stats": _stats(one, ways, rows, entries, cast),
        "picture": _picture(picture, cast),
        "lanes": _lanes(rows, cast),
        "chapters": list(CHAPTERS),
        "steps": rows,
        "names": {node: cast.name(node) for node in {*cast.nodes, *(n.name for n in picture.nodes)}},
        "media": sound,
        "sides": _sides(one, cast),
        "pairs": [_pair(pair) for pair in one.pairs if pair.outcome != "pruned"][:100],
        "sheets": [_sheet(sheet) for sheet in call.sheets],
        "why": [{"title": why.title, "cause": why.cause, "detail": why.detail, "path": why.path.value}
                for why in one.why_not],
        "findings": [
            {"severity": finding.severity.value, "title": finding.title, "meaning": finding.meaning,
             "remedy": finding.remedy, "steps": _steps_of(finding.seen, rows)}
            for finding in findings(entries)
        ],
    }  # fmt: skip


def _steps_of(seen: Sequence[int], rows: Sequence[dict[str, Any]]) -> list[int]:
    """Positions of the steps that a finding rests on; what has no step of its own stands with the one before it."""
    found = []
    for wanted in seen:
        exact = next((place for place, row in enumerate(rows) if wanted in row["ids"]), None)
        before = [place for place, row in enumerate(rows) if row["ids"] and min(row["ids"]) < wanted]
        if exact is not None or before:
            found.append(exact if exact is not None else before[-1])
    return list(dict.fromkeys(found))[:8]


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
    one: PathVerdict,
    ways: Sequence[PathVerdict],
    rows: Sequence[dict[str, Any]],
    entries: Sequence[Entry],
    cast: Cast,
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
        note = f"{trips:.1f} round trips, at {cast.name(slowest.node)}" if trips else "it was there before"
        stats.append({"label": "Answer to first sound", "value": f"{wait * 1000:.0f} ms", "note": note})
    for stream in qualities(entries):
        label = _capital(f"{bare(stream.media)} at {cast.name(stream.node)}")
        value, _, note = str(stream).partition(", ")
        stats.append({"label": label, "value": value, "note": note})
    for entry in entries:
        record = entry.record
        if isinstance(record, Measured):
            value, of = measured(record)
            extra = ", ".join([*([of] if of else []), *(f"{name} {held}" for name, held in record.details)])
            stats.append({"label": _capital(record.what), "value": value, "note": extra})
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


def _sheet(sheet: ContactSheet) -> dict[str, Any]:
    pictures = [
        {"src": f"data:image/jpeg;base64,{base64.b64encode(data).decode()}", "words": words}
        for data, words in sheet.pictures
    ]
    return {"title": sheet.title, "note": sheet.note, "pictures": pictures}


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
    return {
        "local": str(pair.local),
        "remote": str(pair.remote),
        "path": pair.path.value,
        "outcome": "chosen" if pair.selected else "waiting" if never_checked(pair) else pair.outcome,
        "result": result(pair),
        "checks": pair.checks,
    }
