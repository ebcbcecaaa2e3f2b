"""Names in place of addresses on a link of this kernel: two network namespaces and a wire between them."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator

import pytest

from iceway.ice.agent import Agent
from iceway.ice.candidate import parse, serialize
from iceway.ice.config import AgentConfig
from iceway.ice.events import CandidateFound, DataReceived, GatheringDone
from iceway.io.driver import Driver
from iceway.lab.namespaces.kernel import Namespace

pytestmark = pytest.mark.kernel("nsenter")

PATIENCE = 20.0
IPS = {
    "alice": {4: "10.99.0.1", 6: "2001:db8:99::1"},
    "bob": {4: "10.99.0.2", 6: "2001:db8:99::2"},
}


@pytest.fixture(scope="module")
def wire() -> Iterator[dict[str, Namespace]]:
    """Alice's and Bob's namespaces, joined."""
    spaces = {name: Namespace() for name in IPS}
    try:
        spaces["alice"].run(
            "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", spaces["bob"].path
        )
        for name, ips in IPS.items():
            lines = ["link set lo up", f"addr add {ips[4]}/24 dev eth0", "link set eth0 up"]
            lines.append(f"addr add {ips[6]}/64 dev eth0 nodad")
            spaces[name].set("ipv6/conf/eth0/accept_dad", 0)
            spaces[name].run("ip", "-batch", "-", text="\n".join(lines))
        yield spaces
    finally:
        for space in spaces.values():
            space.close()


class Seat:
    """An agent on a thread that lives in its namespace."""

    def __init__(self, space: Namespace, name: str, hide: bool) -> None:
        self.agent = Agent(name, AgentConfig(name == "alice", mdns=hide), random.Random())
        self.told: list[str] = []
        self.heard: list[bytes] = []
        self.all_told, self.done = threading.Event(), threading.Event()
        self._space, self._ready = space, threading.Event()
        self._thread = threading.Thread(target=self._live, name=name)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def do(self, command: Callable[[float], object]) -> None:
        self._loop.call_soon_threadsafe(lambda: self._driver.call(command))

    def leave(self) -> None:
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _live(self) -> None:
        with self._space.entered():
            asyncio.run(self._drive())

    async def _drive(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        self._driver = Driver(self.agent, on_event=self._hear)
        async with self._driver:
            self._ready.set()
            await self._leave.wait()
            self._driver.call(self.agent.close)

    def _hear(self, event: object, now: float) -> None:
        match event:
            case CandidateFound(candidate=candidate):
                self.told.append(serialize(candidate))
            case GatheringDone():
                self.all_told.set()
            case DataReceived(data=data):
                self.heard.append(data)
                self.done.set()


@pytest.mark.parametrize("families", [(4,), (6,), (4, 6)])
@pytest.mark.parametrize("bob_hides", [True, False])
def test_neighbours_find_each_other_by_name(
    wire: dict[str, Namespace], families: tuple[int, ...], bob_hides: bool
) -> None:
    seats = {name: Seat(wire[name], name, name == "alice" or bob_hides) for name in IPS}
    alice, bob = seats.values()
    try:
        for name, seat in seats.items():
            ips = tuple(IPS[name][family] for family in families)
            seat.do(lambda now, seat=seat, ips=ips: seat.agent.gather(ips, (), now))
            assert seat.all_told.wait(PATIENCE)
        assert len(alice.told) == len(families)
        assert not [line for line in alice.told for ip in IPS["alice"].values() if ip in line]
        for seat, peer in ((alice, bob), (bob, alice)):
            ufrag, pwd = peer.agent.local_ufrag, peer.agent.local_pwd
            seat.do(lambda now, seat=seat, ufrag=ufrag, pwd=pwd: seat.agent.set_remote(ufrag, pwd, now))
            for line in peer.told:
                told = parse(line)
                seat.do(lambda now, seat=seat, told=told: seat.agent.add_remote_candidate(told, now))
            seat.do(seat.agent.end_of_remote_candidates)
        for seat in (alice, bob):
            until_it_sends(seat)
        assert alice.done.wait(PATIENCE)
        assert bob.done.wait(PATIENCE)
        if bob_hides:
            assert alice.agent.selected is not None
            assert alice.agent.selected.remote.name is not None
    finally:
        for seat in seats.values():
            seat.leave()


def until_it_sends(seat: Seat) -> None:
    """Media, as soon as there is a selected path."""

    def attempt() -> None:
        if seat.agent.selected is None:
            seat._loop.call_later(0.02, attempt)
        else:
            seat._driver.call(lambda now: seat.agent.send(b"hello", now))

    seat._loop.call_soon_threadsafe(attempt)
