"""RTP and RTCP on transports of their own: two components, one stream (RFC 8445 §4, §8.1.1)."""

from __future__ import annotations

import pytest

from iceway.ice.candidate import CandidateType
from iceway.ice.events import CandidateFound, DataReceived, Failed, IceState
from iceway.lab.grid.networks import ENDS
from iceway.trace.records import PairChecked, PairFormed
from tests.ice.test_streams import Call


def two(left: str, right: str, **both: object) -> Call:
    return Call(left, right, ("audio",), components=2, **both)


@pytest.mark.parametrize("roles", [(True, False), (False, True)])
@pytest.mark.parametrize(
    ("left", "right"),
    [("open", "open"), ("port-restricted", "full-cone"), ("symmetric", "symmetric"), ("no-udp", "open")],
)
def test_each_component_has_a_path_that_both_ends_know(
    left: str, right: str, roles: tuple[bool, bool]
) -> None:
    call = two(left, right, roles=roles)
    call.begins()
    assert call.run(call.all_selected)
    alice, bob = (call.ends[name]["audio"] for name in ENDS)
    for component in (1, 2):
        ours, theirs = alice.selected_path(component), bob.selected_path(component)
        assert ours is not None
        assert theirs is not None
        assert ours.component == theirs.component == component
        assert ours.local.address == theirs.remote.address
        assert ours.remote.address == theirs.local.address
    call.does("alice", lambda end, now: end["audio"].send(b"rtp", now, 1))
    call.does("alice", lambda end, now: end["audio"].send(b"rtcp", now, 2))
    assert call.run(lambda: len(call.told("bob", DataReceived)) == 2)
    heard = [said.event for said in call.events["bob"] if isinstance(said.event, DataReceived)]
    assert {event.data: event.component for event in heard} == {b"rtp": 1, b"rtcp": 2}


def test_candidates_of_both_components_are_told_with_a_default_each() -> None:
    call = two("symmetric", "symmetric")
    call.begins()
    assert call.run(call.all_selected)
    agent = call.ends["alice"]["audio"]
    kinds = {(c.component, c.type) for c in agent.local_candidates}
    assert {(1, CandidateType.HOST), (2, CandidateType.HOST)} <= kinds
    found = [said.event.candidate for said in call.events["alice"] if isinstance(said.event, CandidateFound)]
    for component in (1, 2):
        default = agent.default_candidate(component)
        assert default is not None
        assert default.type is CandidateType.RELAY
        assert default in found
    assert agent.default_candidate(1) != agent.default_candidate(2)


def test_one_component_without_a_path_fails_the_stream() -> None:
    """Half a stream is none: RTP that arrives without RTCP is not what was agreed."""
    call = two("port-restricted", "port-restricted", patience=5.0)
    call.mute_component = 2
    call.begins()
    assert call.run(lambda: call.told("alice", Failed) and call.told("bob", Failed), 60.0)
    assert call.ends["alice"].state is IceState.FAILED


def test_both_components_restart() -> None:
    call = two("port-restricted", "full-cone")
    call.begins()
    assert call.run(call.all_selected)
    before = [call.ends["alice"]["audio"].selected_path(component) for component in (1, 2)]
    assert None not in before
    call.restarts()
    assert call.run(call.all_selected)
    for component in (1, 2):
        ours, theirs = (call.ends[name]["audio"].selected_path(component) for name in ENDS)
        assert ours is not None
        assert theirs is not None
        assert ours.local.address == theirs.remote.address


def test_the_second_component_waits_for_the_first() -> None:
    """RFC 8445 §6.1.2.6: of a foundation, the pair of the lowest component goes first."""
    call = two("open", "open")
    call.begins()
    assert call.run(call.all_selected)
    trace = [entry.record for entry in call.world.trace if entry.node == "alice"]
    components = {r.pair: r.local.component for r in trace if isinstance(r, PairFormed)}
    checked = [components[r.pair] for r in trace if isinstance(r, PairChecked)]
    assert checked[0] == 1
