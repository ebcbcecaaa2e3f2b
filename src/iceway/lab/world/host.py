"""A host in a world: its sockets and its TCP, as a kernel keeps them for the programs on it.

A socket belongs to a program through two callbacks, never to a machine; so programs come and go (`World.kill`)
while the host stays. A datagram for a closed port is dropped (ICMP is not modelled).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.lab.topology import Host, Interface
from iceway.lab.world.node import Node
from iceway.lab.world.packet import IP_UDP_HEADERS, Packet

if TYPE_CHECKING:
    from iceway.lab.world.network import Network

LOOPBACK_DELAY = 0.00005
EPHEMERAL_PORTS = (32768, 60999)
ANY = ("0.0.0.0", "::")

GROUPS = ("224.0.0.251", "ff02::fb")

OnDatagram = Callable[[Address, Address, object], None]
"""Called with (local, remote, data); `local` as the socket was bound. What is no bytes is a record of DTLS."""


OnMulticast = Callable[[Address, bytes], None]
"""Called with (source, data)."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Somebody on this host listens to a group on one interface."""

    group: Address
    interface: Interface
    on_datagram: OnMulticast


class BindError(Exception):
    """A socket that cannot be had; the text is for people."""


class HostNode(Node):
    """The kernel of one host."""

    def __init__(self, host: Host, network: Network, rng: Random) -> None:
        super().__init__(host, network)
        self.nameserver = host.nameserver
        self._rng = rng
        self._udp: dict[Address, OnDatagram] = {}
        self._members: dict[str, Membership] = {}
        self.on_segment: Callable[[Packet], None] = lambda packet: None

    # --- UDP --------------------------------------------------------------------------------------------
    def bind_udp(self, local: Address, ports: tuple[int, int] | None, on_datagram: OnDatagram) -> Address:
        """Open a socket; the address it is bound to. Raises BindError."""
        bound = self.choose_address(local, ports, self._udp.__contains__)
        self._udp[bound] = on_datagram
        return bound

    def close_udp(self, local: Address) -> None:
        self._udp.pop(local, None)

    @property
    def udp_sockets(self) -> tuple[Address, ...]:
        return tuple(self._udp)

    def send_datagram(self, local: Address, remote: Address, data: bytes) -> None:
        """From an open socket; from one that is gone it is silently lost."""
        source = self.source_for(local, remote.ip)
        if local in self._udp and source is not None:
            self.send(Packet(Transport.UDP, source, remote, data, len(data) + IP_UDP_HEADERS))

    # --- multicast --------------------------------------------------------------------------------------
    def join(self, key: str, group: Address, ip: str, on_datagram: OnMulticast) -> None:
        """Listen to a group on the interface that has this IP. Raises BindError."""
        interface = next((item for item in self.interfaces if item.ip == ip), None)
        if interface is None:
            raise BindError(f"no interface of this host has {ip}")
        self._members[key] = Membership(group, interface, on_datagram)

    def leave(self, key: str) -> None:
        self._members.pop(key, None)

    def send_multicast(self, key: str, to: Address | None, data: bytes) -> None:
        """To the group, or to a neighbour, from the group's port."""
        member = self._members.get(key)
        if member is None:
            return
        source = Address(member.interface.ip, member.group.port)
        packet = Packet(Transport.UDP, source, to or member.group, data, len(data) + IP_UDP_HEADERS)
        if to is not None:
            self.send(packet)
            return
        self.network.clock.after(LOOPBACK_DELAY, partial(self.receive, packet, member.interface.segment))
        self.network.wires[member.interface.segment].flood(packet, self)

    def _receive_multicast(self, packet: Packet, segment: str) -> bool:
        """For everybody who listens; what is sent to one of us alone, for the first of them. False: for nobody."""
        to, heard = packet.destination, False
        for member in list(self._members.values()):
            own = Address(member.interface.ip, member.group.port)
            on_link = segment in ("", member.interface.segment) and self.is_neighbour(packet.source.ip)
            if on_link and to in (member.group, own) and isinstance(packet.payload, bytes):
                member.on_datagram(packet.source, packet.payload)
                heard = True
                if to == own:
                    break
        return heard

    # --- packets ----------------------------------------------------------------------------------------
    def send(self, packet: Packet) -> None:
        """To ourselves without a wire, to anybody else by route."""
        if not self.is_ours(packet.source.ip):
            self.network.dropped(
                self.name, packet, f"no interface of this host has {packet.source.ip} any more"
            )
        elif self.is_ours(packet.destination.ip):
            self.network.clock.after(LOOPBACK_DELAY, partial(self.receive, packet, ""))
        else:
            self.transmit(packet)

    def receive(self, packet: Packet, segment: str) -> None:
        if self._members and packet.transport is Transport.UDP and self._receive_multicast(packet, segment):
            return
        if packet.destination.ip in GROUPS:
            return  # Nobody here listens to it.
        if not self.is_ours(packet.destination.ip):
            self.network.dropped(self.name, packet, "not for this host")
        elif packet.transport is not Transport.UDP:
            self.on_segment(packet)
        else:
            bound, on_datagram = self._socket(packet.destination)
            if on_datagram is None:
                self.network.dropped(self.name, packet, "port closed")
            else:
                on_datagram(bound, packet.source, packet.payload)

    def _socket(self, destination: Address) -> tuple[Address, OnDatagram | None]:
        for ip in (destination.ip, ANY[0] if destination.family == 4 else ANY[1]):
            bound = Address(ip, destination.port)
            if bound in self._udp:
                return bound, self._udp[bound]
        return destination, None

    # --- addresses --------------------------------------------------------------------------------------
    def is_ours(self, ip: str) -> bool:
        return ip in self.ips or ip == "::1" or ip.startswith("127.")

    def source_for(self, local: Address, remote_ip: str) -> Address | None:
        """The address a packet leaves from: the socket's own, or by route if it is bound to any."""
        if local.ip not in ANY:
            return local
        if self.is_ours(remote_ip):
            return Address(remote_ip, local.port)
        hop = self.route(remote_ip)
        return Address(hop[0].ip, local.port) if hop else None

    def choose_address(
        self, local: Address, ports: tuple[int, int] | None, is_taken: Callable[[Address], bool]
    ) -> Address:
        """The address to bind: `local`, its port chosen if it names none. Raises BindError."""
        if local.ip not in ANY and not self.is_ours(local.ip):
            raise BindError(f"no interface of this host has {local.ip}")
        if local.port:
            if is_taken(local):
                raise BindError(f"{local} is already in use")
            return local
        low, high = ports or EPHEMERAL_PORTS
        span = high - low + 1
        start = self._rng.randrange(span) if span > 0 else 0
        for step in range(span):
            candidate = Address(local.ip, low + (start + step) % span)
            if not is_taken(candidate):
                return candidate
        raise BindError(f"no port of {low}–{high} is free on {local.ip}")
