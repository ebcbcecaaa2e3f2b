"""Simultaneous open (RFC 6544 "so"): who may be paired with whom, which port is used, and who was faster."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.core.machine import (
    CloseStream,
    Connect,
    StreamClosed,
    StreamConnected,
    StreamReceived,
)
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate, CandidateType, parse, serialize
from iceway.ice.config import IceServer, ServerKind
from iceway.ice.events import DataReceived, IceState, Selected
from iceway.ice.session import pairable
from iceway.ice.tcp import frame
from iceway.lab.oracle import Access, punches
from iceway.lab.topology import (
    Behaviour,
    Firewall,
    Host,
    Interface,
    Link,
    Nat,
    Route,
    Router,
    Segment,
    Topology,
)
from iceway.trace import records
from iceway.wire import stun
from tests.ice.test_tcp import IP, Seat, answer, check, requests
from tests.ice.test_worlds import EDGE4, EDGE6, Pair

THEIRS = Address("203.0.113.2", 6001)
EI, AD, APD = Behaviour
KINDS = ("active", "passive", "so")


def so(priority: int = 1000) -> Candidate:
    return parse(f"1 1 TCP {priority} {THEIRS.ip} {THEIRS.port} typ host tcptype so")


# --- who meets whom (RFC 6544 §6.2) ------------------------------------------------------------------------
@pytest.mark.parametrize("theirs", KINDS)
@pytest.mark.parametrize("ours", KINDS)
def test_active_pairs_with_passive_and_so_with_so(ours: str, theirs: str) -> None:
    def candidate(kind: str, ip: str) -> Candidate:
        return Candidate(CandidateType.HOST, Address(ip, 9), 1, "1", transport=Transport.TCP, tcp_type=kind)

    expected = (ours, theirs) in (("active", "passive"), ("so", "so"))
    assert pairable(candidate(ours, IP), candidate(theirs, THEIRS.ip)) == expected


def test_a_kind_that_nobody_knows_pairs_with_nothing() -> None:
    local = Candidate(CandidateType.HOST, Address(IP, 9), 1, "1", transport=Transport.TCP, tcp_type="active")
    remote = parse(f"1 1 TCP 9 {THEIRS.ip} 9 typ host")
    assert not pairable(local, remote)
    seat = Seat()
    seat.meets(remote, parse(f"2 1 TCP 9 {THEIRS.ip} 8 typ host tcptype sideways"))
    assert not seat.saw(records.PairFormed)


def test_a_lite_agent_and_one_told_so_have_none() -> None:
    for config in ({"lite": True, "controlling": False}, {"tcp_types": ("active", "passive")}):
        seat = Seat(**config)
        assert "so" not in {c.tcp_type for c in seat.agent.local_candidates}
        seat.meets(so())
        assert not seat.saw(Connect)


# --- both at once ------------------------------------------------------------------------------------------
def test_the_connection_leaves_from_the_candidates_own_port() -> None:
    seat = Seat()
    seat.meets(so())
    seat.runs(0.1)
    (connect,) = seat.saw(Connect)
    base = seat.base("so")
    assert (connect.remote, Address(connect.local_ip, connect.local_port)) == (THEIRS, base)
    seat.gives(StreamConnected(connect.stream, base, THEIRS))
    for _ in range(2):
        seat.gives(
            StreamReceived(connect.stream, frame(answer(requests(seat.sent_on(connect.stream))[-1], base)))
        )
        seat.runs(1)
    (selected,) = seat.saw(Selected)
    assert (selected.path.local.address, selected.path.local.type) == (base, "host")


def test_a_peer_that_was_faster_is_answered_on_its_connection() -> None:
    """Our SYN is under way when theirs is accepted: the kernel will refuse ours, and the check goes on theirs."""
    seat = Seat()
    seat.meets(so())
    seat.runs(0.1)
    (connect,) = seat.saw(Connect)
    stream = seat.accepts(THEIRS, kind="so")
    assert CloseStream(connect.stream, abort=True) in seat.outputs
    (request,) = seat.sent_on(stream)
    assert stun.parse(request).message_class is stun.MessageClass.REQUEST
    seat.gives(StreamReceived(stream, frame(answer(request, seat.base("so")))))
    assert [pair.pair for pair in seat.saw(records.PairSucceeded)]
    assert not seat.saw(records.PairFailed)
    seat.gives(StreamClosed(connect.stream, "address already in use"))
    assert not seat.saw(records.PairFailed)


def test_a_peer_that_came_after_we_were_refused_still_gets_through() -> None:
    seat = Seat(controlling=False)
    seat.meets(so())
    seat.runs(0.1)
    (connect,) = seat.saw(Connect)
    seat.gives(StreamClosed(connect.stream, "connection refused"))
    assert seat.saw(records.PairFailed)
    stream = seat.accepts(THEIRS, kind="so")
    seat.gives(StreamReceived(stream, frame(check(seat))))
    seat.runs(0.1)
    (request,) = requests(seat.sent_on(stream))
    seat.gives(StreamReceived(stream, frame(answer(request, seat.base("so")))))
    assert seat.saw(records.PairSucceeded)


def test_a_second_connection_between_the_same_two_is_refused() -> None:
    seat = Seat()
    seat.meets(so())
    seat.runs(0.1)
    (connect,) = seat.saw(Connect)
    seat.gives(StreamConnected(connect.stream, seat.base("so"), THEIRS))
    stream = seat.accepts(THEIRS, kind="so")
    assert CloseStream(stream, abort=True) in seat.outputs


def test_who_comes_to_a_so_candidate_from_an_unknown_place_is_one_too() -> None:
    seat = Seat(controlling=False)
    seat.meets()
    unknown = Address("203.0.113.77", 7777)
    stream = seat.accepts(unknown, kind="so")
    seat.gives(StreamReceived(stream, frame(check(seat))))
    seat.runs(0.1)
    (learned,) = [r.candidate for r in seat.saw(records.CandidateReceived)]
    assert (learned.type, learned.address, learned.transport) == ("prflx", unknown, "tcp")
    assert len(requests(seat.sent_on(stream))) == 1, "checked back on the same connection"


# --- through NATs --------------------------------------------------------------------------------------------
def two_homes(alice: Nat, bob: Nat, delay: float = 0.02) -> Topology:
    """Two homes whose routers let no UDP through, and a server that says what it sees."""
    homes = (("alice", "192.168.1", "198.51.100.77", alice), ("bob", "10.0.0", "198.51.100.88", bob))
    return Topology(
        "two-homes",
        (
            Segment("internet", "198.51.100.0/24", Link(delay=delay)),
            Segment("internet6", "2001:db8:a::/64"),
            *(Segment(name, f"{lan}.0/24") for name, lan, _, _ in homes),
        ),
        (
            *(Host(name, (Interface(name, f"{lan}.20"),), gateway=f"{lan}.1") for name, lan, _, _ in homes),
            Host("edge", (Interface("internet", EDGE4), Interface("internet6", EDGE6))),
        ),
        tuple(
            Router(
                f"{name}-nat",
                (Interface(name, f"{lan}.1"),),
                Interface("internet", outside),
                nat=nat,
                firewall=Firewall(block_udp=True),
            )
            for name, lan, outside, nat in homes
        ),
    )


STUN = IceServer(ServerKind.STUN, transport=Transport.TCP, address=Address(EDGE4, 3478))


class Homes(Pair):
    """Alice and Bob, told of a STUN server over TCP and of no relay."""

    def __init__(self, alice: Nat, bob: Nat, delay: float = 0.02, **config: object) -> None:
        super().__init__(two_homes(alice, bob, delay), tcp=True, **config)
        self.meet({"alice": (), "bob": ()})
        for name, agent in self.agents.items():
            self.world.call(name, lambda now, agent=agent: agent.add_servers((STUN,), now))


@pytest.mark.parametrize("theirs", [EI, AD, APD])
@pytest.mark.parametrize("ours", [EI, AD, APD])
def test_without_udp_and_relay_two_nats_are_opened_from_both_sides(
    ours: Behaviour, theirs: Behaviour
) -> None:
    homes = Homes(Nat(EI, ours), Nat(EI, theirs))
    assert homes.talks()
    ends = [homes.agents[name].selected for name in ("alice", "bob")]
    assert ends[0].local.address == ends[1].remote.address
    assert ends[0].remote.address == ends[1].local.address
    if EI not in (ours, theirs):
        assert {(end.local.type, end.local.tcp_type) for end in ends} == {("srflx", "so")}
    homes.world.advance(120)
    assert all(agent.selected for agent in homes.agents.values())
    for name, agent in homes.agents.items():
        homes.world.call(name, agent.close)
    homes.world.advance(8)
    assert all(agent.closed and agent.poll_timeout() is None for agent in homes.agents.values())


def test_a_restart_long_after_finds_the_way_again() -> None:
    homes = Homes(Nat(EI, APD), Nat(EI, APD))
    assert homes.talks()
    homes.world.advance(30)
    for _ in range(2):
        for name, agent in homes.agents.items():
            homes.world.call(name, agent.restart)
        for me, peer in (("alice", "bob"), ("bob", "alice")):
            agent, other = homes.agents[me], homes.agents[peer]
            told = [parse(serialize(candidate)) for candidate in other.local_candidates]

            def meet(now: float, agent: Agent = agent, other: Agent = other, told: list = told) -> None:
                agent.set_remote(other.local_ufrag, other.local_pwd, now)
                for candidate in told:
                    agent.add_remote_candidate(candidate, now)

            homes.world.call(me, meet)
        assert homes.world.run_until(
            lambda: all(agent.state is IceState.COMPLETED for agent in homes.agents.values()), timeout=10
        )
        homes.world.advance(20)
    alice, bob = (homes.agents[name] for name in ("alice", "bob"))
    assert (alice.selected.local.type, alice.selected.local.tcp_type) == ("srflx", "so")
    assert alice.selected.local.address == bob.selected.remote.address
    for name, agent in homes.agents.items():
        homes.world.call(name, lambda now, agent=agent: agent.send(b"\xffagain", now))
    homes.world.advance(1)
    for name in homes.agents:
        heard = [e.data for _, e in homes.world.programs[name].events if isinstance(e, DataReceived)]
        assert heard[-1] == b"\xffagain"


BOXES = list(product((EI, AD, APD), repeat=2))


@pytest.mark.parametrize(("ours", "theirs"), list(combinations_with_replacement(BOXES, 2)))
def test_every_nat_against_every_other(
    ours: tuple[Behaviour, Behaviour], theirs: tuple[Behaviour, Behaviour]
) -> None:
    """Where UDP gets through, so does TCP, but for one thing: a SYN that is let in and whose answer comes back from
    another port teaches nobody anything, while a check over UDP shows the peer where it came from. So one of the two
    must have one port for all."""
    expected = punches(Access(*ours), Access(*theirs)) and EI in (ours[0], theirs[0])
    homes = Homes(Nat(*ours), Nat(*theirs))
    assert homes.talks() == expected
    if expected:
        ends = [homes.agents[name].selected for name in ("alice", "bob")]
        assert ends[0].local.address == ends[1].remote.address
        assert ends[0].remote.address == ends[1].local.address


def test_two_firewalls_without_nat_need_no_server() -> None:
    """IPv6 at both homes: no address is translated, and nobody gets in who was not asked for (RFC 6092)."""
    homes = (("alice", "2001:db8:1", "2001:db8:a::1"), ("bob", "2001:db8:2", "2001:db8:a::3"))
    routers = tuple(
        Router(
            f"{name}-router",
            (Interface(name, f"{lan}::1"),),
            Interface("internet6", outside),
            firewall=Firewall(block_udp=True, filtering=APD),
            routes=tuple(Route(f"{other}::/64", via) for one, other, via in homes if one != name),
        )
        for name, lan, outside in homes
    )
    topology = Topology(
        "two-firewalls",
        (
            Segment("internet", "198.51.100.0/24"),
            Segment("internet6", "2001:db8:a::/64", Link(delay=0.02)),
            *(Segment(name, f"{lan}::/64") for name, lan, _ in homes),
        ),
        (
            *(Host(name, (Interface(name, f"{lan}::20"),), gateway=f"{lan}::1") for name, lan, _ in homes),
            Host("edge", (Interface("internet", EDGE4), Interface("internet6", EDGE6))),
        ),
        routers,
    )
    pair = Pair(topology, tcp=True)
    pair.meet({"alice": (), "bob": ()})
    assert pair.talks()
    path = pair.agents["alice"].selected
    assert (path.local.type, path.local.tcp_type, path.remote.tcp_type) == ("host", "so", "so")


@settings(max_examples=25, deadline=None)
@given(
    delay=st.sampled_from([0.001, 0.03, 0.2, 0.6]),
    late=st.floats(0, 8),
    filtering=st.sampled_from([AD, APD]),
)
def test_it_does_not_matter_who_comes_first_and_how_late_the_other_is(
    delay: float, late: float, filtering: Behaviour
) -> None:
    homes = Pair(two_homes(Nat(EI, filtering), Nat(EI, filtering), delay), tcp=True)
    homes.meet({"alice": (), "bob": ()})
    alice, bob = homes.agents["alice"], homes.agents["bob"]
    homes.world.call("alice", lambda now: alice.add_servers((STUN,), now))
    homes.world.clock.after(late, lambda: homes.world.call("bob", lambda now: bob.add_servers((STUN,), now)))
    assert homes.talks()
    assert bob.selected.local.address == alice.selected.remote.address
