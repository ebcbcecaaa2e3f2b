"""Where records go: a JSON Lines file, memory, listeners; any of them, or none.

A run must never stop because its trace cannot be written: the first error is warned about once, from then on
the file gets nothing more. Lines are written in batches of whole lines, so a killed process leaves a file
that reads to its end, at most a second short.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from iceway.core.errors import EnvironmentFailure
from iceway.trace.entry import Entry, to_json
from iceway.trace.records import Record

FLUSH_EVERY = 1.0  # seconds of the records' own time
FLUSH_LINES = 512
KEEP = 50_000  # entries held in memory (some 30 MB); a client may answer calls for months

_log = logging.getLogger("iceway.recorder")


class Recorder:
    """Stamps records and numbers them from 1. Several drivers of one process share one recorder."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        keep: bool = False,
        listeners: tuple[Callable[[Entry], None], ...] = (),
    ) -> None:
        """`keep`: hold the latest entries in `entries`. A `path` is overwritten; EnvironmentFailure if it can't be."""
        self.entries: list[Entry] = []
        self._keep = keep
        self._listeners = listeners
        self._path = path
        self._descriptor: int | None = None
        self._lines: list[str] = []
        self._flushed_at = 0.0
        self._count = 0
        if path is not None:
            try:
                # What a trace tells about a network is for its owner only.
                self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise EnvironmentFailure(
                    f"cannot write the trace {path}: {error.strerror}", "Name another file."
                ) from error

    def record(self, record: Record, at: float, node: str) -> Entry:
        self._count += 1
        entry = Entry(self._count, at, node, record)
        if self._keep:
            self.entries.append(entry)
            if len(self.entries) > KEEP:
                del self.entries[: KEEP // 4]
        if self._descriptor is not None:
            self._lines.append(to_json(entry) + "\n")
            if at - self._flushed_at >= FLUSH_EVERY or len(self._lines) >= FLUSH_LINES:
                self._flushed_at = at
                self.flush()
        for listener in self._listeners:
            listener(entry)
        return entry

    def flush(self) -> None:
        if self._descriptor is None or not self._lines:
            return
        # A lone surrogate (from undecodable bytes) becomes its JSON escape, which reads back as itself.
        data = memoryview("".join(self._lines).encode("utf-8", "backslashreplace"))
        self._lines.clear()
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            _log.warning(
                "cannot write the trace %s any more (%s): records from now on are lost to it",
                self._path,
                error.strerror,
            )
            os.close(self._descriptor)
            self._descriptor = None

    def close(self) -> None:
        """Write what is left. Recording goes on in memory and to listeners."""
        self.flush()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
