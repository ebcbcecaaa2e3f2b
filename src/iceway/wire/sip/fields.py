"""What single header values mean: addresses, Via, CSeq, RAck (RFC 3261 §20, RFC 3262 §7.2).

Every `parse` raises ParseError and nothing else; `str` writes the value back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from iceway.core.address import split_host_port
from iceway.core.errors import ParseError
from iceway.wire.sip.syntax import (
    NO_PARAMS,
    Params,
    is_token,
    number,
    parse_params,
    quote,
    split_outside,
    unquote,
)
from iceway.wire.sip.uri import SipUri

# Possessive throughout: strangers send these, and a blank must not be tried in two places.
_NAME_ADDR = re.compile(
    r'\s*+(?P<display>"(?:[^"\\]|\\.)*+"\s*+|[^"<>]*+)<\s*+(?P<uri>[^<>\s"]++)\s*+>\s*+(?P<params>.*+)',
    re.DOTALL,
)
_ADDR_SPEC = re.compile(r"\s*(?P<uri>[^<>\s\",;?]+)\s*(?P<params>;.*)?", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_UNQUOTED_DISPLAY = re.compile(r"[A-Za-z0-9\-.!%*_+`'~\s\u0080-\U0010ffff]*")
_VIA = re.compile(
    r"\s*SIP\s*/\s*2\.0\s*/\s*(?P<transport>[A-Za-z0-9\-.!%*_+`'~]+)\s+"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)(?:\s*:\s*(?P<port>[0-9]+))?\s*(?P<params>;.*)?",
    re.IGNORECASE | re.DOTALL,
)

MAGIC_COOKIE = "z9hG4bK"  # RFC 3261 §8.1.1.7


@dataclass(frozen=True, slots=True)
class NameAddr:
    """`"Display" <uri>;params`: From, To, Contact, Route, Record-Route, Path, P-Asserted-Identity …

    `uri` is text because it need not be a SIP URI; `sip` parses it.
    """

    uri: str
    display: str = ""
    params: Params = NO_PARAMS

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        if found := _NAME_ADDR.fullmatch(text):
            display = found["display"].rstrip()
            if not display.startswith('"') and not _UNQUOTED_DISPLAY.fullmatch(display):
                raise ParseError(f"display name {display[:40]!r} needs quotes")
        elif found := _ADDR_SPEC.fullmatch(text):
            # Without brackets, parameters belong to the header and a ? may not occur (RFC 3261 §20.10).
            display = ""
        else:
            raise ParseError(f"address {text[:60]!r} does not parse")
        if not _SCHEME.match(found["uri"]):
            raise ParseError(f"address {text[:60]!r} has no URI scheme")
        return cls(found["uri"], unquote(display), parse_params(found["params"] or ""))

    @property
    def sip(self) -> SipUri:
        """The URI as a SIP URI; raises ParseError if it is another kind."""
        return SipUri.parse(self.uri)

    @property
    def tag(self) -> str | None:
        return self.params.get("tag") or None

    @property
    def expires(self) -> int | None:
        """Contact's own expiry; None if absent. Raises ParseError when it is no number."""
        value = self.params.get("expires")
        return None if value is None else number(value, "expires")

    @property
    def q(self) -> float:
        """Preference, 1.0 unless said (RFC 3261 §20.10)."""
        value = self.params.get("q")
        if value is None:
            return 1.0
        if not re.fullmatch(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", value):
            raise ParseError(f"q {value[:20]!r} is not between 0 and 1")
        return float(value)

    @property
    def instance(self) -> str | None:
        """`+sip.instance` without its angle brackets (RFC 5626 §4.1)."""
        value = self.params.get("+sip.instance")
        return value.strip("<>") if value else None

    @property
    def reg_id(self) -> int | None:
        """`reg-id` (RFC 5626 §4.2); raises ParseError when it is no positive number."""
        value = self.params.get("reg-id")
        if value is None:
            return None
        if (parsed := number(value, "reg-id", 2**31 - 1)) == 0:
            raise ParseError("reg-id is 0")
        return parsed

    def with_param(self, name: str, value: str | None = None) -> NameAddr:
        return replace(self, params=self.params.with_param(name, value))

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{self.params}"


@dataclass(frozen=True, slots=True)
class Via:
    """One hop: the transport it was sent over, where responses go, and the branch that names the transaction."""

    transport: str
    host: str
    port: int | None = None
    params: Params = NO_PARAMS

    @classmethod
    def parse(cls, text: str) -> Via:
        found = _VIA.fullmatch(text)
        if found is None:
            raise ParseError(f"Via {text[:60]!r} does not parse")
        host, _ = split_host_port(found["host"])
        port = number(found["port"], "Via port", 65535) if found["port"] else None
        return cls(found["transport"].upper(), host, port, parse_params(found["params"] or ""))

    @property
    def branch(self) -> str | None:
        return self.params.get("branch") or None

    @property
    def received(self) -> str | None:
        """The source IP a server saw when it differed from sent-by; brackets removed."""
        value = self.params.get("received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> int | None:
        """The source port a server filled in (RFC 3581); None if it was only asked for, or not at all."""
        value = self.params.get("rport")
        return number(value, "rport", 65535) if value else None

    @property
    def sent_by(self) -> str:
        """Host and port, lower case, as transactions are matched (RFC 3261 §17.2.3)."""
        host = f"[{self.host}]" if ":" in self.host else self.host.lower()
        return host if self.port is None else f"{host}:{self.port}"

    def with_param(self, name: str, value: str | None = None) -> Via:
        return replace(self, params=self.params.with_param(name, value))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {host}{port}{self.params}"


@dataclass(frozen=True, slots=True)
class CSeq:
    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        parts = text.split()
        if len(parts) != 2 or not is_token(parts[1]):
            raise ParseError(f"CSeq {text[:40]!r} is not a number and a method")
        return cls(number(parts[0], "CSeq", 2**31 - 1), parts[1])  # RFC 3261 §8.1.1.5

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(frozen=True, slots=True)
class RAck:
    """Which reliable provisional response a PRACK acknowledges (RFC 3262 §7.2)."""

    rseq: int
    cseq: int
    method: str

    @classmethod
    def parse(cls, text: str) -> RAck:
        parts = text.split()
        if len(parts) != 3 or not is_token(parts[2]):
            raise ParseError(f"RAck {text[:40]!r} is not two numbers and a method")
        return cls(number(parts[0], "RAck"), number(parts[1], "RAck", 2**31 - 1), parts[2])

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


def parse_addresses(text: str) -> tuple[NameAddr, ...]:
    """A comma-separated list of addresses, such as a stored Path."""
    return tuple(NameAddr.parse(part) for part in split_outside(text)) if text.strip() else ()
