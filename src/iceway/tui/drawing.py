"""Pictures of a call in text: levels, the path from end to end, the table of pairs, figures with their colours.

Pure functions from values to `rich` text, of the width that there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from iceway.explain.clean import clean
from iceway.explain.model import PairTried, PathClass, PathVerdict
from iceway.explain.summary import result
from iceway.trace.records import CandidateInfo
from iceway.tui.voice import FLOOR, Level

GOOD, FAIR, POOR, QUIET, PLAIN, LINK = "#8fbc8f", "#d7af5f", "#d7786f", "#76838f", "#c8d3dc", "#6f9fc8"
WIDE = 84  # columns from which on a pair fits one line
_PARTS = " ▏▎▍▌▋▊▉█"
_OUTCOMES = {"succeeded": GOOD, "failed": POOR, "checking": FAIR, "waiting": QUIET, "pruned": QUIET}
_SIGNS = {"succeeded": "●", "failed": "×", "checking": "◌", "waiting": "·", "pruned": " "}
_CLASSES = {PathClass.DIRECT: GOOD, PathClass.REFLEXIVE: GOOD, PathClass.RELAY_UDP: LINK,
            PathClass.RELAY_TCP: FAIR, PathClass.RELAY_TLS: FAIR, PathClass.NONE: QUIET}  # fmt: skip


def meter(level: Level, width: int, *, silent: bool = False) -> Text:
    """A bar from silence to full scale; `silent`: nothing of it is sent."""
    share = (level.now - FLOOR) / -FLOOR
    full, rest = divmod(round(share * width * 8), 8)
    bar = ("█" * full + (_PARTS[rest] if rest else ""))[:width]
    fair, loud = (round((FLOOR - edge) / FLOOR * width) for edge in (-18.0, -6.0))
    text = Text(style="on #1f2830")
    for part, colour in ((bar[:fair], GOOD), (bar[fair:loud], FAIR), (bar[loud:], POOR)):
        if part:
            text.append(part, QUIET if silent else colour)
    peak = min(width - 1, round((level.peak - FLOOR) / -FLOOR * width))
    if peak > len(bar):
        text.append(" " * (peak - len(bar)) + "▏", QUIET)
    text.append(" " * (width - len(text)))
    return text


def levels(said: Level, heard: Level, width: int, *, muted: bool, name: str) -> Text:
    """Both meters below each other."""
    label = max(2, min(len(name), 12))
    bar = max(8, width - label - 11)
    text = Text(no_wrap=True)
    for who, level, silent in (("me", said, muted), (name, heard, False)):
        text.append(who[:label].ljust(label) + " ", QUIET)
        text.append_text(meter(level, bar, silent=silent))
        reading = "muted" if silent else "silent" if level.now <= FLOOR else f"{level.now:3.0f} dB"
        text.append(f" {reading:>7}", FAIR if silent else QUIET)
        text.append("\n")
    text.right_crop(1)
    return text


# --- the path -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Stop:
    """A place on the way: `name` above, `address` below it."""

    name: str
    address: str = ""
    style: str = PLAIN


def stops(one: PathVerdict, name: str) -> list[Stop]:
    """The way from here to the other end, as far as this end can know it."""
    local, remote = one.local, one.remote
    if local is None or remote is None:
        return [Stop("me", style="bold"), Stop("?", style=QUIET), Stop(name, style="bold")]
    found = [Stop("me", _inside(one, local), "bold")]
    if local.type == "relay":
        if _behind_nat(one):
            found.append(Stop("NAT", style=FAIR))
        found.append(Stop("edge", local.address.ip, LINK))
    elif local.type != "host":
        found.append(Stop("NAT", local.address.ip, FAIR))
    if remote.type == "relay":
        found.append(Stop("edge", remote.address.ip, LINK))
    elif remote.type != "host":
        found.append(Stop("NAT", remote.address.ip, FAIR))
    return [*found, Stop(name, remote.address.ip if remote.type == "host" else "", "bold")]


def path(one: PathVerdict | None, name: str, width: int, *, over: bool = False) -> Text:
    """Two or three lines: the way, its addresses where they fit, its class and round trip. `over`: none is looked for."""
    if over and (one is None or (one.state != "failed" and None in (one.local, one.remote))):
        return Text("the call ended before it had a path", QUIET)
    if one is None:
        return Text("no path is looked for yet", QUIET)
    name = clean(name)[:14]
    found = stops(one, name)
    text = Text()
    text.append_text(_way(found, one, width))
    text.append("\n")
    text.append_text(_said(one))
    return text


def why_not(one: PathVerdict | None, width: int) -> Text:
    """Why it is no better, in two lines a class at most."""
    text = Text()
    for why in one.why_not[:2] if one is not None else ():
        said = f"not {why.path.value}: {clean(why.cause)}"
        text.append((said if len(said) <= 2 * width else said[: 2 * width - 1] + "…") + "\n", QUIET)
    text.right_crop(1)
    return text


def _way(found: Sequence[Stop], one: PathVerdict, width: int) -> Text:
    cells = [max(len(stop.name), len(stop.address)) for stop in found]
    links = len(found) - 1
    room = width - sum(cells) - 2 * links
    if room < 3 * links:  # too narrow for addresses
        found = [Stop(stop.name, "", stop.style) for stop in found]
        cells = [len(stop.name) for stop in found]
        room = max(links, width - sum(cells) - 2 * links)
    link = min(14, max(1, room // links))
    line = "┄" if one.local is None else "━" if one.path in (PathClass.DIRECT, PathClass.REFLEXIVE) else "─"
    above, below = Text(no_wrap=True), Text(no_wrap=True)
    start = 0  # of the stop's cell; its name stands in the middle, the ends at their margins
    for place, (stop, cell) in enumerate(zip(found, cells, strict=True)):
        spare = cell - len(stop.name)
        column = start + (0 if place == 0 else spare if place == links else spare // 2)
        if place:
            gap = column - len(above.plain)
            above.append(f" {line * (gap - 2)} " if gap > 2 else " " * gap, _CLASSES[one.path])
        above.append(stop.name, stop.style)
        address = (
            stop.address.rjust(cell)
            if place == links
            else stop.address.center(cell)
            if place
            else stop.address
        )
        below.append(" " * (start - len(below.plain)) + address, QUIET)
        start += cell + link + 2
    return Text("\n").join([above, below]) if any(stop.address for stop in found) else above


def _said(one: PathVerdict) -> Text:
    if one.local is None or one.remote is None:
        if one.state == "failed":
            return Text(f"no path: {clean(one.reason)}", POOR)
        checked = sum(pair.outcome != "waiting" for pair in one.pairs)
        return Text(f"looking for a path: {checked} of {len(one.pairs)} pairs tried", FAIR)
    text = Text()
    text.append(one.path.value, f"bold {_CLASSES[one.path]}")
    if one.path.relayed and (relay := _relay(one.local) or _relay(one.remote)):
        text.append(f" through {clean(relay)}", PLAIN)
    if one.round_trip is not None:
        trip = one.round_trip * 1000
        text.append(f" · {trip:.{0 if trip >= 10 else 1}f} ms there and back", PLAIN)
    return text


def _relay(candidate: CandidateInfo) -> str:
    """The relay that lends a candidate, by its name where we know that: turn:HOST:PORT?transport=…"""
    if candidate.type != "relay":
        return ""
    return (candidate.server or "").partition(":")[2].partition("?")[0] or candidate.address.ip


def _behind_nat(one: PathVerdict) -> bool:
    """Whether some server saw us under another address than our own."""
    own = {candidate.address.ip for candidate in one.local_candidates if candidate.type == "host"}
    return any(c.type == "srflx" and c.address.ip not in own for c in one.local_candidates)


def _inside(one: PathVerdict, local: CandidateInfo) -> str:
    if local.type == "host":
        return local.address.ip
    own = [candidate.address.ip for candidate in one.local_candidates if candidate.type == "host"]
    return own[0] if own else ""


# --- pairs ----------------------------------------------------------------------------------------------
def pairs(one: PathVerdict | None, width: int, most: int = 60) -> RenderableType:
    """What is tried and how it goes, best first: a line each where there is room, else two."""
    if one is None or not one.pairs:
        return Text("No pairs yet.", QUIET)
    tried = [pair for pair in one.pairs if pair.outcome != "pruned"]
    shown = _table(tried[:most]) if width >= WIDE else _listed(tried[:most])
    if len(tried) <= most:
        return shown
    return Group(shown, Text(f"and {len(tried) - most} more", QUIET))


def _table(tried: Sequence[PairTried]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET, expand=True, pad_edge=False)
    for title in ("", "ours", "theirs", "way"):
        table.add_column(title, no_wrap=True)
    table.add_column("how it went", ratio=1)
    for pair in tried:
        style = _OUTCOMES.get(pair.outcome, "")
        table.add_row(
            *(_sign(pair), _end(pair.local), _end(pair.remote), Text(pair.path.value, _CLASSES[pair.path])),
            Text(clean(_went(pair)), style),
        )
    return table


def _listed(tried: Sequence[PairTried]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for pair in tried:
        ends = Text.assemble(_end(pair.local), (" → ", QUIET), _end(pair.remote), "\n")
        table.add_row(_sign(pair), ends.append(clean(_went(pair)), _OUTCOMES.get(pair.outcome, "")))
    return table


def _sign(pair: PairTried) -> Text:
    sign = _SIGNS.get(pair.outcome, "?")
    return Text(("▸" if pair.selected else " ") + sign, _OUTCOMES.get(pair.outcome, ""))


def _went(pair: PairTried) -> str:
    return "chosen, " + result(pair).removesuffix(", chosen") if pair.selected else result(pair)


def _end(candidate: CandidateInfo) -> Text:
    kind = {"host": "own", "srflx": "NAT", "prflx": "seen", "relay": "relay"}.get(
        candidate.type, candidate.type
    )
    text = Text.assemble((f"{clean(kind)} ", QUIET))
    return text.append(str(candidate.address), PLAIN)


def candidates(one: PathVerdict | None) -> Text:
    """Both sides' candidates, in words."""
    if one is None:
        return Text()
    text = Text()
    for title, held, used in (
        ("we offer", one.local_candidates, one.local),
        ("they offer", one.remote_candidates, one.remote),
    ):
        text.append(f"{title}\n", QUIET)
        for candidate in held:
            chosen = used is not None and used.address == candidate.address
            text.append(f"  {'▸' if chosen else ' '} {clean(str(candidate))}\n", GOOD if chosen else PLAIN)
    for unused in one.unused[:8]:
        text.append(f"  not used: {clean(str(unused))}\n", QUIET)
    text.right_crop(1)
    return text


# --- figures --------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value and how good it is, as a colour."""

    label: str
    value: str
    style: str = PLAIN


def judged(value: float, fair: float, poor: float) -> str:
    """The colour of a value of which less is better."""
    return GOOD if value < fair else FAIR if value < poor else POOR


def figures(streams: Sequence[tuple[str, Sequence[Figure]]], width: int) -> Text:
    """Stream by stream, in as many columns as fit."""
    every = [one for _, found in streams for one in found]
    if not every:
        return Text.assemble(("no media yet", QUIET))
    labels = max(len(one.label) for one in every)
    values = max(len(one.value) for one in every)
    columns = max(1, (width + 2) // (labels + values + 3))
    text = Text(no_wrap=True)
    for name, found in streams:
        if len(streams) > 1:
            text.append(f"{name}\n", "bold")
        for place, one in enumerate(found):
            text.append(f"{one.label:<{labels}} ", QUIET).append(f"{one.value:<{values}}", one.style)
            text.append("\n" if place % columns == columns - 1 or one is found[-1] else "  ")
    text.right_crop(1)
    return text


def span(seconds: float) -> str:
    """0:42, 1:02:05."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
