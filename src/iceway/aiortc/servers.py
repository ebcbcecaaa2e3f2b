"""STUN and TURN servers as aiortc's configuration names them: all of them, over whatever they speak.

A URI that is none (RFC 7064, 7065) raises ValueError, as aiortc does. What cannot be used has its reason in `why`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from iceway.core.address import Transport
from iceway.core.errors import ParseError
from iceway.ice.config import IceServer, ServerKind

if TYPE_CHECKING:
    from aiortc import RTCIceServer

_log = logging.getLogger("iceway.aiortc")


def ice_servers(configured: Iterable[RTCIceServer]) -> tuple[IceServer, ...]:
    """Every URI of every server, in their order, which is their rank."""
    found: dict[IceServer, None] = {}
    for server in configured:
        for uri in [server.urls] if isinstance(server.urls, str) else server.urls:
            try:
                one = IceServer.from_uri(uri, server.username or "", server.credential or "")
            except ParseError as error:
                raise ValueError(f"malformed uri: {error}") from error
            if one.kind is ServerKind.TURN and server.credentialType != "password":
                _log.warning("the ICE server %s is not used: its credential is not a password", uri)
            else:
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
