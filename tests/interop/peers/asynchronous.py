"""A peer on an event loop: reads the commands and greets. Both Python agents run on the loop that `iceway` runs on."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from lines import GREETING_INTERVAL, Ears, Meter, tell

from iceway.io.run import loop_factory


class Peer:
    """A subclass knows an agent: it has a coroutine or method for each command and says `usable` when data flows."""

    def __init__(self) -> None:
        self.ears, self.meter = Ears(), Meter()
        self._greeting: bytes | None = None
        self._greeter: asyncio.Task[None] | None = None
        self._waiting: list[bytes] = []
        self._usable = False

    def write(self, data: bytes) -> None:
        """Send on the path that there is."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def usable(self) -> None:
        """Data can be sent from now on."""
        if not self._usable:
            self._usable = True
            tell(usable=True)
            for data in self._waiting:
                self.write(data)
            self._greet()

    async def hear(self, command: dict[str, Any]) -> None:
        do = command.pop("do")
        match do:
            case "gather":
                self.meter.start()
                await self.gather(**command)  # type: ignore[attr-defined]
            case "send":
                data = command["text"].encode()
                if self._usable:
                    self.write(data)
                else:
                    self._waiting.append(data)
            case "greet":
                self._greeting = command["text"].encode()
                self._greet()
            case "hush":
                self.hush()
            case "cpu":
                self.meter.tell()
            case _:
                await getattr(self, do)(**command)

    def _greet(self) -> None:
        if self._usable and self._greeting is not None and self._greeter is None:
            self.write(self._greeting)
            self._greeter = asyncio.get_running_loop().create_task(self._go_on_greeting(self._greeting))

    async def _go_on_greeting(self, greeting: bytes) -> None:
        while True:
            await asyncio.sleep(GREETING_INTERVAL)
            self.write(greeting)

    def hush(self) -> None:
        self._greeting = None
        if self._greeter is not None:
            self._greeter.cancel()


async def _live(peer: Peer) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tell(ready=True)
    async for line in reader:
        command = json.loads(line)
        if command["do"] == "close":
            break
        await peer.hear(command)
    peer.hush()
    await peer.close()


def run(make: type[Peer]) -> None:
    async def main() -> None:
        await _live(make())

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
