"""`iceway devices`: the microphones, speakers, cameras, screens and windows that a call can be given."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from iceway.cli import Exit


def register(app: typer.Typer) -> None:
    app.command("devices")(devices)


def devices(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> int:
    """List what this machine can record, play and show, as --play, --record, --video and --share want it named."""
    from iceway.explain.clean import clean
    from iceway.io.found import look_around

    found = look_around()
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2))
        return Exit.DONE
    for title, kind in (
        ("microphones", found.microphones),
        ("speakers", found.speakers),
        ("cameras", found.cameras),
        ("screens", found.screens),
        ("windows", found.windows),
    ):
        typer.echo(f"{title}:" if kind else f"{title}: none")
        for one in kind:
            typer.echo(clean(f"  {one.word:<28} {one.name}{', the default' if one.default else ''}"))
    for trouble in found.troubles:
        typer.echo(clean(trouble))
    return Exit.DONE
