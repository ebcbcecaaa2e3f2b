"""The streams of one program: listeners and connections by the machine's names, under TLS or DTLS where asked.

The same promises as of the driver on real sockets: a stream is told when it is up, handshake and name check
included; its end is told exactly once; an incoming connection that fails its handshake is only recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from iceway.core.address import Address
from iceway.core.machine import (
    Connect,
    Input,
    Listen,
    ListenerFailed,
    ListenerOpened,
    StreamAccepted,
    StreamClosed,
    StreamCongested,
    StreamConnected,
    StreamReceived,
    TlsClient,
    TlsPeer,
    TlsServer,
)
from iceway.io.reasons import CLOSED_BY_US, HANDSHAKE_TIMED_OUT
from iceway.lab.world import dtls, tls
from iceway.lab.world.clock import Clock
from iceway.lab.world.host import BindError
from iceway.lab.world.tcp import MSS, Connection, TcpStack
from iceway.trace.records import ConnectionClosed, Record

CONGESTED_ABOVE = 64 * 1024
CONGESTED_UNTIL = 16 * 1024


@dataclass(slots=True)
class _Listener:
    key: str
    local: Address
    tls: TlsServer | None
    datagrams: bool
    count: int = 0


class Streams:
    """What one program has listening and connected."""

    def __init__(
        self,
        stack: TcpStack,
        clock: Clock,
        keys: tls.KeyStore,
        wall: Callable[[], float],
        deliver: Callable[[Input], None],
        record: Callable[[Record], None],
    ) -> None:
        self.keys = keys
        self.wall = wall
        self.clock = clock
        self.deliver = deliver
        self.record = record
        self._stack = stack
        self._dtls = dtls.DtlsStack(stack.host, clock)
        self._listeners: dict[str, _Listener] = {}
        self._streams: dict[str, _Stream] = {}

    def listen(self, request: Listen) -> ListenerOpened | ListenerFailed:
        if request.key in self._listeners:
            return ListenerFailed(request.key, "this listener is open already")
        if request.tls is not None and request.tls.identity not in self.keys.identities:
            return ListenerFailed(request.key, f"no certificate is called {request.tls.identity!r}")
        listener = _Listener(request.key, request.local, request.tls, request.datagrams)
        welcome = partial(self._accept, listener)
        try:
            if request.datagrams:
                listener.local = self._dtls.listen(request.local, welcome)
            else:
                listener.local = self._stack.listen(request.local, welcome, shared=request.shared)
        except BindError as error:
            return ListenerFailed(request.key, str(error))
        self._listeners[request.key] = listener
        return ListenerOpened(request.key, listener.local)

    def close_listener(self, key: str) -> None:
        if (listener := self._listeners.pop(key, None)) is not None:
            (self._dtls if listener.datagrams else self._stack).close_listener(listener.local)

    def connect(self, request: Connect) -> None:
        connection: Connection | dtls.Connection | None
        try:
            if request.datagrams:
                connection = self._dtls.connect(request.local_ip, request.remote)
            else:
                connection = self._stack.connect(request.local_ip, request.remote, request.local_port)
        except BindError as error:
            self._refuse(request.stream, str(error))
            return
        if connection is None:
            self._refuse(request.stream, "network unreachable")
            return
        if request.tls and request.tls.identity and request.tls.identity not in self.keys.identities:
            if isinstance(connection, Connection):
                self._stack.forget(connection)
            else:
                self._dtls.forget(connection)
            self._refuse(request.stream, f"no certificate is called {request.tls.identity!r}")
            return
        self._streams[request.stream] = _Stream(self, request.stream, connection, client=request.tls)
        connection.start()

    def send(self, name: str, data: bytes) -> None:
        if (stream := self._streams.get(name)) is not None:
            stream.send(data)

    def close(self, name: str, *, abort: bool) -> None:
        if (stream := self._streams.get(name)) is not None:
            stream.close(abort=abort)

    def close_all(self, *, abort: bool) -> None:
        for key in list(self._listeners):
            self.close_listener(key)
        for name in list(self._streams):
            self.close(name, abort=abort)

    def gone(self, stream: _Stream, reason: str) -> None:
        if self._streams.get(stream.name) is not stream:
            return
        del self._streams[stream.name]
        if stream.listener_key is not None and not stream.is_up:
            self.record(ConnectionClosed(stream.name, reason, stream.connection.remote))
        else:
            self.deliver(StreamClosed(stream.name, reason))

    def _accept(self, listener: _Listener, connection: Connection | dtls.Connection) -> None:
        listener.count += 1
        name = f"{listener.key}/{listener.count}"
        stream = _Stream(self, name, connection, server=listener.tls, listener_key=listener.key)
        self._streams[name] = stream

    def _refuse(self, stream: str, reason: str) -> None:
        self.clock.after(0.0, partial(self.deliver, StreamClosed(stream, reason)))


class _Stream:
    """One connection of the program, with its handshake."""

    def __init__(
        self,
        streams: Streams,
        name: str,
        connection: Connection | dtls.Connection,
        *,
        client: TlsClient | None = None,
        server: TlsServer | None = None,
        listener_key: str | None = None,
    ) -> None:
        self.name = name
        self.connection = connection
        self.listener_key = listener_key
        self.is_up = False
        self._streams = streams
        self._client = client
        self._server = server
        self._congested = False
        self._reason: str | None = None
        connection.on_established = self._established
        connection.on_unit = self._unit
        connection.on_closed = self._closed
        connection.on_sent = self._sent

    def send(self, data: bytes) -> None:
        if isinstance(self.connection, dtls.Connection):
            if self.is_up:
                self.connection.send(data, len(data))
            return
        for start in range(0, len(data), MSS):
            piece = data[start : start + MSS]
            self.connection.send(piece, len(piece))
        if not self._congested and self.connection.queued > CONGESTED_ABOVE:
            self._congested = True
            self._streams.clock.after(0.0, partial(self._tell_congestion, True))

    def close(self, *, abort: bool) -> None:
        self._end(CLOSED_BY_US, abort=abort)

    def _end(self, reason: str, *, abort: bool = False) -> None:
        self._reason = self._reason or reason
        if abort:
            self.connection.abort(self._reason)
        else:
            self.connection.close(self._reason)

    # --- from the connection ----------------------------------------------------------------------------
    def _established(self) -> None:
        if self._client is None and self._server is None:
            self._up(None)
            return
        if self._client is not None:
            self.connection.send(tls.ClientHello(self._client.server_name), tls.HELLO_SIZE)
        self._streams.clock.after(tls.HANDSHAKE_TIMEOUT, self._handshake_timeout)

    def _unit(self, unit: object) -> None:
        if self._reason is not None:
            return
        wall = self._streams.wall()
        match unit:
            case tls.Alert(text):
                self._end(text)
            case bytes() if self.is_up:
                self._streams.deliver(StreamReceived(self.name, unit))
            case tls.ServerHello() if self._client is not None and not self.is_up:
                self._obey(tls.client_meets(unit, self._client, self._streams.keys, wall))
            case tls.Finished() if self._server is not None and not self.is_up:
                self._obey(tls.server_meets(unit, self._server, self._streams.keys, wall))
            case tls.ClientHello() if self._server is not None and not self.is_up:
                certificate = self._streams.keys.identities[self._server.identity]
                # As io/ does: whoever can judge a client's certificate asks for one, needed or not.
                wants = bool(self._streams.keys.trusted) and not self._server.anonymous
                hello = tls.ServerHello(certificate, wants)
                self._answer(hello)
            case bytes():
                self._end("peer does not speak TLS", abort=True)
            case _:
                self._streams.deliver(StreamReceived(self.name, tls.GARBAGE))

    def _obey(self, verdict: tls.Verdict) -> None:
        if verdict.answer is not None:
            self._answer(verdict.answer)
        if verdict.failed is not None:
            self._end(verdict.failed)
        elif verdict.up is not None:
            self._up(verdict.up)

    def _answer(self, message: tls.ServerHello | tls.Finished | tls.Alert) -> None:
        certified = isinstance(message, tls.ServerHello | tls.Finished) and message.certificate is not None
        self.connection.send(message, tls.FINISHED_SIZE + (tls.CERTIFICATE_SIZE if certified else 0))

    def _up(self, peer: TlsPeer | None) -> None:
        self.is_up = True
        local, remote = self.connection.local, self.connection.remote
        if self.listener_key is not None:
            self._streams.deliver(StreamAccepted(self.name, self.listener_key, local, remote, peer))
        else:
            self._streams.deliver(StreamConnected(self.name, local, remote, peer))

    def _handshake_timeout(self) -> None:
        if not self.is_up:
            self._end(HANDSHAKE_TIMED_OUT, abort=True)

    def _sent(self) -> None:
        if self._congested and self.connection.queued < CONGESTED_UNTIL:
            self._congested = False
            self._tell_congestion(False)

    def _tell_congestion(self, congested: bool) -> None:
        if self._reason is None:
            self._streams.deliver(StreamCongested(self.name, congested))

    def _closed(self, reason: str) -> None:
        reason, self._reason = self._reason or reason, self._reason or reason
        self._streams.gone(self, reason)
