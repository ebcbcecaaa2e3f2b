"""ICE over TCP (RFC 6544): passive candidates listen, active ones connect, "so" ones do both from one port.

A base is the listener's address (passive and so), or the interface with the discard port (active, RFC 6544
§4.1). A connection is the way from a base to one remote address, with frames after RFC 4571: it is opened by the
first check that an active or so candidate sends there, or by the peer, and its end ends the pair. Whoever
connects to us and proves nothing within a few seconds is cut off.

Two so candidates connect to each other from their listeners' ports. Each SYN opens its own NAT for the other's,
so one arrives at the latest when TCP repeats it. It finds the other end connecting, and both are one connection;
or the listener, if that end has given up or not begun yet, and then what it accepts is the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from iceway.core.address import Address, Transport, site_of
from iceway.core.machine import (
    CloseListener,
    CloseStream,
    Connect,
    Input,
    Listen,
    ListenerFailed,
    ListenerOpened,
    SendStream,
    StreamAccepted,
    StreamClosed,
    StreamCongested,
    StreamConnected,
    StreamReceived,
    earliest,
)
from iceway.core.timers import Timers
from iceway.ice.candidate import Candidate
from iceway.ice.config import AgentConfig, IceServer
from iceway.ice.making import Maker
from iceway.ice.servers import HostSocket
from iceway.ice.tcp_outside import Outside
from iceway.trace import records
from iceway.wire import stun

if TYPE_CHECKING:
    from random import Random

DISCARD = 9  # RFC 6544 §4.5: the port of those who never listen
MAX_ACCEPTED = 16
MAX_ACCEPTED_PER_SITE = 4  # so that one stranger cannot take the places of all peers
MAX_CONNECTING = 32
PROVE_WITHIN = 10.0
CONNECT_WITHIN = 10.0
MAX_WAITING = 8
HEADER = 2
MAX_FRAME = 0xFFFF


class Owner(Protocol):
    """The agent, as its TCP side sees it."""

    def emit(self, output: object) -> None: ...

    def tcp_found(self, candidate: Candidate, now: float) -> None: ...

    def relayed_data(self, base: Address, peer: Address, data: bytes, now: float) -> None: ...

    def connection_lost(self, base: Address, peer: Address, reason: str, now: float) -> None: ...

    def base_lost(self, base: Address, reason: str, now: float) -> None: ...

    def knows(self, base: Address, peer: Address) -> bool: ...

    def is_taken(self, base: Address) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Base:
    """What a candidate of this `tcptype` stands on; `socket` is the UDP socket of the same interface."""

    socket: HostSocket
    tcp_type: str


@dataclass(slots=True, eq=False)
class _Connection:
    """`waiting` is what was said before it was up."""

    stream: str
    base: Address
    remote: Address
    accepted: bool
    up: bool
    framer: Framer
    congested: bool = False
    waiting: list[bytes] = field(default_factory=list)


class Framer:
    """RFC 4571 §2: two bytes of length before each packet. No bytes are wrong, so nothing is ever refused."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets completed by these bytes."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= HEADER:
            end = at + HEADER + int.from_bytes(buffer[at : at + HEADER], "big")
            if end > len(buffer):
                break
            yield bytes(buffer[at + HEADER : end])
            at = end
        del buffer[:at]


def frame(packet: bytes) -> bytes:
    return len(packet).to_bytes(HEADER, "big") + packet


class TcpWays:
    """Listeners and connections of one agent. Its outputs leave through the owner's queue."""

    def __init__(self, agent: str, config: AgentConfig, maker: Maker, rng: Random, owner: Owner) -> None:
        self._agent = agent
        self._config = config
        self._maker = maker
        self._owner = owner
        self._timers = Timers()
        self._bases: dict[Address, _Base] = {}
        self._listeners: dict[str, Address | None] = {}
        self._opening: dict[str, tuple[_Base, int]] = {}
        self._streams: dict[str, _Connection] = {}
        self._ways: dict[tuple[Address, Address], _Connection] = {}
        self._count = 0
        self._outside = Outside(agent, config, rng, self)

    # --- questions ---------------------------------------------------------------------------------------
    @property
    def opening(self) -> bool:
        """Whether a listener is still to come, be it only to be closed at once."""
        return None in self._listeners.values()

    @property
    def asking(self) -> bool:
        """Whether a server may still tell us of a candidate."""
        return self._outside.asking

    def is_base(self, base: Address) -> bool:
        return base in self._bases

    def companion(self, base: Address) -> Address | None:
        """The UDP socket of the same interface."""
        known = self._bases.get(base)
        return known.socket.local if known else None

    # --- commands ----------------------------------------------------------------------------------------
    def come(self, socket: HostSocket, now: float) -> None:
        """An interface is there, and has this UDP socket: connect from it, and listen on it."""
        kinds = self._config.tcp_types
        if "active" in kinds and not self._config.lite:
            active = Address(socket.local.ip, DISCARD)
            self._bases[active] = _Base(socket, "active")
            self._owner.tcp_found(self._maker.over_tcp(socket, active, "active"), now)
        first = self._config.ports[0] if self._config.ports else 0
        for kind in kinds:
            if kind == "passive" or (kind == "so" and not self._config.lite):
                self._listen(_Base(socket, kind), first)

    def ask(self, server: IceServer, address: Address, now: float) -> None:
        """A server that may tell us how our listeners' ports look from outside."""
        if server.transport is Transport.TCP:
            self._outside.ask(server, address, now)

    def release(self, keep: tuple[tuple[Address, Address], ...]) -> None:
        """Let go of servers, and of connections that were tried or proved and that no kept way uses.

        They are aborted, so that a restart may connect from the same port again (no TIME-WAIT).
        """
        self._outside.release()
        for way, connection in list(self._ways.items()):
            if way not in keep and self._timers.at(connection.stream) is None:
                self._forget(connection)
                self._owner.emit(CloseStream(connection.stream, abort=True))

    def leave(self, socket: Address, reason: str, now: float) -> None:
        """The interface with this UDP socket is gone."""
        self._opening = {k: v for k, v in self._opening.items() if v[0].socket.local != socket}
        for base in [base for base, known in self._bases.items() if known.socket.local == socket]:
            del self._bases[base]
            self._outside.leave(base)
            for key in [key for key, local in self._listeners.items() if local == base]:
                del self._listeners[key]
                self._owner.emit(CloseListener(key))
            for connection in [c for c in self._streams.values() if c.base == base]:
                self._cut(connection)
            self._owner.base_lost(base, reason, now)

    def send(self, base: Address, remote: Address, data: bytes, now: float) -> None:
        """On the connection there is; a base that is not passive makes one."""
        if len(data) > MAX_FRAME:
            return
        connection = self._ways.get((base, remote))
        if connection is None:
            if self._bases[base].tcp_type != "passive" and len(self._streams) < MAX_CONNECTING:
                self._connect(base, remote, data, now)
        elif not connection.up:
            if len(connection.waiting) < MAX_WAITING:
                connection.waiting.append(data)
        elif not connection.congested or stun.is_stun(data):
            self._owner.emit(SendStream(connection.stream, frame(data)))

    def close(self) -> None:
        for connection in list(self._streams.values()):
            self._cut(connection)
        for key, local in self._listeners.items():
            if local is not None:
                self._owner.emit(CloseListener(key))
        self._listeners = {key: None for key, local in self._listeners.items() if local is None}
        self._outside.release()
        self._opening.clear()
        self._bases.clear()
        self._timers.clear()

    # --- inputs ------------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> bool:
        """False: it is not about TCP candidates."""
        match event:
            case ListenerOpened(key=key, local=local) if key in self._listeners:
                self._listening(key, local, now)
            case ListenerFailed(key=key, reason=reason) if key in self._listeners:
                self._not_listening(key, reason)
            case StreamAccepted():
                self._accept(event, now)
            case StreamConnected(stream=stream) if stream in self._streams:
                self._connected(self._streams[stream])
            case StreamReceived(stream=stream, data=data) if stream in self._streams:
                connection = self._streams[stream]
                for packet in connection.framer.feed(data):
                    self._owner.relayed_data(connection.base, connection.remote, packet, now)
            case StreamCongested(stream=stream, congested=congested) if stream in self._streams:
                self._streams[stream].congested = congested
            case StreamClosed(stream=stream, reason=reason) if stream in self._streams:
                self._lost(self._streams[stream], f"the TCP connection ended: {reason}", now)
            case _:
                return self._outside.handle_input(event, now)
        return True

    def handle_timeout(self, now: float) -> None:
        self._outside.handle_timeout(now)
        for stream in self._timers.due(now):
            connection = self._streams.get(str(stream))
            if connection is None:
                continue
            if not connection.up:
                self._owner.emit(CloseStream(connection.stream, abort=True))
                self._lost(connection, f"no TCP connection after {CONNECT_WITHIN:.0f} s", now)
            elif not self._owner.knows(connection.base, connection.remote):
                self._cut(connection)

    def poll_timeout(self) -> float | None:
        return earliest(self._timers.next_at(), self._outside.poll_timeout())

    # --- what servers tell -------------------------------------------------------------------------------
    def emit(self, output: object) -> None:
        self._owner.emit(output)

    def seen_from_outside(
        self, base: Address, server: IceServer, asked: Address, mapped: Address, now: float
    ) -> None:
        known = self._bases[base]
        found = self._maker.reflexive_over_tcp(
            known.socket, base, known.tcp_type, mapped, asked, server.label
        )
        self._owner.tcp_found(found, now)

    # --- listeners ---------------------------------------------------------------------------------------
    def _listen(self, base: _Base, port: int) -> None:
        self._count += 1
        key = f"{self._agent}/tcp.{self._count}"
        self._listeners[key] = None
        self._opening[key] = (base, port)
        self._owner.emit(Listen(key, Address(base.socket.local.ip, port), shared=True))

    def _listening(self, key: str, local: Address, now: float) -> None:
        waited = self._opening.pop(key, None)
        if waited is None:
            del self._listeners[key]
            self._owner.emit(CloseListener(key))
            return
        base, port = waited
        if self._owner.is_taken(local) or local in self._bases:
            # Bases are told apart by address, so TCP and UDP cannot have the same port.
            del self._listeners[key]
            self._owner.emit(CloseListener(key))
            if port:
                self._next_port(base, port, "every port is taken")
            else:
                self._listen(base, 0)
            return
        self._listeners[key] = local
        self._bases[local] = base
        self._owner.tcp_found(self._maker.over_tcp(base.socket, local, base.tcp_type), now)
        external = self._maker.external_over_tcp(base.socket, local, base.tcp_type)
        if external is not None:
            self._owner.tcp_found(external, now)
        self._outside.come(local, now)

    def _not_listening(self, key: str, reason: str) -> None:
        del self._listeners[key]
        waited = self._opening.pop(key, None)
        if waited is not None:
            self._next_port(*waited, reason)

    def _next_port(self, base: _Base, port: int, reason: str) -> None:
        ports = self._config.ports
        if ports is not None and port < ports[1]:
            self._listen(base, port + 1)
        else:
            self._owner.emit(records.Note("warning", f"no {base.tcp_type} candidate over TCP: {reason}"))

    def _accept(self, event: StreamAccepted, now: float) -> None:
        base = self._listeners.get(event.key)  # None: it crossed the end of its listener.
        accepted = [c.remote for c in self._streams.values() if c.accepted]
        near = sum(site_of(remote.ip) == site_of(event.remote.ip) for remote in accepted)
        full = len(accepted) >= MAX_ACCEPTED or near >= MAX_ACCEPTED_PER_SITE
        known = None if base is None else self._ways.get((base, event.remote))
        if base is None or full or (known is not None and known.up):
            self._owner.emit(CloseStream(event.stream, abort=True))
            return
        if known is not None:
            self._cut(known)  # The peer was faster; what we were about to say goes this way.
        connection = _Connection(event.stream, base, event.remote, accepted=True, up=True, framer=Framer())
        self._add(connection)
        self._timers.arm(event.stream, now + PROVE_WITHIN)
        for packet in known.waiting if known is not None else ():
            self._owner.emit(SendStream(connection.stream, frame(packet)))

    # --- connections -------------------------------------------------------------------------------------
    def _connect(self, base: Address, remote: Address, first: bytes, now: float) -> None:
        self._count += 1
        stream = f"{self._agent}/tcp.{self._count}"
        connection = _Connection(stream, base, remote, accepted=False, up=False, framer=Framer())
        connection.waiting.append(first)
        self._add(connection)
        self._timers.arm(stream, now + CONNECT_WITHIN)
        port = base.port if self._bases[base].tcp_type == "so" else 0
        self._owner.emit(Connect(stream, remote, base.ip, local_port=port))

    def _connected(self, connection: _Connection) -> None:
        connection.up = True
        self._timers.cancel(connection.stream)
        for packet in connection.waiting:
            self._owner.emit(SendStream(connection.stream, frame(packet)))
        connection.waiting.clear()

    def _add(self, connection: _Connection) -> None:
        self._streams[connection.stream] = connection
        self._ways[connection.base, connection.remote] = connection

    def _lost(self, connection: _Connection, reason: str, now: float) -> None:
        self._forget(connection)
        self._owner.connection_lost(connection.base, connection.remote, reason, now)

    def _cut(self, connection: _Connection) -> None:
        self._forget(connection)
        self._owner.emit(CloseStream(connection.stream, abort=not connection.up))

    def _forget(self, connection: _Connection) -> None:
        self._timers.cancel(connection.stream)
        del self._streams[connection.stream]
        del self._ways[connection.base, connection.remote]
