"""Addresses given as options: checked before anything starts, and blamed by the option's name."""

from __future__ import annotations

from collections.abc import Sequence

from iceway.core.address import Address
from iceway.core.errors import ParseError, UsageError


def checked(option: str, texts: Sequence[str] | None, *, port: int | None = None) -> list[str]:
    """IP addresses in canonical form, with a port where `port` is the default one. Raises UsageError."""
    try:
        if port is None:
            return [Address.of(text, 0).ip for text in texts or ()]
        return [str(Address.parse(text, port)) for text in texts or ()]
    except ParseError as error:
        raise UsageError(f"{option}: {error}") from error
