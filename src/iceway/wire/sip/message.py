"""Requests and responses (RFC 3261 §7).

`parse_message` splits a message and checks its start line, its header lines and its length; nothing else is
looked into. Views (`cseq`, `top_via` …) parse on demand and may raise ParseError; `validate` asks for those
that RFC 3261 §8.1.1 and §20 make mandatory. What fails is a `MalformedMessage`, which carries the request as
far as it could be read, so that a server can answer it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TypeVar

from iceway.core.errors import ParseError
from iceway.wire.sip.fields import CSeq, NameAddr, RAck, Via
from iceway.wire.sip.headers import NO_HEADERS, Headers, canonical_name
from iceway.wire.sip.syntax import is_token, number
from iceway.wire.sip.uri import SipUri

_REQUEST_LINE = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+) ([^\s<>]+) (SIP/[0-9]+\.[0-9]+)", re.IGNORECASE)
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?", re.IGNORECASE)
_FOLD = re.compile(r"(?<![ \t])[ \t]*+\n[ \t]++")  # one look at each run of blanks
_MAX_FIELDS = 1000

REASONS = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    430: "Flow Failed",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    480: "Temporarily Unavailable",
    469: "Bad Info Package",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}


class MalformedMessage(ParseError):
    """A message that cannot be taken. `status` is what to answer; `request` what could be read of it."""

    def __init__(self, fault: str, status: int = 400, request: Request | None = None) -> None:
        super().__init__(fault)
        self.status = status
        self.request = request


M = TypeVar("M", bound="Message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What requests and responses share. Properties are views: parsed once when asked, ParseError if bad."""

    headers: Headers = NO_HEADERS
    body: bytes = b""

    # --- views ----------------------------------------------------------------------------------------
    @property
    def start_line(self) -> str:
        raise NotImplementedError

    @property
    def vias(self) -> tuple[Via, ...]:
        return self.headers.view("via", lambda h: tuple(map(Via.parse, h.values("Via"))))

    @property
    def top_via(self) -> Via:
        return self.headers.view("top via", _top_via)

    @property
    def call_id(self) -> str:
        value = self.headers.get("Call-ID")
        if not value or " " in value:
            raise ParseError("Call-ID is missing" if not value else "Call-ID has a space in it")
        return value

    @property
    def cseq(self) -> CSeq:
        return self.headers.view("cseq", lambda h: CSeq.parse(_only(h, "CSeq")))

    @property
    def from_(self) -> NameAddr:
        return self.headers.view("from", lambda h: NameAddr.parse(_only(h, "From")))

    @property
    def to(self) -> NameAddr:
        return self.headers.view("to", lambda h: NameAddr.parse(_only(h, "To")))

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """The Contact addresses; none for `Contact: *` (see `contact_is_star`)."""
        return self.headers.view("contact", _contacts)

    @property
    def contact_is_star(self) -> bool:
        return self.headers.all("Contact") == ("*",)

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        return self.addresses("Route")

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        return self.addresses("Record-Route")

    @property
    def rack(self) -> RAck:
        return self.headers.view("rack", lambda h: RAck.parse(_only(h, "RAck")))

    @property
    def rseq(self) -> int | None:
        return self._number("RSeq")

    @property
    def expires(self) -> int | None:
        return self._number("Expires")

    @property
    def max_forwards(self) -> int | None:
        return self._number("Max-Forwards", 255)  # RFC 3261 §20.22

    @property
    def content_type(self) -> str:
        """Media type in lower case without parameters; empty if there is none."""
        return (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()

    def addresses(self, name: str) -> tuple[NameAddr, ...]:
        """A header that is a list of addresses: Route, Path, Service-Route, P-Asserted-Identity …"""
        key = f"addresses {canonical_name(name)}"
        return self.headers.view(key, lambda h: tuple(map(NameAddr.parse, h.values(name))))

    def supports(self, option: str) -> bool:
        """Required or supported; a list that cannot be read supports nothing."""
        try:
            return self.headers.has_value("Supported", option) or self.requires(option)
        except ParseError:
            return False

    def requires(self, option: str) -> bool:
        return self.headers.has_value("Require", option)

    # --- changed copies -------------------------------------------------------------------------------
    def with_headers(self: M, headers: Headers) -> M:
        return replace(self, headers=headers)

    def with_header(self: M, name: str, *values: str) -> M:
        """These fields instead of all of that name, where the first of them stood (else at the end)."""
        return replace(self, headers=self.headers.with_header(name, *values))

    def with_first(self: M, name: str, value: str) -> M:
        """A new field on top of the others of that name: pushing a Via, a Record-Route, a Path."""
        return replace(self, headers=self.headers.with_first(name, value))

    def with_last(self: M, name: str, value: str) -> M:
        return replace(self, headers=self.headers.with_last(name, value))

    def without_header(self: M, *names: str) -> M:
        return replace(self, headers=self.headers.without(*names))

    def without_first_value(self: M, name: str) -> M:
        """The top value removed: popping a Via or a Route."""
        return replace(self, headers=self.headers.without_first_value(name))

    def with_body(self: M, body: bytes, content_type: str | None = None) -> M:
        """Another body; an empty one takes Content-Type with it."""
        headers = self.headers.without("Content-Length", *(() if body else ("Content-Type",)))
        if content_type is not None:
            headers = headers.with_header("Content-Type", content_type)
        return replace(self, headers=headers, body=body)

    def serialize(self) -> bytes:
        """The message on the wire. Content-Length is always written, and always right."""
        lines, length, written = [self.start_line], str(len(self.body)), False
        for name, value in self.headers.items:
            if canonical_name(name) == "content-length":
                if written:
                    continue
                value, written = length, True
            lines.append(f"{name}: {value}")
        if not written:
            lines.append(f"Content-Length: {length}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body

    def _number(self, name: str, limit: int = 2**32 - 1) -> int | None:
        if name not in self.headers:
            return None
        return number(_only(self.headers, name), name, limit)


@dataclass(frozen=True, slots=True)
class Request(Message):
    """A request. `uri` is text because it need not be a SIP URI; `sip_uri` parses it."""

    method: str
    uri: str

    @property
    def start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"

    @property
    def sip_uri(self) -> SipUri:
        """The Request-URI as a SIP URI; raises ParseError for other schemes (to be answered 416)."""
        return SipUri.parse(self.uri)


@dataclass(frozen=True, slots=True)
class Response(Message):
    status: int
    reason: str = ""

    @property
    def start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"

    @property
    def is_provisional(self) -> bool:
        return self.status < 200

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def reason_phrase(status: int) -> str:
    """The RFC's words for a status, or those of its class."""
    return REASONS.get(status) or REASONS.get(status // 100 * 100, "Unknown")


def make_response(
    request: Request, status: int, reason: str | None = None, *, to_tag: str | None = None
) -> Response:
    """A response that mirrors the request's Via, From, To, Call-ID and CSeq (RFC 3261 §8.2.6.2).

    `to_tag` is added to a To that has none; a 100 gets none. Timestamp is copied into a 100. A reason given is
    made one line.
    """
    mirrored = {"via", "from", "to", "call-id", "cseq"} | ({"timestamp"} if status == 100 else set())
    fields = []
    for name, value in request.headers.items:
        key = canonical_name(name)
        if key in mirrored:
            if key == "to" and to_tag and status > 100:
                value = _tagged(value, to_tag)
            fields.append((name, value))
    words = reason_phrase(status) if reason is None else " ".join(reason.split())
    return Response(status, words, headers=Headers(fields))


def parse_message(data: bytes) -> Request | Response:
    """One message that fills `data` (a datagram, or a frame of a stream). Raises MalformedMessage.

    Octets beyond Content-Length are cut off; without Content-Length the body is all the rest (RFC 3261 §18.3).
    """
    head, blank, body = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if not blank:
        raise MalformedMessage("the message ends inside its headers")
    start_line, headers = split_head(head)
    message = _start(start_line, headers)
    try:
        length = content_length(headers)
    except ParseError as error:
        raise MalformedMessage(str(error), request=_as_request(message)) from error
    if length is not None:
        if length > len(body):
            raise MalformedMessage(
                f"the body has {len(body)} octets, Content-Length says {length}", request=_as_request(message)
            )
        body = body[:length]
    return replace(message, body=body)


def validate(message: Request | Response) -> None:
    """Everything RFC 3261 demands of any message; raises MalformedMessage naming the first fault."""
    try:
        _ = message.top_via, message.vias, message.from_, message.to, message.call_id
        cseq = message.cseq
        if len(message.headers.all("Call-ID")) > 1:
            raise ParseError("Call-ID occurs twice")
        if isinstance(message, Request):
            if cseq.method != message.method:
                raise ParseError(f"CSeq says {cseq.method}, the request line {message.method}")
            _ = message.max_forwards, message.expires
            if message.uri.lower().startswith(("sip:", "sips:")) and message.sip_uri.headers:
                raise ParseError("the Request-URI has headers in it")
            if not message.contact_is_star:
                _ = message.contacts
            _ = message.routes, message.record_routes
    except ParseError as error:
        raise MalformedMessage(str(error), request=_as_request(message)) from error


def split_head(head: bytes) -> tuple[str, Headers]:
    """The start line and the header fields of a message's head, unfolded. Raises MalformedMessage.

    A line may end in LF alone: libre ends its RAck so, and without that line its PRACK and the call would be lost.
    What we make of it is written with CRLF, so nobody behind us can read it otherwise.
    """
    head = head.replace(b"\r\n", b"\n")
    if b"\r" in head:
        raise MalformedMessage("a header line ends in a bare CR")
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        raise MalformedMessage("the headers are not UTF-8") from error
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    start_line, *lines = text.split("\n")
    if len(lines) > _MAX_FIELDS:
        raise MalformedMessage(f"more than {_MAX_FIELDS} header fields")
    fields, fault = [], ""
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if colon and is_token(name):
            fields.append((name, value.strip(" \t")))
        else:
            fault = fault or f"{line[:40]!r} is not a header line"
    headers = Headers(fields)
    if fault:
        raise MalformedMessage(fault, request=_salvage(start_line, headers))
    return start_line, headers


def content_length(headers: Headers) -> int | None:
    """Content-Length; None if absent. Raises ParseError when it is no number, or several that differ."""
    found = headers.all("Content-Length")
    if not found:
        return None
    if len(set(found)) > 1:
        raise ParseError("Content-Length is given twice, differently")
    return number(found[0], "Content-Length")


def _start(line: str, headers: Headers) -> Request | Response:
    if found := _REQUEST_LINE.fullmatch(line):
        method, uri, version = found.groups()
        request = Request(method, uri, headers=headers)
        if version.upper() != "SIP/2.0":
            raise MalformedMessage(f"version {version[:20]} is not SIP/2.0", 505, request)
        if ":" not in uri:
            raise MalformedMessage(f"the Request-URI {uri[:40]!r} has no scheme", request=request)
        return request
    if found := _STATUS_LINE.fullmatch(line):
        return Response(int(found.group(1)), found.group(2) or "", headers=headers)
    raise MalformedMessage(f"start line {line[:60]!r} does not parse", request=_salvage(line, headers))


def _salvage(line: str, headers: Headers) -> Request | None:
    """A request as far as it can be read from a broken one; None if it looks like a response."""
    method, _, rest = line.partition(" ")
    if not is_token(method) or line.upper().startswith("SIP/"):
        return None
    return Request(method, rest.strip().split(" ")[0] or "sip:invalid", headers=headers)


def _as_request(message: Request | Response) -> Request | None:
    return message if isinstance(message, Request) else None


def _top_via(headers: Headers) -> Via:
    values = headers.values("Via")
    if not values:
        raise ParseError("Via is missing")
    return Via.parse(values[0])


def _contacts(headers: Headers) -> tuple[NameAddr, ...]:
    values = headers.values("Contact")
    if values == ("*",):
        return ()
    return tuple(map(NameAddr.parse, values))


def _only(headers: Headers, name: str) -> str:
    found = headers.all(name)
    if len(found) != 1:
        raise ParseError(f"{name} is missing" if not found else f"{name} occurs {len(found)} times")
    return found[0]


def _tagged(value: str, tag: str) -> str:
    try:
        address = NameAddr.parse(value)
    except ParseError:
        return value
    return value if address.tag else f"{value};tag={tag}"
