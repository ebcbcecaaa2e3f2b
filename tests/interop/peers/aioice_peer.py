"""aioice as a peer. It knows one STUN and one TURN server, and its candidates only when it has all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import aioice
import aioice.ice
from asynchronous import Peer, run
from lines import tell


class Aioice(Peer):
    async def gather(
        self,
        controlling: bool,
        servers: list[dict[str, Any]],
        policy: str = "all",
        addresses: list[str] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        if addresses:
            aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: list(addresses)
        stun = next((server for server in servers if server["kind"] == "stun"), None)
        turn = next((server for server in servers if server["kind"] == "turn"), None)
        self.connection = aioice.Connection(
            ice_controlling=controlling,
            stun_server=(stun["ip"], stun["port"]) if stun else None,
            turn_server=(turn["ip"], turn["port"]) if turn else None,
            turn_username=turn["user"] if turn else None,
            turn_password=turn["password"] if turn else None,
            transport_policy=aioice.TransportPolicy[policy.upper()],
            **(options or {}),
        )
        self._told, self._gathered = asyncio.Event(), asyncio.Event()
        tell(credentials={"ufrag": self.connection.local_username, "pwd": self.connection.local_password})
        self._life = asyncio.create_task(self._live())

    async def remote(self, ufrag: str, pwd: str, **announced: object) -> None:
        self.connection.remote_username, self.connection.remote_password = ufrag, pwd
        self._told.set()

    async def candidate(self, line: str) -> None:
        await self.connection.add_remote_candidate(aioice.Candidate.from_sdp(line))

    async def end(self) -> None:
        await self.connection.add_remote_candidate(None)

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().create_task(self.connection.send(data))

    async def close(self) -> None:
        self._life.cancel()
        # Closing takes a minute when the TURN server is dead; nobody waits for that here.
        await asyncio.wait([asyncio.create_task(self.connection.close())], timeout=1.0)

    async def _live(self) -> None:
        await self.connection.gather_candidates()
        for candidate in self.connection.local_candidates:
            tell(candidate=candidate.to_sdp())
        tell(end=True)
        await self._told.wait()
        try:
            await self.connection.connect()
        except ConnectionError as error:
            tell(failed=str(error))
            return
        pair = self.connection._nominated[1]
        types = [pair.local_candidate.type, pair.remote_candidate.type]
        tell(selected={"local": pair.local_addr, "remote": pair.remote_addr, "types": types})
        self.usable()
        while True:
            self.ears.heard(await self.connection.recv())


run(Aioice)
