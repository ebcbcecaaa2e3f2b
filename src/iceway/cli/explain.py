"""`iceway explain FILE…`: why a recorded call took its path, or took none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("explain")(explain)


def explain(
    files: Annotated[
        list[Path],
        typer.Argument(help="Trace files (JSON Lines); several nodes' traces of one run are merged."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print verdicts and findings as JSON.")] = False,
    ladder: Annotated[bool, typer.Option("--ladder", help="Print the messages as a ladder.")] = False,
    timeline: Annotated[
        bool,
        typer.Option(
            "--timeline", help="Print what ICE did, in order of time, a column an end; with --json as a list."
        ),
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the animated report to this file.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Columns to use; the terminal's by default.", min=60)
    ] = None,
) -> None:
    """Explain a recorded call: the path it took, why not a better one, what went wrong and what to do."""
    import json as json_module

    from rich.console import Console

    from iceway.core.errors import EnvironmentFailure, ParseError, UsageError
    from iceway.explain.ladder import ladder as draw_ladder
    from iceway.explain.summary import as_json, summary
    from iceway.explain.timeline import timeline_json, timeline_table
    from iceway.trace.entry import merge, read_lines

    traces = []
    for file in files:
        try:
            with file.open(encoding="utf-8") as lines:
                traces.append(list(read_lines(lines)))
        except ParseError as error:
            raise UsageError(
                f"{file} is not a trace: {error}. Traces are written with --trace FILE."
            ) from error
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{file} is not a trace: it is not UTF-8 text. Traces are written with --trace FILE."
            ) from error
        except OSError as error:
            raise EnvironmentFailure(f"{file} cannot be read: {error.strerror}", "Check the path.") from error
    entries = merge(*traces) if len(traces) > 1 else traces[0]
    if json:
        told = timeline_json(entries) if timeline else as_json(entries)
        typer.echo(json_module.dumps(told, ensure_ascii=False, indent=2))
    else:
        console = Console(width=width, highlight=False)
        if timeline:
            console.print(timeline_table(entries))
        elif ladder:
            console.print(draw_ladder(entries, console.width))
        else:
            console.print(summary(entries))
    if html is not None:
        from iceway.studio.report import CallReport, write_report

        write_report(html, [CallReport(files[0].stem, entries)])
        typer.echo(f"Report: {html}", err=json)
