"""The rows of the comparison: a network, the servers that are told of, and the least that ICE can take there.

The least counts from "gather" on both sides, with signalling that takes no time, in round trips to the server and
round trips of the path. It knows nothing of pacing: the pairs that lead nowhere cost Ta each before the one
that works has its turn, and of how long a computer takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from iceway.lab.grid.networks import topology
from iceway.lab.topology import Behaviour, Firewall, Link, Topology
from tests.interop.peers.networks import STUN, TURN

INTERNET = 0.020
LAN = 0.0005
DEAD_SERVER = {**TURN, "ip": "203.0.113.9"}
"""Packets to there vanish."""


@dataclass(frozen=True)
class Row:
    """`server_trip` and `path_trip` are round trips in seconds; `gathering` counts those to the server that pass
    before the candidate is known that the path needs."""

    name: str
    summary: str
    topology: Topology
    servers: tuple[dict[str, Any], ...]
    server_trip: float
    path_trip: float
    gathering: int

    @property
    def connect_bound(self) -> float:
        """Until both have received data: a check and its answer, then data one way."""
        return self.gathering * self.server_trip + 1.5 * self.path_trip

    @property
    def select_bound(self) -> float:
        """Until both have selected: a check and its answer, then the nominating one and its answer."""
        return self.gathering * self.server_trip + 2 * self.path_trip


def _between(network: str, **link: float) -> Topology:
    """Two networks of a kind, with the internet between them as given."""
    whole = topology(network, network)
    for segment in whole.segments:
        if segment.name.startswith("internet"):
            whole = whole.with_link(segment.name, replace(Link(delay=INTERNET), **link))
    return whole


def _without_ipv6() -> Topology:
    """Both have addresses of both families; what they send over IPv6 vanishes on the way."""
    whole = _between("dual-stack")
    swallowing = Firewall(block_udp=True, filtering=Behaviour.ADDRESS_AND_PORT_DEPENDENT)
    for host in ("alice", "bob"):
        whole = whole.with_router(f"{host}-router6", firewall=swallowing)
    return whole


_TRIP = 2 * (LAN + INTERNET)
"""From a LAN to the internet and back."""
_PATH = 2 * (LAN + INTERNET + LAN)
"""From one LAN to the other and back."""
_RELAYED = 2 * _TRIP
"""By way of a relay on the internet."""
_SLOW = 0.150 - 2 * LAN

ROWS = (
    Row("direct", "public addresses", _between("open"), (), 2 * INTERNET, 2 * INTERNET, 0),
    Row(
        "direct, with servers",
        "public addresses; STUN and TURN are listed",
        _between("open"),
        (STUN, TURN),
        2 * INTERNET,
        2 * INTERNET,
        0,
    ),
    Row(
        "reflexive",
        "port-restricted NATs; STUN",
        _between("port-restricted"),
        (STUN,),
        _TRIP,
        _PATH,
        1,
    ),
    Row("relayed", "symmetric NATs; TURN", _between("symmetric"), (TURN,), _TRIP, _RELAYED, 2),
    Row(
        "IPv6 dead",
        "dual stack, IPv6 swallows packets, IPv4 behind port-restricted NATs; STUN",
        _without_ipv6(),
        (STUN,),
        _TRIP,
        _PATH,
        1,
    ),
    Row(
        "TURN server dead",
        "port-restricted NATs; a TURN server that does not answer, one that does, and STUN",
        _between("port-restricted"),
        (DEAD_SERVER, TURN, STUN),
        _TRIP,
        _PATH,
        1,
    ),
    Row(
        "300 ms",
        "port-restricted NATs, 300 ms round trip; STUN",
        _between("port-restricted", delay=_SLOW),
        (STUN,),
        2 * (LAN + _SLOW),
        2 * (LAN + _SLOW + LAN),
        1,
    ),
    Row(
        "5 % loss",
        "port-restricted NATs, every twentieth packet is lost; STUN",
        _between("port-restricted", loss=0.05),
        (STUN,),
        _TRIP,
        _PATH,
        1,
    ),
)
