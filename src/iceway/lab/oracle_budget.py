"""What a call on its expected path looks like: the candidate types of both ends, and how long it may take.

Like the oracle, from the topology alone. Types follow from who translates, and from the preferences of RFC 8445
§5.1.2.2. Time is what pacing allows: every pair that ranks as high or higher may cost one interval Ta (§14.2), as the
agents agreed on it, then a check and its answer take one round trip of the path. Where the first check can die at a
filter that only the peer's own check opens, that check must come first, which takes half a round trip, and wait for
its answer in the queue.

A pair is nominated when no better one can be expected any more. Where both ends can send datagrams to the other's
outside and are heard by a relay alone, one of those may still have to be repeated, for which the agent has bounds of
its own; they are given, not known. Elsewhere a better pair would have answered within a round trip.
"""

from __future__ import annotations

from dataclasses import dataclass

from iceway.lab.oracle import (
    FAMILIES,
    Access,
    Path,
    accesses,
    expected_path,
    gateway_of,
    interfaces,
    rank,
    way_out,
)
from iceway.lab.topology import Behaviour, Host, Router, Topology

SLACK = 0.05  # hosts may be busy
RELAYED_FAMILY = 4  # of addresses that every relay lends; IPv6 ones come on top, and decide nothing here
_TRANSPORTS = (Path.RELAY_UDP, Path.RELAY_TCP, Path.RELAY_TLS)


@dataclass(frozen=True, slots=True)
class Expectation:
    """`types` are those of (left, right), every outcome that the preferences allow. `round_trip` is that of the
    path, in seconds; budgets count such round trips, from when both ends have each other's description."""

    path: Path
    types: frozenset[tuple[str, str]] = frozenset()
    round_trip: float | None = None
    to_connect: float | None = None
    to_select: float | None = None


def expect(
    topology: Topology,
    left: str,
    right: str,
    edge: str,
    *,
    relay_port: int,
    tls_port: int | None,
    ta: float,
    patience: float,
    longest_wait: float,
) -> Expectation:
    """Everything about the call. `ta` is the interval that both agents propose; `patience` and `longest_wait` are
    the agent's: how long a pair that works waits for each better one, and for all of them."""
    path = expected_path(topology, left, right, edge, relay_port, tls_port)
    if path is Path.NONE:
        return Expectation(path)
    hosts, relay = (topology.host(left), topology.host(right)), topology.host(edge)
    ends = [_End(topology, host, relay, relay_port, tls_port) for host in hosts]
    round_trip = 2 * (
        _across(topology, *hosts) if rank(path) < rank(Path.RELAY_UDP) else sum(e.delay for e in ends)
    )
    pairs = max(_pairs(ends[0], ends[1], path), _pairs(ends[1], ends[0], path))
    dependent = [end for end in ends if end.mapping_depends]
    # A port that only this peer sees is learnt from a check, which is one more pair to try.
    connect = ta * (pairs - 1 + len(dependent)) + round_trip
    if path is not Path.HOST or any(end.filters for end in ends):
        connect += round_trip / 2 + ta
    wait = round_trip + SLACK
    if rank(path) >= rank(Path.RELAY_UDP) and _could_meet(*ends):
        wait = max(wait, patience)
    wait = min(longest_wait, wait + ta * (pairs + len(dependent)))
    return Expectation(
        path,
        _types(ends[0], ends[1], path),
        round_trip,
        connect / round_trip,
        (connect + wait + 2 * round_trip) / round_trip,
    )


class _End:
    """One end, as far as candidates follow from where it stands."""

    def __init__(
        self, topology: Topology, host: Host, relay: Host, relay_port: int, tls_port: int | None
    ) -> None:
        self.access = accesses(topology, host, relay, relay_port, tls_port)
        self.hosts = {family: len(interfaces(host, family)) for family in FAMILIES}
        ways = {way for access in self.access.values() for way in _ways(access)}
        self.relays = [way for way in _TRANSPORTS if way in ways]
        families = [family for family in (RELAYED_FAMILY, *FAMILIES) if family in self.access]
        best = min(families, key=lambda family: rank(self.access[family].to_relay))
        self.delay = sum(
            topology.segment(name).link.delay
            for name in _crossed(topology, host, interfaces(relay, best)[0].segment, best)
        )

    @property
    def direct(self) -> str | None:
        """The type of its own address as a relay sees it; None if no datagram of its reaches one there."""
        access = self.access.get(RELAYED_FAMILY)
        return _type(access) if access is not None and access.udp else None

    @property
    def mapping_depends(self) -> bool:
        access = self.access.get(RELAYED_FAMILY)
        return access is not None and access.mapping is not Behaviour.ENDPOINT_INDEPENDENT

    @property
    def filters(self) -> bool:
        return any(access.filtering is not Behaviour.ENDPOINT_INDEPENDENT for access in self.access.values())

    def reflexive(self, family: int) -> int:
        access = self.access.get(family)
        return int(access is not None and access.translated and access.udp)


def _types(one: _End, two: _End, path: Path) -> frozenset[tuple[str, str]]:
    if path is Path.HOST:
        return frozenset({("host", "host")})
    if path is Path.REFLEXIVE:
        return frozenset(
            (_type(one.access[family]), _type(two.access[family]))
            for family in FAMILIES
            if family in one.access and family in two.access
        )
    # One relay is better than two; whose it is if both could do without, local preferences decide (§5.1.2.1).
    ways = set()
    if one.direct and path in two.relays:
        ways.add((one.direct, "relay"))
    if two.direct and path in one.relays:
        ways.add(("relay", two.direct))
    return frozenset(ways or {("relay", "relay")})


def _type(access: Access) -> str:
    if not access.translated:
        return "host"
    return "srflx" if access.mapping is Behaviour.ENDPOINT_INDEPENDENT else "prflx"


def _ways(access: Access) -> list[Path]:
    return [way for way, open in zip(_TRANSPORTS, (access.udp, access.tcp, access.tls), strict=True) if open]


def _pairs(mine: _End, theirs: _End, path: Path) -> int:
    """How many pairs of one end rank as high as a path of this class, or higher."""
    count = sum(mine.hosts[family] * theirs.hosts[family] for family in FAMILIES)
    if path is Path.HOST:
        return count
    count += sum(mine.hosts[family] * theirs.reflexive(family) for family in FAMILIES)
    if path is Path.REFLEXIVE:
        return count
    ours, others = ([way for way in end.relays if rank(way) <= rank(path)] for end in (mine, theirs))
    family = RELAYED_FAMILY
    count += mine.hosts[family] * len(others)
    count += len(ours) * (theirs.hosts[family] + theirs.reflexive(family))
    both_relayed = not (mine.direct and theirs.relays) and not (theirs.direct and mine.relays)
    return count + (len(ours) * len(others) if both_relayed or path is not Path.RELAY_UDP else 0)


def _could_meet(one: _End, two: _End) -> bool:
    """Whether there is a family in which datagrams of both leave their networks."""
    return any(
        family in one.access and family in two.access and one.access[family].udp and two.access[family].udp
        for family in FAMILIES
    )


def _across(topology: Topology, one: Host, two: Host) -> float:
    """Seconds from one host to the other past all boxes, by the family in which they meet soonest."""
    times = []
    for family in FAMILIES:
        ways = [_crossed(topology, host, None, family) for host in (one, two)]
        shared = next((name for name in ways[0] if name in ways[1]), None)
        if shared is not None:
            crossed = {name for way in ways for name in way[: way.index(shared) + 1]}
            times.append(sum(topology.segment(name).link.delay for name in crossed))
    return times[0]


def _crossed(topology: Topology, host: Host, until: str | None, family: int) -> list[str]:
    """The segments from a host outwards."""
    own = interfaces(host, family)
    if not own:
        return []
    routers = way_out(topology, host, until, family)
    gateway = gateway_of(host, family)
    near = {i.segment for box in routers[:1] for i in box.inside if i.ip == gateway}
    if near & {i.segment for i in own}:
        first = next(i.segment for i in own if i.segment in near)
    else:
        first = max((i.segment for i in own), key=lambda name: _crowd(topology, name))
    return [first, *(router.outside.segment for router in routers)]


def _crowd(topology: Topology, segment: str) -> int:
    """How many stand on a segment: a host without gateway is on the internet, whatever else it is on."""
    nodes: tuple[Host | Router, ...] = (*topology.hosts, *topology.routers)
    return sum(interface.segment == segment for node in nodes for interface in node.interfaces)
