"""One TLS connection as a pipe between two byte queues, with no socket of its own.

asyncio's TLS drops the alert that says why a handshake failed, so the other end would only ever read "closed".
Here whatever OpenSSL wants to say goes out, a failure is a value beside the bytes that came before it, and
both event loops behave alike.
"""

from __future__ import annotations

import ssl
from typing import Any

_READ = 65536


class TlsPipe:
    """Network bytes go into `advance`, plain text comes out; `outgoing` is what must be sent next."""

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool = False, server_name: str | None = None
    ) -> None:
        """Raises ValueError if `server_name` cannot stand in a handshake."""
        self._received = ssl.MemoryBIO()
        self._to_send = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._received, self._to_send, server_side=server_side, server_hostname=server_name
        )
        self.is_up = False
        self.is_over = False  # the other end said that it sends no more
        self.failure: ssl.SSLError | None = None

    def advance(self, data: bytes) -> bytes:
        """Take what came from the network (nothing, to begin) and return the plain text in it."""
        self._received.write(data)
        plain = bytearray()
        try:
            if not self.is_up:
                self._tls.do_handshake()
                self.is_up = True
            while chunk := self._tls.read(_READ):
                plain += chunk
            self.is_over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_over = True
        except ssl.SSLError as error:
            self.failure = error
        return bytes(plain)

    def write(self, plain: bytes) -> None:
        view = memoryview(plain)
        while view:
            view = view[self._tls.write(view) :]

    def outgoing(self) -> bytes:
        return self._to_send.read()

    def close(self) -> None:
        """Say that nothing more comes (close_notify). Not waited for to be answered."""
        if self.is_up and self.failure is None:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                return

    def certificate(self) -> dict[str, Any] | None:
        """The other end's verified certificate, if it sent one."""
        return self._tls.getpeercert()
