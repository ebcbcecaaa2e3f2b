"""DTLS in the world: connections of datagrams, with the interface of those of TCP.

A connection begins with a round trip more than TLS over TCP would (the server wants its cookie back before it keeps
anything, RFC 6347 §4.2.1), and ends by a message that may get lost like any other. The units of the handshake are
repeated until something comes back; what the program sends is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from iceway.core.address import Address, Transport
from iceway.io.reasons import CLOSED_BY_PEER
from iceway.lab.world.clock import Clock
from iceway.lab.world.host import HostNode
from iceway.lab.world.packet import IP_UDP_HEADERS, Packet
from iceway.lab.world.tls import ClientHello

RECORD = 37  # header, explicit nonce and tag of an AEAD record, in bytes
REPEAT = 1.0  # RFC 6347 §4.2.4.1; doubles
MAX_REPEATS = 4


@dataclass(frozen=True, slots=True)
class Record:
    """`unit` is the program's bytes or a step of the handshake; `cookie` says that the sender's address is true."""

    unit: object
    cookie: bool = False


@dataclass(frozen=True, slots=True)
class HelloVerify:
    """Say hello again, with this cookie."""


@dataclass(frozen=True, slots=True)
class CloseNotify:
    """Nothing more comes."""


class Connection:
    """One association, seen from one end."""

    queued = 0  # nothing waits: what does not fit is lost

    def __init__(self, stack: DtlsStack, local: Address, remote: Address, *, incoming: bool) -> None:
        self.local = local
        self.remote = remote
        self.incoming = incoming
        self.on_established: Callable[[], None] = lambda: None
        self.on_unit: Callable[[object], None] = lambda unit: None
        self.on_closed: Callable[[str], None] = lambda reason: None
        self.on_sent: Callable[[], None] = lambda: None
        self._stack = stack
        self._flight: tuple[object, int] | None = None
        self._cookie = incoming
        self._seen: list[object] = []
        self._over = False

    def start(self) -> None:
        self._stack.clock.after(0.0, self._established)

    def _established(self) -> None:
        if not self._over:
            self.on_established()

    def send(self, unit: object, size: int) -> None:
        if not isinstance(unit, bytes):
            self._flight = unit, size
            self._stack.clock.after(REPEAT, partial(self._repeat, unit, 1))
        self._transmit(unit, size)

    def receive(self, unit: object) -> None:
        if isinstance(unit, HelloVerify):
            if not self._cookie and self._flight is not None:
                self._cookie = True
                self._transmit(*self._flight)
        elif isinstance(unit, CloseNotify):
            self._end(CLOSED_BY_PEER)
        elif isinstance(unit, bytes):
            self.on_unit(unit)
        elif unit in self._seen:
            if self._flight is not None:
                self._transmit(*self._flight)  # Our answer to it was lost.
        else:
            self._seen.append(unit)
            self.on_unit(unit)

    def close(self, reason: str) -> None:
        if not self._over:
            self._transmit(CloseNotify(), 0)
        self._end(reason)

    def abort(self, reason: str) -> None:
        self._end(reason)

    def _repeat(self, unit: object, times: int) -> None:
        waiting = self._flight is not None and self._flight[0] is unit and not self._over
        if waiting and times <= MAX_REPEATS and self._unanswered():
            assert self._flight is not None
            self._transmit(*self._flight)
            self._stack.clock.after(REPEAT * 2**times, partial(self._repeat, unit, times + 1))

    def _unanswered(self) -> bool:
        """A client's hello until the server's came; a server's until the client finished."""
        return len(self._seen) < (2 if self.incoming else 1)

    def _transmit(self, unit: object, size: int) -> None:
        self._stack.transmit(self, Record(unit, self._cookie), size)

    def _end(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._stack.forget(self)
            self._stack.clock.after(0.0, partial(self.on_closed, reason))


class DtlsStack:
    """All associations of one program."""

    def __init__(self, host: HostNode, clock: Clock) -> None:
        self.clock = clock
        self._host = host
        self._listeners: dict[Address, Callable[[Connection], None]] = {}
        self._connections: dict[tuple[Address, Address], Connection] = {}

    def listen(self, local: Address, on_connection: Callable[[Connection], None]) -> Address:
        """Raises BindError. `on_connection` gets every association whose client showed its cookie."""
        bound = self._host.bind_udp(local, None, self._receive)
        self._listeners[bound] = on_connection
        return bound

    def close_listener(self, local: Address) -> None:
        if self._listeners.pop(local, None) is not None and not self._used(local):
            self._host.close_udp(local)

    def connect(self, local_ip: str | None, remote: Address) -> Connection | None:
        """Not started yet; None without a route. Raises BindError."""
        source = self._host.source_for(Address(local_ip or "0.0.0.0", 0), remote.ip)
        if source is None:
            return None
        local = self._host.bind_udp(source, None, self._receive)
        connection = self._connections[local, remote] = Connection(self, local, remote, incoming=False)
        return connection

    def transmit(self, connection: Connection, record: Record, size: int) -> None:
        self._send(connection.local, connection.remote, record, size)

    def forget(self, connection: Connection) -> None:
        self._connections.pop((connection.local, connection.remote), None)
        if connection.local not in self._listeners and not self._used(connection.local):
            self._host.close_udp(connection.local)

    def _send(self, local: Address, remote: Address, record: Record, size: int) -> None:
        source = self._host.source_for(local, remote.ip)
        if source is not None:
            self._host.send(Packet(Transport.UDP, source, remote, record, size + RECORD + IP_UDP_HEADERS))

    def _used(self, local: Address) -> bool:
        return any(known == local for known, _ in self._connections)

    def _receive(self, local: Address, remote: Address, record: object) -> None:
        if not isinstance(record, Record):
            return
        connection = self._connections.get((local, remote))
        welcome = self._listeners.get(local)
        if connection is None and welcome is not None and isinstance(record.unit, ClientHello):
            if not record.cookie:
                self._send(local, remote, Record(HelloVerify()), 0)
                return
            connection = self._connections[local, remote] = Connection(self, local, remote, incoming=True)
            welcome(connection)
            connection.on_established()
        if connection is not None:
            connection.receive(record.unit)
