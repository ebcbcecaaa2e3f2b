"""Servers that are down, clocks that are wrong, passwords and credentials that are no good.

Each mishap leaves a record with the reason and an explanation, and whatever can still work does.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from iceway.client import events
from iceway.explain.findings import Severity, findings
from iceway.explain.model import PathClass
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson, edge_config
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    ConnectionOpened,
    CredentialsReceived,
    CredentialsRefused,
    Registered,
    RelayRefused,
    ServerRefused,
    SipAuthenticationFailed,
    SipReceived,
    SipSent,
    Started,
)
from tests.e2e.calls import agreed_path, both_join, connect, end_of, ring, talk, titles, voice
from tests.e2e.story import Story, every


def errors(trace: list[Entry]) -> list[str]:
    return [one.title for one in findings(trace) if one.severity is Severity.ERROR]


def joined(office: VirtualOffice, *people: VirtualPerson) -> None:
    for person in people:
        assert person.waits_for(events.Ready, 60.0), f"{person.name}: {person.events}"


# --- passwords ------------------------------------------------------------------------------------------
def test_a_wrong_password_is_final_and_explained() -> None:
    office = VirtualOffice(topologies.reflexive(), 1)
    alice = office.joins("alice", password="a guess")
    assert alice.waits_for(events.RegistrationFailed)
    (failed,) = [event for event in alice.events if isinstance(event, events.RegistrationFailed)]
    assert failed.final
    assert "password" in failed.reason
    office.world.advance(300.0)
    assert len(every(office.world.trace, SipSent, "alice", start="REGISTER")) == 2, "it is not tried for ever"
    assert every(office.world.trace, SipAuthenticationFailed, "frontend", user="alice")
    assert any("alice is not let in" in title for title in errors(office.world.trace))
    # Her own trace alone says what she can know.
    assert any("cannot register" in title or "not let in" in title for title in errors(only(office, "alice")))
    # And with the right one she gets in.
    office.world.call("alice", alice.phone.stop)
    assert alice.waits_for(events.Stopped)
    office.world.kill("alice")
    alice, bob = office.joins("alice"), office.joins("bob", ring_for=0.5)
    joined(office, alice, bob)
    talk(alice, bob, seconds=1.0)


def only(office: VirtualOffice, node: str) -> list[Entry]:
    return [entry for entry in office.world.trace if entry.node == node]


# --- clocks ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("skew", [-600.0, 600.0])
def test_a_clients_clock_is_ten_minutes_off(skew: float) -> None:
    """Nothing that a client says or is told hangs on its clock."""
    office = VirtualOffice(topologies.relayed_udp(), 1)
    alice, bob = office.joins("alice", wall_skew=skew), office.joins("bob", ring_for=0.5)
    joined(office, alice, bob)
    talk(alice, bob, seconds=1.0)
    assert agreed_path(office.close()) is PathClass.RELAY_UDP


@pytest.mark.parametrize("skew", [-600.0, 600.0])
def test_the_edges_clock_is_ten_minutes_off(skew: float) -> None:
    """Edge and relay are one program: what it minted by its clock it checks by its clock."""
    office = VirtualOffice(topologies.relayed_udp(), 1)
    office.world.set_clock("edge", skew)
    alice, bob = office.joins("alice"), office.joins("bob", ring_for=0.5)
    joined(office, alice, bob)
    talk(alice, bob, seconds=1.0)
    assert agreed_path(office.close()) is PathClass.RELAY_UDP


@pytest.mark.parametrize("jump", [-600.0, 600.0])
def test_the_edges_clock_is_set_right_after_minting(jump: float) -> None:
    """Ten minutes are within the tolerance of clocks, and a small part of eight hours."""
    office, alice, bob = both_join(topologies.relayed_udp(), ring_for=0.5)
    office.world.set_clock("edge", jump)
    talk(alice, bob, seconds=1.0)
    assert agreed_path(office.close()) is PathClass.RELAY_UDP


def test_expired_credentials_are_explained() -> None:
    """The edge's clock leaps over their end: refused, no relay, and the reason is told."""
    office, alice, bob = both_join(topologies.reflexive(), ring_for=0.5)
    office.world.set_clock("edge", 8 * 3600.0 + 93.0)
    talk(alice, bob, seconds=1.0)
    trace = office.close()
    assert agreed_path(trace) is PathClass.REFLEXIVE
    refused = every(trace, RelayRefused, "edge", code=401, detail=r"expired \d+ s ago")
    assert refused
    assert every(trace, ServerRefused, "alice", code=401, detail=r"expired \d+ s ago")
    for entries in (trace, [entry for entry in trace if entry.node == "alice"]):
        assert any("the credentials expired" in title and "Alice" in title for title in errors(entries))


def test_credentials_are_renewed_before_they_expire() -> None:
    office, alice, bob = both_join(topologies.relayed_udp(), ring_for=0.5)
    office.world.advance(9 * 3600.0)
    assert len(every(office.world.trace, CredentialsReceived, "alice")) == 2
    talk(alice, bob, seconds=1.0)
    assert agreed_path(office.close()) is PathClass.RELAY_UDP


# --- servers --------------------------------------------------------------------------------------------
def test_the_credential_service_is_down() -> None:
    """Phones get ready without a relay and say why; where no relay is needed, calls work."""
    config = edge_config()
    elsewhere = config.credentials.model_copy(update={"listen": "10.0.0.2:5999"})
    office = VirtualOffice(topologies.one_lan(), 1, edge=config.model_copy(update={"credentials": elsewhere}))
    alice, bob = office.joins("alice"), office.joins("bob", ring_for=0.5)
    joined(office, alice, bob)
    ready = next(event for event in alice.events if isinstance(event, events.Ready))
    assert "refused" in ready.relay_trouble, ready
    talk(alice, bob, seconds=1.0)
    trace = office.close()
    assert agreed_path(trace) is PathClass.DIRECT
    assert every(trace, CredentialsRefused, "frontend", reason="edge edge.example.test: .*refused")
    assert every(trace, CredentialsRefused, "alice", reason="504")
    assert "got no relay credentials" in titles(trace)


def test_the_credential_service_hangs() -> None:
    """Unreachable rather than refusing: phones are ready all the same, within seconds."""
    office = VirtualOffice(topologies.one_lan(), 1)
    office.world.unplug("edge")
    alice, bob = office.joins("alice"), office.joins("bob", ring_for=0.5)
    joined(office, alice, bob)
    assert office.world.now < 10.0
    connect(alice, bob)
    office.world.plug("edge")
    office.world.advance(70.0)
    assert every(office.world.trace, CredentialsReceived, "alice"), "asked again when the edge is back"
    office.close()


def test_the_edge_goes_away_after_registration() -> None:
    """Two inside: the relay is silent, the call is not held up by it."""
    office, alice, bob = both_join(topologies.one_lan(), ring_for=0.5)
    office.world.unplug("edge")
    began = office.world.now
    connect(alice, bob)
    assert office.world.now - began < 5.0, "nobody waits for a dead server"
    alice.hangs_up()
    assert bob.waits_for(events.CallEnded)
    office.world.advance(40.0)
    trace = office.close()
    assert agreed_path(trace) is PathClass.DIRECT


def test_the_edge_goes_away_during_a_call_inside() -> None:
    office, alice, bob = both_join(topologies.one_lan(), ring_for=0.5)
    call = connect(alice, bob)
    office.world.unplug("edge")
    office.world.advance(60.0)
    assert not alice.saw(events.CallEnded), "the path does not lead through the edge"
    alice.hangs_up(call)
    assert bob.waits_for(events.CallEnded)
    assert end_of(bob).answered


def test_the_relay_dies_under_a_relayed_call() -> None:
    """The media path is gone: consent ends (RFC 7675 §5.1), and the call with it, with the reason."""
    office, alice, bob = both_join(topologies.relayed_udp(), ring_for=0.5)
    connect(alice, bob)
    office.world.advance(1.0)
    office.world.unplug("edge")
    for person in (alice, bob):
        assert person.waits_for(events.CallEnded, 60.0)
        assert "silent" in end_of(person).reason
    assert "path died" in titles(office.world.trace)
    office.world.plug("edge")
    for person in (alice, bob):
        person.events.clear()
    # Alice's way to the front end led through it as well; her stream recovers, or her phone finds another.
    office.world.advance(60.0)
    talk(alice, bob, seconds=1.0)
    office.close()


def test_the_edge_restarts() -> None:
    """Its streams and allocations are gone; clients come back by themselves and calls work again."""
    office, alice, bob = both_join(topologies.relayed_udp(), ring_for=0.5)
    office.world.kill("edge")
    office.world.advance(1.0)
    office.start_edge()
    assert office.world.run_until(lambda: len(every(office.world.trace, Registered, "alice")) >= 2, 120.0), (
        alice.events
    )
    office.world.advance(2.0)
    talk(alice, bob, seconds=1.0)
    assert agreed_path(office.close()) is PathClass.RELAY_UDP


def test_the_front_end_is_killed_and_started_between_two_calls() -> None:
    """Bindings survive in the store. Bob's stream ended with it and he comes back; Alice's ends at the edge,
    which lives, so her binding is as good as before without her doing anything."""
    office, alice, bob = both_join(topologies.reflexive(), ring_for=0.5)
    talk(alice, bob, seconds=1.0)
    office.world.kill("frontend")
    office.world.advance(2.0)
    office.start_frontend()
    again = Story(office.world.trace, len(office.world.trace) - 1)
    assert office.world.run_until(lambda: len(every(office.world.trace, Registered, "bob")) >= 2, 60.0)
    assert office.world.run_until(lambda: back(office, "edge.example.test"), 10.0), (
        "the edge comes back as well"
    )
    alice.events.clear()
    bob.calls("alice")
    assert alice.waits_for(events.IncomingCall), bob.events
    alice.refuses("call.2")
    talk(alice, bob, seconds=1.0)
    again.never("alice", SipSent, start="REGISTER")
    trace = office.close()
    assert len(every(trace, CallState, "alice", state="settled")) == 2


def back(office: VirtualOffice, name: str) -> bool:
    """Whether somebody with that certificate is connected to the front end that was started last."""
    started = max(
        entry.id
        for entry in office.world.trace
        if entry.node == "frontend" and isinstance(entry.record, Started)
    )
    return bool(every(office.world.trace[started:], ConnectionOpened, "frontend", peer_names=(name,)))


def test_the_front_end_is_killed_and_started_with_everybody_inside() -> None:
    office, alice, bob = both_join(topologies.one_lan(), ring_for=0.5)
    talk(alice, bob, seconds=1.0)
    office.world.kill("frontend")
    office.world.advance(2.0)
    office.start_frontend()
    assert office.world.run_until(
        lambda: all(len(every(office.world.trace, Registered, who)) >= 2 for who in ("alice", "bob")), 60.0
    )
    office.world.advance(1.0)
    talk(alice, bob, seconds=1.0)
    office.close()


def test_the_front_end_is_down() -> None:
    """A registered phone whose front end has gone: the call fails at once, with a reason."""
    office, alice, _ = both_join(topologies.reflexive(), ring_for=0.5)
    office.world.kill("frontend")
    alice.events.clear()
    alice.calls("bob")
    assert alice.waits_for(events.CallEnded, 40.0)
    assert end_of(alice).reason
    assert not end_of(alice).answered
    story = Story(office.world.trace).then("alice", SipSent, start="INVITE")
    story.then("alice", SipReceived, start="SIP/2.0 50").then("alice", CallState, state="failed", reason="50")
    assert any("failed" in title for title in errors(office.world.trace))


# --- the other side -------------------------------------------------------------------------------------
def test_a_peer_that_never_answers() -> None:
    """Bob's machine is unplugged: his stream looks alive, and nothing comes back (RFC 3261 Timer B)."""
    office, alice, _ = both_join(topologies.reflexive(), ring_for=0.5)
    office.world.unplug("bob")
    alice.events.clear()
    alice.calls("bob")
    assert alice.waits_for(events.CallEnded, 60.0)
    assert "408" in end_of(alice).reason or "480" in end_of(alice).reason, end_of(alice)
    Story(office.world.trace).then("frontend", SipSent, start="INVITE").then(
        "alice", CallState, state="failed", reason="408|480"
    )
    office.world.plug("bob")
    bob = office.people["bob"]
    alices_patience = 400.0
    assert office.world.run_until(lambda: reached(office, alice, bob), alices_patience)


def reached(office: VirtualOffice, alice: VirtualPerson, bob: VirtualPerson) -> bool:
    """Whether a call gets through now; a failed try costs half a minute."""
    alice.events.clear()
    bob.events.clear()
    alice.calls("bob")
    office.world.advance(5.0)
    return bob.saw(events.CallSettled)


def test_a_peer_that_vanishes_while_it_rings() -> None:
    office, alice, bob = both_join(topologies.reflexive(), ring_for=None)
    call, _ = ring(alice, bob)
    office.world.unplug("bob")
    office.world.advance(5.0)
    alice.hangs_up(call)
    assert alice.waits_for(events.CallEnded, 60.0)
    office.world.advance(60.0)
    assert not alice.phone._calls


def test_a_peer_that_vanishes_during_a_call() -> None:
    office, alice, bob = both_join(topologies.reflexive(), ring_for=0.5)
    connect(alice, bob)
    office.world.advance(1.0)
    office.world.unplug("bob")
    assert alice.waits_for(events.CallEnded, 60.0)
    assert "silent" in end_of(alice).reason
    office.world.advance(60.0)
    assert not alice.phone._calls
    assert "path died" in titles(office.world.trace)


# --- names ----------------------------------------------------------------------------------------------
def test_no_srv_records() -> None:
    topology = topologies.reflexive()
    views = tuple(
        replace(view, records=tuple(record for record in view.records if record.type != "SRV"))
        for view in topology.views
    )
    office = VirtualOffice(replace(topology, views=views), 1)
    alice = office.joins("alice")
    assert alice.waits_for(events.RegistrationFailed, 60.0)
    failed = next(event for event in alice.events if isinstance(event, events.RegistrationFailed))
    assert "example.test" in failed.reason
    assert "finds no server in DNS" in titles(office.world.trace)


def test_the_name_server_is_down() -> None:
    office = VirtualOffice(topologies.reflexive(), 1)
    office.world.unplug("names")
    alice = office.joins("alice", says=lambda: voice("alice"))
    assert alice.waits_for(events.RegistrationFailed, 60.0)
    assert "finds no server in DNS" in titles(office.world.trace)
    office.world.plug("names")
    assert alice.waits_for(events.Ready, 400.0), "it is tried again"
