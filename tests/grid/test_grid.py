"""The NAT grid: two ICE agents and a relay behind every pair of NATs and firewalls, judged by the oracle.

The agents, the TURN server and the judge of paths are the real ones; the oracle knows only the behaviours. For each
cell both ends must select the same pair, of the class that the oracle expects, and data must flow both ways.
"""

from __future__ import annotations

import itertools

import pytest

from iceway.explain.path import verdict
from iceway.lab import topologies
from iceway.lab.grid.meeting import Meeting
from iceway.lab.grid.networks import RELAY_IP, RELAY_PORT, WEB_PORT
from iceway.lab.grid.play import CLASSES
from iceway.lab.oracle import Path, expected_path
from iceway.lab.topology import (
    Behaviour,
    Firewall,
    Host,
    Interface,
    Link,
    Nat,
    Router,
    Segment,
    Topology,
)

KINDS = list(itertools.product(Behaviour, Behaviour))


def oracle(topology: Topology) -> Path:
    return expected_path(topology, "alice", "bob", "edge", RELAY_PORT, WEB_PORT)


def judge(topology: Topology, seed: int = 1) -> None:
    expected = oracle(topology)
    meeting = Meeting(topology, seed)
    meeting.trickle()
    if expected is Path.NONE:
        assert meeting.world.run_until(meeting.failed, timeout=60)
        return
    assert meeting.world.run_until(meeting.selected, timeout=30), f"no path, though there is {expected}"
    assert meeting.talk()
    for who in ("alice", "bob"):
        judged = verdict(meeting.world.trace, who)
        assert (judged.path, judged.agreed) == (CLASSES[expected], True)


def nat(kind: tuple[Behaviour, Behaviour], filter_by: str = "mapping", *, preserving: bool = False) -> Nat:
    return Nat(*kind, port_preservation=preserving, filter_by=filter_by)


def name(kind: tuple[Behaviour, Behaviour]) -> str:
    short = dict(zip(Behaviour, ("EI", "AD", "APD"), strict=True))
    return f"{short[kind[0]]}-{short[kind[1]]}"


@pytest.mark.parametrize("right", KINDS, ids=name)
@pytest.mark.parametrize("left", KINDS, ids=name)
def test_behind_two_nats(left: tuple[Behaviour, Behaviour], right: tuple[Behaviour, Behaviour]) -> None:
    judge(topologies.nats(nat(left), nat(right)))


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_filters_by_endpoint_and_preserved_ports(kind: tuple[Behaviour, Behaviour]) -> None:
    judge(topologies.nats(nat(kind, "endpoint", preserving=True), nat(kind, "endpoint", preserving=True)))


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_behind_one_nat(kind: tuple[Behaviour, Behaviour]) -> None:
    judge(topologies.nats(nat(kind), None))
    judge(topologies.nats(None, nat(kind)))


def behind_one_carrier(
    hairpin: bool, filtering: Behaviour = Behaviour.ADDRESS_AND_PORT_DEPENDENT
) -> Topology:
    """Two homes whose reflexive addresses are both the carrier's."""
    office = topologies.reflexive()
    carrier = Router(
        "carrier",
        (Interface("cgn", "100.64.0.1"),),
        Interface("internet", "198.51.100.9"),
        nat=Nat(filtering=filtering, hairpin=hairpin),
    )
    homes = tuple(
        Router(
            name,
            (Interface(lan, f"{subnet}.1"),),
            Interface("cgn", f"100.64.0.{n}"),
            gateway="100.64.0.1",
            nat=Nat(),
        )
        for n, name, lan, subnet in ((2, "home-a", "a-lan", "192.168.1"), (3, "home-b", "b-lan", "192.168.2"))
    )
    hosts = tuple(
        Host(name, (Interface(lan, f"{subnet}.20"),), gateway=f"{subnet}.1")
        for name, lan, subnet in (("alice", "a-lan", "192.168.1"), ("bob", "b-lan", "192.168.2"))
    )
    edge = Host("edge", (Interface("internet", RELAY_IP),))
    segments = (
        office.segment("internet"),
        Segment("cgn", "100.64.0.0/24"),
        Segment("a-lan", "192.168.1.0/24"),
        Segment("b-lan", "192.168.2.0/24"),
    )
    return Topology("carrier", segments, (*hosts, edge), (carrier, *homes))


@pytest.mark.parametrize("hairpin", [True, False])
def test_two_homes_behind_one_carrier(hairpin: bool) -> None:
    """They meet at the carrier's address only if its NAT turns packets round."""
    topology = behind_one_carrier(hairpin)
    assert oracle(topology) is (Path.REFLEXIVE if hairpin else Path.RELAY_UDP)
    judge(topology)


FIREWALLS = {
    "open": Firewall(),
    "no-udp": Firewall(block_udp=True),
    "relay-only": Firewall(block_udp=True, tcp_ports=(3478,)),
    "mail-only": Firewall(block_udp=True, tcp_ports=(25,)),
    "web-only": Firewall(block_udp=True, tcp_ports=(80, 443)),
}


@pytest.mark.parametrize("right", FIREWALLS)
@pytest.mark.parametrize("left", FIREWALLS)
def test_behind_firewalls(left: str, right: str) -> None:
    office = topologies.reflexive()
    office = office.with_router("home-nat", firewall=FIREWALLS[left])
    judge(office.with_router("hq-nat", firewall=FIREWALLS[right]))


@pytest.mark.parametrize("filtering", [None, *Behaviour], ids=str)
def test_behind_plain_routers_that_filter(filtering: Behaviour | None) -> None:
    office = topologies.nats(None, None)
    judge(office.with_router("home-nat", firewall=Firewall(filtering=filtering)))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("topology", topologies.TOPOLOGIES)
def test_in_bad_weather(topology: str, seed: int) -> None:
    bad = Link(delay=0.040, jitter=0.040, loss=0.10, duplicate=0.02, reorder=0.05)
    meeting = Meeting(topologies.named(topology).with_link("internet", bad), seed)
    meeting.trickle()
    assert meeting.world.run_until(meeting.selected, timeout=40)
    mine, theirs = (meeting.ends[name].agent.selected for name in ("alice", "bob"))
    assert (mine.local.address, mine.remote.address) == (theirs.remote.address, theirs.local.address)
