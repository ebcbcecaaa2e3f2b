"""The grid drawn: the picture, the cells' models, the page. Cells are real ones, of a few networks."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from iceway.explain.model import PathClass
from iceway.lab.grid.play import Cell, play
from iceway.studio.grid_model import Texts, cell_model
from iceway.studio.grid_page import grid_page
from iceway.studio.grid_picture import grid_svg, headline

SOME = ("open", "vpn", "symmetric", "web-only")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return [play(left, right) for left in SOME for right in SOME]


def texts_of(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_picture_says_each_cells_round_trips_and_types(cells: list[Cell]) -> None:
    words = texts_of(grid_svg(cells))
    assert headline(cells) == "16 of 16 pairs of networks connect" == words[0]
    assert words.count("host · host") == 1
    for cell in cells:
        assert f"{cell.connect_trips:.1f}" in words
        assert " · ".join(cell.types or ()) in words


def test_the_legend_counts_what_is_there(cells: list[Cell]) -> None:
    legend = [
        word for word in texts_of(grid_svg(cells)) if re.fullmatch(r".+ \d+", word) and "," not in word[:7]
    ]
    counts = {
        word.rpartition(" ")[0]: int(word.rpartition(" ")[2]) for word in legend if "TCP 443" not in word
    }
    assert counts["direct"] == 1
    assert "no path" not in counts


def test_the_picture_loads_nothing_and_knows_light_and_dark(cells: list[Cell]) -> None:
    svg = grid_svg(cells)
    assert "prefers-color-scheme:dark" in svg
    assert not re.search(r"url\(|href|<script|@import", svg)


def test_a_cell_that_is_wrong_is_marked_and_says_so(cells: list[Cell]) -> None:
    wrong = replace(cells[1], faults=("what one end said did not reach the other",))
    svg = grid_svg([cells[0], wrong, *cells[2:]])
    assert svg.count('class="fault"') == 1
    assert "what one end said did not reach the other" in svg


def test_a_cell_without_a_path_is_counted_as_such(cells: list[Cell]) -> None:
    ends = tuple(replace(one, path=PathClass.NONE, local=None, remote=None) for one in cells[0].verdicts)
    none = replace(cells[0], verdicts=ends, connect=None, select=None)
    words = texts_of(grid_svg([none, *cells[1:]]))
    assert words[0] == "15 of 16 pairs of networks connect"
    assert "no path 1" in words
    assert cell_model(none, Texts())["connect"][:2] == [None, None]


def ladder(cells: list[Cell], left: str, right: str) -> tuple[list[str], list[dict[str, object]]]:
    texts = Texts()
    cell = next(cell for cell in cells if (cell.left, cell.right) == (left, right))
    model = cell_model(cell, texts)
    lanes = model["lanes"]
    rows = []
    for at, kind, sender, to, via, died, answered, label, note in model["rows"]:
        names = {"from": sender, "to": to, "via": via, "died": died}
        row: dict[str, object] = {key: lanes[lane] if lane >= 0 else None for key, lane in names.items()}
        rows.append(row | {"at": at, "kind": kind, "answered": bool(answered)}
                    | {"label": texts.all[label], "note": texts.all[note]})  # fmt: skip
    return lanes, rows


def test_a_ladder_shows_which_box_dropped_a_check(cells: list[Cell]) -> None:
    lanes, rows = ladder(cells, "vpn", "symmetric")
    assert lanes == ["Alice", "VPN", "NAT", "Relay", "NAT", "Bob"]
    checks = [row for row in rows if row["kind"] == "check"]
    swallowed = [row for row in checks if row["died"] == "VPN"]
    assert swallowed
    assert all(row["note"] == "swallowed by Alice's VPN" for row in swallowed)
    assert any(row["note"] == "dropped by Alice's NAT: filtered" and row["from"] == "Bob" for row in checks)


def test_a_ladder_leads_through_the_relay_to_media_and_ends_with_the_pair(cells: list[Cell]) -> None:
    _, rows = ladder(cells, "symmetric", "symmetric")
    told = next(row for row in rows if row["kind"] == "mark")
    assert told["at"] == 0
    assert any(row["via"] == "Relay" and row["answered"] for row in rows)
    done = [row["label"] for row in rows if row["kind"] == "done"]
    assert done == ["can send media"] * 2 + ["has its pair"] * 2
    assert rows[-1]["kind"] == "done"


class _Page(HTMLParser):
    """Scripts by type, and every attribute that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: dict[str | None, str] = {}
        self.loads: list[str] = []
        self.cells = 0
        self._script: str | bool | None = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        held = dict(attributes)
        self.loads += [name for name in held if name in ("src", "href", "style") or name.startswith("on")]
        self.cells += "data-cell" in held
        if tag == "script":
            self._script = held.get("type")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = False

    def handle_data(self, data: str) -> None:
        if self._script is not False:
            self.scripts[self._script if isinstance(self._script, str) else None] = data


def test_the_page_is_one_file_with_every_cells_story(cells: list[Cell]) -> None:
    text = grid_page(cells)
    page = _Page()
    page.feed(text)
    assert page.loads == []
    assert page.cells == 16
    data = json.loads(page.scripts["application/json"])
    assert [(cell["left"], cell["right"]) for cell in data["cells"]] == [(c.left, c.right) for c in cells]
    assert {one["name"] for one in data["networks"]} == set(SOME)
    assert len(text) < 40_000 + 6_000 * len(cells)


def test_the_page_allows_its_own_script_and_style_only(cells: list[Cell]) -> None:
    import base64
    import hashlib

    text = grid_page(cells)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    for tag in ("style", "script"):
        inner = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[-1]
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]


def test_a_grid_played_on_kernels_says_so_and_promises_no_repetition(cells: list[Cell]) -> None:
    real = [replace(cell, simulated=False) for cell in cells]
    assert "in virtual time" in texts_of(grid_svg(cells))[-1]
    assert "on a kernel's own NATs" in texts_of(grid_svg(real))[-1]
    assert "byte for byte" in grid_page(cells)
    assert "byte for byte" not in grid_page(real)
