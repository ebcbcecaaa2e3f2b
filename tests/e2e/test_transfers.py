"""Transfers through the whole company, edge and front end included: Alice outside, Bob and Carol in headquarters.

Everybody hums a tone of their own, so who hears whom is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from iceway.client import events
from iceway.client.transfers import GRACE, TransferRequest
from iceway.core.errors import UsageError
from iceway.explain.cast import Cast
from iceway.explain.findings import findings
from iceway.explain.path import verdicts
from iceway.explain.steps import steps
from iceway.frontend.users import add_user
from iceway.lab import topologies
from iceway.lab.office import Shown, VirtualOffice, VirtualPerson, password_of
from iceway.lab.topologies import DOMAIN
from iceway.lab.topology import Host, Interface, Topology
from iceway.media import pattern
from iceway.media.files import ToneSource
from iceway.media.pattern import PatternSource
from iceway.media.picture import Picture
from iceway.media.sound import RATE
from iceway.sip.useragent import Incoming
from iceway.trace.records import SipReceived, SipSent
from iceway.wire.sip import NameAddr, Request
from tests.e2e.story import every

TONES = {"alice": 440.0, "bob": 660.0, "carol": 880.0}
FIRST = {"alice": 1000, "bob": 2000, "carol": 3000}  # the numbers of their pictures
SLIDES = 100_000  # is added to those of their slides


class Company:
    """Three people with their phones; whoever is called picks up by themselves."""

    def __init__(
        self,
        topology: Topology | None = None,
        *,
        picks_up: tuple[str, ...] = tuple(TONES),
        shows: Callable[[str], Shown] = lambda _: {},
    ) -> None:
        topology = topology or topologies.relayed_udp()
        desk = Host("carol", (Interface("hq", "10.0.0.30"),), gateway="10.0.0.1", nameserver="10.0.0.53")
        self.office = VirtualOffice(replace(topology, hosts=(*topology.hosts, desk)), 1)
        add_user(self.office.store, "carol", password_of("carol"), DOMAIN, 0.0)
        self.shows = shows
        self.alice, self.bob, self.carol = (
            self.office.joins(
                name,
                says=lambda name=name: ToneSource(TONES[name]),  # type: ignore[misc]
                shows=lambda name=name: shows(name),  # type: ignore[misc]
                ring_for=ring_for,
            )
            for name, ring_for in ((name, 0.5 if name in picks_up else None) for name in TONES)
        )
        for person in self.people:
            assert person.waits_for(events.Ready)

    @property
    def people(self) -> tuple[VirtualPerson, ...]:
        return self.alice, self.bob, self.carol

    def talk(self, caller: VirtualPerson, callee: VirtualPerson) -> str:
        """A call that is up; the caller's name for it."""
        for person in (caller, callee):
            person.events.clear()
        call = caller.calls(callee.name, ToneSource(TONES[caller.name]), self.shows(caller.name))
        for person in (caller, callee):
            assert person.waits_for(events.CallSettled), f"{person.name}: {person.events}"
        return call

    def does(self, person: VirtualPerson, command: Callable[..., None], *arguments: object) -> None:
        self.office.world.call(person.name, lambda now: command(*arguments, now))

    def transfers(self, person: VirtualPerson, call: str, target: str) -> None:
        self.does(person, person.phone.transfer, call, f"sip:{target}@{DOMAIN}")

    def passes(self, seconds: float) -> None:
        self.office.world.advance(seconds)

    def over(self) -> None:
        """Everybody hangs up, and nothing stays behind."""
        for person in self.people:
            for name in list(person.phone.calls):
                person.hangs_up(name)
        self.passes(40.0)
        for person in self.people:
            assert not person.phone.calls
            transfers = person.phone._transfers
            kept = (transfers._loans, transfers._coming, transfers._leaving, transfers._in_a_row)
            assert kept == ({}, {}, {}, {})
        self.office.close()


def told(person: VirtualPerson, kind: type) -> list[object]:
    return [event for event in person.events if isinstance(event, kind)]


def call_of(person: VirtualPerson) -> str:
    """The call that a person has had answered last."""
    return [event.call for event in person.events if isinstance(event, events.CallAnswered)][-1]


def hears(person: VirtualPerson, seconds: float = 1.0) -> str | None:
    """Whose tone somebody heard lately."""
    samples = person.heard[-1].samples[-round(seconds * RATE) :].astype(np.float64)
    if not len(samples) or np.sqrt((samples**2).mean()) < 100:
        return None
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    pitch = float(np.argmax(spectrum)) * RATE / len(samples)
    return min(TONES, key=lambda name: abs(TONES[name] - pitch))


# --- blind ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("topology", [topologies.one_lan, topologies.relayed_udp, topologies.relayed_tcp])
def test_alice_is_transferred_to_carol(topology: Callable[[], Topology]) -> None:
    company = Company(topology())
    alice, bob, carol = company.people
    first = company.talk(alice, bob)
    company.passes(1.0)
    assert (hears(alice), hears(bob)) == ("bob", "alice")
    bobs = call_of(bob)
    company.transfers(bob, bobs, "carol")
    company.passes(5.0)

    assert (hears(alice), hears(carol)) == ("carol", "alice")
    (begun,) = told(alice, events.SuccessorBegun)
    assert begun == events.SuccessorBegun(call_of(alice), first, f"sip:carol@{DOMAIN}")
    assert told(alice, events.SuccessorInPlace) == [events.SuccessorInPlace(begun.call, first)]  # type: ignore[attr-defined]
    assert told(alice, events.CallEnded) == [
        events.CallEnded(first, f"transferred to sip:carol@{DOMAIN}", True)
    ]
    steps = [event.status for event in bob.events if isinstance(event, events.TransferProgress)]
    assert steps[:2] == [100, 180]
    assert told(bob, events.CallTransferred) == [events.CallTransferred(bobs, f"sip:carol@{DOMAIN}")]
    assert not told(bob, events.TransferFailed)
    assert not bob.phone.calls
    (invite,) = every(company.office.world.trace, SipReceived, "carol", start="INVITE")[:1]
    assert f"Referred-By: <sip:bob@{DOMAIN}>" in invite.text
    company.over()


def test_who_made_the_call_transfers_as_well() -> None:
    company = Company()
    alice, bob, carol = company.people
    first = company.talk(alice, bob)
    company.transfers(alice, first, "carol")
    company.passes(5.0)
    assert (hears(bob), hears(carol)) == ("carol", "bob")
    assert told(alice, events.CallTransferred)
    company.over()


def test_while_it_rings_the_old_call_is_held_and_nobody_hears_anybody() -> None:
    company = Company(picks_up=("alice", "bob"))
    alice, bob, carol = company.people
    company.talk(alice, bob)
    company.transfers(bob, call_of(bob), "carol")
    company.passes(5.0)
    assert told(alice, events.CallHeld)[-1].there  # type: ignore[attr-defined]
    assert (hears(alice), hears(bob)) == (None, None)
    ringing = told(carol, events.IncomingCall)[-1]
    carol.picks_up(ringing.call)  # type: ignore[attr-defined]
    company.passes(3.0)
    assert (hears(alice), hears(carol)) == ("carol", "alice")
    company.over()


@pytest.mark.parametrize(("target", "status"), [("nobody", 404), ("carol", 486)])
def test_a_transfer_that_fails_leaves_the_call_as_it_was(target: str, status: int) -> None:
    company = Company(picks_up=("alice", "bob"))
    alice, bob, carol = company.people
    company.talk(alice, bob)
    bobs = call_of(bob)
    company.transfers(bob, bobs, target)
    company.passes(2.0)
    for ringing in told(carol, events.IncomingCall):
        carol.refuses(ringing.call, 486)  # type: ignore[attr-defined]
    company.passes(4.0)
    (failed,) = told(bob, events.TransferFailed)
    assert (failed.call, failed.status) == (bobs, status)  # type: ignore[attr-defined]
    assert (hears(alice), hears(bob)) == ("bob", "alice"), "resumed, since it was held for the transfer alone"
    begun, ended = told(alice, events.SuccessorBegun)[-1], told(alice, events.CallEnded)[-1]
    assert (ended.call, ended.answered) == (begun.call, False)  # type: ignore[attr-defined]

    company.transfers(bob, bobs, "carol")  # and may be tried again
    company.passes(2.0)
    carol.picks_up(told(carol, events.IncomingCall)[-1].call)  # type: ignore[attr-defined]
    company.passes(4.0)
    assert (hears(alice), hears(carol)) == ("carol", "alice")
    company.over()


def test_what_was_on_hold_before_stays_on_hold() -> None:
    company = Company()
    alice, bob, _ = company.people
    company.talk(alice, bob)
    bobs = call_of(bob)
    company.does(bob, bob.phone.hold, bobs, True)
    company.passes(2.0)
    company.transfers(bob, bobs, "nobody")
    company.passes(3.0)
    assert told(bob, events.TransferFailed)
    assert told(bob, events.CallHeld)[-1].here  # type: ignore[attr-defined]
    company.over()


def test_who_is_muted_or_holds_the_call_goes_on_so() -> None:
    company = Company()
    alice, bob, carol = company.people
    first = company.talk(alice, bob)
    company.does(alice, alice.phone.mute, first, True)
    company.transfers(bob, call_of(bob), "carol")
    company.passes(5.0)
    assert (hears(alice), hears(carol)) == ("carol", None)
    second = call_of(alice)
    company.does(alice, alice.phone.mute, second, False)
    company.does(alice, alice.phone.hold, second, True)
    company.passes(2.0)
    company.transfers(carol, call_of(carol), "bob")
    company.passes(6.0)
    assert (hears(alice), hears(bob)) == (None, None)
    company.does(alice, alice.phone.hold, call_of(alice), False)
    company.passes(2.0)
    assert (hears(alice), hears(bob)) == ("bob", "alice")
    company.over()


def test_nobody_is_transferred_who_does_not_want_to() -> None:
    company = Company()
    alice, bob, carol = company.people
    asked: list[TransferRequest] = []
    alice.phone._transfers._allows = lambda request: asked.append(request) or False  # type: ignore[func-returns-value]
    first = company.talk(alice, bob)
    company.transfers(bob, call_of(bob), "carol")
    company.passes(4.0)
    assert asked == [TransferRequest(first, f"sip:bob@{DOMAIN}", f"sip:carol@{DOMAIN}", attended=False)]
    assert [event.status for event in bob.events if isinstance(event, events.TransferFailed)] == [603]
    assert (hears(alice), hears(bob)) == ("bob", "alice")
    assert not carol.saw(events.IncomingCall)
    company.over()


def test_nobody_is_transferred_to_themselves() -> None:
    company = Company()
    alice, bob, _ = company.people
    company.talk(alice, bob)
    company.transfers(bob, call_of(bob), "alice")
    company.passes(4.0)
    assert [event.status for event in bob.events if isinstance(event, events.TransferFailed)] == [482]
    assert (hears(alice), hears(bob)) == ("bob", "alice")
    company.over()


def test_who_hangs_up_at_once_has_transferred_all_the_same() -> None:
    """As many phones do, without waiting for news. What Alice plays and hears waits for the new call."""
    company = Company(picks_up=("alice", "bob"))
    alice, bob, carol = company.people
    first = company.talk(alice, bob)
    bobs = call_of(bob)
    company.transfers(bob, bobs, "carol")
    assert alice.waits_for(events.SuccessorBegun)
    bob.hangs_up(bobs)
    company.passes(3.0)
    assert [event.call for event in alice.events if isinstance(event, events.CallEnded)] == [first]
    carol.picks_up(told(carol, events.IncomingCall)[-1].call)  # type: ignore[attr-defined]
    company.passes(3.0)
    assert (hears(alice), hears(carol)) == ("carol", "alice")
    company.over()


def test_who_forgets_to_hang_up_is_hung_up_on() -> None:
    company = Company()
    alice, bob, carol = company.people
    first = company.talk(alice, bob)
    bob.phone._transfers._told = lambda *_: None  # type: ignore[method-assign]
    company.transfers(bob, call_of(bob), "carol")
    assert alice.waits_for(events.SuccessorInPlace)
    company.passes(GRACE - 1)
    assert not alice.saw(events.CallEnded)
    company.passes(2.0)
    assert [event.call for event in alice.events if isinstance(event, events.CallEnded)] == [first]
    assert (hears(alice), hears(carol)) == ("carol", "alice")
    company.over()


def test_a_call_goes_from_hand_to_hand() -> None:
    company = Company()
    alice, bob, carol = company.people
    company.talk(alice, bob)
    company.transfers(bob, call_of(bob), "carol")
    company.passes(5.0)
    company.transfers(carol, call_of(carol), "bob")
    company.passes(6.0)
    assert (hears(alice), hears(bob)) == ("bob", "alice")
    assert len(alice.heard) == 1, "what she heard of them all is one recording"
    company.over()


def test_what_cannot_be_transferred() -> None:
    company = Company(picks_up=("alice", "bob"))
    alice, bob, _ = company.people
    ringing = alice.calls("carol")
    company.passes(2.0)
    with pytest.raises(UsageError, match="is not answered"):
        company.transfers(alice, ringing, "bob")
    alice.hangs_up(ringing)
    call = company.talk(alice, bob)
    with pytest.raises(UsageError, match=r"write sip:bob@example\.test"):
        company.does(alice, alice.phone.transfer, call, "tel:110")
    with pytest.raises(UsageError, match="joined with itself"):
        company.does(alice, alice.phone.join, call, call)
    company.transfers(alice, call, "carol")
    with pytest.raises(UsageError, match="is being transferred already"):
        company.transfers(alice, call, "carol")
    company.transfers(alice, "call.99", "carol")  # ends cross commands
    with pytest.raises(UsageError, match=r"call\.99 is over"):
        company.does(alice, alice.phone.join, call, "call.99")
    company.over()


def test_pictures_and_slides_go_with_the_call() -> None:
    company = Company(
        shows=lambda name: {
            "video": PatternSource(320, 180, first=FIRST[name]),
            "slides": PatternSource(320, 180, first=FIRST[name] + SLIDES),
        }
    )
    alice, bob, carol = company.people
    company.talk(alice, bob)
    company.passes(3.0)
    company.transfers(bob, call_of(bob), "carol")
    company.passes(8.0)
    assert len(alice.seen) == 1
    for kind, offset in (("video", 0), ("slides", SLIDES)):
        by_alice, by_carol = alice.seen[0][kind].seen, carol.seen[-1][kind].seen
        times = [at for at, _ in by_alice]
        assert times == sorted(set(times)), "one recording, whose times go on"
        whose = [sender(picture, offset) for _, picture in by_alice]
        known = [name for name in whose if name is not None]
        assert known.count("bob") > 30
        assert known.count("carol") > 30
        assert known == sorted(known), "Bob's first, then Carol's"
        assert {sender(picture, offset) for _, picture in by_carol[-30:]} == {"alice"}
    company.over()


def sender(picture: Picture, offset: int) -> str | None:
    """Whose pattern it is; None for a black picture."""
    reading = pattern.read(picture)
    return (
        None
        if reading is None
        else {v: k for k, v in FIRST.items()}[(reading.number - offset) // 1000 * 1000]
    )


# --- attended ---------------------------------------------------------------------------------------------
def consulted(company: Company) -> tuple[str, str]:
    """Bob has Alice on hold and talks with Carol; his names for both calls."""
    alice, bob, carol = company.people
    company.talk(alice, bob)
    with_alice = call_of(bob)
    company.does(bob, bob.phone.hold, with_alice, True)
    with_carol = company.talk(bob, carol)
    company.passes(2.0)
    assert (hears(alice), hears(carol)) == (None, "bob")
    return with_alice, with_carol


@pytest.mark.parametrize("topology", [topologies.one_lan, topologies.relayed_udp])
def test_bob_brings_alice_and_carol_together(topology: Callable[[], Topology]) -> None:
    company = Company(topology())
    alice, bob, carol = company.people
    with_alice, with_carol = consulted(company)
    carols = call_of(carol)
    company.does(bob, bob.phone.join, with_alice, with_carol)
    company.passes(5.0)
    assert (hears(alice), hears(carol)) == ("carol", "alice")
    assert told(bob, events.CallTransferred) == [events.CallTransferred(with_alice, f"sip:carol@{DOMAIN}")]
    assert not bob.phone.calls, "Carol gave the call with him up, and he the one with Alice"
    assert told(carol, events.SuccessorBegun) == [
        events.SuccessorBegun(call_of(carol), carols, f"sip:alice@{DOMAIN}")
    ]
    assert len(told(carol, events.IncomingCall)) == 1, "nothing rings a second time"
    refer = every(company.office.world.trace, SipSent, "bob", start="REFER")[0].text
    assert f"Refer-To: <sip:carol@{DOMAIN};gr=urn:uuid:" in refer, "the very device that he talks with"
    company.over()


def test_they_are_brought_together_the_other_way_round() -> None:
    company = Company()
    alice, bob, carol = company.people
    with_alice, with_carol = consulted(company)
    company.does(bob, bob.phone.join, with_carol, with_alice)
    company.passes(5.0)
    assert (hears(alice), hears(carol)) == ("carol", "alice")
    assert not bob.phone.calls
    company.over()


def test_a_phone_without_a_name_of_its_own_is_found_among_those_of_its_user() -> None:
    company = Company()
    alice, bob, carol = company.people
    carol.phone.user_agent.registration.gruu = None
    with_alice, with_carol = consulted(company)
    company.does(bob, bob.phone.join, with_alice, with_carol)
    company.passes(5.0)
    assert (hears(alice), hears(carol)) == ("carol", "alice")
    refer = every(company.office.world.trace, SipSent, "bob", start="REFER")[0].text
    assert f"Refer-To: <sip:carol@{DOMAIN}?Replaces=" in refer
    company.over()


def test_a_place_is_given_to_one_alone() -> None:
    company = Company(picks_up=("alice", "bob"))
    alice, bob, _ = company.people
    first = company.talk(alice, bob)
    company.transfers(bob, call_of(bob), "carol")
    assert alice.waits_for(events.SuccessorBegun)
    another = Incoming("sip.9", NameAddr(f"sip:carol@{DOMAIN}"), b"", Request("INVITE", "sip:x@y"), "sip.1")
    assert alice.phone._transfers.receives(alice.phone.calls[first], another) is None
    company.over()


def test_somebody_who_hung_up_meanwhile_is_joined_with_nobody() -> None:
    company = Company()
    alice, bob, carol = company.people
    with_alice, with_carol = consulted(company)
    carol.hangs_up(call_of(carol))
    company.does(bob, bob.phone.join, with_alice, with_carol)
    company.passes(5.0)
    assert [event.status for event in bob.events if isinstance(event, events.TransferFailed)] == [603]
    company.does(bob, bob.phone.hold, with_alice, False)
    company.passes(2.0)
    assert hears(alice) == "bob"
    company.over()


def test_who_is_joined_may_refuse() -> None:
    company = Company()
    _, bob, carol = company.people
    with_alice, with_carol = consulted(company)
    carol.phone._transfers._allows = lambda _: False
    company.does(bob, bob.phone.join, with_alice, with_carol)
    company.passes(5.0)
    assert [event.status for event in bob.events if isinstance(event, events.TransferFailed)] == [603]
    assert hears(carol) == "bob"
    company.over()


def test_why_a_transfer_failed_is_a_finding() -> None:
    company = Company()
    alice, bob, _ = company.people
    company.talk(alice, bob)
    company.transfers(bob, call_of(bob), "nobody")
    company.passes(3.0)
    alice.phone._transfers._allows = lambda _: False
    company.transfers(bob, call_of(bob), "carol")
    company.passes(3.0)
    trace = company.office.close()
    for seen in (trace, [entry for entry in trace if entry.node == "bob"]):
        found = {one.title: one.remedy for one in findings(seen) if "transfer" in one.title}
        assert set(found) == {
            "Bob could not transfer Alice to Nobody: 404 Not Found",
            "Alice would not be transferred to Carol: 603 Decline",
        }
        assert found["Bob could not transfer Alice to Nobody: 404 Not Found"] == "Check the address."


def test_the_story_of_a_transfer() -> None:
    company = Company()
    alice, bob, _ = company.people
    company.talk(alice, bob)
    company.transfers(bob, call_of(bob), "carol")
    company.passes(5.0)
    trace = company.office.close()
    by_alice = [entry for entry in trace if entry.node == "alice"]
    cast = Cast(by_alice)
    assert [cast.name(one.peer) for one in verdicts(by_alice) if one.node == "alice"] == ["Bob", "Carol"]
    lines = [step.plain for step in steps(trace)]
    for line in (
        "Bob asks Alice to talk with Carol instead",
        "Alice says: I will try",
        "Alice tells Bob how the transfer gets on: 180 Ringing",
        "Alice tells Bob how the transfer gets on: 200 OK",
    ):
        assert line in lines, "\n".join(one for one in lines if "Bob" in one)
