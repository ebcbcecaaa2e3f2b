"""TURN over DTLS in the world: clients behind NATs, a relay, loss, names, and who may not in (RFC 8656 §3.1)."""

from __future__ import annotations

import dataclasses

import pytest

from iceway.core.address import Address, Transport
from iceway.core.machine import TlsServer
from iceway.explain.model import PathClass
from iceway.explain.path import verdicts
from iceway.explain.servers import over
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig, IceServer, Policy, ServerKind
from iceway.ice.events import CandidateFound, DataReceived, GatheringDone, IceState
from iceway.lab.grid.meeting import PASSWORD, RELAY_NAME, USER, relay_config
from iceway.lab.grid.networks import EDGE, ENDS, RELAY_IP, topology
from iceway.lab.topology import Link
from iceway.lab.world import World
from iceway.lab.world.tls import Certificate
from iceway.trace import records
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener
from iceway.turn.server import TurnServer

PORT = 5349
THERE = Address(RELAY_IP, PORT)


def relay(host: str = RELAY_NAME, address: Address | None = THERE) -> IceServer:
    return IceServer(ServerKind.TURN, host, PORT, Transport.DTLS, USER, PASSWORD, address)


class Call:
    """Alice and Bob, and a relay that speaks DTLS alone."""

    def __init__(
        self,
        network: str = "symmetric",
        *,
        server: IceServer | None = None,
        certificate: Certificate | None = None,
        loss: float = 0.0,
        policy: Policy = Policy.ALL,
    ) -> None:
        self.server = server or relay()
        whole = topology(network, network)
        if loss:
            segments = tuple(
                dataclasses.replace(s, link=Link(delay=s.link.delay, loss=loss))
                if s.name == "internet"
                else s
                for s in whole.segments
            )
            whole = dataclasses.replace(whole, segments=segments)
        self.world = World(whole, 3)
        config = dataclasses.replace(
            relay_config(whole), listeners=(TurnListener(Transport.DTLS, THERE, TlsServer(EDGE)),)
        )
        self.relay = TurnServer(config, StaticAuthenticator({USER: PASSWORD}), self.world.rng(EDGE))
        self.world.run(EDGE, self.relay, identities={EDGE: certificate or Certificate((RELAY_NAME,))})
        self.world.call(EDGE, self.relay.start)
        self.heard: dict[str, list[bytes]] = {name: [] for name in ENDS}
        self.agents = {
            name: Agent(f"{name}/ice", AgentConfig(name == "alice", policy=policy), self.world.rng(name))
            for name in ENDS
        }
        for name, peer in (ENDS, ENDS[::-1]):
            self.world.run(name, self.agents[name], on_event=self._listener(name, peer))

    def begins(self) -> None:
        for name, peer in (ENDS, ENDS[::-1]):
            ufrag, pwd = self.agents[name].local_ufrag, self.agents[name].local_pwd
            self.world.call(peer, lambda now, p=peer, u=ufrag, w=pwd: self.agents[p].set_remote(u, w, now))  # type: ignore[misc]
            ips = self.world.topology.host(name).ips
            self.world.call(name, lambda now, n=name, i=ips: self.agents[n].gather(i, (self.server,), now))  # type: ignore[misc]

    def meets(self, seconds: float = 30.0) -> bool:
        done = lambda: all(a.state is IceState.COMPLETED for a in self.agents.values())  # noqa: E731
        return bool(self.world.run_until(done, seconds))

    def told(self, kind: type) -> list:
        return [entry.record for entry in self.world.trace if isinstance(entry.record, kind)]

    def _listener(self, name: str, peer: str):
        def happened(event: object, now: float) -> None:
            match event:
                case CandidateFound(candidate):
                    self.world.call(peer, lambda now: self.agents[peer].add_remote_candidate(candidate, now))
                case GatheringDone():
                    self.world.call(peer, self.agents[peer].end_of_remote_candidates)
                case DataReceived(data=data):
                    self.heard[name].append(data)

        return happened


def test_two_symmetric_nats_meet_at_a_relay_over_dtls() -> None:
    call = Call()
    call.begins()
    assert call.meets()
    for size in (1, 2, 3, 160):  # over datagrams nothing is padded
        call.world.call("alice", lambda now, n=size: call.agents["alice"].send(b"\xff" * n, now))  # type: ignore[misc]
    assert call.world.run_until(lambda: len(call.heard["bob"]) == 4, 2)
    assert sorted(map(len, call.heard["bob"])) == [1, 2, 3, 160]
    one = verdicts(call.world.trace)[0]
    assert one.path is PathClass.RELAY_UDP
    assert {made.transport for made in call.told(records.AllocationCreated)} == {"dtls"}
    assert {r.relay_transport for r in (one.local, one.remote) if r and r.type == "relay"} == {"dtls"}


def test_it_takes_two_round_trips_to_be_connected_and_two_to_have_a_relay() -> None:
    """The cookie, then the rest of the handshake (RFC 6347 §4.2.1); the challenge, then the allocation."""
    call = Call(policy=Policy.RELAY)
    call.begins()
    assert call.world.run_until(lambda: call.told(records.ServerAnswered), 5)
    assert call.world.now == pytest.approx(4 * 0.041, abs=0.02)


def test_what_is_lost_is_repeated_by_handshake_and_client() -> None:
    call = Call(loss=0.2)
    call.begins()
    assert call.meets(60.0)


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        (Certificate(("other.test",)), "certificate is for other.test, not relay.example.test"),
        (Certificate((RELAY_NAME,), authority="stranger"), "certificate not trusted"),
    ],
)
def test_a_relay_that_is_not_who_it_should_be_gets_no_credentials(
    certificate: Certificate, said: str
) -> None:
    call = Call(certificate=certificate)
    call.begins()
    call.world.advance(5.0)
    assert said in {silent.detail for silent in call.told(records.ServerUnreachable)}
    assert not [sent for sent in call.told(records.StunReceived) if sent.method == "Allocate"]


def test_blocked_udp_is_told_as_a_handshake_that_timed_out() -> None:
    call = Call("no-udp")
    call.begins()
    call.world.advance(15.0)
    assert {silent.server for silent in call.told(records.ServerUnreachable)} == {relay().label}
    assert all(
        "timed out" in s.detail or "no connection" in s.detail for s in call.told(records.ServerUnreachable)
    )


def test_a_client_that_closes_takes_its_allocation_along() -> None:
    call = Call()
    call.begins()
    assert call.meets()
    for name in ENDS:
        call.world.call(name, call.agents[name].close)
    call.world.advance(5.0)
    assert not call.relay.allocations
    assert all(agent.closed for agent in call.agents.values())


def test_a_client_that_vanishes_is_forgotten_in_time() -> None:
    call = Call()
    call.begins()
    assert call.meets()
    for name in ENDS:
        call.world.kill(name)
    call.world.advance(700.0)
    assert not call.relay.allocations


def test_servers_name_it_by_uri_and_label() -> None:
    server = IceServer.from_uri("turns:relay.example.test:5349?transport=udp", USER, PASSWORD)
    assert server.transport is Transport.DTLS
    assert server.label == relay().label == "turns:relay.example.test:5349?transport=udp"
    assert over(server.label) == "dtls"
