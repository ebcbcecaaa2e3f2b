"""Transport addresses: an IP literal and a port, nothing that needs resolving.

The IP is kept in canonical text form (lower case, compressed, no zone brackets), so equality is textual
and hashing is cheap. Host names never live in an `Address`; they are asked for with `Resolve`.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, NewType

from iceway.core.errors import ParseError


class Transport(StrEnum):
    """How bytes travel. `TLS` is TCP under TLS, `DTLS` is UDP under DTLS; relays also name the transport to their
    client this way."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    DTLS = "dtls"

    @property
    def is_stream(self) -> bool:
        """Nothing is lost, nothing comes in pieces of its own: messages need framing and no repetition."""
        return self in (Transport.TCP, Transport.TLS)

    @property
    def is_connected(self) -> bool:
        """It is asked for with `Connect` and `Listen`, rather than sent from a socket that is open already."""
        return self is not Transport.UDP

    @property
    def is_secure(self) -> bool:
        return self in (Transport.TLS, Transport.DTLS)


class Address(NamedTuple):
    """An IP address and a port. Build untrusted ones with `Address.of`, which canonicalises and checks."""

    ip: str
    port: int

    @classmethod
    def of(cls, ip: str, port: int) -> Address:
        """Canonical address; raises ParseError for anything that is not an IP literal and a port 0–65535."""
        if not 0 <= port <= 65535:
            raise ParseError(f"port {port} is not between 0 and 65535")
        return cls(canonical_ip(ip), port)

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Address:
        """`192.0.2.1:5060`, `[2001:db8::1]:5060`, or either without a port when `default_port` is given."""
        host, port = split_host_port(text)
        if port is None:
            if default_port is None:
                raise ParseError(f"{text!r} names no port")
            port = default_port
        return cls.of(host, port)

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.ip else 4

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


ClientAddress = NewType("ClientAddress", Address)
"""Where a TURN client speaks from, as the server sees it (its 5-tuple's far end)."""
PeerAddress = NewType("PeerAddress", Address)
"""Who a relay forwards to and hears from."""


@lru_cache(maxsize=4096)
def canonical_ip(text: str) -> str:
    """The canonical form of an IP literal; raises ParseError if it is none."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise ParseError(f"{text!r} is not an IP address") from error


def is_ip(text: str) -> bool:
    """Whether the text is an IP literal (brackets allowed) and so needs no look-up."""
    try:
        canonical_ip(text)
    except ParseError:
        return False
    return True


@lru_cache(maxsize=4096)
def site_of(ip: str) -> str:
    """Whom to count an IP literal for: itself, but of IPv6 its /64, since one host may use all of it."""
    if ":" not in ip:
        return ip
    return str(ipaddress.IPv6Network((ip, 64), strict=False).network_address)


def split_host_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[v6]`, `[v6]:port` → host without brackets, port or None. Raises ParseError."""
    host, port_text = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ParseError(f"{text!r} has an unclosed bracket")
        port_text = rest[1:]
        if rest == ":":
            raise ParseError(f"{text!r} ends in a bare colon")
    elif text.count(":") == 1:
        host, _, port_text = text.partition(":")
        if not port_text:
            raise ParseError(f"{text!r} ends in a bare colon")
    if not host:
        raise ParseError(f"{text!r} names no host")
    if not port_text:
        return host, None
    if not (port_text.isascii() and port_text.isdigit()) or len(port_text) > 5 or int(port_text) > 65535:
        raise ParseError(f"{port_text!r} is not a port")
    return host, int(port_text)
