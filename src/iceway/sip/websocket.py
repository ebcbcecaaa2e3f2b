"""The server's end of a WebSocket that carries SIP (RFC 6455, RFC 7118), as bytes in and bytes out.

It stands where `StreamFramer` stands on other connections: feed what the stream brings, take whole messages and
keep-alives out. What it has to say itself (the handshake's answer, pongs, a close frame) waits in `to_send`.
One SIP message is one WebSocket message, text or binary. A peer that breaks the protocol is told so with the
close code that the RFC names, and `next_frame` raises MalformedMessage, once.

Whoever asks for no WebSocket gets the pages that live at the same door, if there are any, and may ask on.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from iceway.core.errors import ParseError
from iceway.web.pages import MAX_SERVED, Pages
from iceway.wire.http import parse_request
from iceway.wire.sip import Keepalive, MalformedMessage
from iceway.wire.sip.framer import MAX_HEAD

SUBPROTOCOL = Subprotocol("sip")  # RFC 7118 §4.1
MAX_HANDSHAKE = 16 * 1024
MAX_MESSAGE = MAX_HEAD + 256 * 1024

# What happens here is told by records; the library's own diary would be a second one.
_SILENT = logging.Logger("websocket", level=logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class WebSocketConfig:
    """Who may open a WebSocket: by the path of the URL and, of browsers, by the page's origin. None named: pages of
    this door; "*": any.

    Who is no browser says no origin, or whatever it likes; it is the password that lets people in. A connection that
    asks neither for a WebSocket nor for a page within `handshake_timeout` seconds is closed.
    """

    path: str = "/"
    origins: tuple[str, ...] = ()
    handshake_timeout: float = 10.0
    max_message: int = MAX_MESSAGE
    pages: Pages | None = None


class WebSocket:
    """See the module's law. `ended` says why there is nothing more to read: refused, or closed by the peer."""

    def __init__(self, config: WebSocketConfig) -> None:
        self._config = config
        self._protocol = _Server(subprotocols=[SUBPROTOCOL], max_size=config.max_message, logger=_SILENT)
        self._pages = bytearray()
        self._served = 0
        self._handshake: bytearray | None = bytearray()
        self._frames: deque[Frame] = deque()
        self._message = bytearray()
        self._is_text = False
        self._unread = 0  # octets that belong to no whole frame yet
        self._in_pieces = False
        self._fault: str | None = None
        self.ended: str | None = None

    @property
    def handshake_timeout(self) -> float:
        return self._config.handshake_timeout

    @property
    def is_open(self) -> bool:
        """Messages can be sent: the handshake is over and nobody has said goodbye."""
        return self._protocol.state is State.OPEN

    @property
    def holds_partial(self) -> bool:
        """Whether a message has begun and not ended. (The handshake has a limit of its own.)"""
        return self._in_pieces or self._unread > 0

    # --- what comes in --------------------------------------------------------------------------------
    def feed(self, data: bytes) -> None:
        while self._handshake is not None and data and self.ended is None:
            data = self._shake_hands(self._handshake, data)
        if self.is_open and data:
            self._unread += len(data)
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                frame = cast(Frame, event)
                self._unread = max(0, self._unread - _octets(frame))
                self._frames.append(frame)
            if self._protocol.parser_exc is not None:
                self._fault = f"not a WebSocket frame: {self._protocol.parser_exc}"

    def next_frame(self) -> bytes | Keepalive | None:
        """The next whole message or keep-alive; None until more is fed. Raises MalformedMessage."""
        while self._frames:
            frame = self._frames.popleft()
            if frame.opcode is Opcode.CLOSE:
                self.ended = f"closed by peer ({self._protocol.close_rcvd})"
            elif frame.opcode is Opcode.PONG:
                return Keepalive.PONG
            elif frame.opcode is not Opcode.PING:  # which has been answered
                found = self._take(frame)
                if found is not None:
                    return found
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise MalformedMessage(fault)
        return None

    # --- what goes out --------------------------------------------------------------------------------
    def to_send(self) -> bytes:
        """What the WebSocket itself has to say by now, or the pages that were asked for instead of it."""
        pages = bytes(self._pages)
        self._pages.clear()
        return pages + b"".join(self._protocol.data_to_send())

    def wrap(self, data: bytes) -> bytes:
        """A message, or a keep-alive, as it goes out. Text if it can be (RFC 7118 §4.2); our ping is a frame."""
        if not self.is_open:
            return b""
        if data == Keepalive.PING.value:
            self._protocol.send_ping(b"")
        elif _is_utf8(data):
            self._protocol.send_text(data)
        else:
            self._protocol.send_binary(data)
        return self.to_send()

    def goodbye(self, reason: str) -> bytes:
        """Our close frame, if the peer still waits for one."""
        if self.is_open:
            self._protocol.send_close(CloseCode.GOING_AWAY, reason.encode()[:120].decode(errors="ignore"))
        return self.to_send()

    # --- handshake: RFC 6455 §4.2, RFC 7118 §4.1 --------------------------------------------------------
    def _shake_hands(self, begun: bytearray, data: bytes) -> bytes:
        """Answer the handshake, or a request for a page, when it is whole, and return what came behind it."""
        searched = max(0, len(begun) - 3)
        begun += data
        end = begun.find(b"\r\n\r\n", searched)
        if (len(begun) if end < 0 else end) > MAX_HANDSHAKE:
            self._handshake = None
            self._fault = f"a handshake larger than {MAX_HANDSHAKE} octets"
            return b""
        if end < 0:
            return b""
        head, behind = bytes(begun[: end + 4]), bytes(begun[end + 4 :])
        if self._serves(head):
            self._handshake = bytearray()
            return behind
        self._handshake = None
        self._protocol.receive_data(head)
        for event in self._protocol.events_received():
            self._answer(cast(Request, event))
        refused = self._protocol.handshake_exc
        if refused is not None and self.ended is None:
            self._fault = f"not a WebSocket handshake: {refused.__cause__ or refused}"
        return behind

    def _serves(self, head: bytes) -> bool:
        """Answer a request for a page; anything else is for the WebSocket to take or to refuse."""
        if self._config.pages is None:
            return False
        try:
            request = parse_request(head)
        except ParseError:
            return False
        if request.wants_websocket:
            return False
        answer = self._config.pages.answer(request)
        self._pages += answer.data
        self._served += len(answer.data)
        if answer.last:
            self.ended = "the page that was asked for is served"
        elif self._served > MAX_SERVED:
            self.ended = "pages enough for one connection are served"
        return True

    def _answer(self, request: Request) -> None:
        if request.path.partition("?")[0] != self._config.path:
            response = self._protocol.reject(404, f"There is no WebSocket here, but at {self._config.path}\n")
            self.ended = "no WebSocket at the path asked for"
        elif not self._may_come(request):
            response = self._protocol.reject(403, "Pages of that origin may not connect here\n")
            self.ended = "refused: a page of another origin"
        else:
            response = self._protocol.accept(request)
            if self._protocol.handshake_exc is not None:
                self.ended = f"refused: {self._protocol.handshake_exc}"
        self._protocol.send_response(response)

    def _may_come(self, request: Request) -> bool:
        """RFC 6454: whose page asks. Over TLS, as all doors for browsers are."""
        told = request.headers.get_all("Origin")
        allowed = self._config.origins
        if not told or "*" in allowed:
            return True
        here = {f"https://{host.lower().removesuffix(':443')}" for host in request.headers.get_all("Host")}
        return len(told) == 1 and told[0] in (allowed or here)

    # --- messages -------------------------------------------------------------------------------------
    def _take(self, frame: Frame) -> bytes | Keepalive | None:
        if frame.opcode is not Opcode.CONT:
            self._message.clear()
            self._is_text = frame.opcode is Opcode.TEXT
        self._message += frame.data
        self._in_pieces = not frame.fin
        if not frame.fin:
            return None
        message = bytes(self._message)
        self._message.clear()
        if self._is_text and not _is_utf8(message):
            raise self._failure(CloseCode.INVALID_DATA, "text that is not UTF-8")
        if message in (b"", Keepalive.PONG.value):
            return Keepalive.PONG
        if message == Keepalive.PING.value:
            return Keepalive.PING
        if message.find(b"\r\n\r\n", 0, MAX_HEAD + 4) < 0 and len(message) > MAX_HEAD:
            raise self._failure(CloseCode.MESSAGE_TOO_BIG, f"headers larger than {MAX_HEAD} octets")
        return message

    def _failure(self, code: CloseCode, fault: str) -> MalformedMessage:
        """What ends the connection, after the peer has been told."""
        if self.is_open:
            self._protocol.fail(code, fault)
        self._frames.clear()
        self._fault = None
        return MalformedMessage(fault)


class _Server(ServerProtocol):
    """Without the time in its answers: machines know no clock but `now`."""

    def send_response(self, response: Response) -> None:
        del response.headers["Date"]
        super().send_response(response)


def _octets(frame: Frame) -> int:
    """The size of a client's frame on the wire (RFC 6455 §5.2): head, mask and payload."""
    length = len(frame.data)
    return 6 + (0 if length < 126 else 2 if length < 65536 else 8) + length


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
