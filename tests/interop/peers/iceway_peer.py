"""Our agent as a peer, on the driver that everything of ours runs on."""

from __future__ import annotations

import random
from typing import Any

from asynchronous import Peer, run
from lines import tell

from iceway.core.address import Address, Transport
from iceway.ice.agent import Agent
from iceway.ice.candidate import parse, serialize
from iceway.ice.config import AgentConfig, IceServer, Policy, ServerKind
from iceway.ice.events import CandidateFound, DataReceived, Failed, GatheringDone, PairValid, Selected
from iceway.io.addresses import usable_addresses
from iceway.io.driver import Driver


class Iceway(Peer):
    async def gather(
        self,
        controlling: bool,
        servers: list[dict[str, Any]],
        policy: str = "all",
        addresses: list[str] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        config = AgentConfig(controlling=controlling, policy=Policy(policy), **(options or {}))
        self.agent = Agent("ice", config, random.SystemRandom())
        self.driver = Driver(self.agent, on_event=self._happened)
        await self.driver.start()
        agent = self.agent
        tell(
            credentials={
                "ufrag": agent.local_ufrag,
                "pwd": agent.local_pwd,
                "pacing": agent.pacing,
                "renomination": agent.renomination,
            }
        )
        ips = tuple(addresses) if addresses else usable_addresses()
        asked = tuple(_server(server) for server in servers)
        self.driver.call(lambda now: self.agent.gather(ips, asked, now))

    async def remote(self, ufrag: str, pwd: str, **announced: Any) -> None:
        self.driver.call(lambda now: self.agent.set_remote(ufrag, pwd, now, **announced))

    async def candidate(self, line: str) -> None:
        self.driver.call(lambda now: self.agent.add_remote_candidate(parse(line), now))

    async def end(self) -> None:
        self.driver.call(self.agent.end_of_remote_candidates)

    def write(self, data: bytes) -> None:
        self.driver.call(lambda now: self.agent.send(data, now))

    async def close(self) -> None:
        self.driver.call(self.agent.close)
        await self.driver.stop()

    def _happened(self, event: object, now: float) -> None:
        match event:
            case CandidateFound(candidate):
                tell(candidate=serialize(candidate))
            case GatheringDone():
                tell(end=True)
            case PairValid():
                self.usable()
            case Selected(path):
                types = [path.local.type.value, path.remote.type.value]
                tell(selected={"local": path.local.address, "remote": path.remote.address, "types": types})
                self.usable()
            case DataReceived(data=data):
                self.ears.heard(data)
            case Failed(reason):
                tell(failed=reason)


def _server(server: dict[str, Any]) -> IceServer:
    return IceServer(
        ServerKind(server["kind"]),
        address=Address(server["ip"], server["port"]),
        transport=Transport(server.get("transport", "udp")),
        username=server.get("user", ""),
        password=server.get("password", ""),
    )


run(Iceway)
