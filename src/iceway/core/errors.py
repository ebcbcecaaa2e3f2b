"""Errors. Garbage from a peer never raises past a machine; what raises is our own caller's misuse.

`ParseError` is the one exception a parser in `wire/` may raise, whatever the bytes. Machines catch it,
record it and go on. `UsageError` says that the program called us wrongly; it is a bug in the caller.
`EnvironmentFailure` says that the machine we run on lacks something; it carries the next step.
"""

from __future__ import annotations


class IcewayError(Exception):
    """Base of every error iceway raises on purpose."""


class ParseError(IcewayError):
    """Bytes from the network (or a file) that do not follow their specification."""


class UsageError(IcewayError):
    """A call that the object's state does not allow; the caller is wrong, not the peer."""


class EnvironmentFailure(IcewayError):
    """Something outside the program is missing or refuses. `remedy` tells a person what to do."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(f"{cause}. {remedy}" if remedy else cause)
        self.cause = cause
        self.remedy = remedy
