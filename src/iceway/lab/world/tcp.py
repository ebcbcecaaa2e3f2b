"""TCP as machines notice it: connecting, reliable order, retransmission, refusal, reset, silence.

A connection carries *units* (a piece of bytes, a TLS message, the end) instead of byte numbers; everything
else is the usual way: SYN and SYN-ACK, cumulative acknowledgements with timestamps (RFC 7323), a retransmission
timer that doubles (RFC 6298), fast retransmit on the third duplicate and of one hole after the other
(RFC 6582), a fixed window. There is no congestion control; what is sent beyond the window waits, and the wait
is what `queued` tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from iceway.core.address import Address, Transport
from iceway.io.reasons import CLOSED_BY_PEER, TIMED_OUT
from iceway.lab.world.host import HostNode
from iceway.lab.world.packet import IP_TCP_HEADERS, Packet

CONNECT_TIMEOUT = 10.0
GIVE_UP = 30.0
"""Seconds without a sign of the peer, while something is unacknowledged, until a connection is given up."""
INITIAL_RTO = 1.0  # RFC 6298 §2.1
MIN_RTO = 0.2
WINDOW = 65536
MSS = 1400
LINGER = 5.0


@dataclass(frozen=True, slots=True)
class Segment:
    """`sent_at` of a DATA segment comes back in the ACK that it causes, and tells the round trip."""

    kind: Literal["SYN", "SYN-ACK", "ACK", "DATA", "RST"]
    number: int = 0
    acknowledged: int = 0
    unit: object = None
    sent_at: float | None = None


@dataclass(frozen=True, slots=True)
class End:
    """The unit that says that no more will come. `reason` is the sender's own, for its `on_closed`."""

    reason: str


class Connection:
    """One end of a connection. The owner sets the callbacks.

    `on_closed` comes exactly once, with the first reason, and nothing is called after it. Closing is told
    when the last byte left, not when the peer had it.
    """

    def __init__(self, stack: TcpStack, local: Address, remote: Address, *, incoming: bool) -> None:
        self.local = local
        self.remote = remote
        self.on_established: Callable[[], None] = lambda: None
        self.on_unit: Callable[[object], None] = lambda unit: None
        self.on_closed: Callable[[str], None] = lambda reason: None
        self.on_sent: Callable[[], None] = lambda: None
        self._stack = stack
        self._clock = stack.host.network.clock
        self._incoming = incoming
        self._established = False
        self._closing = False
        self._heard_end = False
        self._told = False
        self._dead = False
        # Sending: (unit, size) not yet sent; (number, unit, size) not yet acknowledged.
        self._queue: deque[tuple[object, int]] = deque()
        self._unacknowledged: deque[tuple[int, object, int]] = deque()
        self.queued = 0
        self._in_flight = 0
        self._next_number = 0
        self._duplicates = 0
        self._recover = 0  # holes below this number are sent again as soon as they show
        # Receiving: the number that comes next, and what came before its turn.
        self._expected = 0
        self._early: dict[int, object] = {}
        # The retransmission timer; None when it is not running.
        self._rto = INITIAL_RTO
        self._backoff = 1
        self._timer: object | None = None
        self._opened_at = self._progress_at = self._clock.now

    # --- the owner's side -------------------------------------------------------------------------------
    def start(self) -> None:
        """Send the first packet: SYN, or the SYN-ACK that answers one."""
        self._send_opening(1)
        self._clock.after(CONNECT_TIMEOUT, self._connect_timeout)

    def send(self, unit: object, size: int) -> None:
        """Queue a unit. Nothing is sent after `close`."""
        if not self._closing and not self._dead:
            self._queue.append((unit, size))
            self.queued += size
            self._pump()

    def close(self, reason: str) -> None:
        """Send what is queued, then the end; give up what cannot be sent in a while."""
        if self._dead or self._closing:
            return
        if not self._established:
            self.abort(reason)
            return
        self._closing = True
        self._queue.append((End(reason), 0))
        self._pump()
        self._clock.after(LINGER, partial(self._linger, reason))

    def abort(self, reason: str) -> None:
        """Throw everything away and tell the peer."""
        if not self._dead:
            self._transmit(Segment("RST"), 0)
            self._die(reason)

    # --- from the network -------------------------------------------------------------------------------
    def receive(self, segment: Segment) -> None:
        self._progress_at = self._clock.now
        match segment.kind:
            case "RST":
                refused = not self._established and not self._incoming
                self._die("connection refused" if refused else "reset by peer")
            case "SYN":
                self._transmit(Segment("SYN-ACK"), 0)
            case "SYN-ACK":
                if self._established:
                    self._acknowledge()
                else:
                    self._establish()
                    self._acknowledge()
                    self.on_established()
                    self._pump()
            case _:
                if not self._established:
                    self._establish()
                    self.on_established()
                self._take_acknowledgement(segment)
                if segment.kind == "DATA" and not self._dead:
                    self._take_unit(segment)

    def _establish(self) -> None:
        self._established = True
        self._rto = max(MIN_RTO, 2 * (self._clock.now - self._opened_at))

    def _take_unit(self, segment: Segment) -> None:
        if segment.number >= self._expected:
            self._early[segment.number] = segment.unit
        ready = []
        while self._expected in self._early:
            ready.append(self._early.pop(self._expected))
            self._expected += 1
        self._acknowledge(segment.sent_at)
        for unit in ready:
            if self._dead:
                return
            if isinstance(unit, End):
                self._heard_end = True
                self._tell(CLOSED_BY_PEER)
                self.close(CLOSED_BY_PEER)
                self._finish()
            elif not self._closing:
                self.on_unit(unit)

    def _take_acknowledgement(self, segment: Segment) -> None:
        if segment.kind == "ACK" and segment.sent_at is not None:
            self._rto = max(MIN_RTO, 2 * (self._clock.now - segment.sent_at))
        acknowledged = False
        while self._unacknowledged and self._unacknowledged[0][0] < segment.acknowledged:
            self._in_flight -= self._unacknowledged.popleft()[2]
            acknowledged = True
        if acknowledged:
            self._duplicates, self._backoff = 0, 1
            if self._unacknowledged and self._unacknowledged[0][0] < self._recover:
                self._send_again()
            self._timer = None
            self._pump()
            self._finish()
            if not self._told:
                self.on_sent()
        elif segment.kind == "ACK" and self._unacknowledged:
            self._duplicates += 1
            if self._duplicates == 3:
                self._recover = self._next_number
                self._send_again()
        if self._unacknowledged:
            self._arm()

    # --- sending ----------------------------------------------------------------------------------------
    def _pump(self) -> None:
        while self._established and not self._dead and self._queue and self._in_flight < WINDOW:
            unit, size = self._queue.popleft()
            self.queued -= size
            if not self._unacknowledged:
                self._progress_at = self._clock.now
            self._unacknowledged.append((self._next_number, unit, size))
            self._in_flight += size
            self._transmit(self._data(self._next_number, unit), size)
            self._next_number += 1
            self._arm()
            if isinstance(unit, End):
                self._clock.after(0.0, partial(self._tell, unit.reason))

    def _send_again(self) -> None:
        number, unit, size = self._unacknowledged[0]
        self._transmit(self._data(number, unit), size)

    def _data(self, number: int, unit: object) -> Segment:
        return Segment("DATA", number, self._expected, unit, self._clock.now)

    def _acknowledge(self, sent_at: float | None = None) -> None:
        self._transmit(Segment("ACK", acknowledged=self._expected, sent_at=sent_at), 0)

    def _send_opening(self, tries: int) -> None:
        if not self._established and not self._dead:
            self._transmit(Segment("SYN-ACK" if self._incoming else "SYN"), 0, opens=not self._incoming)
            self._clock.after(INITIAL_RTO * 2 ** (tries - 1), partial(self._send_opening, tries + 1))

    def _transmit(self, segment: Segment, size: int, *, opens: bool = False) -> None:
        size += IP_TCP_HEADERS
        self._stack.host.send(Packet(Transport.TCP, self.local, self.remote, segment, size, opens))

    # --- time -------------------------------------------------------------------------------------------
    def _arm(self) -> None:
        if self._timer is None:
            self._timer = object()
            self._clock.after(self._rto * self._backoff, partial(self._expired, self._timer))

    def _expired(self, timer: object) -> None:
        if timer is not self._timer:
            return
        self._timer = None
        if self._clock.now - self._progress_at > GIVE_UP:
            self._die(TIMED_OUT)
        elif self._unacknowledged:
            self._backoff = min(2 * self._backoff, 64)
            self._recover = self._next_number
            self._send_again()
            self._arm()

    def _connect_timeout(self) -> None:
        if not self._established and not self._dead:
            self._die(TIMED_OUT)

    def _linger(self, reason: str) -> None:
        if self._queue:
            self.abort(reason)

    # --- the end ----------------------------------------------------------------------------------------
    def _finish(self) -> None:
        if self._heard_end and self._closing and not self._queue and not self._unacknowledged:
            self._die(CLOSED_BY_PEER)

    def _die(self, reason: str) -> None:
        if not self._dead:
            self._dead = True
            self._timer = None
            self._stack.forget(self)
            self._clock.after(0.0, partial(self._tell, reason))

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            self.on_closed(reason)


class TcpStack:
    """All connections and listeners of one host."""

    def __init__(self, host: HostNode) -> None:
        self.host = host
        host.on_segment = self._receive
        self._listeners: dict[Address, Callable[[Connection], None]] = {}
        self._shared: set[Address] = set()
        self._connections: dict[tuple[Address, Address], Connection] = {}

    @property
    def sockets(self) -> tuple[str, ...]:
        listeners = (f"tcp {local}" for local in self._listeners)
        return (*listeners, *(f"tcp {local} to {remote}" for local, remote in self._connections))

    def listen(
        self, local: Address, on_connection: Callable[[Connection], None], *, shared: bool = False
    ) -> Address:
        """Raises BindError. `on_connection` gets every connection as its first packet comes in."""
        bound = self.host.choose_address(local, None, self._listeners.__contains__)
        self._listeners[bound] = on_connection
        if shared:
            self._shared.add(bound)
        return bound

    def close_listener(self, local: Address) -> None:
        self._listeners.pop(local, None)
        self._shared.discard(local)

    def connect(self, local_ip: str | None, remote: Address, port: int = 0) -> Connection | None:
        """A connection that is not started yet; None without a route. Raises BindError.

        From the `port` of a listener only if that is shared. A SYN from `remote` that comes in meanwhile finds
        this connection instead of the listener: both open at once (RFC 9293 §3.5).
        """
        source = self.host.source_for(Address(local_ip or "0.0.0.0", port), remote.ip)
        if source is None:
            return None
        local = self.host.choose_address(source, None, lambda one: self._is_taken(one, remote))
        connection = self._connections[local, remote] = Connection(self, local, remote, incoming=False)
        return connection

    def _is_taken(self, local: Address, remote: Address) -> bool:
        alone = local in self._listeners and local not in self._shared
        return alone or (local, remote) in self._connections

    def forget(self, connection: Connection) -> None:
        self._connections.pop((connection.local, connection.remote), None)

    def _receive(self, packet: Packet) -> None:
        segment = packet.payload
        if not isinstance(segment, Segment):
            return
        key = packet.destination, packet.source
        connection = self._connections.get(key)
        if connection is None and segment.kind == "SYN":
            any_ip = "0.0.0.0" if packet.destination.family == 4 else "::"
            listener = self._listeners.get(packet.destination) or self._listeners.get(
                Address(any_ip, packet.destination.port)
            )
            if listener is not None:
                connection = self._connections[key] = Connection(self, *key, incoming=True)
                listener(connection)
                connection.start()
                return
        if connection is not None:
            connection.receive(segment)
        elif segment.kind != "RST":
            answer = Packet(Transport.TCP, *key, Segment("RST"), IP_TCP_HEADERS)
            self.host.send(answer)
