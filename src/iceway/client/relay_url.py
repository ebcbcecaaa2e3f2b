"""STUN and TURN servers as people write them (RFC 7064, 7065), with a user and a password if need be.

stun:stun.example.test:3478
turn:user:password@turn.example.test:3478?transport=tcp
turns:user:password@turn.example.test:5349
"""

from __future__ import annotations

from urllib.parse import unquote

from iceway.core.address import Address, Transport, is_ip, split_host_port
from iceway.core.errors import ParseError, UsageError
from iceway.ice.config import IceServer, ServerKind

_FORM = "write stun:host:port, turn:user:password@host:port?transport=udp (or tcp), or turns:…"


def parse_relay_url(text: str) -> IceServer:
    """Raises UsageError for what is not such a URL. Special characters in user and password are %-escaped."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in ("stun", "turn", "turns"):
        raise UsageError(f"{text!r} is not a relay; {_FORM}")
    where, _, query = rest.partition("?")
    secrets, at, host_port = where.rpartition("@")
    username, colon, password = secrets.partition(":")
    if scheme != "stun" and not (at and username and colon and password):
        raise UsageError(f"a relay needs a user and a password; {_FORM}")
    transport = {"": Transport.UDP, "transport=udp": Transport.UDP, "transport=tcp": Transport.TCP}.get(query)
    if transport is None:
        raise UsageError(f"?{query} is not understood; {_FORM}")
    if scheme == "turns":
        transport = Transport.TLS
    try:
        host, port = split_host_port(host_port)
    except ParseError as error:
        raise UsageError(f"{error}; {_FORM}") from error
    port = port or (5349 if scheme == "turns" else 3478)
    return IceServer(
        kind=ServerKind.STUN if scheme == "stun" else ServerKind.TURN,
        host=host,
        port=port,
        transport=transport,
        username=unquote(username),
        password=unquote(password),
        address=Address.of(host, port) if is_ip(host) else None,
    )
