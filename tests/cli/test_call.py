"""How long `iceway call` stays: until it has said everything or time is up, also with whom it was passed on to."""

from __future__ import annotations

import asyncio

import pytest

from iceway.cli._client import followed
from iceway.cli.call import _last
from iceway.client import CallFailed

LONG = 1000.0  # seconds, of which none pass


class Call:
    """A call that was answered. Its end, and that everything is said, may be told before anybody waits for it."""

    def __init__(self, *, said: bool = False, over: bool = False, successor: Call | None = None) -> None:
        self.said = said
        self.over = over
        self.successor = successor

    async def answered(self) -> None:
        if self.over and not self.said and self.successor is None:
            raise CallFailed("486 Busy Here")

    async def played(self) -> None:
        if not self.said:
            raise CallFailed("the other side hung up")

    async def ended(self, within: float | None = None) -> None:
        if not self.over:
            assert within is not None, "somebody would wait for ever"
            raise CallFailed("it is not over yet")


def stays(call: Call, duration: float | None, *, played: bool) -> object:
    return asyncio.run(_last(call, duration, played=played))  # type: ignore[arg-type]


def test_until_everything_is_said_or_time_is_up() -> None:
    for call in (Call(said=True), Call(said=True, over=True)):
        assert stays(call, None, played=True) is call
        assert stays(call, LONG, played=False) is call


def test_until_the_other_side_hangs_up() -> None:
    call = Call(over=True)
    assert stays(call, None, played=False) is call
    assert stays(call, None, played=True) is call
    assert stays(call, LONG, played=True) is call


@pytest.mark.parametrize("duration", [None, LONG])
def test_what_is_not_said_yet_is_said_to_whom_we_are_passed_on_to(duration: float | None) -> None:
    last = Call(said=True)
    call = Call(over=True, successor=Call(over=True, successor=last))
    assert stays(call, duration, played=True) is last


def test_whoever_is_passed_on_to_nobody_is_told() -> None:
    call = Call(over=True, successor=Call(over=True))
    with pytest.raises(CallFailed, match="486"):
        stays(call, LONG, played=False)
    with pytest.raises(CallFailed, match="486"):
        asyncio.run(followed(call))  # type: ignore[arg-type]
