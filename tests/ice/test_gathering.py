"""Gathering: many servers at once, dead ones, refusing ones, names, and what is said of each."""

from __future__ import annotations

import pytest

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import (
    Answer,
    CloseUdp,
    Connect,
    OpenUdp,
    Resolve,
    Resolved,
    TlsClient,
    UdpOpened,
    drain,
)
from iceway.ice.candidate import CandidateType
from iceway.ice.config import IceServer, Policy, ServerKind
from iceway.ice.events import CandidateFound, GatheringDone, GatheringSettled
from iceway.trace import records
from tests.ice.harness import EDGE, INDEPENDENT, PORT, Nat, Network, Peer, at_home, kinds, stun_server, turn

NOWHERE = "198.51.100.99"


def when(network: Network, peer: Peer, kind: type) -> float:
    network.run(100, until=lambda: bool(peer.events(kind)))
    return network.now - 1000


# --- what is found ----------------------------------------------------------------------------------------
def test_each_candidate_is_told_as_it_is_found() -> None:
    network, alice = at_home()
    alice.gather(turn(), turn(transport=Transport.TCP))
    network.run(1)
    assert kinds(alice) == ["host", "srflx", "relay over UDP", "relay over TCP"]
    assert [event.candidate for event in alice.events(CandidateFound)] == list(alice.agent.local_candidates)
    preferences = [candidate.priority for candidate in alice.agent.local_candidates]
    assert preferences == sorted(preferences, reverse=True)


def test_a_relay_tells_our_address_a_round_trip_before_it_lends_one() -> None:
    network, alice = at_home()
    alice.gather(turn())
    found = {
        kind: network.run(1, until=lambda kind=kind: kind in [c.type for c in alice.agent.local_candidates])
        and network.now - 1000
        for kind in (CandidateType.SRFLX, CandidateType.RELAY)
    }
    trip = found[CandidateType.RELAY] / 2  # the first answer to Allocate is 401
    assert found[CandidateType.SRFLX] == pytest.approx(trip, abs=0.01)
    network.run(1)
    assert len(alice.records(records.ServerAnswered)) == 1


def test_a_dead_relay_is_one_dead_server() -> None:
    network, alice = at_home()
    alice.gather(turn(NOWHERE))
    network.run(50)
    assert len(alice.records(records.ServerUnreachable)) == 1
    assert alice.events(GatheringDone)


def test_an_agent_closed_before_it_asked_its_servers_is_closed() -> None:
    network, alice = at_home()
    alice.gather(turn(), stun_server())
    alice.do(lambda agent, now: agent.close(now))
    network.run(1)
    assert alice.agent.closed


def test_related_addresses_tell_the_way() -> None:
    network, alice = at_home()
    alice.gather(turn())
    network.run(1)
    host, srflx, relay = alice.agent.local_candidates
    assert host.related is None
    assert srflx.related == host.address == srflx.base
    assert relay.related == srflx.address
    assert relay.base == relay.address


def test_the_stories_of_servers_are_on_record() -> None:
    network, alice = at_home()
    alice.gather(turn(), turn(password="wrong", transport=Transport.TCP), stun_server(NOWHERE))
    network.run(50)
    (answered,) = [r for r in alice.records(records.ServerAnswered) if r.server.startswith("turn:")]
    assert answered.server == "turn:198.51.100.2:3478?transport=udp"
    assert answered.round_trip == pytest.approx(0.04)
    (refused,) = alice.records(records.ServerRefused)
    assert (refused.server, refused.code) == ("turn:198.51.100.2:443?transport=tcp", 401)
    assert "user name and password" in refused.detail
    (dead,) = alice.records(records.ServerUnreachable)
    assert (dead.server, dead.detail) == ("stun:198.51.100.99:3478", "no answer to 7 requests in 39.5 s")
    (finished,) = alice.records(records.GatheringFinished)
    assert finished.duration == pytest.approx(39.5, abs=0.1)


def test_a_host_without_nat_has_no_reflexive_candidate() -> None:
    network = Network()
    network.edge()
    alice = network.agent("alice", {"203.0.113.10": None}, controlling=True)
    alice.gather(turn())
    network.run(1)
    assert kinds(alice) == ["host", "relay over UDP"]
    (pruned,) = alice.records(records.CandidatePruned)
    assert pruned.candidate.type == "srflx"
    assert "repeats host" in pruned.reason


def test_two_servers_that_see_the_same_address_give_one_reflexive_candidate() -> None:
    network, alice = at_home()
    alice.gather(stun_server(), turn(transport=Transport.TCP), turn())
    network.run(1)
    assert kinds(alice).count("srflx") == 1


def test_interfaces_that_nobody_else_can_reach_are_left_out() -> None:
    network = Network()
    ips = {"127.0.0.1": None, "169.254.3.4": None, "fe80::1": None, "203.0.113.10": None, "::1": None}
    alice = network.agent("alice", ips, controlling=True)
    alice.gather()
    network.run(0.1)
    assert [candidate.address.ip for candidate in alice.agent.local_candidates] == ["203.0.113.10"]


def test_loopback_is_used_when_it_is_all_there_is() -> None:
    network = Network()
    alice = network.agent("alice", {"127.0.0.1": None}, controlling=True)
    alice.gather()
    network.run(0.1)
    assert [candidate.address.ip for candidate in alice.agent.local_candidates] == ["127.0.0.1"]


def test_an_interface_that_cannot_be_opened_stops_nobody() -> None:
    network = Network()
    alice = network.agent("alice", {"203.0.113.10": None}, controlling=True)
    alice.do(lambda agent, now: agent.gather(("10.9.9.9", "203.0.113.10"), (), now))
    network.run(0.1)
    assert alice.events(GatheringDone)
    assert len(alice.agent.local_candidates) == 1
    assert any("10.9.9.9 is not here" in note.text for note in alice.records(records.Note))


def test_the_port_range_is_asked_for() -> None:
    _, alice = at_home(ports=(50000, 50099))
    alice.agent.gather(("192.168.1.10",), (), 0.0)
    (request,) = [output for output in drain(alice.agent) if isinstance(output, OpenUdp)]
    assert request.ports == (50000, 50099)


def test_each_family_asks_its_own_servers() -> None:
    network = Network()
    network.edge()
    alice = network.agent("alice", {"2001:db8::1": None, "203.0.113.10": None}, controlling=True)
    alice.gather(stun_server(), turn())
    network.run(1)
    sent = alice.records(records.StunSent)
    assert sent
    assert all(r.local.family == r.remote.family for r in sent)


# --- when to go on ----------------------------------------------------------------------------------------
def test_settled_at_once_when_everybody_answered() -> None:
    network, alice = at_home()
    alice.gather(turn(), turn(transport=Transport.TCP))
    assert when(network, alice, GatheringSettled) < 0.15
    assert alice.events(GatheringDone)


def test_a_dead_server_delays_the_offer_half_a_second_and_not_forty() -> None:
    network, alice = at_home()
    alice.gather(turn(), turn(NOWHERE))
    assert when(network, alice, GatheringSettled) == pytest.approx(0.5)
    assert not alice.events(GatheringDone)
    assert when(network, alice, GatheringDone) == pytest.approx(39.5, abs=0.1)


def test_no_server_at_all_delays_it_two_seconds() -> None:
    network, alice = at_home()
    network.dead.add("edge")
    alice.gather(turn(), stun_server())
    assert when(network, alice, GatheringSettled) == pytest.approx(2.0)
    assert kinds(alice) == ["host"]


def test_a_slow_network_is_given_time() -> None:
    network = Network()
    network.edge()
    network.nats["home"] = Nat("198.51.100.10")
    alice = network.agent("alice", {"192.168.1.10": "home"}, controlling=True, delay=0.3)
    alice.gather(turn(), turn(NOWHERE))
    assert when(network, alice, GatheringSettled) > 1.2


def test_adding_servers_later_is_gathering_anew() -> None:
    network, alice = at_home()
    alice.gather()
    network.run(0.1)
    assert len(alice.events(GatheringDone)) == 1
    alice.do(lambda agent, now: agent.add_servers((turn(),), now))
    network.run(1)
    assert len(alice.events(GatheringDone)) == 2
    assert kinds(alice) == ["host", "srflx", "relay over UDP"]


def test_the_same_server_twice_is_asked_once() -> None:
    network, alice = at_home()
    alice.gather(turn(), turn())
    network.run(1)
    assert kinds(alice) == ["host", "srflx", "relay over UDP"]


# --- names ------------------------------------------------------------------------------------------------
def test_names_are_looked_up_for_the_families_there_are() -> None:
    network, alice = at_home()
    network.zone["av.example.test", "A"] = EDGE
    alice.gather(IceServer(ServerKind.TURN, "av.example.test", username="user", password="secret"))
    network.run(1)
    assert kinds(alice) == ["host", "srflx", "relay over UDP"]
    (resolved,) = alice.records(records.NameResolved)
    assert (resolved.record_type, resolved.answers) == ("A", (EDGE,))
    assert alice.agent.local_candidates[-1].server == "turn:av.example.test:3478?transport=udp"


def test_a_name_that_nobody_knows_is_a_server_that_cannot_be_reached() -> None:
    network, alice = at_home()
    alice.gather(stun_server(), IceServer(ServerKind.TURN, "typo.example.test"))
    network.run(1)
    (record,) = alice.records(records.ServerUnreachable)
    assert record.detail == "its name did not resolve: no such name"
    assert alice.events(GatheringDone)


def test_a_name_may_be_an_address() -> None:
    network, alice = at_home()
    alice.gather(IceServer(ServerKind.STUN, EDGE))
    network.run(1)
    assert kinds(alice) == ["host", "srflx"]


def test_when_the_first_address_of_a_name_is_dead_the_next_is_tried() -> None:
    network, alice = at_home()
    server = IceServer(
        ServerKind.TURN, "av.example.test", 443, Transport.TCP, username="user", password="secret"
    )
    alice.agent.gather(("192.168.1.10",), (server,), network.now)
    requests = drain(alice.agent)
    (look_up,) = [output for output in requests if isinstance(output, Resolve)]
    found = Resolved(look_up.key, look_up.name, "A", (Answer("garbage"), Answer(NOWHERE), Answer(EDGE)))
    alice.do(lambda agent, now: agent.handle_input(found, now))
    network.run(1)
    assert kinds(alice) == ["relay over TCP"]
    assert alice.records(records.ServerUnreachable)[0].detail == "connection refused"


def test_tls_checks_the_name_that_was_asked_for() -> None:
    _, alice = at_home()
    server = IceServer(ServerKind.TURN, "av.example.test", 443, Transport.TLS, "u", "p", Address(EDGE, 443))
    alice.agent.gather(("192.168.1.10",), (server,), 0.0)
    drain(alice.agent)
    alice.agent.handle_timeout(0.0)
    (connect,) = [output for output in drain(alice.agent) if isinstance(output, Connect)]
    assert connect.tls == TlsClient("av.example.test")
    assert server.label == "turns:av.example.test:443?transport=tcp"


def test_a_server_without_place_is_our_callers_mistake() -> None:
    with pytest.raises(UsageError, match="needs an address"):
        IceServer(ServerKind.STUN)
    with pytest.raises(UsageError, match="needs an address"):
        IceServer(ServerKind.STUN, "example.test", 0)


# --- relay only, symmetric, closing -----------------------------------------------------------------------
def test_under_the_relay_policy_no_stun_server_is_asked() -> None:
    network, alice = at_home(policy=Policy.RELAY)
    alice.gather(stun_server(), turn(password="wrong"))
    network.run(2)
    assert kinds(alice) == []
    assert {r.method for r in alice.records(records.StunSent)} == {"Allocate"}


@pytest.mark.parametrize("mapping", [INDEPENDENT, PORT])
def test_a_symmetric_nat_shows_one_address_per_server(mapping: str) -> None:
    network = Network()
    network.edge()
    network.edge("198.51.100.3")
    network.nats["home"] = Nat("198.51.100.10", mapping=mapping)
    alice = network.agent("alice", {"192.168.1.10": "home"}, controlling=True)
    alice.gather(stun_server(), stun_server("198.51.100.3"))
    network.run(1)
    assert kinds(alice).count("srflx") == (1 if mapping == INDEPENDENT else 2)


def test_a_socket_that_opens_after_the_end_is_closed_again() -> None:
    _, alice = at_home()
    alice.agent.gather(("192.168.1.10",), (), 0.0)
    (request,) = [output for output in drain(alice.agent) if isinstance(output, OpenUdp)]
    alice.agent.close(0.0)
    assert not alice.agent.closed
    alice.agent.handle_input(UdpOpened(request.key, Address("192.168.1.10", 5)), 0.0)
    assert CloseUdp(Address("192.168.1.10", 5)) in drain(alice.agent)
    assert alice.agent.closed
