"""The grid as one picture: an SVG that stands by itself, light or dark as its reader likes.

A row is Alice's network, a column Bob's. Colour is the class of the path, the number is how many round trips of that
path passed until media could flow, and below stand the candidate types of both ends. The same cells give the
same text, so the picture can be kept in a repository and compared.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from iceway.explain.model import PathClass
from iceway.lab.grid.networks import NETWORKS, Network, network
from iceway.lab.grid.play import Cell

CELL_WIDTH, CELL_HEIGHT, GAP = 62, 44, 3
LEFT, TOP, EDGE = 214, 150, 28
_FOOT = 40


class Tone(NamedTuple):
    """How a class of path looks: its word in the legend, fill and ink on light and on dark."""

    key: str
    word: str
    light: tuple[str, str]
    dark: tuple[str, str]


TONES = {
    PathClass.DIRECT: Tone("direct", "direct", ("#0b7a55", "#ffffff"), ("#12a576", "#04150f")),
    PathClass.REFLEXIVE: Tone("reflexive", "through NATs", ("#9bdcbf", "#0c3a2a"), ("#1d4d3c", "#b7f0d8")),
    PathClass.RELAY_UDP: Tone("relay-udp", "relayed, UDP", ("#a9c6fb", "#12306b"), ("#213d74", "#cfe0ff")),
    PathClass.RELAY_TCP: Tone("relay-tcp", "relayed, TCP", ("#f6cf86", "#4d3204"), ("#67490f", "#ffe6b5")),
    PathClass.RELAY_TLS: Tone("relay-tls", "relayed, TLS", ("#f0ad8e", "#551f08"), ("#6d341b", "#ffd9c7")),
    PathClass.NONE: Tone("none", "no path", ("#c62f28", "#ffffff"), ("#ff8178", "#2b0705")),
}

_STYLE = """\
svg.grid{font-family:Inter,ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","DejaVu Sans",sans-serif}
.grid .card{fill:#fffefb;stroke:#dedbd1}.grid .ink{fill:#17202b}.grid .soft{fill:#5d6875}.grid .faint{fill:#8a939d}
.grid .head{font-size:23px;font-weight:700;letter-spacing:-.4px}.grid .lead{font-size:13px}
.grid .name{font-size:12.5px;font-weight:620}.grid .note{font-size:10px}.grid .axis{font-size:10.6px;font-weight:600}
.grid .key{font-size:12px}.grid .count{font-size:12px;font-weight:700}
.grid .trips{font-size:15px;font-weight:680;text-anchor:middle;font-variant-numeric:tabular-nums;letter-spacing:-.2px}
.grid .types{font-size:8.6px;text-anchor:middle;opacity:.82}.grid .col{text-anchor:middle}.grid .row{text-anchor:end}
.grid .fault{fill:none;stroke:#c62f28;stroke-width:2.5;stroke-dasharray:5 3}
"""
_DARK = """\
.grid .card{fill:#0f151c;stroke:#28333e}.grid .ink{fill:#e8edf2}.grid .soft{fill:#9eabb8}.grid .faint{fill:#75828f}
.grid .fault{stroke:#ff8178}
"""


def grid_svg(cells: Sequence[Cell]) -> str:
    """The picture of a whole grid as a file of its own."""
    dark = _DARK + _tones(dark=True)
    style = f"<style>{_STYLE}{_tones(dark=False)}@media(prefers-color-scheme:dark){{{dark}}}</style>"
    return _picture(cells, style) + "\n"


def grid_svg_for_page(cells: Sequence[Cell]) -> str:
    """The same for a page: cells are buttons that carry their number, styles come from `page_style`."""
    return _picture(cells, "", interactive=True)


def page_style() -> str:
    """Style of the picture on a page, which says itself whether it is dark."""
    dark = "".join(f":root[data-theme=dark] {rule}" + "\n" for rule in _rules(_DARK + _tones(dark=True)))
    return _STYLE + _tones(dark=False) + dark


def counted(cells: Sequence[Cell]) -> list[tuple[PathClass, int]]:
    """How many cells took each class of path, best first; classes that none took are left out."""
    found = [(path, sum(cell.path is path for cell in cells)) for path in PathClass]
    return [(path, number) for path, number in found if number]


def headline(cells: Sequence[Cell]) -> str:
    connected = sum(cell.path is not PathClass.NONE for cell in cells)
    return f"{connected} of {len(cells)} pairs of networks connect"


def trips(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _picture(cells: Sequence[Cell], style: str, *, interactive: bool = False) -> str:
    rows = list(dict.fromkeys(cell.left for cell in cells))
    columns = list(dict.fromkeys(cell.right for cell in cells))
    width = LEFT + len(columns) * (CELL_WIDTH + GAP) + EDGE
    height = TOP + len(rows) * (CELL_HEIGHT + GAP) + _FOOT
    parts = [
        f'<svg class="grid" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}"'
        + (' role="group" aria-label="The grid">' if interactive else ' role="img">'),
    ]
    if not interactive:
        parts.append(f"<title>{headline(cells)}</title><desc>{html.escape(_description(cells))}</desc>")
    parts += [
        style,
        f'<rect class="card" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="16"/>',
        *_top(cells, width),
        *(_column(network(name), place) for place, name in enumerate(columns)),
        *(_row(network(name), place) for place, name in enumerate(rows)),
    ]
    for number, cell in enumerate(cells):
        x = LEFT + columns.index(cell.right) * (CELL_WIDTH + GAP)
        y = TOP + rows.index(cell.left) * (CELL_HEIGHT + GAP)
        parts.append(_cell(cell, number, x, y, interactive))
    where = "in virtual time" if all(cell.simulated for cell in cells) else "on a kernel's own NATs"
    foot = f"Real ICE agents and a real TURN server {where}; every cell is judged by an independent oracle."
    parts.append(f'<text class="soft note" x="{LEFT}" y="{height - 17}">{foot}</text>')
    return "\n".join(part for part in parts if part) + "\n</svg>"


def _top(cells: Sequence[Cell], width: int) -> list[str]:
    lead = (
        "Alice calls from the network on the left, Bob answers in the one above."
        " The number: round trips until media can flow."
    )
    parts = [
        f'<text class="ink head" x="{EDGE}" y="44">{headline(cells)}</text>',
        f'<text class="soft lead" x="{EDGE}" y="66">{lead}</text>',
        f'<text class="faint axis row" x="{LEFT - 14}" y="{TOP - 12}">Alice ↓  Bob →</text>',
    ]
    x = float(EDGE)
    for path, number in counted(cells):
        tone = TONES[path]
        parts.append(
            f'<rect class="f-{tone.key}" x="{x:g}" y="81" width="15" height="15" rx="4"/>'
            f'<text class="ink key" x="{x + 21:g}" y="93">{tone.word} '
            f'<tspan class="soft count">{number}</tspan></text>'
        )
        x += 21 + 6.3 * len(tone.word) + 9 * len(str(number)) + 24
    return parts


def _column(one: Network, place: int) -> str:
    x = LEFT + place * (CELL_WIDTH + GAP) + CELL_WIDTH / 2
    words = _two_lines(one.title)
    lines = [
        f'<tspan x="{x:g}" y="{TOP - 12 - 13 * (len(words) - 1 - line)}">{word}</tspan>'
        for line, word in enumerate(words)
    ]
    return f'<text class="ink axis col">{"".join(lines)}</text>'


def _two_lines(title: str) -> list[str]:
    title = title.removesuffix(" NAT") if len(title) > len("Double NAT") else title
    if title.startswith("Port-"):
        return ["Port-", "restricted"]
    return title.split(" ", 1)


def _row(one: Network, place: int) -> str:
    y = TOP + place * (CELL_HEIGHT + GAP) + CELL_HEIGHT / 2
    return (
        f'<text class="ink name row" x="{LEFT - 14}" y="{y - 2:g}">{html.escape(one.title)}</text>'
        f'<text class="soft note row" x="{LEFT - 14}" y="{y + 12:g}">{html.escape(one.note)}</text>'
    )


def _cell(cell: Cell, number: int, x: int, y: int, interactive: bool) -> str:
    tone = TONES[cell.path]
    middle = f"{x + CELL_WIDTH / 2:g}"
    types = " · ".join(cell.types) if cell.types else "no pair"
    frame = f'x="{x}" y="{y}" width="{CELL_WIDTH}" height="{CELL_HEIGHT}" rx="8"'
    fault = f'<rect class="fault" {frame}/>' if cell.faults else ""
    button = (
        f' class="cell" data-cell="{number}" tabindex="{0 if number == 0 else -1}" role="button"'
        f' aria-label="{html.escape(_spoken(cell), quote=True)}"'
        if interactive
        else ""
    )
    return (
        f"<g{button}><title>{html.escape(_spoken(cell))}</title>"
        f'<rect class="f-{tone.key}" {frame}/>'
        f'<text class="trips i-{tone.key}" x="{middle}" y="{y + 21}">{trips(cell.connect_trips)}</text>'
        f'<text class="types i-{tone.key}" x="{middle}" y="{y + 35}">{types}</text>{fault}</g>'
    )


def _spoken(cell: Cell) -> str:
    left, right = network(cell.left).title, network(cell.right).title
    took = f", {trips(cell.connect_trips)} round trips" if cell.connect_trips is not None else ""
    fault = f"; {'; '.join(cell.faults)}" if cell.faults else ""
    return f"{left} to {right}: {cell.path.value}{took}{fault}"


def _description(cells: Sequence[Cell]) -> str:
    numbers = ", ".join(f"{number} {path.value}" for path, number in counted(cells))
    names = ", ".join(one.title for one in NETWORKS)
    return f"A matrix of {names}, each against each: {numbers}."


def _tones(*, dark: bool) -> str:
    rules = []
    for tone in TONES.values():
        fill, ink = tone.dark if dark else tone.light
        rules.append(f".grid .f-{tone.key}{{fill:{fill}}}.grid .i-{tone.key}{{fill:{ink}}}\n")
    return "".join(rules)


def _rules(style: str) -> list[str]:
    """Single rules, for a prefix to be put before each."""
    return [rule.strip() + "}" for rule in style.split("}") if rule.strip()]
