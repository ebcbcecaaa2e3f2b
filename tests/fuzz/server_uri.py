"""URIs of servers: whatever the text, ParseError or a URI that reads back the same."""

from __future__ import annotations

from collections.abc import Iterator

from iceway.core.errors import ParseError
from iceway.wire.server_uri import parse

URIS = (
    "turn:example.org?transport=tcp",
    "turns:[2001:db8::1]:5349",
    "stun:192.0.2.1:3478",
    "STUNS:Stun.Example.ORG.",
)
FOUND: tuple[bytes, ...] = ()


def check(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    try:
        uri = parse(text)
    except ParseError:
        return
    assert parse(str(uri)) == uri


def seeds() -> Iterator[bytes]:
    for uri in URIS:
        yield uri.encode()
