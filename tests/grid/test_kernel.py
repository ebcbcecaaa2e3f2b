"""The demo's four networks on kernel NATs: real sockets, the same agents and relay, the same four paths.

Every host is a thread that lives in the host's namespace, with an event loop and a driver of its own.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable

import pytest

from iceway.core.address import Address, Transport
from iceway.explain.path import verdict
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig, IceServer, ServerKind
from iceway.ice.events import CandidateFound, DataReceived, GatheringDone
from iceway.io.driver import Driver
from iceway.io.recorder import Recorder
from iceway.lab import topologies
from iceway.lab.grid.play import CLASSES
from iceway.lab.namespaces import KernelLab
from iceway.lab.oracle import expected_path
from iceway.trace.entry import Entry, merge
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import TurnServer

RELAY = Address("198.51.100.2", 3478)
BOTH = (Transport.UDP, Transport.TCP)
SERVERS = tuple(
    IceServer(ServerKind.TURN, transport=transport, username="user", password="secret", address=RELAY)
    for transport in BOTH
)
PATIENCE = 20.0


class Seat:
    """One host: a thread in its namespace that drives one machine."""

    def __init__(
        self, lab: KernelLab, host: str, machine: object, on_event: Callable[[object], None]
    ) -> None:
        self.host, self.machine = host, machine
        self.recorder = Recorder(keep=True)
        self._lab, self._on_event = lab, on_event
        self._ready, self._leave = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._live, name=host)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def tell(self, command: Callable[[float], object]) -> None:
        self._loop.call_soon_threadsafe(lambda: self._driver.call(command))

    def leave(self) -> list[Entry]:
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.recorder.entries

    def _live(self) -> None:
        with self._lab.enter(self.host):
            asyncio.run(self._drive())

    async def _drive(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._driver = Driver(
            self.machine,
            node=self.host,
            recorder=self.recorder,
            on_event=lambda event, now: self._on_event(event),
        )
        async with self._driver:
            self._ready.set()
            await self._leave.wait()


def wait_for(predicate: Callable[[], object]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not predicate() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(predicate())


@pytest.mark.kernel
@pytest.mark.parametrize("name", topologies.TOPOLOGIES)
def test_a_call_takes_its_path_on_kernel_nats(name: str) -> None:
    topology = topologies.named(name)
    relay = TurnServer(
        TurnServerConfig("example.test", tuple(TurnListener(t, RELAY) for t in BOTH), RELAY.ip),
        StaticAuthenticator({"user": "secret"}),
        random.Random("edge"),
    )
    agents = {
        host: Agent(f"{host}/ice", AgentConfig(controlling=host == "alice"), random.Random(host))
        for host in ("alice", "bob")
    }
    seats: dict[str, Seat] = {}
    heard: list[tuple[str, bytes]] = []

    def happened(host: str, event: object) -> None:
        peer = "bob" if host == "alice" else "alice"
        match event:
            case CandidateFound(candidate):
                seats[peer].tell(lambda now: agents[peer].add_remote_candidate(candidate, now))
            case GatheringDone():
                seats[peer].tell(lambda now: agents[peer].end_of_remote_candidates(now))
            case DataReceived(data=data):
                heard.append((host, data))

    with KernelLab(topology) as lab:
        try:
            seats["edge"] = Seat(lab, "edge", relay, lambda event: None)
            seats["edge"].tell(relay.start)
            for host in agents:
                seats[host] = Seat(lab, host, agents[host], lambda event, host=host: happened(host, event))
            for host, peer in (("alice", "bob"), ("bob", "alice")):
                ufrag, pwd = agents[peer].local_ufrag, agents[peer].local_pwd
                ips = topology.host(host).ips
                seats[host].tell(lambda now, agent=agents[host], ips=ips: agent.gather(ips, SERVERS, now))
                seats[host].tell(lambda now, agent=agents[host], u=ufrag, p=pwd: agent.set_remote(u, p, now))
            assert wait_for(lambda: all(agent.selected is not None for agent in agents.values()))
            for host, agent in agents.items():
                seats[host].tell(lambda now, agent=agent, host=host: agent.send(host.encode(), now))
            assert wait_for(lambda: len(heard) >= 2)
        finally:
            entries = [seat.leave() for seat in seats.values()]
    assert sorted(heard) == [("alice", b"bob"), ("bob", b"alice")]
    trace = merge(*entries)
    for who in agents:
        judged = verdict(trace, who)
        assert (judged.path, judged.agreed) == (
            CLASSES[expected_path(topology, "alice", "bob", "edge")],
            True,
        )
