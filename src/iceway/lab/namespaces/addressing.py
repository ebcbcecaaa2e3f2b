"""What a node is told about its network, in the language of `ip -batch`: addresses, ways out, routing tables.

A node without a default route sends what is for nowhere to a neighbour that does not exist: there packets vanish, as
on the internet, instead of coming back as errors that close sockets. Each address family has its own way out.
"""

from __future__ import annotations

from ipaddress import ip_network

from iceway.lab.topology import Host, Interface, Router, Topology

FAMILIES = (4, 6)
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}
_SINK_MAC = "02:00:00:00:00:01"
_FIRST_TABLE = 100
"""Routing tables of sources that have routes of their own: one an interface."""


def family(ip: str) -> int:
    return 6 if ":" in ip else 4


def commands(node: Host | Router, topology: Topology) -> list[str]:
    """All that makes an unconfigured namespace this node. Interface n of the node is called eth<n>."""
    lines = ["link set lo up"]
    for index, interface in enumerate(node.interfaces):
        prefix = topology.segment(interface.segment).network.prefixlen
        # Nobody else has the address, so nobody is asked (RFC 4862 §5.4 would wait for a second).
        unasked = " nodad" if family(interface.ip) == 6 else ""
        lines += [f"link set eth{index} up", f"addr add {interface.ip}/{prefix} dev eth{index}{unasked}"]
    for number in FAMILIES:
        lines += _way_out(node, topology, number)
    lines += [f"route add {route.subnet} via {route.via}" for route in node.routes if route.source is None]
    for source in dict.fromkeys(route.source for route in node.routes if route.source is not None):
        table = _FIRST_TABLE + next(n for n, one in enumerate(node.interfaces) if one.ip == source)
        lines.append(f"rule add from {source} table {table}")
        lines += [
            f"route add {r.subnet} via {r.via} table {table}" for r in node.routes if r.source == source
        ]
    return lines


def _way_out(node: Host | Router, topology: Topology, number: int) -> list[str]:
    """The default route of one address family, unless a route of the node's own is it."""
    if node.gateway is not None and family(node.gateway) == number:
        return [f"route add {_DEFAULT[number]} via {node.gateway}"]
    if any(r.source is None and r.subnet == _DEFAULT[number] for r in node.routes):
        return []
    outer = _outer(node, number)
    if outer is None:
        return []
    device = f"eth{node.interfaces.index(outer)}"
    sink = ip_network(topology.segment(outer.segment).subnet)[-2]
    return [
        f"neigh add {sink} lladdr {_SINK_MAC} dev {device} nud permanent",
        f"route add {_DEFAULT[number]} via {sink} dev {device}",
    ]


def _outer(node: Host | Router, number: int) -> Interface | None:
    """Where the internet is: outside of a router, else the first interface of the family."""
    candidates = (node.outside,) if isinstance(node, Router) else node.interfaces
    return next((one for one in candidates if family(one.ip) == number), None)
