"""The listeners and connections of one driver, by the machine's names.

A stream is told to the machine when it is up, TLS handshake and name check included, and its end is told
exactly once. Everything a stranger can make us hold is limited: open connections and unfinished handshakes
of a listener, the time a handshake may take, the bytes waiting for a peer that does not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from iceway.core.address import Address, site_of
from iceway.core.errors import EnvironmentFailure
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
    TlsPeer,
)
from iceway.io import reasons
from iceway.io.keystore import KeyStore
from iceway.io.stream import Stream, socket_address
from iceway.io.tls import TlsPipe
from iceway.trace.records import ConnectionClosed, Note, Record

BACKLOG = 512
ACCEPT_BATCH = 64
ACCEPT_PAUSE = 1.0  # seconds without accepting when the process has no descriptor left


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What one driver puts up with. Connections and handshakes count per listener; times are seconds.

    One site (an IPv4 address, an IPv6 /64) has fewer unfinished handshakes, so that it cannot keep others out.
    """

    max_connections: int = 4096
    max_handshakes: int = 256
    max_handshakes_per_site: int = 64
    handshake_timeout: float = 10.0
    connect_timeout: float = 10.0
    congestion_mark: int = 64 * 1024
    send_buffer: int = 8 * 1024 * 1024
    linger: float = 5.0


@dataclass(eq=False, slots=True)
class _Listener:
    key: str
    sock: socket.socket
    local: Address
    context: ssl.SSLContext | None
    streams: set[str] = field(default_factory=set)
    handshakes: dict[str, str] = field(default_factory=dict)  # stream → site
    count: int = 0
    is_full: bool = False


class Streams:
    """`deliver` gets the machine's inputs, `record` what only the trace needs to know."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[Input], None],
        record: Callable[[Record], None],
        keystore: KeyStore,
        limits: StreamLimits,
    ) -> None:
        self._loop = loop
        self._deliver = deliver
        self._record = record
        self._keystore = keystore
        self._limits = limits
        self._listeners: dict[str, _Listener] = {}
        self._doors: dict[str, _Listener] = {}  # by accepted stream; a listener may be closed by now
        self._streams: dict[str, Stream] = {}
        self._opening: set[asyncio.Task[None]] = set()

    # --- listeners --------------------------------------------------------------------------------------
    def listen(self, request: Listen) -> ListenerOpened | ListenerFailed:
        if request.key in self._listeners:
            return ListenerFailed(request.key, "this listener is open already")
        sock: socket.socket | None = None
        try:
            context = self._keystore.server_context(request.tls) if request.tls else None
            sock = _stream_socket(request.local)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(request.local)
            sock.listen(BACKLOG)
            if request.shared:
                # After binding: no two listeners have the port, but connections may leave from it.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except EnvironmentFailure as failure:
            return ListenerFailed(request.key, str(failure))
        except OSError as error:
            if sock is not None:
                sock.close()
            return ListenerFailed(request.key, reasons.bind_words(error, request.local))
        listener = _Listener(request.key, sock, socket_address(sock.getsockname()), context)
        self._listeners[request.key] = listener
        self._loop.add_reader(sock.fileno(), self._accept, listener)
        return ListenerOpened(request.key, listener.local)

    def close_listener(self, key: str) -> None:
        """Connections accepted before stay."""
        listener = self._listeners.pop(key, None)
        if listener is not None:
            self._loop.remove_reader(listener.sock.fileno())
            listener.sock.close()

    def _accept(self, listener: _Listener) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                sock, remote = listener.sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause(listener, error)
                    return
                continue  # the caller gave up before we got to it
            self._admit(listener, sock, socket_address(remote))

    def _pause(self, listener: _Listener, error: OSError) -> None:
        words = reasons.failure_words(error)
        self._record(Note("warning", f"listener {listener.key} at {listener.local} pauses: {words}"))
        self._loop.remove_reader(listener.sock.fileno())
        self._loop.call_later(ACCEPT_PAUSE, self._resume, listener)

    def _resume(self, listener: _Listener) -> None:
        if self._listeners.get(listener.key) is listener:
            self._loop.add_reader(listener.sock.fileno(), self._accept, listener)

    def _admit(self, listener: _Listener, sock: socket.socket, remote: Address) -> None:
        limits, site = self._limits, site_of(remote.ip)
        if (
            len(listener.streams) >= limits.max_connections
            or len(listener.handshakes) >= limits.max_handshakes
            or list(listener.handshakes.values()).count(site) >= limits.max_handshakes_per_site
        ):
            self._turn_away(listener, sock, remote)
            return
        listener.is_full = False
        listener.count += 1
        name = f"{listener.key}/{listener.count}"
        listener.streams.add(name)
        listener.handshakes[name] = site
        self._doors[name] = listener
        stream = self._new_stream(name, remote, context=listener.context, listener_key=listener.key)
        stream.sock = sock
        self._open(stream, self._welcome(stream))

    def _turn_away(self, listener: _Listener, sock: socket.socket, remote: Address) -> None:
        _reset(sock)
        if not listener.is_full:
            listener.is_full = True
            self._record(
                Note(
                    "warning",
                    f"listener {listener.key} at {listener.local} turns {remote} away: it has "
                    f"{len(listener.streams)} connections, {len(listener.handshakes)} of them unfinished",
                )
            )

    async def _welcome(self, stream: Stream) -> None:
        sock = stream.sock
        assert sock is not None
        _prepare(sock)
        stream.sock = None  # from here on the transport closes it
        try:
            await self._loop.connect_accepted_socket(lambda: stream, sock)
        except OSError as error:
            self.gone(stream, reasons.failure_words(error))

    # --- connections ------------------------------------------------------------------------------------
    def connect(self, request: Connect) -> None:
        context: ssl.SSLContext | None = None
        server_name: str | None = None
        try:
            if request.tls is not None:
                server_name = request.tls.server_name.rstrip(".")
                context = self._keystore.client_context(request.tls)
                _check_server_name(context, server_name)
        except EnvironmentFailure as failure:
            self._deliver(StreamClosed(request.stream, str(failure)))
            return
        stream = self._new_stream(request.stream, request.remote, context=context, server_name=server_name)
        self._open(stream, self._dial(stream, request))

    async def _dial(self, stream: Stream, request: Connect) -> None:
        try:
            sock = stream.sock = _stream_socket(stream.remote)
            if request.local_port:
                # RFC 6544 appendix B: the listener's port, and that of other connections to elsewhere.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if request.local_ip is not None:
                sock.bind((request.local_ip, request.local_port))
            async with asyncio.timeout(self._limits.connect_timeout):
                await self._loop.sock_connect(sock, stream.remote)
            _prepare(sock)
            stream.sock = None  # from here on the transport closes it
            await self._loop.create_connection(lambda: stream, sock=sock)
        except OSError as error:
            self.gone(stream, reasons.failure_words(error))

    def send(self, name: str, data: bytes) -> None:
        """To a stream that is gone: lost, like what was under way when it went."""
        stream = self._streams.get(name)
        if stream is not None:
            stream.send(data)
            if stream.waiting() > self._limits.send_buffer:
                stream.end(reasons.SLOW_READER, abort=True)

    def close(self, name: str, *, abort: bool) -> None:
        stream = self._streams.get(name)
        if stream is None:
            return
        if stream.transport is None:
            if stream.opening is not None:
                stream.opening.cancel()
            self.gone(stream, reasons.CLOSED_BY_US)
        else:
            stream.end(reasons.CLOSED_BY_US, abort=abort)

    def knows(self, name: str) -> bool:
        return name in self._streams

    async def close_all(self, grace: float) -> None:
        """Listeners at once; connections after what was sent, or after `grace` seconds without it."""
        for key in list(self._listeners):
            self.close_listener(key)
        for name in list(self._streams):
            self.close(name, abort=False)
        await asyncio.gather(*self._opening, return_exceptions=True)
        ending = list(self._streams.values())
        if ending:
            await asyncio.wait([stream.finished for stream in ending], timeout=grace)
            for stream in ending:
                stream.end(reasons.CLOSED_BY_US, abort=True)
            await asyncio.wait([stream.finished for stream in ending], timeout=grace)

    # --- what they share --------------------------------------------------------------------------------
    def _new_stream(
        self,
        name: str,
        remote: Address,
        *,
        context: ssl.SSLContext | None,
        server_name: str | None = None,
        listener_key: str | None = None,
    ) -> Stream:
        stream = self._streams[name] = Stream(
            self,
            name,
            remote,
            listener_key=listener_key,
            context=context,
            server_name=server_name,
            handshake_timeout=self._limits.handshake_timeout,
            congestion_mark=self._limits.congestion_mark,
            linger=self._limits.linger,
        )
        return stream

    def _open(self, stream: Stream, opening: Coroutine[None, None, None]) -> None:
        task = stream.opening = self._loop.create_task(opening)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        task.add_done_callback(stream.drop_socket)

    # --- told by the streams ----------------------------------------------------------------------------
    def is_current(self, stream: Stream) -> bool:
        """False once the machine was told of its end, or gave it up."""
        return self._streams.get(stream.name) is stream

    def up(self, stream: Stream, local: Address, peer: TlsPeer | None) -> None:
        if stream.listener_key is None:
            self._deliver(StreamConnected(stream.name, local, stream.remote, peer))
            return
        self._doors[stream.name].handshakes.pop(stream.name, None)
        self._deliver(StreamAccepted(stream.name, stream.listener_key, local, stream.remote, peer))

    def received(self, stream: Stream, data: bytes) -> None:
        self._deliver(StreamReceived(stream.name, data))

    def congested(self, stream: Stream, congested: bool) -> None:
        self._deliver(StreamCongested(stream.name, congested))

    def gone(self, stream: Stream, reason: str) -> None:
        """The end of a stream, however it came. Only the first call for a stream counts."""
        if not self.is_current(stream):
            return
        del self._streams[stream.name]
        listener = self._doors.pop(stream.name, None)
        if listener is not None:
            listener.streams.discard(stream.name)
            listener.handshakes.pop(stream.name, None)
        if stream.listener_key is not None and not stream.is_up:
            # The machine never heard of it; the trace still says who was refused and why.
            self._record(ConnectionClosed(stream.name, reason, stream.remote))
        else:
            self._deliver(StreamClosed(stream.name, reason))


def _check_server_name(context: ssl.SSLContext, name: str) -> None:
    """OpenSSL's own opinion, before a connection is made for a name that no handshake could carry."""
    try:
        TlsPipe(context, server_name=name)
    except ValueError as error:
        raise EnvironmentFailure(f"{name!r} is not a name that TLS could check") from error


def _stream_socket(address: Address) -> socket.socket:
    family = socket.AF_INET6 if address.family == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _prepare(sock: socket.socket) -> None:
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _reset(sock: socket.socket) -> None:
    """Close at once, so that the other end sees a refusal and we keep no TIME_WAIT."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
