"""Pages from memory over HTTP/1.1: a request's head in, the whole response out.

There are only whole files, known at the start; no folders, no queries, no bodies, nothing that a request could reach
beyond them. Each has an ETag, so that a browser that has been here before loads nothing again, and a form packed by
gzip where that is smaller. What a page may do is said with every response.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from iceway.wire.http import HttpRequest

MAX_SERVED = 1024 * 1024
"""Octets after which a connection has had enough: with what a driver may hold of it, a bound on its memory."""

# Scripts, styles, pictures and connections of this origin and no other; nothing inline, in no frame, no form's target.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{socket}; "
    "media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types xml"
)
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
_SAFETY = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self), geolocation=()"),
)
_REASONS = {
    200: "OK",
    304: "Not Modified",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One file as it is served. `status` is 200, or 503 for a page that says what is missing."""

    body: bytes = field(repr=False)
    content_type: str
    status: int = 200
    etag: str = field(init=False)
    packed: bytes | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", hashlib.sha256(self.body).hexdigest()[:32])
        packed = gzip.compress(self.body, 9, mtime=0)
        object.__setattr__(self, "packed", packed if len(packed) < len(self.body) else None)


@dataclass(frozen=True, slots=True)
class Answer:
    """`last`: the connection is to be closed behind it."""

    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Pages:
    """What there is to see, by path. `missing` says in a line what is not there and what to do about it."""

    pages: Mapping[str, Page]
    missing: str | None = None

    def answer(self, request: HttpRequest) -> Answer:
        last, policy = not request.keeps_open, _policy(request)
        if request.method not in ("GET", "HEAD"):
            return _plain(405, "Only GET and HEAD are understood here.", ("Allow", "GET, HEAD"))
        if request.has_body:
            return _plain(400, f"A {request.method} request brings no body.")
        page = self.pages.get(request.path)
        if page is None:
            return _plain(404, "There is nothing here of that name.")
        body, etag = page.body, f'"{page.etag}"'
        fields = [("Cache-Control", "no-cache"), ("Vary", "Accept-Encoding")]
        if page.packed is not None and _takes_gzip(request):
            body, etag = page.packed, f'"{page.etag}-gzip"'
            fields.append(("Content-Encoding", "gzip"))
        fields.append(("ETag", etag))
        if page.status == 200 and _has(request, etag):
            return Answer(_response(304, fields, last, policy), last)
        fields += [("Content-Type", page.content_type), ("Content-Length", str(len(body)))]
        head = _response(page.status, fields, last, policy)
        return Answer(head if request.method == "HEAD" else head + body, last)


def _plain(status: int, text: str, *fields: tuple[str, str]) -> Answer:
    """A refusal. It ends the connection, since whatever stands behind it was not understood."""
    body = f"{text}\n".encode()
    told = [*fields, ("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    return Answer(_response(status, told, True) + body, True)


def _policy(request: HttpRequest) -> str:
    """For some browsers 'self' is no origin of a WebSocket, so it is named as they reached us."""
    host = request.field("host")
    return _POLICY.format(socket=f" wss://{host}" if _HOST.fullmatch(host) else "")


def _response(
    status: int, fields: list[tuple[str, str]], last: bool, policy: str = _POLICY.format(socket="")
) -> bytes:
    told = [
        *fields,
        ("Content-Security-Policy", policy),
        *_SAFETY,
        *((("Connection", "close"),) if last else ()),
    ]
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", *(f"{name}: {value}" for name, value in told), "", ""]
    return "\r\n".join(lines).encode()


def _takes_gzip(request: HttpRequest) -> bool:
    """RFC 9110 §12.5.3, as far as it goes without weighing: gzip named, and not with weight nought."""
    for member in request.field("accept-encoding").lower().split(","):
        name, _, weight = member.replace(" ", "").partition(";q=")
        if name == "gzip":
            return weight.strip("0.") != "" or weight == ""
    return False


def _has(request: HttpRequest, etag: str) -> bool:
    """Whether the browser has this very form already (RFC 9110 §13.1.2, weakly compared)."""
    told = (tag.strip().removeprefix("W/") for tag in request.field("if-none-match").split(","))
    return any(tag in (etag, "*") for tag in told)
