"""The terminal while the phone has it: nothing but the phone writes there, and it is given back as it was.

Sound systems and codecs write to file descriptor 2 whatever Python thinks of it; so does logging. All of that goes to
the log file, while the application, which draws on standard error, is given the terminal by another descriptor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from iceway.core.errors import EnvironmentFailure


def state_directory() -> Path:
    """Where logs and calls are kept (XDG)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "iceway"


def recordings_directory() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "iceway" / "recordings"


def must_be_a_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise EnvironmentFailure(
            "iceway phone needs a terminal", "Scripts use `iceway call` and `iceway answer`, which print."
        )


@contextmanager
def all_to_ourselves(log: Path) -> Iterator[TextIO]:
    """The log file, to which everything goes that would have gone to standard error."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write the log {log}: {error.strerror}", "Name another --log."
        ) from error
    before, shown = sys.__stderr__, sys.stderr
    terminal = os.dup(2)
    with open(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1) as out:
        sys.__stderr__ = open(terminal, "w", encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
        sys.stderr = out
        os.dup2(out.fileno(), 2)
        try:
            yield out
        finally:
            with suppress(OSError):  # the window may be closed
                sys.__stderr__.flush()
            sys.__stderr__, sys.stderr = before, shown  # type: ignore[misc]
            os.dup2(terminal, 2)
            os.close(terminal)
