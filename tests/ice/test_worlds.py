"""Agents in the simulated world of the laboratory: topologies that the small network of these tests cannot have."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate, CandidateType, parse, serialize
from iceway.ice.config import AgentConfig, IceServer, ServerKind
from iceway.ice.events import CandidateFound, DataReceived, Failed, GatheringDone
from iceway.lab.topology import (
    Behaviour,
    Firewall,
    Forward,
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

EDGE4, EDGE6 = "198.51.100.2", "2001:db8:a::2"


class Pair:
    """Alice and Bob on a topology with an edge, trickling to each other."""

    def __init__(self, topology: Topology, bobs: dict[str, object] | None = None, **config: object) -> None:
        self.world = World(topology, 1)
        listeners = tuple(
            TurnListener(transport, Address(ip, 3478))
            for ip in (EDGE4, EDGE6)
            for transport in (Transport.UDP, Transport.TCP)
        )
        edge = TurnServer(
            TurnServerConfig("example.test", listeners, EDGE4, relay_ip6=EDGE6),
            StaticAuthenticator({"user": "secret"}),
            self.world.rng("edge"),
        )
        self.world.run("edge", edge)
        self.world.call("edge", edge.start)
        self.agents: dict[str, Agent] = {}
        for me, other in (("alice", "bob"), ("bob", "alice")):
            own = config if me == "alice" or bobs is None else config | bobs
            agent = Agent(f"{me}/ice", AgentConfig(me == "alice", **own), self.world.rng(me))
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


# --- RFC 6544: no UDP, no relay -----------------------------------------------------------------------------
def without_udp(bob: Host, bobs_router: Router | None = None) -> Topology:
    """Alice at home behind a NAT that lets TCP through only; the edge serves nobody."""
    home = Router(
        "home",
        (Interface("home", "192.168.1.1"),),
        Interface("internet", "198.51.100.77"),
        nat=Nat(),
        firewall=Firewall(block_udp=True),
    )
    segments = (
        Segment("internet", "198.51.100.0/24", Link(delay=0.02)),
        Segment("internet6", "2001:db8:a::/64"),
        Segment("home", "192.168.1.0/24"),
        Segment("office", "10.0.0.0/24"),
    )
    alice = Host("alice", (Interface("home", "192.168.1.20"),), gateway="192.168.1.1")
    edge = Host("edge", (Interface("internet", EDGE4), Interface("internet6", EDGE6)))
    return Topology("no-udp", segments, (alice, bob, edge), (home, bobs_router) if bobs_router else (home,))


def public_bob() -> Host:
    return Host("bob", (Interface("internet", "198.51.100.20"),))


def test_without_udp_and_relay_there_is_no_call_but_over_tcp() -> None:
    pair = Pair(without_udp(public_bob()))
    pair.meet({"alice": (), "bob": ()})
    assert not pair.talks()
    pair = Pair(without_udp(public_bob()), tcp=True)
    pair.meet({"alice": (), "bob": ()})
    assert pair.talks()
    ours, theirs = (pair.agents[name].selected for name in ("alice", "bob"))
    assert (ours.local.transport, ours.local.tcp_type, ours.remote.tcp_type) == ("tcp", "active", "passive")
    assert (ours.local.type, ours.local.address.ip) == ("prflx", "198.51.100.77")
    assert ours.local.address == theirs.remote.address
    assert ours.remote.address == theirs.local.address


def test_a_call_over_tcp_lives_and_ends_when_the_other_side_closes() -> None:
    pair = Pair(without_udp(public_bob()), tcp=True)
    pair.meet({"alice": (), "bob": ()})
    assert pair.talks()
    pair.world.advance(300)
    assert pair.agents["alice"].selected
    pair.world.call("bob", pair.agents["bob"].close)
    pair.world.advance(2)
    (failed,) = [e for _, e in pair.world.programs["alice"].events if isinstance(e, Failed)]
    assert failed.reason.startswith("the TCP connection ended")


def test_a_forwarded_port_is_a_passive_candidate_of_the_outside() -> None:
    office = Router(
        "office",
        (Interface("office", "10.0.0.1"),),
        Interface("internet", "198.51.100.88"),
        nat=Nat(
            forwards=tuple(Forward("tcp", port, Address("10.0.0.20", port)) for port in (7001, 7002, 7003))
        ),
        firewall=Firewall(block_udp=True),
    )
    bob = Host("bob", (Interface("office", "10.0.0.20"),), gateway="10.0.0.1")
    outside = {"external_ips": (("10.0.0.20", "198.51.100.88"),), "ports": (7001, 7003)}
    pair = Pair(without_udp(bob, office), bobs=outside, tcp=True)
    pair.meet({"alice": (), "bob": ()})
    assert pair.talks()
    found = [c for c in pair.agents["bob"].local_candidates if c.tcp_type == "passive"]
    assert {(c.type.value, c.address.ip) for c in found} == {
        ("host", "10.0.0.20"),
        ("srflx", "198.51.100.88"),
    }
    assert {c.address.port for c in found} <= {7001, 7002, 7003}
    assert pair.agents["alice"].selected.remote.type == "srflx"


def test_over_udp_if_that_works_although_tcp_does_too() -> None:
    pair = Pair(two_internets("198.51.100.10", "198.51.100.20"), tcp=True)
    pair.meet({"alice": (), "bob": ()})
    assert pair.talks()
    assert pair.agents["alice"].selected.local.transport == "udp"


nats = st.builds(Nat, mapping=st.sampled_from(Behaviour), filtering=st.sampled_from(Behaviour))


@settings(max_examples=25, deadline=None)
@given(
    nat=st.none() | nats,
    block_udp=st.booleans(),
    delay=st.sampled_from([0.005, 0.05, 0.3]),
    jitter=st.sampled_from([0.0, 0.02]),
    servers=st.sampled_from([(), (EDGE4,)]),
    away=st.sampled_from(["alice", "bob"]),
)
def test_if_one_side_can_be_reached_both_come_to_the_same_path(
    nat: Nat | None, block_udp: bool, delay: float, jitter: float, servers: tuple[str, ...], away: str
) -> None:
    """One host is public; the other stands behind any NAT, or none, and a firewall that may drop all UDP."""
    lan = "10.0.0" if nat else "203.0.113"
    router = Router(
        "router",
        (Interface("lan", f"{lan}.1"),),
        Interface("internet", "198.51.100.77"),
        nat=nat,
        firewall=Firewall(block_udp=block_udp),
    )
    segments = (
        Segment("internet", "198.51.100.0/24", Link(delay=delay, jitter=jitter)),
        Segment("internet6", "2001:db8:a::/64"),
        Segment("lan", f"{lan}.0/24"),
    )
    hosts = tuple(
        Host(name, (Interface("lan", f"{lan}.20"),), gateway=f"{lan}.1")
        if name == away
        else Host(name, (Interface("internet", "198.51.100.20"),), gateway="198.51.100.77")
        for name in ("alice", "bob")
    )
    edge = Host("edge", (Interface("internet", EDGE4), Interface("internet6", EDGE6)))
    pair = Pair(Topology("one-public", segments, (*hosts, edge), (router,)), tcp=True)
    pair.meet({"alice": servers, "bob": servers})
    assert pair.talks()
    ours, theirs = (pair.agents[name].selected for name in ("alice", "bob"))
    assert (ours.local.address, ours.remote.address) == (theirs.remote.address, theirs.local.address)
    assert (ours.local.transport == "tcp") == (block_udp and not relayed(ours.local, ours.remote))
    pair.world.advance(90)
    assert all(agent.selected for agent in pair.agents.values())
    for name, agent in pair.agents.items():
        pair.world.call(name, agent.close)
    pair.world.advance(8)
    assert all(agent.closed and agent.poll_timeout() is None for agent in pair.agents.values())


def relayed(*candidates: Candidate) -> bool:
    return any(candidate.type is CandidateType.RELAY for candidate in candidates)
