"""The network as a drawing: nodes in areas, links between them, and the way a packet takes through them.

A `Picture` is a plain value. It comes from a lab topology (`from_topology`), from a trace alone (`from_entries`), or
from whoever knows better. Segments are nodes too (kind "segment"): packets pass them, people see a dot. Packets
pass segments, NATs and routers only; a server with a foot in two networks is no way through.

`along` runs from the caller's side to the callee's, `across` from top to bottom, both 0 to 1; a page may turn the
drawing for a narrow screen.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from iceway.explain.addresses import is_private
from iceway.explain.cast import Cast
from iceway.lab.topology import Topology
from iceway.trace.entry import Entry
from iceway.trace.records import CandidateGathered, PacketTranslated

_PASSABLE = ("segment", "nat", "router", "firewall")
_LABELS = {"internet": "Internet", "hq": "Headquarters", "home": "Home", "lan": "LAN"}


@dataclass(frozen=True, slots=True)
class PictureNode:
    """`kind`: client, edge, frontend, nat, router, firewall, nameserver, segment, host. `area` is the area's name."""

    name: str
    kind: str
    area: str = ""
    ips: tuple[str, ...] = ()
    along: float | None = None
    across: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PictureLink:
    """`ip` is the address that `node` holds on the segment `to`."""

    node: str
    to: str
    ip: str = ""


@dataclass(frozen=True, slots=True)
class PictureArea:
    """A network with a border. `begin` and `end` are its span along the drawing, once arranged."""

    name: str
    label: str
    begin: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True)
class Picture:
    nodes: tuple[PictureNode, ...]
    links: tuple[PictureLink, ...]
    areas: tuple[PictureArea, ...]

    def node(self, name: str) -> PictureNode | None:
        return next((node for node in self.nodes if node.name == name), None)

    def route(self, start: str, end: str, start_ip: str = "", end_ip: str = "") -> list[str]:
        """Node names from start to end; addresses say which foot of a server with two networks is meant."""
        if start == end or self.node(start) is None or self.node(end) is None:
            return [start, end]
        first = self._feet(start, start_ip)
        last = self._feet(end, end_ip)
        kinds = {node.name: node.kind for node in self.nodes}
        neighbours = self._neighbours()
        came_from: dict[str, str] = dict.fromkeys(first, start)
        queue = deque(first)
        while queue:
            here = queue.popleft()
            if here in last:
                way = [end] if here != end else []
                while here != start:
                    way.append(here)
                    here = came_from[here]
                return [start, *reversed(way)]
            if kinds.get(here) not in _PASSABLE:
                continue
            for there in neighbours.get(here, ()):
                if (
                    there not in came_from
                    and there != start
                    and (kinds.get(there) in _PASSABLE or there == end)
                ):
                    came_from[there] = here
                    queue.append(there)
        return [start, end]

    def _feet(self, name: str, ip: str) -> list[str]:
        mine = [link for link in self.links if link.node == name]
        exact = [link.to for link in mine if ip and link.ip == ip]
        return exact or [link.to for link in mine] or [link.node for link in self.links if link.to == name]

    def _neighbours(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for link in self.links:
            found.setdefault(link.node, []).append(link.to)
            found.setdefault(link.to, []).append(link.node)
        return found


def from_topology(topology: Topology, roles: dict[str, str] | None = None) -> Picture:
    """The picture of a lab topology. `roles` (node → client, edge, frontend …) may come from a trace's cast."""
    roles = roles or {}
    nodes = [PictureNode(segment.name, "segment", segment.name) for segment in topology.segments]
    links = []
    for host in topology.hosts:
        kind = _host_kind(host.name, roles)
        ips = tuple(interface.ip for interface in host.interfaces)
        nodes.append(PictureNode(host.name, kind, host.interfaces[0].segment, ips))
        links += [PictureLink(host.name, interface.segment, interface.ip) for interface in host.interfaces]
    for router in topology.routers:
        kind = "nat" if router.nat else "router"
        note = ""
        if router.nat:
            note = {"endpoint-independent": "same port for all"}.get(
                str(router.nat.mapping), "new port for each"
            )
        if router.firewall.block_udp:
            note = "drops all UDP"
        inside = tuple(interface.ip for interface in router.inside)
        nodes.append(PictureNode(router.name, kind, "", (*inside, router.outside.ip), note=note))
        links += [PictureLink(router.name, interface.segment, interface.ip) for interface in router.inside]
        links.append(PictureLink(router.name, router.outside.segment, router.outside.ip))
    areas = tuple(PictureArea(s.name, f"{_label(s.name)}", 0, 1) for s in topology.segments)
    return arrange(Picture(tuple(nodes), tuple(links), areas), roles)


def from_entries(entries: Sequence[Entry], cast: Cast | None = None) -> Picture:
    """A picture guessed from addresses: private networks left and right, a NAT in front of each, the internet between."""
    cast = cast or Cast(entries)
    nodes: dict[str, PictureNode] = {"internet": PictureNode("internet", "segment", "internet")}
    links: list[PictureLink] = []
    areas: dict[str, PictureArea] = {}
    ips: dict[str, list[str]] = {}
    for ip, name in cast.ips():
        ips.setdefault(name, []).append(ip)
    gates = _gates(entries, ips)
    for name in cast.nodes:
        role = cast.roles[name]
        if role == "nat" or (not role and name not in ips):
            continue
        held = ips.get(name, [])
        segments = {_segment(ip) for ip in held} or {"internet"}
        home = next((s for s in segments if s != "internet"), "internet") if role != "edge" else "internet"
        nodes[name] = PictureNode(name, _host_kind(name, cast.roles), home, tuple(held))
        for ip in held or [""]:
            segment = _segment(ip) if ip else "internet"
            links.append(PictureLink(name, segment, ip))
            if segment not in nodes:
                nodes[segment] = PictureNode(segment, "segment", segment)
                areas[segment] = PictureArea(segment, segment)
                gate = gates.get(segment, f"NAT of {segment}")
                nodes[gate] = PictureNode(gate, "nat", "", tuple(ips.get(gate, ())))
                links += [PictureLink(gate, segment), PictureLink(gate, "internet")]
    areas["internet"] = PictureArea("internet", "Internet")
    return arrange(Picture(tuple(nodes.values()), tuple(links), tuple(areas.values())), cast.roles)


def arrange(picture: Picture, roles: dict[str, str] | None = None) -> Picture:
    """Give every node its place: areas side by side, the internet in the middle, NATs on the borders."""
    roles = roles or {}
    picture = _without_empty_areas(picture)
    order = _areas_in_order(picture, roles)
    weights = [1.25 if area.name == "internet" else 1.0 for area in order]
    gap = 0.085
    room = 1.0 - gap * (len(order) - 1)
    spans: dict[str, tuple[float, float]] = {}
    begin = 0.0
    for area, weight in zip(order, weights, strict=True):
        width = room * weight / sum(weights)
        spans[area.name] = (begin, begin + width)
        begin += width + gap
    places: dict[str, tuple[float, float]] = {}
    for position, area in enumerate(order):
        places.update(_place_area(picture, area.name, spans[area.name], position, len(order), roles))
    places.update(_place_gates(picture, order, spans))
    nodes = tuple(
        node
        if node.along is not None
        else replace(node, along=places[node.name][0], across=places[node.name][1])
        for node in picture.nodes
    )
    areas = tuple(replace(area, begin=spans[area.name][0], end=spans[area.name][1]) for area in order)
    return Picture(nodes, picture.links, areas)


def _without_empty_areas(picture: Picture) -> Picture:
    """Networks where nobody lives, and the NATs that lead only there, are left out."""
    living = {node.area for node in picture.nodes if node.kind not in _PASSABLE}
    kept_areas = tuple(area for area in picture.areas if area.name in living)
    names = {area.name for area in kept_areas}
    dead = {node.name for node in picture.nodes if node.kind == "segment" and node.name not in names}
    for node in picture.nodes:
        if node.kind in _PASSABLE and node.kind != "segment":
            feet = {link.to for link in picture.links if link.node == node.name}
            if len(feet - dead) < 2:
                dead.add(node.name)
    return Picture(
        tuple(node for node in picture.nodes if node.name not in dead),
        tuple(link for link in picture.links if not {link.node, link.to} & dead),
        kept_areas,
    )


def _areas_in_order(picture: Picture, roles: dict[str, str]) -> list[PictureArea]:
    def side(area: PictureArea) -> float:
        if area.name == "internet":
            return 0.0
        held = [node.name for node in picture.nodes if node.area == area.name]
        if any(roles.get(name) == "callee" or name == "bob" for name in held):
            return 2.0
        return -1.0 if any(roles.get(name) == "caller" or name == "alice" for name in held) else 1.0

    return sorted(picture.areas, key=side)


def _place_area(
    picture: Picture, area: str, span: tuple[float, float], position: int, count: int, roles: dict[str, str]
) -> dict[str, tuple[float, float]]:
    begin, end = span
    width = end - begin
    hosts = [node for node in picture.nodes if node.area == area and node.kind != "segment"]
    hosts.sort(key=lambda node: _top_down(node, roles))
    places: dict[str, tuple[float, float]] = {}
    if 0 < position < count - 1 or count == 1:  # in the middle: hub in the centre, hosts above and below
        places[area] = (begin + width / 2, 0.42)
        below = [node for node in hosts if node.kind != "nameserver"]
        above = [node for node in hosts if node.kind == "nameserver"]
        for row, group in ((0.14, above), (0.79, below)):
            for place, node in enumerate(group):
                places[node.name] = (begin + width * (place + 1) / (len(group) + 1), row)
        return places
    hub, column = (0.86, 0.36) if position == 0 else (0.12, 0.66)
    if position == 0 and area == "internet":
        hub, column = 0.72, 0.32
    places[area] = (begin + width * hub, 0.42)
    rows = {1: [0.42], 2: [0.24, 0.74], 3: [0.16, 0.48, 0.82]}.get(len(hosts))
    for place, node in enumerate(hosts):
        across = rows[place] if rows else 0.1 + 0.8 * place / max(1, len(hosts) - 1)
        places[node.name] = (begin + width * column, across)
    return places


def _place_gates(
    picture: Picture, order: list[PictureArea], spans: dict[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    positions = {area.name: place for place, area in enumerate(order)}
    places: dict[str, tuple[float, float]] = {}
    taken: dict[float, int] = {}
    for node in picture.nodes:
        if node.kind not in _PASSABLE or node.kind == "segment":
            continue
        feet = sorted(
            positions[link.to] for link in picture.links if link.node == node.name and link.to in positions
        )
        if len(feet) < 2:
            continue
        left, right = order[feet[0]].name, order[feet[-1]].name
        along = (spans[left][1] + spans[right][0]) / 2
        if feet[-1] - feet[0] > 1:
            along = spans[right][0] - 0.0425
        places[node.name] = (along, 0.42 + 0.24 * taken.get(along, 0))
        taken[along] = taken.get(along, 0) + 1
    return places


def _top_down(node: PictureNode, roles: dict[str, str]) -> tuple[int, str]:
    role = roles.get(node.name, "")
    if role == "caller" or node.name == "alice":
        return 0, node.name
    ranks = {"client": 1, "nameserver": 4, "edge": 2, "frontend": 3}
    return (1 if role == "callee" else ranks.get(node.kind, 2)), node.name


def _host_kind(name: str, roles: dict[str, str]) -> str:
    role = roles.get(name, "")
    if role in ("caller", "callee", "client", "peer") or (not role and name in ("alice", "bob")):
        return "client"
    if role in ("edge", "frontend"):
        return role
    if role == "name server" or name in ("names", "dns", "nameserver"):
        return "nameserver"
    return name if name in ("edge", "frontend") else "host"


def _label(segment: str) -> str:
    return _LABELS.get(segment, segment[:1].upper() + segment[1:])


def _segment(ip: str) -> str:
    if not is_private(ip):
        return "internet"
    bits = 24 if ":" not in ip else 64
    return str(ipaddress.ip_network(f"{ip}/{bits}", strict=False))


def _gates(entries: Sequence[Entry], ips: dict[str, list[str]]) -> dict[str, str]:
    """Which NAT stands in front of which private network, as far as the trace shows."""
    found: dict[str, str] = {}
    for entry in entries:
        record = entry.record
        if isinstance(record, PacketTranslated) and record.outgoing and is_private(record.before.ip):
            found.setdefault(_segment(record.before.ip), record.nat)
    for entry in entries:
        record = entry.record
        if (
            isinstance(record, CandidateGathered)
            and record.candidate.type == "srflx"
            and record.candidate.related
        ):
            ip = record.candidate.address.ip
            found.setdefault(
                _segment(record.candidate.related.ip),
                next((n for n, h in ips.items() if ip in h), f"NAT {ip}"),
            )
    return found
