"""Firewalls: no UDP, only some TCP, nothing unasked."""

import dataclasses

import pytest

from iceway.core.address import Address
from iceway.core.machine import StreamClosed, StreamConnected
from iceway.lab import topologies
from iceway.lab.topology import Behaviour, Firewall, Nat, Route
from iceway.lab.world import World
from iceway.trace.records import PacketDropped
from tests.lab.toys import Desk

EI, AD, APD = Behaviour


def drops(world):
    return [(e.node, e.record.reason) for e in world.trace if isinstance(e.record, PacketDropped)]


def test_a_firewall_without_udp_carries_tcp_only():
    world = World(topologies.relayed_tcp())
    bob, edge = Desk(world, "bob"), Desk(world, "edge")
    bob.sends(bob.opens("10.0.0.20"), edge.opens("198.51.100.2:3478"))
    edge.listens("198.51.100.2:3478")
    bob.connects("198.51.100.2:3478")
    world.advance(1)
    assert bob.toy.all(StreamConnected)
    assert edge.toy.data == []
    assert drops(world) == [("hq-nat", "UDP is blocked")]


def test_udp_within_headquarters_does_not_cross_the_firewall():
    world = World(topologies.relayed_tcp())
    bob, frontend = Desk(world, "bob"), Desk(world, "frontend", echo=True)
    bob.sends(bob.opens("10.0.0.20"), frontend.opens("10.0.0.10:5060"))
    world.advance(1)
    assert bob.toy.data == [b"hello"]


def test_only_allowed_tcp_ports_can_be_reached_from_inside():
    office = topologies.reflexive().with_router("home-nat", firewall=Firewall(tcp_ports=(443,)))
    world = World(office)
    alice, edge = Desk(world, "alice"), Desk(world, "edge")
    edge.listens("198.51.100.2:443", "https")
    edge.listens("198.51.100.2:5061", "sips")
    alice.connects("198.51.100.2:443", "good")
    alice.connects("198.51.100.2:5061", "bad")
    world.advance(15)
    assert [event.stream for event in alice.toy.all(StreamConnected)] == ["good"]
    assert alice.toy.all(StreamClosed) == [StreamClosed("bad", "timed out")]
    assert drops(world) == [("home-nat", "TCP to port 5061 is blocked")]


@pytest.mark.parametrize("filtering", [None, *Behaviour])
def test_a_router_without_nat_may_still_filter(filtering):
    office = topologies.nats(None, Nat()).with_router("home-nat", firewall=Firewall(filtering=filtering))
    world = World(office)
    alice, edge, names = Desk(world, "alice"), Desk(world, "edge"), Desk(world, "names")
    ours = alice.opens("192.168.1.20:4000")
    asked, sibling = edge.opens("198.51.100.2:1"), edge.opens("198.51.100.2:2")
    stranger = names.opens("198.51.100.53:1")

    edge.sends(asked, ours, b"before")
    world.advance(1)
    alice.sends(ours, asked)
    world.advance(1)
    edge.sends(asked, ours, b"asked")
    edge.sends(sibling, ours, b"sibling")
    names.sends(stranger, ours, b"stranger")
    world.advance(1)
    let_in = {
        None: [b"before", b"asked", b"sibling", b"stranger"],
        EI: [b"asked", b"sibling", b"stranger"],
        AD: [b"asked", b"sibling"],
        APD: [b"asked"],
    }
    assert alice.toy.data == let_in[filtering]
    assert edge.toy.data == [b"hello"]


def test_rules_may_change_while_the_world_runs():
    world = World(topologies.reflexive())
    alice, edge = Desk(world, "alice"), Desk(world, "edge")
    ours, theirs = alice.opens("192.168.1.20"), edge.opens("198.51.100.2:3478")
    for data, blocked in ((b"one", False), (b"two", True), (b"three", False)):
        world.set_firewall("home-nat", Firewall(block_udp=blocked))
        alice.sends(ours, theirs, data)
        world.advance(1)
    assert edge.toy.data == [b"one", b"three"]


def test_a_packet_for_the_router_itself_ends_there():
    world = World(topologies.nats(None, None))
    edge = Desk(world, "edge")
    edge.sends(edge.opens("198.51.100.2:1"), Address("198.51.100.77", 9))
    world.advance(1)
    assert drops(world) == [("home-nat", "nobody listens on the router")]


def test_a_nat_does_not_carry_packets_to_inside_addresses_from_outside():
    office = topologies.reflexive()
    edge_host = dataclasses.replace(office.host("edge"), routes=(Route("192.168.1.0/24", "198.51.100.77"),))
    hosts = tuple(edge_host if host.name == "edge" else host for host in office.hosts)
    world = World(dataclasses.replace(office, hosts=hosts))
    alice, edge = Desk(world, "alice"), Desk(world, "edge")
    edge.sends(edge.opens("198.51.100.2:1"), alice.opens("192.168.1.20:5"))
    world.advance(1)
    assert alice.toy.data == []
    assert drops(world) == [("home-nat", "no mapping")]
