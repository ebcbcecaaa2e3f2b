"""What a laboratory network is made of, as plain values: segments, hosts, routers, names.

A topology says nothing about how it is run: the virtual world and the kernel laboratory build the same
value. Every `Topology` is consistent: it refuses, naming the field, an unknown segment, an address outside
its subnet, or two owners of one address. Behaviours of NATs are those of RFC 4787 §4.1 and §5.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal, TypeVar

from iceway.core.address import Address, canonical_ip
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import Answer


class Behaviour(StrEnum):
    """How much of the remote address a NAT looks at: not at all, its IP, or its IP and port (RFC 4787)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


@dataclass(frozen=True, slots=True)
class Link:
    """What crossing a segment does to a packet. Times in seconds, chances from 0 to 1, rate in bits a second.

    `jitter` is the widest extra delay, spread evenly, and never reorders; `reorder` is the chance that a
    packet is held back and overtaken. With a `rate`, packets queue behind each other at every sender.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A subnet: everybody on it reaches everybody else on it directly."""

    name: str
    subnet: str
    link: Link = Link()

    @property
    def network(self) -> IPv4Network | IPv6Network:
        return ip_network(self.subnet)


@dataclass(frozen=True, slots=True)
class Interface:
    segment: str
    ip: str


@dataclass(frozen=True, slots=True)
class Route:
    """Packets for `subnet` go to the neighbour `via`; with a `source`, those that leave from that address.

    Routes with a source come before all others, directly reached subnets included, as policy routing has it.
    """

    subnet: str
    via: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that programs run on. `nameserver` is where it asks names; its address there picks the view."""

    name: str
    interfaces: tuple[Interface, ...]
    gateway: str | None = None
    nameserver: str | None = None
    routes: tuple[Route, ...] = ()

    @property
    def ips(self) -> tuple[str, ...]:
        return tuple(interface.ip for interface in self.interfaces)


@dataclass(frozen=True, slots=True)
class Forward:
    """A static port forward: what arrives outside at `port` goes to `to` inside, whoever sent it."""

    transport: Literal["udp", "tcp"]
    port: int
    to: Address


@dataclass(frozen=True, slots=True)
class Nat:
    """A translation, by RFC 4787. `filter_by` says whose outgoing packets open the filter of a mapping:
    those of this mapping, or all of the same inside endpoint; it differs only when mappings multiply.

    A mapping lives `mapping_timeout` after the last outgoing packet (UDP; TCP has `tcp_timeout`), or with
    `inbound_refresh`, which RFC 4787 REQ-6 leaves open and Linux does, after the last packet either way.
    With `port_preservation` the outside port is the inside one where that is free.
    """

    mapping: Behaviour = Behaviour.ENDPOINT_INDEPENDENT
    filtering: Behaviour = Behaviour.ADDRESS_AND_PORT_DEPENDENT
    port_preservation: bool = True
    mapping_timeout: float = 120.0
    tcp_timeout: float = 7200.0
    inbound_refresh: bool = False
    hairpin: bool = False
    filter_by: Literal["mapping", "endpoint"] = "mapping"
    ports: tuple[int, int] = (32768, 60999)
    forwards: tuple[Forward, ...] = ()


@dataclass(frozen=True, slots=True)
class Firewall:
    """What a router refuses to carry between inside and outside.

    `tcp_ports` are the ports that connections from inside may go to (None: any). `filtering` makes a router
    without NAT refuse what nobody inside asked for, by the same three behaviours; None lets all in.
    """

    block_udp: bool = False
    tcp_ports: tuple[int, ...] | None = None
    filtering: Behaviour | None = None


@dataclass(frozen=True, slots=True)
class Router:
    """A box between inside segments and one outside segment; with `nat` it translates what crosses."""

    name: str
    inside: tuple[Interface, ...]
    outside: Interface
    gateway: str | None = None
    nat: Nat | None = None
    firewall: Firewall = Firewall()
    routes: tuple[Route, ...] = ()

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        return (*self.inside, self.outside)


@dataclass(frozen=True, slots=True)
class NameRecord:
    """One DNS record: `data` is an IP for A and AAAA, a host name for SRV, the replacement for NAPTR."""

    name: str
    type: Literal["A", "AAAA", "SRV", "NAPTR"]
    data: str
    port: int = 0
    priority: int = 0
    weight: int = 0
    order: int = 0
    preference: int = 0
    flags: str = ""
    service: str = ""
    regexp: str = ""

    @property
    def answer(self) -> Answer:
        """The record as whoever asks for it gets it."""
        return Answer(
            self.data,
            self.port,
            self.priority,
            self.weight,
            self.order,
            self.preference,
            self.flags,
            self.service,
            self.regexp,
        )


@dataclass(frozen=True, slots=True)
class View:
    """What askers from `sources` (subnets) are told; a view without sources is for everybody else."""

    name: str
    records: tuple[NameRecord, ...]
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole network. Construction raises ParseError, naming the field, if it does not hang together."""

    name: str
    segments: tuple[Segment, ...]
    hosts: tuple[Host, ...]
    routers: tuple[Router, ...] = ()
    views: tuple[View, ...] = ()
    summary: str = ""

    def __post_init__(self) -> None:
        _check(self)

    def segment(self, name: str) -> Segment:
        return _named(self.segments, name, "segment")

    def host(self, name: str) -> Host:
        return _named(self.hosts, name, "host")

    def router(self, name: str) -> Router:
        return _named(self.routers, name, "router")

    def view_of(self, ip: str) -> View | None:
        """The view that an asker with this source address sees: the first that lists it, else the open one."""
        asker = ip_address(ip)
        for view in self.views:
            if any(asker in ip_network(source) for source in view.sources):
                return view
        return next((view for view in self.views if not view.sources), None)

    def with_router(self, name: str, **changes: object) -> Topology:
        """The same topology with fields of one router replaced: `with_router("home-nat", nat=Nat(…))`."""
        changed = dataclasses.replace(self.router(name), **changes)  # type: ignore[arg-type]
        routers = tuple(changed if router.name == name else router for router in self.routers)
        return dataclasses.replace(self, routers=routers)

    def with_link(self, segment: str, link: Link) -> Topology:
        """The same topology with another link on one segment."""
        changed = dataclasses.replace(self.segment(segment), link=link)
        segments = tuple(changed if old.name == segment else old for old in self.segments)
        return dataclasses.replace(self, segments=segments)


_Thing = TypeVar("_Thing", Segment, Host, Router)


def _named(things: tuple[_Thing, ...], name: str, kind: str) -> _Thing:
    for thing in things:
        if thing.name == name:
            return thing
    raise UsageError(f"no {kind} is called {name!r}; there are {', '.join(thing.name for thing in things)}")


# --- consistency ----------------------------------------------------------------------------------------
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}\Z")


def _check(topology: Topology) -> None:
    segments: dict[str, Segment] = {}
    for index, segment in enumerate(topology.segments):
        where = f"segment[{index}]"
        _check_name(segment.name, f"{where}.name", segments)
        _subnet(segment.subnet, f"{where}.subnet")
        _check_link(segment.link, f"{where}.link")
        segments[segment.name] = segment

    nodes: set[str] = set()
    owners: dict[tuple[str, str], str] = {}
    kinds: tuple[tuple[str, tuple[Host | Router, ...]], ...] = (
        ("host", topology.hosts),
        ("router", topology.routers),
    )
    for kind, things in kinds:
        for index, node in enumerate(things):
            where = f"{kind}[{index}]"
            _check_name(node.name, f"{where}.name", nodes)
            nodes.add(node.name)
            if not node.interfaces:
                raise ParseError(f"{where}.interfaces: {node.name} needs at least one")
            for number, interface in enumerate(node.interfaces):
                at = f"{where}.interfaces[{number}]"
                if isinstance(node, Router):
                    at = f"{where}.inside[{number}]" if number < len(node.inside) else f"{where}.outside"
                _check_interface(interface, at, segments)
                owner = owners.setdefault((interface.segment, interface.ip), node.name)
                if owner != node.name:
                    raise ParseError(f"{at}.ip: {interface.ip} already belongs to {owner}")
            subnets = [segments[interface.segment].network for interface in node.interfaces]
            if node.gateway is not None:
                _check_neighbour(node.gateway, subnets, f"{where}.gateway")
            for number, route in enumerate(node.routes):
                _subnet(route.subnet, f"{where}.routes[{number}].subnet")
                _check_neighbour(route.via, subnets, f"{where}.routes[{number}].via")
                if route.source is not None:
                    _check_own(route.source, node, f"{where}.routes[{number}].source")
            if isinstance(node, Host) and node.nameserver is not None:
                _check_ip(node.nameserver, f"{where}.nameserver")
            if isinstance(node, Router) and node.nat is not None:
                _check_nat(node.nat, f"{where}.nat")

    for index, view in enumerate(topology.views):
        for number, source in enumerate(view.sources):
            _subnet(source, f"view[{index}].sources[{number}]")
        for number, record in enumerate(view.records):
            if record.type in ("A", "AAAA"):
                _check_ip(record.data, f"view[{index}].records[{number}].data")


def _check_name(name: str, where: str, taken: Container[str]) -> None:
    if not _NAME.match(name):
        raise ParseError(f"{where}: {name!r} must be 1–31 lower-case letters, digits and hyphens")
    if name in taken:
        raise ParseError(f"{where}: {name!r} is taken")


def _subnet(text: str, where: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ParseError(f"{where}: {error}") from error


def _check_ip(text: str, where: str) -> None:
    try:
        canonical = canonical_ip(text)
    except ParseError as error:
        raise ParseError(f"{where}: {error}") from error
    if canonical != text:
        raise ParseError(f"{where}: write {text} as {canonical}")


def _check_link(link: Link, where: str) -> None:
    for field in ("delay", "jitter"):
        if not 0 <= getattr(link, field) <= 60:
            raise ParseError(f"{where}.{field}: {getattr(link, field)} is not between 0 and 60 seconds")
    for field in ("loss", "duplicate", "reorder"):
        if not 0 <= getattr(link, field) <= 1:
            raise ParseError(f"{where}.{field}: {getattr(link, field)} is not a chance between 0 and 1")
    if link.rate is not None and link.rate <= 0:
        raise ParseError(f"{where}.rate: {link.rate} bits a second carry nothing; leave it out for no limit")


def _check_interface(interface: Interface, where: str, segments: dict[str, Segment]) -> None:
    segment = segments.get(interface.segment)
    if segment is None:
        raise ParseError(
            f"{where}.segment: no segment is called {interface.segment!r}; there are {', '.join(segments)}"
        )
    _check_ip(interface.ip, f"{where}.ip")
    if ip_address(interface.ip) not in segment.network:
        raise ParseError(
            f"{where}.ip: {interface.ip} is not in {segment.subnet}, the subnet of {segment.name}"
        )


def _check_neighbour(ip: str, subnets: list[IPv4Network | IPv6Network], where: str) -> None:
    _check_ip(ip, where)
    if not any(ip_address(ip) in subnet for subnet in subnets):
        raise ParseError(f"{where}: {ip} is not on a segment of this node")


def _check_own(ip: str, node: Host | Router, where: str) -> None:
    if ip not in {interface.ip for interface in node.interfaces}:
        raise ParseError(f"{where}: {ip} is not an address of {node.name}")


def _check_nat(nat: Nat, where: str) -> None:
    low, high = nat.ports
    if not 1 <= low <= high <= 65535:
        raise ParseError(f"{where}.ports: {low}–{high} is not a range of ports")
    if nat.mapping_timeout <= 0 or nat.tcp_timeout <= 0:
        raise ParseError(f"{where}: timeouts must be positive seconds")
    for number, forward in enumerate(nat.forwards):
        if not 1 <= forward.port <= 65535:
            raise ParseError(f"{where}.forwards[{number}].port: {forward.port} is not a port")
