"""Waiting for listeners: all open, one failing, one silent."""

from __future__ import annotations

import asyncio

import pytest

from iceway.core.address import Address
from iceway.core.errors import EnvironmentFailure
from iceway.io.serving import Opening

HERE = Address("127.0.0.1", 5061)


def test_done_when_all_are_open() -> None:
    async def scene() -> None:
        opening = Opening(2)
        opening.opened("SIP", HERE)
        asyncio.get_running_loop().call_soon(opening.opened, "relay", HERE)
        assert await opening.done() == (("SIP", HERE), ("relay", HERE))

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("address already in use", "choose another"),
        ("Permission denied", "1024"),
        ("cannot load trusted certificates from ca.crt: No such file", "[tls]"),
    ],
)
def test_one_that_fails_names_the_remedy(reason: str, remedy: str) -> None:
    async def scene() -> None:
        opening = Opening(2)
        opening.failed("SIP", reason)
        opening.failed("relay", "also")
        with pytest.raises(EnvironmentFailure, match=reason) as failure:
            await opening.done()
        assert remedy in failure.value.remedy

    asyncio.run(scene())


def test_one_that_stays_silent_ends_the_wait() -> None:
    async def scene() -> None:
        opening = Opening(2)
        opening.opened("SIP", HERE)
        with pytest.raises(EnvironmentFailure, match="Only 1 of 2"):
            await opening.done(within=0.01)

    asyncio.run(scene())
