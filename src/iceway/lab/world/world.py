"""The virtual world: a topology in which machines run, in a time that only passes when somebody asks.

    world = World(topologies.reflexive(), seed=7)
    world.run("alice", machine)
    world.call("alice", lambda now: machine.dial("bob", now))
    assert world.run_until(lambda: machine.connected, timeout=10)

Chance comes from one generator a node, seeded by the world's seed and the node's name; nothing depends on
hash order or on the real clock. So the same seed gives the same trace, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TypeVar

from iceway.core.errors import UsageError
from iceway.core.machine import Machine
from iceway.lab.topology import Firewall, Interface, Link, Topology
from iceway.lab.world.clock import Clock
from iceway.lab.world.firewall import FirewallState
from iceway.lab.world.host import HostNode
from iceway.lab.world.names import Names
from iceway.lab.world.network import Network
from iceway.lab.world.program import Program
from iceway.lab.world.router import RouterNode
from iceway.lab.world.tcp import TcpStack
from iceway.lab.world.tls import AUTHORITY, Certificate, KeyStore
from iceway.trace.entry import Entry
from iceway.trace.records import Record

WALL_START = 1_800_000_000.0
"""Unix time at the start of every world: 15 January 2027."""

T = TypeVar("T")


class World:
    """A running topology. `trace` holds the entries of all machines, NATs and firewalls, in order."""

    def __init__(self, topology: Topology, seed: int = 0) -> None:
        self.topology = topology
        self.seed = seed
        self.clock = Clock()
        self.trace: list[Entry] = []
        self.programs: dict[str, Program] = {}
        self.names = Names(topology)
        self._rngs: dict[str, Random] = {}
        self._network = Network(topology, self.clock, self.record, self.rng)
        self._stacks = {name: TcpStack(host) for name, host in self._network.hosts.items()}

    @property
    def now(self) -> float:
        return self.clock.now

    def rng(self, name: str) -> Random:
        """The chance of one node: always the same generator for one name."""
        if name not in self._rngs:
            self._rngs[name] = Random(f"{self.seed}:{name}")
        return self._rngs[name]

    # --- programs ---------------------------------------------------------------------------------------
    def run(
        self,
        host: str,
        machine: Machine,
        *,
        name: str | None = None,
        identities: Mapping[str, Certificate] | None = None,
        trusted: tuple[str, ...] = (AUTHORITY,),
        wall_skew: float = 0.0,
        on_event: Callable[[object, float], None] | None = None,
    ) -> Program:
        """Start a machine on a host. `name` (the host's, if none) is its node in the trace.

        `identities` are the certificates that its `TlsServer` and `TlsClient` name; `trusted` are the
        authorities it believes; its wall clock is `wall_skew` seconds ahead.
        """
        name = name or host
        if name in self.programs and self.programs[name].alive:
            raise UsageError(f"{name} runs already; kill it first, or give this program another name")
        program = Program(
            self,
            self._host(host),
            self._stacks[host],
            machine,
            name,
            KeyStore(dict(identities or {}), trusted),
            WALL_START + wall_skew,
            on_event,
        )
        self.programs[name] = program
        program.start()
        return program

    def call(self, name: str, command: Callable[[float], T]) -> T:
        """Run a command of a program's machine (`lambda now: machine.dial(…, now)`) and what it causes."""
        return self._program(name).call(command)

    def kill(self, name: str) -> None:
        """End a program as SIGKILL does: its kernel closes its sockets. `run` may start another."""
        self._program(name).stop()

    def set_clock(self, name: str, wall_skew: float) -> None:
        """Let a program's wall clock jump."""
        self._program(name).set_clock(WALL_START + wall_skew)

    def sockets(self, host: str) -> tuple[str, ...]:
        """What is open on a host: UDP sockets, listeners, connections, whoever opened them."""
        udp = (f"udp {local}" for local in self._host(host).udp_sockets)
        return (*udp, *self._stacks[host].sockets)

    # --- time -------------------------------------------------------------------------------------------
    def run_until(self, predicate: Callable[[], object], timeout: float = 60.0) -> bool:
        """Let time pass until the predicate holds: True; or for `timeout` virtual seconds: False."""
        deadline = self.clock.now + timeout
        while not predicate():
            following = self.clock.next_at()
            if following is None or following > deadline:
                self.clock.now = deadline
                return bool(predicate())
            self.clock.step()
        return True

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self.run_until(lambda: False, seconds)

    # --- mishaps ----------------------------------------------------------------------------------------
    def unplug(self, node: str) -> None:
        """Cut a host or router off: nothing leaves it or reaches it, and nobody is told."""
        self._node(node).unplugged = True

    def plug(self, node: str) -> None:
        self._node(node).unplugged = False

    def move(self, host: str, *interfaces: Interface, gateway: str | None = None) -> None:
        """Carry a host to other networks, or give it another address; what was bound to the old ones is dead.

        Nobody is told but the programs on it.
        """
        node = self._host(host)
        for interface in interfaces:
            owner = self._network.wires[self.topology.segment(interface.segment).name].owners.get(
                interface.ip
            )
            if owner not in (None, node):
                raise UsageError(f"{interface.ip} belongs to {owner.name}")
        node.move(interfaces, gateway)
        for program in list(self.programs.values()):
            if program.runs_on(node):
                program.addresses_changed()

    def reboot(self, router: str) -> None:
        """Let a router forget all mappings and filters."""
        self._router(router).forget()

    def set_firewall(self, router: str, firewall: Firewall) -> None:
        self._router(router).firewall = FirewallState(firewall)

    def set_link(self, segment: str, link: Link) -> None:
        self._network.wires[self.topology.segment(segment).name].crossing.link = link

    def record(self, node: str, record: Record) -> None:
        """Stamp a record and add it to the trace."""
        self.trace.append(Entry(len(self.trace) + 1, self.clock.now, node, record))

    # --- helpers ----------------------------------------------------------------------------------------
    def _program(self, name: str) -> Program:
        try:
            return self.programs[name]
        except KeyError:
            running = ", ".join(self.programs) or "none"
            raise UsageError(f"no program is called {name!r}; running: {running}") from None

    def _host(self, name: str) -> HostNode:
        return self._network.hosts[self.topology.host(name).name]

    def _router(self, name: str) -> RouterNode:
        return self._network.routers[self.topology.router(name).name]

    def _node(self, name: str) -> HostNode | RouterNode:
        return self._network.hosts.get(name) or self._router(name)
