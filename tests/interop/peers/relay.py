"""Our TURN server as a program: one user, over UDP and TCP, on the addresses that it is given. Ends with its input."""

from __future__ import annotations

import asyncio
import random
import sys

from lines import tell

from iceway.core.address import Address, Transport
from iceway.io.driver import Driver
from iceway.io.run import loop_factory
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import Listening, TurnServer

PORT = 3478


async def main(ips: list[str], user: str, password: str) -> None:
    transports = (Transport.UDP, Transport.TCP)
    listeners = tuple(TurnListener(transport, Address(ip, PORT)) for ip in ips for transport in transports)
    config = TurnServerConfig(
        "example.test",
        listeners,
        relay_ip=next(ip for ip in ips if ":" not in ip),
        relay_ip6=next((ip for ip in ips if ":" in ip), None),
    )
    server = TurnServer(config, StaticAuthenticator({user: password}), random.SystemRandom())
    waiting = {(listener.transport, listener.address) for listener in listeners}

    def hear(event: object, now: float) -> None:
        if isinstance(event, Listening):
            waiting.discard((event.transport, event.local))
            if not waiting:
                tell(ready=True)

    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with Driver(server, on_event=hear) as driver:
        driver.call(server.start)
        await reader.read()


with asyncio.Runner(loop_factory=loop_factory()) as runner:
    runner.run(main(sys.argv[3:], *sys.argv[1:3]))
