"""A trace prepared for rules: entries by type, names, verdicts, NAT evidence; and the form of a finding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeVar

from iceway.explain.addresses import NatEvidence
from iceway.explain.agents import AgentView, agents
from iceway.explain.cast import Cast
from iceway.explain.model import PathVerdict
from iceway.explain.path import verdicts
from iceway.trace.entry import Entry
from iceway.trace.records import Record

R = TypeVar("R", bound=Record)


class Severity(StrEnum):
    """error: the call or a part of it failed. warning: it works, but not as it should. info: looks bad, is normal."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """`seen` are ids of entries. `meaning` says why it matters, `remedy` what to do next."""

    severity: Severity
    title: str
    seen: tuple[int, ...]
    meaning: str
    remedy: str


class Case:
    """What rules ask of a trace."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.cast = Cast(entries)
        self._by_type: dict[type[Record], list[Entry]] = defaultdict(list)
        for entry in entries:
            self._by_type[type(entry.record)].append(entry)

    def of(self, kind: type[R], where: Callable[[R], bool] = lambda _: True) -> Iterator[tuple[Entry, R]]:
        """Entries of one type with their records, in order."""
        for entry in self._by_type.get(kind, ()):
            assert isinstance(entry.record, kind)
            if where(entry.record):
                yield entry, entry.record

    def name(self, node: str) -> str:
        """A node's name at the start of a sentence."""
        name = self.cast.name(node)
        return name[:1].upper() + name[1:]

    def last_of(self, node: str) -> tuple[int, ...]:
        return tuple(entry.id for entry in self.entries if entry.node == node)[-1:]

    @cached_property
    def verdicts(self) -> list[PathVerdict]:
        return verdicts(self.entries)

    @cached_property
    def agents(self) -> list[AgentView]:
        return agents(self.entries)

    @cached_property
    def nats(self) -> NatEvidence:
        return NatEvidence(self.entries, self.cast)


Rule = Callable[[Case], Iterable[Finding]]


def ids(entries: Iterable[Entry], limit: int = 12) -> tuple[int, ...]:
    """The ids of the first entries: enough to look at, few enough to read."""
    return tuple(entry.id for entry in entries)[:limit]
