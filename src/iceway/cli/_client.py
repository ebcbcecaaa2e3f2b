"""What `iceway call` and `iceway answer` share: options, passwords, and telling what happens."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from iceway.cli import Exit, _addresses
from iceway.core.errors import EnvironmentFailure, ParseError, UsageError

if TYPE_CHECKING:
    from iceway.client.media import Media
    from iceway.client.run import Client, LiveCall, News, RegistrationFailed
    from iceway.client.ways import Ways
    from iceway.trace.entry import Entry


PasswordFile = Annotated[
    Path | None,
    typer.Option(help="File whose first line is the password. Else $ICEWAY_PASSWORD, else you are asked."),
]
Play = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="What to say once the call is answered: a file (of a video, its pictures as well), mic, tone:HZ.",
    ),
]
Video = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="What to show: camera, screen, window:TITLE, pattern, a file; watch: only see what they show.",
    ),
]
Share = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="A second picture, as slides: screen, screen:1+X,Y,WxH, window:TITLE, a file; watch: only see theirs.",
    ),
]
Loop = Annotated[bool, typer.Option("--loop", help="Play files over and over.")]
RECORD = "Where to put what comes: FILE.wav, FILE.mkv with pictures, speakers."
Recording = Annotated[str | None, typer.Option(metavar="TO", help=f"{RECORD} Early media included.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print events and the result as JSON, a line each.")]


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """What `iceway call` and `iceway answer` can be told about the user, the servers and the network."""

    identity: Annotated[str, typer.Option("--as", metavar="SIP", help="Who you are: alice@example.test.")]
    server: Annotated[
        str | None,
        typer.Option(metavar="TLS:HOST:PORT", help="SIP server, instead of finding it by DNS SRV."),
    ] = None
    ca: Annotated[
        Path | None,
        typer.Option("--ca", help="PEM file of the authority to trust (default: the system's)."),
    ] = None
    nameserver: Annotated[
        list[str] | None,
        typer.Option(metavar="IP[:PORT]", help="DNS server to ask (may be given again)."),
    ] = None
    interface: Annotated[
        list[str] | None,
        typer.Option(metavar="IP", help="Use only this address of the host (may be given again)."),
    ] = None
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IP|SUBNET",
            help="Never send media from this address or subnet, such as a VPN's (may be given again).",
        ),
    ] = None
    relay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            envvar="ICEWAY_RELAY",
            help="A further relay: turn:user:password@host:port?transport=udp, or stun:host:port. "
            "Others on this machine can read a command line, but not $ICEWAY_RELAY.",
        ),
    ] = None
    relay_only: Annotated[bool, typer.Option("--relay-only", help="Never offer or use a direct path.")] = (
        False
    )
    no_relay: Annotated[bool, typer.Option("--no-relay", help="Never ask for a relay.")] = False
    relay_family: Annotated[
        list[int] | None,
        typer.Option(metavar="4|6", help="Address family to ask relays for (may be given again)."),
    ] = None
    tcp: Annotated[
        bool, typer.Option("--tcp", help="Look for a path over TCP as well, for networks without UDP.")
    ] = False
    ports: Annotated[
        str | None, typer.Option(metavar="LOW-HIGH", help="UDP ports to use, such as 50000-50099.")
    ] = None
    external_ip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INSIDE=OUTSIDE",
            help="The public address of a host behind a one-to-one NAT (may be given again).",
        ),
    ] = None
    mdns: Annotated[
        bool,
        typer.Option("--mdns", help="Hide the host's addresses behind names that only neighbours resolve."),
    ] = False
    keys: Annotated[
        str,
        typer.Option(
            metavar="both|dtls|sdes",
            help="How keys for the sound are agreed on: by DTLS with the other end, in SDP over TLS, or as it can.",
        ),
    ] = "both"
    no_transfer: Annotated[
        bool,
        typer.Option("--no-transfer", help="Turn down whoever wants to pass us on to somebody else."),
    ] = False
    password_file: PasswordFile = None
    trace: Annotated[Path | None, typer.Option(help="Write every step to this file, as JSON Lines.")] = None

    def ways(self) -> Ways:
        """Which ways media may take. Raises UsageError that names the option."""
        from iceway.client.ways import Ways
        from iceway.ice.config import Policy

        if self.relay_only and self.no_relay:
            raise UsageError("--relay-only and --no-relay leave nothing; name one of them")
        policy = Policy.RELAY if self.relay_only else Policy.NO_RELAY if self.no_relay else Policy.ALL
        interfaces = _addresses.checked("--interface", self.interface)
        try:
            return Ways(
                policy=policy,
                interfaces=tuple(interfaces) if interfaces else None,
                without=tuple(self.without or ()),
                ports=_ports(self.ports),
                external_ips=tuple(_external(text) for text in self.external_ip or ()),
                relay_families=tuple(self.relay_family or ()),
                tcp=self.tcp,
                mdns=self.mdns,
            )
        except UsageError as error:
            for field, option in _OPTION_OF.items():
                if str(error).startswith(field):
                    raise UsageError(f"{option}: {str(error).removeprefix(f'{field}: ')}") from error
            raise


_OPTION_OF = {
    "without": "--without",
    "external_ips": "--external-ip",
    "relay families": "--relay-family",
    "ports": "--ports",
}


def with_client_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command whose parameter `options` is a `ClientOptions` the options that those are made of."""
    types = get_type_hints(ClientOptions, include_extras=True)
    shared = [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=types[field.name],
        )
        for field in fields(ClientOptions)
    ]
    own = [
        one.replace(kind=Parameter.KEYWORD_ONLY)
        for one in signature(command, eval_str=True).parameters.values()
        if one.name != "options"
    ]

    def run(**given: Any) -> int:
        options = ClientOptions(**{one.name: given.pop(one.name) for one in shared})
        return command(**given, options=options)

    run.__doc__ = command.__doc__
    run.__signature__ = Signature([*own, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
    return run


def make_client(
    options: ClientOptions,
    *,
    ring_for: float | None = None,
    media: Callable[[str], Media] | None = None,
    on_registration: Callable[[str | None], None] | None = None,
    on_news: Callable[[LiveCall, News], None] | None = None,
    password: str | None = None,
    listeners: tuple[Callable[[Entry], None], ...] = (),
) -> Client:
    """A client as the options want it. What is wrong with them is said before anything starts.

    `password`: as `read_password` gave it; None asks now.
    """
    from iceway.client.relay_url import parse_relay_url
    from iceway.client.run import Client
    from iceway.io.logging import record_logger
    from iceway.media.keying import Keys

    if options.keys not in tuple(Keys):
        raise UsageError(f"--keys: {options.keys!r} is none of {', '.join(Keys)}")
    identity = sip_uri(options.identity)
    return Client(
        identity,
        read_password(options.password_file, identity) if password is None else password,
        server=options.server,
        trust=_authority(options.ca),
        nameservers=_addresses.checked("--nameserver", options.nameserver, port=53),
        ways=options.ways(),
        keys=Keys(options.keys),
        relays=[parse_relay_url(url) for url in options.relay or ()],
        ring_for=ring_for,
        media=media,
        on_registration=on_registration,
        on_news=on_news,
        on_transfer=(lambda call, request: False) if options.no_transfer else None,
        trace=options.trace,
        listeners=(record_logger(), *listeners),
        node=identity.partition(":")[2].partition("@")[0],
    )


def _ports(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    low, _, high = text.partition("-")
    if not (low.isascii() and low.isdigit() and high.isascii() and high.isdigit()):
        raise UsageError(f"ports: {text!r} is no range of ports; write 50000-50099")
    return int(low), int(high)


def _external(text: str) -> tuple[str, str]:
    inside, equals, outside = text.partition("=")
    if not equals:
        raise UsageError(f"external_ips: {text!r} does not name two addresses; write 10.0.0.5=203.0.113.5")
    return inside, outside


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


def sip_uri(text: str, of: str = "") -> str:
    """`bob@example.test` → `sip:bob@example.test`; `bob` alone is somebody of the domain that `of`, a URI, is of."""
    from iceway.wire.sip import SipUri

    uri = text if text.startswith(("sip:", "sips:")) else f"sip:{text}"
    if of and uri == f"sip:{text}" and "@" not in text:
        uri = f"{uri}@{of.rpartition('@')[2]}"
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


def tell_news(tell: Teller, news: News) -> None:
    """What befalls a call between its steps."""
    from iceway.client import events

    match news:
        case events.CallPathless(after=after, tried=tried):
            tell.step("pathless", f"no path yet after {after:.0f} s: {tried}", after=after, tried=tried)
        case events.CallInterrupted(reason=reason):
            tell.step("interrupted", f"the path is lost ({reason}); looking for another", reason=reason)
        case events.CallKeyless(reason=reason):
            tell.step("keyless", f"there will be no sound: {reason}", reason=reason)
        case events.CallRestored(path=path):
            tell.step("restored", f"the sound goes on: {path}", path=str(path))
        case events.CallHeld(here=here, there=there):
            tell.step("held", _held(here, there), here=here, there=there)
        case events.CallStreams(streams=streams):
            tell.step("streams", f"the call carries {', '.join(streams)}", streams=streams)
        case events.CallDigit(digit=digit):
            tell.step("digit", f"they press {digit}", digit=digit)
        case events.TransferProgress(status=status, reason=reason):
            tell.step("transferring", f"to be transferred: {status} {reason}", status=status, reason=reason)
        case events.CallTransferred(to=to):
            tell.step("transferred", f"they talk with {to} now", to=to)
        case events.TransferFailed(status=status, reason=reason):
            tell.step("untransferred", f"not transferred: {status} {reason}", status=status, reason=reason)
        case events.SuccessorBegun(peer=peer):
            tell.step("passing", f"we are to talk with {peer}", peer=peer)
        case events.SuccessorInPlace():
            tell.step("passed", "talking with them now")


def _held(here: bool, there: bool) -> str:
    if here and there:
        return "both hold the call"
    return "on hold" if here else "they hold the call" if there else "the call goes on"


async def followed(live: LiveCall) -> LiveCall:
    """Until the call is over, and what took its place: the last of them. One that nobody answers is a CallFailed."""
    await live.ended()
    while live.successor is not None:
        live = live.successor
        await live.answered()
        await live.ended()
    return live


def not_registered(tell: Teller, failure: RegistrationFailed, client: Client) -> int:
    """Say that registering failed, why, and what to do; the exit code."""
    tell.step("failed", f"not registered: {failure}", reason=str(failure), problems=client.problems())
    for problem in client.problems():
        tell.text(f"  {problem}")
    if not client.problems():
        tell.text("  Check --as, --server and --nameserver; --trace FILE writes down what happens.")
    return Exit.FAILED
