"""Topologies as TOML: `load` names the field that is wrong, `dump` writes what `load` reads back equal.

Tables are called `segment`, `host`, `router` and `view`, one array entry each; everything below them is
spelled as the dataclasses of `topology.py` are. Fields left out keep their defaults; unknown ones are errors.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import tomllib
import types
import typing
from typing import Any

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.lab.topology import Topology

_TABLES = {"segment": "segments", "host": "hosts", "router": "routers", "view": "views"}


def load(text: str) -> Topology:
    """A topology from TOML text; raises ParseError for anything else, naming the field."""
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ParseError(f"not TOML: {error}") from error
    if misspelt := set(document) & set(_TABLES.values()):
        raise ParseError(f"{sorted(misspelt)[0]}: write one [[{sorted(misspelt)[0][:-1]}]] for each")
    document = {_TABLES.get(key, key): value for key, value in document.items()}
    return typing.cast(Topology, _read(Topology, document, ""))


def dump(topology: Topology) -> str:
    """TOML text that `load` reads back as an equal topology."""
    fields = _fields(topology)
    lines = [f"{key} = {_write(value)}" for key, value in fields if key not in _TABLES.values()]
    for table, field in _TABLES.items():
        for thing in dict(fields).get(field, ()):
            lines += ["", f"[[{table}]]", *(f"{name} = {_write(item)}" for name, item in _fields(thing))]
    return "\n".join(lines) + "\n"


# --- reading --------------------------------------------------------------------------------------------
def _read(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
    origin, items = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if value not in items:
            raise ParseError(f"{where}: {value!r} is none of {', '.join(items)}")
        return value
    if origin is tuple:
        return _read_tuple(items, value, where)
    if hint is Address:
        try:
            return Address.parse(_expect(str, value, where))
        except ParseError as error:
            raise ParseError(f"{where}: {error}") from error
    if dataclasses.is_dataclass(hint):
        return _read_dataclass(typing.cast(type, hint), value, where)
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            choices = ", ".join(member.value for member in hint)
            raise ParseError(f"{where}: {value!r} is none of {choices}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _expect(hint, value, where)


def _read_tuple(items: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    values = _expect(list, value, where)
    hints = items[:1] * len(values) if items[-1] is Ellipsis else items
    if len(values) != len(hints):
        raise ParseError(f"{where}: {len(hints)} values expected, {len(values)} found")
    where = next((where[: -len(many)] + one for one, many in _TABLES.items() if where == many), where)
    return tuple(
        _read(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(hints, values, strict=True))
    )


def _read_dataclass(kind: type, value: Any, where: str) -> Any:
    table = _expect(dict, value, where)
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    known = {field.name: field for field in dataclasses.fields(kind)}
    for key in table:
        if key not in known:
            raise ParseError(f"{prefix}{key}: no such field; {kind.__name__} has {', '.join(known)}")
    for name, field in known.items():
        if name not in table and field.default is dataclasses.MISSING:
            raise ParseError(f"{prefix}{name}: missing")
    return kind(**{name: _read(hints[name], item, f"{prefix}{name}") for name, item in table.items()})


_WORDS = {
    dict: "a table",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _expect(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = {
            dict: "a table",
            list: "a list",
            str: "text",
            int: "a whole number",
            float: "a number",
            bool: "true or false",
        }
        raise ParseError(f"{where}: {names.get(kind, kind.__name__)} expected, not {value!r}")
    return value


# --- writing --------------------------------------------------------------------------------------------
def _fields(value: Any) -> list[tuple[str, Any]]:
    """The fields worth writing: those that differ from their default."""
    pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
    return [(field.name, item) for field, item in pairs if item != field.default]


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Address):
        return _write(str(value))
    if isinstance(value, enum.Enum):
        return _write(value.value)
    if isinstance(value, tuple):
        return f"[{', '.join(_write(item) for item in value)}]"
    if dataclasses.is_dataclass(value):
        return "{" + ", ".join(f"{name} = {_write(item)}" for name, item in _fields(value)) + "}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
