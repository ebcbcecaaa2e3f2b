"""Running a front end on this host's network. `run_frontend` serves until it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import SystemRandom

from iceway.core.address import Address, Transport
from iceway.frontend.config import FrontEndConfig
from iceway.frontend.frontend import IDENTITY, FrontEnd
from iceway.frontend.store import SqlStore
from iceway.io.driver import Driver, NameResolver
from iceway.io.keystore import Identity, KeyStore
from iceway.io.recorder import Recorder
from iceway.io.resolver import Resolver
from iceway.io.serving import Opening
from iceway.sip.endpoint import ListenFailed, Listening
from iceway.web.phone import phone_pages


@dataclass(frozen=True, slots=True)
class RunningFrontEnd:
    """A front end that is up. `listening` holds ("SIP over tls", address) and so on."""

    machine: FrontEnd
    store: SqlStore
    driver: Driver
    listening: tuple[tuple[str, Address], ...]


def frontend_keystore(config: FrontEndConfig) -> KeyStore:
    """The front end's certificate, trusting the configured authorities."""
    identity = Identity(config.tls.certificate, config.tls.key)
    return KeyStore({IDENTITY: identity}, trust=[config.tls.trust])


@asynccontextmanager
async def running_frontend(
    config: FrontEndConfig,
    *,
    keystore: KeyStore | None = None,
    resolver: NameResolver | None = None,
    recorder: Recorder | None = None,
) -> AsyncIterator[RunningFrontEnd]:
    """A front end for as long as the block lasts. Raises EnvironmentFailure if a port cannot be opened."""
    store = SqlStore(config.database)
    try:
        pages = phone_pages(config.domain, config.web.path) if config.has_web_phone else None
        machine = FrontEnd(config, store, SystemRandom(), pages=pages)
        opening = Opening(len(config.listen))

        def heard(event: object, _: float) -> None:
            match event:
                case Listening(transport=transport, local=local, websocket=websocket):
                    opening.opened(_service(transport, websocket), local)
                case ListenFailed(transport=transport, reason=reason, websocket=websocket):
                    opening.failed(_service(transport, websocket), reason)

        driver = Driver(
            machine,
            keystore=keystore or frontend_keystore(config),
            resolver=resolver or Resolver(),
            recorder=recorder,
            node="frontend",
            on_event=heard,
        )
        async with driver:
            driver.call(machine.start)
            listening = await opening.done()
            try:
                yield RunningFrontEnd(machine, store, driver, listening)
            finally:
                driver.call(machine.stop)
    finally:
        store.close()


async def run_frontend(config: FrontEndConfig, *, recorder: Recorder | None = None) -> None:
    """Serve until cancelled."""
    async with running_frontend(config, recorder=recorder):
        await asyncio.Event().wait()


def _service(transport: Transport, websocket: bool) -> str:
    """What a listener is for."""
    return f"SIP over WebSocket over {transport}" if websocket else f"SIP over {transport}"
