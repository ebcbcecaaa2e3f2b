"""Records with their time and place, and their form on disk: JSON Lines, one entry a line.

A line reads `{"id": 7, "at": 1.25, "node": "alice", "type": "PairSucceeded", …fields}`. Fields that are None
or empty are left out where reading puts the same value back; addresses are text; numbers keep microseconds.
But for that rounding `from_json(to_json(entry)) == entry` for every record type. A line is valid UTF-8 always.
`at` is seconds on the run's common clock (virtual time, or CLOCK_MONOTONIC of the machine).
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.trace import records
from iceway.trace.records import Record

RECORD_TYPES: dict[str, type[Record]] = {
    name: value
    for name, value in vars(records).items()
    if isinstance(value, type) and issubclass(value, Record) and value is not Record
}

_HEAD: tuple[tuple[str, type], ...] = (("id", int), ("at", float), ("node", str))
_SURROGATE = re.compile("[\ud800-\udfff]")  # left over from bytes that were no UTF-8


class Entry(NamedTuple):
    """One record, stamped. `id` counts within a run (after merging, over all nodes)."""

    id: int
    at: float
    node: str
    record: Record


def to_json(entry: Entry) -> str:
    """One line, without the newline. Keys keep the order of the fields, so equal runs give equal bytes."""
    row: dict[str, Any] = {
        "id": entry.id,
        "at": round(entry.at, 6),
        "node": entry.node,
        "type": type(entry.record).__name__,
    }
    row.update(_fields(entry.record))
    line = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    if line.isascii():
        return line
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def from_json(line: str) -> Entry:
    """Raises ParseError for anything but a line that `to_json` could have written."""
    try:
        row = json.loads(line, parse_constant=_no_number)
        kind = RECORD_TYPES[row.pop("type")]
        number, at, node = (_typed(hint, row.pop(name)) for name, hint in _HEAD)
        return Entry(number, at, node, typing.cast(Record, _build(kind, row)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        fault = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ParseError(f"not a trace line: {fault}") from error


def write_lines(entries: Iterable[Entry], write: Callable[[str], object]) -> None:
    for entry in entries:
        write(to_json(entry) + "\n")


def read_lines(lines: Iterable[str]) -> Iterator[Entry]:
    """Entries of a trace file; blank lines are skipped. Raises ParseError naming the line."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield from_json(line)
            except ParseError as error:
                raise ParseError(f"line {number}: {error}") from error


def merge(*traces: Iterable[Entry]) -> list[Entry]:
    """Several nodes' traces of one run as one, ordered by time, renumbered from 1."""
    together = sorted((e for trace in traces for e in trace), key=lambda e: (e.at, e.node, e.id))
    return [entry._replace(id=number) for number, entry in enumerate(together, 1)]


def _fields(value: Any) -> dict[str, Any]:
    row = {}
    kind: type = type(value)
    for name, missing in _left_out(kind).items():
        held = getattr(value, name)
        if held is None or held == "" or held == ():
            if held != missing:
                row[name] = _plain(held)
        else:
            row[name] = _plain(held)
    return row


@cache
def _left_out(kind: type) -> dict[str, object]:
    """What reading puts in place of each field that a line does not have; an Ellipsis where it cannot."""
    missing: dict[str, object] = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            missing[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            missing[field.name] = field.default_factory()
        else:
            try:
                missing[field.name] = _empty(_hints(kind)[field.name])
            except ValueError:
                missing[field.name] = ...
    return missing


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _plain(value: Any) -> Any:
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, float):
        return round(value, 6)
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build(kind: type, row: dict[str, Any]) -> object:
    values = {}
    for field in dataclasses.fields(kind):
        if field.name in row:
            values[field.name] = _typed(_hints(kind)[field.name], row[field.name])
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            values[field.name] = _empty(_hints(kind)[field.name])
    if unknown := set(row) - {field.name for field in dataclasses.fields(kind)}:
        raise ValueError(f"{kind.__name__} has no field {sorted(unknown)[0]}")
    return kind(**values)


def _empty(hint: Any) -> Any:
    if hint is str:
        return ""
    if typing.get_origin(hint) is tuple:
        return ()
    if isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint):
        return None
    raise ValueError(f"a field of type {hint} is missing")


def _typed(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
        return _typed(hint, value)
    if hint is Address:
        return Address.parse(value)
    if typing.get_origin(hint) is tuple:
        items = typing.get_args(hint)
        if len(items) == 2 and items[1] is Ellipsis:
            return tuple(_typed(items[0], item) for item in value)
        return tuple(_typed(item_hint, item) for item_hint, item in zip(items, value, strict=True))
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{value!r} is not {hint.__name__}")
    return value
