"""Finding messages in a stream (RFC 3261 §18.3) and the keep-alives between them (RFC 5626 §4.4.1).

Feed bytes in any pieces; `next_frame` gives whole messages as bytes, or a keep-alive. What comes out does not
depend on how the bytes were cut. Whoever accepted the connection reads CRLF CRLF between messages as a ping;
whoever opened it reads CRLF as a pong. A stream without a trustworthy length is beyond repair: the framer
raises MalformedMessage once and must then be thrown away with its connection.
"""

from __future__ import annotations

from enum import Enum

from iceway.core.errors import ParseError
from iceway.wire.sip.message import MalformedMessage, Request, content_length, split_head

MAX_HEAD = 64 * 1024
MAX_BODY = 1024 * 1024


class Keepalive(Enum):
    PING = b"\r\n\r\n"
    PONG = b"\r\n"


class StreamFramer:
    """`opened`: we opened the connection, so what comes between messages are pongs."""

    def __init__(self, opened: bool, max_head: int = MAX_HEAD, max_body: int = MAX_BODY) -> None:
        self._opened = opened
        self._max_head = max_head
        self._max_body = max_body
        self._buffer = bytearray()
        self._searched = 0
        self._wanted = 0  # size of the message being received, once its head is known
        self._half_ping = False

    @property
    def holds_partial(self) -> bool:
        """Whether a message has begun and not ended: how a half-message timeout is judged."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_frame(self) -> bytes | Keepalive | None:
        """The next whole message or keep-alive; None until more is fed. Raises MalformedMessage."""
        while not self._wanted and self._buffer[:2] == b"\r\n":
            del self._buffer[:2]
            if self._opened:
                return Keepalive.PONG
            self._half_ping = not self._half_ping
            if not self._half_ping:
                return Keepalive.PING
        if not self._buffer or (len(self._buffer) == 1 and self._buffer[0] == 0x0D):
            return None
        self._half_ping = False
        if not self._wanted and not self._find_head():
            return None
        if len(self._buffer) < self._wanted:
            return None
        frame = bytes(self._buffer[: self._wanted])
        del self._buffer[: self._wanted]
        self._wanted = self._searched = 0
        return frame

    def _find_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._searched)
        if (len(self._buffer) if end < 0 else end) > self._max_head:
            raise MalformedMessage(f"headers larger than {self._max_head} octets", 513)
        if end < 0:
            self._searched = max(0, len(self._buffer) - 3)
            return False
        start_line, headers = split_head(bytes(self._buffer[:end]))
        method, _, rest = start_line.partition(" ")
        request = (
            None
            if method.upper().startswith("SIP/")
            else Request(method, rest.split(" ")[0], headers=headers)
        )
        try:
            length = content_length(headers)
        except ParseError as error:
            raise MalformedMessage(str(error), request=request) from error
        if length is None:
            raise MalformedMessage("no Content-Length on a stream", request=request)
        if length > self._max_body:
            raise MalformedMessage(f"body of {length} octets, at most {self._max_body} taken", 513, request)
        self._wanted = end + 4 + length
        return True
