"""A phone in the virtual office: registered, supplied, refused, lost and found again."""

from __future__ import annotations

import pytest

from iceway.client import events
from iceway.client.phone import MAX_RINGING, RETRY_RELAYS
from iceway.client.relays import RENEW_AT
from iceway.client.stats import CallStats
from iceway.core.errors import UsageError
from iceway.edge.credentials import KeyRing, TokenKeys
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.lab.topologies import DOMAIN
from iceway.trace.records import (
    CallState,
    CredentialsReceived,
    CredentialsRefused,
    CredentialsRequested,
    Record,
    SipReceived,
    SipSent,
)
from tests.e2e.story import every


def office_and(name: str) -> tuple[VirtualOffice, VirtualPerson]:
    office = VirtualOffice(topologies.reflexive(), 1)
    return office, office.joins(name)


def instants(office: VirtualOffice, kind: type[Record], who: str) -> list[float]:
    return [entry.at for entry in office.world.trace if entry.node == who and isinstance(entry.record, kind)]


def seen(person: VirtualPerson, kind: type) -> list[object]:
    return [event for event in person.events if isinstance(event, kind)]


# --- registration -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "outside"), [("alice", True), ("bob", False)])
def test_ready_says_where_one_is(name: str, outside: bool) -> None:
    office, person = office_and(name)
    assert person.waits_for(events.Ready)
    assert seen(person, events.Ready) == [events.Ready(outside)]
    assert person.phone.outside is outside
    office.close()


def test_a_wrong_password_is_final_and_not_tried_again() -> None:
    office = VirtualOffice(topologies.reflexive(), 1)
    alice = office.joins("alice", password="guessed")
    assert alice.waits_for(events.RegistrationFailed)
    (failed,) = seen(alice, events.RegistrationFailed)
    assert isinstance(failed, events.RegistrationFailed)
    assert failed.final
    assert failed.reason.startswith("401")
    sent = len(every(office.world.trace, SipSent, "alice", start="REGISTER"))
    office.world.advance(600)
    assert len(every(office.world.trace, SipSent, "alice", start="REGISTER")) == sent
    with pytest.raises(UsageError, match="not registered"):
        alice.calls("bob")


def test_a_server_that_comes_late_is_found() -> None:
    office = VirtualOffice(topologies.reflexive(), 1)
    office.world.kill("frontend")
    bob = office.joins("bob")
    assert bob.waits_for(events.RegistrationFailed)
    failed = bob.events[-1]
    assert isinstance(failed, events.RegistrationFailed)
    assert not failed.final
    assert "refused" in failed.reason
    office.start_frontend()
    assert bob.waits_for(events.Ready, 60)
    assert not bob.saw(events.RegistrationRestored), "it was never there before"
    office.close()


def test_a_registration_that_is_lost_comes_back_and_both_is_told() -> None:
    office, bob = office_and("bob")
    assert bob.waits_for(events.Ready)
    for times in (1, 2):
        office.world.kill("frontend")
        assert office.world.run_until(
            lambda times=times: len(seen(bob, events.RegistrationFailed)) >= times, 60
        )
        with pytest.raises(UsageError, match="not registered"):
            bob.calls("alice")
        office.start_frontend()
        assert office.world.run_until(
            lambda times=times: len(seen(bob, events.RegistrationRestored)) == times, 60
        )
    assert isinstance(bob.events[-1], events.RegistrationRestored)
    assert len(seen(bob, events.Ready)) == 1
    bob.calls("alice")
    office.close()


def test_a_refresh_is_no_news() -> None:
    office, bob = office_and("bob")
    assert bob.waits_for(events.Ready)
    told = len(bob.events)
    registers = len(every(office.world.trace, SipSent, "bob", start="REGISTER"))
    office.world.advance(3600)
    assert len(every(office.world.trace, SipSent, "bob", start="REGISTER")) > registers
    assert len(bob.events) == told
    office.close()


# --- relay credentials ------------------------------------------------------------------------------------
def test_credentials_are_asked_for_again_at_four_fifths_of_their_time() -> None:
    keys = KeyRing(TokenKeys.derive(b"the private key of the office's edge"), max_lifetime=360.0)
    office = VirtualOffice(topologies.reflexive(), 1, keys=keys)
    alice = office.joins("alice")
    assert alice.waits_for(events.Ready)
    (received,) = every(office.world.trace, CredentialsReceived, "alice")
    assert received.duration == 360
    office.world.advance(700)
    asked = instants(office, CredentialsRequested, "alice")
    got = instants(office, CredentialsReceived, "alice")
    assert len(asked) == 3
    assert [later - before for before, later in zip(got, asked[1:], strict=False)] == [
        pytest.approx(RENEW_AT * 360)
    ] * 2
    office.close()


def test_refused_credentials_leave_a_phone_ready_and_are_tried_for_again() -> None:
    office = VirtualOffice(topologies.reflexive(), 1)
    office.world.kill("edge")
    bob = office.joins("bob")
    assert bob.waits_for(events.Ready, 60)
    (ready,) = seen(bob, events.Ready)
    assert isinstance(ready, events.Ready)
    (refused,) = every(office.world.trace, CredentialsRefused, "bob")
    assert ready.relay_trouble == refused.reason != ""
    office.start_edge()
    assert office.world.run_until(lambda: every(office.world.trace, CredentialsReceived, "bob"), 120)
    first, second, *_ = instants(office, CredentialsRequested, "bob")
    (at,) = instants(office, CredentialsRefused, "bob")
    assert first < at
    assert second == pytest.approx(at + RETRY_RELAYS)
    office.close()


# --- calls ------------------------------------------------------------------------------------------------
def test_a_call_made_at_once_waits_for_credentials_on_their_way() -> None:
    office, alice = office_and("alice")

    def registered() -> bool:
        answers = every(office.world.trace, SipReceived, "alice", start="SIP/2.0 200")
        return any("REGISTER" in answer.cseq for answer in answers)

    assert office.world.run_until(registered, 10)
    assert not alice.saw(events.Ready)
    alice.calls("bob")
    assert office.world.run_until(lambda: every(office.world.trace, CallState, "alice", state="trying"), 20)
    (invite,) = every(office.world.trace, SipSent, "alice", start="INVITE")[:1]
    assert "typ relay" in invite.text
    office.close()


def test_what_a_phone_cannot_do() -> None:
    office, alice = office_and("alice")
    with pytest.raises(UsageError, match="not registered"):
        alice.calls("bob")
    with pytest.raises(UsageError, match="starts once"):
        office.world.call("alice", alice.phone.start)
    assert alice.waits_for(events.Ready)
    with pytest.raises(UsageError, match=r"write sip:bob@example\.test"):
        office.world.call("alice", lambda now: alice.phone.call("sip:b b", alice.media(None), now))
    for command in (alice.picks_up, alice.hangs_up, alice.refuses):
        command("call.99")  # an end may cross any command
    assert alice.phone.stats("call.99", office.world.now) == CallStats()
    office.close()
    with pytest.raises(UsageError, match="not registered"):
        alice.calls("bob")


def test_somebody_who_is_not_there_ends_the_call_with_the_reason() -> None:
    office, alice = office_and("alice")
    assert alice.waits_for(events.Ready)
    call = alice.calls("bob")
    assert alice.waits_for(events.CallEnded)
    (ended,) = seen(alice, events.CallEnded)
    assert isinstance(ended, events.CallEnded)
    assert (ended.call, ended.answered) == (call, False)
    assert ended.reason.startswith("480")
    office.close()


def test_one_caller_cannot_make_a_phone_ring_without_end() -> None:
    """Every call that rings holds relays of whom it calls, who has a quota of them."""
    office = VirtualOffice(topologies.reflexive(), 1)
    alice, bob = office.joins("alice"), office.joins("bob")
    assert alice.waits_for(events.Ready)
    assert bob.waits_for(events.Ready)
    for _ in range(MAX_RINGING + 2):
        alice.calls("bob")
    office.world.advance(5.0)
    assert len(seen(bob, events.IncomingCall)) == MAX_RINGING
    ended = [event for event in seen(alice, events.CallEnded) if isinstance(event, events.CallEnded)]
    assert ["Too many calls ring here already" in event.reason for event in ended] == [True, True]
    office.close()


def test_a_call_that_wants_an_offer_of_ours_is_refused_with_the_reason() -> None:
    office = VirtualOffice(topologies.reflexive(), 1)
    alice, bob = office.joins("alice"), office.joins("bob")
    assert alice.waits_for(events.Ready)
    assert bob.waits_for(events.Ready)
    agent = alice.phone.user_agent
    office.world.call("alice", lambda now: agent.invite(f"sip:bob@{DOMAIN}", None, now))
    office.world.advance(2.0)
    assert every(
        office.world.trace, SipSent, "bob", start="SIP/2.0 488 An INVITE without an offer is not answered"
    )
    assert not bob.saw(events.IncomingCall)
    office.close()
