"""Interfaces that come and go while an agent lives, and what an application may say about them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import AddressesChanged, CloseUdp, UdpOpened, drain
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.config import AgentConfig, Policy
from iceway.ice.events import (
    CandidateFound,
    ConsentLostEvent,
    Failed,
    GatheringDone,
    IceState,
    RestartNeeded,
)
from iceway.trace import records
from tests.ice.harness import (
    EDGE,
    INDEPENDENT,
    PORT,
    Nat,
    Network,
    Peer,
    exchange,
    mirrored,
    stun_server,
    trickle,
    turn,
)

WIFI, MOBILE = {"192.168.1.10": "home"}, {"10.64.0.7": "mobile"}
HOME, CARRIER = "198.51.100.10", "198.51.100.30"


def call(**config: object) -> tuple[Network, Peer, Peer]:
    """Alice on her wifi talks to Bob on the internet; a mobile network is in reach."""
    network = Network()
    network.edge()
    network.nats |= {"home": Nat(HOME), "mobile": Nat(CARRIER)}
    alice = network.agent("alice", WIFI, controlling=True, **config)
    bob = network.agent("bob", {"203.0.113.20": None}, controlling=False)
    for peer in (alice, bob):
        peer.gather(turn(), turn(transport=Transport.TCP))
    network.run(1)
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    return network, alice, bob


def restarts(network: Network, alice: Peer, bob: Peer) -> None:
    """Alice's application does as it is told: restart, offer, answer."""
    alice.do(lambda agent, now: agent.restart(now))
    bob.do(lambda agent, now: agent.restart(now))
    alice.told, bob.told = len(alice.events(CandidateFound)), 0
    exchange(alice, bob)
    for candidate in alice.agent.local_candidates:
        bob.do(lambda agent, now, c=candidate: agent.add_remote_candidate(c, now))
    trickle(network, alice, bob, 3)


def told(peer: Peer) -> set[str]:
    return {event.candidate.address.ip for event in peer.events(CandidateFound)}


# --- the network changes ------------------------------------------------------------------------------------
def test_from_wifi_to_mobile_in_the_middle_of_a_call() -> None:
    network, alice, bob = call()
    network.run(20)
    began = network.now
    alice.moves(MOBILE)
    (needed,) = alice.events(RestartNeeded)
    assert needed.reason == "the selected path stands on 192.168.1.10, which is gone"
    network.run(0.2)  # What signalling takes.
    restarts(network, alice, bob)
    assert mirrored(alice, bob)
    assert network.now - began < 5, "long before consent on the old path is lost"
    assert alice.agent.selected.local.address.ip == CARRIER
    alice.says(b"from the train")
    bob.says(b"where are you?")
    network.run(1)
    assert (alice.heard[-1], bob.heard[-1]) == (b"where are you?", b"from the train")
    assert not alice.events(Failed) + bob.events(Failed)
    network.run(120)
    assert {alice.agent.state, bob.agent.state} == {IceState.COMPLETED}
    assert {local.ip for local in alice.sockets} == {"10.64.0.7"}, "the old socket went with the old path"


def test_an_interface_beside_the_one_in_use_changes_nothing_but_candidates() -> None:
    network, alice, bob = call()
    path = alice.agent.selected
    alice.moves(WIFI | MOBILE)
    assert network.run(5, until=lambda: len(alice.events(GatheringDone)) == 2)
    assert {"10.64.0.7", CARRIER} <= told(alice)
    network.run(60)
    assert network.hosts[0].machine.allocations == (), "relays that nobody uses were given back"
    alice.moves(WIFI)
    network.run(1)
    assert alice.agent.selected == path
    assert not alice.events(RestartNeeded)
    assert {local.ip for local in alice.sockets} == {"192.168.1.10"}
    assert {c.base.ip for c in alice.agent.local_candidates} == {"192.168.1.10"}
    alice.says(b"still here")
    network.run(1)
    assert bob.heard == [b"still here"]


def test_an_address_that_vanishes_from_the_list_but_works_loses_no_call() -> None:
    network, alice, bob = call()
    network.give(alice.host, AddressesChanged(()))
    assert alice.events(RestartNeeded)
    network.run(120)
    assert mirrored(alice, bob)
    alice.says(b"still here")
    network.run(1)
    assert bob.heard == [b"still here"]
    network.give(alice.host, AddressesChanged(tuple(WIFI)))
    network.run(5)
    restarts(network, alice, bob)
    assert mirrored(alice, bob)
    assert len({local for local in alice.sockets if local.ip == "192.168.1.10"}) == 1


def test_a_dead_path_that_nobody_restarts_ends_by_consent() -> None:
    network, alice, _ = call()
    alice.moves(MOBILE)
    network.run(29)
    assert not alice.events(Failed)
    network.run(10)
    (lost,) = alice.events(ConsentLostEvent)
    assert lost.silent_for == pytest.approx(30, abs=0.1)
    assert alice.agent.state is IceState.FAILED
    assert {local.ip for local in alice.sockets} == {"10.64.0.7"}


def test_before_selection_the_pairs_of_a_lost_interface_fail_and_others_go_on() -> None:
    network = Network()
    alice = network.agent("alice", {"203.0.113.1": None, "203.0.113.2": None}, controlling=True)
    bob = network.agent("bob", {"203.0.113.9": None}, controlling=False)
    for peer in (alice, bob):
        peer.gather()
    network.run(0.1)
    network.drop = lambda source, target, data: source.ip == "203.0.113.1"
    exchange(alice, bob)
    alice.moves({"203.0.113.2": None})
    assert network.run(5, until=lambda: mirrored(alice, bob))
    assert {r.reason for r in alice.records(records.PairFailed)} == {"the interface 203.0.113.1 is gone"}
    assert not alice.events(RestartNeeded)


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_a_relay_in_use_is_kept_until_the_restart_has_another(transport: Transport) -> None:
    network = Network()
    network.edge()
    network.nats |= {"home": Nat(HOME), "mobile": Nat(CARRIER)}
    alice = network.agent("alice", WIFI, controlling=True, policy=Policy.RELAY)
    bob = network.agent("bob", {"203.0.113.20": None}, controlling=False)
    alice.gather(turn(transport=transport))
    bob.gather()
    network.run(1)
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    old = alice.agent.selected.local.address
    alice.moves(MOBILE)
    network.run(1)
    assert alice.events(RestartNeeded)
    assert old not in [c.address for c in alice.agent.local_candidates]
    restarts(network, alice, bob)
    assert mirrored(alice, bob)
    assert alice.agent.selected.local.address not in (old, None)
    network.run(15)
    alice.do(lambda agent, now: agent.close(now))
    assert network.run(5, until=lambda: alice.agent.closed)
    assert not alice.sockets
    assert alice.agent.poll_timeout() is None


def test_a_new_family_has_servers_looked_up_for_it() -> None:
    network = Network()
    network.edge(EDGE, also=("2001:db8:ed::2",), relay_ip6="2001:db8:ed::2")
    network.zone |= {("edge.test", "A"): EDGE, ("edge.test", "AAAA"): "2001:db8:ed::2"}
    alice = network.agent("alice", {"203.0.113.1": None}, controlling=True)
    server = turn()
    alice.gather(type(server)(server.kind, "edge.test", 3478, Transport.UDP, "user", "secret"))
    network.run(2)
    assert told(alice) == {"203.0.113.1", EDGE}
    alice.moves({"203.0.113.1": None, "2001:db8::1": None})
    network.run(2)
    assert told(alice) == {"203.0.113.1", EDGE, "2001:db8::1", "2001:db8:ed::2"}


def test_the_same_addresses_again_are_no_change() -> None:
    network, alice, _ = call()
    before = len(network.log)
    alice.moves(WIFI)
    assert len(network.log) == before
    alice.do(lambda agent, now: agent.close(now))
    alice.moves(MOBILE)
    assert not alice.events(RestartNeeded)


def test_a_socket_that_opens_after_its_interface_left_is_closed() -> None:
    network = Network()
    alice = network.agent("alice", {"203.0.113.1": None}, controlling=True)
    alice.agent.gather(("203.0.113.1",), (), network.now)
    (key,) = [o.key for o in drain(alice.agent) if hasattr(o, "key")]
    alice.agent.handle_input(AddressesChanged(()), network.now)
    drain(alice.agent)
    late = Address("203.0.113.1", 5000)
    alice.agent.handle_input(UdpOpened(key, late), network.now)
    assert CloseUdp(late) in drain(alice.agent)
    assert alice.agent.local_candidates == ()


def test_a_server_that_was_being_asked_from_a_lost_interface_has_its_word() -> None:
    network = Network()
    alice = network.agent("alice", {"203.0.113.1": None}, controlling=True)
    alice.gather(turn("198.51.100.66"))
    network.run(0.5)
    alice.moves({"203.0.113.2": None})
    (gone,) = alice.records(records.ServerUnreachable)
    assert gone.detail == "the interface 203.0.113.1 is gone"
    network.run(0.5)
    assert {r.local.ip for r in alice.records(records.StunSent)} == {"203.0.113.1", "203.0.113.2"}


# --- what an application may say -----------------------------------------------------------------------------
def test_interfaces_may_be_filtered_at_first_and_later() -> None:
    network = Network()
    ips = {"203.0.113.1": None, "10.8.0.1": None}
    alice = network.agent(
        "alice", ips, controlling=True, interface_filter=lambda ip: not ip.startswith("10.8.")
    )
    alice.gather()
    network.run(0.1)
    assert told(alice) == {"203.0.113.1"}
    alice.moves(ips | {"10.8.0.9": None, "203.0.113.2": None})
    network.run(0.1)
    assert told(alice) == {"203.0.113.1", "203.0.113.2"}


def test_the_outside_of_a_one_to_one_nat_is_told_without_asking_anybody() -> None:
    network = Network()
    network.edge()
    network.nats["cloud"] = Nat("198.51.100.40")
    cloud = network.agent(
        "cloud", {"10.0.0.5": "cloud"}, controlling=True, external_ips=(("10.0.0.5", "198.51.100.40"),)
    )
    cloud.gather()
    network.run(0.1)
    host, outside = cloud.agent.local_candidates
    assert (outside.type, outside.address) == ("srflx", Address("198.51.100.40", host.address.port))
    assert (outside.base, outside.related) == (host.address, host.address)


def test_no_relay_asks_turn_servers_for_the_address_alone() -> None:
    network = Network()
    edge = network.edge()
    network.nats["home"] = Nat(HOME)
    alice = network.agent("alice", WIFI, controlling=True, policy=Policy.NO_RELAY)
    alice.gather(turn(), turn(transport=Transport.TCP))
    network.run(1)
    assert [c.type for c in alice.agent.local_candidates] == ["host", "srflx"]
    assert {r.method for r in alice.records(records.StunSent)} == {"Binding"}
    assert edge.allocations == ()


def test_preferences_of_the_application_rank_candidates_of_a_type() -> None:
    def prefer(candidate: Candidate) -> int:
        return {"203.0.113.1": -5, "203.0.113.2": 70_000}.get(candidate.address.ip, 100)

    network = Network()
    ips = dict.fromkeys(("203.0.113.1", "203.0.113.3", "203.0.113.4", "203.0.113.2"))
    alice = network.agent("alice", ips, controlling=True, preference=prefer)
    alice.gather(stun_server())
    network.run(0.1)
    preferences = {c.address.ip[-1]: c.priority >> 8 & 0xFFFF for c in alice.agent.local_candidates}
    assert preferences == {"1": 0, "3": 100, "4": 99, "2": 65535}


@pytest.mark.parametrize(
    "wrong",
    [
        {"external_ips": (("10.0.0.1", "cloud.test"),)},
        {"external_ips": (("10.0.0.1", "2001:db8::1"),)},
        {"relay_families": (5,)},
        {"ports": (5000, 4000)},
        {"ports": (0, 10)},
    ],
)
def test_impossible_configurations_are_our_callers_mistake(wrong: dict) -> None:
    with pytest.raises(UsageError):
        AgentConfig(True, **wrong)


# --- any journey ---------------------------------------------------------------------------------------------
PLACES = {"192.168.1.10": "home", "10.64.0.7": "mobile", "203.0.113.10": None, "2001:db8::10": None}
places = st.lists(st.sampled_from(sorted(PLACES)), min_size=1, unique=True)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    first=places,
    journey=st.lists(st.tuples(places, st.sampled_from([0.1, 1.0, 4.0])), max_size=5),
    symmetric=st.booleans(),
    policy=st.sampled_from([Policy.ALL, Policy.NO_RELAY]),
    components=st.sampled_from([1, 2]),
    relay_families=st.sampled_from([(), (4, 6)]),
)
def test_wherever_it_went_the_call_goes_on_and_nothing_is_left(
    seed, first, journey, symmetric, policy, components, relay_families
) -> None:
    network = Network(seed, jitter=0.02)
    edge = network.edge(relay_ip6="2001:db8:ed::2", also=("2001:db8:ed::2",))
    mapping = PORT if symmetric else INDEPENDENT
    network.nats |= {"home": Nat(HOME, mapping), "mobile": Nat(CARRIER, mapping)}
    alice = network.agent(
        "alice",
        {ip: PLACES[ip] for ip in first},
        controlling=True,
        policy=policy,
        components=components,
        relay_families=relay_families,
    )
    bob = network.agent(
        "bob", {"203.0.113.20": None, "2001:db8::20": None}, controlling=False, components=components
    )
    for peer in (alice, bob):
        peer.gather(turn(), turn(transport=Transport.TCP), turn("198.51.100.66"))
    network.run(0.5)
    exchange(alice, bob)
    for ips, pause in [*journey, (["203.0.113.10"], 1.0)]:
        trickle(network, alice, bob, pause)
        needed = len(alice.events(RestartNeeded))
        alice.moves({ip: PLACES[ip] for ip in ips})
        if len(alice.events(RestartNeeded)) > needed:
            restarts(network, alice, bob)
    trickle(network, alice, bob, 3)
    if not mirrored(alice, bob):
        restarts(network, alice, bob)  # The move came before there was a path to lose.
    network.run(30)
    assert mirrored(alice, bob)
    assert {local.ip for local in alice.sockets} == {"203.0.113.10"}
    for peer in (alice, bob):
        peer.do(lambda agent, now: agent.close(now))
    network.run(5)
    for peer in (alice, bob):
        assert (peer.agent.closed, peer.sockets, peer.agent.poll_timeout()) == (True, [], None)
    network.run(900)
    assert edge.allocations == (), "what could not be given back has expired"


def test_a_restart_tries_at_once_what_came_too_late_to_be_worth_it_before() -> None:
    """Bob's NAT lets the relay in only after a check of his own, and his old session never made one."""
    network = Network()
    network.renominates = True
    network.edge()
    network.nats["home"] = Nat(HOME)
    alice = network.agent("alice", {"203.0.113.20": None}, controlling=True)
    bob = network.agent("bob", WIFI, controlling=False)
    alice.gather()
    bob.gather(stun_server())
    network.run(1)
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    alice.do(lambda agent, now: agent.add_servers((turn(),), now))
    trickle(network, alice, bob, 2)
    network.run(10)
    network.drop = lambda source, target, data: (
        "203.0.113.20" in (source.ip, target.ip) and EDGE not in (source.ip, target.ip)
    )
    for peer in (alice, bob):
        peer.do(lambda agent, now: agent.restart(now))
        peer.told = 0
    network.run(0.5)
    exchange(alice, bob)
    assert network.run(6, until=lambda: mirrored(alice, bob))
    assert alice.agent.selected.local.type is CandidateType.RELAY


def test_a_nat_that_forgets_is_seen_by_both_ends_under_its_new_port() -> None:
    """RFC 7675 asks whether the peer listens; its answers also tell where it hears us from."""
    network = Network()
    network.nats["home"] = Nat(HOME, filtering=INDEPENDENT)
    alice = network.agent("alice", WIFI, controlling=False)
    bob = network.agent("bob", {"203.0.113.20": None}, controlling=True)
    alice.gather()
    bob.gather()
    network.run(0.5)
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    before = alice.agent.selected
    network.nats["home"].mapped.clear()
    network.run(8)
    after = alice.agent.selected
    assert before is not None
    assert after is not None
    assert after.local.address != before.local.address
    assert after.local.base == before.local.base
    (note,) = [note.text for note in alice.records(records.Note) if "a NAT shows" in note.text]
    assert str(after.local.address) in note
