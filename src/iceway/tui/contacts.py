"""Whom one calls: contacts and recent calls, in two TOML files that people can read and edit.

A file that cannot be read is left as it is: `trouble` says why, and nothing is written over it. Names and addresses
may come from strangers, so they are cleaned before they are kept.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from iceway.core.errors import UsageError
from iceway.explain.clean import clean

MAX_CONTACTS = 2000
MAX_RECENT = 100
MAX_TEXT = 200  # characters of a name or an address
_HEAD = "# Written by `iceway phone`, which reads it when it starts.\n"


@dataclass(frozen=True, slots=True)
class Contact:
    """`address` is a SIP address as it is called."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Recent:
    """A call that is over. `at` is Unix time, `seconds` how long it lasted once it was answered."""

    address: str
    at: float
    incoming: bool = False
    answered: bool = False
    seconds: float = 0.0
    reason: str = ""


T = TypeVar("T", Contact, Recent)


class ContactBook:
    """Contacts in order of their names, recent calls from the latest."""

    def __init__(self, contacts: Path, recent: Path) -> None:
        self.trouble = ""
        self._files = {"contact": contacts, "call": recent}
        self._spoiled: set[str] = set()
        self.contacts = sorted(self._load("contact", _contact), key=_order)[:MAX_CONTACTS]
        self.recent = sorted(self._load("call", _recent), key=lambda one: -one.at)[:MAX_RECENT]

    @classmethod
    def of_user(cls) -> ContactBook:
        """Where the XDG base directories are."""
        home = Path.home()
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state")
        return cls(config / "iceway" / "contacts.toml", state / "iceway" / "calls.toml")

    def name_of(self, address: str) -> str:
        """Who that is: the contact's name, or else the user of the address."""
        for contact in self.contacts:
            if _same(contact.address, address):
                return contact.name
        user = clean(address).partition(":")[2].partition("@")[0]
        return (user or clean(address))[:MAX_TEXT]

    def knows(self, address: str) -> bool:
        return any(_same(contact.address, address) for contact in self.contacts)

    def address_of(self, text: str) -> str | None:
        """The address of the contact whose name somebody typed; None if there is none of that name."""
        wanted = text.strip().casefold()
        return next((one.address for one in self.contacts if one.name.casefold() == wanted), None)

    def put(self, contact: Contact, instead_of: Contact | None = None) -> None:
        """Add a contact, or change one. Raises UsageError for a name that is there already."""
        contact = Contact(clean(contact.name.strip())[:MAX_TEXT], clean(contact.address.strip())[:MAX_TEXT])
        if not contact.name or not contact.address:
            raise UsageError("a contact has a name and an address")
        others = [one for one in self.contacts if one != instead_of]
        if any(one.name.casefold() == contact.name.casefold() for one in others):
            raise UsageError(f"there is a contact {contact.name} already; choose another name")
        if len(others) >= MAX_CONTACTS:
            raise UsageError(f"there are {MAX_CONTACTS} contacts already; delete one first")
        self.contacts = sorted([*others, contact], key=_order)
        self._save("contact", self.contacts)

    def remove(self, contact: Contact) -> None:
        self.contacts = [one for one in self.contacts if one != contact]
        self._save("contact", self.contacts)

    def called(self, recent: Recent) -> None:
        """A call is over."""
        self.recent = [recent, *self.recent][:MAX_RECENT]
        self._save("call", self.recent)

    def _load(self, table: str, read: Callable[[Mapping[str, Any]], T]) -> list[T]:
        file = self._files[table]
        try:
            rows = tomllib.loads(file.read_text(encoding="utf-8")).get(table, [])
            return [read(row) for row in rows]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            self._spoil(table, f"{file} cannot be read ({reason}); mend it or move it away")
            return []

    def _save(self, table: str, rows: Iterable[Contact | Recent]) -> None:
        """Whole or not at all, for its owner only."""
        if table in self._spoiled:
            return
        file = self._files[table]
        text = _HEAD + "".join(f"\n[[{table}]]\n{_toml(asdict(row))}" for row in rows)
        new = file.with_name(f"{file.name}.new")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as out:
                out.write(text)
            os.replace(new, file)
        except OSError as error:
            self._spoil(table, f"{file} cannot be written: {error.strerror}")

    def _spoil(self, table: str, trouble: str) -> None:
        self._spoiled.add(table)
        self.trouble = trouble


def _contact(row: Mapping[str, Any]) -> Contact:
    return Contact(_text(row["name"]), _text(row["address"]))


def _recent(row: Mapping[str, Any]) -> Recent:
    return Recent(
        _text(row["address"]), float(row["at"]), bool(row.get("incoming")), bool(row.get("answered")),
        float(row.get("seconds", 0.0)), _text(row.get("reason", "")),
    )  # fmt: skip


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return clean(value)[:MAX_TEXT]


def _toml(row: Mapping[str, Any]) -> str:
    """JSON's strings, numbers and truth values are TOML's as well, but for DEL."""
    return "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n".replace("\x7f", "\\u007f")
        for name, value in row.items()
    )


def _order(contact: Contact) -> str:
    return contact.name.casefold()


def _same(one: str, other: str) -> bool:
    """Whether two addresses call the same user, as far as people care: not by port, parameters or case of the host."""
    return _plain(one) == _plain(other)


def _plain(address: str) -> str:
    bare = address.strip().removeprefix("sips:").removeprefix("sip:").partition(";")[0]
    user, at, host = bare.rpartition("@")
    return f"{user}{at}{host.lower()}"
