"""Sound, pictures and a shared desktop in one call, on the demo's four networks."""

from __future__ import annotations

import pytest

from iceway.client import events
from iceway.explain.model import PathClass
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.lab.topology import Topology
from iceway.media import pattern
from iceway.media.files import FileSource
from iceway.media.heard import compare
from iceway.media.pattern import PatternSource
from iceway.media.speech import speech
from tests.e2e.calls import agreed_path

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
    office = VirtualOffice(topology, 1)
    alice = office.joins("alice")
    bob = office.joins("bob", says=lambda: FileSource(speech("bob")), shows=patterns, ring_for=0.5)
    assert alice.waits_for(events.Ready)
    assert bob.waits_for(events.Ready)
    alice.calls("bob", FileSource(speech("alice")), patterns())
    assert alice.waits_for(events.CallSettled), alice.events
    office.world.advance(5.0)
    alice.hangs_up()
    assert bob.waits_for(events.CallEnded)
    assert agreed_path(office.close()) is expected
    for person, other in ((alice, bob), (bob, alice)):
        assert compare(speech(other.name), person.heard[0].samples).share > 0.95
        for kind, first in (("video", 0), ("slides", 1_000_000)):
            seen = numbers(person, kind)
            assert seen[0] - first < 5
            assert len(seen) > 60
            assert complete(seen) > 0.95
