"""What `call.explain()` and `iceway explain` show: the path, both sides' candidates, pairs tried, findings.

`summary` is for people (a rich renderable, plain text on anything but a terminal), `as_json` for programs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from iceway.core.address import Address
from iceway.explain.cast import Cast
from iceway.explain.clean import clean
from iceway.explain.findings import Finding, Severity, findings
from iceway.explain.model import PairTried, PathClass, PathVerdict
from iceway.explain.nat import NatBehaviour, nat_behaviours
from iceway.explain.path import verdicts
from iceway.explain.quality import StreamQuality, qualities
from iceway.explain.streams import bare
from iceway.explain.words import measured
from iceway.trace.entry import Entry
from iceway.trace.records import CandidateInfo, Measured

_MARKS = {
    Severity.ERROR: ("✗", "bold red"),
    Severity.WARNING: ("!", "bold yellow"),
    Severity.INFO: ("i", "bold blue"),
}
_OUTCOMES = {"succeeded": "green", "failed": "red", "checking": "yellow", "waiting": "dim", "pruned": "dim"}
_MOST_PAIRS = 12
_MOST_UNUSED = 8


def summary(entries: Sequence[Entry], detail: bool = True) -> RenderableType:
    """Everything about the calls of a trace that fits a screen or two. Without `detail`, only path and findings."""
    cast = Cast(entries)
    parts: list[RenderableType] = []
    told: set[tuple[str, str]] = set()
    for one in verdicts(entries):
        if (one.node, one.agent) in told:
            continue
        told |= {(one.node, one.agent), (one.peer, one.peer_agent or "")}
        parts.append(_call(one, cast, detail))
    if not parts:
        parts.append(Text("No call in this trace."))
    nats = nat_behaviours(entries)
    if nats:
        parts.append(Padding(_nats(nats, cast, detail), (0, 0, 1, 0)))
    streams = qualities(entries)
    if streams:
        parts.append(Padding(_qualities(streams, cast), (0, 0, 1, 0)))
    figures = [entry.record for entry in entries if isinstance(entry.record, Measured)]
    if figures:
        parts.append(Padding(_measured(figures), (0, 0, 1, 2)))
    found = findings(entries)
    if found:
        parts.append(Text("Findings", style="bold"))
        parts += [Padding(_finding(finding), (0, 0, 1, 2)) for finding in found]
    return Group(*parts)


def headline(one: PathVerdict, cast: Cast | None = None) -> str:
    """One line: who, which way, how fast."""
    ends = " ↔ ".join(cast.name(node) if cast else node for node in (one.node, one.peer) if node)
    if one.path is PathClass.NONE:
        return clean(f"{ends}: no path" + (f" ({one.reason})" if one.reason else ""))
    line = f"{ends}: {one.path.value}, {one.local} ↔ {one.remote}"
    if one.agreed is False:
        line += "; the two ends do NOT agree"
    return clean(line)


def timing(one: PathVerdict) -> str:
    """How long it took until something was heard, in words; empty while unknown."""
    parts = []
    if one.round_trip is not None:
        parts.append(f"round trip {one.round_trip * 1000:.1f} ms")
    wait = one.answer_to_media
    if wait == 0.0:
        parts.append("sound was there before the call was picked up" if one.early_media else "sound at once")
    elif wait is not None:
        trips = f" ({one.media_round_trips:.1f} round trips)" if one.media_round_trips else ""
        parts.append(f"first sound {wait * 1000:.0f} ms after the answer{trips}")
    return ", ".join(parts)


def as_json(entries: Sequence[Entry]) -> dict[str, Any]:
    """Verdicts and findings as plain values, ready for `json.dumps`."""
    calls = []
    for one in verdicts(entries):
        row = {
            "node": one.node,
            "peer": one.peer,
            "agent": one.agent,
            "path": one.path.value,
            "agreed": one.agreed,
            "state": one.state,
            "reason": one.reason,
            "local": _plain(one.local),
            "remote": _plain(one.remote),
            "round_trip": one.round_trip,
            "answer_to_media": one.answer_to_media,
            "media_round_trips": one.media_round_trips,
            "early_media": one.early_media,
            "local_candidates": _plain(one.local_candidates),
            "remote_candidates": _plain(one.remote_candidates),
            "unused": _plain(one.unused),
            "pairs": _plain(one.pairs),
            "why_not": _plain(one.why_not),
        }
        calls.append(row)
    return {
        "verdicts": calls,
        "streams": _plain(tuple(qualities(entries))),
        "nats": _plain(tuple(nat_behaviours(entries))),
        "findings": _plain(tuple(findings(entries))),
    }


def _call(one: PathVerdict, cast: Cast, detail: bool) -> RenderableType:
    style = "bold red" if one.path is PathClass.NONE or one.agreed is False else "bold green"
    lines: list[RenderableType] = [Text(headline(one, cast), style=style)]
    if times := timing(one):
        lines.append(Padding(Text(times), (0, 0, 0, 2)))
    if one.agreed:
        lines.append(Padding(Text("both ends agree on the pair", style="dim"), (0, 0, 0, 2)))
    if one.why_not:
        lines.append(Padding(Text("Why not better:"), (1, 0, 0, 2)))
        lines += [Padding(Text.assemble("· ", clean(str(reason))), (0, 0, 0, 4)) for reason in one.why_not]
    if detail:
        lines.append(Padding(_candidates(one, cast), (1, 0, 1, 2)))
        if one.unused:
            told = [clean(str(unused)) for unused in one.unused[:_MOST_UNUSED]]
            more = len(one.unused) - len(told)
            told += [f"and {more} more"] if more else []
            lines.append(Padding(Text("Not used:\n  " + "\n  ".join(told), style="dim"), (0, 0, 1, 2)))
        if one.pairs:
            lines.append(Padding(_pairs(one), (0, 0, 1, 2)))
    else:
        lines.append(Text(""))
    return Group(*lines)


def _nats(nats: Sequence[NatBehaviour], cast: Cast, detail: bool) -> RenderableType:
    """What stands in front of each interface; in detail with the evidence."""
    lines: list[RenderableType] = [Text("In front of", style="bold")]
    for one in nats:
        lines.append(Padding(Text(clean(f"{cast.name(one.node)} {one.interface}: {one}")), (0, 0, 0, 2)))
        judgements = (one.mapping, one.filtering, one.hairpin, *one.notes) if detail else ()
        lines += [
            Padding(Text(clean(judgement.evidence), style="dim"), (0, 0, 0, 4))
            for judgement in judgements
            if judgement.evidence
        ]
    return Group(*lines)


def _qualities(streams: Sequence[StreamQuality], cast: Cast) -> RenderableType:
    """How good each stream was for whoever got it."""
    lines: list[RenderableType] = [Text("What came in", style="bold")]
    for one in streams:
        words = f"{bare(one.media)} at {cast.name(one.node)}: {one}"
        lines.append(Padding(Text(clean(words)), (0, 0, 0, 2)))
    return Group(*lines)


def _candidates(one: PathVerdict, cast: Cast) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    for node in (one.node, one.peer):
        table.add_column(Text(clean(f"{cast.name(node) if node else 'the other side'} offers"), style="bold"))
    ours = [_candidate(c, one.local) for c in one.local_candidates]
    theirs = [_candidate(c, one.remote) for c in one.remote_candidates]
    for row in range(max(len(ours), len(theirs))):
        table.add_row(*(side[row] if row < len(side) else Text() for side in (ours, theirs)))
    return table


def _candidate(candidate: CandidateInfo, chosen: CandidateInfo | None) -> Text:
    used = chosen is not None and chosen.address == candidate.address
    return Text(clean(f"{'▸' if used else ' '} {candidate}"), style="green" if used else "")


def _pairs(one: PathVerdict) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("", "pair", "way", "result"):
        table.add_column(column, no_wrap=column == "way")
    shown = [pair for pair in one.pairs if pair.outcome != "pruned"]
    for pair in shown[:_MOST_PAIRS]:
        table.add_row(
            "▸" if pair.selected else "",
            f"{pair.local.address} → {pair.remote.address}",
            pair.path.value,
            Text(
                clean(result(pair)), style="dim" if never_checked(pair) else _OUTCOMES.get(pair.outcome, "")
            ),
        )
    if len(shown) > _MOST_PAIRS:
        table.add_row("", f"and {len(shown) - _MOST_PAIRS} more", "", "")
    return table


def never_checked(pair: PairTried) -> bool:
    """Given up before its turn came, since another pair had been chosen: no fault of its own."""
    return pair.reason.startswith("never checked")


def result(pair: PairTried) -> str:
    """How a pair went, in words."""
    if pair.outcome == "succeeded":
        time = f" in {pair.round_trip * 1000:.1f} ms" if pair.round_trip is not None else ""
        return f"answered{time}" + (", chosen" if pair.selected else "")
    if pair.selected:
        return "chosen"
    checks = f"no answer to {pair.checks} check{'s' if pair.checks != 1 else ''}"
    words = {
        "failed": pair.reason or "failed",
        "checking": checks,
        "waiting": "not tried",
        "pruned": pair.reason,
    }
    return words.get(pair.outcome, pair.outcome)


def _finding(finding: Finding) -> Text:
    mark, style = _MARKS[finding.severity]
    seen = f"  (entries {', '.join(map(str, finding.seen))})" if finding.seen else ""
    text = Text.assemble((f"{mark} {finding.title}", style), (seen, "dim"))
    text.append(f"\n  {finding.meaning}\n  → {finding.remedy}")
    return text


def _measured(records: Sequence[Measured]) -> Text:
    lines = []
    for record in records:
        value = " ".join(filter(None, measured(record)))
        extra = ", ".join(f"{name} {held}" for name, held in record.details)
        lines.append(clean(f"{record.what}: {value}" + (f" ({extra})" if extra else "")))
    return Text("\n".join(lines))


def _plain(value: Any) -> Any:
    if isinstance(value, Address):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
