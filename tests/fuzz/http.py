"""HTTP requests at the door for browsers, in pieces as they may come: pages, WebSockets, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator

from iceway.sip.websocket import WebSocket, WebSocketConfig
from iceway.web.pages import Page, Pages
from iceway.wire.sip import MalformedMessage

FOUND: tuple[bytes, ...] = ()
_CONFIG = WebSocketConfig(max_message=2000, pages=Pages({"/": Page(b"hello" * 20, "text/html")}))


def check(data: bytes) -> None:
    """The first byte says in pieces of what size the others come."""
    socket = WebSocket(_CONFIG)
    size = 1 + data[0] % 64 if data else 1
    for at in range(1, len(data), size):
        socket.feed(data[at : at + size])
        try:
            while socket.next_frame() is not None:
                pass
        except MalformedMessage:
            break
        if socket.ended is not None:
            break
    assert len(socket.to_send()) < 100_000


def seeds() -> Iterator[bytes]:
    host = b"Host: edge.example.test\r\n"
    upgrade = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n"
    )
    yield b"\xff" + b"GET / HTTP/1.1\r\n" + host + b"Accept-Encoding: gzip\r\n\r\n"
    yield b"\x05" + b"HEAD /x?y HTTP/1.0\r\nIf-None-Match: *\r\n\r\n"
    yield b"\x20" + b"GET / HTTP/1.1\r\n" + host + upgrade + b"\r\n\x81\x82\x00\x00\x00\x00hi"
