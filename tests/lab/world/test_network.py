"""Wires: delay, jitter, loss, copies, overtaking, a rate; and packets that find no way."""

import itertools

import pytest

from iceway.core.address import Address
from iceway.lab import topologies
from iceway.lab.topology import Host, Interface, Link, Route, Router, Segment, Topology
from iceway.lab.world import World
from iceway.trace.records import PacketDropped
from tests.lab.toys import Desk

PACKETS = 2000


def stream(link, *, count=PACKETS, size=100, interval=0.02, seed=5):
    """Numbered datagrams over one link; what arrived: (number, sent at, arrived at)."""
    pair = tuple(Host(name, (Interface("lan", ip),)) for name, ip in (("a", "10.0.0.1"), ("b", "10.0.0.2")))
    world = World(Topology("pair", (Segment("lan", "10.0.0.0/24", link),), pair), seed=seed)
    a, b = Desk(world, "a"), Desk(world, "b")
    ours, theirs = a.opens("10.0.0.1"), b.opens("10.0.0.2:9")
    skip = len(b.toy.instants)
    sent = []
    for number in range(count):
        sent.append(world.now)
        a.sends(ours, theirs, number.to_bytes(4, "big").ljust(size, b"-"))
        world.advance(interval)
    world.advance(5)
    numbers = [int.from_bytes(data[:4], "big") for data in b.toy.data]
    arrived = [(n, sent[n], at) for n, at in zip(numbers, b.toy.instants[skip:], strict=True)]
    return arrived, world


def test_a_plain_link_only_delays():
    arrived, _ = stream(Link(delay=0.03), count=50)
    assert [n for n, _, _ in arrived] == list(range(50))
    assert all(at - sent == pytest.approx(0.03) for _, sent, at in arrived)


def test_jitter_spreads_the_delay_and_keeps_the_order():
    arrived, _ = stream(Link(delay=0.03, jitter=0.04))
    delays = [at - sent for _, sent, at in arrived]
    assert [n for n, _, _ in arrived] == list(range(PACKETS))
    assert min(delays) < 0.035
    assert 0.06 < max(delays) <= 0.0701


def test_loss_is_as_frequent_as_asked_and_told_once():
    arrived, world = stream(Link(loss=0.1))
    lost = PACKETS - len(arrived)
    assert 0.1 * PACKETS * 0.75 < lost < 0.1 * PACKETS * 1.25
    assert [e.record.reason for e in world.trace if isinstance(e.record, PacketDropped)] == ["lost"]


def test_duplicates_come_twice():
    arrived, _ = stream(Link(duplicate=0.1))
    extra = len(arrived) - PACKETS
    assert 0.075 * PACKETS < extra < 0.125 * PACKETS
    assert {n for n, _, _ in arrived} == set(range(PACKETS))


def test_reordered_packets_are_overtaken():
    arrived, _ = stream(Link(delay=0.03, reorder=0.1))
    numbers = [n for n, _, _ in arrived]
    late = sum(1 for before, after in itertools.pairwise(numbers) if after < before)
    assert sorted(numbers) == list(range(PACKETS))
    assert 0.05 * PACKETS < late < 0.15 * PACKETS


def test_a_rate_makes_packets_queue_and_a_full_queue_drops():
    # 72 bytes and 28 of headers are 10 ms on 80 kbit/s; a burst of 100 is a second's worth, a quarter fits.
    arrived, world = stream(Link(rate=80_000), count=100, size=72, interval=0.0)
    assert 25 <= len(arrived) <= 27
    gaps = [b[2] - a[2] for a, b in itertools.pairwise(arrived)]
    assert all(gap == pytest.approx(0.01) for gap in gaps)
    assert "queue full" in {e.record.reason for e in world.trace}


def test_a_link_may_change_while_the_world_runs():
    world = World(topologies.one_lan())
    alice, bob = Desk(world, "alice"), Desk(world, "bob")
    ours, theirs = alice.opens("10.0.0.21"), bob.opens("10.0.0.20:9")
    world.set_link("hq", Link(loss=1.0))
    alice.sends(ours, theirs, b"one")
    world.advance(1)
    world.set_link("hq", Link())
    alice.sends(ours, theirs, b"two")
    world.advance(1)
    assert bob.toy.data == [b"two"]


@pytest.mark.parametrize(
    ("remote", "where", "reason"),
    [
        ("198.51.100.99:9", "internet", "nobody answers for 198.51.100.99"),
        ("203.0.113.9:9", "home-nat", "no route"),
        ("192.168.1.1:9", "home-nat", "nobody listens on the router"),
    ],
)
def test_a_packet_that_finds_no_way_says_where_it_ended(remote, where, reason):
    world = World(topologies.reflexive())
    alice = Desk(world, "alice")
    alice.sends(alice.opens("192.168.1.20"), Address.parse(remote))
    world.advance(1)
    (drop,) = [e for e in world.trace if isinstance(e.record, PacketDropped)]
    assert (drop.node, drop.record.reason) == (where, reason)


def test_static_routes_lead_through_several_routers_longest_prefix_first():
    segments = tuple(
        Segment(name, f"10.0.{n}.0/24", Link(delay=0.01)) for n, name in enumerate(("left", "mid", "right"))
    )
    left = Router(
        "left-router",
        (Interface("left", "10.0.0.1"),),
        Interface("mid", "10.0.1.1"),
        routes=(Route("10.0.0.0/8", "10.0.1.99"), Route("10.0.2.0/24", "10.0.1.2")),
    )
    right = Router(
        "right-router", (Interface("right", "10.0.2.1"),), Interface("mid", "10.0.1.2"), gateway="10.0.1.1"
    )
    hosts = (
        Host("a", (Interface("left", "10.0.0.9"),), gateway="10.0.0.1"),
        Host("b", (Interface("right", "10.0.2.9"),), gateway="10.0.2.1"),
    )
    world = World(Topology("three", segments, hosts, (left, right)))
    a, b = Desk(world, "a"), Desk(world, "b", echo=True)
    theirs = b.opens("10.0.2.9:9")
    a.sends(a.opens("10.0.0.9"), theirs)
    assert world.run_until(lambda: a.toy.data, timeout=1)
    assert world.now == pytest.approx(0.06)


def test_a_source_may_have_routes_of_its_own():
    host = Host(
        "a",
        (Interface("lan", "10.0.0.1"), Interface("tunnel", "10.8.0.1")),
        gateway="10.0.0.254",
        routes=(Route("0.0.0.0/0", "10.8.0.254", source="10.8.0.1"),),
    )
    routers = [
        Router(name, (Interface(segment, f"{net}.254"),), Interface("internet", outside))
        for name, segment, net, outside in (
            ("home", "lan", "10.0.0", "192.0.2.1"),
            ("vpn", "tunnel", "10.8.0", "192.0.2.2"),
        )
    ]
    segments = (
        Segment("lan", "10.0.0.0/24"),
        Segment("tunnel", "10.8.0.0/24"),
        Segment("internet", "192.0.2.0/24"),
    )
    server = Host("b", (Interface("internet", "192.0.2.9"),))
    world = World(Topology("tunnel", segments, (host, server), tuple(routers)))
    a, b = Desk(world, "a"), Desk(world, "b")
    ours = [a.opens("10.0.0.1"), a.opens("10.8.0.1")]
    theirs = b.opens("192.0.2.9:9")
    for local in ours:
        a.sends(local, theirs, b"hello")
    world.advance(1)
    world.unplug("vpn")
    for remote in (theirs, Address("10.0.0.254", 9)):
        a.sends(ours[1], remote, b"lost, though the home router has a way")
    world.advance(1)
    assert b.toy.data == [b"hello"] * 2
    drops = [entry.record for entry in world.trace if isinstance(entry.record, PacketDropped)]
    assert [(drop.where, drop.destination) for drop in drops] == [
        ("tunnel", theirs),
        ("tunnel", Address("10.0.0.254", 9)),
    ]


def test_packets_do_not_circle_for_ever():
    segments = (Segment("mid", "10.0.1.0/24"), Segment("in1", "10.0.2.0/24"), Segment("in2", "10.0.3.0/24"))
    routers = (
        Router("r1", (Interface("in1", "10.0.2.1"),), Interface("mid", "10.0.1.1"), gateway="10.0.1.2"),
        Router("r2", (Interface("in2", "10.0.3.1"),), Interface("mid", "10.0.1.2"), gateway="10.0.1.1"),
    )
    hosts = (Host("a", (Interface("in1", "10.0.2.9"),), gateway="10.0.2.1"),)
    world = World(Topology("loop", segments, hosts, routers))
    a = Desk(world, "a")
    a.sends(a.opens("10.0.2.9"), Address("203.0.113.1", 1))
    world.advance(1)
    assert [e.record.reason for e in world.trace] == ["too many hops"]
