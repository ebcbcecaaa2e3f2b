"""A phone that rings for five minutes behind NATs that forget after half a minute, and is then picked up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iceway.core.address import Address, Transport
from iceway.ice.agent import Agent
from iceway.ice.candidate import parse, serialize
from iceway.ice.config import AgentConfig, IceServer, ServerKind
from iceway.ice.events import DataReceived, Failed
from iceway.lab.topology import Behaviour, Firewall, Host, Interface, Link, Nat, Router, Segment, Topology
from iceway.lab.world import World
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import TurnServer

EDGE = "198.51.100.2"
RING = 300.0
FORGETFUL = Nat(mapping_timeout=30.0, tcp_timeout=60.0, port_preservation=False)
SYMMETRIC = Nat(
    mapping=Behaviour.ADDRESS_AND_PORT_DEPENDENT,
    mapping_timeout=30.0,
    tcp_timeout=60.0,
    port_preservation=False,
)


class Ringing:
    """Alice calls, Bob's phone rings. Both have gathered; `nat` is in front of each of them."""

    def __init__(self, nat: Nat, firewall: Firewall | None = None) -> None:
        segments = [Segment("internet", "198.51.100.0/24", Link(delay=0.02))]
        hosts = [Host("edge", (Interface("internet", EDGE),))]
        routers = []
        for number, name in enumerate(("alice", "bob")):
            net = f"192.168.{number}"
            segments.append(Segment(name, f"{net}.0/24"))
            hosts.append(Host(name, (Interface(name, f"{net}.20"),), gateway=f"{net}.1"))
            inside, outside = Interface(name, f"{net}.1"), Interface("internet", f"198.51.100.7{number}")
            routers.append(
                Router(f"{name}-nat", (inside,), outside, nat=nat, firewall=firewall or Firewall())
            )
        self.world = World(Topology("ringing", tuple(segments), tuple(hosts), tuple(routers)), 1)
        listeners = (
            TurnListener(Transport.UDP, Address(EDGE, 3478)),
            TurnListener(Transport.TCP, Address(EDGE, 443)),
        )
        edge = TurnServer(
            TurnServerConfig("example.test", listeners, EDGE),
            StaticAuthenticator({"user": "secret"}),
            self.world.rng("edge"),
        )
        self.world.run("edge", edge)
        self.world.call("edge", edge.start)
        servers = tuple(
            IceServer(ServerKind.TURN, "", port, transport, "user", "secret", Address(EDGE, port))
            for transport, port in ((Transport.UDP, 3478), (Transport.TCP, 443))
        )
        self.agents: dict[str, Agent] = {}
        for number, name in enumerate(("alice", "bob")):
            agent = self.agents[name] = Agent(name, AgentConfig(name == "alice"), self.world.rng(name))
            self.world.run(name, agent)
            self.world.call(name, lambda now, a=agent, n=number: a.gather((f"192.168.{n}.20",), servers, now))
        self.world.advance(3)

    def tell(self, host: str) -> None:
        """What the other's description says reaches this host; there is nothing more to come."""
        agent = self.agents[host]
        peer = self.agents["bob" if host == "alice" else "alice"]
        lines = [serialize(candidate) for candidate in peer.local_candidates]

        def hear(now: float) -> None:
            agent.set_remote(peer.local_ufrag, peer.local_pwd, now)
            for line in lines:
                agent.add_remote_candidate(parse(line), now)
            agent.end_of_remote_candidates(now)

        self.do(host, hear)

    def do(self, host: str, command: Callable[[float], object]) -> None:
        self.world.call(host, command)

    def ring(self) -> None:
        for host, agent in self.agents.items():
            self.do(host, agent.ringing)
        self.world.advance(RING)
        for host, agent in self.agents.items():
            assert not self.saw(host, Failed)
            self.do(host, agent.answered)

    def connects(self, within: float) -> None:
        agents = self.agents.values()
        assert self.world.run_until(lambda: all(agent.selected for agent in agents), within)
        for host, agent in self.agents.items():
            self.do(host, lambda now, agent=agent: agent.send(b"hello", now))
        self.world.advance(0.2)
        assert self.saw("alice", DataReceived)
        assert self.saw("bob", DataReceived)

    def saw(self, host: str, kind: type) -> bool:
        return any(isinstance(event, kind) for _, event in self.world.programs[host].events)

    @property
    def reflexive(self) -> set[Address]:
        found = [candidate for agent in self.agents.values() for candidate in agent.local_candidates]
        return {candidate.address for candidate in found if candidate.type == "srflx"}

    @property
    def path(self) -> set[str]:
        """The types of the candidates that the selected path stands on, as both see them."""
        return {
            candidate.type.value
            for agent in self.agents.values()
            if agent.selected
            for candidate in (agent.selected.local, agent.selected.remote)
        }


KNOWN_EARLY = pytest.mark.parametrize(
    "told", [(), ("bob",), ("alice", "bob")], ids=["nobody", "callee", "both"]
)


@KNOWN_EARLY
def test_reflexive_addresses_still_hold_when_the_phone_is_picked_up(told: tuple[str, ...]) -> None:
    call = Ringing(FORGETFUL)
    before = call.reflexive
    for host in told:
        call.tell(host)
    call.ring()
    for host in {"alice", "bob"} - set(told):
        call.tell(host)
    call.connects(1.0)
    assert "relay" not in call.path
    assert call.reflexive == before


@KNOWN_EARLY
def test_relays_still_relay(told: tuple[str, ...]) -> None:
    call = Ringing(SYMMETRIC)
    for host in told:
        call.tell(host)
    call.ring()
    for host in {"alice", "bob"} - set(told):
        call.tell(host)
    call.connects(2.0)
    assert "relay" in call.path


@KNOWN_EARLY
def test_relays_over_tcp_outlive_a_nat_that_forgets_connections(told: tuple[str, ...]) -> None:
    call = Ringing(FORGETFUL, Firewall(block_udp=True))
    for host in told:
        call.tell(host)
    call.ring()
    for host in {"alice", "bob"} - set(told):
        call.tell(host)
    call.connects(3.0)
    assert "relay" in call.path
