"""Connections and a TURN server on loopback, and how two of aiortc's peers are introduced."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from aiortc import RTCPeerConnection

from iceway.aiortc import Connection, Settings
from iceway.core.address import Address, Transport
from iceway.core.machine import TlsServer
from iceway.ice.config import AgentConfig
from iceway.io.driver import Driver
from iceway.io.keystore import KeyStore
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import Listening, TurnServer

HERE = "127.0.0.1"
PATIENCE = 20.0  # seconds until something that hangs is called hung
QUICK = AgentConfig(controlling=False, ta=0.005, rto=0.01, patience=0.2)
"""Gives up in a second, where one that is meant for real networks takes 40."""


def settings(**changes: Any) -> Settings:
    return replace(Settings(addresses=lambda: (HERE,)), **changes)


@asynccontextmanager
async def pair(**changes: Any) -> AsyncIterator[tuple[Connection, Connection]]:
    """Two connections, the first one controlling; closed at the end."""
    both = tuple(Connection(controls, settings=settings(**changes)) for controls in (True, False))
    try:
        async with asyncio.timeout(PATIENCE):
            yield both
    finally:
        for connection in both:
            await connection.close()


async def introduce(one: Connection, other: Connection) -> None:
    """Both gather, and `one` learns of `other` all that there is."""
    await asyncio.gather(one.gather_candidates(), other.gather_candidates())
    one.remote_username, one.remote_password = other.local_username, other.local_password
    for candidate in other.local_candidates:
        await one.add_remote_candidate(candidate)
    await one.add_remote_candidate(None)


async def connect(one: Connection, other: Connection) -> None:
    await introduce(one, other)
    await introduce(other, one)
    await asyncio.gather(one.connect(), other.connect())


async def offer_and_answer(caller: RTCPeerConnection, callee: RTCPeerConnection) -> None:
    await caller.setLocalDescription(await caller.createOffer())
    await callee.setRemoteDescription(caller.localDescription)
    await callee.setLocalDescription(await callee.createAnswer())
    await caller.setRemoteDescription(callee.localDescription)


async def echoed(caller: RTCPeerConnection, callee: RTCPeerConnection, signal: Any = offer_and_answer) -> str:
    """Opens a data channel and has a word sent there and back."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    channel = caller.createDataChannel("words")
    channel.on("open", lambda: channel.send("hello"))
    channel.on("message", answer.set_result)
    callee.on("datachannel", lambda theirs: theirs.on("message", lambda word: theirs.send(f"{word} back")))
    await signal(caller, callee)
    return await asyncio.wait_for(answer, PATIENCE)


@contextmanager
def silent_server() -> Iterator[tuple[str, int]]:
    """Where everything arrives and nothing is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind((HERE, 0))
        yield hole.getsockname()


@asynccontextmanager
async def relay(
    *transports: Transport, keys: KeyStore | None = None
) -> AsyncIterator[tuple[TurnServer, list[Address]]]:
    """A TURN server of user "user" and password "secret", and where it listens for each transport."""
    heard: asyncio.Queue[Address] = asyncio.Queue()

    def hear(event: object, now: float) -> None:
        if isinstance(event, Listening):
            heard.put_nowait(event.local)

    listeners = tuple(
        TurnListener(transport, Address(HERE, 0), TlsServer("relay") if transport is Transport.TLS else None)
        for transport in transports
    )
    config = TurnServerConfig("example.test", listeners, HERE, allow_peers=("127.0.0.0/8",))
    server = TurnServer(config, StaticAuthenticator({"user": "secret"}), random.Random(2))
    async with Driver(server, keystore=keys, on_event=hear, addresses=lambda: (HERE,)) as driver:
        driver.call(server.start)
        places = [await asyncio.wait_for(heard.get(), PATIENCE) for _ in transports]
        yield server, places
