"""What `iceway call` and `iceway answer` share: options, passwords, and telling what happens."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from iceway.cli import Exit
from iceway.core.errors import IcewayError, UsageError

Identity = Annotated[str, typer.Option("--as", metavar="SIP", help="Who you are: alice@example.test.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(help="File whose first line is the password. Else $ICEWAY_PASSWORD, else you are asked."),
]
Server = Annotated[
    str | None, typer.Option(metavar="TLS:HOST:PORT", help="SIP server, instead of finding it by DNS SRV.")
]
Authority = Annotated[
    Path | None, typer.Option("--ca", help="PEM file of the authority to trust (default: the system's).")
]
NameServer = Annotated[
    list[str] | None, typer.Option(metavar="IP[:PORT]", help="DNS server to ask (may be given again).")
]
Interface = Annotated[
    list[str] | None,
    typer.Option(metavar="IP", help="Use only this address of the host (may be given again)."),
]
Turn = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL",
        help="A further relay: turn:user:password@host:port?transport=udp, or stun:host:port.",
    ),
]
RelayOnly = Annotated[bool, typer.Option(help="Never offer or use a direct path.")]
Trace = Annotated[Path | None, typer.Option(help="Write every step to this file, as JSON Lines.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print events and the result as JSON, a line each.")]


def read_password(file: Path | None, identity: str, *, again: bool = False) -> str:
    """From the file, the environment, or a prompt; never from the command line, where others can read it."""
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the password file {file} cannot be read: {error}") from error
    if "ICEWAY_PASSWORD" in os.environ:
        return os.environ["ICEWAY_PASSWORD"]
    if not sys.stdin.isatty():
        raise UsageError("no password: name a --password-file or set ICEWAY_PASSWORD")
    return str(typer.prompt(f"Password of {identity}", hide_input=True, confirmation_prompt=again))


def sip_uri(text: str) -> str:
    """`bob@example.test` → `sip:bob@example.test`."""
    return text if text.startswith(("sip:", "sips:")) else f"sip:{text}"


def node_name(identity: str) -> str:
    return sip_uri(identity).partition(":")[2].partition("@")[0]


class Teller:
    """Prints steps as they happen: for people, or as JSON Lines for programs."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json

    def step(self, event: str, text: str, **facts: Any) -> None:
        if self._json:
            typer.echo(json.dumps({"event": event, **facts}, ensure_ascii=False))
        else:
            typer.echo(text)
        sys.stdout.flush()

    def text(self, text: str) -> None:
        """Prose that only people want."""
        if not self._json:
            typer.echo(text)


def not_registered(tell: Teller, failure: IcewayError, story: str) -> int:
    """Say that registering failed, and why; the exit code."""
    tell.step("failed", f"not registered: {failure}", reason=str(failure))
    tell.text(story)
    return Exit.FAILED
