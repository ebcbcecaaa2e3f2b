"""STUN and TURN servers as people write them: the URIs of RFC 7064 and 7065, with a user and a password in front.

stun:stun.example.test
turn:user:password@example.test
turn:user:password@turn.example.test:3478?transport=tcp
turns:user:password@turn.example.test:5349

The RFCs leave user and password to other means, since URIs get shown; a command line is where people expect them.
"""

from __future__ import annotations

from urllib.parse import unquote

from iceway.core.errors import ParseError, UsageError
from iceway.ice.config import IceServer

_FORM = "write stun:host, turn:user:password@host, turn:user:password@host:port?transport=udp (or tcp), or turns:…"


def parse_relay_url(text: str) -> IceServer:
    """Raises UsageError for what is not such a URL. Special characters in user and password are %-escaped."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() not in ("stun", "turn", "turns"):
        raise UsageError(f"{text!r} is not a relay; {_FORM}")
    secrets, at, where = rest.rpartition("@")
    username, colon, password = secrets.partition(":")
    if scheme.lower() != "stun" and not (at and username and colon and password):
        raise UsageError(f"a relay needs a user and a password; {_FORM}")
    try:
        return IceServer.from_uri(f"{scheme}:{where}", unquote(username), unquote(password))
    except ParseError as error:
        raise UsageError(f"{error}; {_FORM}") from error
