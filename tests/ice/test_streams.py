"""Several streams in one session: one pace, one role, foundations known to all, and each with its own fate."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from iceway.core.errors import UsageError
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate
from iceway.ice.config import AgentConfig
from iceway.ice.events import (
    CandidateFound,
    DataReceived,
    Failed,
    GatheringDone,
    IceState,
    Selected,
)
from iceway.ice.streams import StreamEvent, Streams
from iceway.lab.grid.meeting import PASSWORD, RELAY_NAME, USER, relay_config, servers
from iceway.lab.grid.networks import EDGE, ENDS, topology
from iceway.lab.world import World
from iceway.lab.world.tls import Certificate
from iceway.trace import records
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.server import TurnServer

TA = AgentConfig(True).ta
MEDIA = ("audio", "video", "slides")


class Call:
    """Alice and Bob, some streams, and candidates that trickle between them."""

    def __init__(self, left: str, right: str, streams: tuple[str, ...] = MEDIA, **both: object) -> None:
        network = topology(left, right)
        self.world = World(network, 1)
        self.relay = TurnServer(
            relay_config(network), StaticAuthenticator({USER: PASSWORD}), self.world.rng(EDGE)
        )
        self.world.run(EDGE, self.relay, identities={EDGE: Certificate((RELAY_NAME,))})
        self.world.call(EDGE, self.relay.start)
        self.ends: dict[str, Streams] = {}
        self.events: dict[str, list[StreamEvent]] = {name: [] for name in ENDS}
        self.deaf: set[str] = set()  # streams whose candidates nobody hears of
        self.mute_component = 0
        roles = both.pop("roles", (True, False))
        for name, peer, controls in zip(ENDS, ENDS[::-1], roles, strict=True):  # type: ignore[call-overload]
            config = AgentConfig(controlling=controls, **both)  # type: ignore[arg-type]
            end = self.ends[name] = Streams(f"{name}/ice", config, self.world.rng(name))
            for stream in streams:
                end.add(stream)
            self.world.run(name, end, on_event=self._listener(name, peer))

    def begins(self) -> None:
        for name, peer in (ENDS, ENDS[::-1]):
            for stream in self.ends[name]:
                self._introduces(name, peer, stream)
            ips, asked = self.world.topology.host(name).ips, servers(self.world.topology, name)
            self.does(name, lambda end, now, i=ips, s=asked: end.gather(i, s, now))  # type: ignore[misc]

    def does(self, name: str, command: Callable[[Streams, float], object]) -> None:
        self.world.call(name, lambda now: command(self.ends[name], now))

    def told(self, name: str, kind: type) -> list[str]:
        return [said.stream for said in self.events[name] if isinstance(said.event, kind)]

    def run(self, until: Callable[[], object], seconds: float = 20.0) -> bool:
        return bool(self.world.run_until(until, seconds))

    def all_selected(self) -> bool:
        return all(end.state is IceState.COMPLETED for end in self.ends.values())

    def checks(
        self, name: str, causes: tuple[str, ...] = ("ordinary", "triggered", "nomination")
    ) -> list[float]:
        """When first requests of checks left."""
        return [
            entry.at
            for entry in self.world.trace
            if entry.node == name
            and isinstance(entry.record, records.PairChecked)
            and entry.record.cause in causes
            and entry.record.attempt == 1
        ]

    def restarts(self) -> None:
        """Both ends at once, as after a re-INVITE and its answer."""
        for name in ENDS:
            self.does(name, lambda end, now: end.restart(now))
        for name, peer in (ENDS, ENDS[::-1]):
            for stream in self.ends[name]:
                self._introduces(name, peer, stream)
                for candidate in self.ends[name][stream].local_candidates:
                    self.does(
                        peer,
                        lambda end, now, s=stream, c=candidate: end[s].add_remote_candidate(c, now),  # type: ignore[misc]
                    )

    def _is_told(self, stream: str, candidate: Candidate) -> bool:
        return stream not in self.deaf and candidate.component != self.mute_component

    def _introduces(self, name: str, peer: str, stream: str) -> None:
        agent = self.ends[name][stream]
        ufrag, pwd, pacing = agent.local_ufrag, agent.local_pwd, agent.pacing
        self.does(peer, lambda end, now: end[stream].set_remote(ufrag, pwd, now, pacing=pacing))

    def _listener(self, name: str, peer: str) -> Callable[[object, float], None]:
        def happened(said: object, now: float) -> None:
            assert isinstance(said, StreamEvent)
            self.events[name].append(said)
            match said.event:
                case CandidateFound(candidate) if self._is_told(said.stream, candidate):
                    self.does(
                        peer,
                        lambda end, now: (
                            said.stream in end.agents
                            and end[said.stream].add_remote_candidate(candidate, now)
                        ),
                    )
                case GatheringDone():
                    self.does(
                        peer,
                        lambda end, now: (
                            said.stream in end.agents and end[said.stream].end_of_remote_candidates(now)
                        ),
                    )

        return happened


def gaps(instants: list[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(instants)]


@pytest.mark.parametrize(
    ("left", "right"), [("open", "open"), ("port-restricted", "full-cone"), ("symmetric", "symmetric")]
)
def test_every_stream_finds_its_way_and_both_ends_agree(left: str, right: str) -> None:
    call = Call(left, right)
    call.begins()
    assert call.run(call.all_selected)
    for stream in MEDIA:
        ours, theirs = (call.ends[name][stream].selected for name in ENDS)
        assert ours is not None
        assert theirs is not None
        assert ours.local.address == theirs.remote.address
        assert ours.remote.address == theirs.local.address


def test_media_of_one_stream_reaches_that_stream() -> None:
    call = Call("port-restricted", "port-restricted")
    call.begins()
    assert call.run(call.all_selected)
    call.does("alice", lambda end, now: end["video"].send(b"a picture", now))
    call.does("alice", lambda end, now: end["audio"].send(b"a sound", now))
    assert call.run(lambda: len(call.told("bob", DataReceived)) == 2)
    heard = {
        said.stream: said.event.data for said in call.events["bob"] if isinstance(said.event, DataReceived)
    }
    assert heard == {"video": b"a picture", "audio": b"a sound"}


def test_three_streams_send_no_faster_than_one() -> None:
    call = Call("symmetric", "port-restricted")
    call.begins()
    assert call.run(call.all_selected)
    for name in ENDS:
        instants = call.checks(name)
        assert len(instants) > 3 * len(MEDIA)
        assert min(gaps(instants)) > TA - 1e-9


def test_a_kind_of_pair_is_tried_in_one_stream_first() -> None:
    """RFC 8445 §6.1.2.6: of the same foundation one pair of all checklists waits; the rest are frozen."""
    call = Call("open", "open")
    call.begins()
    call.run(lambda: len(call.checks("alice")) >= 1)
    call.world.advance(0.015)  # less than a round trip: nothing is answered yet
    first = [
        entry.record
        for entry in call.world.trace
        if entry.node == "alice" and isinstance(entry.record, records.PairChecked)
    ]
    assert len({(check.agent, check.pair) for check in first}) == 1
    assert call.run(call.all_selected)


def test_a_conflict_in_one_stream_is_settled_for_all() -> None:
    call = Call("open", "open", roles=(True, True))
    call.begins()
    assert call.run(call.all_selected)
    assert {call.ends[name].role for name in ENDS} == {"controlling", "controlled"}
    for name in ENDS:
        assert len({agent.role for agent in call.ends[name].agents.values()}) == 1
    told = [
        entry.record.agent for entry in call.world.trace if isinstance(entry.record, records.RoleConflict)
    ]
    assert len(told) == len(MEDIA)  # the ones of one end, once each


def test_a_bundled_stream_gives_everything_back_at_once() -> None:
    call = Call("symmetric", "symmetric")
    call.begins()
    assert call.run(lambda: call.told("alice", GatheringDone) and call.told("bob", GatheringDone))
    for name in ENDS:
        for stream in ("video", "slides"):
            call.does(name, lambda end, now, stream=stream: end.drop(stream, now))  # type: ignore[misc]
        assert list(call.ends[name]) == ["audio"]
    assert call.run(call.all_selected)
    call.world.advance(30.0)
    ended = [e.record for e in call.world.trace if isinstance(e.record, records.AllocationEnded)]
    assert len(ended) >= 2 * 2 * 3  # two streams of two ends, over UDP, TCP and TLS
    call.does("alice", lambda end, now: end.add("video"))
    assert set(call.ends["alice"]) == {"audio", "video"}


def test_a_stream_that_fails_leaves_the_others() -> None:
    call = Call("port-restricted", "port-restricted", patience=5.0)
    call.deaf.add("video")
    call.begins()
    assert call.run(
        lambda: "video" in call.told("alice", Failed) and "video" in call.told("bob", Failed), 30.0
    )
    assert set(call.told("alice", Selected)) == {"audio", "slides"}
    assert call.ends["alice"].state is IceState.FAILED
    assert call.ends["alice"]["audio"].state is IceState.COMPLETED
    call.does("bob", lambda end, now: end["audio"].send(b"still here", now))
    assert call.run(lambda: call.told("alice", DataReceived) == ["audio"])


def test_nothing_is_left_after_close() -> None:
    call = Call("symmetric", "symmetric")
    call.begins()
    assert call.run(call.all_selected)
    for name in ENDS:
        call.does(name, lambda end, now: end.close(now))
    assert call.run(lambda: all(end.closed for end in call.ends.values()))
    assert all(end.poll_timeout() is None for end in call.ends.values())


def test_all_streams_restart_together_and_keep_talking() -> None:
    call = Call("port-restricted", "full-cone")
    call.begins()
    assert call.run(call.all_selected)
    before = {stream: call.ends["alice"][stream].local_ufrag for stream in MEDIA}
    call.restarts()
    assert all(call.ends["alice"][stream].local_ufrag != before[stream] for stream in MEDIA)
    call.does("alice", lambda end, now: end["audio"].send(b"meanwhile", now))
    assert call.run(lambda: call.told("bob", DataReceived) == ["audio"])
    for stream in MEDIA:
        assert call.run(lambda stream=stream: call.told("alice", Selected).count(stream) == 2)  # type: ignore[misc]


def test_names_are_checked() -> None:
    streams = Streams("ice", AgentConfig(controlling=True), random.Random(1))
    assert isinstance(streams.add("audio"), Agent)
    for wrong in ("audio", "", "a/b"):
        with pytest.raises(UsageError, match="further stream"):
            streams.add(wrong)
    with pytest.raises(UsageError, match="no stream 'video'"):
        streams["video"]
