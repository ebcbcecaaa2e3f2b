"""What the server commands share: options, running until somebody ends us, telling where we listen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from iceway.cli import Exit, _addresses
from iceway.core.address import Address

if TYPE_CHECKING:
    from iceway.io.recorder import Recorder
    from iceway.io.resolver import Resolver

Config = Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")]
NameServer = Annotated[
    list[str] | None, typer.Option(metavar="IP[:PORT]", help="DNS server to ask (may be given again).")
]
Trace = Annotated[Path | None, typer.Option(help="Write every step to this file, as JSON Lines.")]


class Running(Protocol):
    """A server that is up."""

    @property
    def listening(self) -> tuple[tuple[str, Address], ...]: ...


def serve(
    name: str,
    server: Callable[[Resolver, Recorder], AbstractAsyncContextManager[Running]],
    nameserver: list[str] | None,
    trace: Path | None,
) -> int:
    """Run one server until a signal ends it."""
    from iceway.io.resolver import Resolver
    from iceway.io.run import run

    servers = _addresses.checked("--nameserver", nameserver, port=53)
    resolver = Resolver(tuple(Address.parse(text, 53) for text in servers))
    records = recorder(trace)

    async def main() -> None:
        async with server(resolver, records) as running:
            tell_listening(name, running.listening)
            await asyncio.Event().wait()

    try:
        run(main())
    finally:
        records.close()
    return Exit.DONE


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
