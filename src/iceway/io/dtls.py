"""DTLS 1.2 (RFC 6347) for one driver: connections whose messages are datagrams.

The same promises as of TCP streams: a connection is told when it is up, handshake and name check included, and its
end exactly once. A server keeps nothing for who has not shown that packets reach it: a hello without our cookie is
answered by a shorter message and forgotten. What a handshake lost is repeated by OpenSSL's timers; what machines
send is not.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from OpenSSL import SSL

from iceway.core.address import Address, is_ip, site_of
from iceway.core.errors import EnvironmentFailure
from iceway.core.machine import (
    Connect,
    Input,
    Listen,
    ListenerFailed,
    ListenerOpened,
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamReceived,
    TlsPeer,
)
from iceway.io import reasons
from iceway.io.keystore import HandshakeFacts, KeyStore
from iceway.io.stream import socket_address
from iceway.trace.records import ConnectionClosed, Record
from iceway.wire.dtls import MTU, datagrams, is_hello

BATCH = 32
COOKIE_LENGTH = 16
_LARGEST = 65535
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class DtlsLimits:
    """Connections and handshakes count per listener; times are seconds."""

    max_connections: int = 4096
    max_handshakes: int = 256
    max_handshakes_per_site: int = 64
    handshake_timeout: float = 10.0


@dataclass(slots=True, eq=False)
class _Door:
    """A socket: of a listener, or of a single outgoing connection. `by_remote` are its connections."""

    sock: socket.socket
    local: Address
    key: str = ""
    context: SSL.Context | None = None
    count: int = 0
    by_remote: dict[Address, _Connection] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Connection:
    name: str
    door: _Door
    remote: Address
    tls: SSL.Connection
    server_name: str | None
    is_up: bool = False
    timer: asyncio.TimerHandle | None = None
    deadline: asyncio.TimerHandle | None = None


class DtlsConnections:
    """`deliver` gets the machine's inputs, `settle` the end of each batch, `record` what only the trace needs."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[Input], None],
        settle: Callable[[], None],
        record: Callable[[Record], None],
        keystore: KeyStore,
        limits: DtlsLimits,
    ) -> None:
        self._loop = loop
        self._deliver = deliver
        self._settle = settle
        self._record = record
        self._keystore = keystore
        self._limits = limits
        self._secret = secrets.token_bytes(32)
        self._listeners: dict[str, _Door] = {}
        self._connections: dict[str, _Connection] = {}

    # --- requests ---------------------------------------------------------------------------------------
    def listen(self, request: Listen) -> ListenerOpened | ListenerFailed:
        if request.key in self._listeners:
            return ListenerFailed(request.key, "this listener is open already")
        if request.tls is None:
            return ListenerFailed(request.key, "DTLS needs a certificate")
        try:
            context = self._keystore.datagram_context(request.tls)
            door = self._open(request.local)
        except EnvironmentFailure as failure:
            return ListenerFailed(request.key, str(failure))
        except OSError as error:
            return ListenerFailed(request.key, reasons.bind_words(error, request.local))
        context.set_cookie_generate_callback(self._cookie)
        context.set_cookie_verify_callback(lambda tls, cookie: hmac.compare_digest(self._cookie(tls), cookie))
        door.key, door.context = request.key, context
        self._listeners[request.key] = door
        return ListenerOpened(request.key, door.local)

    def close_listener(self, key: str) -> None:
        """Connections accepted before stay."""
        door = self._listeners.pop(key, None)
        if door is not None:
            door.context = None
            self._shut(door)

    def connect(self, request: Connect) -> None:
        assert request.tls is not None, "DTLS without TLS parameters"
        server_name = request.tls.server_name.rstrip(".")
        family_any = "::" if request.remote.family == 6 else "0.0.0.0"
        try:
            context = self._keystore.datagram_context(request.tls)
            door = self._open(Address(request.local_ip or family_any, 0))
        except EnvironmentFailure as failure:
            self._deliver(StreamClosed(request.stream, str(failure)))
            return
        except OSError as error:
            self._deliver(StreamClosed(request.stream, reasons.failure_words(error)))
            return
        try:
            door.sock.connect(request.remote)
        except OSError as error:
            self._close_door(door)
            self._deliver(StreamClosed(request.stream, reasons.failure_words(error)))
            return
        door.local = socket_address(door.sock.getsockname())
        tls = SSL.Connection(context, None)
        tls.set_app_data(HandshakeFacts(request.remote))
        tls.set_connect_state()
        if not is_ip(server_name):
            tls.set_tlsext_host_name(server_name.encode())
        self._begin(_Connection(request.stream, door, request.remote, tls, server_name))

    def send(self, name: str, data: bytes) -> None:
        """To a connection that is gone or not up yet: lost."""
        connection = self._connections.get(name)
        if connection is None or not connection.is_up or not data:
            return
        try:
            connection.tls.send(data)
        except SSL.Error:
            return  # longer than a record can be: lost like a packet that is too long
        self._flush(connection)

    def close(self, name: str, *, abort: bool) -> None:
        connection = self._connections.get(name)
        if connection is None:
            return
        if connection.is_up and not abort:
            self._say_goodbye(connection)
        self._gone(connection, reasons.CLOSED_BY_US)

    def knows(self, name: str) -> bool:
        return name in self._connections

    def listens(self, key: str) -> bool:
        return key in self._listeners

    def close_all(self) -> None:
        for key in list(self._listeners):
            self.close_listener(key)
        for name in list(self._connections):
            self.close(name, abort=False)

    # --- sockets ----------------------------------------------------------------------------------------
    def _open(self, local: Address) -> _Door:
        family = socket.AF_INET6 if local.family == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            sock.bind(local)
        except BaseException:
            sock.close()
            raise
        door = _Door(sock, socket_address(sock.getsockname()))
        self._loop.add_reader(sock.fileno(), self._read, door)
        return door

    def _shut(self, door: _Door) -> None:
        """Close a socket that neither listens nor has connections."""
        if door.context is None and not door.by_remote:
            self._close_door(door)

    def _close_door(self, door: _Door) -> None:
        if door.sock.fileno() >= 0:
            self._loop.remove_reader(door.sock.fileno())
            door.sock.close()

    def _read(self, door: _Door) -> None:
        for _ in range(BATCH):
            try:
                data, source = door.sock.recvfrom(_LARGEST)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                if door.sock.fileno() < 0:
                    break
                continue  # what an ICMP error says is forgeable; the handshake has timers of its own
            remote = socket_address(source)
            connection = door.by_remote.get(remote)
            if connection is not None:
                self._take(connection, data)
            elif door.context is not None and is_hello(data):
                self._greet(door, remote, data)
        self._settle()

    # --- greeting strangers -----------------------------------------------------------------------------
    def _greet(self, door: _Door, remote: Address, data: bytes) -> None:
        """A hello: with our cookie it begins a connection, without it is told the cookie."""
        assert door.context is not None
        tls = SSL.Connection(door.context, None)
        tls.set_app_data(HandshakeFacts(remote))
        tls.set_accept_state()
        tls.set_ciphertext_mtu(MTU)
        try:
            tls.bio_write(data)
            tls.DTLSv1_listen()
        except SSL.Error:
            self._transmit(door, remote, tls)
            return
        handshakes = [one for one in door.by_remote.values() if not one.is_up]
        site = site_of(remote.ip)
        limits = self._limits
        if (
            len(door.by_remote) >= limits.max_connections
            or len(handshakes) >= limits.max_handshakes
            or sum(site_of(one.remote.ip) == site for one in handshakes) >= limits.max_handshakes_per_site
        ):
            return
        door.count += 1
        self._begin(_Connection(f"{door.key}/{door.count}", door, remote, tls, None))

    def _cookie(self, tls: SSL.Connection) -> bytes:
        return hmac.digest(self._secret, str(tls.get_app_data().remote).encode(), "sha256")[:COOKIE_LENGTH]

    # --- handshakes and data ----------------------------------------------------------------------------
    def _begin(self, connection: _Connection) -> None:
        connection.tls.set_ciphertext_mtu(MTU)
        self._connections[connection.name] = connection
        connection.door.by_remote[connection.remote] = connection
        timeout = self._limits.handshake_timeout
        connection.deadline = self._loop.call_later(timeout, self._overdue, connection)
        self._advance(connection)

    def _take(self, connection: _Connection, data: bytes) -> None:
        try:
            connection.tls.bio_write(data)
        except SSL.Error:
            return
        self._advance(connection)

    def _advance(self, connection: _Connection) -> None:
        """Let OpenSSL do what it can with what is there."""
        try:
            if not connection.is_up:
                connection.tls.do_handshake()
                self._up(connection)
            while self._connections.get(connection.name) is connection:
                self._deliver(StreamReceived(connection.name, connection.tls.recv(_LARGEST)))
        except SSL.WantReadError:
            self._flush(connection)
            self._rearm(connection)
        except SSL.ZeroReturnError:
            self._gone(connection, reasons.CLOSED_BY_PEER)
        except SSL.Error as error:
            self._flush(connection)
            self._gone(connection, failure_words(error, connection.tls))

    def _up(self, connection: _Connection) -> None:
        self._flush(connection)
        described = described_certificate(connection.tls)
        mismatch = connection.server_name and reasons.name_mismatch(described, connection.server_name)
        if mismatch:
            self._say_goodbye(connection)
            self._gone(connection, mismatch)
            return
        connection.is_up = True
        if connection.deadline is not None:
            connection.deadline.cancel()
        peer, door = TlsPeer(reasons.certificate_names(described)), connection.door
        if door.key:
            self._deliver(StreamAccepted(connection.name, door.key, door.local, connection.remote, peer))
        else:
            self._deliver(StreamConnected(connection.name, door.local, connection.remote, peer))

    def _rearm(self, connection: _Connection) -> None:
        """OpenSSL says when it wants to repeat its flight."""
        if connection.timer is not None:
            connection.timer.cancel()
            connection.timer = None
        left = connection.tls.DTLSv1_get_timeout()
        if left is not None and not connection.is_up:
            delay = math.ceil(left * 1000) / 1000
            connection.timer = self._loop.call_later(delay, self._repeat, connection)

    def _repeat(self, connection: _Connection) -> None:
        if self._connections.get(connection.name) is not connection:
            return
        try:
            connection.tls.DTLSv1_handle_timeout()
        except SSL.Error:
            self._gone(connection, reasons.HANDSHAKE_TIMED_OUT)
            self._settle()
            return
        self._flush(connection)
        self._rearm(connection)

    def _overdue(self, connection: _Connection) -> None:
        self._gone(connection, reasons.HANDSHAKE_TIMED_OUT)
        self._settle()

    def _say_goodbye(self, connection: _Connection) -> None:
        try:
            connection.tls.shutdown()
        except SSL.Error:
            return
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        self._transmit(connection.door, connection.remote, connection.tls)

    def _transmit(self, door: _Door, remote: Address, tls: SSL.Connection) -> None:
        """Send what OpenSSL wrote, cut into datagrams at the borders of its records."""
        waiting = b""
        while True:
            try:
                waiting += tls.bio_read(_LARGEST)
            except SSL.WantReadError:
                break
        for datagram in datagrams(waiting):
            try:
                if door.key:
                    door.sock.sendto(datagram, remote)
                else:
                    door.sock.send(datagram)
            except OSError:
                return  # full buffers, no route: lost like a packet

    def _gone(self, connection: _Connection, reason: str) -> None:
        if self._connections.get(connection.name) is not connection:
            return
        del self._connections[connection.name]
        del connection.door.by_remote[connection.remote]
        for timer in (connection.timer, connection.deadline):
            if timer is not None:
                timer.cancel()
        self._shut(connection.door)
        if connection.door.key and not connection.is_up:
            # The machine never heard of it; the trace still says who failed and why.
            self._record(ConnectionClosed(connection.name, reason, connection.remote))
        else:
            self._deliver(StreamClosed(connection.name, reason))


def described_certificate(tls: SSL.Connection) -> dict[str, object] | None:
    """The other end's verified certificate in the form of `ssl.SSLObject.getpeercert`: its names."""
    certificate = tls.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return None
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return {"subjectAltName": ()}
    dns = tuple(("DNS", name) for name in names.get_values_for_type(x509.DNSName))
    ips = tuple(("IP Address", str(ip)) for ip in names.get_values_for_type(x509.IPAddress))
    return {"subjectAltName": dns + ips}


def failure_words(error: SSL.Error, tls: SSL.Connection) -> str:
    """Why OpenSSL gave up."""
    distrusted = tls.get_app_data().distrusted
    if distrusted:
        return reasons.distrust_words(distrusted)
    said = (
        [reason for _, _, reason in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    )
    return reasons.tls_words(said[0].upper().replace(" ", "_") if said else "NO_REASON_GIVEN")
