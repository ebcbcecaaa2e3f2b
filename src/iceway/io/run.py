"""Runs the main coroutine of a program: the fastest event loop there is, and signals that end it cleanly.

SIGINT and SIGTERM cancel the coroutine, which leaves its `async with` blocks and so hangs up, closes and
flushes. A second signal cancels whatever cleaning up still waits for.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T | None:
    """What `main` returned, or None if a signal ended it."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_signalled(main))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed, else None: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _signalled(main: Coroutine[Any, Any, T]) -> T | None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    signals: list[int] = []

    def end(number: int) -> None:
        signals.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not signals:
            raise
        return None
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
