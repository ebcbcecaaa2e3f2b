"""A program keeps the law of the machine contract: change, drain, re-arm; answers come later, in order."""

import pytest

from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.core.machine import (
    AddressesChanged,
    ClockSet,
    CloseUdp,
    DatagramReceived,
    OpenUdp,
    SendDatagram,
    UdpFailed,
    UdpOpened,
)
from iceway.lab import topologies
from iceway.lab.topology import Host, Interface, Link, Segment, Topology
from iceway.lab.world import World
from iceway.trace.records import Note, PacketDropped
from tests.lab.toys import Desk, Toy


@pytest.fixture
def world():
    return World(topologies.one_lan(), seed=1)


def test_a_machine_first_hears_the_time_and_its_addresses(world):
    edge = Desk(world, "edge", wall_skew=600.0)
    assert edge.toy.heard == [
        ClockSet(1_800_000_600.0),
        AddressesChanged(("198.51.100.2", "10.0.0.2")),
    ]


def test_a_clock_that_jumps_is_told(world):
    alice = Desk(world, "alice")
    world.set_clock("alice", -60.0)
    assert alice.toy.last(ClockSet) == ClockSet(1_799_999_940.0)


def test_datagrams_travel_and_come_back_in_a_lan_round_trip(world):
    alice, bob = Desk(world, "alice"), Desk(world, "bob", echo=True)
    theirs = bob.opens("10.0.0.20:4000")
    ours = alice.opens("10.0.0.21")
    began = world.now
    alice.sends(ours, theirs, b"marco")
    assert world.run_until(lambda: alice.toy.data)
    assert alice.toy.last(DatagramReceived) == DatagramReceived(ours, theirs, b"marco")
    assert world.now - began == pytest.approx(0.001)


def test_a_socket_bound_to_any_address_speaks_from_the_right_one(world):
    edge, alice = Desk(world, "edge"), Desk(world, "alice", echo=True)
    any_port = edge.opens("0.0.0.0:5000")
    edge.sends(any_port, alice.opens("10.0.0.21:6000"))
    world.advance(1)
    assert alice.toy.last(DatagramReceived).remote == Address("10.0.0.2", 5000)
    assert edge.toy.last(DatagramReceived).local == any_port


def test_ipv6_segments_carry_packets_too():
    lan = Segment("lan", "2001:db8::/64", Link(0.01))
    hosts = tuple(Host(name, (Interface("lan", f"2001:db8::{n}"),)) for n, name in ((1, "a"), (2, "b")))
    world = World(Topology("six", (lan,), hosts))
    a, b = Desk(world, "a"), Desk(world, "b", echo=True)
    a.does(OpenUdp("udp", Address("2001:db8::1", 5)))
    b.does(OpenUdp("udp", Address("::", 6)))
    b.listens("[2001:db8::2]:80")
    a.sends(Address("2001:db8::1", 5), Address("2001:db8::2", 6))
    a.connects("[2001:db8::2]:80")
    a.says("out", b"six")
    world.advance(1)
    assert a.toy.data == [b"hello"]
    assert a.toy.text("out") == b"six"


def test_two_programs_of_one_host_speak_over_loopback(world):
    one, two = Desk(world, "alice"), Desk(world, "alice", name="alice-2", echo=True)
    one.sends(one.opens("127.0.0.1"), two.opens("127.0.0.1:7000"), b"hi")
    world.advance(0.001)
    assert one.toy.data == [b"hi"]


def test_ports_come_from_the_range_that_was_asked_for_until_it_is_full(world):
    alice = Desk(world, "alice")
    got = {alice.opens("10.0.0.21", f"udp{n}", ports=(5000, 5003)).port for n in range(4)}
    assert got == {5000, 5001, 5002, 5003}
    alice.does(OpenUdp("more", Address("10.0.0.21", 0), (5000, 5003)))
    world.advance(0)
    assert "no port of 5000–5003 is free" in alice.toy.last(UdpFailed).reason


@pytest.mark.parametrize(
    ("local", "reason"), [("10.0.0.99:1", "no interface of this host has"), ("10.0.0.21:9", "already in use")]
)
def test_a_socket_that_cannot_be_had_says_why(world, local, reason):
    alice = Desk(world, "alice")
    alice.opens("10.0.0.21:9")
    alice.does(OpenUdp("again", Address.parse(local)))
    world.advance(0)
    assert reason in alice.toy.last(UdpFailed).reason


def test_a_closed_socket_neither_hears_nor_speaks_and_its_port_is_free(world):
    alice, bob = Desk(world, "alice"), Desk(world, "bob")
    ours, theirs = alice.opens("10.0.0.21:9"), bob.opens("10.0.0.20:9")
    alice.does(CloseUdp(ours))
    alice.sends(ours, theirs)
    bob.sends(theirs, ours)
    world.advance(1)
    assert bob.toy.data == alice.toy.data == []
    assert [(e.node, e.record.reason) for e in world.trace if isinstance(e.record, PacketDropped)] == [
        ("alice", "port closed")
    ]
    assert alice.opens("10.0.0.21:9") == ours


def test_the_timer_follows_what_the_machine_wants(world):
    alice = Desk(world, "alice")
    world.call("alice", lambda now: alice.toy.wake_at(now + 5))
    world.call("alice", lambda now: alice.toy.wake_at(now + 2))
    world.advance(10)
    assert alice.toy.all(tuple) == [
        ("woke", 2.0, 2.0),
        ("woke", 5.0, 5.0),
    ]


def test_a_machine_that_spins_is_caught(world):
    class Spinner(Toy):
        def poll_timeout(self):
            return 3.0

    world.run("alice", Spinner())
    with pytest.raises(UsageError, match="alice spins"):
        world.advance(4)


def test_events_go_to_the_handler_which_may_give_commands(world):
    seen = []

    def on_event(event, now):
        seen.append((event, now))
        if event == "ring":
            world.call("alice", lambda now: alice.toy.emit("picked up"))

    alice = Desk(world, "alice", on_event=on_event)
    alice.does("ring")
    assert seen == [("ring", 0.0), ("picked up", 0.0)]
    assert alice.program.events == [(0.0, "ring"), (0.0, "picked up")]


def test_records_are_stamped_with_time_and_place(world):
    alice = Desk(world, "alice")
    world.advance(1.5)
    alice.does(Note("info", "half past one"))
    (entry,) = world.trace
    assert (entry.id, entry.at, entry.node, entry.record.text) == (1, 1.5, "alice", "half past one")


def test_what_a_command_returns_comes_back_and_what_it_raises_flies(world):
    Desk(world, "alice")
    assert world.call("alice", lambda now: now + 1) == 1.0
    with pytest.raises(ZeroDivisionError):
        world.call("alice", lambda now: 1 / now)


def test_a_killed_program_is_silent_and_another_may_take_its_place(world):
    alice, bob = Desk(world, "alice"), Desk(world, "bob", echo=True)
    ours, theirs = alice.opens("10.0.0.21:9"), bob.opens("10.0.0.20:9")
    with pytest.raises(UsageError, match="runs already"):
        world.run("bob", Toy())
    world.kill("bob")
    alice.sends(ours, theirs)
    world.advance(1)
    assert alice.toy.data == []
    with pytest.raises(UsageError, match="does not run any more"):
        world.call("bob", lambda now: None)
    again = Desk(world, "bob", echo=True)
    assert again.opens("10.0.0.20:9") == theirs
    alice.sends(ours, theirs, b"still there?")
    world.advance(1)
    assert alice.toy.data == [b"still there?"]
    assert bob.toy.data == []


def test_an_unplugged_host_is_cut_off_until_it_is_plugged_in(world):
    alice, bob = Desk(world, "alice"), Desk(world, "bob", echo=True)
    ours, theirs = alice.opens("10.0.0.21:9"), bob.opens("10.0.0.20:9")
    world.unplug("bob")
    alice.sends(ours, theirs, b"one")
    world.advance(1)
    world.plug("bob")
    alice.sends(ours, theirs, b"two")
    world.advance(1)
    assert alice.toy.data == [b"two"]


def test_running_until_something_never_happens_ends_at_the_deadline(world):
    Desk(world, "alice")
    assert not world.run_until(lambda: False, timeout=7)
    assert world.now == 7
    assert world.run_until(lambda: True, timeout=0)


def test_commanding_a_program_that_does_not_exist_names_those_that_do(world):
    Desk(world, "alice")
    with pytest.raises(UsageError, match="no program is called 'carol'; running: alice"):
        world.call("carol", lambda now: None)


def test_opening_and_sending_in_one_breath_works_on_a_known_port(world):
    alice, bob = Desk(world, "alice"), Desk(world, "bob")
    theirs = bob.opens("10.0.0.20:9")
    local = Address("10.0.0.21", 77)
    alice.does(OpenUdp("now", local), SendDatagram(local, theirs, b"quick"))
    world.advance(1)
    assert bob.toy.data == [b"quick"]
    assert alice.toy.last(UdpOpened) == UdpOpened("now", local)
