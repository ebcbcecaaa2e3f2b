"""Agents in the simulated world of the laboratory: topologies that the small network of these tests cannot have."""

from __future__ import annotations

from collections.abc import Callable

from iceway.core.address import Address, Transport
from iceway.ice.agent import Agent
from iceway.ice.candidate import parse, serialize
from iceway.ice.config import AgentConfig, IceServer, ServerKind
from iceway.ice.events import CandidateFound, DataReceived, GatheringDone
from iceway.lab.topology import Host, Interface, Link, Segment, Topology
from iceway.lab.world import World
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import TurnServer

EDGE4, EDGE6 = "198.51.100.2", "2001:db8:a::2"


class Pair:
    """Alice and Bob on a topology with an edge, trickling to each other."""

    def __init__(self, topology: Topology, **config: object) -> None:
        self.world = World(topology, 1)
        listeners = tuple(TurnListener(Transport.UDP, Address(ip, 3478)) for ip in (EDGE4, EDGE6))
        edge = TurnServer(
            TurnServerConfig("example.test", listeners, EDGE4, relay_ip6=EDGE6),
            StaticAuthenticator({"user": "secret"}),
            self.world.rng("edge"),
        )
        self.world.run("edge", edge)
        self.world.call("edge", edge.start)
        self.agents: dict[str, Agent] = {}
        for me, other in (("alice", "bob"), ("bob", "alice")):
            agent = Agent(f"{me}/ice", AgentConfig(me == "alice", **config), self.world.rng(me))
            self.agents[me] = agent
            self.world.run(me, agent, on_event=lambda event, _, other=other: self._tell(other, event))

    def meet(self, servers: dict[str, tuple[str, ...]]) -> None:
        for me, other in (("alice", "bob"), ("bob", "alice")):
            agent, peer = self.agents[me], self.agents[other]
            ips = self.world.topology.host(me).ips
            asked = tuple(
                IceServer(ServerKind.TURN, username="user", password="secret", address=Address(ip, 3478))
                for ip in servers[me]
            )
            self.world.call(me, lambda now, agent=agent, ips=ips, asked=asked: agent.gather(ips, asked, now))
            ufrag, pwd = peer.local_ufrag, peer.local_pwd
            self._later(me, lambda agent, now, ufrag=ufrag, pwd=pwd: agent.set_remote(ufrag, pwd, now))

    def talks(self) -> bool:
        agents = self.agents.values()
        if not self.world.run_until(lambda: all(agent.selected for agent in agents), timeout=20):
            return False
        for me, agent in self.agents.items():
            self.world.call(me, lambda now, agent=agent, me=me: agent.send(me.encode(), now))
        self.world.advance(1)
        return (self._heard("alice"), self._heard("bob")) == ([b"bob"], [b"alice"])

    def _heard(self, host: str) -> list[bytes]:
        return [
            event.data for _, event in self.world.programs[host].events if isinstance(event, DataReceived)
        ]

    def _tell(self, peer: str, event: object) -> None:
        match event:
            case CandidateFound(candidate):
                told = parse(serialize(candidate))
                self._later(peer, lambda agent, now: agent.add_remote_candidate(told, now))
            case GatheringDone():
                self._later(peer, lambda agent, now: agent.end_of_remote_candidates(now))

    def _later(self, host: str, command: Callable[[Agent, float], None]) -> None:
        at = self.world.now + 0.05
        self.world.clock.at(at, lambda: self.world.call(host, lambda now: command(self.agents[host], now)))


def two_internets(alice: str, bob: str) -> Topology:
    """One internet of each family and an edge with a foot in both: nothing else joins them."""
    segments = (
        Segment("internet4", "198.51.100.0/24", Link(delay=0.02)),
        Segment("internet6", "2001:db8:a::/64", Link(delay=0.02)),
    )
    hosts = tuple(
        Host(name, tuple(Interface("internet6" if ":" in ip else "internet4", ip) for ip in ips))
        for name, ips in (("alice", (alice,)), ("bob", (bob,)), ("edge", (EDGE4, EDGE6)))
    )
    return Topology("two-internets", segments, hosts, ())


def test_ipv6_alone_meets_ipv4_alone_through_a_relay_of_the_peers_family() -> None:
    pair = Pair(two_internets("2001:db8:a::10", "198.51.100.20"))
    pair.meet({"alice": (EDGE6,), "bob": ()})
    assert pair.talks()
    assert pair.agents["alice"].selected.local.address.ip == EDGE4


def test_ipv4_alone_meets_ipv6_alone_when_it_asks_for_both_relays() -> None:
    pair = Pair(two_internets("198.51.100.10", "2001:db8:a::20"), relay_families=(4, 6))
    pair.meet({"alice": (EDGE4,), "bob": ()})
    assert pair.talks()
    assert pair.agents["alice"].selected.local.address.ip == EDGE6


def test_two_hosts_of_ipv6_talk_without_the_relay() -> None:
    pair = Pair(two_internets("2001:db8:a::10", "2001:db8:a::20"))
    pair.meet({"alice": (EDGE6,), "bob": (EDGE6,)})
    assert pair.talks()
    assert pair.agents["alice"].selected.local.type == "host"
