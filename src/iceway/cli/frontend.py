"""`iceway frontend`: registrar and proxy, from a configuration file."""

from __future__ import annotations

from pathlib import Path

import typer

from iceway.cli import _server


def register(app: typer.Typer) -> None:
    app.command("frontend")(frontend)


def frontend(
    config: _server.Config = Path("frontend.toml"),
    nameserver: _server.NameServer = None,
    trace: _server.Trace = None,
) -> int:
    """Run a front end until it is told to end (Ctrl-C, SIGTERM). config/frontend.toml explains every setting."""
    from iceway.frontend.config import load_config
    from iceway.frontend.run import running_frontend

    settings = load_config(config)
    return _server.serve(
        "frontend",
        lambda resolver, recorder: running_frontend(settings, resolver=resolver, recorder=recorder),
        nameserver,
        trace,
    )
