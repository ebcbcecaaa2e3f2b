"""Two calls wired back to back, no SIP between them: offer, answer, ICE and sound on the demo's four networks."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

import pytest

from iceway.client.call import Call, Phase
from iceway.client.config import PhoneConfig
from iceway.client.media import Media
from iceway.client.ways import Ways
from iceway.core.address import Address, Transport
from iceway.core.machine import AddressesChanged, OpenUdp, Outbox, drain
from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.ice.agent import Agent
from iceway.ice.config import IceServer, ServerKind
from iceway.ice.events import PairValid
from iceway.lab import topologies
from iceway.lab.topology import Topology
from iceway.lab.world import World
from iceway.media.files import FileSource, MemorySink, SilenceSource, ToneSource
from iceway.media.heard import compare
from iceway.media.speech import speech
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import TurnServer

SERVERS = tuple(
    IceServer(ServerKind.TURN, "av.example.test", 3478, transport, "user", "secret")
    for transport in (Transport.UDP, Transport.TCP)
)


class Wire:
    """Signalling that takes 60 ms from one call to the other."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: dict[str, tuple[str, Call]] = {}
        self.early_answer = ""
        self.settling: list[str] = []  # the bodies of re-INVITEs and of their answers

    def _tell(self, call: Call, what: Callable[[Call, float], object]) -> None:
        host, other = next(entry for entry in self.calls.values() if entry[1] is not call)
        self.world.clock.at(
            self.world.now + 0.060, lambda: self.world.call(host, lambda now: what(other, now))
        )

    def offer(self, call: Call, body: str, now: float) -> None:
        host, other = self.calls["bob"]

        def arrives(_: Call, now: float) -> None:
            assert other.receive_offer(body, now)
            other.begin(self.world.topology.host(host).ips, SERVERS, now)

        self._tell(call, arrives)

    def progress(self, call: Call, body: str, now: float) -> None:
        self.early_answer = body
        self._tell(call, lambda other, now: other.receive_answer(body, now, early=True))

    def accept(self, call: Call, body: str, now: float) -> None:
        def picked_up(other: Call, now: float) -> None:
            other.receive_answer(body, now, early=False)
            other.confirmed(now)
            self._tell(other, lambda back, now: back.confirmed(now))

        self._tell(call, picked_up)

    def reoffer(self, call: Call, body: str, now: float) -> None:
        self.settling.append(body)
        self._tell(call, lambda other, now: other.receive_reoffer(body, now))

    def withdraw_reoffer(self, call: Call, now: float) -> None:
        raise AssertionError(call.name)

    def answer_reoffer(self, call: Call, body: str, now: float) -> None:
        self.settling.append(body)
        self._tell(call, lambda other, now: other.receive_reanswer(body, now))

    def refuse(self, call: Call, code: int, reason: str, now: float) -> None:
        raise AssertionError((code, reason))

    def refuse_reoffer(self, call: Call, code: int, now: float) -> None:
        raise AssertionError(code)

    def takes_candidates(self, call: Call) -> bool:
        return False

    def trickle(self, call: Call, fragment: str, now: float) -> None:
        raise AssertionError(fragment)

    def probe(self, call: Call, now: float) -> None:
        pass

    def hang_up(self, call: Call, reason: str, now: float) -> None:
        self._tell(call, lambda other, now: other.over("hung up there", 0, now))


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
def test_two_people_hear_each_other(topology: Topology, expected: PathClass) -> None:
    world, wire, sinks = settled(topology)
    alice, bob = wire.calls["alice"][1], wire.calls["bob"][1]
    world.advance(6)
    world.call("alice", lambda now: alice.hang_up(now))
    world.advance(5)
    assert alice.finished
    assert bob.finished

    for who in ("alice", "bob"):
        judged = verdict(world.trace, who)
        assert (judged.path, judged.agreed) == (expected, True)
    assert compare(speech("bob"), sinks["alice"].samples).share > 0.97
    assert compare(speech("alice"), sinks["bob"].samples).share > 0.97


def test_a_reoffer_that_names_all_our_candidates_means_the_one_in_use() -> None:
    """As baresip's does: a=remote-candidates lists whatever it knows of the component."""
    world, wire, _ = settled(topologies.relayed_udp())
    bob = wire.calls["bob"][1]
    offer, answer = wire.settling
    assert "\r\na=remote-candidates:1 198.51.100.2 " in offer
    assert "\r\nc=IN IP4 198.51.100.2\r\n" in answer
    everything = offer.replace(
        "remote-candidates:", "remote-candidates:1 10.0.0.20 5000 1 198.51.100.1 5000 "
    )
    host = re.search(r"10\.0\.0\.20 (\d+) typ host", wire.early_answer)
    assert host
    world.call("bob", lambda now: bob.receive_reoffer(everything.replace("5000", host[1]), now))
    assert wire.settling[2] == answer


def test_a_nomination_alone_starts_the_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may overtake the answer to our own check; then there is no first valid pair to hear of."""

    def emit(agent: Agent, output: object) -> None:
        if not isinstance(output, PairValid):
            Outbox.emit(agent, output)

    monkeypatch.setattr(Agent, "emit", emit)
    world, _, sinks = settled(topologies.reflexive())
    world.advance(6)
    for listener, speaker in (("alice", "bob"), ("bob", "alice")):
        assert compare(speech(speaker), sinks[listener].samples).share > 0.97


def test_interfaces_chosen_by_hand_stay_the_only_ones() -> None:
    call = Call(
        "call.1",
        PhoneConfig("sip:alice@example.test", "-", ways=Ways(interfaces=("10.0.0.21",))),
        Random(1),
        Wire(World(topologies.one_lan())),
        peer="sip:bob@example.test",
        media=Media(SilenceSource(), MemorySink(), SilenceSource()),
        incoming=False,
    )
    call.begin(("10.0.0.21",), (), 0.0)
    call.handle_input(AddressesChanged(("10.0.0.21", "10.9.9.9")), 1.0)
    opened = [output.local.ip for output in drain(call) if isinstance(output, OpenUdp)]
    assert opened == ["10.0.0.21"]


class Controller(Wire):
    """…with a third party between them, who asks one for an offer and shows it to the other (RFC 3725)."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.asked: Call | None = None
        self.thinks: Call | None = None  # who has an offer to answer, and may make none meanwhile
        self.waiting: list[tuple[Call, str]] = []

    def asks(self, name: str) -> None:
        host, self.asked = self.calls[name]
        self.world.call(host, self.asked.offer_wanted)

    def reoffer(self, call: Call, body: str, now: float) -> None:
        if call is self.thinks:
            self.waiting.append((call, body))
        else:
            self.thinks = next(other for _, other in self.calls.values() if other is not call)
            super().reoffer(call, body, now)

    def withdraw_reoffer(self, call: Call, now: float) -> None:
        self.waiting = [(other, body) for other, body in self.waiting if other is not call]

    def answer_reoffer(self, call: Call, body: str, now: float) -> None:
        if call is self.asked:  # what it answers is an offer
            self.asked = None
            self.reoffer(call, body, now)
            return
        self.thinks = None
        super().answer_reoffer(call, body, now)
        waiting, self.waiting = self.waiting, []
        for other, offer in waiting:
            self.reoffer(other, offer, now)


@pytest.mark.parametrize("name", ["alice", "bob"])
@pytest.mark.parametrize(
    "topology", [topologies.one_lan(), topologies.relayed_udp()], ids=lambda one: one.name
)
def test_a_third_party_asks_for_an_offer_and_they_talk_on(topology: Topology, name: str) -> None:
    world, wire, sinks = settled(topology, Controller)
    assert isinstance(wire, Controller)
    alice, bob = wire.calls["alice"][1], wire.calls["bob"][1]
    before = alice._first.agent.local_ufrag
    wire.settling.clear()
    wire.asks(name)
    world.advance(1)
    offer, answer, *_ = wire.settling
    assert "a=candidate:" in offer
    assert f"a=ice-ufrag:{before}" not in "".join(wire.settling), "one that anybody can answer"
    assert world.run_until(lambda: alice.phase is Phase.SETTLED and bob.phase is Phase.SETTLED, 5)
    world.advance(4)
    world.call("alice", lambda now: alice.hang_up(now))
    world.advance(5)
    for listener, speaker in (("alice", "bob"), ("bob", "alice")):
        assert compare(speech(speaker), sinks[listener].samples).share > 0.95
    assert answer


def settled(topology: Topology, signalling: type[Wire] = Wire) -> tuple[World, Wire, dict[str, MemorySink]]:
    """Alice has called Bob, who let it ring for a moment; the pair is settled and both are talking."""
    world = World(topology, seed=1)
    listeners = tuple(
        TurnListener(transport, Address("198.51.100.2", 3478)) for transport in (Transport.UDP, Transport.TCP)
    )
    edge = TurnServer(
        TurnServerConfig("example.test", listeners, "198.51.100.2"),
        StaticAuthenticator({"user": "secret"}),
        world.rng("edge"),
    )
    world.run("edge", edge)
    world.call("edge", edge.start)
    wire = signalling(world)
    sinks = {"alice": MemorySink(), "bob": MemorySink()}
    for host, peer in (("alice", "bob"), ("bob", "alice")):
        call = Call(
            "call.1",
            PhoneConfig(f"sip:{host}@example.test", "-"),
            world.rng(host),
            wire,
            peer=f"sip:{peer}@example.test",
            media=Media(FileSource(speech(host)), sinks[host], ToneSource()),
            incoming=host == "bob",
        )
        wire.calls[host] = (host, call)
        world.run(host, call)
    alice, bob = wire.calls["alice"][1], wire.calls["bob"][1]

    world.call("alice", lambda now: alice.begin(topology.host("alice").ips, SERVERS, now))
    assert world.run_until(lambda: bob.path is not None and alice.path is not None, 10)
    assert bob.phase is Phase.EARLY
    world.advance(0.5)
    world.call("bob", bob.pick_up)
    assert world.run_until(lambda: alice.phase is Phase.SETTLED and bob.phase is Phase.SETTLED, 5)
    return world, wire, sinks
