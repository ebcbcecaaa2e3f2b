"""A browser's end of a WebSocket, on a bench: it shakes hands, says SIP messages and hears them."""

from __future__ import annotations

from collections import deque

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response as HttpResponse
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from iceway.wire.sip import Request, Response, make_response, parse_message
from tests.sip.bench import Peer


class Browser:
    """Takes over a peer's connection. `refusal` is the HTTP status if no WebSocket came of it."""

    def __init__(
        self,
        peer: Peer,
        *,
        path: str = "/",
        origin: str | None = None,
        subprotocol: str = "sip",
        chunk: int | None = None,
    ) -> None:
        self.peer = peer
        self.protocol = ClientProtocol(
            parse_uri(f"wss://edge.example.test{path}"),
            origin=Origin(origin) if origin else None,
            subprotocols=[Subprotocol(subprotocol)],
        )
        self.refusal: int | None = None
        self.heard: deque[Request | Response] = deque()
        self.frames: list[Frame] = []
        self.asleep = False
        self._chunk = chunk
        peer.framer = self  # type: ignore[assignment]
        self.protocol.send_request(self.protocol.connect())
        self.flush()

    # --- what it does ---------------------------------------------------------------------------------
    def says(self, *lines: str, body: str = "") -> None:
        """Send a message given by its start line and headers."""
        self.sends("\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body]).encode())

    def sends(self, data: bytes) -> None:
        self.protocol.send_text(data)
        self.flush()

    def answers(self, request: Request, status: int, *headers: tuple[str, str]) -> None:
        response = make_response(request, status, to_tag="browser")
        for value in request.headers.all("Record-Route"):
            response = response.with_last("Record-Route", value)
        for name, value in headers:
            response = response.with_last(name, value)
        self.sends(response.serialize())

    def hears_request(self, method: str) -> Request:
        message = self._hears()
        assert isinstance(message, Request), f"heard {message.start_line}"
        assert message.method == method, f"heard {message.start_line}"
        return message

    def hears_response(self, status: int) -> Response:
        message = self._hears()
        assert isinstance(message, Response), f"heard {message.start_line}"
        assert message.status == status, f"heard {message.start_line}"
        return message

    def _hears(self) -> Request | Response:
        assert self.heard, "heard nothing"
        return self.heard.popleft()

    def flush(self) -> None:
        """Let what the WebSocket wants to send go out."""
        if self.asleep:
            return
        data = b"".join(self.protocol.data_to_send())
        size = self._chunk or max(1, len(data))
        for at in range(0, len(data), size):
            self.peer.sends(data[at : at + size])

    # --- what the bench calls -------------------------------------------------------------------------
    def feed(self, data: bytes) -> None:
        if self.asleep:
            return
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, HttpResponse):
                self.refusal = event.status_code if event.status_code != 101 else None
                continue
            assert isinstance(event, Frame)
            self.frames.append(event)
            if event.opcode in (Opcode.TEXT, Opcode.BINARY) and event.data.strip(b"\r\n"):
                self.heard.append(parse_message(bytes(event.data)))

    def next_frame(self) -> None:
        self.flush()

    @staticmethod
    def raw_answer(peer: Peer, data: bytes) -> bytes:
        """What a connection hears that sends this instead of a handshake."""
        answer = bytearray()

        class Raw:
            def feed(self, data: bytes) -> None:
                answer.extend(data)

            def next_frame(self) -> None: ...

        peer.framer = Raw()  # type: ignore[assignment]
        peer.sends(data)
        return bytes(answer)
