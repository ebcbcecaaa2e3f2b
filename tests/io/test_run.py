from __future__ import annotations

import asyncio
import os
import signal

import pytest
import uvloop

from iceway.io.run import run


def test_the_result_comes_back_from_the_fastest_loop_there_is() -> None:
    async def main() -> bool:
        return isinstance(asyncio.get_running_loop(), uvloop.Loop)

    assert run(main()) is True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_through_its_cleaning_up(number: signal.Signals) -> None:
    steps: list[str] = []

    async def main() -> str:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("hung up")
        return "never"

    assert run(main()) is None
    assert steps == ["hung up"]


def test_a_second_signal_ends_cleaning_up_that_hangs() -> None:
    async def main() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

    assert run(main()) is None


def test_an_exception_comes_through() -> None:
    async def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main())


def test_a_cancellation_of_its_own_making_is_not_mistaken_for_a_signal() -> None:
    async def main() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(main())
