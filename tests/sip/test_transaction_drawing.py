"""The pictures in docs/transactions.md are those of the tables."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_drawing_is_up_to_date() -> None:
    drawing = runpy.run_path(str(DOCS / "draw_transactions.py"))["drawing"]()
    assert drawing == (DOCS / "transactions.md").read_text(encoding="utf-8"), (
        "python docs/draw_transactions.py"
    )
    assert drawing.count("```mermaid") == 4
