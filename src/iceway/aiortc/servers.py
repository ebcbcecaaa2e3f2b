"""STUN and TURN servers as aiortc's configuration names them: all of them, over whatever they speak.

What cannot be used is left out with a warning in the log, as browsers do; what is no URL at all (RFC 7064, 7065)
raises ValueError, as aiortc does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from iceway.core.address import Transport, split_host_port
from iceway.core.errors import ParseError
from iceway.ice.config import IceServer, ServerKind

if TYPE_CHECKING:
    from aiortc import RTCIceServer

_log = logging.getLogger("iceway.aiortc")
_TRANSPORTS = {
    ("stun", ""): Transport.UDP,
    ("turn", ""): Transport.UDP,
    ("turn", "transport=udp"): Transport.UDP,
    ("turn", "transport=tcp"): Transport.TCP,
    ("turns", ""): Transport.TLS,
    ("turns", "transport=tcp"): Transport.TLS,
}


def ice_servers(configured: Iterable[RTCIceServer]) -> tuple[IceServer, ...]:
    """Every URL of every server, in their order, which is their rank."""
    found: dict[IceServer, None] = {}
    for server in configured:
        urls = [server.urls] if isinstance(server.urls, str) else server.urls
        for url in urls:
            one = _ice_server(url, server)
            if one is not None:
                found[one] = None
    return tuple(found)


def servers_of_aioice(
    stun_server: tuple[str, int] | None,
    turn_server: tuple[str, int] | None,
    turn_username: str | None,
    turn_password: str | None,
    turn_ssl: bool,
    turn_transport: str,
) -> tuple[IceServer, ...]:
    """The one server of each kind that aioice's keywords can name."""
    found = []
    if stun_server is not None:
        found.append(IceServer(ServerKind.STUN, *stun_server))
    if turn_server is not None:
        transport = Transport.TLS if turn_ssl else Transport(turn_transport)
        host, port = turn_server
        found.append(
            IceServer(ServerKind.TURN, host, port, transport, turn_username or "", turn_password or "")
        )
    return tuple(found)


def _ice_server(url: str, server: RTCIceServer) -> IceServer | None:
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in ("stun", "stuns", "turn", "turns"):
        raise ValueError(f"malformed uri: {url!r} is no stun:, stuns:, turn: or turns: URL")
    where, _, query = rest.partition("?")
    if query and scheme in ("stun", "stuns"):
        raise ValueError(f"malformed uri: {scheme} must not contain transport")
    try:
        host, port = split_host_port(where)
    except ParseError as error:
        raise ValueError(f"malformed uri: {error}") from error
    transport = _TRANSPORTS.get((scheme, query))
    if transport is None:
        _log.warning("the ICE server %s is not used: nothing is asked over that transport", url)
        return None
    if scheme == "stun":
        return IceServer(ServerKind.STUN, host, port or 3478)
    if server.credentialType != "password":
        _log.warning("the ICE server %s is not used: its credential is not a password", url)
        return None
    default = 5349 if transport is Transport.TLS else 3478
    return IceServer(
        ServerKind.TURN, host, port or default, transport, server.username or "", server.credential or ""
    )
