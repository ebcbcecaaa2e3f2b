"""A node: somebody with interfaces who knows where to send what.

The next hop is found by subnet, then by static route (longest prefix), then by default gateway.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from iceway.lab.topology import Host, Interface, Router
from iceway.lab.world.packet import Packet

if TYPE_CHECKING:
    from iceway.lab.world.network import Network


class Node:
    """Base of hosts and routers. An unplugged node neither sends nor hears anything."""

    def __init__(self, description: Host | Router, network: Network) -> None:
        self.name = description.name
        self.interfaces = description.interfaces
        self.ips = tuple(interface.ip for interface in description.interfaces)
        self.unplugged = False
        self.network = network
        self._gateway = description.gateway
        self._static = [(ip_network(route.subnet), route.via) for route in description.routes]
        self._routes: dict[str, tuple[Interface, str] | None] = {}

    def receive(self, packet: Packet, segment: str) -> None:
        """A packet arrived over a segment."""
        raise NotImplementedError

    def transmit(self, packet: Packet) -> None:
        """Send a packet on to its next hop."""
        hop = self.route(packet.destination.ip)
        if hop is None:
            self.network.dropped(self.name, packet, "no route")
            return
        interface, next_hop = hop
        self.network.wires[interface.segment].transmit(packet, self, next_hop)

    def route(self, ip: str) -> tuple[Interface, str] | None:
        """The interface towards an address, and the neighbour to hand the packet to; None: no route."""
        if ip not in self._routes:
            self._routes[ip] = self._find_route(ip)
        return self._routes[ip]

    def _find_route(self, ip: str) -> tuple[Interface, str] | None:
        if (interface := self._on_link(ip)) is not None:
            return interface, ip
        target = ip_address(ip)
        fitting = [(subnet.prefixlen, via) for subnet, via in self._static if target in subnet]
        via = max(fitting)[1] if fitting else self._gateway
        if via is None or (interface := self._on_link(via)) is None:
            return None
        return interface, via

    def _on_link(self, ip: str) -> Interface | None:
        target = ip_address(ip)
        return next((item for item in self.interfaces if target in self._subnet(item)), None)

    def _subnet(self, interface: Interface) -> IPv4Network | IPv6Network:
        return self.network.topology.segment(interface.segment).network
