"""The twelve networks of the grid, and the topology of any two of them.

    192.168.1.0/24 ── alice-nat ──┬── 198.51.100.0/24 ──┬── bob-nat ── 10.0.0.0/24
                                  └──── edge (relay) ───┘

A network is what stands between one caller and the internet. Each side builds it from addresses of its own, so a
network also meets itself. The relay answers UDP and TCP at 3478 and TLS at 443, which is what a firewall that
lets only the web out lets through; it speaks IPv6 where one of the two networks does. Most behaviours are those
of Linux, so that the same topologies stand on kernels.

A network that only lets an HTTP proxy out is not among them: no agent here speaks CONNECT, so it would be a dark
row that says nothing about traversal. Double NAT and the VPN that swallows packets are there instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from iceway.core.errors import UsageError
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

EI, AD, APD = Behaviour
ENDS = ("alice", "bob")
EDGE = "edge"
RELAY_IP, RELAY_IP6 = "198.51.100.2", "2001:db8::2"
RELAY_PORT, WEB_PORT = 3478, 443

_INTERNET = Link(delay=0.020)
_LAN = Link(delay=0.0005)
_CARRIER = Link(delay=0.004)


@dataclass(frozen=True, slots=True)
class Side:
    """The addresses one side builds its network from."""

    name: str
    lan: str
    carrier: str
    vpn: str
    lan6: str
    outer: str
    outer6: str
    public: str

    def own(self, kind: str) -> str:
        """The name of a box or segment of this side: `alice-nat`."""
        return f"{self.name}-{kind}"


_SIDES = (
    Side("alice", "192.168.1", "100.64.0", "10.8.0", "2001:db8:a", "198.51.100.77", "2001:db8::a", "198.51.100.20"),
    Side("bob", "10.0.0", "100.64.1", "10.9.0", "2001:db8:b", "198.51.100.1", "2001:db8::b", "198.51.100.21"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Premises:
    """What one side contributes to a topology. `routes6` are subnets that the IPv6 internet finds at `via`."""

    segments: tuple[Segment, ...] = ()
    hosts: tuple[Host, ...] = ()
    routers: tuple[Router, ...] = ()
    routes6: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """One row and one column of the grid. `title` and `note` fit an axis, `summary` is a sentence's worth."""

    name: str
    title: str
    note: str
    summary: str
    build: Callable[[Side], Premises]


# --- how they are built ---------------------------------------------------------------------------------
def _public(side: Side) -> Premises:
    return Premises(hosts=(Host(side.name, (Interface("internet", side.public),)),))


def _behind(nat: Nat, firewall: Firewall | None = None) -> Callable[[Side], Premises]:
    """A LAN behind one box."""

    def build(side: Side) -> Premises:
        return Premises(
            segments=(_lan(side),),
            hosts=(Host(side.name, (_lan_interface(side),), gateway=f"{side.lan}.1"),),
            routers=(_home_router(side, nat, firewall),),
        )

    return build


def _carrier(side: Side) -> Premises:
    """A home NAT whose outside is the inside of the carrier's (RFC 6598)."""
    inner = Router(
        side.own("nat"),
        (Interface(side.own("lan"), f"{side.lan}.1"),),
        Interface(side.own("carrier"), f"{side.carrier}.2"),
        gateway=f"{side.carrier}.1",
        nat=_port_restricted(),
    )
    outer = Router(
        side.own("cgn"),
        (Interface(side.own("carrier"), f"{side.carrier}.1"),),
        Interface("internet", side.outer),
        nat=_port_restricted(),
    )
    return Premises(
        segments=(_lan(side), Segment(side.own("carrier"), f"{side.carrier}.0/24", _CARRIER)),
        hosts=(Host(side.name, (_lan_interface(side),), gateway=f"{side.lan}.1"),),
        routers=(inner, outer),
    )


def _vpn(side: Side) -> Premises:
    """A second interface, and the better one by its metric, whose gateway takes packets and forwards none."""
    tunnel = side.own("vpn")
    host = Host(
        side.name,
        (Interface(tunnel, f"{side.vpn}.20"), _lan_interface(side)),
        gateway=f"{side.lan}.1",
        routes=(Route("0.0.0.0/0", f"{side.vpn}.1", source=f"{side.vpn}.20"),),
    )
    return Premises(
        segments=(_lan(side), Segment(tunnel, f"{side.vpn}.0/24", _LAN)),
        hosts=(host, Host(side.own("vpn-gateway"), (Interface(tunnel, f"{side.vpn}.1"),))),
        routers=(_home_router(side, _port_restricted()),),
    )


def _ipv6(side: Side) -> Premises:
    segment, router, back = _ipv6_side(side)
    host = Host(side.name, (Interface(segment.name, f"{side.lan6}::20"),), gateway=f"{side.lan6}::1")
    return Premises((segment,), (host,), (router,), (back,))


def _dual(side: Side) -> Premises:
    segment, router, back = _ipv6_side(side)
    host = Host(
        side.name,
        (Interface(segment.name, f"{side.lan6}::20"), _lan_interface(side)),
        gateway=f"{side.lan}.1",
        routes=(Route("::/0", f"{side.lan6}::1"),),
    )
    return Premises(
        segments=(_lan(side), segment),
        hosts=(host,),
        routers=(_home_router(side, _port_restricted()), router),
        routes6=(back,),
    )


def _lan(side: Side) -> Segment:
    return Segment(side.own("lan"), f"{side.lan}.0/24", _LAN)


def _lan_interface(side: Side) -> Interface:
    return Interface(side.own("lan"), f"{side.lan}.20")


def _home_router(side: Side, nat: Nat, firewall: Firewall | None = None) -> Router:
    return Router(
        side.own("nat"),
        (Interface(side.own("lan"), f"{side.lan}.1"),),
        Interface("internet", side.outer),
        nat=nat,
        firewall=firewall or Firewall(),
    )


def _ipv6_side(side: Side) -> tuple[Segment, Router, Route]:
    """An IPv6 LAN behind a router that lets in only what was asked for (RFC 6092), and the way back to it."""
    subnet = f"{side.lan6}::/64"
    router = Router(
        side.own("router6"),
        (Interface(side.own("lan6"), f"{side.lan6}::1"),),
        Interface("internet6", side.outer6),
        firewall=Firewall(filtering=APD),
    )
    return Segment(side.own("lan6"), subnet, _LAN), router, Route(subnet, side.outer6)


def _cone(filtering: Behaviour) -> Nat:
    return Nat(EI, filtering, inbound_refresh=True)


def _port_restricted() -> Nat:
    return _cone(APD)


def _symmetric(filtering: Behaviour) -> Nat:
    return Nat(APD, filtering, port_preservation=False, inbound_refresh=True)


NETWORKS: tuple[Network, ...] = (
    Network("open", "Public IPv4", "nothing in the way", "a public address, nothing in the way", _public),
    Network(
        "full-cone",
        "Full cone NAT",
        "lets anybody in",
        "endpoint-independent mapping and filtering",
        _behind(_cone(EI)),
    ),
    Network(
        "restricted",
        "Restricted cone NAT",
        "lets in addresses written to",
        "endpoint-independent mapping, address-dependent filtering",
        _behind(_cone(AD)),
    ),
    Network(
        "port-restricted",
        "Port-restricted NAT",
        "lets in ports written to",
        "endpoint-independent mapping, address-and-port-dependent filtering",
        _behind(_port_restricted()),
    ),
    Network(
        "double-nat",
        "Double NAT",
        "a second one at the carrier",
        "a port-restricted NAT at home behind another of the carrier",
        _carrier,
    ),
    Network(
        "vpn",
        "Dead VPN",
        "NAT, one interface swallows all",
        "a port-restricted NAT, and a VPN interface that swallows packets",
        _vpn,
    ),
    Network(
        "dual-stack",
        "Dual stack",
        "IPv4 NAT, IPv6 firewall",
        "IPv4 behind a port-restricted NAT, IPv6 behind a stateful firewall",
        _dual,
    ),
    Network("ipv6", "IPv6 only", "stateful firewall, no IPv4", "a stateful firewall, and no IPv4", _ipv6),
    Network(
        "symmetric-open",
        "Symmetric, open",
        "maps anew, lets anybody in",
        "address-and-port-dependent mapping, endpoint-independent filtering",
        _behind(_symmetric(EI)),
    ),
    Network(
        "symmetric",
        "Symmetric NAT",
        "maps anew, lets in ports written to",
        "address-and-port-dependent mapping and filtering",
        _behind(_symmetric(APD)),
    ),
    Network(
        "no-udp",
        "UDP blocked",
        "NAT, only TCP leaves",
        "a NAT whose firewall drops all UDP",
        _behind(_port_restricted(), Firewall(block_udp=True)),
    ),
    Network(
        "web-only",
        "Only TCP 443",
        "NAT, only the web's port leaves",
        "a NAT whose firewall drops all but connections to port 443",
        _behind(_port_restricted(), Firewall(block_udp=True, tcp_ports=(WEB_PORT,))),
    ),
)


def network(name: str) -> Network:
    """A network by its name."""
    for one in NETWORKS:
        if one.name == name:
            return one
    raise UsageError(f"the grid has no network {name!r}; it has {', '.join(one.name for one in NETWORKS)}")


def topology(left: str, right: str) -> Topology:
    """Alice in the network `left`, Bob in the network `right`, the relay on the internet between them."""
    ends = [network(name).build(side) for name, side in zip((left, right), _SIDES, strict=True)]
    v6 = any(end.routes6 for end in ends)
    internet = [Segment("internet", "198.51.100.0/24", _INTERNET)]
    feet = [Interface("internet", RELAY_IP)]
    if v6:
        internet.append(Segment("internet6", "2001:db8::/64", _INTERNET))
        feet.append(Interface("internet6", RELAY_IP6))
    back = tuple(route for end in ends for route in end.routes6)
    edge = Host(EDGE, tuple(feet), routes=back)
    return Topology(
        name=f"{left}-{right}",
        summary=f"Alice: {network(left).summary}. Bob: {network(right).summary}.",
        segments=(*internet, *(segment for end in ends for segment in end.segments)),
        hosts=(*(host for end in ends for host in end.hosts), edge),
        routers=tuple(_knowing(router, back) for end in ends for router in end.routers),
    )


def _knowing(router: Router, back: tuple[Route, ...]) -> Router:
    """The router with the ways to the IPv6 networks that are not its own."""
    if router.outside.segment != "internet6":
        return router
    others = tuple(route for route in back if route.via != router.outside.ip)
    return Router(
        router.name, router.inside, router.outside, router.gateway, router.nat, router.firewall, others
    )
