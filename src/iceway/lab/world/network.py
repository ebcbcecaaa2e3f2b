"""The wires of a world and everybody on them.

Every hop is an event on the world's clock, so a NAT sees a packet when it would. What is dropped is reported
once a flow and cause, and what is translated once a mapping and direction, by the box that did it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from iceway.lab.crossing import Crossing
from iceway.lab.topology import Segment, Topology
from iceway.lab.world.clock import Clock
from iceway.lab.world.host import HostNode
from iceway.lab.world.node import Node
from iceway.lab.world.packet import Packet
from iceway.lab.world.router import RouterNode
from iceway.trace.records import PacketDropped, PacketTranslated, Record


class Network:
    """All segments and nodes of one topology."""

    def __init__(
        self,
        topology: Topology,
        clock: Clock,
        report: Callable[[str, Record], None],
        rng: Callable[[str], Random],
    ) -> None:
        self.topology = topology
        self.clock = clock
        self._report = report
        self._reported: set[tuple[object, ...]] = set()
        self.wires = {segment.name: Wire(segment, self, rng(segment.name)) for segment in topology.segments}
        self.hosts = {host.name: HostNode(host, self, rng(f"{host.name}/kernel")) for host in topology.hosts}
        self.routers = {
            router.name: RouterNode(router, self, rng(router.name)) for router in topology.routers
        }
        nodes: list[Node] = [*self.hosts.values(), *self.routers.values()]
        for node in nodes:
            for interface in node.interfaces:
                self.wires[interface.segment].owners[interface.ip] = node

    def dropped(self, where: str, packet: Packet, reason: str) -> None:
        """Record a drop, the first of its flow and cause."""
        key = where, packet.transport, packet.source, packet.destination, reason
        if key not in self._reported:
            self._reported.add(key)
            transport = packet.transport.value
            self._report(where, PacketDropped(where, transport, packet.source, packet.destination, reason))

    def translated(self, nat: str, before: Packet, after: Packet, *, outgoing: bool) -> None:
        """Record what a NAT did to a packet."""
        if outgoing:
            changed, peer = (before.source, after.source), before.destination
        else:
            changed, peer = (before.destination, after.destination), before.source
        self._report(nat, PacketTranslated(nat, before.transport.value, *changed, peer, outgoing))

    def path_delay(self, host: HostNode, ip: str) -> float | None:
        """How long a datagram to an address travels by propagation alone; None: it does not arrive."""
        node: Node = host
        delay = 0.0
        for _ in range(32):
            if node.unplugged:
                return None
            if ip in node.ips:
                return delay
            hop = node.route(ip)
            if hop is None:
                return None
            interface, next_hop = hop
            if isinstance(node, RouterNode) and interface == node.outside and node.firewall.rules.block_udp:
                return None
            wire = self.wires[interface.segment]
            delay += wire.crossing.link.delay
            if next_hop not in wire.owners:
                return None
            node = wire.owners[next_hop]
        return None


class Wire:
    """One segment: carries a packet to the neighbour that owns the next hop's address."""

    def __init__(self, segment: Segment, network: Network, rng: Random) -> None:
        self.crossing = Crossing(segment.link, rng)
        self.owners: dict[str, Node] = {}
        self._name = segment.name
        self._network = network

    def transmit(self, packet: Packet, sender: Node, next_hop: str) -> None:
        """Let a packet cross the segment: late, twice, or not at all."""
        owner = self.owners.get(next_hop)
        if owner is None or owner.unplugged or sender.unplugged:
            self._network.dropped(self._name, packet, f"nobody answers for {next_hop}")
            return
        fate = self.crossing.cross(packet.size, sender.name, next_hop, self._network.clock.now)
        if isinstance(fate, str):
            self._network.dropped(self._name, packet, fate)
            return
        for arrival in fate:
            self._network.clock.at(arrival, partial(owner.receive, packet, self._name))

    def flood(self, packet: Packet, sender: Node) -> None:
        """To everybody else on the segment, each with its own luck."""
        for ip in {owner.name: ip for ip, owner in self.owners.items() if owner is not sender}.values():
            self.transmit(packet, sender, ip)
