"""A call that rings at two ends, both of which answer early with a certificate of their own: whoever picks up is heard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iceway.client.call import Call
from iceway.client.config import PhoneConfig
from iceway.client.media import Media
from iceway.io.selfsigned import media_identity
from iceway.lab import topologies
from iceway.lab.world import World
from iceway.media.dtls import DtlsIdentity
from iceway.media.files import FileSource, MemorySink, SilenceSource
from iceway.media.heard import compare
from iceway.media.speech import speech
from iceway.trace.records import MediaKeyed, MediaKeyFailed
from tests.e2e.story import every

CALLER, DESK, MOBILE = media_identity(), media_identity(), media_identity()
DELAY = 0.040


class Fork:
    """Signalling between a caller and two ends; early answers and the 200 come as a proxy passes them on."""

    def __init__(self, world: World, apart: float) -> None:
        self.world = world
        self.apart = apart  # seconds from one end's ringing to the other's
        self.caller: tuple[str, Call]
        self.ends: dict[str, Call] = {}

    def _tell(self, host: str, what: Callable[[float], object], later: float = 0.0) -> None:
        self.world.clock.at(self.world.now + DELAY + later, lambda: self.world.call(host, what))

    def _host(self, call: Call) -> str:
        return next(host for host, end in self.ends.items() if end is call)

    def offer(self, call: Call, body: str, now: float) -> None:
        for number, (host, end) in enumerate(self.ends.items()):

            def arrives(now: float, host: str = host, end: Call = end) -> None:
                assert end.receive_offer(body, now)
                end.begin(self.world.topology.host(host).ips, (), now)

            self._tell(host, arrives, self.apart * number)

    def progress(self, call: Call, body: str, now: float) -> None:
        host, caller = self.caller
        self._tell(host, lambda now: caller.receive_answer(body, now, early=True))

    def accept(self, call: Call, body: str, now: float) -> None:
        host, caller = self.caller
        accepted = self._host(call)

        def picked_up(now: float) -> None:
            caller.receive_answer(body, now, early=False)
            caller.confirmed(now)
            for end_host, end in self.ends.items():
                if end is call:
                    self._tell(end_host, end.confirmed)
                else:
                    self._tell(end_host, lambda now, end=end: end.over("answered elsewhere", 487, now))

        assert accepted in self.ends
        self._tell(host, picked_up)

    def reoffer(self, call: Call, body: str, now: float) -> None:
        pass

    def takes_candidates(self, call: Call) -> bool:
        return False

    def probe(self, call: Call, now: float) -> None:
        pass

    def hang_up(self, call: Call, reason: str, now: float) -> None:
        pass


@pytest.mark.parametrize("taker", ["bob", "frontend"])
@pytest.mark.parametrize("same", [False, True], ids=["two certificates", "the same certificate twice"])
@pytest.mark.parametrize("late", [False, True], ids=["both at once", "one after the other"])
def test_whoever_picks_up_is_heard(taker: str, same: bool, late: bool) -> None:
    world = World(topologies.one_lan(), seed=1)
    fork = Fork(world, 1.0 if late else 0.0)
    sinks: dict[str, MemorySink] = {}

    def person(host: str, identity: DtlsIdentity, *, incoming: bool) -> Call:
        sinks[host] = MemorySink()
        call = Call(
            "call.1",
            PhoneConfig(f"sip:{host}@example.test", "-", certificate=identity),
            world.rng(host),
            fork,  # type: ignore[arg-type]
            peer="sip:peer@example.test",
            media=Media(FileSource(speech("bob" if incoming else "alice")), sinks[host], SilenceSource()),
            incoming=incoming,
        )
        world.run(host, call)
        return call

    fork.ends["bob"] = person("bob", DESK, incoming=True)
    fork.ends["frontend"] = person("frontend", DESK if same else MOBILE, incoming=True)
    caller = person("alice", CALLER, incoming=False)
    fork.caller = ("alice", caller)
    world.call("alice", lambda now: caller.begin(world.topology.host("alice").ips, (), now))
    world.advance(2.5)
    if late:  # both have shaken hands by then, one after the other
        assert {one.role for one in every(world.trace, MediaKeyed, "bob")} == {"active"}
        assert {one.role for one in every(world.trace, MediaKeyed, "frontend")} == {"active"}
    world.call(taker, fork.ends[taker].pick_up)
    world.advance(10.0)

    assert compare(speech("alice"), sinks[taker].samples).share > 0.97
    assert compare(speech("bob"), sinks["alice"].samples).share > 0.97
    assert every(world.trace, MediaKeyed, taker)
    assert not every(world.trace, MediaKeyFailed)
