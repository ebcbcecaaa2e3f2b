"""`iceway edge`: access proxy, credential service and relay, from a configuration file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from iceway.cli import Exit, _addresses, _server


def register(app: typer.Typer) -> None:
    app.command("edge")(edge)


def edge(
    config: _server.Config = Path("edge.toml"),
    nameserver: _server.NameServer = None,
    trace: _server.Trace = None,
) -> int:
    """Run an edge until it is told to end (Ctrl-C, SIGTERM). config/edge.toml explains every setting."""
    from iceway.core.address import Address
    from iceway.edge.config import load_config
    from iceway.edge.run import running_edge
    from iceway.io.resolver import Resolver
    from iceway.io.run import run

    settings = load_config(config)
    servers = _addresses.checked("--nameserver", nameserver, port=53)
    resolver = Resolver(tuple(Address.parse(text, 53) for text in servers))
    recorder = _server.recorder(trace)

    async def main() -> None:
        async with running_edge(settings, resolver=resolver, recorder=recorder) as running:
            _server.tell_listening("edge", running.listening)
            await asyncio.Event().wait()

    try:
        run(main())
    finally:
        recorder.close()
    return Exit.DONE
