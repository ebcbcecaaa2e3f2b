"""What happened, told from records: `Story(trace).then("alice", SipSent, start="INVITE").then("bob", …)`.

Each `then` looks for its record behind the one before it, so a story that can be told to its end happened in
that order. Things that go on side by side are told by a second story from the same place: `story.meanwhile()`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from iceway.trace.entry import Entry, to_json
from iceway.trace.records import Record

R = TypeVar("R", bound=Record)


class Story:
    """A place in a trace. `entry` is the one told last; `record` its record."""

    def __init__(self, trace: Sequence[Entry], at: int = -1) -> None:
        self.trace = trace
        self._at = at

    @property
    def entry(self) -> Entry:
        return self.trace[self._at]

    @property
    def record(self) -> Record:
        return self.entry.record

    def then(self, who: str, kind: type[Record], **wanted: object) -> Story:
        """The next such record of a node. What is wanted of its fields reads: a text or pattern to be found in
        the field, a predicate, or an equal value. `start` is how the start line begins, `says` what the message
        says (a pattern, or several)."""
        for at in range(self._at + 1, len(self.trace)):
            entry = self.trace[at]
            if entry.node == who and isinstance(entry.record, kind) and _fits(entry.record, wanted):
                self._at = at
                return self
        raise AssertionError(self._missing(who, kind, wanted))

    def never(self, who: str, kind: type[Record], **wanted: object) -> Story:
        """No such record from here to the end."""
        for entry in self.trace[self._at + 1 :]:
            if entry.node == who and isinstance(entry.record, kind) and _fits(entry.record, wanted):
                raise AssertionError(f"{who} was not to have {kind.__name__} {wanted}, but: {to_json(entry)}")
        return self

    def meanwhile(self) -> Story:
        """A second story that goes on from here."""
        return Story(self.trace, self._at)

    def _missing(self, who: str, kind: type[Record], wanted: dict[str, object]) -> str:
        followed = [entry for entry in self.trace[self._at + 1 :] if entry.node == who]
        told = to_json(self.entry)[:300] if self._at >= 0 else "the beginning"
        alike = [entry for entry in followed if isinstance(entry.record, kind)]
        lines = "\n  ".join(to_json(entry)[:300] for entry in (alike or followed)[:20])
        return f"after {told}\n{who} has no {kind.__name__} {wanted}; what follows there:\n  {lines or 'nothing'}"


def every(trace: Sequence[Entry], kind: type[R], who: str | None = None, **wanted: object) -> list[R]:
    """All records of a kind (of one node) that fit."""
    return [
        entry.record
        for entry in trace
        if isinstance(entry.record, kind) and who in (None, entry.node) and _fits(entry.record, wanted)
    ]


def _fits(record: Record, wanted: dict[str, object]) -> bool:
    return all(_field_fits(record, name, value) for name, value in wanted.items())


def _field_fits(record: Record, name: str, wanted: object) -> bool:
    if name == "start":
        return str(getattr(record, "start_line", "")).startswith(str(wanted))
    if name == "says":
        text = str(getattr(record, "text", ""))
        patterns = (wanted,) if isinstance(wanted, str) else wanted
        assert isinstance(patterns, tuple)
        return all(re.search(pattern, text, re.MULTILINE) for pattern in patterns)
    held = getattr(record, name)
    if isinstance(wanted, str) and isinstance(held, str):
        return re.search(wanted, held) is not None
    if callable(wanted):
        return bool(wanted(held))
    return bool(held == wanted)
