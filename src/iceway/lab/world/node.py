"""A node: somebody with interfaces who knows where to send what.

The next hop is found by the routes of the packet's source, then by subnet, then by static route (longest
prefix), then by default gateway.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
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
        self._static = [(ip_network(r.subnet), r.via) for r in description.routes if r.source is None]
        self._by_source: dict[str, list[tuple[IPv4Network | IPv6Network, str]]] = {}
        for one in description.routes:
            if one.source is not None:
                self._by_source.setdefault(one.source, []).append((ip_network(one.subnet), one.via))
        self._routes: dict[tuple[str, str], tuple[Interface, str] | None] = {}

    def move(self, interfaces: tuple[Interface, ...], gateway: str | None) -> None:
        """Have these interfaces, and this way out, instead of those before. Routes given by hand are gone."""
        wires = self.network.wires
        for interface in self.interfaces:
            wires[interface.segment].owners.pop(interface.ip, None)
        for interface in interfaces:
            wires[interface.segment].owners[interface.ip] = self
        self.interfaces, self._gateway = interfaces, gateway
        self.ips = tuple(interface.ip for interface in interfaces)
        self._static, self._by_source = [], {}
        self._routes.clear()

    def receive(self, packet: Packet, segment: str) -> None:
        """A packet arrived over a segment."""
        raise NotImplementedError

    def transmit(self, packet: Packet) -> None:
        """Send a packet on to its next hop."""
        hop = self.route(packet.destination.ip, packet.source.ip)
        if hop is None:
            self.network.dropped(self.name, packet, "no route")
            return
        interface, next_hop = hop
        self.network.wires[interface.segment].transmit(packet, self, next_hop)

    def route(self, ip: str, source: str = "") -> tuple[Interface, str] | None:
        """The interface towards an address, and the neighbour to hand the packet to; None: no route."""
        source = source if source in self._by_source else ""
        if (ip, source) not in self._routes:
            self._routes[ip, source] = self._find_route(ip, source)
        return self._routes[ip, source]

    def _find_route(self, ip: str, source: str) -> tuple[Interface, str] | None:
        target = ip_address(ip)
        via = _narrowest(self._by_source.get(source, ()), target)
        if via is None:
            if (interface := self._on_link(ip)) is not None:
                return interface, ip
            via = _narrowest(self._static, target) or self._gateway
        if via is None or (interface := self._on_link(via)) is None:
            return None
        return interface, via

    def is_neighbour(self, ip: str) -> bool:
        """Whether an address is in a subnet of ours."""
        return self._on_link(ip) is not None

    def _on_link(self, ip: str) -> Interface | None:
        target = ip_address(ip)
        return next((item for item in self.interfaces if target in self._subnet(item)), None)

    def _subnet(self, interface: Interface) -> IPv4Network | IPv6Network:
        return self.network.topology.segment(interface.segment).network


def _narrowest(
    routes: Iterable[tuple[IPv4Network | IPv6Network, str]], target: IPv4Address | IPv6Address
) -> str | None:
    """Where the longest prefix that holds the target leads."""
    fitting = [(subnet.prefixlen, via) for subnet, via in routes if target in subnet]
    return max(fitting)[1] if fitting else None
