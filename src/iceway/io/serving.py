"""Waiting for a server's listeners: a program is up when all are open, and not at all when one cannot be."""

from __future__ import annotations

import asyncio

from iceway.core.address import Address
from iceway.core.errors import EnvironmentFailure


class Opening:
    """Told of each listener as it opens or fails; `done` returns their addresses by name or raises."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._open: list[tuple[str, Address]] = []
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def opened(self, name: str, local: Address) -> None:
        self._open.append((name, local))
        if len(self._open) >= self._expected and not self._settled.done():
            self._settled.set_result(None)

    def failed(self, name: str, reason: str) -> None:
        if not self._settled.done():
            remedy = "End the program that has it, or choose another address or port in the configuration."
            if "ermission" in reason:
                remedy = "Ports below 1024 need CAP_NET_BIND_SERVICE (or root); or choose a higher one."
            elif "certificate" in reason:
                remedy = "Section [tls] of the configuration names the files; all of them are PEM."
            self._settled.set_exception(
                EnvironmentFailure(f"The {name} port cannot be opened: {reason}", remedy)
            )

    async def done(self, within: float = 10.0) -> tuple[tuple[str, Address], ...]:
        """Every listener's name and address, in the order in which they opened."""
        try:
            async with asyncio.timeout(within):
                await self._settled
        except TimeoutError:
            raise EnvironmentFailure(
                f"Only {len(self._open)} of {self._expected} ports opened within {within:g} s",
                "Look for errors above.",
            ) from None
        return tuple(self._open)
