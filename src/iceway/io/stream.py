"""One TCP connection of a driver, with TLS in it where asked: handshake, name check, bytes, end.

The owner is told that it is up, what came, and its end with a reason, each in order. Ending is graceful
unless asked otherwise: what was sent goes out, then we say that no more comes and wait, a bounded time, for
the other end to do the same; closing at once would make the kernel reset what is still under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from functools import lru_cache
from typing import Protocol, cast

from iceway.core.address import Address, canonical_ip
from iceway.core.machine import TlsPeer
from iceway.io import reasons
from iceway.io.tls import TlsPipe


class StreamOwner(Protocol):
    """Who is told. `gone` comes exactly once for every connection that was made."""

    def is_current(self, stream: Stream) -> bool: ...

    def up(self, stream: Stream, local: Address, peer: TlsPeer | None) -> None: ...

    def received(self, stream: Stream, data: bytes) -> None: ...

    def congested(self, stream: Stream, congested: bool) -> None: ...

    def gone(self, stream: Stream, reason: str) -> None: ...


class Stream(asyncio.Protocol):
    """Before the transport there may be a `sock` and an `opening` task; see `drop_socket`."""

    def __init__(
        self,
        owner: StreamOwner,
        name: str,
        remote: Address,
        *,
        listener_key: str | None,
        context: ssl.SSLContext | None,
        server_name: str | None,
        handshake_timeout: float,
        congestion_mark: int,
        linger: float,
    ) -> None:
        self.name = name
        self.remote = remote
        self.listener_key = listener_key
        self.sock: socket.socket | None = None
        self.opening: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.is_up = False
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._context = context
        self._server_name = server_name
        self._handshake_timeout = handshake_timeout
        self._congestion_mark = congestion_mark
        self._linger = linger
        self._pipe: TlsPipe | None = None
        self._reason: str | None = None
        self._deadline: asyncio.TimerHandle | None = None  # of the handshake, then of ending

    # --- for the owner ----------------------------------------------------------------------------------
    def send(self, data: bytes) -> None:
        """Before it is up and after it ends: lost."""
        if not self.is_up or self._reason is not None or not data:
            return
        assert self.transport is not None
        if self._pipe is None:
            self.transport.write(data)
        else:
            self._pipe.write(data)
            self._flush()

    def waiting(self) -> int:
        """Bytes that the other end has not taken yet."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def end(self, reason: str, *, abort: bool = False) -> None:
        """Close. The first reason stands; aborting throws away what waits."""
        if self.transport is None or self.finished.done():
            return
        first = self._reason is None
        self._reason = self._reason or reason
        if abort:
            self._set_deadline(None)
            self.transport.abort()
        elif first:
            if self._pipe is not None:
                self._pipe.close()
                self._flush()
            self._set_deadline(self._linger)
            if not self.transport.is_closing():
                with contextlib.suppress(OSError):
                    self.transport.write_eof()

    def drop_socket(self, _: object = None) -> None:
        """Close the socket of an attempt that never became a transport.

        Only after its task has ended: while the loop may still watch the descriptor, closing it would let
        another socket take the number and the events.
        """
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    # --- from the transport -----------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if not self._owner.is_current(self):
            self.end(reasons.CLOSED_BY_US, abort=True)
            return
        self.transport.set_write_buffer_limits(high=self._congestion_mark, low=self._congestion_mark // 4)
        if self._context is None:
            self._up(None)
            return
        self._pipe = TlsPipe(
            self._context, server_side=self.listener_key is not None, server_name=self._server_name
        )
        self._set_deadline(self._handshake_timeout)
        self._advance(b"")

    def data_received(self, data: bytes) -> None:
        if self._reason is not None:
            return
        if self._pipe is None:
            self._owner.received(self, bytes(data))
        else:
            self._advance(data)

    def eof_received(self) -> None:
        """The transport now closes by itself once what waits is taken, for which it has a bounded time."""
        if self._reason is None:
            unfinished = self._pipe is not None and not self._pipe.is_up
            self._reason = reasons.CLOSED_BY_PEER + (" during the TLS handshake" if unfinished else "")
            self._set_deadline(self._linger)

    def pause_writing(self) -> None:
        if self.is_up and self._reason is None:
            self._owner.congested(self, True)

    def resume_writing(self) -> None:
        if self.is_up and self._reason is None:
            self._owner.congested(self, False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.finished.done():
            self.finished.set_result(None)
        self._owner.gone(self, self._reason or reasons.failure_words(exc))

    # --- TLS --------------------------------------------------------------------------------------------
    def _advance(self, data: bytes) -> None:
        pipe = self._pipe
        assert pipe is not None
        plain = pipe.advance(data)
        self._flush()
        if pipe.is_up and not self.is_up:
            certificate = pipe.certificate()
            mismatch = self._server_name and reasons.name_mismatch(certificate, self._server_name)
            if mismatch:
                self.end(mismatch)
                return
            self._up(TlsPeer(reasons.certificate_names(certificate)))
        if plain and self._reason is None:
            self._owner.received(self, plain)
        if pipe.failure is not None:
            self.end(reasons.failure_words(pipe.failure))
        elif pipe.is_over:
            self.end(reasons.CLOSED_BY_PEER)

    def _flush(self) -> None:
        assert self._pipe is not None
        assert self.transport is not None
        data = self._pipe.outgoing()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def _up(self, peer: TlsPeer | None) -> None:
        self._set_deadline(None)
        self.is_up = True
        assert self.transport is not None
        self._owner.up(self, socket_address(self.transport.get_extra_info("sockname")), peer)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        self.end(reasons.HANDSHAKE_TIMED_OUT, abort=True)  # while ending, the reason stands already


@lru_cache(maxsize=4096)
def socket_address(sockname: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """An address as the socket module tells it."""
    ip, port = sockname[0], sockname[1]
    return Address(canonical_ip(ip) if ":" in ip else ip, port)
