"""Sound, pictures and a shared desktop in one call, on the demo's four networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import pytest

from iceway.client import events
from iceway.explain.model import PathClass
from iceway.io.selfsigned import media_identity
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.lab.topology import Interface, Link, Topology
from iceway.media import pattern
from iceway.media.files import FileSource
from iceway.media.heard import compare
from iceway.media.keying import Keys
from iceway.media.pattern import PatternSource
from iceway.media.speech import speech
from iceway.trace.entry import Entry
from iceway.trace.records import MediaKeyed, PairSelected, SipSent
from tests.e2e.calls import agreed_path
from tests.e2e.story import every
from tests.e2e.test_features import holds

BOTH = ("video", "slides")


def patterns() -> dict[str, PatternSource]:
    return {"video": PatternSource(320, 180), "slides": PatternSource(640, 360, first=1_000_000)}


def numbers(person: VirtualPerson, kind: str, call: int = 0) -> list[int]:
    """Of the pictures that were seen; all of them upright."""
    readings = [pattern.read(picture) for _, picture in person.seen[call][kind].seen]
    assert all(reading is not None and reading.lies == "upright" for reading in readings)
    return [reading.number for reading in readings if reading is not None]


def complete(seen: list[int]) -> float:
    """The share that arrived of those between the first and the last, which must be in order."""
    assert seen == sorted(set(seen))
    return len(seen) / (seen[-1] - seen[0] + 1)


def both(
    topology: Topology,
    *,
    brings: Callable[[], dict[str, PatternSource | None]] = patterns,
    alice: Mapping[str, Any] = MappingProxyType({}),
    bob: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[VirtualOffice, VirtualPerson, VirtualPerson]:
    office = VirtualOffice(topology, 1)
    caller = office.joins("alice", **alice)
    called = office.joins("bob", says=lambda: FileSource(speech("bob")), shows=brings, ring_for=0.5, **bob)
    assert caller.waits_for(events.Ready)
    assert called.waits_for(events.Ready)
    return office, caller, called


def carries(person: VirtualPerson, *streams: str, within: float = 5.0) -> bool:
    """Until the last that was told of a call's streams is this."""

    def told() -> bool:
        news = [event.streams for event in person.events if isinstance(event, events.CallStreams)]
        return bool(news) and news[-1] == streams

    return person.world.run_until(told, within)


def agents(trace: list[Entry], who: str) -> set[str]:
    """The ICE agents that selected a pair."""
    return {
        entry.record.agent for entry in trace if isinstance(entry.record, PairSelected) and entry.node == who
    }


@pytest.mark.parametrize(
    ("topology", "expected"),
    [
        (topologies.one_lan(), PathClass.DIRECT),
        (topologies.reflexive(), PathClass.REFLEXIVE),
        (topologies.relayed_udp(), PathClass.RELAY_UDP),
        (topologies.relayed_tcp(), PathClass.RELAY_TCP),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_people_hear_and_see_each_other_and_share_desktops(topology: Topology, expected: PathClass) -> None:
    office, alice, bob = both(topology)
    alice.calls("bob", FileSource(speech("alice")), patterns())
    assert alice.waits_for(events.CallSettled), alice.events
    office.world.advance(5.0)
    alice.hangs_up()
    assert bob.waits_for(events.CallEnded)
    trace = office.close()
    assert agreed_path(trace) is expected
    assert agents(trace, "alice") == agents(trace, "bob") == {"call.1/ice"}
    for person, other in ((alice, bob), (bob, alice)):
        assert compare(speech(other.name), person.heard[0].samples).share > 0.95
        for kind, first in (("video", 0), ("slides", 1_000_000)):
            seen = numbers(person, kind)
            assert seen[0] - first < 5
            assert len(seen) > 60
            assert complete(seen) > 0.95


@pytest.mark.parametrize("topology", [topologies.reflexive(), topologies.relayed_tcp()], ids=lambda t: t.name)
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_who_cannot_bundle_gets_a_path_for_each_stream(topology: Topology, who: str) -> None:
    office, alice, bob = both(topology, **{who: {"bundle": False}})
    alice.calls("bob", FileSource(speech("alice")), patterns())
    assert alice.waits_for(events.CallSettled), alice.events
    office.world.advance(4.0)
    alice.hangs_up()
    assert bob.waits_for(events.CallEnded)
    trace = office.close()
    three = {"call.1/ice", "call.1/ice.video", "call.1/ice.slides"}
    assert agents(trace, "alice") == agents(trace, "bob") == three
    for person in (alice, bob):
        for kind in BOTH:
            assert complete(numbers(person, kind)) > 0.95


@pytest.mark.parametrize("bundle", [True, False])
def test_pictures_come_and_go_in_mid_call(bundle: bool) -> None:
    office, alice, bob = both(topologies.relayed_udp(), alice={"bundle": bundle})
    call = alice.calls("bob", FileSource(speech("alice")))
    assert alice.waits_for(events.CallSettled)
    for kind, source in patterns().items():
        alice.adds(call, kind, source)
        assert carries(alice, *("audio", *BOTH[: BOTH.index(kind) + 1]))
        office.world.advance(2.0)
    alice.drops(call, "video")
    assert carries(alice, "audio", "slides")
    assert carries(bob, "audio", "slides")
    gone = len(bob.seen[0]["video"].seen)
    office.world.advance(2.0)
    assert len(bob.seen[0]["video"].seen) - gone < 3
    alice.adds(call, "video", PatternSource(first=5000))
    assert carries(bob, "audio", *BOTH)
    office.world.advance(2.0)
    alice.hangs_up()
    assert bob.waits_for(events.CallEnded)
    office.close()
    video = numbers(bob, "video")
    again = [number for number in video if number >= 5000]
    assert complete([number for number in video if number < 5000]) > 0.95
    assert complete(again) > 0.95
    assert len(again) > 20
    assert complete(numbers(bob, "slides")) > 0.95
    for call_number, kind in ((2, "slides"), (3, "video")):
        assert len(numbers(alice, kind, call_number)) > 20
    assert compare(speech("alice"), bob.heard[0].samples).share > 0.95


def test_both_add_pictures_at_once() -> None:
    """Their re-INVITEs cross (491): one goes first, and each stream is there once."""
    office, alice, bob = both(topologies.reflexive(), brings=dict)
    call = alice.calls("bob", FileSource(speech("alice")))
    assert alice.waits_for(events.CallSettled)
    alice.adds(call, "video", PatternSource())
    bob.adds("call.1", "video", PatternSource(first=7000))
    for person in (alice, bob):
        assert carries(person, "audio", "video", within=10.0), person.events
    office.world.advance(3.0)
    alice.hangs_up()
    office.close()
    assert len(numbers(alice, "video", 1)) > 30
    assert len(numbers(bob, "video", 1)) > 30


def test_who_takes_no_pictures_talks_on_without() -> None:
    office, alice, bob = both(topologies.reflexive(), brings=dict)
    call = alice.calls("bob", FileSource(speech("alice")), patterns())
    assert alice.waits_for(events.CallSettled)
    office.world.advance(3.0)
    alice.adds(call, "video", PatternSource())
    office.world.advance(3.0)
    alice.hangs_up()
    trace = office.close()
    assert not alice.saw(events.CallStreams)
    assert agents(trace, "alice") == {"call.1/ice"}
    assert compare(speech("alice"), bob.heard[0].samples).share > 0.95
    assert not bob.seen[0]


def test_pictures_rest_while_a_call_is_held() -> None:
    office, alice, bob = both(topologies.reflexive())
    alice.calls("bob", FileSource(speech("alice")), patterns())
    assert alice.waits_for(events.CallSettled)
    office.world.advance(2.0)
    holds(alice)
    assert bob.waits_for(events.CallHeld)
    office.world.advance(0.5)
    before = [len(person.seen[0]["video"].seen) for person in (alice, bob)]
    office.world.advance(3.0)
    assert [len(person.seen[0]["video"].seen) for person in (alice, bob)] == before
    holds(alice, False)
    office.world.advance(3.0)
    for person, count in zip((alice, bob), before, strict=True):
        assert len(person.seen[0]["video"].seen) > count + 30
    assert len(numbers(bob, "slides")) > 60


@pytest.mark.parametrize("bundle", [True, False])
def test_pictures_go_on_when_the_network_changes(bundle: bool) -> None:
    office, alice, bob = both(topologies.reflexive(), alice={"bundle": bundle})
    alice.calls("bob", FileSource(speech("alice")), patterns())
    assert alice.waits_for(events.CallSettled)
    office.world.advance(2.0)
    office.world.move("alice", Interface("internet", "198.51.100.90"))
    assert alice.waits_for(events.CallRestored, 5.0), alice.events
    office.world.advance(4.0)
    alice.hangs_up()
    office.close()
    for person in (alice, bob):
        for kind, first in (("video", 0), ("slides", 1_000_000)):
            seen = numbers(person, kind)
            assert seen[-1] - first > 85  # six seconds and more, at fifteen a second
            assert max(after - before for before, after in pairwise(seen)) < 30


def test_pictures_are_keyed_by_one_handshake_a_path() -> None:
    certificates = {name: media_identity() for name in ("alice", "bob")}
    with_dtls = {name: {"keys": Keys.DTLS, "certificate": one} for name, one in certificates.items()}
    for bundle, count in ((True, 1), (False, 3)):
        with_dtls["alice"]["bundle"] = bundle
        office, alice, bob = both(topologies.reflexive(), **with_dtls)
        alice.calls("bob", FileSource(speech("alice")), patterns())
        assert alice.waits_for(events.CallSettled)
        office.world.advance(3.0)
        alice.hangs_up()
        trace = office.close()
        assert len(every(trace, MediaKeyed, "alice")) == count
        for kind in BOTH:
            assert complete(numbers(bob, kind)) > 0.95


@pytest.mark.parametrize("topology", [topologies.reflexive(), topologies.relayed_udp()], ids=lambda t: t.name)
@pytest.mark.parametrize("bundle", [True, False])
def test_rtcp_goes_its_own_way_where_it_cannot_share(topology: Topology, bundle: bool) -> None:
    """A component of its own for each transport, in offer, answer, settling and over a lossy link."""
    lossy = topology.with_link("internet", Link(delay=0.020, loss=0.03))
    office, alice, bob = both(lossy, alice={"rtcp_mux": False, "bundle": bundle})
    call = alice.calls("bob", FileSource(speech("alice")), patterns())
    assert alice.waits_for(events.CallSettled), alice.events
    office.world.advance(8.0)
    stats = {person.name: person.phone.stats(call, office.world.now) for person in (alice, bob)}
    alice.hangs_up()
    assert bob.waits_for(events.CallEnded)
    trace = office.close()
    invite = every(trace, SipSent, "alice", start_line="^INVITE")[0].text
    assert "a=rtcp:" in invite
    assert "rtcp-mux" not in invite
    for found in stats.values():
        assert found.audio is not None
        assert found.video is not None
        assert found.audio.reports > 0
        assert found.video.round_trip is not None
        assert found.video.packets_recovered > 0
    for kind in BOTH:
        assert complete(numbers(bob, kind)) > 0.95


@pytest.mark.parametrize("crossed", [False, True])
def test_pictures_that_go_and_come_at_once_come_under_keys_of_their_own_way(crossed: bool) -> None:
    """Bob has given up the way of the stream that Alice took out, and the keys with it; hers must not live on. If he
    has not heard of it, since an offer of his crossed hers, he has not."""
    certificates = {name: media_identity() for name in ("alice", "bob")}
    terms = {
        name: {"bundle": False, "keys": Keys.DTLS, "certificate": one} for name, one in certificates.items()
    }
    office, alice, bob = both(topologies.one_lan(), **terms)
    call = alice.calls("bob", FileSource(speech("alice")), {"video": PatternSource(320, 180)})
    assert alice.waits_for(events.CallSettled)
    if crossed:
        office.world.call("bob", lambda now: bob.phone.hold(call, True, now))
    alice.drops(call, "video")
    alice.adds(call, "video", PatternSource(320, 180, first=500))
    office.world.advance(5.0)
    office.world.call("bob", lambda now: bob.phone.hold(call, False, now))
    office.world.advance(5.0)
    assert alice.phone.streams(call) == bob.phone.streams(call) == ("audio", "video")
    before = [len(person.seen[at]["video"].seen) for person, at in ((alice, -1), (bob, 0))]
    office.world.advance(1.0)
    after = [len(person.seen[at]["video"].seen) for person, at in ((alice, -1), (bob, 0))]
    assert all(later > earlier for earlier, later in zip(before, after, strict=True)), (before, after)
    office.close()
