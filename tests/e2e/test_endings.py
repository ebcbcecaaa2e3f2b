"""The ways in which calls end, or never begin; after each of them the next call gets through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iceway.client import events
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.trace.entry import Entry
from iceway.trace.records import CallState, SipReceived, SipSent
from tests.e2e.calls import both_join, connect, end_of, pick_up, ring, shares, titles, voice
from tests.e2e.story import Story, every


class Desk:
    """Alice outside, Bob inside; he picks up when told to."""

    def __init__(self) -> None:
        self.office, self.alice, self.bob = both_join(topologies.reflexive(), ring_for=None)
        self.closed = False

    @property
    def trace(self) -> list[Entry]:
        return self.office.world.trace

    def both_ended(self) -> tuple[events.CallEnded, events.CallEnded]:
        for person in (self.alice, self.bob):
            assert person.waits_for(events.CallEnded, 40.0), f"{person.name}: {person.events}"
        return end_of(self.alice), end_of(self.bob)


@pytest.fixture
def desk() -> Iterator[Desk]:
    """After the test a normal call works, and everybody leaves in order."""
    desk = Desk()
    yield desk
    call, _ = pick_up(desk.alice, desk.bob)
    desk.alice.hangs_up(call)
    desk.both_ended()
    everybody_left(desk.office)


def everybody_left(office: VirtualOffice) -> None:
    """Phones, edge and front end end with nothing open and nothing left to wait for."""
    office.close()
    for person in office.people.values():
        assert person.saw(events.Stopped), person.name
    office.world.advance(40.0)  # the last transactions' timers
    for person in office.people.values():
        assert not person.phone._calls, f"{person.name} still holds a call"
        assert person.phone.poll_timeout() is None, f"{person.name} still waits for something"


def test_busy(desk: Desk) -> None:
    _, theirs = ring(desk.alice, desk.bob)
    desk.bob.refuses(theirs, 486, "Busy Here")
    alices, bobs = desk.both_ended()
    assert "486 Busy Here" in alices.reason
    assert not alices.answered
    assert "refused here" in bobs.reason
    story = (
        Story(desk.trace)
        .then("bob", SipSent, start="SIP/2.0 486")
        .then("alice", SipReceived, start="SIP/2.0 486")
    )
    story.then("alice", SipSent, start="ACK").then("alice", CallState, state="failed", reason="486 Busy Here")
    assert "486 Busy Here" in titles(desk.trace)


def test_declined(desk: Desk) -> None:
    _, theirs = ring(desk.alice, desk.bob)
    desk.bob.refuses(theirs, 603, "Decline")
    alices, _ = desk.both_ended()
    assert "603 Decline" in alices.reason


def test_nobody_picks_up(desk: Desk) -> None:
    """After three minutes (RFC 3261 §13.2.1: as long as the caller likes to wait) it is given up, for both."""
    ring(desk.alice, desk.bob)
    assert desk.alice.waits_for(events.CallEnded, 400.0)
    alices, bobs = desk.both_ended()
    assert alices.reason == "not answered in 180 s"
    assert (alices.answered, bobs.answered) == (False, False)
    desk.office.world.advance(1.0)
    story = Story(desk.trace).then("alice", SipSent, start="CANCEL").then("bob", SipSent, start="SIP/2.0 487")
    story.then("alice", SipReceived, start="SIP/2.0 487")
    assert every(desk.trace, CallState, "alice", state="ended", reason="not answered in 180 s")
    assert "Alice's call to sip:bob@example.test ended unanswered: not answered in 180 s" in titles(
        desk.trace
    )


def test_the_caller_gives_up_while_it_rings(desk: Desk) -> None:
    call, _ = ring(desk.alice, desk.bob)
    desk.office.world.advance(1.0)
    desk.alice.hangs_up(call)
    _, bobs = desk.both_ended()
    assert not bobs.answered
    assert "cancel" in bobs.reason.lower()
    desk.office.world.advance(1.0)
    story = Story(desk.trace).then("alice", SipSent, start="CANCEL").then("bob", SipReceived, start="CANCEL")
    story.then("bob", SipSent, start="SIP/2.0 487").then("alice", SipReceived, start="SIP/2.0 487")
    story.then("alice", SipSent, start="ACK")
    assert "ended unanswered: hung up here" in titles(desk.trace)


@pytest.mark.parametrize("after", [0.0, 0.05, 0.18, 0.2, 0.22, 0.25, 0.3, 0.4])
def test_the_caller_gives_up_at_any_moment_of_the_start(desk: Desk, after: float) -> None:
    call = desk.alice.calls("bob")
    desk.office.world.advance(after)
    desk.alice.hangs_up(call)
    assert desk.alice.waits_for(events.CallEnded)
    desk.office.world.advance(40.0)
    if desk.bob.saw(events.IncomingCall):
        assert not end_of(desk.bob).answered
    for person in (desk.alice, desk.bob):
        assert not person.phone._calls


def test_picked_up_and_cancelled_at_once(desk: Desk) -> None:
    """CANCEL and 200 cross (RFC 3261 §15): the call is answered, and ended by BYE."""
    call, theirs = ring(desk.alice, desk.bob)
    desk.office.world.advance(1.0)
    desk.bob.picks_up(theirs)
    desk.alice.hangs_up(call)
    desk.both_ended()
    desk.office.world.advance(40.0)
    story = (
        Story(desk.trace)
        .then("alice", SipSent, start="CANCEL")
        .then("alice", SipReceived, start="SIP/2.0 200", cseq="INVITE")
    )
    story.then("alice", SipSent, start="ACK")
    story.then("alice", SipSent, start="BYE").then("bob", SipReceived, start="BYE")


def test_who_was_called_hangs_up(desk: Desk) -> None:
    _, theirs = pick_up(desk.alice, desk.bob)
    desk.office.world.advance(1.0)
    desk.bob.hangs_up(theirs)
    alices, bobs = desk.both_ended()
    assert alices.answered
    assert bobs.reason == "hung up here"
    assert "hung up" in alices.reason
    Story(desk.trace).then("bob", SipSent, start="BYE").then(
        "alice", SipSent, start="SIP/2.0 200", cseq="BYE"
    )


def test_both_hang_up_at_once(desk: Desk) -> None:
    call, theirs = pick_up(desk.alice, desk.bob)
    desk.office.world.advance(1.0)
    desk.alice.hangs_up(call)
    desk.bob.hangs_up(theirs)
    desk.both_ended()
    desk.office.world.advance(1.0)
    for one, other in (("alice", "bob"), ("bob", "alice")):
        # RFC 3261 §15.1.2 lets either answer a BYE of a dialog that is over with 481, or with 200.
        Story(desk.trace).then(one, SipSent, start="BYE").then(other, SipReceived, start="BYE")
        assert every(desk.trace, SipReceived, one, cseq="BYE")


def test_nobody_of_that_name(desk: Desk) -> None:
    desk.alice.calls("nobody")
    assert desk.alice.waits_for(events.CallEnded)
    assert "404" in end_of(desk.alice).reason
    Story(desk.trace).then("frontend", SipSent, start="SIP/2.0 404").then(
        "alice", CallState, state="failed", reason="404"
    )
    assert "sip:nobody@example.test failed: 404" in titles(desk.trace)


def test_somebody_who_is_not_there(desk: Desk) -> None:
    """A user of the domain without a phone: 480, not 404 (RFC 3261 §16.5)."""
    desk.office.world.call("bob", desk.bob.phone.stop)
    assert desk.bob.waits_for(events.Stopped)
    desk.alice.calls("bob")
    assert desk.alice.waits_for(events.CallEnded)
    assert "480" in end_of(desk.alice).reason
    desk.office.world.kill("bob")
    desk.bob = desk.office.joins("bob", says=lambda: voice("bob"))
    assert desk.bob.waits_for(events.Ready)


def test_a_call_to_oneself(desk: Desk) -> None:
    """One phone at both ends: two calls, settled, heard."""
    alice = desk.alice
    outgoing, incoming = ring(alice, alice)
    assert outgoing != incoming
    alice.picks_up(incoming)
    assert desk.office.world.run_until(lambda: count(alice, events.CallSettled) == 2, 10.0), alice.events
    desk.office.world.advance(3.0)
    alice.hangs_up(outgoing)
    assert desk.office.world.run_until(lambda: count(alice, events.CallEnded) == 2, 10.0), alice.events
    assert all(event.answered for event in alice.events if isinstance(event, events.CallEnded))


def test_two_calls_at_once(desk: Desk) -> None:
    first, second = pick_up(desk.alice, desk.bob), pick_up(desk.alice, desk.bob)
    assert first[0] != second[0]
    desk.office.world.advance(7.0)
    assert min(shares(desk.alice, desk.bob)) >= 0.97
    desk.alice.hangs_up(first[0])
    desk.office.world.advance(1.0)
    assert count(desk.bob, events.CallEnded) == 1
    desk.bob.hangs_up(second[1])
    desk.office.world.advance(1.0)
    assert count(desk.alice, events.CallEnded) == 2


def test_they_call_each_other_at_the_same_moment(desk: Desk) -> None:
    """Two calls cross; both can be taken."""
    for person, other in ((desk.alice, "bob"), (desk.bob, "alice")):
        person.calls(other)
    assert desk.office.world.run_until(
        lambda: desk.alice.saw(events.IncomingCall) and desk.bob.saw(events.IncomingCall), 10.0
    )
    for person in (desk.alice, desk.bob):
        person.picks_up("call.2")
    assert desk.office.world.run_until(
        lambda: all(count(person, events.CallSettled) == 2 for person in (desk.alice, desk.bob)), 10.0
    )
    for person in (desk.alice, desk.bob):
        person.hangs_up("call.1")
    desk.office.world.advance(2.0)
    assert [count(person, events.CallEnded) for person in (desk.alice, desk.bob)] == [2, 2]


def test_the_phone_is_stopped_during_a_call() -> None:
    office, alice, bob = both_join(topologies.reflexive())
    connect(alice, bob)
    office.world.call("alice", alice.phone.stop)
    assert bob.waits_for(events.CallEnded)
    assert alice.waits_for(events.Stopped)
    Story(office.world.trace).then("alice", SipSent, start="BYE").then("bob", CallState, state="ended")
    everybody_left(office)


def count(person: VirtualPerson, kind: type) -> int:
    return sum(isinstance(event, kind) for event in person.events)
