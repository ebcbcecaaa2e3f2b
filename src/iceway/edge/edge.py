"""An edge: access proxy, credential service and relay as one machine. They share nothing but the key ring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway import __version__
from iceway.core.errors import EnvironmentFailure
from iceway.core.machine import AddressesChanged, ClockSet, Input, Outbox
from iceway.core.switchboard import Switchboard
from iceway.edge.access import AccessProxy
from iceway.edge.authenticator import TokenAuthenticator
from iceway.edge.config import EdgeConfig
from iceway.edge.credentials import KeyRing
from iceway.edge.mras_service import MrasService
from iceway.trace.records import Note, Started
from iceway.turn.server import TurnServer
from iceway.web.pages import Pages

if TYPE_CHECKING:
    from random import Random


class Edge(Outbox):
    """Machine. `start(now)` opens everything; listeners are reported by the events of sip and turn.

    `pages` is what browsers see at the door where they may open a WebSocket.
    """

    def __init__(
        self,
        config: EdgeConfig,
        ring: KeyRing,
        rng: Random,
        name: str = "edge",
        *,
        pages: Pages | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.name = name
        self._rng = rng
        self._authenticator = TokenAuthenticator(ring)
        self._access = AccessProxy(config.access_config(pages), rng, f"{name}/access")
        self._mras = MrasService(config.mras_config(), ring, rng, f"{name}/mras")
        self._turn: TurnServer | None = None
        self._pages = pages
        self._board = Switchboard()
        self._board.add(f"{name}/access", self._access)
        self._board.add(f"{name}/mras", self._mras)
        self._clock: ClockSet | None = None
        self._addresses = AddressesChanged(())

    # --- commands -------------------------------------------------------------------------------------
    def start(self, now: float) -> None:
        """Open the listeners, after clock and addresses of the host are known. Raises EnvironmentFailure."""
        self.emit(Started("edge", __version__, self.config.name))
        if self._pages is not None and self._pages.missing is not None:
            self.emit(Note("warning", self._pages.missing))
        ips = self._addresses.ips
        if not ips and self.config.relay.ip is None:
            raise EnvironmentFailure(
                "This host has no address to relay from", "Set relay.ip in the edge's configuration."
            )
        turn_config = self.config.turn_config(ips[0] if ips else "")
        turn_name = f"{self.name}/turn"
        self._turn = TurnServer(turn_config, self._authenticator, self._rng, turn_name)
        self._board.add(turn_name, self._turn)
        if self._clock is not None:
            self._turn.handle_input(self._clock, now)
        self._turn.handle_input(self._addresses, now)
        self._turn.start(now)
        self._mras.start(now)
        self._access.start(now)
        self._settle()

    def stop(self, now: float) -> None:
        """Close everything; clients of the relay lose their allocations."""
        self._access.stop(now)
        self._mras.stop(now)
        if self._turn is not None:
            self._turn.stop(now)
        self._settle()

    def use_keys(self, ring: KeyRing, now: float) -> None:
        """Mint and verify with another ring from now on (a certificate has rolled over)."""
        self._authenticator.ring = self._mras.ring = ring

    # --- machine --------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, ClockSet):
            self._clock = event
        elif isinstance(event, AddressesChanged):
            self._addresses = event
        self._board.route(event, now)
        self._settle()

    def handle_timeout(self, now: float) -> None:
        self._board.handle_timeout(now)
        self._settle()

    def poll_timeout(self) -> float | None:
        return self._board.poll_timeout()

    def _settle(self) -> None:
        for _, output in self._board.outputs():
            self.emit(output)
