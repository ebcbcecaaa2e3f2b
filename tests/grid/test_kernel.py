"""The demo's four networks and a part of the grid on kernel NATs: real sockets, the same agents and relay.

What the grid's topologies give in the virtual world they must give here: path class, candidate types, agreement.
Every one of the twelve networks meets others. Links take the time that the topology says; the machine's own comes on
top, so times are not compared.

Every host is a thread that lives in the host's namespace, with an event loop and a driver of its own.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from iceway.explain.path import verdict
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig
from iceway.ice.events import CandidateFound, DataReceived, GatheringDone
from iceway.io.devca import DevCa
from iceway.io.driver import Driver
from iceway.io.keystore import KeyStore
from iceway.io.recorder import Recorder
from iceway.lab import topologies
from iceway.lab.grid.meeting import PASSWORD, RELAY_NAME, USER, relay_config, servers
from iceway.lab.grid.networks import EDGE, ENDS, RELAY_PORT, WEB_PORT
from iceway.lab.grid.networks import topology as grid_topology
from iceway.lab.grid.play import CLASSES, expectation, play
from iceway.lab.namespaces import KernelLab
from iceway.lab.oracle import expected_path
from iceway.lab.topology import Topology
from iceway.lab.topology_file import dump, load
from iceway.trace.entry import Entry, merge
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.server import TurnServer

PATIENCE = 20.0


class Seat:
    """One host: a thread in its namespace that drives one machine."""

    def __init__(
        self,
        lab: KernelLab,
        host: str,
        machine: object,
        keystore: KeyStore,
        on_event: Callable[[object], None],
    ) -> None:
        self.host, self.machine, self.keystore = host, machine, keystore
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
            keystore=self.keystore,
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


def converse(topology: Topology, directory: Path) -> tuple[list[Entry], list[tuple[str, bytes]]]:
    """Alice and Bob find each other, say who they are and leave; the trace, and who heard what."""
    ca = DevCa.open(directory / "ca")
    keys = ca.keystore(**{EDGE: ca.issue(EDGE, [RELAY_NAME])})
    relay = TurnServer(relay_config(topology), StaticAuthenticator({USER: PASSWORD}), random.Random("edge"))
    agents = {
        host: Agent(f"{host}/ice", AgentConfig(controlling=host == "alice"), random.Random(host))
        for host in ENDS
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
            seats[EDGE] = Seat(lab, EDGE, relay, keys, lambda event: None)
            seats[EDGE].tell(relay.start)
            for host in agents:
                seats[host] = Seat(
                    lab, host, agents[host], keys, lambda event, host=host: happened(host, event)
                )
            for host, peer in (ENDS, ENDS[::-1]):
                ufrag, pwd, pacing = agents[peer].local_ufrag, agents[peer].local_pwd, agents[peer].pacing
                ips, asked = topology.host(host).ips, servers(topology, host)
                seats[host].tell(lambda now, a=agents[host], i=ips, s=asked: a.gather(i, s, now))
                seats[host].tell(
                    lambda now, a=agents[host], u=ufrag, p=pwd, t=pacing: a.set_remote(u, p, now, pacing=t)
                )
            assert wait_for(lambda: all(agent.selected is not None for agent in agents.values()))
            for host, agent in agents.items():
                seats[host].tell(lambda now, agent=agent, host=host: agent.send(host.encode(), now))
            assert wait_for(lambda: len(heard) >= 2)
        finally:
            entries = [seat.leave() for seat in seats.values()]
    return merge(*entries), sorted(heard)


EACH_OTHER = [("alice", b"bob"), ("bob", b"alice")]


@pytest.mark.kernel
@pytest.mark.parametrize("name", topologies.TOPOLOGIES)
def test_a_call_takes_its_path_on_kernel_nats(name: str, tmp_path: Path) -> None:
    topology = topologies.named(name)
    expected = expected_path(topology, "alice", "bob", "edge", RELAY_PORT, WEB_PORT)
    trace, heard = converse(topology, tmp_path)
    assert heard == EACH_OTHER
    for who in ENDS:
        judged = verdict(trace, who)
        assert (judged.path, judged.agreed) == (CLASSES[expected], True)


CELLS = [
    ("open", "open"),
    ("open", "symmetric"),
    ("full-cone", "restricted"),
    ("full-cone", "symmetric"),
    ("restricted", "symmetric"),
    ("restricted", "port-restricted"),
    ("port-restricted", "port-restricted"),
    ("port-restricted", "symmetric"),
    ("double-nat", "double-nat"),
    ("double-nat", "symmetric"),
    ("vpn", "port-restricted"),
    ("vpn", "vpn"),
    ("symmetric", "symmetric"),
    ("open", "no-udp"),
    ("no-udp", "no-udp"),
    ("web-only", "full-cone"),
    ("web-only", "no-udp"),
    ("vpn", "web-only"),
    ("dual-stack", "dual-stack"),
    ("dual-stack", "port-restricted"),
    ("dual-stack", "no-udp"),
    ("ipv6", "dual-stack"),
    ("ipv6", "open"),
    ("ipv6", "ipv6"),
    ("web-only", "ipv6"),
    ("symmetric-open", "open"),
    ("symmetric-open", "restricted"),
    ("symmetric-open", "symmetric"),
]
"""Every class of path, and every network of the grid."""


@pytest.mark.kernel
@pytest.mark.parametrize("cell", CELLS, ids="-to-".join)
def test_a_cell_of_the_grid_is_the_same_on_kernel_nats(cell: tuple[str, str], tmp_path: Path) -> None:
    left, right = cell
    described = load(dump(grid_topology(left, right)))
    simulated, expected = play(left, right), expectation(described)
    trace, heard = converse(described, tmp_path)
    assert heard == EACH_OTHER
    for who in ENDS:
        judged = verdict(trace, who)
        assert (judged.path, judged.agreed) == (simulated.path, True)
    one = verdict(trace, "alice")
    assert one.local is not None
    assert one.remote is not None
    assert (one.local.type, one.remote.type) in expected.types
