"""One case: two places on the internet, the weather between them, when who does what, and what goes wrong.

A case is plain values whose `repr` is an expression, so a failure can be pasted into a test. The first choice of each
strategy is the simplest, since that is where hypothesis shrinks to.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from iceway.core.address import Transport
from iceway.lab.topology import Link

FAIR = Link(delay=0.02)
BEHAVIOURS = ("EI", "AD", "APD")
"""Endpoint-independent, address-dependent, address-and-port-dependent (RFC 4787)."""


@dataclass(frozen=True)
class Box:
    """A NAT. `keeps_ports`: the outside port is the inside one where that is free."""

    mapping: str = "EI"
    filtering: str = "EI"
    keeps_ports: bool = False
    by_endpoint: bool = False


@dataclass(frozen=True)
class Place:
    """Where one end stands: behind `boxes` (none: on the internet), its own first.

    `v6` is a second network, behind a firewall with that filtering ("" lets all in), or None; `v4` may then be off.
    `closed` is what its firewalls drop: nothing, "udp", or "web": all but TCP to port 443. `vpn` is a first interface
    that leads nowhere, `legs` how many interfaces stand in the LAN's router.
    """

    boxes: tuple[Box, ...] = ()
    closed: str = ""
    v4: bool = True
    v6: str | None = None
    vpn: bool = False
    legs: int = 1

    @property
    def has_v4(self) -> bool:
        return self.v4 or self.v6 is None


@dataclass(frozen=True)
class Mishap:
    """What goes wrong `at` seconds after the beginning, or with `later` after both selected a pair.

    "relay-silent": nothing of the relay's host is heard any more; "relay-killed": its program dies, its kernel lives;
    "rebind-alice", "rebind-bob": the outermost NAT of that end forgets everything.
    """

    kind: str
    at: float = 0.0
    later: bool = False


@dataclass(frozen=True)
class Case:
    """`near` puts Bob into Alice's LAN ("lan"), behind her own router ("router"), or both behind one carrier's NAT
    ("carrier", "hairpin"). `overlap` gives both the same private addresses. Signalling takes up to `spread` seconds
    more for every single message, so that they overtake each other; Bob begins `skew` seconds after Alice. `servers`
    says over how many of UDP, TCP and TLS the relay is asked (all of them where a firewall is closed)."""

    seed: int = 1
    alice: Place = Place()
    bob: Place = Place()
    near: str = ""
    overlap: bool = False
    weather: Link = FAIR
    controlling: tuple[bool, bool] = (True, False)
    trickle: tuple[bool, bool] = (True, True)
    skew: float = 0.0
    spread: float = 0.0
    mishap: Mishap | None = None
    servers: int = 1

    @property
    def transports(self) -> tuple[Transport, ...]:
        closed = self.alice.closed or self.bob.closed
        return tuple(Transport)[: len(Transport) if closed else self.servers]


behaviours = st.sampled_from(BEHAVIOURS)
boxes = st.builds(
    Box,
    mapping=behaviours,
    filtering=behaviours,
    keeps_ports=st.booleans(),
    by_endpoint=st.booleans(),
)
places = st.builds(
    Place,
    boxes=st.lists(boxes, max_size=2).map(tuple),
    closed=st.sampled_from(["", "", "", "udp", "web"]),
    v4=st.sampled_from([True, True, True, False]),
    v6=st.sampled_from([None, None, "", *BEHAVIOURS]),
    vpn=st.sampled_from([False, False, False, True]),
    legs=st.sampled_from([1, 1, 2]),
)
weathers = st.builds(
    Link,
    delay=st.sampled_from([0.02, 0.001, 0.1, 0.25, 0.4]),
    jitter=st.sampled_from([0.0, 0.0, 0.02, 0.1]),
    loss=st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.1]),
    duplicate=st.sampled_from([0.0, 0.0, 0.1]),
    reorder=st.sampled_from([0.0, 0.0, 0.1]),
)
mishaps = st.builds(
    Mishap,
    kind=st.sampled_from(["relay-silent", "relay-killed", "rebind-alice", "rebind-bob"]),
    at=st.sampled_from([0.0, 0.05, 0.3, 1.0, 3.0]),
    later=st.booleans(),
)


def cases(mishap: st.SearchStrategy[Mishap | None] | None = None) -> st.SearchStrategy[Case]:
    """Cases of every kind; `mishap` says which mishaps (none, if it is not given)."""
    return st.builds(
        Case,
        seed=st.integers(1, 10**6),
        alice=places,
        bob=places,
        near=st.sampled_from(["", "", "", "", "lan", "router", "carrier", "hairpin"]),
        overlap=st.booleans(),
        weather=weathers,
        controlling=st.sampled_from(
            [(True, False), (True, False), (True, True), (False, False), (False, True)]
        ),
        trickle=st.tuples(st.booleans(), st.booleans()),
        skew=st.sampled_from([0.0, 0.0, 0.3, 2.0, 8.0]),
        spread=st.sampled_from([0.0, 0.0, 0.1, 1.0]),
        mishap=mishap if mishap is not None else st.none(),
        servers=st.sampled_from([1, 1, 2, 3]),
    )
