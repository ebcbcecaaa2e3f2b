"""What an operator says about a relay. Plain values; the programs read them from their own files."""

from __future__ import annotations

from dataclasses import dataclass

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import TlsServer


@dataclass(frozen=True, slots=True)
class TurnListener:
    """Where clients come in. `tls` goes with transports TLS and DTLS and with no other."""

    transport: Transport
    address: Address
    tls: TlsServer | None = None

    def __post_init__(self) -> None:
        if self.transport.is_secure != (self.tls is not None):
            raise UsageError("TLS parameters belong to transports TLS and DTLS and to no other")


@dataclass(frozen=True, slots=True)
class TurnServerConfig:
    """`relay_ip` is where relayed sockets are bound, `external_ip` what clients and peers know them by (behind
    a one-to-one NAT they differ). Ports are inclusive. Lifetimes in seconds (RFC 8656 §7.2)."""

    realm: str
    listeners: tuple[TurnListener, ...]
    relay_ip: str
    external_ip: str | None = None
    relay_ip6: str | None = None
    external_ip6: str | None = None
    relay_ports: tuple[int, int] = (49152, 65535)
    allow_peers: tuple[str, ...] = ()
    default_lifetime: int = 600
    max_lifetime: int = 3600
    max_allocations: int = 10_000
    max_allocations_per_user: int = 50
    max_permissions: int = 256
    """Permissions, and likewise channels, of one allocation."""
    max_streams: int = 10_000
    max_idle_streams_per_ip: int = 64
    """Streams of one client IP (of IPv6: its /64) that hold no allocation."""
    idle_stream_timeout: float = 30.0
    stranger_rate: int = 200
    """Answers a second to one IP that has not authenticated itself: what a forged source can be made to get."""
    software: str = "iceway"
