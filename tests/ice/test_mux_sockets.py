"""A mux on real sockets of the loopback: some agents over its UDP port, one over its TCP listener."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

from iceway.core.address import Address, Transport
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate, parse, serialize
from iceway.ice.config import AgentConfig
from iceway.ice.events import DataReceived, IceState
from iceway.ice.mux import FromAgent, Mux, MuxConfig
from iceway.io.driver import Driver

PATIENCE = 20.0
HERE = "127.0.0.1"


class House:
    """The server's mux and its clients, each on a driver of its own. `heard` has (who, what) of both sides."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.mux = Mux("mux", MuxConfig((Address(HERE, 0),), (Address(HERE, 0),)), random.Random(1))
        self.clients: dict[str, tuple[Agent, Driver]] = {}
        self.heard: list[tuple[str, bytes]] = []
        self._stack = stack
        self._news = asyncio.Event()
        self.server = Driver(self.mux, on_event=lambda event, now: self._hear("", event))

    def _hear(self, who: str, event: object) -> None:
        if isinstance(event, FromAgent):
            who, event = event.agent, event.event
        if isinstance(event, DataReceived):
            self.heard.append((who, event.data))
        self._news.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def open(self) -> None:
        await self._stack.enter_async_context(self.server)
        self.server.call(self.mux.start)
        await self.until(lambda: self.mux.local(Transport.TCP))

    async def invite(self, id: str, *, tcp: bool, lite: bool) -> None:
        """A client and its agent on the mux; they are told only candidates of one transport."""
        client = Agent(f"{id}/ice", AgentConfig(True, tcp=tcp), random.Random(id))
        driver = Driver(
            client, on_event=lambda event, now: self._hear(f"{id}'s client", event), addresses=lambda: (HERE,)
        )
        self.clients[id] = client, await self._stack.enter_async_context(driver)
        driver.call(lambda now: client.gather((HERE,), (), now))
        self.server.call(lambda now: self.mux.add(id, AgentConfig(False, lite=lite), now))
        agent = self.mux.agents[id]
        await self.until(lambda: agent.gathering_settled)
        known = [c for c in agent.local_candidates if c.transport.is_stream == tcp]
        driver.call(lambda now: introduce(client, agent, known, now))
        self.command(id, lambda agent, now: introduce(agent, client, [], now))

    def command(self, id: str, command: Callable[[Agent, float], object]) -> None:
        self.server.call(lambda now: self.mux.command(id, lambda agent: command(agent, now), now))


def introduce(agent: Agent, peer: Agent, candidates: list[Candidate], now: float) -> None:
    agent.set_remote(peer.local_ufrag, peer.local_pwd, now, lite=peer.lite)
    for candidate in candidates:
        agent.add_remote_candidate(parse(serialize(candidate)), now)
    agent.end_of_remote_candidates(now)


async def four_clients() -> None:
    async with AsyncExitStack() as stack:
        house = House(stack)
        await house.open()
        for id in ("a", "b", "c", "d"):
            await house.invite(id, tcp=id == "d", lite=id == "b")
        agents = [*house.mux.agents.values(), *(client for client, _ in house.clients.values())]
        await house.until(lambda: all(agent.state is IceState.COMPLETED for agent in agents))
        for id, (client, driver) in house.clients.items():
            driver.call(lambda now, client=client: client.send(b"\xffhello", now))
            house.command(id, lambda agent, now, id=id: agent.send(b"\xffto " + id.encode(), now))
        await house.until(lambda: len(house.heard) == 8)
        assert sorted(house.heard) == sorted(
            [(id, b"\xffhello") for id in house.clients]
            + [(f"{id}'s client", b"\xffto " + id.encode()) for id in house.clients]
        )
        (udp,), (tcp,) = house.mux.local(Transport.UDP), house.mux.local(Transport.TCP)
        used = {id: agent.selected.local.address for id, agent in house.mux.agents.items()}
        assert used == {"a": udp, "b": udp, "c": udp, "d": tcp}
        house.server.call(house.mux.close)
        assert house.mux.closed


def test_agents_share_one_udp_socket_and_one_listener() -> None:
    asyncio.run(four_clients())
