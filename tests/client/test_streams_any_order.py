"""Streams that come and go, holds and moves, in whatever order: in the end both sides agree on what the call carries,
and what they agree on flows.
"""

from __future__ import annotations

import contextlib
import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from iceway.client import events
from iceway.core.errors import UsageError
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.lab.topology import Interface
from iceway.media.files import ToneSource
from iceway.media.picture import plain
from iceway.media.pictures import MemoryPictures

PAUSES = st.sampled_from([0.0, 0.0, 0.001, 0.02, 0.06, 0.12, 0.3, 1.0, 2.5])
WHO = st.sampled_from(["alice", "bob"])
DEEDS = st.one_of(
    st.tuples(st.sampled_from(["adds", "adds", "drops"]), WHO, st.sampled_from(["video", "slides"])),
    st.tuples(st.sampled_from(["holds", "resumes"]), WHO, st.just("")),
    st.tuples(st.just("moves"), st.just("alice"), st.just("")),
)
SMALL = plain(64, 36)


@given(
    st.lists(st.tuples(DEEDS, PAUSES), min_size=1, max_size=9),
    st.lists(st.booleans(), min_size=2, max_size=2),
    st.booleans(),
)
@example([(("holds", "bob", ""), 0.0), (("drops", "bob", "video"), 0.0)], [False, False], True)
@example(
    [(("holds", "alice", ""), 0.3), (("adds", "bob", "video"), 0.0), (("moves", "alice", ""), 0.0)],
    [False, False],
    False,
)
@settings(max_examples=3, deadline=None)
def test_both_sides_agree_and_what_they_agree_on_flows(
    deeds: list[tuple[tuple[str, str, str], float]], bundles: list[bool], shown: bool
) -> None:
    office = VirtualOffice(topologies.reflexive(), 1)
    alice = office.joins("alice", bundle=bundles[0])
    brings = {"video": MemoryPictures([SMALL], loop=True)} if shown else {}
    bob = office.joins(
        "bob", ring_for=0.1, bundle=bundles[1], says=lambda: ToneSource(600.0), shows=lambda: brings
    )
    people = {"alice": alice, "bob": bob}
    assert all(person.waits_for(events.Ready) for person in people.values())
    alice.calls("bob", ToneSource(400.0), brings)
    assert all(person.waits_for(events.CallAnswered) for person in people.values())
    hosts = itertools.count(90)
    for (deed, who, what), pause in deeds:
        act(people[who], deed, what, hosts)
        office.world.advance(pause)
    for person in people.values():
        act(person, "resumes", "", hosts)
    office.world.advance(20.0)

    streams = [person.phone.streams("call.1") for person in people.values()]
    assert streams[0] == streams[1], (streams, [person.events for person in people.values()])
    before = [received(person) for person in people.values()]
    office.world.advance(3.0)
    for person, earlier in zip(people.values(), before, strict=True):
        assert not person.saw(events.CallEnded), person.events[-1]
        told = [event.streams for event in person.events if isinstance(event, events.CallStreams)]
        assert (told or [("audio",)])[-1] == streams[0]
        for kind, count in received(person).items():
            assert (count > earlier[kind]) == (kind in streams[0]), (kind, person.events)
    alice.hangs_up()
    office.world.advance(40.0)
    assert not any(person.phone._calls for person in people.values())
    office.close()


def act(person: VirtualPerson, deed: str, what: str, hosts: itertools.count[int]) -> None:
    world = person.world
    with contextlib.suppress(UsageError):  # it has that already
        match deed:
            case "adds":
                person.adds("call.1", what, MemoryPictures([SMALL], loop=True))
            case "drops":
                person.drops("call.1", what)
            case "holds" | "resumes":
                world.call(person.name, lambda now: person.phone.hold("call.1", deed == "holds", now))
            case "moves":
                world.move(person.name, Interface("internet", f"198.51.100.{next(hosts)}"))


def received(person: VirtualPerson) -> dict[str, int]:
    """Packets, by stream."""
    stats = person.phone.stats("call.1", person.world.now)
    found = {"audio": stats.audio, "video": stats.video, "slides": stats.slides}
    return {kind: one.packets_received if one else 0 for kind, one in found.items()}
