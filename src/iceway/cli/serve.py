"""`iceway serve`: a front end and an edge in one process, with a certificate authority of their own."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iceway.cli import Exit, _addresses, _server

if TYPE_CHECKING:
    from iceway.edge.config import AccessSection

_FRONTEND = """\
# Written by `iceway serve`; `iceway frontend --config` runs it by itself.
domain = "{domain}"
name = "fe.{domain}"
edges = [{{ name = "edge.{domain}", mras = "{ip}:{mras}", hosts = ["{ip}"] }}]
listen = [{{ address = "{ip}:{frontend}" }}]

[tls]
certificate = "ca/frontend.pem"
key = "ca/frontend.key"
trust = "ca/ca.pem"
"""

_EDGE = """\
# Written by `iceway serve`; `iceway edge --config` runs it by itself.
domain = "{domain}"
name = "edge.{domain}"
frontend = "{ip}:{frontend}"
frontend_name = "fe.{domain}"

[access]
listen = ["{ip}:{access}"]
public = "{ip}:{access}"
websocket = {websocket}

[credentials]
listen = "{ip}:{mras}"

[relay]
host = "{ip}"
listen = "{ip}"
udp_port = {relay}
tcp_port = {relay}
tls_port = {relay_tls}
allow_peers = {allow_peers}

[tls]
certificate = "ca/edge.pem"
key = "ca/edge.key"
trust = "ca/ca.pem"
"""


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(
    domain: Annotated[str, typer.Option(help="The SIP domain: users are name@domain.")],
    data: Annotated[Path, typer.Option(help="Where users, keys and configurations are kept.")] = Path(
        "iceway-data"
    ),
    listen: Annotated[str, typer.Option(metavar="IP", help="The address to serve on.")] = "127.0.0.1",
    access_port: Annotated[int, typer.Option(help="SIP over TLS, for clients.")] = 5061,
    relay_port: Annotated[int, typer.Option(help="STUN and TURN, over UDP and TCP.")] = 3478,
    relay_tls_port: Annotated[int, typer.Option(help="TURN over TLS.")] = 5349,
    frontend_port: Annotated[int, typer.Option(help="SIP over TLS, for the edge and clients inside.")] = 5071,
    websocket_port: Annotated[
        int | None,
        typer.Option(help="The web phone and SIP in WebSockets, over TLS, for browsers. None by default."),
    ] = None,
    mras_port: Annotated[int, typer.Option(help="Relay credentials, for the front end.")] = 5062,
    trace: _server.Trace = None,
) -> int:
    """Run a front end and an edge here, with a development CA, and say how to add users and call.

    The first run writes frontend.toml and edge.toml into the data directory; change them there, or run the two
    apart with them. Meant for trying out and for development.
    """
    from iceway.edge import config as edge
    from iceway.edge.run import running_edge
    from iceway.frontend import config as frontend
    from iceway.frontend.run import running_frontend
    from iceway.io.devca import DevCa
    from iceway.io.run import run

    (ip,) = _addresses.checked("--listen", [listen])
    where = f"[{ip}]" if ":" in ip else ip
    allow = [_own_network(ip)] if ipaddress.ip_address(ip).is_loopback else []
    authority = DevCa.open(data / "ca")
    authority.issue("frontend", [f"fe.{domain}", ip])
    authority.issue("edge", [f"edge.{domain}", ip])
    values = {
        "domain": domain,
        "ip": where,
        "access": access_port,
        "relay": relay_port,
        "relay_tls": relay_tls_port,
        "frontend": frontend_port,
        "mras": mras_port,
        "websocket": f'["{where}:{websocket_port}"]' if websocket_port else "[]",
        "allow_peers": str(allow).replace("'", '"'),
    }
    for name, text in (("frontend.toml", _FRONTEND), ("edge.toml", _EDGE)):
        if not (data / name).exists():
            (data / name).write_text(text.format(**values), encoding="utf-8")
    frontend_settings = frontend.load_config(data / "frontend.toml")
    edge_settings = edge.load_config(data / "edge.toml")
    recorder = _server.recorder(trace)

    async def main() -> None:
        async with (
            running_frontend(frontend_settings, recorder=recorder) as front,
            running_edge(edge_settings, recorder=recorder) as outer,
        ):
            _server.tell_listening("frontend", front.listening)
            _server.tell_listening("edge", outer.listening)
            _tell_what_next(frontend_settings.domain, data, edge_settings.access, allow)
            await asyncio.Event().wait()

    try:
        run(main())
    finally:
        recorder.close()
    return Exit.DONE


def _own_network(ip: str) -> str:
    return "::1/128" if ":" in ip else "127.0.0.0/8"


def _tell_what_next(domain: str, data: Path, access: AccessSection, allow: list[str]) -> None:
    from iceway.web.phone import phone_pages

    here = f"--server tls:{access.public} --ca {data / 'ca' / 'ca.pem'}"
    typer.echo(f"\nServing {domain}. Next, in other terminals:\n")
    for name in ("alice", "bob"):
        typer.echo(f"  iceway user add {name} --config {data / 'frontend.toml'}")
    typer.echo(f"  iceway answer --as bob@{domain} {here}")
    typer.echo(f"  iceway call bob@{domain} --as alice@{domain} {here}")
    if access.websocket and access.web_phone:
        missing = phone_pages(domain, access.websocket_path).missing
        typer.echo(f"\n{missing or f'In a browser: https://{access.websocket[0]}/'}")
    typer.echo(f"\nClients must trust {data / 'ca' / 'ca.pem'}.")
    if allow:
        typer.echo(f"The relay forwards to {', '.join(allow)} as well, since it serves this machine only.")
