"""`iceway frontend`: registrar and proxy, from a configuration file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from iceway.cli import Exit, _addresses, _server


def register(app: typer.Typer) -> None:
    app.command("frontend")(frontend)


def frontend(
    config: _server.Config = Path("frontend.toml"),
    nameserver: _server.NameServer = None,
    trace: _server.Trace = None,
) -> int:
    """Run a front end until it is told to end (Ctrl-C, SIGTERM). config/frontend.toml explains every setting."""
    from iceway.core.address import Address
    from iceway.frontend.config import load_config
    from iceway.frontend.run import running_frontend
    from iceway.io.resolver import Resolver
    from iceway.io.run import run

    settings = load_config(config)
    servers = _addresses.checked("--nameserver", nameserver, port=53)
    resolver = Resolver(tuple(Address.parse(text, 53) for text in servers))
    recorder = _server.recorder(trace)

    async def main() -> None:
        async with running_frontend(settings, resolver=resolver, recorder=recorder) as running:
            _server.tell_listening("frontend", running.listening)
            await asyncio.Event().wait()

    try:
        run(main())
    finally:
        recorder.close()
    return Exit.DONE
