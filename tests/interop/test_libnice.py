"""libnice and iceway on loopback, over UDP, TCP and our relay: each in either role, data both ways, one pair.

libnice runs in a program of its own (peers/libnice_peer.py), under the system's Python. As the controlling agent it
nominates every pair that it checks, unless told to nominate one; either way both end on the same.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from iceway.core.address import Address, Transport
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate, parse, serialize
from iceway.ice.config import AgentConfig, IceServer, Policy, ServerKind
from iceway.ice.events import IceState
from tests.conftest import unavailable
from tests.interop.peers.programs import LIBNICE, environment
from tests.interop.test_aioice import PATIENCE, OurSide, relay

pytestmark = pytest.mark.interop

ROLES = pytest.mark.parametrize("controlling", [True, False], ids=["we-control", "libnice-controls"])
NOMINATION = pytest.mark.parametrize("flags", [[], ["REGULAR_NOMINATION"]], ids=["every-pair", "one-pair"])
USER, PASSWORD = "user", "secret"  # of the relay


@pytest.fixture(scope="module", autouse=True)
def _bindings() -> None:
    if missing := LIBNICE.missing():
        unavailable(missing)


class Libnice:
    """The other program, as a coroutine talks to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.credentials: dict[str, str] = {}
        self.candidates: list[Candidate] = []
        self.gathered = self.usable = self.over = False
        self.selected: tuple[Address, Address] | None = None
        self.heard: list[str] = []
        self._process = process
        self._news = asyncio.Event()

    async def listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            match json.loads(line):
                case {"credentials": credentials}:
                    self.credentials = credentials
                case {"candidate": text}:
                    self.candidates.append(parse(text))
                case {"end": _}:
                    self.gathered = True
                case {"usable": _}:
                    self.usable = True
                case {"selected": {"local": local, "remote": remote}}:
                    self.selected = Address(*local), Address(*remote)
                case {"heard": text}:
                    self.heard.append(text)
                case {"ready": _} | {"failed": _}:
                    pass  # libnice may say that it failed before the first check is answered
                case other:
                    raise AssertionError(f"libnice_peer.py said {other}")
            self._news.set()
        self.over = True
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                assert not self.over, "libnice_peer.py has ended"
                self._news.clear()
                await self._news.wait()

    def tell(self, do: str, **fields: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")


@asynccontextmanager
async def libnice(
    controlling: bool, *addresses: str, relay: Address | None = None, **options: object
) -> AsyncIterator[Libnice]:
    """A peer that has gathered."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *LIBNICE.command(), stdin=pipe, stdout=pipe, env=environment()
    )
    peer = Libnice(process)
    listening = asyncio.create_task(peer.listen())
    turn = (
        [{"kind": "turn", "ip": relay.ip, "port": relay.port, "user": USER, "password": PASSWORD}]
        if relay
        else []
    )
    try:
        peer.tell(
            "gather",
            controlling=controlling,
            addresses=addresses,
            servers=turn,
            policy="relay" if relay else "all",
            options=options,
        )
        await peer.until(lambda: peer.gathered)
        yield peer
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        except TimeoutError:
            process.kill()
            raise
        finally:
            await listening


class Ours(OurSide):
    """Our side with any configuration."""

    def __init__(self, controlling: bool, **config: Any) -> None:
        super().__init__(controlling)
        agent_config = AgentConfig(controlling=controlling, **config)
        self.agent = self.driver.machine = Agent("ours", agent_config, random.Random(1))


@asynccontextmanager
async def our_side(controlling: bool, **config: Any) -> AsyncIterator[OurSide]:
    ours = Ours(controlling, **config)
    async with ours.driver:
        yield ours
        ours.driver.call(ours.agent.close)


def meet(ours: OurSide, theirs: Libnice) -> None:
    """Each is told everything about the other at once, libnice first."""
    agent, credentials = ours.agent, theirs.credentials
    theirs.tell("remote", ufrag=agent.local_ufrag, pwd=agent.local_pwd)
    for candidate in agent.local_candidates:
        theirs.tell("candidate", line=serialize(candidate))
    theirs.tell("end")
    ours.driver.call(lambda now: agent.set_remote(credentials["ufrag"], credentials["pwd"], now))
    for candidate in theirs.candidates:
        ours.driver.call(lambda now, candidate=candidate: agent.add_remote_candidate(candidate, now))
    ours.driver.call(agent.end_of_remote_candidates)


async def talk(ours: OurSide, theirs: Libnice) -> None:
    meet(ours, theirs)
    await ours.until(lambda: ours.agent.state is IceState.COMPLETED)
    await theirs.until(lambda: theirs.usable)
    theirs.tell("send", text="from libnice")
    assert ours.driver.call(lambda now: ours.agent.send(b"from iceway", now))
    await theirs.until(lambda: theirs.heard == ["from iceway"])
    await ours.until(lambda: ours.heard == [b"from libnice"])
    path = ours.agent.selected
    assert path is not None
    await theirs.until(lambda: theirs.selected == (path.remote.address, path.local.address))


@NOMINATION
@ROLES
def test_two_addresses_each(controlling: bool, flags: list[str]) -> None:
    async def run() -> None:
        async with (
            libnice(not controlling, "127.0.0.1", "127.0.0.2", flags=flags) as theirs,
            our_side(controlling) as ours,
        ):
            await ours.gather(("127.0.0.3", "127.0.0.4"))
            await talk(ours, theirs)
            assert ours.agent.role == ("controlling" if controlling else "controlled")

    asyncio.run(run())


@NOMINATION
@pytest.mark.parametrize("controlling", [True, False], ids=["both-control", "nobody-controls"])
def test_a_conflict_of_roles_is_settled(controlling: bool, flags: list[str]) -> None:
    async def run() -> None:
        async with (
            libnice(controlling, "127.0.0.1", "127.0.0.2", flags=flags) as theirs,
            our_side(controlling) as ours,
        ):
            await ours.gather(("127.0.0.3", "127.0.0.4"))
            await talk(ours, theirs)

    asyncio.run(run())


@NOMINATION
@ROLES
def test_over_tcp(controlling: bool, flags: list[str]) -> None:
    async def run() -> None:
        async with (
            libnice(not controlling, "127.0.0.1", tcp=True, flags=flags) as theirs,
            our_side(controlling, tcp=True) as ours,
        ):
            await ours.gather(("127.0.0.1",))
            assert {candidate.tcp_type for candidate in theirs.candidates} == {"active", "passive"}
            await talk(ours, theirs)
            assert ours.agent.selected is not None
            assert ours.agent.selected.remote.transport is Transport.TCP

    asyncio.run(run())


@ROLES
@pytest.mark.parametrize("relayed", ["ours", "libnice", "both"])
def test_behind_our_relay_only(controlling: bool, relayed: str) -> None:
    we, they = relayed != "libnice", relayed != "ours"

    async def run() -> None:
        async with relay() as address:
            server = IceServer(ServerKind.TURN, address=address, username=USER, password=PASSWORD)
            async with (
                libnice(not controlling, "127.0.0.1", relay=address if they else None) as theirs,
                our_side(controlling, policy=Policy.RELAY if we else Policy.ALL) as ours,
            ):
                await ours.gather(("127.0.0.1",), *[server] * we)
                assert {candidate.type for candidate in theirs.candidates} == {"relay" if they else "host"}
                await talk(ours, theirs)
                path = ours.agent.selected
                assert path is not None
                assert (path.local.type == "relay", path.remote.type == "relay") == (we, they)

    asyncio.run(run())
