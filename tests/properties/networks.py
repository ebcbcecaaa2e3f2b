"""The topology of a case. Names, relay and internet are those of the grid, so that its `Meeting` can be held there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from iceway.lab.grid.networks import EDGE, RELAY_IP, RELAY_IP6, WEB_PORT
from iceway.lab.topology import (
    Behaviour,
    Firewall,
    Host,
    Interface,
    Link,
    Nat,
    Route,
    Router,
    Segment,
    Topology,
)
from tests.properties.cases import Box, Case, Place

LAN = Link(delay=0.0005)
CARRIER = Link(delay=0.004)
FULL = {"EI": Behaviour.ENDPOINT_INDEPENDENT, "AD": Behaviour.ADDRESS_DEPENDENT}


@dataclass(frozen=True)
class _Side:
    """The addresses of one end. `number` tells the sides apart where both are in the same subnet."""

    name: str
    number: int
    lan: str

    @property
    def outer(self) -> str:
        return f"198.51.100.{self.number + 10}"

    @property
    def public(self) -> str:
        return f"198.51.100.{self.number + 20}"

    @property
    def outer6(self) -> str:
        return f"2001:db8::{self.number + 10:x}"

    @property
    def lan6(self) -> str:
        return f"2001:db8:{self.number}"


class _Builder:
    """Collects what both ends need."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.segments: list[Segment] = []
        self.hosts: list[Host] = []
        self.routers: list[Router] = []
        self.back: list[Route] = []
        self.ways: dict[str, str] = {}

    # --- IPv4 ------------------------------------------------------------------------------------------------
    def premises(
        self, side: _Side, place: Place, carrier: str | None = None
    ) -> tuple[list[Interface], str | None]:
        """The NATs of a place. Returns the host's interfaces and gateway."""
        if not place.has_v4:
            return [], None
        firewall = _firewall(place)
        if not place.boxes and not place.closed:
            return [Interface("internet", side.public)], None
        if not place.boxes:
            side = replace(side, lan=f"203.0.{112 + side.number}")
        lan = f"{side.name}-lan"
        self.segments.append(Segment(lan, f"{side.lan}.0/24", LAN))
        inside = [Interface(lan, f"{side.lan}.1")]
        legs = [Interface(lan, f"{side.lan}.{self._host_number(side)}")]
        for leg in range(1, place.legs):
            subnet = f"{'172.16' if place.boxes else '203.0'}.{10 * side.number + leg}"
            name = f"{side.name}-lan{leg}"
            self.segments.append(Segment(name, f"{subnet}.0/24", LAN))
            inside.append(Interface(name, f"{subnet}.1"))
            legs.append(Interface(name, f"{subnet}.20"))
        own = place.boxes[0] if place.boxes else None
        name = f"{side.name}-nat"
        if carrier is None and len(place.boxes) > 1:
            carrier = f"{side.name}-carrier"
            subnet = f"100.64.{side.number}"
            self.segments.append(Segment(carrier, f"{subnet}.0/24", CARRIER))
            self._box(f"{side.name}-cgn", (Interface(carrier, f"{subnet}.1"),), side.outer, place.boxes[1])
            outside, gateway = Interface(carrier, f"{subnet}.2"), f"{subnet}.1"
        elif carrier is not None:
            outside, gateway = Interface(carrier, f"100.64.0.{side.number + 1}"), "100.64.0.1"
        else:
            outside, gateway = Interface("internet", side.outer), None
        self.routers.append(
            Router(name, tuple(inside), outside, gateway, nat(own) if own else None, firewall)
        )
        if own is None:
            self.ways |= {f"{interface.ip.rpartition('.')[0]}.0/24": side.outer for interface in inside}
        return legs, f"{side.lan}.1"

    def _host_number(self, side: _Side) -> int:
        return 20 if self.case.overlap else 20 + side.number

    def _box(
        self, name: str, inside: tuple[Interface, ...], outer: str, box: Box, *, hairpin: bool = False
    ) -> None:
        there = replace(nat(box), hairpin=hairpin)
        self.routers.append(Router(name, inside, Interface("internet", outer), nat=there))

    # --- IPv6 ------------------------------------------------------------------------------------------------
    def premises6(self, side: _Side, place: Place) -> tuple[list[Interface], str | None]:
        if place.v6 is None:
            return [], None
        lan, subnet = f"{side.name}-lan6", f"{side.lan6}::/64"
        self.segments.append(Segment(lan, subnet, LAN))
        firewall = replace(_firewall(place), filtering=behaviour(place.v6) if place.v6 else None)
        inside, outside = Interface(lan, f"{side.lan6}::1"), Interface("internet6", side.outer6)
        self.routers.append(Router(f"{side.name}-router6", (inside,), outside, firewall=firewall))
        self.back.append(Route(subnet, side.outer6))
        return [Interface(lan, f"{side.lan6}::20")], f"{side.lan6}::1"

    # --- hosts -----------------------------------------------------------------------------------------------
    def host(
        self,
        side: _Side,
        place: Place,
        legs: tuple[list[Interface], str | None],
        legs6: tuple[list[Interface], str | None],
    ) -> None:
        (interfaces, gateway), (interfaces6, gateway6) = legs, legs6
        routes = []
        if gateway is not None:
            for leg in interfaces[1:]:
                routes.append(Route("0.0.0.0/0", leg.ip.rpartition(".")[0] + ".1", source=leg.ip))
        if gateway6 is not None:
            routes.append(Route("::/0", gateway6))
        first: list[Interface] = []
        if place.vpn and place.has_v4:
            tunnel, subnet = f"{side.name}-vpn", f"10.{side.number + 8}.0"
            self.segments.append(Segment(tunnel, f"{subnet}.0/24", LAN))
            self.hosts.append(Host(f"{side.name}-vpn-gateway", (Interface(tunnel, f"{subnet}.1"),)))
            first = [Interface(tunnel, f"{subnet}.20")]
            routes.append(Route("0.0.0.0/0", f"{subnet}.1", source=f"{subnet}.20"))
        self.hosts.append(Host(side.name, (*first, *interfaces6, *interfaces), gateway, routes=tuple(routes)))


def topology(case: Case) -> Topology:
    """Alice, Bob, the relay, and all that stands between them."""
    build = _Builder(case)
    alice = _Side("alice", 1, "192.168.1")
    bob = _Side("bob", 2, "192.168.1" if case.overlap else "192.168.2")
    near = case.near if case.alice.has_v4 and case.bob.has_v4 else ""
    if near in ("lan", "router") and (case.alice.boxes or case.alice.closed):
        legs = build.premises(alice, case.alice)
        build.host(alice, case.alice, legs, build.premises6(alice, case.alice))
        build.host(bob, case.bob, _beside(build, near), build.premises6(bob, case.bob))
    elif near in ("carrier", "hairpin") and case.alice.boxes and case.bob.boxes:
        build.segments.append(Segment("carrier", "100.64.0.0/24", CARRIER))
        shared = (case.alice.boxes + case.bob.boxes)[-1]
        inside = (Interface("carrier", "100.64.0.1"),)
        for side, place in ((alice, case.alice), (bob, case.bob)):
            legs = build.premises(side, replace(place, boxes=place.boxes[:1]), "carrier")
            build.host(side, place, legs, build.premises6(side, place))
        build._box("shared-cgn", inside, alice.outer, shared, hairpin=near == "hairpin")
    else:
        for side, place in ((alice, case.alice), (bob, case.bob)):
            build.host(side, place, build.premises(side, place), build.premises6(side, place))
    return _joined(case, build)


def _beside(build: _Builder, near: str) -> tuple[list[Interface], str | None]:
    """Bob on Alice's LAN, or on another one of the same router."""
    index = next(i for i, router in enumerate(build.routers) if router.name == "alice-nat")
    router = build.routers[index]
    if near == "lan":
        lan = router.inside[0]
        return [Interface(lan.segment, lan.ip.rpartition(".")[0] + ".40")], lan.ip
    subnet = "192.168.9" if router.nat else "203.0.119"
    build.segments.append(Segment("bob-lan", f"{subnet}.0/24", LAN))
    build.routers[index] = replace(router, inside=(*router.inside, Interface("bob-lan", f"{subnet}.1")))
    if router.nat is None:
        build.ways[f"{subnet}.0/24"] = router.outside.ip
    return [Interface("bob-lan", f"{subnet}.20")], f"{subnet}.1"


def _joined(case: Case, build: _Builder) -> Topology:
    """With the internet, the relay on it, and the ways back to networks that nobody translates."""
    internet = [Segment("internet", "198.51.100.0/24", case.weather)]
    feet = [Interface("internet", RELAY_IP)]
    if build.back:
        internet.append(Segment("internet6", "2001:db8::/64", case.weather))
        feet.append(Interface("internet6", RELAY_IP6))
    back4 = tuple(Route(subnet, via) for subnet, via in build.ways.items())
    back6 = tuple(build.back)
    hosts = [_knowing_host(host, back4) for host in build.hosts]
    routers = [_knowing(router, back4, back6) for router in build.routers]
    hosts.append(Host(EDGE, tuple(feet), routes=(*back4, *back6)))
    return Topology("case", (*internet, *build.segments), tuple(hosts), tuple(routers))


def _knowing_host(host: Host, back: tuple[Route, ...]) -> Host:
    public = any(interface.segment == "internet" for interface in host.interfaces)
    return replace(host, routes=(*host.routes, *back)) if public else host


def _knowing(router: Router, back4: tuple[Route, ...], back6: tuple[Route, ...]) -> Router:
    routes = {"internet": back4, "internet6": back6}.get(router.outside.segment, ())
    return replace(router, routes=tuple(route for route in routes if route.via != router.outside.ip))


def nat(box: Box) -> Nat:
    return Nat(
        behaviour(box.mapping),
        behaviour(box.filtering),
        port_preservation=box.keeps_ports,
        filter_by="endpoint" if box.by_endpoint else "mapping",
    )


def behaviour(short: str) -> Behaviour:
    return FULL.get(short, Behaviour.ADDRESS_AND_PORT_DEPENDENT)


def _firewall(place: Place) -> Firewall:
    match place.closed:
        case "udp":
            return Firewall(block_udp=True)
        case "web":
            return Firewall(block_udp=True, tcp_ports=(WEB_PORT,))
        case _:
            return Firewall()
