"""A NAT by RFC 4787: mappings made by outgoing packets, filters opened by them, both forgotten in time.

The translator only rewrites addresses; where a packet goes then is the router's business. A mapping belongs
to (transport, inside endpoint, as much of the destination as the mapping behaviour looks at). Only outgoing
packets refresh it (REQ-6; incoming ones too with `inbound_refresh`), each for its own remote: a filter closes
when nobody inside has written to that remote for a mapping's lifetime. TCP is treated alike (RFC 5382), with a
longer life.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from iceway.core.address import Address, Transport
from iceway.lab.topology import Behaviour, Nat
from iceway.lab.world.packet import Packet

NO_MAPPING = "no mapping"
FILTERED = "filtered"
NO_PORT = "no outside port is free"


@dataclass(frozen=True, slots=True)
class Translated:
    """The rewritten packet; `first` tells a flow's first packet of this mapping and direction."""

    packet: Packet
    first: bool


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str


@dataclass(slots=True)
class _Mapping:
    inside: Address
    outside: Address
    static: bool = False
    used_at: float = 0.0
    opened: dict[Address, float] = field(default_factory=dict)
    seen_out: bool = False
    seen_in: bool = False


_Key = tuple[Transport, Address, object]


class Translator:
    """The state of one NAT with one outside address."""

    def __init__(self, nat: Nat, outside_ip: str, rng: Random) -> None:
        self._nat = nat
        self._outside_ip = outside_ip
        self._rng = rng
        self._by_key: dict[_Key, _Mapping] = {}
        self._by_port: dict[tuple[Transport, int], _Mapping] = {}
        self._static: dict[tuple[Transport, Address], _Mapping] = {}
        for forward in nat.forwards:
            transport = Transport(forward.transport)
            mapping = _Mapping(forward.to, Address(outside_ip, forward.port), static=True)
            self._static[transport, forward.to] = self._by_port[transport, forward.port] = mapping

    def outgoing(self, packet: Packet, now: float) -> Translated | Refused:
        """Rewrite the source of a packet from inside, making or refreshing its mapping."""
        mapping = self._mapping_for(packet, now)
        if mapping is None:
            return Refused(NO_PORT)
        mapping.used_at = now
        mapping.opened[packet.destination] = now
        first, mapping.seen_out = not mapping.seen_out, True
        return Translated(packet.from_source(mapping.outside), first)

    def incoming(self, packet: Packet, now: float) -> Translated | Refused:
        """Rewrite the destination of a packet from outside, if a mapping and its filter let it in."""
        mapping = self._by_port.get((packet.transport, packet.destination.port))
        if mapping is None or not self._alive(mapping, packet.transport, now):
            return Refused(NO_MAPPING)
        if not self._lets_in(mapping, packet, now):
            return Refused(FILTERED)
        if self._nat.inbound_refresh:
            mapping.used_at = now
            if packet.source in mapping.opened:
                mapping.opened[packet.source] = now
        first, mapping.seen_in = not mapping.seen_in, True
        return Translated(packet.to_destination(mapping.inside), first)

    # --- mappings ---------------------------------------------------------------------------------------
    def _mapping_for(self, packet: Packet, now: float) -> _Mapping | None:
        if (forwarded := self._static.get((packet.transport, packet.source))) is not None:
            return forwarded
        key = packet.transport, packet.source, part_of(packet.destination, self._nat.mapping)
        mapping = self._by_key.get(key)
        if mapping is not None and self._alive(mapping, packet.transport, now):
            return mapping
        if mapping is not None and self._by_port.get((packet.transport, mapping.outside.port)) is mapping:
            del self._by_port[packet.transport, mapping.outside.port]
        port = self._free_port(packet, now)
        if port is None:
            return None
        mapping = _Mapping(packet.source, Address(self._outside_ip, port), used_at=now)
        self._by_key[key] = self._by_port[packet.transport, port] = mapping
        return mapping

    def _free_port(self, packet: Packet, now: float) -> int | None:
        if self._nat.port_preservation and self._is_free(packet.transport, packet.source.port, now):
            return packet.source.port
        low, high = self._nat.ports
        span = high - low + 1
        start = self._rng.randrange(span)
        for step in range(span):
            port = low + (start + step) % span
            if self._is_free(packet.transport, port, now):
                return port
        return None

    def _is_free(self, transport: Transport, port: int, now: float) -> bool:
        mapping = self._by_port.get((transport, port))
        return mapping is None or not self._alive(mapping, transport, now)

    def _alive(self, mapping: _Mapping, transport: Transport, now: float) -> bool:
        return mapping.static or now - mapping.used_at < self._lifetime(transport)

    def _lifetime(self, transport: Transport) -> float:
        return self._nat.mapping_timeout if transport is Transport.UDP else self._nat.tcp_timeout

    # --- filters ----------------------------------------------------------------------------------------
    def _lets_in(self, mapping: _Mapping, packet: Packet, now: float) -> bool:
        if mapping.static or self._nat.filtering is Behaviour.ENDPOINT_INDEPENDENT:
            return True
        if self._nat.filter_by == "mapping":
            mappings = [mapping]
        else:
            mappings = [
                other
                for (transport, inside, _), other in self._by_key.items()
                if transport is packet.transport and inside == mapping.inside
            ]
        wanted = part_of(packet.source, self._nat.filtering)
        lifetime = self._lifetime(packet.transport)
        return any(
            part_of(remote, self._nat.filtering) == wanted and now - at < lifetime
            for candidate in mappings
            for remote, at in candidate.opened.items()
        )


def part_of(remote: Address, behaviour: Behaviour) -> object:
    """As much of a remote address as the behaviour looks at."""
    match behaviour:
        case Behaviour.ENDPOINT_INDEPENDENT:
            return None
        case Behaviour.ADDRESS_DEPENDENT:
            return remote.ip
        case Behaviour.ADDRESS_AND_PORT_DEPENDENT:
            return remote
