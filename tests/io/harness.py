"""A machine that does what its test says and remembers what it heard, on real sockets of the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop

from iceway.core.machine import Input, Outbox
from iceway.io.driver import Driver

T = TypeVar("T")
PATIENCE = 10.0  # seconds until a conversation that hangs is called hung

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Toy(Outbox):
    """Subclass or give `on_input`; `emit` is public. `heard` has every input in order."""

    def __init__(self, on_input: Callable[[Toy, Input], None] | None = None) -> None:
        super().__init__()
        self.heard: list[Input] = []
        self.timeout: float | None = None
        self.timeouts: list[float] = []
        self._on_input = on_input
        self._changed = asyncio.Event()

    def handle_input(self, event: Input, now: float) -> None:
        self.heard.append(event)
        self._changed.set()
        if self._on_input is not None:
            self._on_input(self, event)

    def handle_timeout(self, now: float) -> None:
        self.timeouts.append(now)
        self.timeout = None
        self._changed.set()

    def poll_timeout(self) -> float | None:
        return self.timeout

    def all(self, kind: type[T]) -> list[T]:
        return [event for event in self.heard if isinstance(event, kind)]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def hears(self, kind: type[T], count: int = 1) -> T:
        """The `count`th input of this kind, once it has come."""
        await self.until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]


@asynccontextmanager
async def driven(*machines: Toy, **options: Any) -> AsyncIterator[list[Driver]]:
    """A driver for each machine, stopped at the end."""
    drivers = [Driver(machine, **options) for machine in machines]
    for driver in drivers:
        await driver.start()
    try:
        yield drivers
    finally:
        for driver in drivers:
            await driver.stop()


def run(conversation: Coroutine[Any, Any, T], loop: str = "uvloop") -> T:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(conversation)
