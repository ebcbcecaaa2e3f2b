"""Sound, cameras and a desktop at once on the demo's four networks: what arrives, how it lies, and how late it is.

Twice: in the virtual world, and on this kernel's own NATs with a process for everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from iceway.explain.steps import steps
from iceway.lab.demo import SCENARIOS, Outcome, Progress, Scenario, play_in_world, play_on_kernel
from iceway.lab.grid.play import expectation
from iceway.lab.namespaces import available
from iceway.lab.pictured import STREAMS
from iceway.trace.records import Malformed, MediaRejected, MediaStarted, SipSent
from tests.conftest import unavailable
from tests.e2e.story import every

NETWORKS = {scenario.name: replace(scenario, pictures=True) for scenario in SCENARIOS[:4]}

Play = Callable[[Scenario, Path, Progress], Outcome]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((name, play), id=f"{name}-{where}", marks=marks)
        for where, play, marks in (
            ("world", play_in_world, ()),
            ("kernel", play_on_kernel, pytest.mark.kernel("nsenter")),
        )
        for name in NETWORKS
    ],
)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    name: str
    play: Play
    name, play = request.param
    if play is play_on_kernel:
        allowed, reason = available()
        if not allowed:
            unavailable(f"no namespaces: {reason}; as an ordinary user: unshare -Urn make kernel")
    return play(NETWORKS[name], tmp_path_factory.mktemp(name), lambda text: None)


def test_the_path_the_sound_and_the_pictures(outcome: Outcome) -> None:
    assert outcome.ok, outcome.faults
    assert [end.path for end in outcome.ends] == [outcome.scenario.expected] * 2
    assert min(one.share for one in outcome.heard.values()) >= 0.95
    assert min(one.correlation for one in outcome.heard.values()) >= 0.9
    streams = {(one.shower, one.kind): one.watched for one in outcome.seen}
    assert set(streams) == {("alice", "video"), ("bob", "video"), ("alice", "slides")}
    for (_, kind), watched in streams.items():
        assert watched.taken == STREAMS[kind].count
        assert watched.share >= 0.95
        assert watched.in_order
        assert watched.upright


def test_pictures_are_as_late_as_the_network_makes_them(
    outcome: Outcome, request: pytest.FixtureRequest
) -> None:
    """Half a round trip and what coding takes; nothing waits in buffers."""
    whole = expectation(outcome.scenario.topology()).round_trip
    assert whole is not None
    simulated = request.node.callspec.id.endswith("world")
    for one in outcome.seen:
        assert one.watched.delay is not None
        assert one.watched.delay >= whole / 2 - 1e-6
        assert one.watched.delay < whole / 2 + (0.02 if simulated else 0.15)
        if simulated:
            assert max(one.watched.delays) < whole / 2 + 0.1


def test_all_streams_begin_on_both_sides_and_nothing_is_thrown_away(outcome: Outcome) -> None:
    for kind in (Malformed, MediaRejected):
        assert not every(outcome.entries, kind)
    for who, shows in (("alice", {"audio", "video", "slides"}), ("bob", {"audio", "video"})):
        other = "bob" if who == "alice" else "alice"
        assert {one.media for one in every(outcome.entries, MediaStarted, who, direction="sent")} == shows
        assert {
            one.media for one in every(outcome.entries, MediaStarted, other, direction="received")
        } == shows


def test_slides_that_nobody_sends_back_are_not_told_as_a_hold(outcome: Outcome) -> None:
    offers = every(outcome.entries, SipSent, "alice", start="INVITE", says="^a=sendonly")
    assert len(offers) >= 2, "the call and its settling"
    assert not [step.plain for step in steps(outcome.entries) if "hold" in step.plain]


def test_some_pictures_of_each_stream_are_kept_for_people(outcome: Outcome) -> None:
    for one in outcome.seen:
        assert len(one.kept) >= 8
        for snapshot, delay in one.kept:
            assert snapshot.jpeg.startswith(b"\xff\xd8")
            assert delay is not None
