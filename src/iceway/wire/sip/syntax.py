"""The small grammar under SIP's headers (RFC 3261 §25.1): tokens, quoted strings, lists, parameters.

Quoted strings and angle brackets hide separators; everything that splits a value goes through here.
"""

from __future__ import annotations

import re

from iceway.core.errors import ParseError

_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_NUMBER = re.compile(r"[0-9]+")
_PARAM = re.compile(
    r"\s*;\s*([A-Za-z0-9\-.!%*_+`'~]+)"  # ;name
    r'(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s";,<>]+))?\s*'  # =value or ="value"
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(r'[\\"\x00-\x08\x0b\x0c\x0e-\x1f\x7f]')
_STRUCTURE = re.compile(r'["<>\\]|[,;]')


class Params(tuple[tuple[str, "str | None"], ...]):
    """Parameters `;name=value;flag` in their order; values as on the wire, quotes included.

    Names compare without case. `get` unquotes; a flag without a value reads as the empty string.
    """

    __slots__ = ()

    def get(self, name: str) -> str | None:
        """The value, unquoted; "" for a parameter without one; None if there is no such parameter."""
        wanted = name.lower()
        for key, value in self:
            if key.lower() == wanted:
                return unquote(value) if value is not None else ""
        return None

    def has(self, name: str) -> bool:
        return self.get(name) is not None

    def with_param(self, name: str, value: str | None = None) -> Params:
        """A copy with the parameter set (in its place if it was there). Quote the value if it needs it."""
        wanted, done, items = name.lower(), False, []
        for key, old in self:
            if key.lower() != wanted:
                items.append((key, old))
            elif not done:
                items.append((key, value))
                done = True
        if not done:
            items.append((name, value))
        return Params(items)

    def without(self, name: str) -> Params:
        wanted = name.lower()
        return Params(item for item in self if item[0].lower() != wanted)

    def __str__(self) -> str:
        return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in self)


NO_PARAMS = Params()


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def quote(text: str) -> str:
    """A quoted string holding the text."""
    return '"' + _TO_ESCAPE.sub(r"\\\g<0>", text) + '"'


def unquote(text: str) -> str:
    """The text inside a quoted string; text that is not quoted comes back as it is."""
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        inner = text[1:-1]
        return _ESCAPED.sub(r"\1", inner) if "\\" in inner else inner
    return text


def number(text: str, what: str, limit: int = 2**32 - 1) -> int:
    """A decimal number no larger than `limit`; raises ParseError naming `what`."""
    if _NUMBER.fullmatch(text) is None:
        raise ParseError(f"{what} {text[:40]!r} is not a number")
    value = int(text) if len(text) <= 20 else limit + 1
    if value > limit:
        raise ParseError(f"{what} {text[:40]} is too large")
    return value


def split_outside(text: str, separator: str = ",") -> list[str]:
    """Split at a comma or semicolon that is in neither quotes nor angle brackets; parts are stripped.

    Raises ParseError when a quote or bracket is left open.
    """
    if '"' not in text and "<" not in text:
        return [part.strip() for part in text.split(separator)]
    parts, start, skip, quoted, bracketed = [], 0, -1, False, False
    for found in _STRUCTURE.finditer(text):
        at, mark = found.start(), found.group()
        if at == skip:
            continue
        if quoted:
            if mark == "\\":
                skip = at + 1
            elif mark == '"':
                quoted = False
        elif bracketed:
            bracketed = mark != ">"
        elif mark == '"':
            quoted = True
        elif mark == "<":
            bracketed = True
        elif mark == separator:
            parts.append(text[start:at].strip())
            start = at + 1
    if quoted or bracketed:
        raise ParseError(f"{'quote' if quoted else 'angle bracket'} not closed in {text[:60]!r}")
    parts.append(text[start:].strip())
    return parts


def parse_params(text: str) -> Params:
    """`;a=b;c="d e";flag` → Params. Raises ParseError on anything else; the empty text gives none."""
    items: list[tuple[str, str | None]] = []
    at = 0
    while at < len(text):
        found = _PARAM.match(text, at)
        if found is None:
            if not text[at:].strip():
                break
            raise ParseError(f"parameters {text[at : at + 40]!r} do not parse")
        items.append((found.group(1), found.group(2)))
        at = found.end()
    return Params(items)
