"""What travels: a datagram or a TCP segment between two transport addresses."""

from __future__ import annotations

from dataclasses import dataclass, replace

from iceway.core.address import Address, Transport

IP_UDP_HEADERS = 28
IP_TCP_HEADERS = 40
HOPS = 32


@dataclass(frozen=True, slots=True)
class Packet:
    """`size` counts headers. `opens` marks the first packet of a TCP connection, which firewalls judge."""

    transport: Transport
    source: Address
    destination: Address
    payload: object
    size: int
    opens: bool = False
    hops: int = HOPS

    def from_source(self, source: Address) -> Packet:
        return replace(self, source=source)

    def to_destination(self, destination: Address) -> Packet:
        return replace(self, destination=destination)
