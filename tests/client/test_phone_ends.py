"""Phones that stop, calls that outlive what they began with, and servers that say odd things."""

from __future__ import annotations

import pytest

from iceway.client import events
from iceway.client.media import Media
from iceway.core.errors import EnvironmentFailure
from iceway.edge.credentials import KeyRing, TokenKeys
from iceway.explain.model import PathClass
from iceway.frontend.frontend import FrontEnd
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice
from iceway.trace.records import (
    AllocationCreated,
    AllocationEnded,
    CredentialsReceived,
    CredentialsRefused,
    CredentialsRequested,
    GatheringStarted,
    Note,
    RelayRefused,
    SipReceived,
)
from tests.e2e.calls import agreed_path, both_join, connect, end_of, ring
from tests.e2e.story import Story, every


# --- stopping ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("after", [0.0, 0.001, 0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.5, 1.0])
def test_a_phone_may_stop_at_any_moment(after: float) -> None:
    """While it looks for its server, connects, registers, asks for credentials, or is ready."""
    office = VirtualOffice(topologies.reflexive(), 1)
    alice = office.joins("alice")
    office.world.advance(after)
    office.world.call("alice", alice.phone.stop)
    assert alice.waits_for(events.Stopped, 3.0)
    told = len(alice.events)
    assert isinstance(alice.events[-1], events.Stopped)
    office.world.advance(200.0)
    assert len(alice.events) == told, "nothing is told after that"
    assert alice.phone.poll_timeout() is None
    office.close()


def test_stopped_means_that_relays_are_given_back_and_the_other_side_knows() -> None:
    office, alice, bob = both_join(topologies.relayed_udp())
    connect(alice, bob)
    office.world.call("alice", alice.phone.stop)
    assert alice.waits_for(events.Stopped)
    office.world.kill("alice")
    assert bob.waits_for(events.CallEnded)
    office.world.call("bob", bob.phone.stop)
    assert bob.waits_for(events.Stopped)
    office.world.advance(5.0)
    trace = office.world.trace
    created = [record.relayed for record in every(trace, AllocationCreated)]
    ended = every(trace, AllocationEnded, reason="released by client")
    assert sorted(map(str, created)) == sorted(str(record.relayed) for record in ended)


def test_a_phone_stops_without_its_front_end() -> None:
    office, alice, _ = both_join(topologies.reflexive())
    office.world.kill("frontend")
    office.world.advance(30.0)
    office.world.call("alice", alice.phone.stop)
    assert alice.waits_for(events.Stopped, 2.5)


# --- credentials ------------------------------------------------------------------------------------------
def test_a_relayed_call_outlives_the_credentials_it_began_with() -> None:
    """They are good for a minute; the relay asks for them again when permissions are renewed, after four."""
    keys = KeyRing(TokenKeys.derive(b"the private key of the office's edge"), max_lifetime=60.0)
    office = VirtualOffice(topologies.relayed_udp(), 1, keys=keys)
    alice, bob = office.joins("alice"), office.joins("bob", ring_for=1.0)
    assert alice.waits_for(events.Ready)
    assert bob.waits_for(events.Ready)
    connect(alice, bob)
    for person in (alice, bob):  # consent checks keep the path alive; five minutes of sound would take long
        session = person.phone._calls["call.1"]._media.audio
        assert session is not None
        office.world.call(person.name, session.stop_sending)
    office.world.advance(320.0)
    for person in (alice, bob):
        assert not person.saw(events.CallEnded), person.events[-1]
        assert len(every(office.world.trace, CredentialsReceived, person.name)) > 5
    assert not every(office.world.trace, RelayRefused, code=401)
    alice.hangs_up()
    trace = office.close()
    assert agreed_path(trace) is PathClass.RELAY_UDP


def test_a_call_that_comes_in_waits_for_credentials_on_their_way() -> None:
    """The edge is unplugged, so that nobody answers whether Bob may have a relay."""
    office = VirtualOffice(topologies.one_lan(), 1)
    alice = office.joins("alice")
    assert alice.waits_for(events.Ready)
    office.world.unplug("edge")
    bob = office.joins("bob", ring_for=0.0)
    assert office.world.run_until(lambda: bool(every(office.world.trace, CredentialsRequested, "bob")), 5.0)
    alice.calls("bob")
    assert bob.waits_for(events.IncomingCall)
    assert not bob.saw(events.Ready)
    assert not every(office.world.trace, GatheringStarted, "bob")
    assert alice.waits_for(events.CallAnswered)
    story = Story(office.world.trace).then("bob", SipReceived, start="INVITE")
    story.then("bob", CredentialsRefused).then("bob", GatheringStarted)


@pytest.mark.parametrize("uri", ["", "sip:", 'sip:a@b>;x="', "no uri"])
def test_a_relay_service_without_a_proper_address_is_as_good_as_none(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrontEnd, "media_relay_service", uri)
    office = VirtualOffice(topologies.one_lan(), 1)
    alice, bob = office.joins("alice"), office.joins("bob", ring_for=0.0)
    for person in (alice, bob):
        assert person.waits_for(events.Ready)
    assert alice.events[-1].relay_trouble  # type: ignore[attr-defined]
    connect(alice, bob)


# --- media that cannot be had -----------------------------------------------------------------------------
def test_whoever_cannot_record_a_call_turns_it_down_and_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    office, alice, bob = both_join(topologies.one_lan())

    def full(*_: object) -> Media:
        raise EnvironmentFailure("cannot record to /full/1.wav: No space left on device", "Make room.")

    with monkeypatch.context() as patch:
        patch.setattr(bob, "media", full)
        alice.calls("bob")
        assert alice.waits_for(events.CallEnded)
    assert "480" in end_of(alice).reason
    assert every(office.world.trace, Note, "bob", text="No space left on device")
    connect(alice, bob)


def test_many_calls_leave_nothing_behind() -> None:
    office, alice, bob = both_join(topologies.one_lan(), ring_for=None)
    for _ in range(20):
        _, theirs = ring(alice, bob)
        bob.refuses(theirs)
        assert alice.waits_for(events.CallEnded)
    office.world.advance(60.0)
    for person in (alice, bob):
        phone = person.phone
        assert not phone._calls
        assert not phone._line._ties
        assert not phone._waiting
        assert set(phone._board.children) <= {"ua"}
        assert not phone._board._socket_owner
        assert not phone.user_agent._calls
