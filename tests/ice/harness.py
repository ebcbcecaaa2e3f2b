"""A small virtual network for ICE agents: latency, loss, NATs, a real TURN server, all in virtual time.

`Network` drives machines as the contract of `core/machine.py` says. Hosts live in a LAN (or, with `lan=None`, on the
internet); a `Nat` joins a LAN to the internet. There are no routers and no hairpins. Same seed, same run.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from iceway.core.address import Address, Transport
from iceway.core.machine import (
    AddressesChanged,
    Answer,
    ClockSet,
    CloseListener,
    CloseStream,
    CloseUdp,
    Connect,
    DatagramReceived,
    Listen,
    ListenerOpened,
    Machine,
    OpenUdp,
    Resolve,
    Resolved,
    SendDatagram,
    SendStream,
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamReceived,
    UdpFailed,
    UdpOpened,
)
from iceway.ice.agent import Agent
from iceway.ice.candidate import parse, serialize
from iceway.ice.config import AgentConfig, IceServer, ServerKind
from iceway.ice.events import CandidateFound, DataReceived, GatheringDone
from iceway.trace.records import Record
from iceway.turn.auth import Authenticator, StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import TurnServer

R = TypeVar("R")

INDEPENDENT, ADDRESS, PORT = "endpoint-independent", "address-dependent", "address-and-port-dependent"
EDGE = "198.51.100.2"


@dataclass
class Nat:
    """RFC 4787 mapping and filtering. `blocks_udp`: a firewall that lets TCP through only."""

    ip: str
    mapping: str = INDEPENDENT
    filtering: str = PORT
    blocks_udp: bool = False
    timeout: float = 120.0
    ports: count = field(default_factory=lambda: count(40000))
    mapped: dict[tuple, list] = field(default_factory=dict)

    def outgoing(self, source: Address, target: Address, now: float) -> Address | None:
        if self.blocks_udp:
            return None
        scope = {INDEPENDENT: None, ADDRESS: target.ip, PORT: target}[self.mapping]
        entry = self.mapped.get((source, scope))
        if entry is None or entry[2] < now:
            entry = self.mapped[source, scope] = [Address(self.ip, next(self.ports)), {}, now]
        entry[1][target] = entry[1][target.ip] = now + self.timeout
        entry[2] = now + self.timeout
        return entry[0]

    def incoming(self, source: Address, target: Address, now: float) -> Address | None:
        for (inside, _), (outside, allowed, until) in self.mapped.items():
            if outside == target and until >= now:
                key = {INDEPENDENT: None, ADDRESS: source.ip, PORT: source}[self.filtering]
                if key is None or allowed.get(key, -1) >= now:
                    return inside
        return None


@dataclass
class Host:
    """One machine and where it lives. `ips` maps each address to its LAN, None for the internet."""

    name: str
    machine: Machine
    ips: dict[str, str | None]
    delay: float
    sockets: dict[str, Address] = field(default_factory=dict)
    ports: count = field(default_factory=lambda: count(50000))
    events: list[object] = field(default_factory=list)
    alarm: float | None = None


class Network:
    def __init__(self, seed: int = 1, *, jitter: float = 0.0, loss: float = 0.0) -> None:
        self.now = 1000.0
        self.rng = random.Random(f"{seed}:network")
        self.seed = seed
        self.jitter = jitter
        self.loss = loss
        self.renominates = False  # whether descriptions say so
        self.hosts: list[Host] = []
        self.nats: dict[str, Nat] = {}
        self.zone: dict[tuple[str, str], str] = {}
        self.log: list[tuple[float, str, Record]] = []
        self.dead: set[str] = set()
        self.drop: Callable[[Address, Address, bytes], bool] = lambda source, target, data: False
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = count()
        self._streams: dict[tuple[str, str], tuple[Host, str]] = {}
        self._listeners: dict[Address, tuple[Host, str]] = {}
        self._accepted = count(1)

    # --- building ----------------------------------------------------------------------------------------
    def add(self, name: str, machine: Machine, ips: dict[str, str | None], delay: float = 0.01) -> Host:
        host = Host(name, machine, ips, delay)
        self.hosts.append(host)
        return host

    def agent(
        self,
        name: str,
        ips: dict[str, str | None],
        *,
        controlling: bool,
        delay: float = 0.01,
        **config: object,
    ) -> Peer:
        agent = Agent(
            f"{name}/ice",
            AgentConfig(controlling=controlling, **config),
            random.Random(f"{self.seed}:{name}"),
        )
        return Peer(self, self.add(name, agent, ips, delay), agent)

    def edge(
        self,
        ip: str = EDGE,
        users: dict[str, str] | None = None,
        authenticator: Authenticator | None = None,
        also: tuple[str, ...] = (),
        **config: object,
    ) -> TurnServer:
        listeners = tuple(
            TurnListener(transport, Address(at, port))
            for at in (ip, *also)
            for transport, port in ((Transport.UDP, 3478), (Transport.TCP, 443))
        )
        server = TurnServer(
            TurnServerConfig("example.test", listeners, ip, **config),
            authenticator or StaticAuthenticator(users or {"user": "secret"}),
            random.Random(f"{self.seed}:edge"),
        )
        host = self.add("edge", server, dict.fromkeys((ip, *also)))
        server.handle_input(ClockSet(1_700_000_000.0), self.now)
        server.start(self.now)
        self.drain(host)
        return server

    # --- driving -----------------------------------------------------------------------------------------
    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (when, next(self._sequence), action))

    def run(self, seconds: float = 5.0, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True as soon as `until` holds."""
        end = self.now + seconds
        while True:
            if until is not None and until():
                return True
            if not self._heap or self._heap[0][0] > end:
                self.now = end
                return False
            when, _, action = heapq.heappop(self._heap)
            self.now = max(self.now, when)
            action()

    def give(self, host: Host, event: object) -> None:
        if host.name not in self.dead:
            host.machine.handle_input(event, self.now)
            self.drain(host)

    def drain(self, host: Host) -> None:
        while (output := host.machine.poll_output()) is not None:
            self._carry_out(host, output)
        at = host.machine.poll_timeout()
        if at is not None and at != host.alarm:
            host.alarm = at
            self.at(max(at, self.now), lambda: self._ring(host, at))

    def _ring(self, host: Host, at: float) -> None:
        if host.alarm == at:
            host.alarm = None
            if host.name not in self.dead:
                host.machine.handle_timeout(self.now)
                self.drain(host)

    def _carry_out(self, host: Host, output: object) -> None:
        match output:
            case Record():
                self.log.append((self.now, host.name, output))
            case OpenUdp(key=key, local=local):
                if local.ip in host.ips:
                    opened = Address(local.ip, local.port or next(host.ports))
                    host.sockets[key] = opened
                    self._later(host, UdpOpened(key, opened))
                else:
                    self._later(host, UdpFailed(key, f"{local.ip} is not here"))
            case CloseUdp(local=local):
                host.sockets = {key: at for key, at in host.sockets.items() if at != local}
            case SendDatagram(local=local, remote=remote, data=data):
                self._send(host, local, remote, data)
            case Resolve(key=key, name=name, record_type=record_type):
                ip = self.zone.get((name, record_type))
                answers = (Answer(ip),) if ip else ()
                self.at(self.now + 0.02, lambda: self.give(host, Resolved(key, name, record_type, answers)))
            case Listen(key=key, local=local):
                self._listeners[local] = (host, key)
                self._later(host, ListenerOpened(key, local))
            case CloseListener():
                pass
            case Connect():
                self._connect(host, output)
            case SendStream(stream=stream, data=data):
                far = self._streams.get((host.name, stream))
                if far is not None:
                    self.at(self.now + 0.02, lambda: self._stream(host, stream, data))
            case CloseStream(stream=stream):
                far = self._streams.pop((host.name, stream), None)
                if far is not None:
                    self._streams.pop((far[0].name, far[1]), None)
                    self.at(
                        self.now + 0.02, lambda: self.give(far[0], StreamClosed(far[1], "closed by peer"))
                    )
            case _:
                host.events.append(output)

    def _later(self, host: Host, event: object) -> None:
        self.at(self.now, lambda: self.give(host, event))

    # --- UDP ---------------------------------------------------------------------------------------------
    def _send(self, host: Host, local: Address, remote: Address, data: bytes) -> None:
        here = local.ip in host.ips and local in host.sockets.values()
        if not here or self.drop(local, remote, data):
            return
        lan = host.ips.get(local.ip)
        source = local
        target = self._host_at(remote, lan)
        if target is None and lan is not None:
            seen = self.nats[lan].outgoing(local, remote, self.now) if lan in self.nats else None
            if seen is None:
                return
            source = seen
        if self.rng.random() < self.loss:
            return
        arrival = self.now + host.delay + self.rng.uniform(0, self.jitter)
        self.at(arrival, lambda: self._arrive(lan, source, remote, data))

    def _arrive(self, lan: str | None, source: Address, remote: Address, data: bytes) -> None:
        target = self._host_at(remote, lan) or self._host_at(remote, None)
        if target is None:
            for inside_lan, nat in self.nats.items():
                if nat.ip == remote.ip:
                    inside = nat.incoming(source, remote, self.now)
                    if inside is not None:
                        self._arrive(inside_lan, source, inside, data)
            return
        if remote in target.sockets.values():
            self.at(
                self.now + target.delay, lambda: self.give(target, DatagramReceived(remote, source, data))
            )

    def _host_at(self, address: Address, lan: str | None) -> Host | None:
        for host in self.hosts:
            if address.ip in host.ips and host.ips[address.ip] == lan:
                return host
        return None

    # --- TCP ---------------------------------------------------------------------------------------------
    def _connect(self, host: Host, request: Connect) -> None:
        listener = self._listeners.get(request.remote)
        if listener is None or listener[0].name in self.dead:
            refused = StreamClosed(request.stream, "connection refused")
            self.at(self.now + 0.04, lambda: self.give(host, refused))
            return
        server, key = listener
        ip, lan = next(iter(host.ips.items()))
        local = Address(ip, next(host.ports))
        seen = Address(self.nats[lan].ip, local.port) if lan is not None else local
        name = f"{key}/{next(self._accepted)}"
        self._streams[host.name, request.stream] = (server, name)
        self._streams[server.name, name] = (host, request.stream)
        accepted = StreamAccepted(name, key, request.remote, seen)
        connected = StreamConnected(request.stream, local, request.remote)
        self.at(self.now + 0.02, lambda: self.give(server, accepted))
        self.at(self.now + 0.04, lambda: self.give(host, connected))

    def _stream(self, host: Host, stream: str, data: bytes) -> None:
        far = self._streams.get((host.name, stream))
        if far is not None:
            self.give(far[0], StreamReceived(far[1], data))


@dataclass
class Peer:
    """An agent with its host, as tests talk to it."""

    network: Network
    host: Host
    agent: Agent
    told: int = 0

    @property
    def now(self) -> float:
        return self.network.now

    def do(self, command: Callable[[Agent, float], R]) -> R:
        result = command(self.agent, self.now)
        self.network.drain(self.host)
        return result

    def gather(self, *servers: IceServer) -> None:
        self.do(lambda agent, now: agent.gather(tuple(self.host.ips), servers, now))

    def moves(self, ips: dict[str, str | None]) -> None:
        """Other interfaces than before."""
        self.host.ips = ips
        self.network.give(self.host, AddressesChanged(tuple(ips)))

    def hears(self, data: bytes, source: Address, local: Address) -> None:
        self.network.give(self.host, DatagramReceived(local, source, data))

    def says(self, data: bytes) -> bool:
        return self.do(lambda agent, now: agent.send(data, now))

    def events(self, kind: type[R]) -> list[R]:
        return [event for event in self.host.events if isinstance(event, kind)]

    def records(self, kind: type[R]) -> list[R]:
        return [r for _, name, r in self.network.log if name == self.host.name and isinstance(r, kind)]

    @property
    def heard(self) -> list[bytes]:
        return [event.data for event in self.events(DataReceived)]

    @property
    def sockets(self) -> list[Address]:
        return list(self.host.sockets.values())

    # --- signalling --------------------------------------------------------------------------------------
    def meets(self, other: Peer) -> None:
        """Our credentials, and every candidate known so far, reach the other side."""
        ufrag, pwd = self.agent.local_ufrag, self.agent.local_pwd
        again = self.network.renominates and self.agent.renomination
        other.do(lambda agent, now: agent.set_remote(ufrag, pwd, now, renomination=again))
        self.tells(other)

    def tells(self, other: Peer) -> None:
        """Candidates found since the last time, and the end of them if they are all."""
        found = self.events(CandidateFound)
        for event in found[self.told :]:
            text = serialize(event.candidate)
            other.do(lambda agent, now, text=text: agent.add_remote_candidate(parse(text), now))
        self.told = len(found)
        if self.events(GatheringDone):
            other.do(lambda agent, now: agent.end_of_remote_candidates(now))


def turn(
    ip: str = EDGE, transport: Transport = Transport.UDP, username: str = "user", password: str = "secret"
) -> IceServer:
    port = 3478 if transport is Transport.UDP else 443
    return IceServer(
        ServerKind.TURN,
        port=port,
        transport=transport,
        username=username,
        password=password,
        address=Address(ip, port),
    )


def stun_server(ip: str = EDGE) -> IceServer:
    return IceServer(ServerKind.STUN, address=Address(ip, 3478))


def exchange(alice: Peer, bob: Peer) -> None:
    """Offer and answer, each with the candidates known by now."""
    alice.meets(bob)
    bob.meets(alice)


def trickle(
    network: Network, alice: Peer, bob: Peer, seconds: float, step: float = 0.05, delay: float = 0.05
) -> None:
    """Both tell new candidates as they find them, with the delay of signalling."""
    for number in range(int(seconds / step)):
        when = network.now + number * step + delay
        network.at(when, lambda: alice.tells(bob))
        network.at(when, lambda: bob.tells(alice))
    network.run(seconds + delay)


def mirrored(alice: Peer, bob: Peer) -> bool:
    """Both ends selected the same path, each from its side."""
    ours, theirs = alice.agent.selected, bob.agent.selected
    return (
        ours is not None
        and theirs is not None
        and ours.local.address == theirs.remote.address
        and ours.remote.address == theirs.local.address
    )


def at_home(**config: object) -> tuple[Network, Peer]:
    """Alice behind a NAT, with an edge on the internet."""
    network = Network()
    network.edge()
    network.nats["home"] = Nat("198.51.100.10")
    return network, network.agent("alice", {"192.168.1.10": "home"}, controlling=True, **config)


def kinds(peer: Peer) -> list[str]:
    """What they found, as words."""
    return [str(candidate).rpartition(" ")[0] for candidate in peer.agent.local_candidates]
