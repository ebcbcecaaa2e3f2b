"""What ICE did, in order of time: a line an event, a lane an end.

Repeats are told once: checks of a pair with how many there were, pairs formed together with how many and the best.
Messages are left to the ladder; this is about what they amounted to. Times are seconds from the first line.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table
from rich.text import Text

from iceway.explain.cast import Cast
from iceway.explain.clean import clean
from iceway.explain.streams import AUDIO, bare
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    CandidateGathered,
    CandidatePruned,
    CandidateReceived,
    ConsentLost,
    GatheringFinished,
    GatheringStarted,
    IceStateChanged,
    MediaStarted,
    NameResolved,
    PairChecked,
    PairFailed,
    PairFormed,
    PairNominated,
    PairPruned,
    PairSelected,
    PairSucceeded,
    Record,
    RoleConflict,
    ServerAnswered,
    ServerRefused,
    ServerSkipped,
    ServerUnreachable,
)

_INSTANT = 0.005  # seconds within which real programs do what is one step of theirs
_STYLES = {"good": "green", "bad": "red", "choice": "bold green", "quiet": "dim"}


@dataclass(frozen=True, slots=True)
class Event:
    """One line. `times` counts what it stands for, the last of which was at `until`; `seen` are entries.

    `mood` is good, bad, choice, quiet or empty: how it is coloured.
    """

    at: float
    node: str
    agent: str
    text: str
    seen: tuple[int, ...]
    mood: str = ""
    times: int = 1
    until: float | None = None

    def __str__(self) -> str:
        if self.times == 1 or self.until is None:
            return self.text
        return f"{self.text}, {self.times} times in {_span(self.until - self.at)}"


def timeline(entries: Sequence[Entry]) -> list[Event]:
    """All events of the nodes that ran an ICE agent."""
    nodes = {entry.node for entry in entries if isinstance(entry.record, GatheringStarted | PairFormed)}
    reader = _Reader()
    for entry in entries:
        if entry.node in nodes:
            reader.read(entry)
    began = min((event.at for event in reader.events), default=0.0)
    return [
        replace(
            event,
            at=event.at - began,
            until=None if event.until is None else event.until - began,
            text=clean(event.text),
        )
        for event in reader.events
    ]


def timeline_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The same as plain values, ready for `json.dumps`; times in seconds."""
    return [
        {
            "at": round(event.at, 6),
            "node": event.node,
            "agent": event.agent,
            "text": event.text,
            "times": event.times,
            "until": None if event.until is None else round(event.until, 6),
            "entries": list(event.seen),
        }
        for event in timeline(entries)
    ]


def timeline_table(entries: Sequence[Entry]) -> Table | Text:
    """The same for a terminal, a column an end."""
    events = timeline(entries)
    if not events:
        return Text("No ICE in this trace.")
    cast = Cast(entries)
    lanes = list(dict.fromkeys((event.node, event.agent) for event in events if event.agent))
    lanes = lanes or list(dict.fromkeys((event.node, "") for event in events))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    table.add_column("ms", justify="right", no_wrap=True)
    for node, agent in lanes:
        several = sum(other == node for other, _ in lanes) > 1
        table.add_column(Text(clean(f"{cast.name(node)} {agent}" if several else cast.name(node))), ratio=1)
    for at, together in itertools.groupby(events, key=lambda event: round(event.at * 1000)):
        cells = [Text() for _ in lanes]
        for event in together:
            lane = next(
                n
                for n, (node, agent) in enumerate(lanes)
                if node == event.node and event.agent in (agent, "")
            )
            if cells[lane]:
                cells[lane].append("\n")
            cells[lane].append(str(event), style=_STYLES.get(event.mood, ""))
        table.add_row(str(at), *cells)
    return table


class _Reader:
    """Takes entries in order; what belongs to an event that is there changes it instead of adding one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._pairs: dict[tuple[str, str, int], PairFormed] = {}
        self._introduced: set[tuple[str, str, int]] = set()
        self._open: dict[tuple[object, ...], int] = {}
        self._items: dict[int, list[str]] = {}

    def read(self, entry: Entry) -> None:
        record = entry.record
        match record:
            case PairFormed():
                self._formed(entry, record)
            case PairPruned(local=local, reason=reason):
                self._together(entry, str(local), "leaves out pairs of {}: " + reason, "quiet")
            case PairChecked(pair=number, cause=cause):
                nominates = cause == "nomination"
                self._again(entry, number, "nominates" if nominates else "checks", nominates)
            case PairFailed(pair=number, reason=reason):
                never = reason.startswith("never checked")
                says = ": " + reason if never else " failed: " + reason
                self._together(entry, str(number), "pair {}" + says, "quiet" if never else "bad")
            case CandidateGathered(candidate=candidate):
                self._together(entry, str(candidate), "found {}", "")
            case CandidateReceived(candidate=candidate):
                learnt = candidate.type == "prflx"
                self._together(
                    entry, str(candidate), "learnt from a check: {}" if learnt else "was told {}", "quiet"
                )
            case CandidatePruned(candidate=candidate, reason=reason):
                self._together(entry, str(candidate), "leaves out {}: " + reason, "quiet")
            case _:
                told = self._told(entry, record)
                if told is not None:
                    self._add(entry, *told)

    def _told(self, entry: Entry, record: Record) -> tuple[str, str] | None:
        """A line, and its mood."""
        match record:
            case GatheringStarted(interfaces=interfaces, servers=servers):
                asked = f"; asks {', '.join(servers)}" if servers else ""
                return f"gathers on {', '.join(interfaces) or 'no interface'}{asked}", ""
            case NameResolved(name=name, record_type=kind, answers=answers, error=error):
                return (
                    f"{name} {kind}: {error or ', '.join(answers) or 'nothing'}",
                    "bad" if error else "quiet",
                )
            case ServerAnswered(server=server, round_trip=round_trip):
                return f"{server} answered in {_span(round_trip)}", "good"
            case ServerRefused(server=server, code=code, reason=reason, detail=detail):
                return f"{server} refused: {code} {reason}" + (f" ({detail})" if detail else ""), "bad"
            case ServerSkipped(server=server, reason=reason):
                return f"does not ask {server}: {reason}", "quiet"
            case ServerUnreachable(server=server, detail=detail):
                return f"{server}: {detail}", "bad"
            case GatheringFinished(duration=duration):
                return f"has all its candidates, after {_span(duration)}", ""
            case PairSucceeded(pair=number, round_trip=round_trip):
                return f"{self._pair(entry, number)} works, round trip {_span(round_trip)}", "good"
            case PairNominated(pair=number, by_us=False):
                return f"the peer nominates {self._pair(entry, number)}", ""
            case PairSelected(pair=number, early=early):
                verb = "may send on" if early else "settles on"
                return f"{verb} {self._pair(entry, number)}", "good" if early else "choice"
            case RoleConflict(now_controlling=controlling):
                return f"role conflict: is {'controlling' if controlling else 'controlled'} now", ""
            case ConsentLost(pair=number, silent_for=silent):
                return f"{self._pair(entry, number)} fell silent {_span(silent)} ago", "bad"
            case IceStateChanged(state="failed", reason=reason):
                return f"gave up: {reason}", "bad"
            case CallState(state=state, reason=reason):
                return f"call {state}" + (f": {reason}" if reason else ""), "quiet"
            case MediaStarted(direction=direction, early=early, media=media):
                what = "media" if media == AUDIO else bare(media)
                return f"first {what} {direction}" + (", before the answer" if early else ""), "good"
            case _:
                return None

    # --- pairs -------------------------------------------------------------------------------------------
    def _pair(self, entry: Entry, number: int) -> str:
        """With both addresses at the first mention, by number and kinds from then on."""
        key = (entry.node, _agent(entry), number)
        formed = self._pairs.get(key)
        if formed is None:
            return f"pair {number}"
        if key in self._introduced:
            return f"pair {number} ({formed.local.type} → {formed.remote.type})"
        self._introduced.add(key)
        return f"pair {number}: {formed.local} → {formed.remote}"

    def _formed(self, entry: Entry, record: PairFormed) -> None:
        """Pairs that are formed at one instant are one line, which shows the best of them."""
        self._pairs[entry.node, record.agent, record.pair] = record
        key = ("formed", entry.node, record.agent)
        place = self._open.get(key)
        if place is None or entry.at - self.events[place].at > _INSTANT:
            self._open[key] = len(self.events)
            self._items[len(self.events)] = [str(record.pair)]
            self._add(entry, f"forms pair {record.pair}: {record.local} → {record.remote}", "quiet")
            return
        items = self._items[place]
        items.append(str(record.pair))
        formed = [self._pairs[entry.node, record.agent, int(number)] for number in items]
        best = max(formed, key=lambda one: one.priority)
        text = f"forms pairs {_numbers(items)}; the best is {best.pair}: {best.local} → {best.remote}"
        self._change(place, entry, text=text)

    # --- lines -------------------------------------------------------------------------------------------
    def _add(self, entry: Entry, text: str, mood: str) -> None:
        self.events.append(Event(entry.at, entry.node, _agent(entry), text, (entry.id,), mood))

    def _change(self, place: int, entry: Entry, **what: Any) -> None:
        event = self.events[place]
        self.events[place] = replace(event, seen=(*event.seen, entry.id), **what)

    def _together(self, entry: Entry, item: str, template: str, mood: str) -> None:
        """The same of several things at one instant is one line."""
        key = ("together", entry.node, _agent(entry), template)
        place = self._open.get(key)
        if place is None or entry.at - self.events[place].at > _INSTANT:
            place = self._open[key] = len(self.events)
        items = self._items.setdefault(place, [])
        if item not in items:
            items.append(item)
        if template.startswith("pair {}") and len(items) > 1:
            text = template.replace("pair {}", f"pairs {_numbers(items)}", 1)
        else:
            text = template.replace("{}", ", ".join(items), 1)
        if place == len(self.events):
            self._add(entry, text, mood)
        else:
            self._change(place, entry, text=text)

    def _again(self, entry: Entry, number: int, verb: str, nominates: bool) -> None:
        """The same at different times is one line with a count."""
        key = ("again", entry.node, _agent(entry), number, nominates)
        place = self._open.get(key)
        if place is None:
            self._open[key] = len(self.events)
            self._add(entry, f"{verb} {self._pair(entry, number)}", "")
        else:
            self._change(place, entry, times=self.events[place].times + 1, until=entry.at)


def _agent(entry: Entry) -> str:
    return str(getattr(entry.record, "agent", ""))


def _numbers(items: Sequence[str]) -> str:
    """1, 2, 3, 7 → 1–3, 7."""
    runs: list[list[int]] = []
    for number in sorted(int(item) for item in items):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
