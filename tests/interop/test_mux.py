"""One mux, and agents of others on it: aioice and libnice over its UDP port, libnice over its TCP port.

Each has an agent of its own on the mux, lite or full, and hears from that one only.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from iceway.core.address import Address, Transport
from iceway.ice.agent import Agent
from iceway.ice.candidate import parse, serialize
from iceway.ice.config import AgentConfig
from iceway.ice.events import DataReceived
from iceway.ice.mux import FromAgent, Mux, MuxConfig
from iceway.io.driver import Driver
from tests.conftest import unavailable
from tests.interop.peers.programs import LIBNICE
from tests.interop.test_aioice import PATIENCE, here
from tests.interop.test_libnice import Libnice, libnice

aioice = pytest.importorskip("aioice")
pytestmark = pytest.mark.interop

HERE = "127.0.0.1"


class Server:
    """A mux on a driver. `heard` is what each agent heard."""

    def __init__(self) -> None:
        self.mux = Mux("mux", MuxConfig((Address(HERE, 0),), (Address(HERE, 0),)), random.Random(1))
        self.driver = Driver(self.mux, on_event=self._hear, addresses=lambda: (HERE,))
        self.heard: dict[str, list[bytes]] = {}
        self._news = asyncio.Event()

    def _hear(self, event: object, now: float) -> None:
        if isinstance(event, FromAgent) and isinstance(event.event, DataReceived):
            self.heard.setdefault(event.agent, []).append(event.event.data)
        self._news.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def open(self) -> None:
        self.driver.call(self.mux.start)
        await self.until(lambda: self.mux.local(Transport.TCP))

    async def add(self, id: str, *, lite: bool) -> Agent:
        self.driver.call(lambda now: self.mux.add(id, AgentConfig(False, lite=lite), now))
        await self.until(lambda: self.mux.agents[id].gathering_settled)
        return self.mux.agents[id]

    def command(self, id: str, command: Callable[[Agent, float], object]) -> None:
        self.driver.call(lambda now: self.mux.command(id, lambda agent: command(agent, now), now))


async def invite_aioice(server: Server, stack: AsyncExitStack, id: str, *, lite: bool) -> aioice.Connection:
    connection = aioice.Connection(ice_controlling=True, use_ipv6=False)
    stack.push_async_callback(connection.close)
    await connection.gather_candidates()
    agent = await server.add(id, lite=lite)
    server.command(
        id,
        lambda agent, now: agent.set_remote(connection.local_username, connection.local_password, now),
    )
    for theirs in connection.local_candidates:
        server.command(id, lambda agent, now, t=theirs: agent.add_remote_candidate(parse(t.to_sdp()), now))
    server.command(id, lambda agent, now: agent.end_of_remote_candidates(now))
    connection.remote_username, connection.remote_password = agent.local_ufrag, agent.local_pwd
    connection.remote_is_lite = lite
    for ours in agent.local_candidates:
        if ours.transport is Transport.UDP:
            await connection.add_remote_candidate(aioice.Candidate.from_sdp(serialize(ours)))
    await connection.add_remote_candidate(None)
    return connection


async def invite_libnice(server: Server, peer: Libnice, id: str, *, tcp: bool) -> None:
    agent = await server.add(id, lite=False)
    server.command(
        id, lambda agent, now: agent.set_remote(peer.credentials["ufrag"], peer.credentials["pwd"], now)
    )
    server.command(id, lambda agent, now: agent.end_of_remote_candidates(now))
    peer.tell("remote", ufrag=agent.local_ufrag, pwd=agent.local_pwd)
    for ours in agent.local_candidates:
        if ours.tcp_type != "active" and ours.transport.is_stream == tcp:
            peer.tell("candidate", line=serialize(ours))
    peer.tell("end")


def test_agents_of_others_share_one_mux(monkeypatch: pytest.MonkeyPatch) -> None:
    if missing := LIBNICE.missing():
        unavailable(missing)
    here(monkeypatch, HERE)

    async def run() -> None:
        async with AsyncExitStack() as stack:
            server = Server()
            await stack.enter_async_context(server.driver)
            await server.open()
            full = await invite_aioice(server, stack, "full", lite=False)
            lite = await invite_aioice(server, stack, "lite", lite=True)
            udp = await stack.enter_async_context(libnice(True, HERE))
            tcp = await stack.enter_async_context(libnice(True, HERE, tcp=True))
            await invite_libnice(server, udp, "udp", tcp=False)
            await invite_libnice(server, tcp, "tcp", tcp=True)
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(full.connect(), lite.connect())
                await asyncio.gather(full.send(b"from full"), lite.send(b"from lite"))
            for peer, name in ((udp, "udp"), (tcp, "tcp")):
                await peer.until(lambda peer=peer: peer.usable)
                peer.tell("send", text=f"from {name}")
            await server.until(lambda: len(server.heard) == 4)
            assert server.heard == {name: [f"from {name}".encode()] for name in server.heard}
            await server.until(lambda: all(agent.selected for agent in server.mux.agents.values()))
            for name in server.heard:
                server.command(name, lambda agent, now, name=name: agent.send(f"to {name}".encode(), now))
            async with asyncio.timeout(PATIENCE):
                assert (await full.recv(), await lite.recv()) == (b"to full", b"to lite")
            await udp.until(lambda: udp.heard == ["to udp"])
            await tcp.until(lambda: tcp.heard == ["to tcp"])
            (udp_port,), (tcp_port,) = server.mux.local(Transport.UDP), server.mux.local(Transport.TCP)
            used = {id: agent.selected.local.address for id, agent in server.mux.agents.items()}
            assert used == {"full": udp_port, "lite": udp_port, "udp": udp_port, "tcp": tcp_port}
            server.driver.call(server.mux.close)

    asyncio.run(run())
