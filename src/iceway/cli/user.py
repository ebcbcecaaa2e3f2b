"""`iceway user`: who may register at a front end."""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iceway.cli import _client

if TYPE_CHECKING:
    from iceway.frontend.store import SqlStore

_commands = typer.Typer(
    no_args_is_help=True, help="Who may register. Passwords are kept as digest hashes, never in clear."
)

Config = Annotated[Path, typer.Option("--config", "-c", help="The front end's configuration.")]
Name = Annotated[str, typer.Argument(help="alice, or alice@example.test.")]


def register(app: typer.Typer) -> None:
    app.add_typer(_commands, name="user")


@_commands.command("add")
def add(
    name: Name, config: Config = Path("frontend.toml"), password_file: _client.PasswordFile = None
) -> None:
    """Add a user. The password comes from a file, from $ICEWAY_PASSWORD, or you are asked for it."""
    from iceway.frontend.users import add_user

    with _store(config) as (store, domain):
        password = _client.read_password(password_file, name, again=True)
        typer.echo(f"added {add_user(store, name, password, domain, time.time()).aor}")


@_commands.command("password")
def password(
    name: Name, config: Config = Path("frontend.toml"), password_file: _client.PasswordFile = None
) -> None:
    """Change a user's password."""
    from iceway.frontend.users import set_password

    with _store(config) as (store, domain):
        set_password(store, name, _client.read_password(password_file, name, again=True), domain, time.time())
        typer.echo(f"changed the password of {name}")


@_commands.command("remove")
def remove(name: Name, config: Config = Path("frontend.toml")) -> None:
    """Remove a user and whatever is registered for it."""
    from iceway.frontend.users import remove_user

    with _store(config) as (store, domain):
        remove_user(store, name, domain)
        typer.echo(f"removed {name}")


@_commands.command("list")
def list_(config: Config = Path("frontend.toml"), json: _client.AsJson = False) -> None:
    """List the users."""
    from iceway.frontend.users import list_users

    with _store(config) as (store, _):
        for user in list_users(store):
            typer.echo(json_module.dumps({"aor": user.aor}) if json else user.aor)


@contextmanager
def _store(path: Path) -> Iterator[tuple[SqlStore, str]]:
    from iceway.frontend.config import load_config
    from iceway.frontend.store import SqlStore

    settings = load_config(path)
    store = SqlStore(settings.database)
    try:
        yield store, settings.domain
    finally:
        store.close()
