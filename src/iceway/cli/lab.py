"""`iceway lab grid`: every pair of twelve networks, played in virtual time or on this kernel, told and drawn."""

from __future__ import annotations

import json as json_module
import os
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iceway.cli import Exit
from iceway.cli._kernel import gain_rights

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from iceway.explain.model import PathClass
    from iceway.lab.grid.play import Cell

_LETTERS = {
    "direct": ("D", "black on green"),
    "reflexive": ("N", "black on bright_green"),
    "relayed over UDP": ("U", "black on bright_blue"),
    "relayed over TCP": ("T", "black on yellow"),
    "relayed over TLS": ("S", "black on bright_red"),
    "none": ("✗", "bold white on red"),
}


class Where(StrEnum):
    WORLD = "world"
    KERNEL = "kernel"


def register(app: typer.Typer) -> None:
    lab = typer.Typer(help="Whole networks with NATs and firewalls.", no_args_is_help=True)
    lab.callback()(_group)
    lab.command("grid")(grid)
    app.add_typer(lab, name="lab")


def _group() -> None:
    """Whole networks with NATs and firewalls, simulated or built from this kernel's own."""


def grid(
    where: Annotated[
        Where, typer.Option(help="In the virtual world, or on real sockets and this kernel's own NATs.")
    ] = Where.WORLD,
    out: Annotated[
        Path | None, typer.Option(help="Write a page whose cells open their traces to this file.")
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write the picture alone to this file.")] = None,
    dump: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the topologies as TOML, and play nothing.")
    ] = None,
    traces: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each cell's trace, for `iceway explain`.")
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(metavar="LEFT:RIGHT", help="Play one cell only, and explain it: symmetric:vpn."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chance; the same seed gives the same grid.")] = 1,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", help="Processes to play in; 0: one a processor.", min=0)
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Play every pair of twelve networks with real ICE agents and a real relay, and judge each by an oracle.

    The number in a cell is how many round trips of its path passed until media could flow. Exit code 1 if any cell
    took another path than the oracle expects, or in the virtual world longer than its budget. On a kernel the grid
    takes minutes, and times are told, not judged: they are also those of the machine.
    """
    from rich.console import Console

    from iceway.lab.grid.kernel import play_on_kernel
    from iceway.lab.grid.play import pairs, play, play_all

    wanted = [_pair(cell)] if cell else pairs()
    if dump is not None:
        return _dump(dump, wanted)
    if where is Where.KERNEL:
        gain_rights()
    console = Console(quiet=json, highlight=False)
    started = time.monotonic()
    with console.status("") as status:

        def progress(done: int) -> None:
            if sys.stderr.isatty() or console.is_terminal:
                status.update(f"{done} of {len(wanted)} cells")

        cells = play_all(
            wanted,
            seed=seed,
            jobs=1 if cell else jobs or os.cpu_count() or 1,
            progress=progress,
            play=play_on_kernel if where is Where.KERNEL else play,
        )
    seconds = time.monotonic() - started
    wrong = [one for one in cells if one.faults]
    if json:
        typer.echo(json_module.dumps(_facts(cells, seed), ensure_ascii=False, indent=2))
    elif cell:
        _explain(console, cells[0])
    else:
        console.print(_matrix(cells), soft_wrap=True)
        console.print(_verdict(cells, len(wrong), seconds, seed), soft_wrap=True)
    for one in wrong:
        for fault in one.faults:
            console.print(f"[red]✗ {one.left} → {one.right}: {fault}[/]", soft_wrap=True)
    for path in _write(cells, out, svg, traces):
        console.print(f"Written: [bold]{path}[/]", soft_wrap=True)
    return Exit.FAILED if wrong else Exit.DONE


def _pair(text: str) -> tuple[str, str]:
    from iceway.core.errors import UsageError
    from iceway.lab.grid.networks import network

    left, colon, right = text.partition(":")
    if not colon:
        raise UsageError(f"{text!r} is no cell; write two networks with a colon, such as symmetric:vpn")
    return network(left).name, network(right).name


def _dump(directory: Path, wanted: Sequence[tuple[str, str]]) -> int:
    from iceway.lab import topology_file
    from iceway.lab.grid.networks import topology

    for left, right in wanted:
        _save(directory / f"{left}-{right}.toml", topology_file.dump(topology(left, right)))
    typer.echo(f"{len(wanted)} topologies in {directory}")
    return Exit.DONE


def _write(cells: Sequence[Cell], out: Path | None, svg: Path | None, traces: Path | None) -> list[Path]:
    written = []
    if svg is not None:
        from iceway.studio.grid_picture import grid_svg

        written.append(_save(svg, grid_svg(cells)))
    if out is not None:
        from iceway.studio.grid_page import grid_page

        written.append(_save(out, grid_page(cells)))
    if traces is not None:
        from iceway.trace.entry import to_json

        for one in cells:
            text = "".join(to_json(entry) + "\n" for entry in one.trace)
            _save(traces / f"{one.left}-{one.right}.jsonl", text)
        written.append(traces)
    return written


def _save(path: Path, text: str) -> Path:
    from iceway.core.errors import EnvironmentFailure

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnvironmentFailure(
            f"{path} cannot be written: {error.strerror}", "Choose another place."
        ) from error
    return path


# --- telling --------------------------------------------------------------------------------------------
def _matrix(cells: Sequence[Cell]) -> Text:
    """Rows and columns carry the same numbers; a cell is a letter for its class and the round trips it took."""
    from rich.text import Text

    from iceway.lab.grid.networks import NETWORKS

    by_pair = {(one.left, one.right): one for one in cells}
    text = Text(no_wrap=True)
    text.append(
        " " * 20 + "".join(f"{number:>3}  " for number in range(1, len(NETWORKS) + 1)) + "\n", style="bold"
    )
    for number, row in enumerate(NETWORKS, 1):
        text.append(f"{number:>2} {row.title.removesuffix(' NAT'):<16} ", style="bold")
        for column in NETWORKS:
            one = by_pair[row.name, column.name]
            letter, style = _LETTERS[one.path.value]
            took = "" if one.connect_trips is None else f"{one.connect_trips:.1f}"
            text.append(f"{letter}{took:<3}", style=f"{style} underline" if one.faults else style)
            text.append(" ")
        text.append("\n")
    return text


def _verdict(cells: Sequence[Cell], wrong: int, seconds: float, seed: int) -> Text:
    from rich.text import Text

    from iceway.studio.grid_picture import counted, headline

    text = Text(" " * 20)
    for path, number in counted(cells):
        text.append(f" {_LETTERS[path.value][0]} ", style=_LETTERS[path.value][1])
        text.append(f" {_word(path)} {number}   ")
    text.append(f"\n\n{headline(cells)}; ", style="bold")
    text.append(
        f"{wrong} cells are not as the oracle says"
        if wrong
        else "every cell is as the oracle says"
        + (
            ", and within its budget"
            if all(one.simulated for one in cells)
            else ", on this kernel's own NATs"
        )
    )
    text.append(f" ({seconds:.1f} s, seed {seed}).", style="dim")
    return text


def _word(path: PathClass) -> str:
    return "through NATs" if path.value == "reflexive" else path.value.replace("relayed over", "relay")


def _explain(console: Console, one: Cell) -> None:
    from iceway.explain.ladder import ladder
    from iceway.explain.summary import summary
    from iceway.lab.grid.networks import network

    for name, side in (("Alice", one.left), ("Bob", one.right)):
        console.print(f"[bold]{name}[/]: {network(side).title}: {network(side).summary}.", soft_wrap=True)
    console.print()
    console.print(summary(one.trace))
    if one.connect_trips is not None and one.select_trips is not None:
        budget, of = one.expected, "budget" if one.simulated else "budget in the virtual world"
        console.print(
            f"connected after {one.connect_trips:.1f} round trips ({of} {budget.to_connect:.1f}),"
            f" pair selected after {one.select_trips:.1f} ({of} {budget.to_select:.1f})",
            soft_wrap=True,
        )
    console.print(ladder(one.trace, console.width))


def _facts(cells: Sequence[Cell], seed: int) -> dict[str, Any]:
    from iceway.studio.grid_picture import counted

    return {
        "seed": seed,
        "networks": "world" if all(one.simulated for one in cells) else "kernel",
        "paths": {path.value: number for path, number in counted(cells)},
        "faults": sum(bool(one.faults) for one in cells),
        "cells": [_fact(one) for one in cells],
    }


def _fact(one: Cell) -> dict[str, Any]:
    from iceway.lab.grid.play import CLASSES

    expected = one.expected
    return {
        "left": one.left,
        "right": one.right,
        "path": one.path.value,
        "types": one.types,
        "pair": [str(end) for end in (one.verdicts[0].local, one.verdicts[0].remote)] if one.types else None,
        "agreed": all(verdict.agreed for verdict in one.verdicts),
        "heard": one.heard,
        "round_trip": expected.round_trip,
        "connect": {"seconds": one.connect, "round_trips": one.connect_trips, "budget": expected.to_connect},
        "select": {"seconds": one.select, "round_trips": one.select_trips, "budget": expected.to_select},
        "expected": {"path": CLASSES[expected.path].value, "types": sorted(expected.types)},
        "why_not": [str(reason) for reason in one.verdicts[0].why_not],
        "faults": one.faults,
    }
