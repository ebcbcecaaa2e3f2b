"""Servers that are asked: those that refuse, break, are given back, or go on under new credentials."""

from __future__ import annotations

import pytest

from iceway.core.address import Transport
from iceway.core.machine import StreamClosed
from iceway.ice.config import IceServer
from iceway.ice.events import GatheringDone
from iceway.trace import records
from iceway.turn.auth import TimeLimitedAuthenticator
from tests.ice.harness import EDGE, Network, Peer, at_home, kinds, turn

NOWHERE = "198.51.100.99"


# --- refusals and losses ----------------------------------------------------------------------------------
def test_a_relay_that_refuses_still_tells_our_address() -> None:
    network, alice = at_home()
    alice.gather(turn(password="wrong"))
    network.run(2)
    assert kinds(alice) == ["host", "srflx"]
    assert [r.server for r in alice.records(records.ServerAnswered)] == ["stun:198.51.100.2:3478"]


def test_right_credentials_after_wrong_ones() -> None:
    network, alice = at_home()
    alice.gather(turn(password="wrong"))
    network.run(2)
    alice.do(lambda agent, now: agent.add_servers((turn(),), now))
    network.run(2)
    assert kinds(alice) == ["host", "srflx", "relay over UDP"]


def test_a_relay_that_breaks_takes_its_candidate_along() -> None:
    network, alice = at_home()
    alice.gather(turn(transport=Transport.TCP))
    network.run(1)
    (stream,) = [stream for name, stream in network._streams if name == "alice"]
    network.give(alice.host, StreamClosed(stream, "cable cut"))
    assert kinds(alice) == ["host"]


def test_a_server_that_is_never_reached_leaves_a_word_when_the_agent_closes() -> None:
    network, alice = at_home()
    alice.gather(turn(NOWHERE))
    network.run(3)
    alice.do(lambda agent, now: agent.close(now))
    (dead,) = alice.records(records.ServerUnreachable)
    assert "no answer in 3.0 s" in dead.detail


def test_relays_that_are_not_needed_are_given_back() -> None:
    network = Network()
    server = network.edge()
    alice = network.agent("alice", {"203.0.113.1": None}, controlling=True)
    bob = network.agent("bob", {"203.0.113.2": None}, controlling=False)
    for peer in (alice, bob):
        peer.gather(turn(), turn(transport=Transport.TCP))
    network.run(1)
    assert len(server.allocations) == 4
    alice.meets(bob)
    bob.meets(alice)
    network.run(30)
    assert server.allocations == ()
    assert kinds(alice) == ["host"]


# --- new credentials --------------------------------------------------------------------------------------
WALL = 1_700_000_000  # what the edge's clock says at the start, as it counts from the network's 1000 s


def limited(until: int, transport: Transport = Transport.UDP, ip: str = EDGE) -> IceServer:
    """The edge's relay, with credentials that are good until so many seconds from the start."""
    username, password = LIMITED.credentials("alice", WALL + 1000 + until)
    return turn(ip, transport, username, password)


LIMITED = TimeLimitedAuthenticator(b"the relay's secret")


def with_relays() -> tuple[Network, Peer]:
    """An agent whose two relays were granted for five minutes."""
    network = Network()
    network.edge(authenticator=LIMITED)
    alice = network.agent("alice", {"198.51.100.10": None}, controlling=True)
    alice.gather(limited(300), limited(300, Transport.TCP))
    assert network.run(10, until=lambda: bool(alice.events(GatheringDone)))
    return network, alice


def relays(peer: Peer) -> list[str]:
    return [kind for kind in kinds(peer) if kind.startswith("relay")]


def test_relays_go_on_with_new_credentials() -> None:
    network, alice = with_relays()
    network.run(240)
    renewed = (limited(3600), limited(3600, Transport.TCP))
    alice.do(lambda agent, now: agent.renew_servers(renewed, now))
    network.run(1300)  # two refreshes of an allocation of ten minutes
    assert relays(alice) == ["relay over UDP", "relay over TCP"]
    assert not alice.records(records.ServerRefused)


@pytest.mark.parametrize("renewed", [(), (limited(3600, ip="203.0.113.9"),)], ids=["none", "of another"])
def test_without_new_credentials_relays_end_with_the_old_ones(renewed: tuple[IceServer, ...]) -> None:
    network, alice = with_relays()
    network.run(240)
    alice.do(lambda agent, now: agent.renew_servers(renewed, now))
    network.run(1300)
    assert relays(alice) == []


def test_a_server_keeps_its_secrets_out_of_what_is_printed() -> None:
    assert "secret" not in repr(turn())
