"""A small network in virtual time for SIP tests: machines with an IP each, UDP that may lose, TCP that cuts.

Certificates are names: `certificates[identity]` lists the DNS names that the identity proves.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from iceway.core.address import Address
from iceway.core.machine import (
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
    TlsPeer,
    TlsServer,
    UdpOpened,
)
from iceway.trace.records import Record, SipSent

E = TypeVar("E")


@dataclass
class Node:
    name: str
    machine: Machine
    ip: str
    events: list[object] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    on_event: Callable[[object, float], None] | None = None

    def seen(self, kind: type[E]) -> list[E]:
        """The events and records of one type, in order."""
        return [item for item in [*self.events, *self.records] if isinstance(item, kind)]

    def said(self) -> list[str]:
        """Start lines sent, without the URI: `INVITE`, `180`."""
        return [_short(record.start_line) for record in self.seen(SipSent)]


class Net:
    def __init__(self, latency: float = 0.01) -> None:
        self.now = 100.0
        self.latency = latency
        self.nodes: dict[str, Node] = {}
        self.loses: Callable[[SendDatagram], bool] = lambda packet: False
        self.chunk: int | None = None
        self.zone: dict[tuple[str, str], list[Answer]] = {}
        self.certificates: dict[str, tuple[str, ...]] = {}
        self.unreachable: set[Address] = set()
        self.silent: set[str] = set()  # streams whose bytes go nowhere
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._udp: dict[Address, Node] = {}
        self._listeners: dict[Address, tuple[Node, str, TlsServer | None]] = {}
        self._streams: dict[tuple[str, str], tuple[Node, str]] = {}  # (node, stream) → far end
        self._ports = count(40000)
        self._accepted = count(1)

    def add(self, name: str, machine: Machine, ip: str) -> Node:
        node = self.nodes[name] = Node(name, machine, ip)
        machine.handle_input(ClockSet(1_700_000_000.0 - self.now), self.now)
        self.settle()
        return node

    # --- running --------------------------------------------------------------------------------------
    def run(self, seconds: float) -> None:
        """Let time pass, everything in its turn."""
        end = self.now + seconds
        self.settle()
        while (at := self._next()) is not None and at <= end:
            self.now = max(self.now, at)
            while self._heap and self._heap[0][0] <= self.now:
                heapq.heappop(self._heap)[2]()
                self.settle()
            for node in self.nodes.values():
                due = node.machine.poll_timeout()
                if due is not None and due <= self.now:
                    node.machine.handle_timeout(self.now)
                    self.settle()
        self.now = end

    def _next(self) -> float | None:
        instants = [self._heap[0][0]] if self._heap else []
        instants += [at for node in self.nodes.values() if (at := node.machine.poll_timeout()) is not None]
        return min(instants) if instants else None

    def settle(self) -> None:
        """Carry out everything the machines ask for now."""
        quiet = False
        while not quiet:
            quiet = True
            for node in list(self.nodes.values()):
                while (output := node.machine.poll_output()) is not None:
                    quiet = False
                    self._carry_out(node, output)

    def _later(self, action: Callable[[], None], delay: float | None = None) -> None:
        at = self.now + (self.latency if delay is None else delay)
        heapq.heappush(self._heap, (at, next(self._order), action))

    # --- requests -------------------------------------------------------------------------------------
    def _carry_out(self, node: Node, output: object) -> None:
        tell = node.machine.handle_input
        match output:
            case OpenUdp(key, local):
                address = self._bound(node, local)
                self._udp[address] = node
                self._later(lambda: tell(UdpOpened(key, address), self.now), 0)
            case CloseUdp(local):
                self._udp.pop(local, None)
            case SendDatagram(local, remote, data):
                if not self.loses(output):
                    self._later(lambda: self._datagram(local, remote, data))
            case Listen(key, local, tls):
                address = self._bound(node, local)
                self._listeners[address] = (node, key, tls)
                self._later(lambda: tell(ListenerOpened(key, address), self.now), 0)
            case CloseListener(key):
                self._listeners = {a: entry for a, entry in self._listeners.items() if entry[1] != key}
            case Connect():
                self._connect(node, output)
            case SendStream(stream, data):
                far = self._streams.get((node.name, stream))
                if far is not None and stream not in self.silent:
                    size = self.chunk or len(data)
                    for at in range(0, len(data), size):
                        self._later(lambda piece=data[at : at + size]: self._stream(far, piece))
            case CloseStream(stream):
                far = self._streams.pop((node.name, stream), None)
                if far is not None:
                    self._later(lambda: self._closed(far))
            case Resolve(key, name, record_type):
                answers = tuple(self.zone.get((name, record_type), ()))
                self._later(lambda: tell(Resolved(key, name, record_type, answers), self.now))
            case Record():
                node.records.append(output)
            case _:
                node.events.append(output)
                if node.on_event is not None:
                    node.on_event(output, self.now)

    def _bound(self, node: Node, local: Address) -> Address:
        return Address(node.ip, local.port or next(self._ports))

    def _datagram(self, source: Address, destination: Address, data: bytes) -> None:
        if (node := self._udp.get(destination)) is not None:
            node.machine.handle_input(DatagramReceived(destination, source, data), self.now)

    def _connect(self, node: Node, wish: Connect) -> None:
        tell = node.machine.handle_input
        if wish.remote in self.unreachable:
            return
        entry = self._listeners.get(wish.remote)
        if entry is None:
            self._later(lambda: tell(StreamClosed(wish.stream, "connection refused"), self.now))
            return
        host, key, tls = entry
        local = Address(node.ip, next(self._ports))
        peer = TlsPeer()
        if wish.tls is not None:
            names = self.certificates.get(tls.identity, ()) if tls else ()
            if wish.tls.server_name not in names:
                reason = f"certificate is for {', '.join(names)}, not {wish.tls.server_name}"
                self._later(lambda: tell(StreamClosed(wish.stream, reason), self.now))
                return
            peer = TlsPeer(names)
        client = TlsPeer(self.certificates.get(wish.tls.identity or "", ()) if wish.tls else ())
        far = f"{key}/{next(self._accepted)}"

        def established() -> None:
            self._streams[node.name, wish.stream] = (host, far)
            self._streams[host.name, far] = (node, wish.stream)
            host.machine.handle_input(StreamAccepted(far, key, wish.remote, local, client), self.now)
            tell(StreamConnected(wish.stream, local, wish.remote, peer), self.now)

        self._later(established, 2 * self.latency)

    def _stream(self, far: tuple[Node, str], data: bytes) -> None:
        node, stream = far
        if (node.name, stream) in self._streams:
            node.machine.handle_input(StreamReceived(stream, data), self.now)

    def _closed(self, far: tuple[Node, str]) -> None:
        node, stream = far
        if self._streams.pop((node.name, stream), None) is not None:
            node.machine.handle_input(StreamClosed(stream, "closed by peer"), self.now)

    def break_streams(self, name: str) -> None:
        """Every connection of a node dies, noticed by both ends."""
        for (owner, stream), (far, far_stream) in list(self._streams.items()):
            if name in (owner, far.name) and (owner, stream) in self._streams:
                node = self.nodes[owner]
                for end, what in ((node, stream), (far, far_stream)):
                    self._streams.pop((end.name, what), None)
                    end.machine.handle_input(StreamClosed(what, "connection reset"), self.now)
        self.settle()


def _short(start_line: str) -> str:
    words = start_line.split(" ")
    return words[1] if words[0].startswith("SIP/") else words[0]
