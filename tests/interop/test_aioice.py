"""aioice and iceway on loopback: each in either role, with data both ways, and both on the same pair.

aioice skips loopback addresses, so its list of interfaces is replaced. As the controlling agent it nominates
every pair it checks and keeps whichever answers last, so there is one pair only in that test.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from iceway.core.address import Address, Transport
from iceway.ice.agent import Agent
from iceway.ice.candidate import parse, serialize
from iceway.ice.config import AgentConfig, IceServer
from iceway.ice.events import DataReceived, GatheringDone, IceState
from iceway.io.driver import Driver
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import Listening, TurnServer

aioice = pytest.importorskip("aioice")
pytestmark = pytest.mark.interop

PATIENCE = 20.0


class OurSide:
    """An agent on a driver, as a coroutine talks to it."""

    def __init__(self, controlling: bool) -> None:
        self.agent = Agent("ours", AgentConfig(controlling=controlling), random.Random(1))
        self.events: list[object] = []
        self._news = asyncio.Event()
        self.driver = Driver(self.agent, on_event=self._hear, addresses=lambda: ("127.0.0.1",))

    def _hear(self, event: object, now: float) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, condition: object) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def gather(self, interfaces: tuple[str, ...], *servers: IceServer) -> None:
        self.driver.call(lambda now: self.agent.gather(interfaces, servers, now))
        await self.until(lambda: any(isinstance(event, GatheringDone) for event in self.events))

    def meet(self, theirs: aioice.Connection) -> None:
        self.driver.call(lambda now: self.agent.set_remote(theirs.local_username, theirs.local_password, now))
        for candidate in theirs.local_candidates:
            text = candidate.to_sdp()
            self.driver.call(lambda now, text=text: self.agent.add_remote_candidate(parse(text), now))
        self.driver.call(self.agent.end_of_remote_candidates)

    @property
    def heard(self) -> list[bytes]:
        return [event.data for event in self.events if isinstance(event, DataReceived)]


async def introduce(theirs: aioice.Connection, ours: OurSide) -> None:
    theirs.remote_username, theirs.remote_password = ours.agent.local_ufrag, ours.agent.local_pwd
    for candidate in ours.agent.local_candidates:
        await theirs.add_remote_candidate(aioice.Candidate.from_sdp(serialize(candidate)))
    await theirs.add_remote_candidate(None)


@asynccontextmanager
async def sides(controlling: bool, **theirs: object) -> AsyncIterator[tuple[OurSide, aioice.Connection]]:
    ours = OurSide(controlling)
    connection = aioice.Connection(ice_controlling=not controlling, use_ipv6=False, **theirs)
    try:
        async with ours.driver:
            yield ours, connection
            ours.driver.call(ours.agent.close)
    finally:
        await connection.close()


async def talk(ours: OurSide, theirs: aioice.Connection) -> None:
    ours.meet(theirs)
    await introduce(theirs, ours)
    async with asyncio.timeout(PATIENCE):
        await theirs.connect()
        await ours.until(lambda: ours.agent.state is IceState.COMPLETED)
        await theirs.send(b"from aioice")
        assert ours.driver.call(lambda now: ours.agent.send(b"from iceway", now))
        assert await theirs.recv() == b"from iceway"
        await ours.until(lambda: ours.heard == [b"from aioice"])
    path, pair = ours.agent.selected, theirs._nominated[1]
    assert path is not None
    assert tuple(path.local.address) == tuple(pair.remote_addr)
    assert tuple(path.remote.address) == tuple(pair.local_addr)


def here(monkeypatch: pytest.MonkeyPatch, *ips: str) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: list(ips))


def test_we_control(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch, "127.0.0.1", "127.0.0.2")

    async def run() -> None:
        async with sides(True) as (ours, theirs):
            await ours.gather(("127.0.0.3", "127.0.0.4"))
            await theirs.gather_candidates()
            await talk(ours, theirs)

    asyncio.run(run())


def test_aioice_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch, "127.0.0.1")

    async def run() -> None:
        async with sides(False) as (ours, theirs):
            await ours.gather(("127.0.0.1",))
            await theirs.gather_candidates()
            await talk(ours, theirs)

    asyncio.run(run())


@pytest.mark.parametrize("controlling", [True, False])
def test_aioice_behind_our_relay_only(monkeypatch: pytest.MonkeyPatch, controlling: bool) -> None:
    here(monkeypatch, "127.0.0.1")

    async def run() -> None:
        async with relay() as address:
            credentials = {"turn_username": "user", "turn_password": "secret"}
            policy = aioice.TransportPolicy.RELAY
            async with sides(
                controlling, turn_server=tuple(address), transport_policy=policy, **credentials
            ) as (ours, theirs):
                await ours.gather(("127.0.0.1",))
                await theirs.gather_candidates()
                assert [candidate.type for candidate in theirs.local_candidates] == ["relay"]
                await talk(ours, theirs)
                assert ours.agent.selected is not None
                assert ours.agent.selected.remote.type == "relay"

    asyncio.run(run())


@asynccontextmanager
async def relay() -> AsyncIterator[Address]:
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()

    def hear(event: object, now: float) -> None:
        if isinstance(event, Listening):
            listening.set_result(event.local)

    config = TurnServerConfig(
        "example.test",
        (TurnListener(Transport.UDP, Address("127.0.0.1", 0)),),
        "127.0.0.1",
        allow_peers=("127.0.0.0/8",),
    )
    server = TurnServer(config, StaticAuthenticator({"user": "secret"}), random.Random(2))
    async with Driver(server, on_event=hear, addresses=lambda: ("127.0.0.1",)) as driver:
        driver.call(server.start)
        yield await asyncio.wait_for(listening, PATIENCE)
