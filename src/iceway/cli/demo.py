"""`iceway demo`: calls through four networks, one of them with pictures, told and drawn."""

from __future__ import annotations

import json as json_module
import time
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iceway.cli import Exit
from iceway.cli._kernel import gain_rights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from iceway.explain.model import PathClass, PathVerdict
    from iceway.lab.demo import Outcome
    from iceway.lab.pictured import Seen
    from iceway.studio.report import CallReport, ContactSheet

_LABEL = len("not relayed over UDP")  # columns of what a line is about
_KINDS = {
    ("host", None): "host",
    ("srflx", None): "reflexive",
    ("prflx", None): "seen by checks",
    ("relay", "udp"): "relay over UDP",
    ("relay", "tcp"): "relay over TCP",
    ("relay", "tls"): "relay over TLS",
}


class Where(StrEnum):
    AUTO = "auto"
    KERNEL = "kernel"
    WORLD = "world"


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    where: Annotated[
        Where, typer.Option(help="On kernel NATs, in the virtual world, or whichever can be.")
    ] = (Where.AUTO),
    out: Annotated[Path, typer.Option(help="Directory for report, traces and recordings.")] = Path(
        "demo-out"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Play only this call (may be given again).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Play five calls: in one LAN, through two NATs, through a symmetric NAT, through a firewall without UDP, and one
    with cameras and a shared desktop.

    Exit code 1 if any call took another path than it should, or was not heard or seen.
    """
    from rich.console import Console
    from rich.padding import Padding

    from iceway.core.errors import EnvironmentFailure, UsageError
    from iceway.lab.demo import SCENARIOS, play_in_world, play_on_kernel

    console = Console(quiet=json, highlight=False)
    on_kernel, why_not = _kernel(where)
    known = [scenario.name for scenario in SCENARIOS]
    if unknown := [name for name in only or () if name not in known]:
        raise UsageError(f"there is no call {unknown[0]!r}; there are {', '.join(known)}")
    chosen = [scenario for scenario in SCENARIOS if not only or scenario.name in only]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailure(f"{out} cannot be made: {error.strerror}", "Name another --out.") from error
    console.print(
        "[bold]iceway demo[/]: a home office behind one NAT, headquarters behind another, an edge in the perimeter,"
        " a front end inside."
    )
    console.print("Networks: this kernel's own NATs." if on_kernel else f"Networks: simulated ({why_not}).")
    outcomes = []
    for number, scenario in enumerate(chosen, 1):
        started = time.monotonic()
        console.print(f"\n[bold]{number}/{len(chosen)}  {scenario.title}[/]")
        console.print(Padding(scenario.lead, (0, 0, 0, 5), expand=False))
        with console.status("") as status:

            def progress(text: str, number: int = number) -> None:
                if console.is_terminal:
                    status.update(f"call {number}: {text}")
                else:
                    console.print(f"     … {text}")

            play = play_on_kernel if on_kernel else play_in_world
            outcome = play(scenario, out / f"{number}-{scenario.name}", progress)
        _tell(console, outcome, time.monotonic() - started)
        outcomes.append(outcome)
    report = _report(outcomes, out, on_kernel)
    failed = sum(not outcome.ok for outcome in outcomes)
    if json:
        typer.echo(json_module.dumps(_facts(outcomes, on_kernel, report), ensure_ascii=False, indent=2))
    console.print(
        f"\n{failed} of {len(outcomes)} calls did not go as they should."
        if failed
        else f"\nAll {len(outcomes)} calls took the path they should, and were heard and seen."
    )
    console.print(f"Step through them in [bold]{report}[/]", soft_wrap=True)
    hardest = max(outcomes, key=lambda outcome: outcome.scenario.expected.rank)
    example = out / f"{outcomes.index(hardest) + 1}-{hardest.scenario.name}" / "trace.jsonl"
    console.print(f"Everything about one call: iceway explain --ladder {example}", soft_wrap=True)
    return Exit.FAILED if failed else Exit.DONE


def _kernel(where: Where) -> tuple[bool, str]:
    """Whether to use kernel NATs, and why not."""
    from iceway.core.errors import EnvironmentFailure

    if where is Where.WORLD:
        return False, "as asked"
    try:
        gain_rights()
    except EnvironmentFailure as failure:
        if where is Where.KERNEL:
            raise
        return False, failure.remedy or failure.cause
    return True, ""


def _tell(console: Console, outcome: Outcome, seconds: float) -> None:
    from rich.padding import Padding

    console.print(Padding(_offers(outcome), (0, 0, 0, 5), expand=False))
    console.print(Padding(_verdict(outcome, seconds), (0, 0, 0, 2), expand=False))


def _offers(outcome: Outcome) -> Table:
    """The candidates of both sides, kind by kind; the chosen ones bear a mark."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    for width in (_LABEL, 25, 25):
        table.add_column(min_width=width, no_wrap=True)
    table.add_row("", *(f"[bold]{end.node.capitalize()} offers[/]" for end in outcome.ends))
    for kind, told in _KINDS.items():
        columns = [
            [
                f"{one.address} ◂" if end.local and one.address == end.local.address else str(one.address)
                for one in end.local_candidates
                if (one.type, one.relay_transport) == kind
            ]
            for end in outcome.ends
        ]
        for row, cells in enumerate(zip_longest(*columns, fillvalue="")):
            table.add_row(told if row == 0 else "", *cells)
    return table


def _verdict(outcome: Outcome, seconds: float) -> Table:
    """The pair chosen, why nothing better came of it, and what was heard."""
    from rich.table import Table

    caller = outcome.ends[0]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(min_width=_LABEL, no_wrap=True)
    table.add_column(overflow="fold")
    agreed = "agreed" if all(end.agreed for end in outcome.ends) else "the ends DISAGREE"
    pair = f"{caller.local} ↔ {caller.remote}, {agreed}" if caller.local and caller.remote else "no pair"
    table.add_row("[green]✓[/]" if outcome.ok else "[red]✗[/]", f"[bold]{caller.path.value}[/]", pair)
    for path, causes in _causes(outcome.ends).items():
        for row, cause in enumerate(causes):
            table.add_row("", f"not {path.value}" if row == 0 else "", cause)
    if caller.round_trip is not None:
        table.add_row("", "round trip", f"{caller.round_trip * 1000:.0f} ms")
    table.add_row("", "first sound", _first_sound(caller))
    heard = ", ".join(f"{one.share:.0%} by {who.capitalize()}" for who, one in outcome.heard.items())
    alike = ", ".join(f"{one.correlation:.2f}" for one in outcome.heard.values())
    table.add_row("", "heard", f"{heard} (correlation {alike})")
    for number, one in enumerate(outcome.seen):
        table.add_row("", "seen" if number == 0 else "", _seen(one))
    table.add_row("", "played in", f"{seconds:.1f} s")
    for fault in outcome.faults:
        table.add_row("[red]✗[/]", "[red]fault[/]", fault)
    return table


def _causes(ends: Sequence[PathVerdict]) -> dict[PathClass, list[str]]:
    """Why each better class did not carry the call. What both ends say alike is said once, and the particulars
    are left to the report."""
    told: dict[PathClass, list[str]] = {}
    for why in sorted((why for end in ends for why in end.why_not), key=lambda why: why.path.rank):
        causes = told.setdefault(why.path, [])
        cause = why.cause.partition("; ")[0]
        if cause not in causes:
            causes.append(cause)
    return told


def _first_sound(end: PathVerdict) -> str:
    if end.answered_at is None or end.first_media_at is None:
        return "none"
    if end.first_media_at <= end.answered_at:
        ahead = end.answered_at - end.first_media_at
        return f"0 round trips after the answer: it came {ahead:.2f} s before"
    trips = end.media_round_trips
    return f"{trips:.1f} round trips after the answer" if trips is not None else "after the answer"


def _seen(one: Seen) -> str:
    watched = one.watched
    delay = f", {watched.delay * 1000:.0f} ms later" if watched.delay is not None else ""
    return f"{watched.arrived} of {watched.taken} pictures of {one.words} by {one.viewer.capitalize()}{delay}"


def _sheet(one: Seen) -> ContactSheet:
    """Pictures as they were shown, with the numbers that could be read from them."""
    from iceway.studio.report import ContactSheet

    pictures = []
    for snapshot, delay in one.kept:
        found = snapshot.sighting
        read = f"no. {found.number}" if found.lies == "upright" else found.lies
        pictures.append((snapshot.jpeg, f"{read}, {delay * 1000:.0f} ms" if delay is not None else read))
    return ContactSheet(f"{one.words}, as {one.viewer.capitalize()} saw it", _account(one), pictures)


def _account(one: Seen) -> str:
    watched = one.watched
    if not watched.delays:
        return f"none of {watched.taken} pictures arrived"
    order = "in order" if watched.in_order else "not in order"
    return (
        f"{watched.arrived} of {watched.taken} numbered pictures, {order}; from taking to showing mostly"
        f" {(watched.delay or 0) * 1000:.0f} ms, at most {max(watched.delays) * 1000:.0f} ms"
    )


def _report(outcomes: list[Outcome], out: Path, on_kernel: bool) -> Path:
    from iceway.studio.model import CallReport
    from iceway.studio.picture import from_topology
    from iceway.studio.report import write_report

    path = out / "report.html"
    calls = [
        CallReport(
            outcome.scenario.title,
            outcome.entries,
            from_topology(outcome.scenario.topology()),
            outcome.scenario.lead,
            [_sheet(one) for one in outcome.seen],
        )
        for outcome in outcomes
    ]
    kind = "this kernel's own NATs" if on_kernel else "simulated networks"
    write_report(path, calls, title=f"{_count(calls)}, step by step, through {kind}")
    return path


def _count(calls: Sequence[CallReport]) -> str:
    words = ("No calls", "One call", "Two calls", "Three calls", "Four calls", "Five calls")
    return words[len(calls)]


def _facts(outcomes: list[Outcome], on_kernel: bool, report: Path) -> dict[str, Any]:
    return {
        "networks": "kernel" if on_kernel else "world",
        "report": str(report),
        "calls": [
            {
                "name": outcome.scenario.name,
                "ok": outcome.ok,
                "expected": outcome.scenario.expected.value,
                "path": outcome.ends[0].path.value,
                "pair": [str(outcome.ends[0].local), str(outcome.ends[0].remote)],
                "round_trip": outcome.ends[0].round_trip,
                "answer_to_media": outcome.ends[0].answer_to_media,
                "heard": {
                    listener: {"share": one.share, "correlation": one.correlation}
                    for listener, one in outcome.heard.items()
                },
                "seen": [
                    {
                        "viewer": one.viewer,
                        "stream": one.kind,
                        "pictures": one.watched.taken,
                        "share": one.watched.share,
                        "delay": one.watched.delay,
                    }
                    for one in outcome.seen
                ],
                "faults": list(outcome.faults),
            }
            for outcome in outcomes
        ],
    }
