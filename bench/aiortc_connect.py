"""aiortc with aioice and with iceway, side by side: how long connecting and closing take.

    python bench/aiortc_connect.py [rounds]

Two peer connections of this process, a data channel, descriptions handed over when they are ready. Milliseconds from
`createOffer` until both are connected, and for closing the one that called; medians of rounds in which the two take turns.
Servers are given to both ends. aioice cannot trickle its own candidates, so "trickled" is for iceway alone.
"""

from __future__ import annotations

import asyncio
import random
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

from aiortc import RTCConfiguration, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnection

import iceway.aiortc
from iceway.core.address import Address, Transport
from iceway.io.addresses import usable_addresses
from iceway.io.driver import Driver
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import Listening, TurnServer

HERE = usable_addresses()[0]  # aioice does not use the loopback
LIMIT = 15.0  # seconds after which closing is called endless


@asynccontextmanager
async def living_relay() -> AsyncIterator[str]:
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()

    def heard(event: object, now: float) -> None:
        if isinstance(event, Listening):
            listening.set_result(event.local)

    config = TurnServerConfig(
        "example.test", (TurnListener(Transport.UDP, Address(HERE, 0)),), HERE, allow_peers=(f"{HERE}/32",)
    )
    server = TurnServer(config, StaticAuthenticator({"user": "secret"}), random.Random(1))
    async with Driver(server, on_event=heard) as driver:
        driver.call(server.start)
        yield f"turn:{await listening}"


@asynccontextmanager
async def dead_relay() -> AsyncIterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind((HERE, 0))
        yield f"turn:{HERE}:{hole.getsockname()[1]}"


@asynccontextmanager
async def no_relay() -> AsyncIterator[str]:
    yield ""


@dataclass(frozen=True)
class Row:
    name: str
    relay: Callable[[], AbstractAsyncContextManager[str]]
    relay_only: bool = False
    trickled: bool = False
    dies: bool = False


ROWS = (
    Row("direct", no_relay),
    Row("direct, and a TURN server that is dead", dead_relay),
    Row("the same, trickled", dead_relay, trickled=True),
    Row("relayed", living_relay, relay_only=True),
    Row("relayed, and the TURN server dies before closing", living_relay, relay_only=True, dies=True),
)


async def measure(row: Row) -> tuple[float, float]:
    """Seconds to connect, and to close."""
    relay = row.relay()
    url = await relay.__aenter__()
    configuration = RTCConfiguration([RTCIceServer(url, "user", "secret")] if url else [])
    if row.relay_only:
        configuration.iceTransportPolicy = RTCIceTransportPolicy.RELAY
    caller, callee = RTCPeerConnection(configuration), RTCPeerConnection(configuration)
    connected = asyncio.Event()

    def changed() -> None:
        if caller.connectionState == callee.connectionState == "connected":
            connected.set()

    for peer, other in ((caller, callee), (callee, caller)):
        peer.on("connectionstatechange", changed)
        if row.trickled:
            peer.on("icecandidate", other.addIceCandidate)
    caller.createDataChannel("words")
    began = time.perf_counter()
    await caller.setLocalDescription(await caller.createOffer())
    await callee.setRemoteDescription(caller.localDescription)
    await callee.setLocalDescription(await callee.createAnswer())
    await caller.setRemoteDescription(callee.localDescription)
    await asyncio.wait_for(connected.wait(), 60)
    connecting = time.perf_counter() - began
    if row.dies:
        await relay.__aexit__(None, None, None)
    began = time.perf_counter()
    try:
        await asyncio.wait_for(caller.close(), LIMIT)
    except TimeoutError:
        closing = float("inf")
    else:
        closing = time.perf_counter() - began
        await asyncio.wait([asyncio.ensure_future(callee.close())], timeout=LIMIT)
    if not row.dies:
        await asyncio.sleep(0.3)  # relays are told goodbye
        await relay.__aexit__(None, None, None)
    return connecting, closing


def run(row: Row, *, ours: bool) -> tuple[float, float]:
    with iceway.aiortc.installed() if ours else nullcontext():
        return asyncio.run(measure(row))


def words(seconds: list[float]) -> str:
    median = statistics.median(seconds)
    return f"over {LIMIT:.0f} s" if median == float("inf") else f"{median * 1000:.0f} ms"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print("| | connect, aioice | connect, iceway | close, aioice | close, iceway |")
    print("|---|---|---|---|---|")
    for row in ROWS:
        taken: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for number in range(1 if row.dies else rounds):
            for ours in (True, False) if number % 2 else (False, True):
                taken[ours].append(run(row, ours=ours))
        cells = [words([pair[which] for pair in taken[ours]]) for which in (0, 1) for ours in (False, True)]
        print(f"| {row.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
