"""What people do in a call, through the whole company: keys, hold, transfers; and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from iceway.client import events
from iceway.core.errors import UsageError
from iceway.explain.steps import steps
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.media.files import ToneSource
from iceway.media.sound import RATE
from iceway.trace.entry import Entry, to_json
from iceway.trace.records import SipReceived
from tests.e2e.calls import both_join, end_of, hum, ring, talk
from tests.e2e.story import every

Office = tuple[VirtualOffice, VirtualPerson, VirtualPerson]


@pytest.fixture
def company() -> Iterator[Office]:
    """Alice outside, Bob inside; he picks up by himself. After the test everybody leaves."""
    office, alice, bob = both_join(topologies.relayed_udp())
    yield office, alice, bob
    for person in (alice, bob):
        person.events.clear()
    talk(alice, bob, 1.0)
    office.close()
    office.world.advance(40.0)
    assert not alice.phone._calls
    assert not bob.phone._calls


def digits(person: VirtualPerson) -> str:
    return "".join(event.digit for event in person.events if isinstance(event, events.CallDigit))


def texts(trace: list[Entry]) -> str:
    return "\n".join(to_json(entry) for entry in trace)


# --- telephone keys ---------------------------------------------------------------------------------------
def test_keys_are_heard_at_the_other_end_of_a_relay_and_told_to_nobody_else(company: Office) -> None:
    office, alice, bob = company
    call = hum(alice, bob)
    office.world.call("alice", lambda now: alice.phone.press(call, "8802#", 0.1, now))
    office.world.advance(3.0)
    theirs = next(event.call for event in bob.events if isinstance(event, events.CallAnswered))
    office.world.call("bob", lambda now: bob.phone.press(theirs, "*D", 0.2, now))
    office.world.advance(2.0)
    assert digits(bob) == "8802#"
    assert digits(alice) == "*D"
    assert "telephone-event" in texts(office.world.trace), "it was offered and answered"
    assert not [line for line in texts(office.world.trace).splitlines() if "CallDigit" in line]
    alice.hangs_up(call)
    for person in (alice, bob):
        assert person.waits_for(events.CallEnded)


def test_keys_that_come_by_info(company: Office) -> None:
    """Some phones send them so (application/dtmf-relay); the trace does not keep which."""
    office, alice, bob = company
    call = hum(alice, bob)
    agent = alice.phone.user_agent
    sip_call = alice.phone._calls[call].sip_call
    for body in (b"Signal=5\r\nDuration=160\r\n", b"Signal=nonsense", b"\xff" * 400):
        office.world.call(
            "alice", lambda now, body=body: agent.inform(sip_call, "", "application/dtmf-relay", body, now)
        )
        office.world.advance(1.0)
    assert digits(bob) == "5"
    received = every(office.world.trace, SipReceived, "bob", start="INFO")
    assert received
    assert all("Signal=5" not in record.text for record in received)
    alice.hangs_up(call)
    for person in (alice, bob):
        assert person.waits_for(events.CallEnded)


# --- hold -------------------------------------------------------------------------------------------------
def name_of(person: VirtualPerson) -> str:
    """Of the call that a person answered last."""
    return [event.call for event in person.events if isinstance(event, events.CallAnswered)][-1]


def holds(person: VirtualPerson, holding: bool = True) -> None:
    call = name_of(person)
    person.world.call(person.name, lambda now: person.phone.hold(call, holding, now))


def held(person: VirtualPerson) -> tuple[bool, bool] | None:
    """What they were told last: held here, held there."""
    told = [event for event in person.events if isinstance(event, events.CallHeld)]
    return (told[-1].here, told[-1].there) if told else None


def loudness(person: VirtualPerson, seconds: float) -> float:
    """Of what they heard lately."""
    samples = person.heard[-1].samples[-round(seconds * RATE) :].astype(np.float64)
    return float(np.sqrt((samples**2).mean()))


def hang_up(one: VirtualPerson, other: VirtualPerson) -> None:
    one.hangs_up(name_of(one))
    for person in (one, other):
        assert person.waits_for(events.CallEnded), person.events


def humming() -> Office:
    """As `company`, where both hum without a pause."""
    office = VirtualOffice(topologies.relayed_udp(), 1)
    alice = office.joins("alice", says=ToneSource)
    bob = office.joins("bob", says=ToneSource, ring_for=1.0)
    for person in (alice, bob):
        assert person.waits_for(events.Ready)
    hum(alice, bob)
    return office, alice, bob


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_call_is_held_and_resumed_by_either_side(who: str) -> None:
    office, alice, bob = humming()
    holder, other = (alice, bob) if who == "alice" else (bob, alice)
    office.world.advance(2.0)
    assert loudness(alice, 1.0) > 100
    assert loudness(bob, 1.0) > 100
    holds(holder)
    office.world.advance(3.0)
    assert (held(holder), held(other)) == ((True, False), (False, True))
    assert loudness(holder, 1.0) < 10
    assert loudness(other, 1.0) < 10
    office.world.advance(60.0)
    assert not holder.saw(events.CallInterrupted), "a quiet call is no dead one"
    assert not other.saw(events.CallInterrupted)
    holds(holder, False)
    office.world.advance(3.0)
    assert (held(holder), held(other)) == ((False, False), (False, False))
    assert loudness(alice, 1.0) > 100
    assert loudness(bob, 1.0) > 100
    hang_up(alice, bob)
    lines = [step.plain for step in steps(office.close())]
    assert f"{who.title()} holds the call" in lines, [line for line in lines if "hold" in line]


def test_both_hold_and_each_ends_its_own() -> None:
    office, alice, bob = humming()
    holds(alice)
    office.world.advance(2.0)
    holds(bob)
    office.world.advance(2.0)
    assert (held(alice), held(bob)) == ((True, True), (True, True))
    holds(alice, False)
    office.world.advance(2.0)
    assert (held(alice), held(bob)) == ((False, True), (True, False))
    holds(bob, False)
    office.world.advance(2.0)
    assert (held(alice), held(bob)) == ((False, False), (False, False))
    assert loudness(alice, 0.5) > 100
    hang_up(alice, bob)
    office.close()


def test_holds_that_cross_are_both_heard() -> None:
    """Glare (RFC 3261 §14.1): both are told 491, one waits longer."""
    office, alice, bob = humming()
    office.world.advance(1.0)
    holds(alice)
    holds(bob)
    office.world.advance(6.0)
    assert every(office.world.trace, SipReceived, "alice", start="SIP/2.0 491")
    assert (held(alice), held(bob)) == ((True, True), (True, True))
    holds(alice, False)
    holds(bob, False)
    office.world.advance(6.0)
    assert (held(alice), held(bob)) == ((False, False), (False, False))
    assert loudness(alice, 0.5) > 100
    assert loudness(bob, 0.5) > 100
    hang_up(alice, bob)
    office.close()


def test_who_resumes_while_the_other_one_begins_to_hold() -> None:
    office, alice, bob = humming()
    holds(alice)
    office.world.advance(2.0)
    holds(alice, False)
    holds(bob)
    office.world.advance(6.0)
    assert (held(alice), held(bob)) == ((False, True), (True, False))
    hang_up(alice, bob)
    office.close()


def test_a_held_call_finds_another_path_and_stays_held() -> None:
    office, alice, bob = humming()
    holds(alice)
    office.world.advance(2.0)
    call = alice.phone._calls[name_of(alice)]
    office.world.call("alice", lambda now: call._keeper.lost("a test says so", now, ours=True))
    office.world.advance(8.0)
    assert alice.saw(events.CallRestored)
    assert (held(alice), held(bob)) == ((True, False), (False, True))
    assert loudness(bob, 1.0) < 10
    hang_up(alice, bob)
    office.close()


def test_muted_is_not_held() -> None:
    office, alice, bob = humming()
    call = name_of(alice)
    office.world.call("alice", lambda now: alice.phone.mute(call, True, now))
    office.world.advance(2.0)
    assert loudness(bob, 1.0) < 10
    assert loudness(alice, 1.0) > 100
    assert held(alice) is None
    office.world.call("alice", lambda now: alice.phone.mute(call, False, now))
    office.world.advance(2.0)
    assert loudness(bob, 1.0) > 100
    hang_up(alice, bob)
    office.close()


def test_nothing_is_held_before_it_is_answered() -> None:
    office, alice, bob = both_join(topologies.one_lan(), ring_for=None)
    call, _ = ring(alice, bob)
    with pytest.raises(UsageError, match="not answered yet"):
        office.world.call("alice", lambda now: alice.phone.hold(call, True, now))
    with pytest.raises(UsageError, match="not answered yet"):
        office.world.call("alice", lambda now: alice.phone.press(call, "1", 0.1, now))
    alice.hangs_up(call)
    assert bob.waits_for(events.CallEnded)
    office.close()


# --- session timers ---------------------------------------------------------------------------------------
def test_a_long_call_is_refreshed_through_front_end_and_edge() -> None:
    """Nobody hears anything of it; without it both would hang up after a minute."""
    office = VirtualOffice(topologies.reflexive(), 1)
    alice = office.joins("alice", session_expires=90)
    bob = office.joins("bob", ring_for=1.0, session_expires=90)
    for person in (alice, bob):
        assert person.waits_for(events.Ready)
    hum(alice, bob)
    office.world.advance(100.0)
    assert not alice.saw(events.CallEnded), alice.events
    assert not bob.saw(events.CallEnded), bob.events
    assert len(every(office.world.trace, SipReceived, "bob", start="UPDATE")) == 2
    hang_up(alice, bob)
    assert "Alice tells Bob: I am still here" in [step.plain for step in steps(office.close())]


# --- call waiting, do not disturb -------------------------------------------------------------------------
def test_a_second_call_waits_and_is_taken_while_the_first_is_held(company: Office) -> None:
    office, alice, bob = company
    first = hum(alice, bob)
    bobs_first = name_of(bob)
    second = alice.calls("bob", ToneSource())
    office.world.advance(4.0)
    waiting = [event for event in bob.events if isinstance(event, events.IncomingCall)][-1]
    assert waiting.waiting, "it does not answer itself while another call is up"
    assert name_of(bob) == bobs_first
    office.world.call("bob", lambda now: bob.phone.take(waiting.call, now))
    office.world.advance(4.0)
    assert name_of(bob) == waiting.call
    assert held(bob) == (True, False)
    assert [event.call for event in alice.events if isinstance(event, events.CallHeld)] == [first]
    assert alice.phone._calls[second].answered
    for call in (second, first):
        alice.hangs_up(call)
    office.world.advance(1.0)
    assert sum(isinstance(event, events.CallEnded) for event in bob.events) == 2


def test_a_waiting_call_is_declined_with_a_word(company: Office) -> None:
    office, alice, bob = company
    first = hum(alice, bob)
    alice.calls("bob", ToneSource())
    office.world.advance(2.0)
    waiting = [event for event in bob.events if isinstance(event, events.IncomingCall)][-1]
    bob.refuses(waiting.call, 603, "In a meeting")
    assert alice.waits_for(events.CallEnded)
    assert end_of(alice).reason == "603 In a meeting"
    assert not any(isinstance(event, events.CallHeld) for event in bob.events)
    alice.events.clear()
    bob.events.clear()
    alice.hangs_up(first)
    assert bob.waits_for(events.CallEnded)
    assert "Bob declines the call" in [step.plain for step in steps(office.world.trace)]


def test_nobody_is_disturbed(company: Office) -> None:
    office, alice, bob = company
    office.world.call("bob", lambda now: bob.phone.do_not_disturb(True, now))
    alice.calls("bob")
    assert alice.waits_for(events.CallEnded)
    assert end_of(alice).reason == "480 Do Not Disturb"
    assert bob.saw(events.CallTurnedAway)
    assert not bob.saw(events.IncomingCall)
    office.world.call("bob", lambda now: bob.phone.do_not_disturb(False, now))
