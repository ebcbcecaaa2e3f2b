"""Calls in the office: two people join, one calls the other, and what came of it."""

from __future__ import annotations

import numpy as np

from iceway.client import events
from iceway.explain.findings import findings
from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.lab.topology import Topology
from iceway.media.files import FileSource, Source, ToneSource
from iceway.media.heard import compare
from iceway.media.sound import FRAME, RATE
from iceway.media.speech import speech
from iceway.trace.entry import Entry

SPEECH = 7.0
"""Seconds in which everything is said."""


def voice(name: str) -> Source:
    return FileSource(speech(name))


def both_join(
    topology: Topology, seed: int = 1, *, ring_for: float | None = 1.0
) -> tuple[VirtualOffice, VirtualPerson, VirtualPerson]:
    """An office whose two people are ready; Bob picks up after `ring_for` seconds."""
    office = VirtualOffice(topology, seed)
    alice = office.joins("alice", says=lambda: voice("alice"))
    bob = office.joins("bob", says=lambda: voice("bob"), ring_for=ring_for)
    for person in (alice, bob):
        assert person.waits_for(events.Ready), f"{person.name} does not get ready: {person.events}"
    return office, alice, bob


def connect(caller: VirtualPerson, callee: VirtualPerson, seconds: float = 20.0) -> str:
    """A call that gets through, the caller's name for it; who is called picks up by themselves."""
    for person in (caller, callee):
        person.events.clear()
    call = caller.calls(callee.name, voice(caller.name))
    for person in (caller, callee):
        assert person.waits_for(events.CallSettled, seconds), f"{person.name}: {person.events}"
    return call


def talk(caller: VirtualPerson, callee: VirtualPerson, seconds: float = SPEECH) -> None:
    """A whole call: both speak, the caller hangs up, and it is over for both."""
    call = connect(caller, callee)
    caller.world.advance(seconds)
    caller.hangs_up(call)
    for person in (caller, callee):
        assert person.waits_for(events.CallEnded), f"{person.name}: {person.events}"


def ring(caller: VirtualPerson, callee: VirtualPerson) -> tuple[str, str]:
    """A call that rings, and nobody picks up by themselves: its names for either of them."""
    for person in (caller, callee):
        person.events.clear()
    call = caller.calls(callee.name, voice(caller.name))
    assert callee.waits_for(events.IncomingCall), callee.events
    incoming = next(event for event in callee.events if isinstance(event, events.IncomingCall))
    assert caller.world.run_until(lambda: rings(caller), 10.0), caller.events
    return call, incoming.call


def rings(caller: VirtualPerson) -> bool:
    return any(isinstance(event, events.CallProgress) and event.status == 180 for event in caller.events)


def pick_up(caller: VirtualPerson, callee: VirtualPerson) -> tuple[str, str]:
    """A call that rings, is picked up a second later, and settles."""
    call, theirs = ring(caller, callee)
    caller.world.advance(1.0)
    callee.picks_up(theirs)
    for person in (caller, callee):
        assert person.waits_for(events.CallSettled), f"{person.name}: {person.events}"
    return call, theirs


def shares(alice: VirtualPerson, bob: VirtualPerson) -> tuple[float, float]:
    """How much of the other's speech each of them heard in the last call."""
    return tuple(
        compare(speech(other.name), me.heard[-1].samples).share for me, other in ((alice, bob), (bob, alice))
    )  # type: ignore[return-value]


def agreed_path(trace: list[Entry]) -> PathClass:
    """The path that both ends say they took."""
    one, other = verdict(trace, "alice"), verdict(trace, "bob")
    assert (one.agreed, other.agreed) == (True, True), (
        f"{one.local} ↔ {one.remote} but {other.local} ↔ {other.remote}"
    )
    assert one.path is other.path
    return one.path


def end_of(person: VirtualPerson) -> events.CallEnded:
    """How their last call ended."""
    ends = [event for event in person.events if isinstance(event, events.CallEnded)]
    assert ends, f"no call of {person.name} has ended: {person.events}"
    return ends[-1]


def titles(trace: list[Entry]) -> str:
    """What the explanation says, a line each: severity, title, meaning."""
    return "\n".join(f"{one.severity}: {one.title} | {one.meaning}" for one in findings(trace))


def hum(caller: VirtualPerson, callee: VirtualPerson) -> str:
    """As `connect`, with tones that never pause; whoever is called has to say one as well."""
    for person in (caller, callee):
        person.events.clear()
    call = caller.calls(callee.name, ToneSource())
    for person in (caller, callee):
        assert person.waits_for(events.CallSettled), f"{person.name}: {person.events}"
    return call


def longest_gap(person: VirtualPerson, since: float) -> float:
    """Seconds of the longest silence in their last call, from `since` seconds before its end on."""
    samples = person.heard[-1].samples[-round(since * RATE) :]
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    loud = np.sqrt((frames**2).mean(axis=1))
    longest = run = 0
    for silent in loud < 0.2 * np.median(loud):
        run = run + 1 if silent else 0
        longest = max(longest, run)
    return longest * FRAME / RATE
