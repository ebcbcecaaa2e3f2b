"""The header fields of a message, in their order, found without regard to case or compact form.

A `Headers` never changes; the `with_…` helpers return copies. `get` and `all` give fields as they stand,
`values` splits comma-separated lists, except in the headers whose grammar uses commas otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TypeVar, cast

from iceway.core.errors import ParseError, UsageError
from iceway.wire.sip.syntax import is_token, split_outside

T = TypeVar("T")

_COMPACT = {  # RFC 3261 §7.3.3 and the extensions' registrations
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

_CACHED = 64  # longer names are a stranger's and not worth memory

# One field is one value here although it holds commas (RFC 3261 §7.3.1, §20; Date has one as well).
_NEVER_SPLIT = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "www-authenticate",
        "proxy-authenticate",
        "authentication-info",
        "proxy-authentication-info",
        "date",
        "subject",
        "user-agent",
        "server",
        "organization",
        "call-id",
    }
)


def canonical_name(name: str) -> str:
    """The lower-case long form under which a header is looked up."""
    return _canonical(name) if len(name) <= _CACHED else name.lower()


@lru_cache(maxsize=1024)
def _canonical(name: str) -> str:
    key = name.lower()
    return _COMPACT.get(key, key)


class Headers:
    """An ordered, immutable multimap of header fields."""

    __slots__ = ("_index", "_views", "items")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self.items: tuple[tuple[str, str], ...] = tuple(items)
        self._index: dict[str, list[str]] | None = None
        self._views: dict[str, object] = {}

    @classmethod
    def of(cls, *fields: tuple[str, str]) -> Headers:
        """Fields written by us: raises UsageError when one would break the message's lines."""
        for name, value in fields:
            _check(name, value)
        return cls(fields)

    def get(self, name: str) -> str | None:
        """The first field of that name as it stands, or None."""
        found = self._by_name().get(canonical_name(name))
        return found[0] if found else None

    def all(self, name: str) -> tuple[str, ...]:
        """Every field of that name as it stands, in order."""
        return tuple(self._by_name().get(canonical_name(name), ()))

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of that name: fields split at commas where the header is a list.

        Raises ParseError on an empty element or an open quote.
        """
        key = canonical_name(name)
        fields = self._by_name().get(key, [])
        if key in _NEVER_SPLIT:
            return tuple(fields)
        values: list[str] = []
        for field in fields:
            if not field:
                continue
            parts = split_outside(field) if "," in field or '"' in field else [field]
            if "" in parts:
                raise ParseError(f"{name} has an empty element")
            values.extend(parts)
        return tuple(values)

    def has_value(self, name: str, value: str) -> bool:
        """Whether a list header (Supported, Require, Allow …) holds the value, compared without case."""
        wanted = value.lower()
        return any(item.lower() == wanted for item in self.values(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and canonical_name(name) in self._by_name()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.items == other.items

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        return f"Headers({list(self.items)!r})"

    def with_header(self, name: str, *values: str) -> Headers:
        """These fields instead of all of that name, where the first of them stood (else at the end)."""
        for value in values:
            _check(name, value)
        key, fresh, items, done = canonical_name(name), [(name, value) for value in values], [], False
        for item in self.items:
            if canonical_name(item[0]) != key:
                items.append(item)
            elif not done:
                items.extend(fresh)
                done = True
        if not done:
            items.extend(fresh)
        return Headers(items)

    def with_first(self, name: str, value: str) -> Headers:
        """A new field before the others of that name (at the very front if there are none)."""
        _check(name, value)
        key = canonical_name(name)
        for at, item in enumerate(self.items):
            if canonical_name(item[0]) == key:
                return Headers((*self.items[:at], (name, value), *self.items[at:]))
        return Headers(((name, value), *self.items))

    def with_last(self, name: str, value: str) -> Headers:
        """A new field at the end."""
        _check(name, value)
        return Headers((*self.items, (name, value)))

    def without(self, *names: str) -> Headers:
        keys = {canonical_name(name) for name in names}
        return Headers(item for item in self.items if canonical_name(item[0]) not in keys)

    def without_first_value(self, name: str) -> Headers:
        """The first value of a list header removed (popping a Via or a Route)."""
        key = canonical_name(name)
        for at, (spelling, field) in enumerate(self.items):
            if canonical_name(spelling) == key:
                rest = split_outside(field)[1:]
                kept = ((spelling, ", ".join(rest)),) if rest else ()
                return Headers((*self.items[:at], *kept, *self.items[at + 1 :]))
        return self

    def view(self, key: str, read: Callable[[Headers], T]) -> T:
        """What `read` makes of these headers, worked out once."""
        if key not in self._views:
            self._views[key] = read(self)
        return cast(T, self._views[key])

    def _by_name(self) -> dict[str, list[str]]:
        if self._index is None:
            index: dict[str, list[str]] = {}
            for name, value in self.items:
                index.setdefault(canonical_name(name), []).append(value)
            self._index = index
        return self._index


NO_HEADERS = Headers()


def _check(name: str, value: str) -> None:
    if not is_token(name):
        raise UsageError(f"{name!r} is not a header name")
    if "\r" in value or "\n" in value:
        raise UsageError(f"the value of {name} has a line break in it")
