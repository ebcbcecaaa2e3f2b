"""Multicast in a world: the whole link hears it, and nobody else does."""

from __future__ import annotations

import pytest

from iceway.core.address import Address
from iceway.core.machine import (
    CloseMulticast,
    MulticastFailed,
    MulticastOpened,
    MulticastReceived,
    OpenMulticast,
    SendMulticast,
)
from iceway.lab import topologies
from iceway.lab.topology import Link
from iceway.lab.world import World
from tests.lab.toys import Desk

GROUP = Address("224.0.0.251", 5353)


def joined(world: World, host: str, ip: str, name: str | None = None) -> Desk:
    desk = Desk(world, host, name=name) if name else Desk(world, host)
    desk.does(OpenMulticast("g", GROUP, ip))
    world.advance(0)
    assert desk.toy.last(MulticastOpened) == MulticastOpened("g")
    return desk


def heard(desk: Desk) -> list[MulticastReceived]:
    return [event for event in desk.toy.heard if isinstance(event, MulticastReceived)]


@pytest.fixture
def world() -> World:
    return World(topologies.reflexive(), seed=1)


def test_everybody_on_the_link_hears_it_the_sender_included(world: World) -> None:
    bob, frontend = joined(world, "bob", "10.0.0.20"), joined(world, "frontend", "10.0.0.10")
    began = world.now
    bob.does(SendMulticast("g", b"hello"))
    world.advance(1)
    expected = [MulticastReceived("g", Address("10.0.0.20", 5353), b"hello")]
    assert heard(bob) == heard(frontend) == expected
    assert world.now > began


def test_nobody_behind_a_router_does(world: World) -> None:
    bob, alice = joined(world, "bob", "10.0.0.20"), joined(world, "alice", "192.168.1.20")
    bob.does(SendMulticast("g", b"hello"))
    bob.does(SendMulticast("g", b"and to you", Address("192.168.1.20", 5353)))
    world.advance(1)
    assert heard(alice) == []


def test_a_neighbour_can_be_told_alone(world: World) -> None:
    bob, frontend = joined(world, "bob", "10.0.0.20"), joined(world, "frontend", "10.0.0.10")
    bob.does(SendMulticast("g", b"to you", Address("10.0.0.10", 5353)))
    world.advance(1)
    assert [event.data for event in heard(frontend)] == [b"to you"]
    assert heard(bob) == []


def test_who_left_neither_hears_nor_says_anything(world: World) -> None:
    bob, frontend = joined(world, "bob", "10.0.0.20"), joined(world, "frontend", "10.0.0.10")
    frontend.does(CloseMulticast("g"))
    bob.does(SendMulticast("g", b"hello"))
    frontend.does(SendMulticast("g", b"hello?"))
    world.advance(1)
    assert heard(frontend) == []
    assert len(heard(bob)) == 1
    world.kill("bob")
    world.advance(1)


def test_each_listener_has_luck_of_its_own(world: World) -> None:
    bob, frontend = joined(world, "bob", "10.0.0.20"), joined(world, "frontend", "10.0.0.10")
    world.set_link("hq", Link(loss=0.5))
    for _ in range(100):
        bob.does(SendMulticast("g", b"hello"))
    world.advance(1)
    assert len(heard(bob)) == 100, "there is no wire between it and itself"
    assert 30 < len(heard(frontend)) < 70


def test_an_interface_that_is_not_there_is_told(world: World) -> None:
    bob = Desk(world, "bob")
    bob.does(OpenMulticast("g", GROUP, "10.0.0.99"))
    world.advance(0)
    assert bob.toy.last(MulticastFailed).reason == "no interface of this host has 10.0.0.99"
