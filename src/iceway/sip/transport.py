"""Flows: the paths over which SIP messages travel (RFC 3261 §18, RFC 3581, RFC 5626, RFC 5923).

A flow is a connection, or a UDP socket with one far end. Messages are framed, connections are found again by
where they lead, pings between messages are answered, and silent, half-fed or unread connections are closed.
`Transports` is part of an endpoint: it emits the endpoint's requests and records, and returns what happened
for the endpoint to act on. It does not look into messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError
from iceway.core.machine import (
    CloseListener,
    CloseStream,
    CloseUdp,
    Connect,
    DatagramReceived,
    Input,
    Listen,
    ListenerFailed,
    ListenerOpened,
    OpenUdp,
    SendDatagram,
    SendStream,
    StreamAccepted,
    StreamClosed,
    StreamCongested,
    StreamConnected,
    StreamReceived,
    TlsClient,
    TlsServer,
    UdpFailed,
    UdpOpened,
)
from iceway.core.timers import Timers
from iceway.sip.websocket import WebSocket, WebSocketConfig
from iceway.trace.records import ConnectionClosed, ConnectionOpened
from iceway.wire.sip import Keepalive, MalformedMessage, StreamFramer

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """Limits and intervals of an endpoint's flows, in seconds."""

    max_connections: int = 5000
    idle_timeout: float = 600.0
    half_message_timeout: float = 30.0
    unread_timeout: float = 30.0
    connect_timeout: float = 10.0
    ping_interval: float = 29.0
    pong_timeout: float = 10.0  # RFC 5626 §4.4.1
    probe_timeout: float = 3.0  # when there is reason to doubt


@dataclass(frozen=True, slots=True)
class Flow:
    """A path to one far end. `id` names it; `peer_names` are those of its verified certificate.

    `incoming`: the far end opened the connection. A UDP flow has no such history. `websocket`: messages travel in
    a WebSocket inside the connection.
    """

    id: str
    transport: Transport
    local: Address
    remote: Address
    peer_names: tuple[str, ...] = ()
    incoming: bool = False
    websocket: bool = False

    @property
    def protocol(self) -> str:
        """The transport by its name in a Via, in lower case (RFC 7118 §5.2.1)."""
        if self.websocket:
            return "wss" if self.transport is Transport.TLS else "ws"
        return self.transport.value


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send: over the named flow if given, else to the address (over TLS, the name to prove)."""

    address: Address
    transport: Transport
    tls_name: str | None = None
    tls_identity: str | None = None
    flow: str | None = None

    @classmethod
    def over(cls, flow: Flow) -> Target:
        return cls(flow.remote, flow.transport, flow=flow.id)


# --- what happened --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Listening:
    """A socket or listener asked for with `listen` is open. (Also an event of the endpoint.)"""

    key: str
    transport: Transport
    local: Address
    websocket: bool = False


@dataclass(frozen=True, slots=True)
class ListenFailed:
    """A socket or listener could not be opened. (Also an event of the endpoint.)"""

    key: str
    transport: Transport
    reason: str
    websocket: bool = False


@dataclass(frozen=True, slots=True)
class FlowOpened:
    """A connection is up, ours or somebody's. (Also an event of the endpoint.)

    Messages can be sent over it from now on, but for a WebSocket, which has yet to be agreed on.
    """

    flow: Flow


@dataclass(frozen=True, slots=True)
class FlowClosed:
    """A connection ended, or never came up. (Also an event of the endpoint.)"""

    flow: Flow
    reason: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole message."""

    flow: Flow
    data: bytes


@dataclass(frozen=True, slots=True)
class Unframeable:
    """The stream cannot be read on; the connection is closed after the endpoint has answered."""

    flow: Flow
    error: MalformedMessage
    size: int


Happened = Listening | ListenFailed | FlowOpened | FlowClosed | Arrived | Unframeable


# What makes an open connection good for a target: address, name to prove, certificate shown, transport.
_Reuse = tuple[Address, "str | None", "str | None", Transport]


@dataclass(slots=True)
class _Connection:
    flow: Flow
    framer: StreamFramer | WebSocket
    reuse: _Reuse | None = None
    up: bool = False
    last_heard: float = 0.0
    pinging: bool = False

    @property
    def can_send(self) -> bool:
        return self.up and (not isinstance(self.framer, WebSocket) or self.framer.is_open)

    def wrap(self, data: bytes) -> bytes:
        """A message or keep-alive as it stands in the stream."""
        return self.framer.wrap(data) if isinstance(self.framer, WebSocket) else data


@dataclass(slots=True)
class _Listener:
    transport: Transport
    websocket: WebSocketConfig | None = None
    local: Address | None = None


class Transports:
    """The flows of one endpoint; see the module's law."""

    def __init__(
        self, name: str, rng: Random, config: TransportConfig, emit: Callable[[object], None]
    ) -> None:
        self._name = name
        self._rng = rng
        self._config = config
        self._emit = emit
        self._timers = Timers()
        self._listeners: dict[str, _Listener] = {}
        self._connections: dict[str, _Connection] = {}
        self._by_target: dict[_Reuse, str] = {}
        self._udp_pings: set[str] = set()
        self._named = 0

    # --- commands -------------------------------------------------------------------------------------
    def listen(
        self,
        transport: Transport,
        local: Address,
        tls: TlsServer | None,
        websocket: WebSocketConfig | None = None,
    ) -> str:
        """`websocket`: messages come in WebSockets, from browsers for example."""
        key = self._next_name(transport.value if websocket is None else f"{transport.value}.websocket")
        self._listeners[key] = _Listener(transport, websocket)
        if transport is Transport.UDP:
            self._emit(OpenUdp(key, local))
        else:
            self._emit(Listen(key, local, tls))
        return key

    def open(self, target: Target, now: float) -> str | None:
        """The id of a flow to the target, connecting if need be; None if there can be none."""
        if target.flow is not None:
            return target.flow if self._known(target.flow) else None
        if target.transport is Transport.UDP:
            local = self._udp_socket(target.address)
            return udp_flow_id(local, target.address) if local is not None else None
        reuse = (target.address, target.tls_name, target.tls_identity, target.transport)
        if reuse in self._by_target:
            return self._by_target[reuse]
        if len(self._connections) >= self._config.max_connections:
            return None
        stream = self._next_name("out")
        nowhere = Address("::" if target.address.family == 6 else "0.0.0.0", 0)
        flow = Flow(stream, target.transport, nowhere, target.address)
        self._connections[stream] = _Connection(flow, StreamFramer(opened=True), reuse)
        self._by_target[reuse] = stream
        tls = None
        if target.transport is Transport.TLS:
            tls = TlsClient(target.tls_name or target.address.ip, target.tls_identity)
        self._emit(Connect(stream, target.address, tls=tls))
        self._timers.arm(("connect", stream), now + self._config.connect_timeout)
        return stream

    def flow(self, flow_id: str) -> Flow | None:
        """The flow of that id if messages can be sent over it now."""
        connection = self._connections.get(flow_id)
        if connection is not None:
            return connection.flow if connection.can_send else None
        return self._udp_flow(flow_id)

    def send(self, flow_id: str, data: bytes) -> Flow | None:
        """Send over a flow that is up and return it; None if it is not."""
        flow = self.flow(flow_id)
        if flow is None:
            return None
        if flow.transport is Transport.UDP:
            self._emit(SendDatagram(flow.local, flow.remote, data))
        else:
            self._emit(SendStream(flow_id, self._connections[flow_id].wrap(data)))
        return flow

    def keep_alive(self, flow_id: str, now: float) -> None:
        """Ping the flow from time to time; over a connection a missing pong ends it (RFC 5626 §4.4.1)."""
        connection = self._connections.get(flow_id)
        if connection is not None:
            connection.pinging = True
        else:
            self._udp_pings.add(flow_id)
        self._arm_ping(flow_id, now)

    def probe(self, flow_id: str, now: float) -> None:
        """Ping a connection at once and wait less long than usual: something else says that it may be dead."""
        connection = self._connections.get(flow_id)
        if connection is not None and connection.up and self._timers.at(("probe", flow_id)) is None:
            self._timers.arm(("probe", flow_id), now + self._config.probe_timeout)
            self.send(flow_id, Keepalive.PING.value)

    def close(self, flow_id: str, reason: str, *, abort: bool = False) -> Iterator[Happened]:
        """Close a connection; a no-op for UDP and for what is gone already."""
        self._udp_pings.discard(flow_id)
        self._timers.cancel(("ping", flow_id))
        if (connection := self._connections.get(flow_id)) is not None:
            if isinstance(connection.framer, WebSocket) and (goodbye := connection.framer.goodbye(reason)):
                self._emit(SendStream(flow_id, goodbye))
            self._emit(CloseStream(flow_id, abort))
            yield self._forget(flow_id, reason)

    def close_all(self) -> Iterator[Happened]:
        for flow_id in list(self._connections):
            yield from self.close(flow_id, "closed by us")
        for key, listener in self._listeners.items():
            if listener.transport is not Transport.UDP:
                self._emit(CloseListener(key))
            elif listener.local is not None:
                self._emit(CloseUdp(listener.local))
        self._listeners.clear()
        self._timers.clear()

    def has_udp_socket(self, remote: Address) -> bool:
        """Whether a UDP socket is open from which the address can be reached."""
        return self._udp_socket(remote) is not None

    # --- inputs ---------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> Iterator[Happened]:
        match event:
            case DatagramReceived(local, remote, data):
                if data.strip(b"\r\n\0 "):  # anything else is somebody's keep-alive
                    yield Arrived(Flow(udp_flow_id(local, remote), Transport.UDP, local, remote), data)
            case StreamReceived(stream, data):
                yield from self._received(stream, data, now)
            case UdpOpened(key, local) | ListenerOpened(key, local):
                if (listener := self._listeners.get(key)) is not None:
                    listener.local = local
                    yield Listening(key, listener.transport, local, listener.websocket is not None)
            case UdpFailed(key, reason) | ListenerFailed(key, reason):
                if (gone := self._listeners.pop(key, None)) is not None:
                    yield ListenFailed(key, gone.transport, reason, gone.websocket is not None)
            case StreamAccepted():
                yield from self._accepted(event, now)
            case StreamConnected():
                yield from self._connected(event, now)
            case StreamClosed(stream, reason):
                if stream in self._connections:
                    yield self._forget(stream, reason)
            case StreamCongested(stream, congested):
                if not congested:
                    self._timers.cancel(("unread", stream))
                elif stream in self._connections:
                    self._timers.arm(("unread", stream), now + self._config.unread_timeout)

    def handle_timeout(self, now: float) -> Iterator[Happened]:
        for timer in self._timers.due(now):
            assert isinstance(timer, tuple)
            what, flow_id = timer
            if what == "ping":
                self._ping(flow_id, now)
            elif what == "idle":
                yield from self._check_idle(flow_id, now)
            else:
                words = {
                    "pong": f"no answer to a keep-alive in {self._config.pong_timeout:g} s",
                    "probe": f"no answer to a keep-alive in {self._config.probe_timeout:g} s",
                    "half": f"a message was not finished in {self._config.half_message_timeout:g} s",
                    "unread": f"the other end has not read for {self._config.unread_timeout:g} s",
                    "connect": f"not connected after {self._config.connect_timeout:g} s",
                    "handshake": "no WebSocket was asked for in time",
                }
                # Whoever has asked for a page may still be reading it.
                yield from self.close(flow_id, words[what], abort=what != "handshake")

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- connections ----------------------------------------------------------------------------------
    def _accepted(self, event: StreamAccepted, now: float) -> Iterator[Happened]:
        listener = self._listeners.get(event.key)
        if listener is None:
            return
        if len(self._connections) >= self._config.max_connections:
            self._emit(CloseStream(event.stream, abort=True))
            self._emit(ConnectionClosed(event.stream, "too many connections", event.remote))
            return
        names = event.peer.names if event.peer else ()
        flow = Flow(
            event.stream,
            listener.transport,
            event.local,
            event.remote,
            names,
            incoming=True,
            websocket=listener.websocket is not None,
        )
        framer: StreamFramer | WebSocket = StreamFramer(opened=False)
        if listener.websocket is not None:
            framer = WebSocket(listener.websocket)
            self._timers.arm(("handshake", event.stream), now + listener.websocket.handshake_timeout)
        self._connections[event.stream] = _Connection(flow, framer)
        yield self._up(event.stream, flow, now)

    def _connected(self, event: StreamConnected, now: float) -> Iterator[Happened]:
        connection = self._connections.get(event.stream)
        if connection is None:
            return
        names = event.peer.names if event.peer else ()
        transport = connection.flow.transport
        self._timers.cancel(("connect", event.stream))
        yield self._up(event.stream, Flow(event.stream, transport, event.local, event.remote, names), now)
        if connection.pinging:
            self._arm_ping(event.stream, now)

    def _up(self, stream: str, flow: Flow, now: float) -> FlowOpened:
        connection = self._connections[stream]
        connection.flow, connection.up, connection.last_heard = flow, True, now
        self._timers.arm(("idle", stream), now + self._config.idle_timeout)
        self._emit(
            ConnectionOpened(stream, flow.local, flow.remote, flow.protocol, flow.incoming, flow.peer_names)
        )
        return FlowOpened(flow)

    def _received(self, stream: str, data: bytes, now: float) -> Iterator[Happened]:
        connection = self._connections.get(stream)
        if connection is None or not connection.up:
            return
        connection.last_heard = now
        framer = connection.framer
        framer.feed(data)
        if isinstance(framer, WebSocket):
            if not framer.is_open and self._timers.at(("unread", stream)) is not None:
                yield from self.close(stream, "asks for more than it reads", abort=True)
                return
            self._agree(stream, connection, framer, now)
        while stream in self._connections:
            try:
                frame = framer.next_frame()
            except MalformedMessage as error:
                self._speak(stream, framer)
                yield Unframeable(connection.flow, error, len(data))
                yield from self.close(stream, f"unreadable stream: {error}")
                return
            if frame is None:
                break
            if frame is Keepalive.PING:
                if pong := connection.wrap(Keepalive.PONG.value):
                    self._emit(SendStream(stream, pong))
            elif frame is Keepalive.PONG:
                self._timers.cancel(("pong", stream))
                self._timers.cancel(("probe", stream))
            else:
                assert isinstance(frame, bytes)
                self._timers.cancel(("half", stream))
                yield Arrived(connection.flow, frame)
        if isinstance(framer, WebSocket) and framer.ended is not None:
            yield from self.close(stream, framer.ended)
        if stream in self._connections:
            if not framer.holds_partial:
                self._timers.cancel(("half", stream))
            elif self._timers.at(("half", stream)) is None:
                self._timers.arm(("half", stream), now + self._config.half_message_timeout)

    def _agree(self, stream: str, connection: _Connection, websocket: WebSocket, now: float) -> None:
        """Say what the WebSocket has to say. Once it is open we ping it, since a browser cannot (RFC 7118 §6)."""
        spoken = self._speak(stream, websocket)
        if websocket.is_open and not connection.pinging:
            connection.pinging = True
            self._timers.cancel(("handshake", stream))
            self._arm_ping(stream, now)
        elif spoken and not websocket.is_open:  # a page: more may be wanted
            self._timers.arm(("handshake", stream), now + websocket.handshake_timeout)

    def _speak(self, stream: str, framer: StreamFramer | WebSocket) -> bool:
        answer = framer.to_send() if isinstance(framer, WebSocket) else b""
        if answer:
            self._emit(SendStream(stream, answer))
        return bool(answer)

    def _check_idle(self, flow_id: str, now: float) -> Iterator[Happened]:
        connection = self._connections.get(flow_id)
        if connection is None:
            return
        until = connection.last_heard + self._config.idle_timeout
        if until > now:
            self._timers.arm(("idle", flow_id), until)
        else:
            yield from self.close(flow_id, f"idle for {self._config.idle_timeout:g} s")

    def _forget(self, stream: str, reason: str) -> FlowClosed:
        connection = self._connections.pop(stream)
        if connection.reuse is not None:
            del self._by_target[connection.reuse]
        for what in ("ping", "pong", "probe", "idle", "half", "unread", "connect", "handshake"):
            self._timers.cancel((what, stream))
        self._emit(ConnectionClosed(stream, reason, connection.flow.remote))
        return FlowClosed(connection.flow, reason)

    # --- keep-alive -----------------------------------------------------------------------------------
    def _arm_ping(self, flow_id: str, now: float) -> None:
        # Between 80 and 100 % of the interval, so that clients do not fall into step (RFC 5626 §4.4).
        self._timers.arm(
            ("ping", flow_id), now + self._config.ping_interval * (0.8 + 0.2 * self._rng.random())
        )

    def _ping(self, flow_id: str, now: float) -> None:
        flow = self.send(flow_id, Keepalive.PING.value)
        if flow is None:
            self._udp_pings.discard(flow_id)
            return
        if flow.transport.is_stream and self._timers.at(("pong", flow_id)) is None:
            self._timers.arm(("pong", flow_id), now + self._config.pong_timeout)
        self._arm_ping(flow_id, now)

    # --- UDP ------------------------------------------------------------------------------------------
    def _udp_socket(self, remote: Address) -> Address | None:
        for listener in self._listeners.values():
            local = listener.local
            if listener.transport is Transport.UDP and local is not None and local.family == remote.family:
                return local
        return None

    def _udp_flow(self, flow_id: str) -> Flow | None:
        """A UDP flow lives as long as its socket; its id says all there is to know."""
        flow = _parse_udp_flow(flow_id)
        if flow is None or all(listener.local != flow.local for listener in self._listeners.values()):
            return None
        return flow

    def _known(self, flow_id: str) -> bool:
        return flow_id in self._connections or self._udp_flow(flow_id) is not None

    def _next_name(self, kind: str) -> str:
        self._named += 1
        return f"{self._name}/{kind}.{self._named}"


def udp_flow_id(local: Address, remote: Address) -> str:
    """The id of the UDP flow between two addresses."""
    return f"udp|{local}|{remote}"


@lru_cache(maxsize=4096)
def _parse_udp_flow(flow_id: str) -> Flow | None:
    try:
        kind, local_text, remote_text = flow_id.split("|")
        local, remote = Address.parse(local_text), Address.parse(remote_text)
    except (ValueError, ParseError):
        return None
    return Flow(flow_id, Transport.UDP, local, remote) if kind == "udp" else None
