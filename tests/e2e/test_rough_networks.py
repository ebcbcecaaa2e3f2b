"""Networks at their worst: loss and jitter, far away, blocked, rebooting; and any two NATs at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from iceway.client import events
from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.lab.oracle import Path, expected_path
from iceway.lab.topology import Behaviour, Firewall, Link, Nat, Topology
from iceway.media.files import ToneSource
from iceway.trace.entry import Entry
from iceway.trace.records import (
    AllocationCreated,
    AllocationEnded,
    CandidateGathered,
    MediaSummary,
    SipSent,
)
from tests.e2e.calls import (
    agreed_path,
    both_join,
    connect,
    end_of,
    hum,
    longest_gap,
    shares,
    talk,
    titles,
    voice,
)
from tests.e2e.story import every


def with_link(topology: Topology, segment: str, link: Link) -> Topology:
    return replace(
        topology,
        segments=tuple(replace(one, link=link) if one.name == segment else one for one in topology.segments),
    )


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("reflexive", PathClass.REFLEXIVE),
        ("relayed_udp", PathClass.RELAY_UDP),
        ("relayed_tcp", PathClass.RELAY_TCP),
    ],
)
def test_five_percent_loss_and_fifty_milliseconds_of_jitter(name: str, path: PathClass) -> None:
    """The path is the one of a good network, and most of every sentence arrives.

    Over TCP one segment that is lost holds up all behind it, so calls differ: of several the usual one is asked for.
    """
    rough = with_link(topologies.named(name), "internet", Link(delay=0.020, jitter=0.050, loss=0.05))
    over_tcp = path is PathClass.RELAY_TCP
    heard: list[float] = []
    for seed in range(1, 5 if over_tcp else 2):
        office, alice, bob = both_join(rough, seed)
        talk(alice, bob, seconds=8.0)
        heard += shares(alice, bob)
        trace = office.close()
        assert agreed_path(trace) is path
        if not over_tcp:  # TCP loses nothing, it comes late
            assert every(trace, MediaSummary, "bob", packets_lost=lambda lost: lost > 0)
    assert min(heard) >= (0.65 if over_tcp else 0.80), heard
    assert sum(heard) / len(heard) >= 0.85, heard


def test_a_callee_three_hundred_milliseconds_away() -> None:
    """Round trips of 300 ms everywhere, and nothing gives up."""
    office, alice, bob = both_join(
        with_link(topologies.reflexive(), "internet", Link(delay=0.150)), ring_for=3.0
    )
    talk(alice, bob, seconds=8.0)
    assert min(shares(alice, bob)) >= 0.97
    trace = office.close()
    assert agreed_path(trace) is PathClass.REFLEXIVE
    one = verdict(trace, "alice")
    assert one.round_trip is not None
    assert 0.3 <= one.round_trip < 0.35
    assert one.early_media, "three seconds of ringing are enough to have found the path"


def test_a_slow_line() -> None:
    """128 kbit/s are enough for a voice and its checks."""
    slow = with_link(topologies.reflexive(), "home", Link(delay=0.010, rate=128_000.0))
    office, alice, bob = both_join(slow)
    talk(alice, bob, seconds=8.0)
    assert min(shares(alice, bob)) >= 0.95
    assert agreed_path(office.close()) is PathClass.REFLEXIVE


def test_a_firewall_that_lets_nothing_but_signalling_through() -> None:
    """TCP to port 443 alone: no relay is reached, no path is found, and the call says so and ends."""
    office, alice, bob = both_join(topologies.reflexive())
    office.world.set_firewall("home-nat", Firewall(block_udp=True, tcp_ports=(443,)))
    alice.calls("bob")
    for person in (alice, bob):
        assert person.waits_for(events.CallPathless, 20.0), "a person is told long before it is given up"
        assert person.waits_for(events.CallEnded, 120.0)
        assert "no way was found" in end_of(person).reason
    (told,) = [event for event in alice.events if isinstance(event, events.CallPathless)]
    assert told.after == 10.0
    assert "from host to host" in told.tried
    trace = office.close()
    assert verdict(trace, "alice").path is PathClass.NONE
    told = titles(trace)
    assert "Alice reaches no STUN or TURN server at all" in told
    assert "found no path" in told or "none of" in told


def humming(topology: Topology) -> tuple[VirtualOffice, VirtualPerson, VirtualPerson]:
    """Two people who are ready, and whose calls are filled with tones."""
    office = VirtualOffice(topology, 1)
    alice, bob = (office.joins(name, says=ToneSource, ring_for=0.5) for name in ("alice", "bob"))
    for person in (alice, bob):
        assert person.waits_for(events.Ready), person.events
    return office, alice, bob


def test_a_firewall_that_comes_down_during_a_call() -> None:
    """The path dies on both sides; ICE restarts, and the call goes on, relayed over TCP."""
    office, alice, bob = humming(topologies.reflexive())
    call = hum(alice, bob)
    office.world.advance(1.0)
    office.world.set_firewall("hq-nat", Firewall(block_udp=True))
    office.world.advance(60.0)
    for person in (alice, bob):
        assert person.saw(events.CallRestored), person.events
        assert not person.saw(events.CallEnded), person.events
        assert 2.0 < longest_gap(person, 60.0) < 4.0
    alice.hangs_up(call)
    assert bob.waits_for(events.CallEnded)
    assert "hung up" in end_of(bob).reason
    assert agreed_path(office.close()) is PathClass.RELAY_TCP


def test_a_nat_that_reboots_during_a_call() -> None:
    """It gives the same ports again, so the next packets out restore the path; nobody hears more than a click."""
    office, alice, bob = both_join(topologies.reflexive())
    call = connect(alice, bob)
    office.world.advance(1.0)
    office.world.reboot("home-nat")
    office.world.advance(60.0)
    assert not alice.saw(events.CallEnded)
    assert not bob.saw(events.CallEnded)
    assert min(shares(alice, bob)) >= 0.97
    alice.hangs_up(call)
    assert bob.waits_for(events.CallEnded)
    talk(alice, bob, seconds=1.0)
    assert agreed_path(office.close()) is PathClass.REFLEXIVE


@pytest.mark.parametrize("caller", ["alice", "bob"])
def test_a_nat_that_reboots_with_symmetric_mapping(caller: str) -> None:
    """A mapping that comes back elsewhere is no longer what was agreed: ICE restarts, and the call goes on.

    The one behind it may still be heard, and have its checks answered; the other one notices that nobody answers
    its own. The connection to the edge is gone as well, and its replacement takes over the dialog.
    """
    office, alice, bob = humming(topologies.relayed_udp())
    call = hum(*((alice, bob) if caller == "alice" else (bob, alice)))
    office.world.advance(1.0)
    office.world.reboot("home-nat")
    office.world.advance(60.0)
    assert alice.saw(events.CallRestored) or bob.saw(events.CallRestored)
    for person in (alice, bob):
        assert not person.saw(events.CallEnded), person.events
        assert longest_gap(person, 60.0) < 5.0
    bob.hangs_up(call)
    for person in (alice, bob):
        assert person.waits_for(events.CallEnded), person.events
        assert "hung up" in end_of(person).reason
    office.close()


# --- any two NATs ---------------------------------------------------------------------------------------
RANKS = {
    Path.HOST: PathClass.DIRECT,
    Path.REFLEXIVE: PathClass.REFLEXIVE,
    Path.RELAY_UDP: PathClass.RELAY_UDP,
    Path.RELAY_TCP: PathClass.RELAY_TCP,
}
BEHAVIOURS = st.sampled_from(Behaviour)
NATS = st.builds(
    Nat,
    mapping=BEHAVIOURS,
    filtering=BEHAVIOURS,
    port_preservation=st.booleans(),
    inbound_refresh=st.booleans(),
    filter_by=st.sampled_from(["mapping", "endpoint"]),
)
LINKS = st.builds(
    Link,
    delay=st.floats(0.001, 0.15),
    jitter=st.floats(0.0, 0.03),
    loss=st.just(0.0) | st.floats(0.0, 0.05),
)


@settings(max_examples=25, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(left=NATS, right=st.none() | NATS, internet=LINKS, seed=st.integers(0, 1000))
def test_any_two_nats(left: Nat, right: Nat | None, internet: Link, seed: int) -> None:
    """The path is what the oracle says can be had, both ends agree on it, and nothing stays open."""
    topology = with_link(topologies.nats(left, right), "internet", internet)
    office = VirtualOffice(topology, seed)
    alice = office.joins("alice", says=lambda: voice("alice"))
    bob = office.joins("bob", says=lambda: voice("bob"), ring_for=4.0)
    for person in (alice, bob):
        assert person.waits_for(events.Ready, 120.0), f"{person.name}: {person.events}"
    alice.calls("bob")
    for person in (alice, bob):
        assert person.waits_for(events.CallSettled, 120.0), f"{person.name}: {person.events}"
    office.world.advance(1.0)
    alice.hangs_up()
    for person in (alice, bob):
        assert person.waits_for(events.CallEnded, 60.0)
    trace = office.close()
    office.world.advance(60.0)
    expected = RANKS[expected_path(topology, "alice", "bob", "edge")]
    path = agreed_path(trace)
    if not internet.loss:
        assert path is expected
    elif not (found_late(trace, "alice", "INVITE") or found_late(trace, "bob", "SIP/2.0 183")):
        assert path.rank <= expected.rank
    for person in (alice, bob):
        assert not person.phone._calls
        assert person.phone.poll_timeout() is None
    assert len(every(trace, AllocationEnded, "edge")) == len(every(trace, AllocationCreated, "edge"))


def found_late(trace: list[Entry], who: str, description: str) -> bool:
    """Whether a packet lost in gathering made a reflexive candidate come after the description had left.

    The other side is not told of it then, and may never let its checks in.
    """
    told = next(entry.id for entry in trace if entry.node == who and _begins(entry, description))
    found = every(trace[:told], CandidateGathered, who, candidate=lambda held: held.type == "srflx")
    return not found


def _begins(entry: Entry, description: str) -> bool:
    return isinstance(entry.record, SipSent) and entry.record.start_line.startswith(description)
