"""Two agents, a network between them, and what they make of it."""

from __future__ import annotations

import pytest

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import AddressesChanged, ClockSet
from iceway.ice.candidate import parse
from iceway.ice.config import Policy
from iceway.ice.events import (
    CandidateFound,
    ConsentLostEvent,
    Failed,
    GatheringDone,
    GatheringSettled,
    IceState,
    PairValid,
    Selected,
    StateChanged,
)
from iceway.trace import records
from tests.ice.harness import (
    ADDRESS,
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

HOME, HQ = "198.51.100.10", "198.51.100.20"
EDGES = ("198.51.100.3", "198.51.100.4")
BOTH = (turn(), turn(transport=Transport.TCP))


def neighbours(seed: int = 1, **weather: float) -> tuple[Network, Peer, Peer]:
    """Two hosts in one network, nothing between them."""
    network = Network(seed, **weather)
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True)
    bob = network.agent("bob", {"10.0.0.2": None}, controlling=False)
    return network, alice, bob


def far_apart(
    home: Nat | None, hq: Nat | None, seed: int = 1, **weather: float
) -> tuple[Network, Peer, Peer]:
    """Alice at home, Bob at headquarters, each behind a NAT, and an edge on the internet."""
    network = Network(seed, **weather)
    network.edge()
    if home:
        network.nats["home"] = home
    if hq:
        network.nats["hq"] = hq
    alice = network.agent(
        "alice", {"192.168.1.10": "home"} if home else {"203.0.113.10": None}, controlling=True
    )
    bob = network.agent("bob", {"10.0.0.20": "hq"} if hq else {"203.0.113.20": None}, controlling=False)
    return network, alice, bob


def gathered(network: Network, *peers: Peer, servers: tuple = BOTH) -> None:
    for peer in peers:
        peer.gather(*servers)
    assert network.run(5, until=lambda: all(peer.agent.gathering_settled for peer in peers))


def connected(network: Network, alice: Peer, bob: Peer, seconds: float = 5.0) -> tuple[str, str]:
    """Let them find their path; returns its candidate types as Alice sees them."""
    exchange(alice, bob)
    assert network.run(seconds, until=lambda: mirrored(alice, bob)), failure(alice, bob)
    path = alice.agent.selected
    alice.says(b"hello")
    bob.says(b"hi")
    network.run(0.3)
    assert b"hello" in bob.heard
    assert b"hi" in alice.heard
    return path.local.type.value, path.remote.type.value


def failure(alice: Peer, bob: Peer) -> str:
    return f"alice: {alice.agent.state} {alice.agent.selected}; bob: {bob.agent.state} {bob.agent.selected}"


# --- the four networks of a call --------------------------------------------------------------------------
def test_neighbours_talk_directly() -> None:
    network, alice, bob = neighbours()
    gathered(network, alice, bob, servers=())
    assert connected(network, alice, bob) == ("host", "host")


def test_neighbours_behind_one_nat_talk_directly_although_an_edge_is_there() -> None:
    network = Network()
    network.edge()
    network.nats["hq"] = Nat(HQ)
    alice = network.agent("alice", {"10.0.0.1": "hq"}, controlling=True)
    bob = network.agent("bob", {"10.0.0.2": "hq"}, controlling=False)
    gathered(network, alice, bob)
    assert connected(network, alice, bob) == ("host", "host")


def test_two_ordinary_nats_are_punched() -> None:
    network, alice, bob = far_apart(Nat(HOME), Nat(HQ))
    gathered(network, alice, bob)
    assert connected(network, alice, bob) == ("srflx", "srflx")


def test_a_symmetric_nat_against_a_strict_one_needs_the_relay() -> None:
    network, alice, bob = far_apart(Nat(HOME, mapping=PORT), Nat(HQ))
    gathered(network, alice, bob)
    connected(network, alice, bob)
    path = alice.agent.selected
    relays = [c for c in (path.local, bob.agent.selected.local) if c.type == "relay"]
    assert relays
    assert {c.relay_transport for c in relays} == {Transport.UDP}


def test_a_symmetric_nat_against_a_lenient_one_is_passed_with_a_learned_candidate() -> None:
    network, alice, bob = far_apart(Nat(HOME, mapping=PORT), Nat(HQ, filtering=INDEPENDENT))
    gathered(network, alice, bob)
    assert connected(network, alice, bob) == ("prflx", "srflx")


def test_a_check_that_came_too_early_is_waited_for_until_it_is_repeated() -> None:
    # Only checks from behind the symmetric NAT can open the way, and bob's first finds alice's filter closed. With
    # more than ten pairs at 50 ms it is repeated after more than 500 ms; until then there is only the relay.
    network, alice, bob = far_apart(Nat(HOME, filtering=ADDRESS), Nat(HQ, mapping=PORT))
    others = tuple(turn(ip, transport) for ip in EDGES for transport in (Transport.UDP, Transport.TCP))
    for ip in EDGES:
        network.edge(ip)
    gathered(network, alice, bob, servers=(*BOTH, *others))
    alice.meets(bob)
    network.run(0.15)
    bob.meets(alice)
    network.run(5.0)
    assert mirrored(alice, bob)
    path = alice.agent.selected
    assert (path.local.type, path.remote.type) == ("srflx", "prflx")


def test_two_homes_need_not_wait_for_their_private_addresses() -> None:
    network, alice, bob = far_apart(Nat(HOME), Nat(HQ))
    gathered(network, alice, bob)
    exchange(alice, bob)
    network.run(0.4)  # 62 ms a round trip: one for the check, one for the private addresses, one to nominate
    assert mirrored(alice, bob)


def test_who_knows_that_udp_is_blocked_settles_for_tcp_at_once() -> None:
    network, alice, bob = far_apart(Nat(HOME, blocks_udp=True), Nat(HQ))
    gathered(network, alice, bob)
    network.run(0.05)
    exchange(alice, bob)
    network.run(0.6)
    assert mirrored(alice, bob)
    assert alice.agent.selected.local.relay_transport is Transport.TCP


def test_a_firewall_that_drops_udp_leaves_the_relay_over_tcp() -> None:
    network, alice, bob = far_apart(Nat(HOME), Nat(HQ, blocks_udp=True))
    gathered(network, alice, bob)
    connected(network, alice, bob)
    local = bob.agent.selected.local
    assert (local.type, local.relay_transport) == ("relay", Transport.TCP)


def test_two_firewalls_that_drop_udp_leave_relay_to_relay() -> None:
    network, alice, bob = far_apart(Nat(HOME, blocks_udp=True), Nat(HQ, blocks_udp=True))
    gathered(network, alice, bob)
    assert connected(network, alice, bob) == ("relay", "relay")


def test_ipv6_neighbours() -> None:
    network = Network()
    alice = network.agent("alice", {"2001:db8::1": None}, controlling=True)
    bob = network.agent("bob", {"2001:db8::2": None}, controlling=False)
    gathered(network, alice, bob, servers=())
    assert connected(network, alice, bob) == ("host", "host")


def test_the_preferred_interface_wins_where_both_work() -> None:
    network = Network()
    alice = network.agent("alice", {"2001:db8::1": None, "10.0.0.1": None}, controlling=True)
    bob = network.agent("bob", {"2001:db8::2": None, "10.0.0.2": None}, controlling=False)
    gathered(network, alice, bob, servers=())
    connected(network, alice, bob)
    assert alice.agent.selected.local.address.ip == "2001:db8::1"


# --- rough weather ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(5))
def test_a_third_of_all_packets_lost(seed: int) -> None:
    network, alice, bob = far_apart(Nat(HOME), Nat(HQ), seed, loss=0.33, jitter=0.05)
    for peer in (alice, bob):
        peer.gather(*BOTH)
    network.run(3)
    exchange(alice, bob)
    trickle(network, alice, bob, 10)
    assert network.run(30, until=lambda: mirrored(alice, bob)), failure(alice, bob)


def test_a_path_to_the_moon_works_and_lives() -> None:
    # 2.4 s of round trip: every request is retransmitted before its answer comes.
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True, delay=0.6)
    bob = network.agent("bob", {"10.0.0.2": None}, controlling=False, delay=0.6)
    gathered(network, alice, bob, servers=())
    exchange(alice, bob)
    assert network.run(30, until=lambda: mirrored(alice, bob))
    network.run(120)
    assert alice.agent.state is IceState.COMPLETED
    assert bob.agent.state is IceState.COMPLETED


# --- what the application is told ---------------------------------------------------------------------------
def test_the_story_of_a_call_in_events() -> None:
    network, alice, bob = neighbours()
    gathered(network, alice, bob, servers=())
    exchange(alice, bob)
    network.run(2)
    story = [event.state if isinstance(event, StateChanged) else type(event) for event in alice.host.events]
    assert story == [
        IceState.GATHERING,
        CandidateFound,
        GatheringSettled,
        GatheringDone,
        IceState.CHECKING,
        PairValid,
        IceState.CONNECTED,
        Selected,
        IceState.COMPLETED,
    ]


def test_media_flows_before_nomination() -> None:
    # The controlling side still waits for a better pair; both may send already.
    network, alice, bob = far_apart(Nat(HOME, mapping=PORT), Nat(HQ))
    gathered(network, alice, bob)
    exchange(alice, bob)
    assert network.run(5, until=lambda: bool(alice.events(PairValid) and bob.events(PairValid)))
    assert not alice.events(Selected)
    assert alice.says(b"early")
    assert bob.says(b"early too")
    network.run(0.1)
    assert bob.heard == [b"early"]
    assert alice.heard == [b"early too"]
    assert not alice.events(Selected)


def test_nothing_can_be_sent_while_there_is_no_path() -> None:
    network, alice, _ = neighbours()
    assert not alice.says(b"?")
    gathered(network, alice, servers=())
    assert not alice.says(b"?")


def test_data_from_strangers_is_not_heard() -> None:
    network, alice, bob = neighbours()
    gathered(network, alice, bob, servers=())
    alice.hears(b"spam", Address("203.0.113.66", 666), alice.sockets[0])
    connected(network, alice, bob)
    alice.hears(b"spam", Address("203.0.113.66", 666), alice.sockets[0])
    alice.hears(b"spam", Address("10.0.0.2", 666), alice.sockets[0])
    assert alice.heard == [b"hi"]


def test_checks_that_come_before_the_answer_are_answered_and_taken_up_later() -> None:
    network, alice, bob = neighbours()
    gathered(network, alice, bob, servers=())
    alice.meets(bob)
    network.run(0.5)
    assert not alice.events(PairValid)
    assert bob.events(PairValid), "alice answers although she does not know bob yet"
    bob.says(b"early media")
    network.run(0.1)
    assert alice.heard == [b"early media"]
    ufrag, pwd = bob.agent.local_ufrag, bob.agent.local_pwd
    alice.do(lambda agent, now: agent.set_remote(ufrag, pwd, now))
    assert network.run(2, until=lambda: mirrored(alice, bob)), "no candidate of bob was ever signalled"
    assert alice.agent.selected.remote.type == "prflx"


def test_candidates_may_come_late_and_one_by_one() -> None:
    network, alice, bob = far_apart(Nat(HOME), Nat(HQ))
    for peer in (alice, bob):
        peer.gather(*BOTH)
    exchange(alice, bob)
    assert not alice.agent.local_candidates
    trickle(network, alice, bob, 3, delay=0.2)
    assert mirrored(alice, bob)
    assert alice.agent.selected.local.type == "srflx"


def test_a_candidate_that_a_check_taught_first_is_tried_from_every_interface() -> None:
    """Bob's check comes before his candidate, and only from her other interface can Alice reach him."""
    network = Network()
    network.nats["left"] = Nat("198.51.100.10")
    alice = network.agent("alice", {"203.0.113.1": None, "192.168.1.10": "left"}, controlling=True)
    bob = network.agent("bob", {"203.0.113.9": None}, controlling=False)
    for peer in (alice, bob):
        peer.gather()
    network.run(0.5)
    network.drop = lambda source, target, data: (source.ip, target.ip) == ("203.0.113.1", "203.0.113.9")
    ufrag, pwd = bob.agent.local_ufrag, bob.agent.local_pwd
    alice.do(lambda agent, now: agent.set_remote(ufrag, pwd, now))
    alice.meets(bob)
    network.run(0.5)
    bob.tells(alice)
    assert network.run(5, until=lambda: mirrored(alice, bob))


def test_a_late_credential_still_helps() -> None:
    network, alice, bob = far_apart(Nat(HOME, mapping=PORT), Nat(HQ))
    gathered(network, alice, bob, servers=(stun_server(),))
    exchange(alice, bob)
    network.run(3)
    assert not mirrored(alice, bob)
    alice.do(lambda agent, now: agent.add_servers((turn(),), now))
    trickle(network, alice, bob, 5)
    assert mirrored(alice, bob)
    assert "relay" in (alice.agent.selected.local.type, bob.agent.selected.local.type)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("controlling", [True, False])
def test_when_both_claim_the_same_role_the_tie_breakers_decide(controlling: bool, seed: int) -> None:
    network = Network(seed)
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=controlling)
    bob = network.agent("bob", {"10.0.0.2": None}, controlling=controlling)
    gathered(network, alice, bob, servers=())
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    assert {alice.agent.role, bob.agent.role} == {"controlling", "controlled"}
    assert len(alice.records(records.RoleConflict) + bob.records(records.RoleConflict)) == 1
    winner = max((alice, bob), key=lambda peer: peer.agent._together.role.tie_breaker)
    assert winner.agent.role == "controlling"


def test_two_components_each_get_their_path() -> None:
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True, components=2)
    bob = network.agent("bob", {"10.0.0.2": None}, controlling=False, components=2)
    gathered(network, alice, bob, servers=())
    exchange(alice, bob)
    done = lambda: alice.agent.state is bob.agent.state is IceState.COMPLETED  # noqa: E731
    assert network.run(3, until=done)
    for component in (1, 2):
        ours, theirs = alice.agent.selected_path(component), bob.agent.selected_path(component)
        assert (ours.local.address, ours.remote.address) == (theirs.remote.address, theirs.local.address)
    alice.do(lambda agent, now: agent.send(b"rtcp", now, component=2))
    network.run(0.1)
    assert [(e.component, e.data) for e in bob.host.events if hasattr(e, "data")] == [(2, b"rtcp")]


def test_the_default_candidate_is_the_likeliest_to_work() -> None:
    network, alice, _ = far_apart(Nat(HOME), None)
    assert alice.agent.default_candidate() is None
    gathered(network, alice)
    assert alice.agent.default_candidate().type == "relay"
    assert alice.agent.default_candidate().relay_transport is Transport.UDP


# --- relay only -------------------------------------------------------------------------------------------
def test_relay_only_tells_and_uses_nothing_but_the_relay() -> None:
    network = Network()
    network.edge()
    network.nats["home"] = Nat(HOME)
    alice = network.agent("alice", {"192.168.1.10": "home"}, controlling=True, policy=Policy.RELAY)
    bob = network.agent("bob", {"203.0.113.20": None}, controlling=False)
    gathered(network, alice, bob)
    assert {c.type for c in alice.agent.local_candidates} == {"relay"}
    assert all(c.related == Address("0.0.0.0", 0) for c in alice.agent.local_candidates)
    assert connected(network, alice, bob)[0] == "relay"
    seen = {r.remote.ip for r in bob.records(records.StunReceived)}
    assert HOME not in seen


# --- the life of a path -----------------------------------------------------------------------------------
def test_consent_keeps_a_silent_call_alive() -> None:
    network, alice, bob = far_apart(Nat(HOME, timeout=30), Nat(HQ, timeout=30))
    gathered(network, alice, bob)
    connected(network, alice, bob)
    network.run(600)
    assert alice.agent.state is IceState.COMPLETED
    alice.says(b"still there?")
    network.run(0.1)
    assert bob.heard[-1] == b"still there?"


def test_a_peer_that_vanishes_is_noticed_after_thirty_seconds() -> None:
    network, alice, bob = neighbours()
    gathered(network, alice, bob, servers=())
    connected(network, alice, bob)
    network.dead.add("bob")
    gone_at = network.now
    assert network.run(60, until=lambda: bool(alice.events(Failed)))
    assert 24 <= network.now - gone_at <= 31
    (lost,) = alice.events(ConsentLostEvent)
    assert lost.silent_for == pytest.approx(30)
    assert "stopped answering" in alice.events(Failed)[0].reason
    assert not alice.says(b"anybody?")
    alice.hears(b"ghost", bob.agent.local_candidates[0].address, alice.sockets[0])
    assert b"ghost" not in alice.heard
    assert alice.records(records.ConsentLost)


def test_ringing_for_minutes_keeps_every_mapping_awake() -> None:
    # The NATs forget after 30 s; the answer with bob's credentials comes after three minutes.
    network, alice, bob = far_apart(Nat(HOME, timeout=30), Nat(HQ, timeout=30))
    gathered(network, alice, bob)
    network.run(180)
    assert connected(network, alice, bob) == ("srflx", "srflx")


def test_a_callee_does_not_give_up_while_it_rings() -> None:
    # Bob has the offer and checks; Alice hears of Bob only when he picks up.
    network, alice, bob = far_apart(Nat(HOME), Nat(HQ))
    gathered(network, alice, bob)
    alice.meets(bob)
    bob.do(lambda agent, now: agent.end_of_remote_candidates(now))
    bob.do(lambda agent, now: agent.ringing(now))
    network.run(150)
    assert not bob.events(Failed)
    bob.do(lambda agent, now: agent.answered(now))
    bob.meets(alice)
    assert network.run(5, until=lambda: mirrored(alice, bob)), failure(alice, bob)


def test_a_valid_path_survives_long_ringing() -> None:
    network, alice, bob = far_apart(Nat(HOME, timeout=30), Nat(HQ, timeout=30))
    gathered(network, alice, bob)
    exchange(alice, bob)
    network.run(300)
    assert mirrored(alice, bob)
    alice.says(b"hello")
    network.run(0.1)
    assert bob.heard == [b"hello"]


# --- restart ----------------------------------------------------------------------------------------------
def restarted(alice: Peer, bob: Peer) -> None:
    for peer in (alice, bob):
        peer.do(lambda agent, now: agent.restart(now))
        peer.told = 0
    exchange(alice, bob)


def test_a_restart_finds_a_path_anew_while_media_flows_on() -> None:
    network, alice, bob = far_apart(Nat(HOME), Nat(HQ))
    gathered(network, alice, bob)
    connected(network, alice, bob)
    before = alice.agent.local_ufrag, alice.agent.local_pwd
    alice.do(lambda agent, now: agent.restart(now))
    assert (alice.agent.local_ufrag, alice.agent.local_pwd) != before
    assert alice.says(b"meanwhile")
    network.run(0.5)
    assert bob.heard[-1] == b"meanwhile"
    bob.do(lambda agent, now: agent.restart(now))
    bob.says(b"me too")
    network.run(0.1)
    assert alice.heard[-1] == b"me too"
    alice.events(Selected).clear()
    for peer in (alice, bob):
        peer.told = 0
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    assert len(alice.events(Selected)) == 2
    alice.says(b"after")
    network.run(0.1)
    assert bob.heard[-1] == b"after"


def test_a_restart_after_relays_were_given_back_gets_new_ones() -> None:
    network, alice, bob = far_apart(Nat(HOME), Nat(HQ))
    gathered(network, alice, bob)
    connected(network, alice, bob)
    network.run(30)
    assert {c.type for c in alice.agent.local_candidates} == {"host", "srflx"}
    network.nats["home"].mapping = PORT  # Alice moved behind a worse NAT.
    network.nats["home"].mapped.clear()
    for peer in (alice, bob):
        peer.do(lambda agent, now: agent.restart(now))
    assert network.run(5, until=lambda: bool(alice.events(GatheringDone) and bob.events(GatheringDone)))
    network.run(1)
    for peer in (alice, bob):
        peer.told = 0
    exchange(alice, bob)
    trickle(network, alice, bob, 5)
    assert mirrored(alice, bob), failure(alice, bob)


def test_a_relay_that_a_rebooted_nat_took_away_is_asked_for_anew_at_a_restart() -> None:
    network, alice, bob = far_apart(Nat(HOME, mapping=PORT), Nat(HQ))
    gathered(network, alice, bob)
    connected(network, alice, bob)

    def relays() -> dict[str, Address]:
        found = [c for c in alice.agent.local_candidates if c.type == "relay"]
        return {str(c.relay_transport): c.address for c in found}

    before = relays()
    network.nats["home"].mapped.clear()
    alice.do(lambda agent, now: agent.restart(now))
    network.run(1)
    assert relays()["udp"] != before["udp"], "the server knows nobody under our new address"
    assert relays()["tcp"] == before["tcp"], (
        "its connection does not lead through the mapping in this network"
    )
    assert alice.agent.gathering_done


def test_a_path_in_doubt_is_asked_about_at_once() -> None:
    network, alice, bob = neighbours()
    assert alice.agent.proven_at is None
    assert alice.agent.tried == "the other side has named no candidates"
    gathered(network, alice, bob, servers=())
    connected(network, alice, bob)
    asked = network.now
    alice.do(lambda agent, now: agent.ask_consent(now))
    network.run(0.2)
    assert alice.agent.proven_at is not None
    assert alice.agent.proven_at > asked


def test_another_fork_of_the_call_takes_over_with_its_own_credentials() -> None:
    network, alice, bob = neighbours()
    carol = network.agent("carol", {"10.0.0.3": None}, controlling=False)
    gathered(network, alice, bob, carol, servers=())
    exchange(alice, bob)
    assert network.run(2, until=lambda: mirrored(alice, bob))
    alice.told = 0
    exchange(alice, carol)
    assert not alice.says(b"still there?")  # there is no path to carol yet, and bob is not meant
    assert alice.agent.active_path() is None
    assert network.run(2, until=lambda: mirrored(alice, carol))
    alice.says(b"carol?")
    network.run(0.1)
    assert carol.heard == [b"carol?"]
    assert bob.heard == []


# --- the end ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seconds", [0.0, 0.03, 0.2, 1.0, 20.0])
def test_closing_leaves_nothing_behind(seconds: float) -> None:
    network, alice, bob = far_apart(Nat(HOME), Nat(HQ, blocks_udp=True))
    edge = network.hosts[0].machine
    for peer in (alice, bob):
        peer.gather(*BOTH)
    network.run(seconds)
    exchange(alice, bob)
    network.run(seconds)
    for peer in (alice, bob):
        peer.do(lambda agent, now: agent.close(now))
        assert peer.agent.state is IceState.CLOSED
    network.run(2.6)
    for peer in (alice, bob):
        assert peer.agent.closed
        assert peer.agent.poll_timeout() is None
        assert not peer.host.sockets
    network.run(3)
    assert edge.allocations == ()


def test_closing_does_not_wait_for_a_dead_relay() -> None:
    network, alice, _ = far_apart(None, None)
    gathered(network, alice)
    network.dead.add("edge")
    closed_at = network.now
    alice.do(lambda agent, now: agent.close(now))
    assert network.run(10, until=lambda: alice.agent.closed)
    assert network.now - closed_at < 3


def test_a_closed_agent_is_of_no_use() -> None:
    network, alice, _ = neighbours()
    gathered(network, alice, servers=())
    alice.do(lambda agent, now: agent.close(now))
    alice.do(lambda agent, now: agent.close(now))
    with pytest.raises(UsageError, match="closed"):
        alice.gather()
    assert not alice.says(b"?")


def test_inputs_that_concern_others_are_harmless() -> None:
    network, alice, _ = neighbours()
    network.give(alice.host, ClockSet(5.0))
    network.give(alice.host, AddressesChanged(("10.0.0.1",)))
    assert alice.agent.state is IceState.NEW


# --- failure explains itself ------------------------------------------------------------------------------
def test_failure_comes_with_its_reasons_and_not_before_its_time() -> None:
    network, alice, bob = far_apart(Nat(HOME, mapping=PORT), Nat(HQ))
    gathered(network, alice, bob, servers=(turn(password="wrong"),))
    exchange(alice, bob)
    began = network.now
    assert network.run(100, until=lambda: bool(alice.events(Failed)))
    assert network.now - began >= 39.5  # RFC 8863 §4
    (failed,) = alice.events(Failed)
    assert "no answer to" in failed.reason
    assert "401" in failed.reason
    assert alice.agent.state is IceState.FAILED


def test_failure_waits_for_servers_that_are_still_asked() -> None:
    network, alice, bob = far_apart(Nat(HOME, mapping=PORT), Nat(HQ))
    gathered(network, alice, bob, servers=())
    exchange(alice, bob)
    network.run(30)
    alice.do(lambda agent, now: agent.add_servers((turn("198.51.100.99"),), now))
    network.run(39)
    assert not alice.events(Failed)
    network.run(1)
    assert "198.51.100.99" in alice.events(Failed)[0].reason


def test_no_candidates_of_the_peer_is_no_failure_yet() -> None:
    network, alice, bob = neighbours()
    gathered(network, alice, bob, servers=())
    ufrag, pwd = bob.agent.local_ufrag, bob.agent.local_pwd
    alice.do(lambda agent, now: agent.set_remote(ufrag, pwd, now))
    network.run(300)
    assert not alice.events(Failed)
    alice.do(lambda agent, now: agent.end_of_remote_candidates(now))
    network.run(0.1)
    assert "no candidate of the peer" in alice.events(Failed)[0].reason


def test_a_peer_without_reachable_addresses_fails_alone() -> None:
    network, alice, bob = neighbours()
    gathered(network, alice, bob, servers=())
    exchange(alice, bob)
    for line in (
        "9 1 tcp 5 10.0.0.2 9 typ host tcptype active",
        "9 1 udp 5 169.254.1.1 9 typ host",
        "9 1 udp 5 224.0.0.1 9 typ host",
        "9 2 udp 5 10.0.0.2 9 typ host",
        "9 1 udp 5 10.0.0.2 0 typ host",
    ):
        alice.do(lambda agent, now, line=line: agent.add_remote_candidate(parse(line), now))
    assert len(alice.records(records.CandidatePruned)) == 5
    assert network.run(2, until=lambda: mirrored(alice, bob))


def test_every_better_pair_has_a_reason_when_a_worse_one_is_selected() -> None:
    network, alice, bob = far_apart(Nat(HOME, mapping=PORT), Nat(HQ))
    gathered(network, alice, bob)
    connected(network, alice, bob)
    for peer in (alice, bob):
        (chosen,) = [r for r in peer.records(records.PairSelected) if not r.early]
        formed = peer.records(records.PairFormed)
        rank = {r.pair: r.priority for r in formed}[chosen.pair]
        reasons = {r.pair: r.reason for r in peer.records(records.PairFailed)}
        succeeded = {r.pair for r in peer.records(records.PairSucceeded)}
        better = [r.pair for r in formed if r.priority > rank and r.pair not in succeeded]
        assert better
        assert all(reasons[pair] for pair in better)


def test_the_edge_refuses_private_peers_and_the_pair_says_so() -> None:
    network, alice, bob = far_apart(Nat(HOME), Nat(HQ))
    gathered(network, alice, bob)
    exchange(alice, bob)
    network.run(2)
    reasons = {r.reason for r in alice.records(records.PairFailed)}
    assert any("relay refuses private peer address 10.0.0.20" in reason for reason in reasons)


def test_every_stun_message_is_on_record_and_media_is_not() -> None:
    network, alice, bob = far_apart(Nat(HOME, blocks_udp=True), Nat(HQ, blocks_udp=True))
    gathered(network, alice, bob)
    connected(network, alice, bob)
    relayed = [r for r in alice.records(records.StunSent) if r.relay is not None]
    assert relayed
    assert all(r.relay.ip == EDGE for r in relayed)
    count = len(alice.records(records.StunSent))
    alice.says(b"media")
    assert len(alice.records(records.StunSent)) == count
