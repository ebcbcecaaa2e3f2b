"""Lite agents (RFC 8445 §2.5): a full agent against a lite one, and we as the lite one."""

from __future__ import annotations

import pytest

from iceway.core.machine import OpenMulticast
from iceway.ice.candidate import parse
from iceway.ice.events import ConsentLostEvent, Failed, IceState, PairValid
from iceway.trace import records
from iceway.wire import stun
from tests.ice.harness import EDGE, INDEPENDENT, PORT, Nat, Network, Peer, mirrored, turn

HOME = "198.51.100.10"
SERVER = "203.0.113.80"


def visit(
    nat: Nat | None = None, *, controlling: bool = True, **config: object
) -> tuple[Network, Peer, Peer]:
    """Alice, a full agent at home, and a lite agent on the internet."""
    network = Network()
    network.edge()
    if nat:
        network.nats["home"] = nat
    ips = {"192.168.1.10": "home"} if nat else {"203.0.113.10": None}
    alice = network.agent("alice", ips, controlling=controlling)
    lite = network.agent("lite", {SERVER: None}, controlling=not controlling, lite=True, **config)
    alice.gather()
    lite.gather(turn())
    network.run(0.2)
    return network, alice, lite


def meet(alice: Peer, lite: Peer, *, tell_alices: bool = True) -> None:
    ufrag, pwd = lite.agent.local_ufrag, lite.agent.local_pwd
    alice.do(lambda agent, now: agent.set_remote(ufrag, pwd, now, lite=lite.agent.lite))
    lite.tells(alice)
    ufrag, pwd = alice.agent.local_ufrag, alice.agent.local_pwd
    lite.do(lambda agent, now: agent.set_remote(ufrag, pwd, now, lite=alice.agent.lite))
    if tell_alices:
        alice.tells(lite)


def requests(peer: Peer) -> list[records.StunSent]:
    return [r for r in peer.records(records.StunSent) if r.message_class == "request"]


@pytest.mark.parametrize("controlling", [True, False])
@pytest.mark.parametrize(
    "nat", [None, Nat(HOME), Nat(HOME, mapping=PORT), Nat(HOME, mapping=INDEPENDENT, filtering=INDEPENDENT)]
)
def test_a_full_agent_controls_and_the_lite_one_follows(nat: Nat | None, controlling: bool) -> None:
    network, alice, lite = visit(nat, controlling=controlling)
    meet(alice, lite)
    assert network.run(5, until=lambda: alice.agent.selected is not None and lite.agent.selected is not None)
    assert (alice.agent.role, lite.agent.role) == ("controlling", "controlled")
    alice.says(b"to the server")
    lite.says(b"to alice")
    network.run(1)
    assert (alice.heard, lite.heard) == ([b"to alice"], [b"to the server"])
    assert lite.agent.selected.remote.address == alice.agent.selected.local.address
    network.run(120)
    assert {alice.agent.state, lite.agent.state} == {IceState.COMPLETED}
    assert requests(lite) == [], "it never checks, not even for consent"


def test_a_lite_agent_has_host_candidates_only() -> None:
    _, _, lite = visit()
    assert [c.type for c in lite.agent.local_candidates] == ["host"]
    assert EDGE not in {r.remote.ip for r in lite.records(records.StunSent)}


def test_it_needs_none_of_the_peers_candidates() -> None:
    network, alice, lite = visit(Nat(HOME))
    meet(alice, lite, tell_alices=False)
    assert network.run(5, until=lambda: mirrored(alice, lite))
    assert lite.agent.selected.remote.type == "prflx"


def test_nothing_is_sent_before_the_peer_has_nominated() -> None:
    network, alice, lite = visit()
    network.drop = lambda source, target, data: (
        stun.is_stun(data) and bool(stun.parse(data).get(stun.USE_CANDIDATE))
    )
    meet(alice, lite)
    network.run(1)
    assert alice.events(PairValid)
    assert not lite.events(PairValid)
    assert not lite.says(b"?")


def test_a_peer_that_falls_silent_loses_the_lite_agents_consent() -> None:
    network, alice, lite = visit()
    meet(alice, lite)
    network.run(20)
    network.dead.add("alice")
    network.run(40)
    (lost,) = lite.events(ConsentLostEvent)
    assert lost.silent_for == pytest.approx(30, abs=1)
    assert lite.agent.state is IceState.FAILED


def test_a_lite_agent_that_nobody_checks_gives_up_with_the_reason() -> None:
    network, _, lite = visit()
    lite.do(lambda agent, now: agent.set_remote("peer", "p" * 24, now))
    lite.do(lambda agent, now: agent.end_of_remote_candidates(now))
    network.run(41)
    (failed,) = lite.events(Failed)
    assert failed.reason == "the peer nominated no path in 39.5 s, and we are the lite agent"


def test_two_lite_agents_are_told_that_nobody_looks() -> None:
    _, _, lite = visit()
    lite.do(lambda agent, now: agent.set_remote("peer", "p" * 24, now, lite=True))
    assert lite.events(Failed)[0].reason == "both ends are lite agents, so nobody looks for a path"


def test_a_full_peer_that_thinks_it_is_controlled_is_told_to_switch() -> None:
    network, alice, lite = visit(controlling=False)
    # Alice did not notice that her peer is lite.
    ufrag, pwd = lite.agent.local_ufrag, lite.agent.local_pwd
    alice.do(lambda agent, now: agent.set_remote(ufrag, pwd, now))
    lite.tells(alice)
    alice.meets(lite)
    assert network.run(5, until=lambda: mirrored(alice, lite))
    assert (alice.agent.role, lite.agent.role) == ("controlling", "controlled")


def test_a_lite_agent_survives_a_restart() -> None:
    network, alice, lite = visit()
    meet(alice, lite)
    network.run(5)
    alice.do(lambda agent, now: agent.restart(now))
    lite.do(lambda agent, now: agent.restart(now))
    alice.told = lite.told = 0
    network.run(0.2)
    meet(alice, lite)
    assert network.run(5, until=lambda: mirrored(alice, lite))
    assert lite.agent.state is IceState.COMPLETED


def test_a_lite_agent_asks_no_link_for_names_that_it_never_needs() -> None:
    network = Network()
    server = network.agent("server", {"203.0.113.1": None}, controlling=False, lite=True)
    server.gather()
    server.do(lambda agent, now: agent.set_remote("theirs", "p" * 24, now))
    named = parse("1 1 UDP 2130706431 5ce7ab0a-7a1f-4a2f-8e9b-01b1d8c1f5a7.local 5000 typ host")
    server.do(lambda agent, now: agent.add_remote_candidate(named, now))
    network.run(8)
    assert not server.events(OpenMulticast)
