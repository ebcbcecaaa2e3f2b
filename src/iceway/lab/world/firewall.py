"""What a router refuses to carry: UDP as a whole, connections to some ports, answers nobody asked for."""

from __future__ import annotations

from iceway.core.address import Address, Transport
from iceway.lab.topology import Firewall
from iceway.lab.world.nat import part_of
from iceway.lab.world.packet import Packet

UDP_LIFETIME = 120.0
TCP_LIFETIME = 7200.0


class FirewallState:
    """A firewall and, for routers without NAT, the memory of who inside wrote to whom."""

    def __init__(self, rules: Firewall) -> None:
        self.rules = rules
        self._asked: dict[tuple[Transport, Address], dict[object, float]] = {}

    def refuses_outgoing(self, packet: Packet, now: float) -> str | None:
        """Why a packet from inside may not leave, or None."""
        if refusal := self._refuses_transport(packet):
            return refusal
        if (
            packet.opens
            and self.rules.tcp_ports is not None
            and packet.destination.port not in self.rules.tcp_ports
        ):
            return f"TCP to port {packet.destination.port} is blocked"
        if self.rules.filtering is not None:
            asked = self._asked.setdefault((packet.transport, packet.source), {})
            asked[part_of(packet.destination, self.rules.filtering)] = now
        return None

    def refuses_incoming(self, packet: Packet, now: float, *, translated: bool) -> str | None:
        """Why a packet from outside may not come in, or None. A NAT has done its own filtering already."""
        if refusal := self._refuses_transport(packet):
            return refusal
        if translated or self.rules.filtering is None:
            return None
        lifetime = UDP_LIFETIME if packet.transport is Transport.UDP else TCP_LIFETIME
        asked = self._asked.get((packet.transport, packet.destination), {})
        at = asked.get(part_of(packet.source, self.rules.filtering))
        return None if at is not None and now - at < lifetime else "nobody inside asked for it"

    def _refuses_transport(self, packet: Packet) -> str | None:
        return "UDP is blocked" if self.rules.block_udp and packet.transport is Transport.UDP else None
