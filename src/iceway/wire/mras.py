"""Bodies of relay credential requests: the XML that a client, a front end and an edge exchange in SERVICE.

The schema is the one of [MS-AVEDGEA] (namespace `NAMESPACE`), so that existing clients can read our answers.
A request names identities, where the asker is, and for how many minutes; a response carries credentials and
a list of relays. Faults inside the protocol travel in a response whose `reasonPhrase` is not `OK`.

The parsers take bytes from the network: no DTD, no entities, no depth, no more than `MAX_BODY` bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.etree.ElementTree import ParseError as XmlSyntaxError
from xml.sax.saxutils import escape, quoteattr

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from iceway.core.address import is_ip
from iceway.core.errors import ParseError, UsageError

CONTENT_TYPE = "application/msrtc-media-relay-auth+xml"
NAMESPACE = "http://schemas.microsoft.com/2006/09/sip/mrasp"
SERVICE_HEADER = "X-Iceway-Media-Relay-Service"
"""In the 200 to REGISTER: the URI that SERVICE requests for relay credentials go to, in angle brackets."""
LOGON_HEADER = "ms-user-logon-data"
OUTSIDE = "RemoteUser"
"""The value of `LOGON_HEADER` in the 200 to REGISTER for a client that came through an edge."""
DEFAULT_DURATION = 480
"""Minutes: what a client that names no duration is understood to want."""

MAX_BODY = 128 * 1024
MAX_DEPTH = 8
MAX_ID = 64
MAX_REQUESTS = 100
MAX_RELAYS = 64
MAX_IDENTITY = 65536
MAX_MINUTES = 366 * 24 * 60


class Location(StrEnum):
    """From where relays are wanted: outside (`INTERNET`) or inside the organisation's network."""

    INTERNET = "internet"
    INTRANET = "intranet"


class ReasonPhrase(StrEnum):
    """The outcome inside the protocol; SIP-level failures have SIP status codes instead."""

    OK = "OK"
    MALFORMED = "Request Malformed"
    TOO_LARGE = "Request Too Large"
    NOT_SUPPORTED = "Not Supported"
    BUSY = "Server Busy"
    TIME_OUT = "Time Out"
    FORBIDDEN = "Forbidden"
    INTERNAL_ERROR = "Internal Server Error"
    OTHER_FAILURE = "Other Failure"
    VERSION_MISMATCH = "Version Mismatch"


@dataclass(frozen=True, slots=True)
class CredentialsRequest:
    """Credentials wanted for one identity. No location means both lists, no duration the server's choice."""

    request_id: str
    identity: str
    location: Location | None = None
    duration: int | None = None
    """Minutes."""


@dataclass(frozen=True, slots=True)
class MrasRequest:
    request_id: str
    to: str
    from_: str
    credentials: tuple[CredentialsRequest, ...]
    version: str = "1.0"
    direct_ip: bool = False
    """The asker wants relays by IP address instead of by name (`route="directip"`)."""

    def fault(self) -> ReasonPhrase | None:
        """What forbids answering a request that parsed: its version or its size."""
        if self.version not in ("1.0", "2.0"):
            return ReasonPhrase.VERSION_MISMATCH
        if len(self.credentials) > MAX_REQUESTS:
            return ReasonPhrase.TOO_LARGE
        return None


@dataclass(frozen=True, slots=True)
class MediaRelay:
    """One relay. `host` is a name, or an IP address where the request asked for it."""

    host: str
    location: Location = Location.INTERNET
    udp_port: int | None = None
    tcp_port: int | None = None


@dataclass(frozen=True, slots=True)
class CredentialsResponse:
    """`duration` is what was granted, in minutes; it may be less than what was asked for."""

    request_id: str
    username: str
    password: str
    duration: int
    relays: tuple[MediaRelay, ...]
    realm: str | None = None

    def __repr__(self) -> str:
        relays = ", ".join(relay.host for relay in self.relays)
        return f"CredentialsResponse({self.request_id!r}, for {self.duration} minutes, relays {relays})"


@dataclass(frozen=True, slots=True)
class MrasResponse:
    """`to` and `from_` are the request's own, not swapped; absent where the request could not be read."""

    reason: ReasonPhrase
    request_id: str = ""
    to: str = ""
    from_: str = ""
    credentials: tuple[CredentialsResponse, ...] = ()
    version: str = "1.0"
    server_version: str = "2.0"

    @classmethod
    def refusing(cls, request: MrasRequest | None, reason: ReasonPhrase) -> MrasResponse:
        """The answer to a request (None: one that did not parse) that gets no credentials."""
        if request is None:
            return cls(reason)
        return cls(reason, request.request_id, request.to, request.from_)


def parse_request(body: bytes) -> MrasRequest:
    """Raises ParseError for anything that the schema does not allow, except version and count (`fault`)."""
    root = _root(body, "request")
    items = _children(root, "credentialsRequest")
    if not items:
        raise ParseError("the request asks for no credentials")
    return MrasRequest(
        request_id=_identifier(root, "requestID"),
        to=_required(root, "to"),
        from_=_required(root, "from"),
        credentials=tuple(
            CredentialsRequest(
                request_id=_identifier(item, "credentialsRequestID"),
                identity=_text(item, "identity", MAX_IDENTITY),
                location=_location(item),
                duration=_number(item, "duration", MAX_MINUTES, clamp=True),
            )
            for item in items
        ),
        version=_required(root, "version"),
        direct_ip=root.get("route", "loadbalanced") == "directip",
    )


def parse_response(body: bytes) -> MrasResponse:
    """Raises ParseError for anything that is no response of this schema."""
    root = _root(body, "response")
    phrase = _required(root, "reasonPhrase")
    try:
        reason = ReasonPhrase(phrase)
    except ValueError:
        raise ParseError(f"reasonPhrase {phrase[:40]!r} is not known") from None
    return MrasResponse(
        reason=reason,
        request_id=root.get("requestID", "")[:MAX_ID],
        to=root.get("to", ""),
        from_=root.get("from", ""),
        credentials=tuple(map(_credentials_response, _children(root, "credentialsResponse"))),
        version=root.get("version", "1.0"),
        server_version=root.get("serverVersion", "1.0"),
    )


def serialize_request(request: MrasRequest) -> bytes:
    head = {
        "xmlns": NAMESPACE,
        "requestID": request.request_id,
        "version": request.version,
        "to": request.to,
        "from": request.from_,
    }
    if request.direct_ip:
        head["route"] = "directip"
    items = []
    for item in request.credentials:
        inner = _element("identity", item.identity)
        if item.location is not None:
            inner += _element("location", item.location)
        if item.duration is not None:
            inner += _element("duration", str(item.duration))
        items.append(_wrap("credentialsRequest", {"credentialsRequestID": item.request_id}, [inner]))
    return _document("request", head, items)


def serialize_response(response: MrasResponse) -> bytes:
    head = {"xmlns": NAMESPACE}
    if response.request_id:
        head["requestID"] = response.request_id
    head |= {"version": response.version, "serverVersion": response.server_version}
    if response.to and response.from_:
        head |= {"to": response.to, "from": response.from_}
    head["reasonPhrase"] = response.reason
    return _document("response", head, map(_response_item, response.credentials))


# --- reading --------------------------------------------------------------------------------------------
class _ShallowBuilder(TreeBuilder):
    """Builds a tree no deeper than the schema could need, so that nesting costs an attacker only bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ParseError(f"XML nested deeper than {MAX_DEPTH} elements")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def _root(body: bytes, name: str) -> Element:
    if len(body) > MAX_BODY:
        raise ParseError(f"body of {len(body)} bytes, more than {MAX_BODY}")
    parser = DefusedXMLParser(
        target=_ShallowBuilder(), forbid_dtd=True, forbid_entities=True, forbid_external=True
    )
    try:
        parser.feed(body)
        root: Element = parser.close()
    except DefusedXmlException as error:
        raise ParseError(f"XML that declares things: {type(error).__name__}") from error
    except (XmlSyntaxError, ValueError, LookupError, AssertionError) as error:
        raise ParseError(f"not XML: {error}") from error
    if root.tag != f"{{{NAMESPACE}}}{name}":
        raise ParseError(f"the root element is {root.tag[:80]!r}, not {name!r}")
    return root


def _credentials_response(item: Element) -> CredentialsResponse:
    credentials = _child(item, "credentials")
    duration = _number(credentials, "duration", MAX_MINUTES)
    if duration is None:
        raise ParseError("credentials without duration")
    relays = _children(_child(item, "mediaRelayList"), "mediaRelay")
    if not 1 <= len(relays) <= MAX_RELAYS:
        raise ParseError(f"a list of {len(relays)} relays, not 1 to {MAX_RELAYS}")
    realm = credentials.find(f"{{{NAMESPACE}}}realm")
    return CredentialsResponse(
        request_id=_identifier(item, "credentialsRequestID"),
        username=_text(credentials, "username", 512),
        password=_text(credentials, "password", 512),
        duration=duration,
        relays=tuple(map(_media_relay, relays)),
        realm=None if realm is None else (realm.text or "").strip(),
    )


def _media_relay(item: Element) -> MediaRelay:
    named = item.find(f"{{{NAMESPACE}}}hostName") is not None
    host = _text(item, "hostName" if named else "directIPAddress", 255)
    if not named and not is_ip(host):
        raise ParseError(f"directIPAddress {host[:60]!r} is not an IP address")
    location = _location(item)
    if location is None:
        raise ParseError("a relay without location")
    return MediaRelay(host, location, _number(item, "udpPort", 65535), _number(item, "tcpPort", 65535))


def _children(parent: Element, name: str) -> list[Element]:
    return parent.findall(f"{{{NAMESPACE}}}{name}")


def _child(parent: Element, name: str) -> Element:
    found = _children(parent, name)
    if len(found) != 1:
        raise ParseError(f"{len(found)} elements {name!r} where one belongs")
    return found[0]


def _text(parent: Element, name: str, limit: int) -> str:
    text = (_child(parent, name).text or "").strip()
    if not text:
        raise ParseError(f"element {name!r} is empty")
    if len(text) > limit:
        raise ParseError(f"element {name!r} is longer than {limit} characters")
    return text


def _location(parent: Element) -> Location | None:
    if not _children(parent, "location"):
        return None
    text = _text(parent, "location", 16)
    try:
        return Location(text)
    except ValueError:
        raise ParseError(f"location {text!r} is neither internet nor intranet") from None


def _number(parent: Element, name: str, highest: int, *, clamp: bool = False) -> int | None:
    """A positive decimal. `clamp` understands more than the highest as the highest, for durations asked for."""
    if not _children(parent, name):
        return None
    text = _text(parent, name, 12)
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) == 0:
        raise ParseError(f"{name} {text!r} is not a positive number")
    if int(text) > highest and not clamp:
        raise ParseError(f"{name} {text} is more than {highest}")
    return min(int(text), highest)


def _required(element: Element, name: str) -> str:
    value = element.get(name, "").strip()
    if not value:
        raise ParseError(f"attribute {name!r} is missing")
    return value


def _identifier(element: Element, name: str) -> str:
    value = _required(element, name)
    if len(value) > MAX_ID:
        raise ParseError(f"attribute {name!r} is longer than {MAX_ID} characters")
    return value


# --- writing --------------------------------------------------------------------------------------------
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _response_item(item: CredentialsResponse) -> str:
    credentials = (
        _element("username", item.username)
        + _element("password", item.password)
        + _element("duration", str(item.duration))
    )
    if item.realm is not None:
        credentials += _element("realm", item.realm)
    relays = []
    for relay in item.relays:
        inner = _element("location", relay.location)
        inner += _element("directIPAddress" if is_ip(relay.host) else "hostName", relay.host)
        if relay.udp_port is not None:
            inner += _element("udpPort", str(relay.udp_port))
        if relay.tcp_port is not None:
            inner += _element("tcpPort", str(relay.tcp_port))
        relays.append(_wrap("mediaRelay", {}, [inner]))
    return _wrap(
        "credentialsResponse",
        {"credentialsRequestID": item.request_id},
        [_wrap("credentials", {}, [credentials]), _wrap("mediaRelayList", {}, relays)],
    )


def _document(name: str, attributes: dict[str, str], inner: Iterable[str]) -> bytes:
    return ('<?xml version="1.0"?>\n' + _wrap(name, attributes, inner)).encode()


def _wrap(name: str, attributes: dict[str, str], inner: Iterable[str]) -> str:
    head = "".join(f" {key}={quoteattr(_writable(value))}" for key, value in attributes.items())
    return f"<{name}{head}>{''.join(inner)}</{name}>"


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(_writable(text), {chr(13): '&#13;'})}</{name}>"


def _writable(text: str) -> str:
    if _UNWRITABLE.search(text):
        raise UsageError(f"{text!r} holds characters that XML cannot carry")
    return text
