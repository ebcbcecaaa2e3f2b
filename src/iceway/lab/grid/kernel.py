"""The same two agents and relay on this kernel: real sockets and NATs, in the namespaces of the same topologies.

Every host is a thread that lives in the host's namespace, with an event loop and a driver of its own. Paths and types
are judged as in the virtual world; times are told, not judged, since they are also those of a busy machine.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from iceway.core.errors import EnvironmentFailure
from iceway.core.machine import Machine
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig
from iceway.io.devca import DevCa
from iceway.io.driver import Driver
from iceway.io.keystore import KeyStore
from iceway.io.recorder import Recorder
from iceway.lab.grid.ends import End, Introductions
from iceway.lab.grid.meeting import PASSWORD, RELAY_NAME, USER, relay_config, servers
from iceway.lab.grid.networks import EDGE, ENDS, topology
from iceway.lab.grid.play import Cell, expectation, judged
from iceway.lab.namespaces import KernelLab
from iceway.lab.topology import Topology
from iceway.trace.entry import Entry, merge
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.server import TurnServer

PATIENCE = 20.0
"""Seconds until a pair must be selected; and until a seat must be taken or left."""
_ANSWER = 5.0
"""Seconds in which what is said on a selected pair must have been heard."""


def play_on_kernel(left: str, right: str, seed: int = 1) -> Cell:
    """One cell, from nothing to talking. Raises EnvironmentFailure where kernel networks cannot be had."""
    network = topology(left, right)
    with KernelMeeting(network, seed) as meeting:
        meeting.meet()
        meeting.wait(lambda: meeting.selected() or meeting.failed())
        heard = meeting.talk() if meeting.selected() else False
    return judged(left, right, expectation(network), meeting, heard, tuple(meeting.trace), simulated=False)


class KernelMeeting(Introductions):
    """Alice and Bob on a topology, while it stands. Their trace is whole when it has ended."""

    def __init__(self, network: Topology, seed: int = 1) -> None:
        super().__init__()
        self.trace: list[Entry] = []
        self._topology = network
        self._seed = seed
        self._seats: dict[str, _Seat] = {}
        self._changed = threading.Condition()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="iceway-grid-")))
            authority = DevCa.open(directory)
            keys = authority.keystore(**{EDGE: authority.issue(EDGE, [RELAY_NAME])})
            lab = stack.enter_context(KernelLab(self._topology, self._seed))
            stack.callback(self._leave)
            relay = TurnServer(
                relay_config(self._topology), StaticAuthenticator({USER: PASSWORD}), self._rng(EDGE)
            )
            self._seats[EDGE] = _Seat(lab, EDGE, relay, keys, lambda event, now: None)
            self._seats[EDGE].tell(relay.start)
            for name, peer in (ENDS, ENDS[::-1]):
                agent = Agent(f"{name}/ice", AgentConfig(controlling=name == ENDS[0]), self._rng(name))
                end = self.ends[name] = End(name, peer, agent)
                self._seats[name] = _Seat(lab, name, agent, keys, partial(self._on_event, end))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def trickle(self) -> None:
        """Both gather, and tell each other what they find as they find it."""
        self._introduce_all()
        self._gather()

    def meet(self) -> None:
        """Both gather; when the last has settled, both are told of the other, and go on trickling."""
        self._gather()
        self.wait(self.settled)
        self.told_at = time.monotonic()
        self._introduce_all()

    def talk(self) -> bool:
        """Each says something on the path it has; whether each heard exactly what the other said."""
        for end in self.ends.values():
            self._seats[end.name].tell(partial(end.agent.send, end.greeting))
        self.wait(lambda: all(end.heard for end in self.ends.values()), _ANSWER)
        return all(end.heard == [self.ends[end.peer].greeting] for end in self.ends.values())

    def wait(self, until: Callable[[], bool], limit: float = PATIENCE) -> bool:
        """Let the two go on until something is so; whether it is."""
        with self._changed:
            return self._changed.wait_for(until, limit)

    # --- what happens, in the thread of whom it happens to ------------------------------------------------
    def _on_event(self, end: End, event: object, now: float) -> None:
        with self._changed:
            self.happened(end, event, now)
            self._changed.notify_all()

    def _gather(self) -> None:
        for end in self.ends.values():
            ips, asked = self._topology.host(end.name).ips, servers(self._topology, end.name)
            self._seats[end.name].tell(partial(end.agent.gather, ips, asked))

    def _introduce_all(self) -> None:
        for end in self.ends.values():
            self._seats[end.name].tell(lambda now, end=end: self.introduce(end))  # type: ignore[misc]

    def _later(self, host: str, command: Callable[[Agent, float], object]) -> None:
        self._seats[host].tell(partial(command, self.ends[host].agent))

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self._seed}:{name}")

    def _leave(self) -> None:
        together = merge(*[seat.leave() for seat in self._seats.values()])
        start = together[0].at if together else 0.0
        self.trace = [entry._replace(at=entry.at - start) for entry in together]


class _Seat:
    """One host: a thread in its namespace that drives one machine."""

    def __init__(
        self,
        lab: KernelLab,
        host: str,
        machine: Machine,
        keys: KeyStore,
        on_event: Callable[[object, float], None],
    ) -> None:
        self._host, self._lab = host, lab
        self._recorder = Recorder(keep=True)
        self._driver = Driver(machine, node=host, keystore=keys, recorder=self._recorder, on_event=on_event)
        self._loop = asyncio.new_event_loop()
        self._ready, self._left = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._live, name=host, daemon=True)
        self._thread.start()
        if not self._ready.wait(PATIENCE):
            raise EnvironmentFailure(f"{host} does not come up within {PATIENCE:.0f} s")

    def tell(self, command: Callable[[float], object]) -> None:
        """Have the machine told in its own thread."""
        self._loop.call_soon_threadsafe(lambda: self._driver.call(command))

    def leave(self) -> list[Entry]:
        """End it; what its machine recorded."""
        self._loop.call_soon_threadsafe(self._left.set)
        self._thread.join(PATIENCE)
        return self._recorder.entries

    def _live(self) -> None:
        with self._lab.enter(self._host), asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._drive())

    async def _drive(self) -> None:
        async with self._driver:
            self._ready.set()
            await self._left.wait()
