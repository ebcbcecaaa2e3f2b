"""Two address families: the order of interfaces, unique priorities, relays of both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.ice.config import AgentConfig, IceServer, Policy, ServerKind
from iceway.ice.events import CandidateFound, GatheringDone, GatheringSettled
from iceway.ice.families import interleaved, relay_families
from iceway.trace import records
from tests.ice.harness import EDGE, Network, Peer, exchange, mirrored, turn

EDGE6 = "2001:db8:ed::2"
SIX = tuple(f"2001:db8::{number}" for number in range(1, 7))
FOUR = tuple(f"192.0.2.{number}" for number in range(1, 7))


# --- RFC 8421 ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), ()),
        (SIX[:3], SIX[:3]),
        ((SIX[0], FOUR[0]), (SIX[0], FOUR[0])),
        ((FOUR[0], SIX[0]), (FOUR[0], SIX[0])),
        # RFC 8421 §4: with two IPv4 and six IPv6 addresses, an IPv4 one comes after four IPv6 ones.
        ((*SIX, *FOUR[:2]), (*SIX[:4], FOUR[0], *SIX[4:], FOUR[1])),
        ((*SIX[:2], *FOUR[:2]), (*SIX[:2], *FOUR[:2])),
        ((SIX[0], *FOUR[:3]), (SIX[0], *FOUR[:3])),
        ((SIX[0], *FOUR[:2], *SIX[1:]), (*SIX[:4], FOUR[0], *SIX[4:], FOUR[1])),
    ],
)
def test_families_take_turns(given: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert interleaved(given) == expected


@given(st.lists(st.sampled_from(SIX + FOUR), unique=True).map(tuple))
def test_nothing_is_lost_and_each_family_keeps_its_order(ips: tuple[str, ...]) -> None:
    order = interleaved(ips)
    assert sorted(order) == sorted(ips)
    for family in (4, 6):
        assert [ip for ip in order if Address(ip, 0).family == family] == [
            ip for ip in ips if Address(ip, 0).family == family
        ]


def test_a_dead_family_with_many_addresses_does_not_hold_the_other_up() -> None:
    network = Network()
    network.drop = lambda source, target, data: source.family == 6
    alice = network.agent("alice", {**dict.fromkeys(SIX), FOUR[0]: None}, controlling=True)
    ips = {f"2001:db8:b::{number}": None for number in range(1, 7)}
    bob = network.agent("bob", {**ips, "203.0.113.2": None}, controlling=False)
    for peer in (alice, bob):
        peer.gather()
    network.run(0.1)
    began = network.now
    exchange(alice, bob)
    assert network.run(10, until=lambda: alice.agent.active_path() is not None)
    assert network.now - began < 2.5
    assert network.run(10, until=lambda: mirrored(alice, bob))


def test_priorities_of_a_component_are_unique_however_many_ways_there_are() -> None:
    network = dual_stack_edge()
    alice = network.agent("alice", {FOUR[0]: None, SIX[0]: None}, controlling=True, components=2)
    alice.gather(named(), named(Transport.TCP), turn(), stun6())
    assert network.run(60, until=lambda: bool(alice.events(GatheringDone)))
    for component in (1, 2):
        found = [c.priority for c in alice.agent.local_candidates if c.component == component]
        assert len(found) == len(set(found)) >= 6


# --- relays of both families -------------------------------------------------------------------------------
def dual_stack_edge() -> Network:
    network = Network()
    network.edge(EDGE, relay_ip6=EDGE6, also=(EDGE6,))
    network.zone |= {("edge.test", "A"): EDGE, ("edge.test", "AAAA"): EDGE6}
    return network


def named(transport: Transport = Transport.UDP) -> IceServer:
    port = 3478 if transport is Transport.UDP else 443
    return IceServer(ServerKind.TURN, "edge.test", port, transport, "user", "secret")


def stun6() -> IceServer:
    return IceServer(ServerKind.STUN, address=Address(EDGE6, 3478))


def relays(peer: Peer) -> list[str]:
    return sorted(c.address.ip for c in peer.agent.local_candidates if c.type == "relay")


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_a_host_of_ipv6_alone_gets_relays_of_both_families(transport: Transport) -> None:
    network = dual_stack_edge()
    alice = network.agent("alice", {SIX[0]: None}, controlling=True)
    alice.gather(named(transport))
    assert network.run(5, until=lambda: bool(alice.events(GatheringDone)))
    assert relays(alice) == [EDGE, EDGE6]
    assert len({c.base for c in alice.agent.local_candidates if c.type == "host"}) == 1, "one host candidate"


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
@pytest.mark.parametrize("bob_ip", [FOUR[1], SIX[1]])
def test_through_its_relays_it_reaches_peers_of_either_family(transport: Transport, bob_ip: str) -> None:
    network = dual_stack_edge()
    alice = network.agent("alice", {SIX[0]: None}, controlling=True, policy=Policy.RELAY)
    bob = network.agent("bob", {bob_ip: None}, controlling=False)
    alice.gather(named(transport))
    bob.gather()
    network.run(2)
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    assert alice.agent.selected.local.address.family == Address(bob_ip, 0).family
    alice.says(b"across")
    bob.says(b"back")
    network.run(1)
    assert (alice.heard, bob.heard) == ([b"back"], [b"across"])


def test_a_host_of_ipv4_alone_reaches_ipv6_when_it_is_told_to_ask_for_such_a_relay() -> None:
    network = dual_stack_edge()
    alice = network.agent("alice", {FOUR[0]: None}, controlling=True, relay_families=(4, 6))
    bob = network.agent("bob", {SIX[0]: None}, controlling=False)
    alice.gather(turn())
    bob.gather()
    network.run(2)
    assert relays(alice) == [EDGE, EDGE6]
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    assert alice.agent.selected.local.address.ip == EDGE6


def test_a_server_without_ipv6_relays_costs_nothing_but_a_note() -> None:
    network = Network()
    network.edge(EDGE, also=(EDGE6,))
    network.zone |= {("edge.test", "A"): EDGE, ("edge.test", "AAAA"): EDGE6}
    alice = network.agent("alice", {SIX[0]: None}, controlling=True)
    alice.gather(named())
    assert network.run(5, until=lambda: bool(alice.events(GatheringSettled)))
    assert relays(alice) == [EDGE]
    assert not alice.records(records.ServerRefused)
    (note,) = alice.records(records.Note)
    assert note.text == "turn:edge.test:3478?transport=udp has no relayed addresses of IPv6"


def test_a_server_of_ipv6_alone_refuses_the_relay_of_ipv4_on_record() -> None:
    network = Network()
    network.edge(EDGE6)
    alice = network.agent("alice", {SIX[0]: None}, controlling=True)
    alice.gather(IceServer(ServerKind.TURN, EDGE6, 3478, Transport.UDP, "user", "secret"))
    network.run(2)
    assert relays(alice) == [EDGE6]
    (refused,) = alice.records(records.ServerRefused)
    assert refused.code == 440


def test_only_ipv6_relays_where_that_is_asked_for_and_the_address_is_still_learned() -> None:
    network = Network()
    network.edge()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True, relay_families=(6,))
    alice.gather(turn())
    network.run(2)
    assert relays(alice) == []
    assert "Binding" in {r.method for r in alice.records(records.StunSent)}


def test_all_of_it_is_given_back() -> None:
    network = dual_stack_edge()
    edge = network.hosts[0].machine
    alice = network.agent("alice", {SIX[0]: None, FOUR[0]: None}, controlling=True)
    alice.gather(named(), named(Transport.TCP))
    network.run(2)
    assert len(edge.allocations) == 6
    alice.do(lambda agent, now: agent.close(now))
    assert network.run(5, until=lambda: alice.agent.closed)
    assert (edge.allocations, alice.sockets) == ((), [])


def test_which_relays_are_asked_for() -> None:
    automatic, both = AgentConfig(True), AgentConfig(True, relay_families=(6, 4))
    assert [relay_families(automatic, path) for path in (4, 6)] == [(4,), (4, 6)]
    assert [relay_families(both, path) for path in (4, 6)] == [(6, 4), (6, 4)]


def test_candidates_of_both_families_are_told() -> None:
    network = dual_stack_edge()
    alice = network.agent("alice", {FOUR[0]: None, SIX[0]: None}, controlling=True)
    alice.gather(named())
    network.run(2)
    told = {(e.candidate.type.value, e.candidate.address.family) for e in alice.events(CandidateFound)}
    assert told == {("host", 4), ("host", 6), ("relay", 4), ("relay", 6)}
