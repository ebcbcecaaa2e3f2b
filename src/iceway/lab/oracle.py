"""Which path a call must take, from the behaviours of the boxes alone.

The oracle shares no code with the simulator and knows neither packets nor time. It asks in the order of
preference: can both meet without translation; can holes be punched; over which transport does each reach
the relay. Only hole punching needs thought, and there the question is finite: an endpoint has one outside
port for each class of destinations that its mapping tells apart, and a filter opens for each class of
sources that it tells apart. So the set of ports that exist and of filters that are open only grows, and its
fixed point says whether some check can be answered.

IPv4 and IPv6 are two networks that share hosts: every question is asked of each, and the better answer counts.
`oracle_budget` goes on from here to candidate types and times.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from iceway.lab.topology import Behaviour, Host, Interface, Nat, Router, Topology

FAMILIES = (6, 4)


class Path(StrEnum):
    """How media ends up travelling, best first."""

    HOST = "host"
    REFLEXIVE = "reflexive"
    RELAY_UDP = "relay-udp"
    RELAY_TCP = "relay-tcp"
    RELAY_TLS = "relay-tls"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Access:
    """What stands between a host and the internet, all boxes on the way taken together."""

    mapping: Behaviour = Behaviour.ENDPOINT_INDEPENDENT
    filtering: Behaviour = Behaviour.ENDPOINT_INDEPENDENT
    udp: bool = True
    tcp: bool = True
    tls: bool = False
    translated: bool = False
    filters_by_endpoint: bool = False

    @property
    def to_relay(self) -> Path:
        """The best way to the relay."""
        ways = ((self.udp, Path.RELAY_UDP), (self.tcp, Path.RELAY_TCP), (self.tls, Path.RELAY_TLS))
        return next((path for open, path in ways if open), Path.NONE)


def expected_path(
    topology: Topology,
    left: str,
    right: str,
    edge: str,
    relay_port: int = 3478,
    tls_port: int | None = None,
    *,
    alive: bool = True,
) -> Path:
    """The path of a call between two hosts with a relay at `edge`, listening at one port for UDP and TCP, and
    for TLS if a port for it is given. `alive`: the relay answers; else nobody learns a reflexive address from it."""
    one, two = topology.host(left), topology.host(right)
    if any(_meet(topology, one, two, family) for family in FAMILIES):
        return Path.HOST
    ends = [accesses(topology, host, topology.host(edge), relay_port, tls_port) for host in (one, two)]
    for family in FAMILIES:
        both = [end[family] for end in ends if family in end]
        if (
            len(both) == 2
            and all(access.udp for access in both)
            and punches(*both, told=alive)
            and not _behind_one(topology, one, two, family)
        ):
            return Path.REFLEXIVE
    if not alive:
        return Path.NONE
    ways = [min((access.to_relay for access in end.values()), key=rank, default=Path.NONE) for end in ends]
    return max(ways, key=rank)


def rank(path: Path) -> int:
    """From 0, the best."""
    return list(Path).index(path)


# --- hole punching --------------------------------------------------------------------------------------
class _Port(NamedTuple):
    """An outside port: whose, and for which class of destinations (see `_class`).

    Two NATs that map by port can answer every new port with another new port for ever. `depth` counts that,
    and what is deeper than `_DEEP` is not followed: it repeats what was tried with the ports before.
    """

    owner: int
    destinations: object
    depth: int


_RELAY = _Port(-1, "relay", 0)
_DEEP = 4


def punches(left: Access, right: Access, *, told: bool = True) -> bool:
    """Whether two endpoints that know each other's reflexive address at a relay can come to talk. If no relay `told`
    them, only who is not translated has an address that the other knows.

    Both send checks to every port of the other that they know of: the one the relay saw, and those that
    checks came from. Success is a check that arrives and whose answer comes back from where it was sent.
    """
    sides = (left, right)
    open = [told or not side.translated for side in sides]
    known = [{_port(1 - me, sides[1 - me], _RELAY)} if open[1 - me] else set() for me in (0, 1)]
    sent = [{_RELAY} if open[me] else set() for me in (0, 1)]
    while True:
        before = [len(ports) for ports in (*known, *sent)]
        for me in (0, 1):
            other = 1 - me
            for target in list(known[me]):
                sent[me].add(target)
                source = _port(me, sides[me], target)
                if not _lets_in(sides[other], sent[other], target, source):
                    continue
                if source.depth <= _DEEP:
                    known[other].add(source)
                sent[other].add(source)  # the answer, which opens the filter as any packet does
                answer_from = _port(other, sides[other], source)
                if answer_from == target and _lets_in(sides[me], sent[me], source, answer_from):
                    return True
        if before == [len(ports) for ports in (*known, *sent)]:
            return False


def _port(owner: int, access: Access, destination: _Port) -> _Port:
    destinations = _class(access.mapping, destination)
    depth = destination.depth + 1 if destinations is destination else 1
    return _Port(owner, destinations, depth)


def _class(behaviour: Behaviour, remote: _Port) -> object:
    """As much of a remote port as a behaviour tells apart. Each side has one outside address."""
    match behaviour:
        case Behaviour.ENDPOINT_INDEPENDENT:
            return "any"
        case Behaviour.ADDRESS_DEPENDENT:
            return remote.owner
        case _:
            return remote


def _lets_in(access: Access, sent: set[_Port], arrives_at: _Port, source: _Port) -> bool:
    """Whether a side that sent to `sent` hears from `source` at its outside port `arrives_at`."""
    if access.filtering is Behaviour.ENDPOINT_INDEPENDENT:
        return any(_class(access.mapping, remote) == arrives_at.destinations for remote in sent)
    return any(
        _class(access.filtering, remote) == _class(access.filtering, source)
        and (access.filters_by_endpoint or _class(access.mapping, remote) == arrives_at.destinations)
        for remote in sent
    )


# --- what stands between --------------------------------------------------------------------------------
def accesses(
    topology: Topology, host: Host, relay: Host, relay_port: int, tls_port: int | None
) -> dict[int, Access]:
    """By address family, what stands between a host and the relay; families that one of them lacks are left out."""
    return {
        family: _access(topology, host, relay, relay_port, tls_port, family)
        for family in FAMILIES
        if interfaces(host, family) and interfaces(relay, family)
    }


def _access(
    topology: Topology, host: Host, relay: Host, relay_port: int, tls_port: int | None, family: int
) -> Access:
    access = Access(tls=tls_port is not None, filters_by_endpoint=True)
    for router in way_out(topology, host, interfaces(relay, family)[0].segment, family):
        nat, firewall = router.nat, router.firewall
        filtering = nat.filtering if nat else firewall.filtering or Behaviour.ENDPOINT_INDEPENDENT
        access = Access(
            mapping=_stricter(access.mapping, nat.mapping) if nat else access.mapping,
            filtering=_stricter(access.filtering, filtering),
            udp=access.udp and not firewall.block_udp,
            tcp=access.tcp and (firewall.tcp_ports is None or relay_port in firewall.tcp_ports),
            tls=access.tls and (firewall.tcp_ports is None or tls_port in firewall.tcp_ports),
            translated=access.translated or nat is not None,
            filters_by_endpoint=access.filters_by_endpoint and (nat is None or _opens_for_all(nat, access)),
        )
    return access


def _opens_for_all(nat: Nat, inside: Access) -> bool:
    """Whether what one mapping of an endpoint sent opens the filters of all its mappings. What the NAT takes for an
    endpoint is a mapping of the boxes inside of it."""
    one_mapping = nat.mapping is Behaviour.ENDPOINT_INDEPENDENT
    known_as_one = inside.mapping is Behaviour.ENDPOINT_INDEPENDENT
    open = nat.filtering is Behaviour.ENDPOINT_INDEPENDENT
    return open or (known_as_one and (one_mapping or nat.filter_by == "endpoint"))


def interfaces(host: Host, family: int) -> list[Interface]:
    return [interface for interface in host.interfaces if _family(interface.ip) == family]


def gateway_of(host: Host, family: int) -> str | None:
    """Where a host sends what is not for its own subnets, of one family."""
    if host.gateway is not None and _family(host.gateway) == family:
        return host.gateway
    defaults = ("0.0.0.0/0", "::/0")
    ways = [
        r.via for r in host.routes if r.subnet in defaults and r.source is None and _family(r.via) == family
    ]
    return ways[0] if ways else None


def way_out(topology: Topology, host: Host, until: str | None, family: int) -> list[Router]:
    """The routers from a host outwards, as far as the segment `until` (None: to the top)."""
    segments = {interface.segment for interface in interfaces(host, family)}
    gateway, routers = gateway_of(host, family), []
    while until not in segments and gateway is not None:
        router = next(
            (b for b in topology.routers if any(i.ip == gateway and i.segment in segments for i in b.inside)),
            None,
        )
        if router is None or router in routers:
            break
        routers.append(router)
        segments, gateway = {router.outside.segment}, router.gateway
    return routers


def _meet(topology: Topology, one: Host, two: Host, family: int) -> bool:
    """Whether the hosts' own addresses work between them: one segment, or routers that do not translate.

    A filter in the way of a plain router is opened by the checks themselves, as nobody's address changes.
    """
    feet = [{interface.segment for interface in interfaces(host, family)} for host in (one, two)]
    if not all(feet):
        return False
    if feet[0] & feet[1]:
        return True
    ways = [way_out(topology, host, None, family) for host in (one, two)]
    shared = {router.name for router in ways[0]} & {router.name for router in ways[1]}
    between = [router for way in ways for router in way if router.name not in shared]
    return bool(shared or between) and not any(router.nat or router.firewall.block_udp for router in between)


def _behind_one(topology: Topology, one: Host, two: Host, family: int) -> bool:
    """Whether their reflexive addresses are of one NAT that does not hairpin."""
    ways = [way_out(topology, host, None, family) for host in (one, two)]
    shared = [router for router in ways[0] if router in ways[1] and router.nat]
    return bool(shared) and not any(router.nat and router.nat.hairpin for router in shared[:1])


def _family(ip: str) -> int:
    return 6 if ":" in ip else 4


def _stricter(one: Behaviour, two: Behaviour) -> Behaviour:
    order = list(Behaviour)
    return max(one, two, key=order.index)
