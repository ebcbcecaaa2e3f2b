"""Logs for people: one line a record, so that a terminal with --verbose reads like a story.

Everything of iceway logs under the logger "iceway"; records go to "iceway.trace". Whole messages stay in the
trace file: a line shows start lines, names and numbers only.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable
from typing import TextIO

from iceway.trace.entry import Entry
from iceway.trace.records import Note, Record

_NOT_IN_A_LINE = {"raw", "text", "attributes", "transaction_id"}
_LONGEST = 120
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(*, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Warnings to stderr; with `verbose`, records too. Calling it again replaces what was."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("iceway")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO if verbose else logging.WARNING)


def record_logger() -> Callable[[Entry], None]:
    """A listener for `Recorder`. Times count from the first record."""
    logger = logging.getLogger("iceway.trace")
    first: list[float] = []

    def log(entry: Entry) -> None:
        level = (
            _LEVELS.get(entry.record.level, logging.INFO) if isinstance(entry.record, Note) else logging.INFO
        )
        if logger.isEnabledFor(level):
            first.extend([] if first else [entry.at])
            logger.log(level, "%9.3f %-10s %s", entry.at - first[0], entry.node, in_a_line(entry.record))

    return log


def in_a_line(record: Record) -> str:
    """`PairSucceeded agent=call.1/ice pair=3 round_trip=0.041 …`"""
    if isinstance(record, Note):
        return _short(record.text)
    assert dataclasses.is_dataclass(record)
    words = [type(record).__name__]
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name in _NOT_IN_A_LINE or value is None or value == "" or value == ():
            continue
        words.append(f"{field.name}={_value(value)}")
    return " ".join(words)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = ",".join(map(str, value)) if type(value) is tuple else str(value)
    return repr(_short(text)) if " " in text else _short(text)


def _short(text: str) -> str:
    # Records quote what strangers sent: no control character reaches a terminal.
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
