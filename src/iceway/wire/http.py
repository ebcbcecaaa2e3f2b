"""The head of an HTTP/1.x request as a value (RFC 9112): what a small server of pages has to know, and no more.

Strict where leniency has been somebody's hole: one way to write a request line, no folded fields, no space before
a colon, one Host. There is no reader of bodies here, so `has_body` tells who brings one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from iceway.core.errors import ParseError

MAX_FIELDS = 100
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) (/[\x21-\x7e]*|\*) HTTP/1\.([01])")
_FIELD = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`path` is the target without its query; names of fields are in lower case."""

    method: str
    path: str
    minor_version: int
    fields: tuple[tuple[str, str], ...]

    def field(self, name: str) -> str:
        """The values of a field, joined by commas (RFC 9110 §5.3); nothing if there is none."""
        return ", ".join(value for other, value in self.fields if other == name)

    def names(self, field: str) -> tuple[str, ...]:
        """The members of a field that is a list of tokens, in lower case and without their parameters."""
        members = (member.partition(";")[0].strip().lower() for member in self.field(field).split(","))
        return tuple(member for member in members if member)

    @property
    def has_body(self) -> bool:
        return self.field("content-length") not in ("", "0") or bool(self.field("transfer-encoding"))

    @property
    def keeps_open(self) -> bool:
        """Whether the connection is wanted for more (RFC 9112 §9.3)."""
        return self.minor_version == 1 and "close" not in self.names("connection")

    @property
    def wants_websocket(self) -> bool:
        return "websocket" in self.names("upgrade")


def parse_request(head: bytes) -> HttpRequest:
    """Everything up to and including the empty line. Raises ParseError."""
    text = head.decode("latin-1")
    if not text.endswith("\r\n\r\n"):
        raise ParseError("a head that does not end with an empty line")
    request_line, *lines = text[:-4].split("\r\n")
    parts = _REQUEST_LINE.fullmatch(request_line)
    if parts is None:
        raise ParseError(f"no request line of HTTP/1.x: {request_line[:80]!r}")
    if len(lines) > MAX_FIELDS:
        raise ParseError(f"more than {MAX_FIELDS} fields")
    fields = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise ParseError(f"no field of HTTP: {line[:80]!r}")
        fields.append((field[1].lower(), field[2]))
    method, target, minor = parts.groups()
    request = HttpRequest(method, target.partition("?")[0], int(minor), tuple(fields))
    hosts = [value for name, value in fields if name == "host"]
    if len(hosts) > 1 or (request.minor_version == 1 and not hosts):
        raise ParseError(f"{len(hosts)} Host fields instead of one")  # RFC 9112 §3.2
    return request
