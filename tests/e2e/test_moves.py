"""A client's network changes in mid-call: another address, another network, none for a while."""

from __future__ import annotations

import pytest

from iceway.client import events
from iceway.explain.model import PathClass
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.lab.topology import Interface
from iceway.media.files import ToneSource
from iceway.trace.records import IceStateChanged, SipSent
from tests.e2e.calls import agreed_path, end_of, hum, longest_gap
from tests.e2e.story import every

ROUND_TRIP = 0.082  # between the two people, over the internet and their access lines
ANOTHER_LEASE = {
    "alice": (Interface("home", "192.168.1.77"), "192.168.1.1"),
    "bob": (Interface("hq", "10.0.0.99"), "10.0.0.1"),
}


def talking() -> tuple[VirtualOffice, VirtualPerson, VirtualPerson, str]:
    """Alice, outside, has called Bob, inside; tones go both ways."""
    office = VirtualOffice(topologies.reflexive(), 1)
    alice, bob = (office.joins(name, says=ToneSource, ring_for=0.5) for name in ("alice", "bob"))
    for person in (alice, bob):
        assert person.waits_for(events.Ready), person.events
    call = hum(alice, bob)
    office.world.advance(1.0)
    return office, alice, bob, call


def goes_on(office: VirtualOffice, *people: VirtualPerson, gap: float) -> None:
    """Half a minute more of the call, after no longer a silence than that."""
    office.world.advance(30.0)
    for person in people:
        assert not person.saw(events.CallEnded), person.events
        assert longest_gap(person, 34.0) < gap


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_another_address_in_the_same_network(who: str) -> None:
    office, alice, bob, call = talking()
    interface, gateway = ANOTHER_LEASE[who]
    office.world.move(who, interface, gateway=gateway)
    goes_on(office, alice, bob, gap=1.0 + 2 * ROUND_TRIP)
    assert office.people[who].saw(events.CallRestored)
    assert not alice.saw(events.RegistrationFailed)
    assert not bob.saw(events.RegistrationFailed)
    alice.hangs_up(call)
    assert bob.waits_for(events.CallEnded)
    assert agreed_path(office.close()) is PathClass.REFLEXIVE


@pytest.mark.parametrize("leaver", ["alice", "bob"])
def test_from_home_to_the_open_internet(leaver: str) -> None:
    """Whoever hangs up then is heard, though the dialog's route names a connection that is gone."""
    office, alice, bob, _ = talking()
    office.world.move("alice", Interface("internet", "198.51.100.90"))
    goes_on(office, alice, bob, gap=1.0 + 2 * ROUND_TRIP)
    office.people[leaver].hangs_up()
    for person in (alice, bob):
        assert person.waits_for(events.CallEnded, 3.0), person.events
        assert "hung up" in end_of(person).reason
    office.close()


def test_twice_in_a_row() -> None:
    """The second change comes before the offer of the first could leave."""
    office, alice, bob, call = talking()
    office.world.move("alice", Interface("internet", "198.51.100.90"))
    office.world.advance(0.2)
    interface, gateway = ANOTHER_LEASE["alice"]
    office.world.move("alice", interface, gateway=gateway)
    goes_on(office, alice, bob, gap=1.0 + 2 * ROUND_TRIP)
    bob.hangs_up(call)
    assert alice.waits_for(events.CallEnded)
    office.close()


def test_both_at_once() -> None:
    office, alice, bob, call = talking()
    for name, (interface, gateway) in ANOTHER_LEASE.items():
        office.world.move(name, interface, gateway=gateway)
    goes_on(office, alice, bob, gap=6.0)
    alice.hangs_up(call)
    assert bob.waits_for(events.CallEnded)
    office.close()


def test_no_network_at_all_for_a_while() -> None:
    office, alice, bob, call = talking()
    office.world.move("alice")
    office.world.advance(4.0)
    assert bob.saw(events.CallInterrupted)
    office.world.move("alice", Interface("internet", "198.51.100.90"))
    back = office.world.now
    for person in (alice, bob):
        assert person.waits_for(events.CallRestored, 5.0), person.events
    assert office.world.now - back < 2.0, "the offer of either may meet the other's"
    goes_on(office, alice, bob, gap=5.5)
    bob.hangs_up(call)
    assert alice.waits_for(events.CallEnded)
    office.close()


def test_no_network_any_more() -> None:
    office, alice, bob, _ = talking()
    office.world.move("alice")
    for person in (alice, bob):
        assert person.waits_for(events.CallEnded, 60.0), person.events
        assert "no other way was found" in end_of(person).reason
    assert "192.168.1.20, which is gone" in end_of(alice).reason
    assert "silent" in end_of(bob).reason
    office.close()


def test_an_address_that_nothing_stands_on_disturbs_nothing() -> None:
    office, alice, bob, call = talking()
    told = len(office.world.trace)
    mine = next(one for one in office.world.topology.host("alice").interfaces)
    office.world.move("alice", mine, Interface("home", "192.168.1.90"), gateway="192.168.1.1")
    office.world.advance(2.0)
    office.world.move("alice", mine, gateway="192.168.1.1")
    goes_on(office, alice, bob, gap=0.1)
    since = office.world.trace[told:]
    assert not every(since, SipSent, "alice", start="INVITE")
    assert not every(since, IceStateChanged, "alice")
    alice.hangs_up(call)
    office.close()
