"""What the server commands share: the trace option, waiting until somebody ends us, telling where we listen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iceway.core.address import Address

if TYPE_CHECKING:
    from iceway.io.recorder import Recorder

Config = Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")]
NameServer = Annotated[
    list[str] | None, typer.Option(metavar="IP[:PORT]", help="DNS server to ask (may be given again).")
]
Trace = Annotated[Path | None, typer.Option(help="Write every step to this file, as JSON Lines.")]


def recorder(trace: Path | None) -> Recorder:
    """Records go to the file, if one is named, and to the log."""
    from iceway.io.logging import record_logger
    from iceway.io.recorder import Recorder

    return Recorder(trace, listeners=(record_logger(),))


def tell_listening(name: str, listening: tuple[tuple[str, Address], ...]) -> None:
    """One line a port; programs that start us wait for the last one."""
    for what, address in listening:
        typer.echo(f"{name}: {what} at {address}")
    typer.echo(f"{name}: ready")
