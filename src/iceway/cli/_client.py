"""What `iceway call` and `iceway answer` share: options, passwords, and telling what happens."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iceway.cli import Exit, _addresses
from iceway.core.errors import EnvironmentFailure, ParseError, UsageError

if TYPE_CHECKING:
    from iceway.client.phone import Media
    from iceway.client.run import Client, RegistrationFailed

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
        envvar="ICEWAY_RELAY",
        help="A further relay: turn:user:password@host[:port][?transport=udp|tcp], turns:…, or stun:host. "
        "Others on this machine can read a command line, but not $ICEWAY_RELAY.",
    ),
]
RelayOnly = Annotated[bool, typer.Option("--relay-only", help="Never offer or use a direct path.")]
Trace = Annotated[Path | None, typer.Option(help="Write every step to this file, as JSON Lines.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print events and the result as JSON, a line each.")]


def make_client(
    identity: str,
    password_file: Path | None,
    *,
    server: str | None,
    ca: Path | None,
    nameserver: list[str] | None,
    interface: list[str] | None,
    relay: list[str] | None,
    relay_only: bool,
    trace: Path | None,
    ring_for: float | None = None,
    media: Callable[[str], Media] | None = None,
    on_registration: Callable[[str | None], None] | None = None,
) -> Client:
    """A client as the options want it. What is wrong with them is said before anything starts."""
    from iceway.client.relay_url import parse_relay_url
    from iceway.client.run import Client
    from iceway.io.logging import record_logger

    return Client(
        identity,
        read_password(password_file, identity),
        server=server,
        trust=_authority(ca),
        nameservers=_addresses.checked("--nameserver", nameserver, port=53),
        interfaces=_addresses.checked("--interface", interface) or None,
        relays=[parse_relay_url(url) for url in relay or ()],
        relay_only=relay_only,
        ring_for=ring_for,
        media=media,
        on_registration=on_registration,
        trace=trace,
        listeners=(record_logger(),),
        node=identity.partition(":")[2].partition("@")[0],
    )


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
    from iceway.wire.sip import SipUri

    uri = text if text.startswith(("sip:", "sips:")) else f"sip:{text}"
    try:
        SipUri.parse(uri)
    except ParseError as error:
        raise UsageError(f"{text!r} is not a SIP address; write bob@example.test") from error
    return uri


def _authority(file: Path | None) -> list[Path] | None:
    """What to trust: the authority in the file, or the system's (None)."""
    if file is None:
        return None
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError as error:
        raise UsageError(f"--ca: {file} holds no certificate; name a PEM file") from error
    except OSError as error:
        raise EnvironmentFailure(
            f"the authority {file} cannot be read: {error.strerror}",
            "Name the PEM file of the authority that signed the server's certificate.",
        ) from error
    return [file]


class Teller:
    """Prints steps as they happen: for people, or as JSON Lines for programs.

    Reasons and names come from the other side; a terminal is shown them, and does not obey them.
    """

    def __init__(self, as_json: bool) -> None:
        self._json = as_json

    def step(self, event: str, text: str, **facts: Any) -> None:
        if self._json:
            typer.echo(json.dumps({"event": event, **facts}, ensure_ascii=False))
        else:
            typer.echo(_shown(text))
        sys.stdout.flush()

    def text(self, text: str) -> None:
        """Prose that only people want."""
        if not self._json:
            typer.echo(_shown(text))


def _shown(text: str) -> str:
    from iceway.explain.clean import clean

    return "\n".join(map(clean, text.split("\n")))


def not_registered(tell: Teller, failure: RegistrationFailed, client: Client) -> int:
    """Say that registering failed, why, and what to do; the exit code."""
    tell.step("failed", f"not registered: {failure}", reason=str(failure), problems=client.problems())
    for problem in client.problems():
        tell.text(f"  {problem}")
    if not client.problems():
        tell.text("  Check --as, --server and --nameserver; --trace FILE writes down what happens.")
    return Exit.FAILED
