"""The demo's calls: the same people and programs in four networks, judged by what was recorded, heard and seen.

A scenario is played on kernel NATs or in the virtual world; either way what comes back is a trace, two recordings
and, where there are pictures, what each side noted of them. Everything said about the call is read from those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from iceway.client import events
from iceway.core.errors import EnvironmentFailure
from iceway.explain.model import PathClass, PathVerdict
from iceway.explain.path import verdict
from iceway.lab import pictured, topologies
from iceway.lab.kernel_office import KernelOffice
from iceway.lab.office import VirtualOffice
from iceway.lab.pictured import Eyes, Seen, read_accounts, seen_by_both
from iceway.lab.topology import Topology
from iceway.lab.watching import Account
from iceway.media.files import FileSource, WavSink
from iceway.media.heard import Heard, compare
from iceway.media.sound import FRAME, silence
from iceway.media.speech import speech
from iceway.trace.entry import Entry, write_lines
from iceway.trace.records import Measured

CALLER, CALLED = "alice", "bob"
HEARD_ENOUGH = 0.95
RING_FOR = 1.0  # seconds
SEED = 2027

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A network, and the path that a call through it must take."""

    name: str
    title: str
    lead: str
    topology: Callable[[], Topology]
    expected: PathClass
    pictures: bool = False


SCENARIOS = (
    Scenario(
        "one-lan",
        "Both in one LAN",
        "Alice visits headquarters: the two computers can reach each other directly.",
        topologies.one_lan,
        PathClass.DIRECT,
    ),
    Scenario(
        "reflexive",
        "Two NATs that can be punched",
        "Both NATs give a computer the same outside address whoever it talks to, so the two can meet there.",
        topologies.reflexive,
        PathClass.REFLEXIVE,
    ),
    Scenario(
        "relayed-udp",
        "A symmetric NAT at home",
        "The home NAT takes a new outside port for every destination, so nobody can be told where to knock.",
        topologies.relayed_udp,
        PathClass.RELAY_UDP,
    ),
    Scenario(
        "relayed-tcp",
        "A firewall that drops all UDP",
        "Headquarters lets no UDP through at all; only a TCP connection to the relay gets out.",
        topologies.relayed_tcp,
        PathClass.RELAY_TCP,
    ),
    Scenario(
        "pictures",
        "Cameras and a desktop",
        "Through the relay go sound, two cameras and the desktop that Alice shares.",
        topologies.relayed_udp,
        PathClass.RELAY_UDP,
        pictures=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call went. `heard` is by listener, `seen` by stream; `faults` says what is not as it must be."""

    scenario: Scenario
    entries: tuple[Entry, ...]
    ends: tuple[PathVerdict, PathVerdict]
    heard: dict[str, Heard]
    seen: tuple[Seen, ...]
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.faults


def play_on_kernel(scenario: Scenario, directory: Path, progress: Progress) -> Outcome:
    """On this kernel's NATs. Raises EnvironmentFailure where the network or a program cannot be had."""
    recordings = {name: directory / f"{name}-heard.wav" for name in (CALLER, CALLED)}
    progress("building the network, starting edge and front end")
    people = pictured.__name__ if scenario.pictures else "iceway"
    with KernelOffice(scenario.topology(), directory, people=people) as office:
        progress("Bob registers")
        office.answers(CALLED, speech(CALLED), recordings[CALLED].name, RING_FOR)
        progress("Alice registers and calls")
        office.calls(CALLER, CALLED, speech(CALLER), recordings[CALLER].name)
        office.ends(CALLED)
        for server in ("edge", "frontend"):
            office.stop(server)
        entries = office.trace()
    progress("comparing what was heard with what was said")
    accounts = {name: read_accounts(directory, name) for name in recordings} if scenario.pictures else {}
    return _judge(scenario, entries, recordings, accounts, directory)


def play_in_world(scenario: Scenario, directory: Path, progress: Progress) -> Outcome:
    """In the virtual world; the same every time."""
    directory.mkdir(parents=True, exist_ok=True)
    progress("calling in virtual time")
    office = VirtualOffice(scenario.topology(), SEED)
    eyes = {name: Eyes(name, lambda: office.world.now) for name in (CALLER, CALLED) if scenario.pictures}
    shows = {name: one.pictures for name, one in eyes.items()}
    alice = office.joins(CALLER)
    bob = office.joins(
        CALLED,
        says=lambda: FileSource(speech(CALLED)),
        shows=lambda: shows.get(CALLED, {}),
        ring_for=RING_FOR,
    )
    if alice.waits_for(events.Ready) and bob.waits_for(events.Ready):
        alice.calls(CALLED, FileSource(speech(CALLER)), shows.get(CALLER))
        if alice.waits_for(events.CallAnswered):
            office.world.advance(6.0)
            alice.hangs_up()
            office.world.advance(1.0)
    entries = office.close()
    recordings = {}
    for person in (alice, bob):
        recordings[person.name] = directory / f"{person.name}-heard.wav"
        sink = WavSink(recordings[person.name])
        samples = person.heard[0].samples if person.heard else silence(0)
        for at in range(0, len(samples), FRAME):
            sink.write(samples[at : at + FRAME])
        sink.close()
    progress("comparing what was heard with what was said")
    accounts = {name: one.accounts for name, one in eyes.items()}
    return _judge(scenario, entries, recordings, accounts, directory)


def _judge(
    scenario: Scenario,
    entries: list[Entry],
    recordings: dict[str, Path],
    accounts: Mapping[str, Mapping[str, Account]],
    directory: Path,
) -> Outcome:
    ends = verdict(entries, CALLER), verdict(entries, CALLED)
    heard = {}
    for listener, speaker in ((CALLER, CALLED), (CALLED, CALLER)):
        if not recordings[listener].exists():
            heard[listener] = Heard(0.0, 0.0, 0.0)
            continue
        found = heard[listener] = compare(speech(speaker), recordings[listener])
        details = (("correlation", f"{found.correlation:.3f}"), ("of", speaker.capitalize()))
        _note(
            entries,
            listener,
            Measured(f"heard by {listener.capitalize()}", found.share, "of what was said", details),
        )
    seen = tuple(seen_by_both(accounts)) if accounts else ()
    for one in seen:
        what = f"{one.words} seen by {one.viewer.capitalize()}"
        delay = (("delay", f"{one.watched.delay * 1000:.0f} ms"),) if one.watched.delay is not None else ()
        of = f"of {one.watched.taken} pictures"
        _note(entries, one.viewer, Measured(what, one.watched.share, of, delay))
    faults = [
        f"{end.node} took another path: {end.path.value} instead of {scenario.expected.value}"
        for end in ends
        if end.path is not scenario.expected
    ]
    faults += [f"{end.node} does not agree on the pair" for end in ends if not end.agreed]
    faults += [
        f"{listener} heard only {one.share:.0%} of what was said"
        for listener, one in heard.items()
        if one.share < HEARD_ENOUGH
    ]
    faults += [fault for one in seen for fault in one.faults()]
    try:
        with (directory / "trace.jsonl").open("w", encoding="utf-8") as file:
            write_lines(entries, file.write)
    except OSError as error:
        raise EnvironmentFailure(f"the trace cannot be written: {error}", "Name another --out.") from error
    return Outcome(scenario, tuple(entries), ends, heard, seen, tuple(faults))


def _note(entries: list[Entry], node: str, measured: Measured) -> None:
    entries.append(Entry(len(entries) + 1, entries[-1].at if entries else 0.0, node, measured))
