"""SDP (RFC 8866): bodies ⇄ values, every line kept in its place, known or not.

A description is a session section and media sections. A section is its lines in order; what the program
needs from them is read by the helpers here when it is asked for, so one odd line spoils only what needs it.
`parse` raises ParseError for a body that is no SDP at all; the readers (`Crypto.parse`, `ice_parameters`, …)
raise it for a line that does not follow its specification. Candidates stay text: `ice/` reads them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from iceway.core.address import Address
from iceway.core.errors import ParseError

MAX_BYTES = 65_536
MAX_LINES = 2_000
MAX_MEDIA = 32
MAX_CANDIDATES = 200

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")  # RFC 8866 §6.7

_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]+")
_DIGITS = re.compile(r"[0-9]{1,20}")


class Line(NamedTuple):
    """One line: the letter and what follows the equals sign."""

    letter: str
    value: str

    def __str__(self) -> str:
        return f"{self.letter}={self.value}"


def attribute(name: str, value: str | None = None) -> Line:
    """An `a=` line: a property (`rtcp-mux`) or a name with a value."""
    return Line("a", name if value is None else f"{name}:{value}")


class _Section:
    """Reading of the lines of a session or media section."""

    __slots__ = ()
    lines: tuple[Line, ...]

    def first(self, letter: str) -> str | None:
        """The value of the first line with this letter."""
        return next((line.value for line in self.lines if line.letter == letter), None)

    def attributes(self, name: str) -> tuple[str, ...]:
        """The values of all `a=name:…` lines in order; a bare property counts as an empty value."""
        return tuple(value for found, value in self._all_attributes() if found == name)

    def attribute(self, name: str) -> str | None:
        """The value of the first `a=name:…` line, "" for a bare property, None without one."""
        return next((value for found, value in self._all_attributes() if found == name), None)

    def has(self, name: str) -> bool:
        return self.attribute(name) is not None

    @property
    def connection(self) -> Connection | None:
        """This section's own `c=` line. Raises ParseError if it is malformed."""
        text = self.first("c")
        return None if text is None else Connection.parse(text)

    @property
    def direction(self) -> str | None:
        """The section's own direction attribute, None without one."""
        return next((name for name, _ in self._all_attributes() if name in DIRECTIONS), None)

    def _all_attributes(self) -> Iterator[tuple[str, str]]:
        for line in self.lines:
            if line.letter == "a":
                name, _, value = line.value.partition(":")
                yield name, value


@dataclass(frozen=True, slots=True)
class Origin:
    """The `o=` line (RFC 8866 §5.2). `version` grows with every change of the description."""

    username: str
    session_id: int
    version: int
    address: str
    address_type: str = "IP4"

    @classmethod
    def parse(cls, text: str) -> Origin:
        words = text.split()
        if len(words) != 6 or words[3] != "IN":
            raise ParseError(f"o={text!r} is not user, id, version, IN, type and address")
        return cls(
            words[0], _number(words[1], "session id"), _number(words[2], "version"), words[5], words[4]
        )

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} IN {self.address_type} {self.address}"


@dataclass(frozen=True, slots=True)
class Connection:
    """The `c=` line (RFC 8866 §5.7). The address may be a host name; multicast suffixes stay in it."""

    address: str
    address_type: str = "IP4"

    @classmethod
    def parse(cls, text: str) -> Connection:
        words = text.split()
        if len(words) != 3 or words[0] != "IN":
            raise ParseError(f"c={text!r} is not IN, type and address")
        return cls(words[2], words[1])

    def __str__(self) -> str:
        return f"IN {self.address_type} {self.address}"


@dataclass(frozen=True, slots=True)
class RtpMap:
    """`a=rtpmap` (RFC 8866 §6.6): what a dynamic payload type means."""

    payload_type: int
    encoding: str
    clock_rate: int
    channels: int = 1

    @classmethod
    def parse(cls, text: str) -> RtpMap:
        payload_text, _, rest = text.strip().partition(" ")
        parts = rest.strip().split("/")
        if len(parts) not in (2, 3) or not parts[0]:
            raise ParseError(f"a=rtpmap:{text!r} is not a payload type and encoding/rate")
        channels = _number(parts[2], "channel count") if len(parts) == 3 else 1
        return cls(payload_type(payload_text), parts[0], _number(parts[1], "clock rate"), channels)

    def __str__(self) -> str:
        channels = f"/{self.channels}" if self.channels != 1 else ""
        return f"{self.payload_type} {self.encoding}/{self.clock_rate}{channels}"


@dataclass(frozen=True, slots=True)
class Crypto:
    """`a=crypto` (RFC 4568 §9.1) with one inline key. The key never shows in `repr`."""

    tag: int
    suite: str
    key_and_salt: bytes = field(repr=False)
    lifetime: str | None = None
    mki: str | None = None
    session_parameters: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Crypto:
        """Raises ParseError; of several `;`-separated keys only the first is kept. Messages omit the key."""
        words = text.split()
        if len(words) < 3:
            raise ParseError("a=crypto needs a tag, a suite and a key")
        if len(words[0]) > 9:
            raise ParseError("the tag of a=crypto is too long")
        method, _, info = words[2].split(";")[0].partition(":")
        if method != "inline" or not info:
            raise ParseError("the key of a=crypto is not inline")
        key_text, *extras = info.split("|")
        mki = next((extra for extra in extras if ":" in extra), None)
        lifetime = next((extra for extra in extras if ":" not in extra), None)
        if not all(extras) or len(extras) > (lifetime is not None) + (mki is not None):
            raise ParseError("a=crypto has something else than a lifetime and an MKI after its key")
        try:
            # Some stacks leave the base64 padding out; 30 bytes need none, so tolerate it for longer keys.
            key = base64.b64decode(key_text + "=" * (-len(key_text) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ParseError("the key of a=crypto is not base64") from error
        return cls(_number(words[0], "crypto tag"), words[1], key, lifetime, mki, tuple(words[3:]))

    def __str__(self) -> str:
        key = base64.b64encode(self.key_and_salt).decode()
        extras = "".join(f"|{extra}" for extra in (self.lifetime, self.mki) if extra)
        session = "".join(f" {parameter}" for parameter in self.session_parameters)
        return f"{self.tag} {self.suite} inline:{key}{extras}{session}"


@dataclass(frozen=True, slots=True)
class MediaDescription(_Section):
    """An `m=` line and what follows it up to the next. Port 0 means refused or ended (RFC 3264 §6)."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    lines: tuple[Line, ...] = ()
    port_count: int = 1

    @property
    def rtpmaps(self) -> dict[int, RtpMap]:
        """The section's rtpmaps by payload type; malformed ones are left out."""
        maps: dict[int, RtpMap] = {}
        for text in self.attributes("rtpmap"):
            try:
                found = RtpMap.parse(text)
            except ParseError:
                continue
            maps.setdefault(found.payload_type, found)
        return maps

    def fmtp(self, payload: int) -> str:
        """The format parameters of a payload type, "" without any."""
        for text in self.attributes("fmtp"):
            number, _, parameters = text.strip().partition(" ")
            if number == str(payload):
                return parameters.strip()
        return ""

    @property
    def cryptos(self) -> tuple[Crypto, ...]:
        """The `a=crypto` lines that can be read; one that cannot offers nothing (RFC 4568 §5.1.2)."""
        found = []
        for text in self.attributes("crypto"):
            try:
                found.append(Crypto.parse(text))
            except ParseError:
                continue
        return tuple(found)

    @property
    def ptime(self) -> int | None:
        """Milliseconds of sound a packet the describer prefers to receive, None if unsaid or nonsense."""
        text = (self.attribute("ptime") or "").strip()
        return int(text) if _DIGITS.fullmatch(text) and 0 < int(text) <= 1000 else None

    @property
    def mid(self) -> str | None:
        return self.attribute("mid")

    @property
    def rtcp_port(self) -> int | None:
        """The port of `a=rtcp` (RFC 3605), None without one. Raises ParseError for a malformed one."""
        text = self.attribute("rtcp")
        return None if text is None else _port(text.split(" ")[0])

    def __str__(self) -> str:
        count = f"/{self.port_count}" if self.port_count != 1 else ""
        return f"{self.kind} {self.port}{count} {self.protocol} {' '.join(self.formats)}"


@dataclass(frozen=True, slots=True)
class SessionDescription(_Section):
    """A whole description. `lines` are the session section without `v=` and `o=`, which have fields."""

    origin: Origin
    lines: tuple[Line, ...] = ()
    media: tuple[MediaDescription, ...] = ()

    def connection_of(self, media: MediaDescription) -> Connection | None:
        """Where this media is received: its own `c=` line or the session's."""
        return media.connection or self.connection

    def direction_of(self, media: MediaDescription) -> str:
        """The media's direction, the session's, or `sendrecv` (RFC 8866 §6.7)."""
        return media.direction or self.direction or "sendrecv"

    def attribute_of(self, media: MediaDescription, name: str) -> str | None:
        """An attribute allowed at either level: the media's, else the session's."""
        own = media.attribute(name)
        return self.attribute(name) if own is None else own

    @property
    def groups(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """`a=group` (RFC 5888): semantics and the identification tags they hold."""
        words = (text.split() for text in self.attributes("group"))
        return tuple((found[0], tuple(found[1:])) for found in words if found)


@dataclass(frozen=True, slots=True)
class IceParameters:
    """The ICE lines of one media section (RFC 8839). Candidates are the text after `a=candidate:`.

    `pacing` are the milliseconds between two checks that are proposed (`a=ice-pacing`, §5.5).
    """

    ufrag: str = ""
    pwd: str = field(default="", repr=False)
    candidates: tuple[str, ...] = ()
    remote_candidates: tuple[tuple[int, Address], ...] = ()
    options: tuple[str, ...] = ()
    end_of_candidates: bool = False
    lite: bool = False
    mismatch: bool = False
    pacing: int | None = None


def ice_parameters(description: SessionDescription, media: MediaDescription) -> IceParameters | None:
    """The ICE parameters that hold for a media section, None if it does not speak ICE.

    Raises ParseError for a fragment or password out of bounds (RFC 8839 §5.4), one without the other, or
    unreadable remote candidates.
    """
    ufrag = description.attribute_of(media, "ice-ufrag")
    pwd = description.attribute_of(media, "ice-pwd")
    if ufrag is None and pwd is None:
        return None
    ufrag, pwd = (ufrag or "").strip(), (pwd or "").strip()
    if not 4 <= len(ufrag) <= 256 or not _ICE_CHARS.fullmatch(ufrag):
        raise ParseError(f"ice-ufrag {ufrag[:40]!r} is not 4 to 256 ice-chars")
    if not 22 <= len(pwd) <= 256 or not _ICE_CHARS.fullmatch(pwd):
        raise ParseError("ice-pwd is not 22 to 256 ice-chars")
    candidates = media.attributes("candidate")
    if len(candidates) > MAX_CANDIDATES:
        raise ParseError(f"{len(candidates)} candidates are more than {MAX_CANDIDATES}")
    return IceParameters(
        ufrag=ufrag,
        pwd=pwd,
        candidates=tuple(text.strip() for text in candidates),
        remote_candidates=_remote_candidates(media.attribute("remote-candidates") or ""),
        options=tuple((description.attribute_of(media, "ice-options") or "").split()),
        end_of_candidates=media.has("end-of-candidates") or description.has("end-of-candidates"),
        lite=description.has("ice-lite"),
        mismatch=media.has("ice-mismatch"),
        pacing=_pacing(description.attribute("ice-pacing")),
    )


def ice_lines(parameters: IceParameters) -> tuple[Line, ...]:
    """The media-level lines that say these parameters (`ice-lite` is session-level and not among them)."""
    lines = [attribute("ice-ufrag", parameters.ufrag), attribute("ice-pwd", parameters.pwd)]
    if parameters.options:
        lines.append(attribute("ice-options", " ".join(parameters.options)))
    lines += [attribute("candidate", text) for text in parameters.candidates]
    if parameters.remote_candidates:
        words = (f"{component} {where.ip} {where.port}" for component, where in parameters.remote_candidates)
        lines.append(attribute("remote-candidates", " ".join(words)))
    if parameters.end_of_candidates:
        lines.append(attribute("end-of-candidates"))
    if parameters.mismatch:
        lines.append(attribute("ice-mismatch"))
    return tuple(lines)


def parse(data: bytes | str) -> SessionDescription:
    """A session description. Raises ParseError, whatever the bytes.

    Lenient where nothing is lost: bare LF line ends, blank lines, missing `s=` and `t=`. Bytes that are not
    UTF-8 become U+FFFD.
    """
    if len(data) > MAX_BYTES:
        raise ParseError(f"an SDP body of {len(data)} bytes is over {MAX_BYTES}")
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    lines = list(_split(text))
    if not lines or lines[0] != ("v", "0"):
        raise ParseError("SDP does not begin with v=0")
    starts = [index for index, line in enumerate(lines) if line.letter == "m"]
    if len(starts) > MAX_MEDIA:
        raise ParseError(f"{len(starts)} media sections are more than {MAX_MEDIA}")
    session = lines[1 : starts[0]] if starts else lines[1:]
    if not session or session[0].letter != "o":
        raise ParseError("the line after v= is not o=")
    bounds = zip(starts, [*starts[1:], len(lines)][: len(starts)], strict=True)
    return SessionDescription(
        Origin.parse(session[0].value),
        tuple(session[1:]),
        tuple(_media(lines[start].value, lines[start + 1 : end]) for start, end in bounds),
    )


def serialize(description: SessionDescription) -> str:
    """The body, lines ended by CRLF. `encode()` it as UTF-8."""
    out = ["v=0", f"o={description.origin}", *map(str, description.lines)]
    for media in description.media:
        out += [f"m={media}", *map(str, media.lines)]
    return "\r\n".join(out) + "\r\n"


def payload_type(text: str) -> int:
    """An RTP payload type in text. Raises ParseError if it is no number from 0 to 127."""
    number = _number(text, "payload type")
    if number > 127:
        raise ParseError(f"payload type {number} is over 127")
    return number


def _split(text: str) -> Iterator[Line]:
    if "\0" in text:
        raise ParseError("SDP contains a NUL")
    raw = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(raw) > MAX_LINES:
        raise ParseError(f"{len(raw)} lines of SDP are more than {MAX_LINES}")
    for line in raw:
        if not line:
            continue
        if len(line) < 2 or line[1] != "=" or not ("a" <= line[0] <= "z"):
            raise ParseError(f"{line[:40]!r} is not a letter, an equals sign and a value")
        yield Line(line[0], line[2:])


def _media(value: str, lines: Iterable[Line]) -> MediaDescription:
    words = value.split()
    if len(words) < 4 or not _TOKEN.fullmatch(words[0]):
        raise ParseError(f"m={value[:60]!r} is not media, port, protocol and formats")
    port_text, slash, count_text = words[1].partition("/")
    count = _number(count_text, "port count") if slash else 1
    return MediaDescription(words[0], _port(port_text), words[2], tuple(words[3:]), tuple(lines), count)


def _remote_candidates(text: str) -> tuple[tuple[int, Address], ...]:
    words = text.split()
    if len(words) % 3 or len(words) > 3 * 8:
        raise ParseError(f"remote-candidates {text[:60]!r} are not component, address and port each")
    triples = zip(words[::3], words[1::3], words[2::3], strict=True)
    return tuple(
        (_number(component, "component"), Address.of(ip, _port(port))) for component, ip, port in triples
    )


def _pacing(text: str | None) -> int | None:
    """Up to ten digits (RFC 8839 §5.5); anything else proposes nothing."""
    return int(text) if text is not None and len(text) <= 10 and _DIGITS.fullmatch(text) else None


def _number(text: str, what: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise ParseError(f"{what} {text[:40]!r} is not a number")
    return int(text)


def _port(text: str) -> int:
    port = _number(text, "port")
    if port > 65535:
        raise ParseError(f"port {port} is over 65535")
    return port
