"""The grid as a page: the picture, and beside it the cell that was chosen, with its ladder. One file, nothing loaded.

As in the report, the data is JSON that no browser executes, and a content security policy names the one script and
the one style by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib import resources

import iceway
from iceway.lab.grid.play import Cell
from iceway.studio.grid_model import Texts, cell_model, network_model
from iceway.studio.grid_picture import grid_svg_for_page, headline, page_style
from iceway.studio.report import embed


def grid_page(cells: Sequence[Cell]) -> str:
    """The whole page as text."""
    texts = Texts()
    models = [cell_model(cell, texts) for cell in cells]
    names = dict.fromkeys(name for cell in cells for name in (cell.left, cell.right))
    script, style = _asset("grid.js"), page_style() + _asset("grid.css")
    simulated = all(cell.simulated for cell in cells)
    parts = {
        "FOOT": "The same seed gives the same grid, byte for byte."
        if simulated
        else "Played on a kernel's own NATs; budgets are those of virtual time.",
        "TITLE": html.escape(headline(cells)),
        "VERSION": html.escape(iceway.__version__),
        "SCRIPT_HASH": _hash(script),
        "STYLE_HASH": _hash(style),
        "STYLE": style,
        "SCRIPT": script,
        "PICTURE": grid_svg_for_page(cells),
        "DATA": embed(
            {"networks": [network_model(name) for name in names], "cells": models, "texts": texts.all}
        ),
    }
    pieces = _asset("grid.html").split("@")
    # `@NAME@` alternates with plain text; the template holds no other @.
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return resources.files("iceway.studio").joinpath("page", name).read_text(encoding="utf-8")
