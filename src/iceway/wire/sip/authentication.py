"""Challenges and credentials (RFC 3261 §20.7, §20.44; RFC 7616 §3): `Scheme name=value, name="value"`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from iceway.core.errors import ParseError
from iceway.wire.sip.syntax import NO_PARAMS, Params, is_token, quote, unquote

_PARAM = re.compile(r'\s*([A-Za-z0-9\-.!%*_+`\'~]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s",]+)\s*(,|$)')

# Written without quotes (RFC 7616 §3.3, §3.4); everything else is quoted.
_BARE = frozenset({"algorithm", "stale", "nc", "qop"})


@dataclass(frozen=True, slots=True)
class _Scheme:
    scheme: str
    params: Params = NO_PARAMS

    def get(self, name: str) -> str | None:
        return self.params.get(name)

    @property
    def is_digest(self) -> bool:
        return self.scheme.lower() == "digest"

    @property
    def realm(self) -> str:
        return self.params.get("realm") or ""

    @property
    def nonce(self) -> str:
        return self.params.get("nonce") or ""

    @property
    def algorithm(self) -> str:
        """As written, MD5 where nothing is said (RFC 7616 §3.3)."""
        return self.params.get("algorithm") or "MD5"

    def __str__(self) -> str:
        return f"{self.scheme} " + ", ".join(f"{name}={value}" for name, value in self.params)


@dataclass(frozen=True, slots=True)
class Challenge(_Scheme):
    """A WWW-Authenticate or Proxy-Authenticate value."""

    @classmethod
    def parse(cls, text: str) -> Challenge:
        return cls(*_parse(text))

    @classmethod
    def digest(cls, params: Iterable[tuple[str, str]]) -> Challenge:
        """Build one from plain values. A challenge quotes qop, being a list there (RFC 7616 §3.3)."""
        return cls("Digest", _write(params, _BARE - {"qop"}))

    @property
    def stale(self) -> bool:
        return (self.params.get("stale") or "").lower() == "true"

    @property
    def qop(self) -> tuple[str, ...]:
        return tuple(
            part.strip().lower() for part in (self.params.get("qop") or "").split(",") if part.strip()
        )


@dataclass(frozen=True, slots=True)
class Credentials(_Scheme):
    """An Authorization or Proxy-Authorization value."""

    @classmethod
    def parse(cls, text: str) -> Credentials:
        return cls(*_parse(text))

    @classmethod
    def digest(cls, params: Iterable[tuple[str, str]]) -> Credentials:
        return cls("Digest", _write(params, _BARE))

    @property
    def username(self) -> str:
        return self.params.get("username") or ""


def parse_challenges(fields: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges among some header fields; those that do not parse are passed over."""
    found = []
    for field in fields:
        try:
            found.append(Challenge.parse(field))
        except ParseError:
            continue
    return tuple(found)


def _parse(text: str) -> tuple[str, Params]:
    scheme, _, rest = text.strip().partition(" ")
    if not is_token(scheme):
        raise ParseError(f"authentication scheme {scheme[:40]!r} is not a token")
    params: list[tuple[str, str | None]] = []
    at, rest = 0, rest.strip()
    while at < len(rest):
        found = _PARAM.match(rest, at)
        if found is None:
            if scheme.lower() != "digest":
                return scheme, Params()  # a token68 or other form of a scheme we do not speak
            raise ParseError(f"authentication parameters {rest[at : at + 40]!r} do not parse")
        params.append((found.group(1), found.group(2)))
        at = found.end()
        if at == len(rest) and found.group(3) == ",":
            raise ParseError("authentication parameters end in a comma")
    return scheme, Params(params)


def _write(params: Iterable[tuple[str, str]], bare: frozenset[str]) -> Params:
    return Params((name, unquote(value) if name in bare else quote(value)) for name, value in params)
