"""The TCP and TLS connections of one driver, those it makes and those it accepts.

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
from typing import cast

from iceway.core.address import Address, canonical_ip
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
    TlsClient,
    TlsPeer,
)
from iceway.io import reasons
from iceway.io.keystore import KeyStore
from iceway.trace.records import ConnectionClosed, Note, Record

BACKLOG = 512
ACCEPT_BATCH = 64
SHUTDOWN_TIMEOUT = 1.0  # seconds for the other end's half of closing TLS
ACCEPT_PAUSE = 1.0  # seconds without accepting when the process has no descriptor left


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What one driver puts up with. Connections and handshakes count per listener."""

    max_connections: int = 4096
    max_handshakes: int = 256
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
    handshakes: int = 0
    count: int = 0
    full: bool = False


class Streams:
    """Listeners and connections by the machine's names. `deliver` gets inputs, `record` gets records."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[Input], None],
        record: Callable[[Record], None],
        keystore: KeyStore,
        limits: StreamLimits,
    ) -> None:
        self.limits = limits
        self._loop = loop
        self._deliver = deliver
        self._record = record
        self._keystore = keystore
        self._listeners: dict[str, _Listener] = {}
        self._streams: dict[str, _Stream] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._closing: set[_Stream] = set()

    # --- listeners --------------------------------------------------------------------------------------
    def listen(self, request: Listen) -> ListenerOpened | ListenerFailed:
        if request.key in self._listeners:
            return ListenerFailed(request.key, "this listener is open already")
        try:
            context = self._keystore.server_context(request.tls) if request.tls else None
        except EnvironmentFailure as failure:
            return ListenerFailed(request.key, str(failure))
        sock: socket.socket | None = None
        try:
            sock = _stream_socket(request.local)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(request.local)
            sock.listen(BACKLOG)
        except OSError as error:
            if sock is not None:
                sock.close()
            return ListenerFailed(request.key, reasons.bind_words(error, request.local))
        listener = _Listener(request.key, sock, _address(sock.getsockname()), context)
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
            self._admit(listener, sock, _address(remote))
            if listener.key not in self._listeners:
                return

    def _pause(self, listener: _Listener, error: OSError) -> None:
        words = reasons.failure_words(error)
        self._record(Note("warning", f"listener {listener.key} at {listener.local} pauses: {words}"))
        self._loop.remove_reader(listener.sock.fileno())
        self._loop.call_later(ACCEPT_PAUSE, self._resume, listener)

    def _resume(self, listener: _Listener) -> None:
        if self._listeners.get(listener.key) is listener:
            self._loop.add_reader(listener.sock.fileno(), self._accept, listener)

    def _admit(self, listener: _Listener, sock: socket.socket, remote: Address) -> None:
        if (
            len(listener.streams) >= self.limits.max_connections
            or listener.handshakes >= self.limits.max_handshakes
        ):
            if not listener.full:
                listener.full = True
                self._record(
                    Note(
                        "warning",
                        f"listener {listener.key} at {listener.local} turns {remote} away: "
                        f"{len(listener.streams)} connections, {listener.handshakes} unfinished handshakes",
                    )
                )
            _reset(sock)
            return
        listener.full = False
        listener.count += 1
        name = f"{listener.key}/{listener.count}"
        listener.streams.add(name)
        listener.handshakes += 1
        stream = _Stream(self, name, remote, listener=listener)
        stream.sock = sock
        self._streams[name] = stream
        self._open(stream, self._welcome(stream, sock, listener.context))

    async def _welcome(self, stream: _Stream, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        _prepare(sock)
        stream.sock = None
        try:
            await self._loop.connect_accepted_socket(
                lambda: stream,
                sock,
                ssl=context,
                ssl_handshake_timeout=self.limits.handshake_timeout if context else None,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT if context else None,
            )
        except Exception as error:
            self.gone(stream, _handshake_words(error) if context else reasons.failure_words(error))

    # --- connections ------------------------------------------------------------------------------------
    def connect(self, request: Connect) -> None:
        stream = _Stream(self, request.stream, request.remote, tls=request.tls)
        self._streams[request.stream] = stream
        self._open(stream, self._dial(stream, request))

    def knows(self, name: str) -> bool:
        return name in self._streams

    def is_current(self, stream: _Stream) -> bool:
        """False once the machine was told of its end, or gave it up."""
        return self._streams.get(stream.name) is stream

    async def _dial(self, stream: _Stream, request: Connect) -> None:
        context: ssl.SSLContext | None = None
        server_name: str | None = None
        try:
            if request.tls is not None:
                server_name = request.tls.server_name.rstrip(".")
                context = self._keystore.client_context(request.tls)
                _check_server_name(context, server_name)
            sock = stream.sock = _stream_socket(request.remote)
            if request.local_ip is not None:
                sock.bind((request.local_ip, 0))
            async with asyncio.timeout(self.limits.connect_timeout):
                await self._loop.sock_connect(sock, request.remote)
        except Exception as error:
            self.gone(stream, reasons.failure_words(error))
            return
        _prepare(sock)
        stream.sock = None
        try:
            await self._loop.create_connection(
                lambda: stream,
                sock=sock,
                ssl=context,
                server_hostname=server_name,
                ssl_handshake_timeout=self.limits.handshake_timeout if context else None,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT if context else None,
            )
        except Exception as error:
            self.gone(stream, _handshake_words(error) if context else reasons.failure_words(error))

    # --- both -------------------------------------------------------------------------------------------
    def _open(self, stream: _Stream, opening: Coroutine[None, None, None]) -> None:
        task = stream.opening = self._loop.create_task(opening)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        # Only now: while the loop may still watch the descriptor, closing it would let a stranger reuse it.
        task.add_done_callback(stream.drop_socket)

    def send(self, name: str, data: bytes) -> None:
        """To a stream that is gone: lost, like what was under way when it went."""
        stream = self._streams.get(name)
        if stream is not None and stream.transport is not None and not stream.transport.is_closing():
            stream.transport.write(data)
            if stream.transport.get_write_buffer_size() > self.limits.send_buffer:
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

    async def close_all(self, grace: float) -> None:
        """Listeners at once; connections after what was sent, or after `grace` seconds without it."""
        for key in list(self._listeners):
            self.close_listener(key)
        for name in list(self._streams):
            self.close(name, abort=False)
        await asyncio.gather(*self._opening, return_exceptions=True)
        if self._closing:
            await asyncio.wait([stream.finished for stream in self._closing], timeout=grace)
        for stream in list(self._closing):
            stream.end(reasons.CLOSED_BY_US, abort=True)
        if self._closing:
            await asyncio.wait([stream.finished for stream in self._closing], timeout=grace)

    # --- told by the streams ----------------------------------------------------------------------------
    def up(self, stream: _Stream, local: Address, peer: TlsPeer | None) -> None:
        if stream.listener is not None:
            stream.listener.handshakes -= 1
            self._deliver(StreamAccepted(stream.name, stream.listener.key, local, stream.remote, peer))
        else:
            self._deliver(StreamConnected(stream.name, local, stream.remote, peer))

    def received(self, stream: _Stream, data: bytes) -> None:
        self._deliver(StreamReceived(stream.name, data))

    def congested(self, stream: _Stream, congested: bool) -> None:
        self._deliver(StreamCongested(stream.name, congested))

    def ending(self, stream: _Stream) -> None:
        self._closing.add(stream)

    def gone(self, stream: _Stream, reason: str) -> None:
        """The end of a stream, however it came. Only the first call for a stream counts."""
        self._closing.discard(stream)
        if self._streams.get(stream.name) is not stream:
            return
        del self._streams[stream.name]
        listener = stream.listener
        if listener is not None:
            listener.streams.discard(stream.name)
            if not stream.is_up:
                # The machine never heard of it; the trace still says who was refused and why.
                listener.handshakes -= 1
                self._record(ConnectionClosed(stream.name, reason, stream.remote))
                return
        self._deliver(StreamClosed(stream.name, reason))


class _Stream(asyncio.Protocol):
    """One connection, ours or accepted."""

    def __init__(
        self,
        streams: Streams,
        name: str,
        remote: Address,
        *,
        listener: _Listener | None = None,
        tls: TlsClient | None = None,
    ) -> None:
        self.name = name
        self.remote = remote
        self.listener = listener
        self.sock: socket.socket | None = None  # until a transport owns it
        self.opening: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.is_up = False
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._streams = streams
        self._tls = tls
        self._reason: str | None = None
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if not self._streams.is_current(self):
            self.end(reasons.CLOSED_BY_US, abort=True)
            return
        mark = self._streams.limits.congestion_mark
        self.transport.set_write_buffer_limits(high=mark, low=mark // 4)
        peer: TlsPeer | None = None
        secured = transport.get_extra_info("ssl_object")
        if secured is not None:
            certificate = secured.getpeercert()
            if self._tls is not None:
                mismatch = reasons.name_mismatch(certificate, self._tls.server_name)
                if mismatch is not None:
                    self.end(mismatch, abort=True)
                    return
            peer = TlsPeer(reasons.certificate_names(certificate))
        self.is_up = True
        self._streams.up(self, _address(transport.get_extra_info("sockname")), peer)

    def data_received(self, data: bytes) -> None:
        if self._reason is None:
            self._streams.received(self, bytes(data))

    def pause_writing(self) -> None:
        self._streams.congested(self, True)

    def resume_writing(self) -> None:
        if self._reason is None:
            self._streams.congested(self, False)

    def end(self, reason: str, *, abort: bool) -> None:
        """Close. The first reason stands."""
        if self.transport is None:
            return
        if self._reason is None:
            self._reason = reason
            self._streams.ending(self)
        if abort:
            self.transport.abort()
        elif self._linger is None:
            self.transport.close()
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(self._streams.limits.linger, self.transport.abort)

    def drop_socket(self, _: object = None) -> None:
        """Close the socket of an attempt that never became a transport."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        if not self.finished.done():
            self.finished.set_result(None)
        self._streams.gone(self, self._reason or reasons.failure_words(exc))


def _handshake_words(error: BaseException) -> str:
    if isinstance(error, ConnectionAbortedError) and "handshake" in str(error):
        return reasons.HANDSHAKE_TIMED_OUT
    return reasons.failure_words(error)


def _check_server_name(context: ssl.SSLContext, name: str) -> None:
    """OpenSSL's own opinion, before a connection is made for a name that no handshake could carry."""
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
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


def _address(sockname: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    ip, port = sockname[0], sockname[1]
    return Address(canonical_ip(ip) if ":" in ip else ip, port)
