"""The NAT grid: two ICE agents and a relay behind every pair of NATs and firewalls, judged by the oracle.

The agents, the TURN server and the judge of paths are the real ones; the oracle knows only the behaviours. For each
cell both ends must select the same pair, of the class that the oracle expects, and data must flow both ways.
"""

from __future__ import annotations

import itertools

import pytest

from iceway.core.address import Address, Transport
from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig, IceServer, ServerKind
from iceway.ice.events import CandidateFound, DataReceived, Failed, GatheringDone
from iceway.lab import topologies
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
from iceway.lab.world import World
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import TurnServer

KINDS = list(itertools.product(Behaviour, Behaviour))
RELAY = Address("198.51.100.2", 3478)
SIGNALLING = 0.060
CLASSES = {
    Path.HOST: PathClass.DIRECT,
    Path.REFLEXIVE: PathClass.REFLEXIVE,
    Path.RELAY_UDP: PathClass.RELAY_UDP,
    Path.RELAY_TCP: PathClass.RELAY_TCP,
}


class Cell:
    """Alice and Bob on a topology, trickling their candidates to each other."""

    def __init__(self, topology: Topology, seed: int = 1) -> None:
        self.world = World(topology, seed)
        listeners = tuple(TurnListener(transport, RELAY) for transport in (Transport.UDP, Transport.TCP))
        relay = TurnServer(
            TurnServerConfig("example.test", listeners, RELAY.ip),
            StaticAuthenticator({"user": "secret"}),
            self.world.rng("edge"),
        )
        self.world.run("edge", relay)
        self.world.call("edge", relay.start)
        self.agents: dict[str, Agent] = {}
        for host, peer in (("alice", "bob"), ("bob", "alice")):
            config = AgentConfig(controlling=host == "alice")
            self.agents[host] = Agent(f"{host}/ice", config, self.world.rng(host))
            self.world.run(
                host, self.agents[host], on_event=lambda event, _, peer=peer: self._tell(peer, event)
            )

    def meet(self) -> None:
        servers = tuple(
            IceServer(ServerKind.TURN, transport=transport, username="user", password="secret", address=RELAY)
            for transport in (Transport.UDP, Transport.TCP)
        )
        for host, peer in (("alice", "bob"), ("bob", "alice")):
            agent, ufrag, pwd = self.agents[host], self.agents[peer].local_ufrag, self.agents[peer].local_pwd
            ips = self.world.topology.host(host).ips
            self.world.call(host, lambda now, agent=agent, ips=ips: agent.gather(ips, servers, now))
            self._later(host, lambda agent, now, ufrag=ufrag, pwd=pwd: agent.set_remote(ufrag, pwd, now))

    def _tell(self, peer: str, event: object) -> None:
        match event:
            case CandidateFound(candidate):
                self._later(peer, lambda agent, now: agent.add_remote_candidate(candidate, now))
            case GatheringDone():
                self._later(peer, lambda agent, now: agent.end_of_remote_candidates(now))

    def _later(self, host: str, command: object) -> None:
        at = self.world.now + SIGNALLING
        self.world.clock.at(at, lambda: self.world.call(host, lambda now: command(self.agents[host], now)))

    def selected(self) -> bool:
        return all(agent.selected is not None for agent in self.agents.values())

    def events(self, host: str, kind: type) -> list[object]:
        return [event for _, event in self.world.programs[host].events if isinstance(event, kind)]

    def talk(self) -> None:
        for host, agent in self.agents.items():
            self.world.call(
                host, lambda now, agent=agent, host=host: agent.send(f"from {host}".encode(), now)
            )
        self.world.advance(1)
        assert [event.data for event in self.events("alice", DataReceived)] == [b"from bob"]
        assert [event.data for event in self.events("bob", DataReceived)] == [b"from alice"]


def judge(topology: Topology, seed: int = 1) -> None:
    expected = expected_path(topology, "alice", "bob", "edge")
    cell = Cell(topology, seed)
    cell.meet()
    if expected is Path.NONE:
        assert not cell.world.run_until(cell.selected, timeout=60)
        assert cell.events("alice", Failed)
        assert cell.events("bob", Failed)
        return
    assert cell.world.run_until(cell.selected, timeout=30), f"no path, though the oracle expects {expected}"
    cell.talk()
    for who in ("alice", "bob"):
        judged = verdict(cell.world.trace, who)
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


@pytest.mark.parametrize("hairpin", [True, False])
def test_two_homes_behind_one_carrier(hairpin: bool) -> None:
    """Both reflexive addresses are the carrier's: they work only if its NAT turns packets round."""
    office = topologies.reflexive()
    carrier = Router(
        "carrier",
        (Interface("cgn", "100.64.0.1"),),
        Interface("internet", "198.51.100.9"),
        nat=Nat(hairpin=hairpin),
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
    edge = Host("edge", (Interface("internet", RELAY.ip),))
    segments = (
        office.segment("internet"),
        Segment("cgn", "100.64.0.0/24"),
        Segment("a-lan", "192.168.1.0/24"),
        Segment("b-lan", "192.168.2.0/24"),
    )
    topology = Topology("carrier", segments, (*hosts, edge), (carrier, *homes))
    assert expected_path(topology, "alice", "bob", "edge") is (Path.REFLEXIVE if hairpin else Path.RELAY_UDP)
    judge(topology)


FIREWALLS = {
    "open": Firewall(),
    "no-udp": Firewall(block_udp=True),
    "relay-only": Firewall(block_udp=True, tcp_ports=(3478,)),
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
    cell = Cell(topologies.named(topology).with_link("internet", bad), seed)
    cell.meet()
    assert cell.world.run_until(cell.selected, timeout=40)
    mine, theirs = cell.agents["alice"].selected, cell.agents["bob"].selected
    assert (mine.local.address, mine.remote.address) == (theirs.remote.address, theirs.local.address)
