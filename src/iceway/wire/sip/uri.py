"""SIP and SIPS URIs (RFC 3261 §19.1): parsing, writing, comparing.

Parts are kept as written, escapes included, so that a URI goes on as it came; `username` reads the user
part without its escapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote as percent_encode
from urllib.parse import unquote as percent_decode

from iceway.core.address import canonical_ip, split_host_port
from iceway.core.errors import ParseError
from iceway.wire.sip.syntax import NO_PARAMS, Params

_URI = re.compile(
    r"(?P<scheme>sips?):"
    r"(?:(?P<user>[^@:<>\s\"]*)(?::(?P<password>[^@<>\s\"]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<params>(?:;[^;?@<>\s\"]+)*)"
    r"(?:\?(?P<headers>[^?@<>\s\"]+(?:\?[^@<>\s\"]*)?))?",
    re.IGNORECASE,
)
_ESCAPES = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CACHED = 256  # longer URIs are parsed each time, so that strangers cannot fill the memory
_UNRESERVED_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_RESERVED = frozenset(';/?:@&=+$,%"<> ')
_USER_SAFE = "-_.!~*'()&=+$,;?/"  # RFC 3261 §25.1: unreserved and user-unreserved
_PARAM_SAFE = "-_.!~*'()[]/:&+$"

# Parameters that make two URIs differ even when only one of them has it (RFC 3261 §19.1.4).
_TELLING = ("user", "ttl", "method", "maddr", "transport")


@dataclass(frozen=True, slots=True)
class SipUri:
    """`sip:user@host:port;params?headers`. `host` has no brackets; `user` and values keep their escapes."""

    host: str
    user: str | None = None
    port: int | None = None
    scheme: str = "sip"
    params: Params = NO_PARAMS
    headers: str = ""
    password: str | None = None

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Raises ParseError on anything that is not a sip: or sips: URI."""
        return _parse_cached(text) if len(text) <= _CACHED else _parse(text)

    @classmethod
    def of(cls, user: str | None, host: str, port: int | None = None, **params: str | None) -> SipUri:
        """Build one from plain text: the user and the parameters' values are escaped as needed."""
        return cls(
            host=host,
            user=percent_encode(user, safe=_USER_SAFE) if user is not None else None,
            port=port,
            params=Params(
                (name, value if value is None else percent_encode(value, safe=_PARAM_SAFE))
                for name, value in params.items()
            ),
        )

    @property
    def username(self) -> str:
        """The user part without escapes; empty if there is none."""
        return percent_decode(self.user) if self.user else ""

    @property
    def transport(self) -> str | None:
        value = self.params.get("transport")
        return value.lower() if value else None

    @property
    def is_secure(self) -> bool:
        return self.scheme == "sips"

    def param(self, name: str) -> str | None:
        """A parameter's value without escapes; "" for a flag; None if it is not there."""
        value = self.params.get(name)
        return percent_decode(value) if value else value

    def with_param(self, name: str, value: str | None = None) -> SipUri:
        return replace(
            self,
            params=self.params.with_param(
                name, value if value is None else percent_encode(value, safe=_PARAM_SAFE)
            ),
        )

    def without_param(self, name: str) -> SipUri:
        return replace(self, params=self.params.without(name))

    @property
    def aor(self) -> str:
        """The address of record it names: scheme, user and host only, canonical (RFC 3261 §10.3 step 5)."""
        user = f"{_canonical_escapes(self.user)}@" if self.user else ""
        return f"{self.scheme}:{user}{_bracketed(self.host.lower())}"

    def matches(self, other: SipUri) -> bool:
        """Equivalence of RFC 3261 §19.1.4."""
        if (
            self.scheme != other.scheme
            or _canonical_escapes(self.user or "") != _canonical_escapes(other.user or "")
            or (self.user is None) != (other.user is None)
            or _canonical_escapes(self.password or "") != _canonical_escapes(other.password or "")
            or self.host.lower() != other.host.lower()
            or self.port != other.port
        ):
            return False
        mine = {name.lower(): _canonical_escapes(value or "").lower() for name, value in self.params}
        theirs = {name.lower(): _canonical_escapes(value or "").lower() for name, value in other.params}
        if any(mine.get(name) != theirs.get(name) for name in _TELLING):
            return False
        if any(mine[name] != theirs[name] for name in mine.keys() & theirs.keys()):
            return False
        return _header_set(self.headers) == _header_set(other.headers)

    def __str__(self) -> str:
        user = ""
        if self.user is not None:
            password = f":{self.password}" if self.password is not None else ""
            user = f"{self.user}{password}@"
        port = f":{self.port}" if self.port is not None else ""
        headers = f"?{self.headers}" if self.headers else ""
        return f"{self.scheme}:{user}{_bracketed(self.host)}{port}{self.params}{headers}"


def _parse(text: str) -> SipUri:
    found = _URI.fullmatch(text)
    if found is None:
        if not re.match(r"sips?:", text, re.IGNORECASE):
            raise ParseError(f"{text[:60]!r} is not a SIP URI")
        raise ParseError(f"SIP URI {text[:60]!r} does not parse")
    if _ESCAPES.search(text):
        raise ParseError(f"SIP URI {text[:60]!r} has a broken % escape")
    user, host = found["user"], found["host"]
    if user == "":
        raise ParseError(f"SIP URI {text[:60]!r} has an @ but no user")
    if host.startswith("["):
        host = canonical_ip(host)
    _, port = split_host_port(f"h:{found['port']}") if found["port"] else ("", None)
    params: list[tuple[str, str | None]] = []
    for part in found["params"].split(";")[1:]:
        name, equals, value = part.partition("=")
        if not name:
            raise ParseError(f"SIP URI {text[:60]!r} has a parameter without a name")
        params.append((name, value if equals else None))
    return SipUri(
        host=host,
        user=user,
        port=port,
        scheme=found["scheme"].lower(),
        params=Params(params),
        headers=found["headers"] or "",
        password=found["password"],
    )


_parse_cached = lru_cache(maxsize=4096)(_parse)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _canonical_escapes(text: str | None) -> str:
    """Escapes of characters that need none are undone; the others get upper-case digits."""
    if not text or "%" not in text:
        return text or ""

    def canonical(found: re.Match[str]) -> str:
        character = chr(int(found.group(1), 16))
        if character.isascii() and character.isprintable() and character not in _RESERVED:
            return character
        return found.group().upper()

    return _UNRESERVED_ESCAPE.sub(canonical, text)


def _header_set(headers: str) -> frozenset[str]:
    return frozenset(
        name.lower() + "=" + _canonical_escapes(value)
        for name, _, value in (part.partition("=") for part in headers.split("&") if part)
    )
