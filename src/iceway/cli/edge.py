"""`iceway edge`: access proxy, credential service and relay, from a configuration file."""

from __future__ import annotations

from pathlib import Path

import typer

from iceway.cli import _server


def register(app: typer.Typer) -> None:
    app.command("edge")(edge)


def edge(
    config: _server.Config = Path("edge.toml"),
    nameserver: _server.NameServer = None,
    trace: _server.Trace = None,
) -> int:
    """Run an edge until it is told to end (Ctrl-C, SIGTERM). config/edge.toml explains every setting."""
    from iceway.edge.config import load_config
    from iceway.edge.run import running_edge

    settings = load_config(config)
    return _server.serve(
        "edge",
        lambda resolver, recorder: running_edge(settings, resolver=resolver, recorder=recorder),
        nameserver,
        trace,
    )
