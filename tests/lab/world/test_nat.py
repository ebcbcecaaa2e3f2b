"""NATs by RFC 4787: every mapping with every filtering, in virtual time, seen from both sides."""

import itertools

import pytest

from iceway.core.address import Address
from iceway.core.machine import DatagramReceived
from iceway.lab import topologies
from iceway.lab.topology import Behaviour, Forward, Host, Interface, Nat, Router, Segment, Topology
from iceway.lab.world import World
from iceway.trace.records import PacketDropped, PacketTranslated
from tests.lab.toys import Desk

EI, AD, APD = Behaviour
LAN = (Segment("lan", "10.0.0.0/24"), Segment("net", "198.51.100.0/24"))
OUTSIDE = "198.51.100.1"


class Bench:
    """Two hosts inside one NAT, two hosts outside it."""

    def __init__(self, **nat):
        hosts = [
            Host(name, (Interface("lan", f"10.0.0.{n}"),), gateway="10.0.0.1")
            for n, name in ((2, "in"), (3, "in2"))
        ]
        hosts += [Host(name, (Interface("net", f"198.51.100.{n}"),)) for n, name in ((8, "a"), (9, "b"))]
        router = Router("nat", (Interface("lan", "10.0.0.1"),), Interface("net", OUTSIDE), nat=Nat(**nat))
        self.world = World(Topology("bench", LAN, tuple(hosts), (router,)), seed=3)
        self.inside, self.inside2 = Desk(self.world, "in"), Desk(self.world, "in2")
        self.a, self.b = Desk(self.world, "a"), Desk(self.world, "b")
        self.local = self.inside.opens("10.0.0.2:5000")
        self.a1, self.a2 = self.a.opens("198.51.100.8:1001"), self.a.opens("198.51.100.8:1002")
        self.b1 = self.b.opens("198.51.100.9:1001")

    def out(self, remote, *, desk=None, local=None):
        """A datagram from inside; the address it seems to come from outside."""
        (desk or self.inside).sends(local or self.local, remote, b"out")
        self.world.advance(0.1)
        owner = {self.a1.ip: self.a, self.b1.ip: self.b}[remote.ip]
        event = owner.toy.last(DatagramReceived)
        assert event.local == remote
        return event.remote

    def comes_in(self, source, to, *, desk=None):
        """Whether a datagram from outside reaches the inside socket."""
        desk = desk or self.inside
        before = len(desk.toy.data)
        {self.a1.ip: self.a, self.b1.ip: self.b}[source.ip].sends(source, to, b"in")
        self.world.advance(0.1)
        return len(desk.toy.data) > before

    def drops(self):
        return [(e.node, e.record.reason) for e in self.world.trace if isinstance(e.record, PacketDropped)]


@pytest.mark.parametrize(("mapping", "filtering"), list(itertools.product(Behaviour, Behaviour)))
def test_every_mapping_with_every_filtering(mapping, filtering):
    bench = Bench(mapping=mapping, filtering=filtering, port_preservation=False)
    first = bench.out(bench.a1)
    assert first.ip == OUTSIDE

    # Filtering (RFC 4787 §5): only a1 was written to.
    assert bench.comes_in(bench.a1, first)
    assert bench.comes_in(bench.a2, first) == (filtering in (EI, AD))
    assert bench.comes_in(bench.b1, first) == (filtering is EI)

    # Mapping (RFC 4787 §4.1): the same, another port, another address.
    assert bench.out(bench.a1) == first
    other_port, other_address = bench.out(bench.a2), bench.out(bench.b1)
    assert (other_port == first) == (mapping in (EI, AD))
    assert (other_address == first) == (mapping is EI)

    # Now everybody was written to, each through its own mapping.
    assert bench.comes_in(bench.a1, first)
    assert bench.comes_in(bench.a2, other_port)
    assert bench.comes_in(bench.b1, other_address)


@pytest.mark.parametrize(("filter_by", "let_in"), [("mapping", False), ("endpoint", True)])
def test_a_filter_belongs_to_a_mapping_or_to_the_inside_endpoint(filter_by, let_in):
    bench = Bench(mapping=APD, filtering=AD, filter_by=filter_by, port_preservation=False)
    first = bench.out(bench.a1)
    bench.out(bench.b1)
    assert bench.comes_in(bench.b1, first) is let_in


def test_nobody_comes_in_uninvited():
    bench = Bench()
    assert not bench.comes_in(bench.a1, Address(OUTSIDE, 5000))
    assert bench.drops() == [("nat", "no mapping")]
    bench.out(bench.b1)
    assert not bench.comes_in(bench.a1, Address(OUTSIDE, 5000))
    assert bench.drops() == [("nat", "no mapping"), ("nat", "filtered")]


def test_ports_are_preserved_where_they_are_free():
    bench = Bench()
    assert bench.out(bench.a1) == Address(OUTSIDE, 5000)
    taken = bench.out(bench.a1, desk=bench.inside2, local=bench.inside2.opens("10.0.0.3:5000"))
    assert taken.port != 5000
    assert bench.comes_in(bench.a1, taken, desk=bench.inside2)
    assert bench.comes_in(bench.a1, Address(OUTSIDE, 5000))


def test_when_no_outside_port_is_left_packets_are_dropped():
    bench = Bench(port_preservation=False, ports=(700, 700))
    assert bench.out(bench.a1).port == 700
    local = bench.inside2.opens("10.0.0.3:5000")
    bench.inside2.sends(local, bench.b1)
    bench.world.advance(1)
    assert bench.b.toy.data == []
    assert bench.drops() == [("nat", "no outside port is free")]


def test_a_mapping_lives_as_long_as_somebody_inside_uses_it():
    bench = Bench(mapping_timeout=30.0, port_preservation=False)
    first = bench.out(bench.a1)
    for _ in range(4):
        bench.world.advance(20)
        assert bench.out(bench.a1) == first
    bench.world.advance(31)
    assert not bench.comes_in(bench.a1, first)
    assert bench.out(bench.a1) != first


@pytest.mark.parametrize("refresh", [False, True])
def test_packets_from_outside_keep_a_mapping_alive_only_where_the_nat_says_so(refresh):
    bench = Bench(mapping_timeout=30.0, inbound_refresh=refresh)
    first = bench.out(bench.a1)
    bench.world.advance(20)
    assert bench.comes_in(bench.a1, first)
    bench.world.advance(11)
    assert bench.comes_in(bench.a1, first) is refresh
    bench.world.advance(31)
    assert not bench.comes_in(bench.a1, first)


def test_a_filter_closes_for_a_remote_nobody_writes_to_any_more():
    bench = Bench(mapping_timeout=30.0)
    first = bench.out(bench.a1)
    bench.world.advance(20)
    assert bench.out(bench.b1) == first
    bench.world.advance(11)
    assert bench.comes_in(bench.b1, first)
    assert not bench.comes_in(bench.a1, first)


@pytest.mark.parametrize("hairpin", [True, False])
def test_two_hosts_inside_meet_at_their_outside_addresses_only_with_hairpinning(hairpin):
    bench = Bench(hairpin=hairpin, filtering=EI)
    theirs = bench.inside2.opens("10.0.0.3:6000")
    reflexive = bench.out(bench.a1, desk=bench.inside2, local=theirs)
    bench.inside.sends(bench.local, reflexive, b"around the corner")
    bench.world.advance(1)
    if hairpin:
        # RFC 4787 REQ-9a: seen from the outside address.
        assert bench.inside2.toy.last(DatagramReceived).remote == Address(OUTSIDE, 5000)
    else:
        assert bench.inside2.toy.data == []
        assert ("nat", "hairpinning is off") in bench.drops()


def test_hairpinning_keeps_the_filter():
    bench = Bench(hairpin=True, filtering=APD)
    reflexive = bench.out(bench.a1, desk=bench.inside2, local=bench.inside2.opens("10.0.0.3:6000"))
    bench.inside.sends(bench.local, reflexive)
    bench.world.advance(1)
    assert bench.inside2.toy.data == []
    assert ("nat", "filtered") in bench.drops()


def test_a_static_forward_lets_everybody_in_and_speaks_from_its_port():
    bench = Bench(forwards=(Forward("udp", 80, Address("10.0.0.2", 5000)),))
    assert bench.comes_in(bench.a1, Address(OUTSIDE, 80))
    assert bench.comes_in(bench.b1, Address(OUTSIDE, 80))
    assert bench.out(bench.a1) == Address(OUTSIDE, 80)


def test_a_reboot_forgets_every_mapping():
    bench = Bench(port_preservation=False)
    first = bench.out(bench.a1)
    bench.world.reboot("nat")
    assert not bench.comes_in(bench.a1, first)
    assert bench.out(bench.a1) != first


def test_the_trace_tells_each_mapping_and_direction_once():
    bench = Bench(mapping=AD)
    for _ in range(3):
        seen = bench.out(bench.a1)
        bench.comes_in(bench.a1, seen)
    bench.out(bench.b1)
    told = [e.record for e in bench.world.trace if isinstance(e.record, PacketTranslated)]
    assert [(r.outgoing, r.before, r.after, r.peer) for r in told][:2] == [
        (True, bench.local, seen, bench.a1),
        (False, seen, bench.local, bench.a1),
    ]
    assert [r.outgoing for r in told] == [True, False, True]


def test_a_nat_behind_a_nat_translates_twice():
    segments = (*LAN, Segment("cgn", "100.64.0.0/24"))
    home = Router(
        "home",
        (Interface("lan", "10.0.0.1"),),
        Interface("cgn", "100.64.0.2"),
        gateway="100.64.0.1",
        nat=Nat(),
    )
    carrier = Router("carrier", (Interface("cgn", "100.64.0.1"),), Interface("net", OUTSIDE), nat=Nat())
    hosts = (
        Host("in", (Interface("lan", "10.0.0.2"),), gateway="10.0.0.1"),
        Host("a", (Interface("net", "198.51.100.8"),)),
    )
    world = World(Topology("cgn", segments, hosts, (home, carrier)))
    inside, outside = Desk(world, "in"), Desk(world, "a", echo=True)
    inside.sends(inside.opens("10.0.0.2:5000"), outside.opens("198.51.100.8:9"))
    world.advance(1)
    assert inside.toy.data == [b"hello"]
    assert outside.toy.last(DatagramReceived).remote == Address(OUTSIDE, 5000)
    assert {e.node for e in world.trace} == {"home", "carrier"}


def test_hosts_behind_plain_routers_reach_each_other_by_their_own_addresses():
    world = World(topologies.nats(None, None))
    alice, bob = Desk(world, "alice"), Desk(world, "bob", echo=True)
    alice.sends(alice.opens("192.168.1.20:5"), bob.opens("10.0.0.20:6"))
    world.advance(1)
    assert alice.toy.data == [b"hello"]
    assert bob.toy.last(DatagramReceived).remote == Address("192.168.1.20", 5)
