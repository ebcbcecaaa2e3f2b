"""Round trips of 400 ms to 2 s: the same paths in as many round trips, and consent that outlives minutes of them."""

from __future__ import annotations

import pytest

from iceway.explain.path import verdict
from iceway.lab.grid.meeting import Meeting
from iceway.lab.grid.networks import ENDS, topology
from iceway.lab.grid.play import CLASSES, expectation
from iceway.lab.topology import Link, Topology
from iceway.trace.records import ConsentLost


def far(left: str, right: str, delay: float) -> Topology:
    """A cell of the grid on an internet that takes `delay` seconds to cross."""
    network = topology(left, right)
    for segment in network.segments:
        if segment.name.startswith("internet"):
            network = network.with_link(segment.name, Link(delay=delay))
    return network


@pytest.mark.parametrize("delay", [0.2, 0.5])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("open", "open"),
        ("port-restricted", "port-restricted"),
        ("restricted", "symmetric"),
        ("symmetric", "symmetric"),
        ("no-udp", "port-restricted"),
        ("vpn", "dual-stack"),
    ],
)
def test_far_apart(left: str, right: str, delay: float) -> None:
    network = far(left, right, delay)
    expected = expectation(network)
    assert expected.round_trip is not None
    assert expected.to_select is not None
    meeting = Meeting(network)
    meeting.meet(timeout=20.0)
    assert meeting.world.run_until(meeting.selected, expected.to_select * expected.round_trip)
    meeting.world.advance(180.0)
    judged = verdict(meeting.world.trace, "alice")
    assert (judged.path, judged.agreed) == (CLASSES[expected.path], True)
    assert not [entry for entry in meeting.world.trace if isinstance(entry.record, ConsentLost)]
    for name in ENDS:
        meeting.world.call(name, lambda now, name=name: meeting.ends[name].agent.send(name.encode(), now))  # type: ignore[misc]
    meeting.world.advance(2.0)
    assert [meeting.ends[name].heard for name in ENDS] == [[b"bob"], [b"alice"]]
