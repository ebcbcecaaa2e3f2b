"""Running an edge on this host's network. `run_edge` serves until it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import SystemRandom

from iceway.core.address import Address, Transport
from iceway.core.errors import EnvironmentFailure
from iceway.edge.config import IDENTITY, EdgeConfig
from iceway.edge.credentials import KeyRing, RetiredKeys, TokenKeys
from iceway.edge.edge import Edge
from iceway.io.driver import Driver, NameResolver
from iceway.io.keystore import Identity, KeyStore
from iceway.io.recorder import Recorder
from iceway.io.resolver import Resolver
from iceway.io.serving import Opening
from iceway.sip import endpoint as sip
from iceway.turn import server as turn
from iceway.web.phone import phone_pages


@dataclass(frozen=True, slots=True)
class RunningEdge:
    """An edge that is up. `listening` holds ("SIP over tls", address), ("relay credentials over tls", address),
    ("relay over udp", address) and so on.
    """

    machine: Edge
    driver: Driver
    listening: tuple[tuple[str, Address], ...]


def edge_keystore(config: EdgeConfig) -> KeyStore:
    """The edge's certificate, trusting the configured authorities."""
    return KeyStore({IDENTITY: Identity(config.tls.certificate, config.tls.key)}, trust=[config.tls.trust])


def key_ring(config: EdgeConfig, keystore: KeyStore) -> KeyRing:
    """Keys from the certificate's private key, and the retired ones of the configuration."""
    retired = []
    for old in config.credentials.retired_keys:
        try:
            keys = TokenKeys.from_pem(old.key.read_bytes())
        except OSError as error:
            raise EnvironmentFailure(
                f"The retired key {old.key} cannot be read: {error.strerror}",
                "Take it out of credentials.retired_keys if its time is over.",
            ) from error
        retired.append(RetiredKeys(keys, old.until.timestamp()))
    current = TokenKeys.from_pem(keystore.private_key_pem(IDENTITY))
    return KeyRing(current, retired, max_lifetime=config.credentials.max_hours * 3600)


@asynccontextmanager
async def running_edge(
    config: EdgeConfig,
    *,
    keystore: KeyStore | None = None,
    resolver: NameResolver | None = None,
    recorder: Recorder | None = None,
) -> AsyncIterator[RunningEdge]:
    """An edge for as long as the block lasts. Raises EnvironmentFailure if a port cannot be opened."""
    keys = keystore or edge_keystore(config)
    pages = None
    if config.access.websocket and config.access.web_phone:
        pages = phone_pages(config.domain, config.access.websocket_path)
    machine = Edge(config, key_ring(config, keys), SystemRandom(), pages=pages)
    relay = config.relay
    ports = (relay.udp_port, relay.tcp_port, relay.tls_port, relay.dtls_port)
    doors = len(config.access.listen) + len(config.access.websocket)
    opening = Opening(doors + 1 + sum(port is not None for port in ports))

    def heard(event: object, _: float) -> None:
        match event:
            case sip.Listening(key=key, transport=transport, local=local, websocket=websocket):
                opening.opened(_service(key, transport, websocket), local)
            case turn.Listening(transport=transport, local=local):
                opening.opened(f"relay over {transport}", local)
            case sip.ListenFailed(key=key, transport=transport, reason=reason, websocket=websocket):
                opening.failed(_service(key, transport, websocket), reason)
            case turn.ListenFailed(transport=transport, address=address, reason=reason):
                opening.failed(f"relay over {transport} ({address})", reason)

    driver = Driver(
        machine,
        keystore=keys,
        resolver=resolver or Resolver(),
        recorder=recorder,
        node="edge",
        on_event=heard,
    )
    async with driver:
        driver.call(machine.start)
        listening = await opening.done()
        try:
            yield RunningEdge(machine, driver, listening)
        finally:
            driver.call(machine.stop)


async def run_edge(config: EdgeConfig, *, recorder: Recorder | None = None) -> None:
    """Serve until cancelled."""
    async with running_edge(config, recorder=recorder):
        await asyncio.Event().wait()


def _service(key: str, transport: Transport, websocket: bool) -> str:
    """What a SIP listener of the edge is for, by its key."""
    if websocket:
        return f"SIP over WebSocket over {transport}"
    return f"{'relay credentials' if '/mras/' in key else 'SIP'} over {transport}"
