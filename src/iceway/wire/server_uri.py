"""URIs of STUN and TURN servers: `stun:`, `stuns:` (RFC 7064), `turn:` and `turns:` (RFC 7065).

    turn:example.test                        everything by DNS
    turns:relay.example.test:443?transport=tcp
    stun:[2001:db8::1]:3478

The grammar is RFC 3986's for host and port, and nothing beside it: no user, no path, no fragment. A `stun:` URI
has no transport. What a URI leaves out is for DNS to say (`ice/discovery.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from iceway.core.address import is_ip
from iceway.core.errors import ParseError

MAX_URI = 512
MAX_HOST = 253  # RFC 1035 §2.3.4, without the final dot
SCHEMES = ("stun", "stuns", "turn", "turns")
DEFAULT_PORT, DEFAULT_SECURE_PORT = 3478, 5349  # RFC 8489 §18.6

_URI = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*):"
    r"(?P<host>\[[^\]]*\]|[^:?\[\]]*)"
    r"(?::(?P<port>[^?]*))?"
    r"(?:\?(?P<query>.*))?",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_TRANSPORT = re.compile(r"[a-z0-9._~-]{1,32}", re.ASCII)  # unreserved: udp, tcp, or an extension


@dataclass(frozen=True, slots=True)
class ServerUri:
    """`host` is a name in lower case, or an IP literal without brackets; `port` and `transport` None where not said."""

    scheme: str
    host: str
    port: int | None = None
    transport: str | None = None

    @property
    def secure(self) -> bool:
        return self.scheme.endswith("s")

    @property
    def relays(self) -> bool:
        """Whether it names a TURN server."""
        return self.scheme.startswith("turn")

    @property
    def default_port(self) -> int:
        return DEFAULT_SECURE_PORT if self.secure else DEFAULT_PORT

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}:{host}{port}" + (f"?transport={self.transport}" if self.transport else "")


def parse(text: str) -> ServerUri:
    """Raises ParseError, whose words are for people, for anything that is not such a URI."""
    if len(text) > MAX_URI:
        raise ParseError(f"a server's URI has at most {MAX_URI} characters")
    match = _URI.fullmatch(text)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in SCHEMES:
        raise ParseError(f"{_short(text)} is no server; write stun:host, turn:host or turns:host")
    port = None if match["port"] is None else _port(match["port"])
    return ServerUri(scheme, _host(match["host"]), port, _transport(scheme, match["query"]))


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            address = IPv6Address(text[1:-1])
        except AddressValueError:
            raise ParseError(f"{_short(text)} is no IPv6 address") from None
        if address.scope_id is not None:
            raise ParseError(f"{_short(text)}: an address with a zone is of use on one host only")
        return str(address)
    host = text.lower().removesuffix(".")
    if not host:
        raise ParseError("a server's URI names its host after the scheme: turn:host")
    labels = host.split(".")
    if len(host) > MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise ParseError(f"{_short(text)} is no host name")
    if labels[-1].isdigit() and not is_ip(host):
        raise ParseError(f"{_short(text)} is no IPv4 address")
    return host


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or not 0 < int(text) < 65536:
        raise ParseError(f"{_short(text)} is no port; write a number from 1 to 65535")
    return int(text)


def _transport(scheme: str, query: str | None) -> str | None:
    if query is None:
        return None
    if not scheme.startswith("turn"):
        raise ParseError(f"a {scheme}: URI ends after its port, without ?{_short(query)[1:-1]}")
    name, _, value = query.partition("=")
    value = value.lower()
    if name.lower() != "transport" or not _TRANSPORT.fullmatch(value):
        raise ParseError(f"?{_short(query)[1:-1]} is not understood; write ?transport=udp or ?transport=tcp")
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
