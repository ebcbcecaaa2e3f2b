"""The servers of an agent and where they are: addresses given, written as a name's IP, or looked up.

The first address of a name is asked, for each family that the host has; the others are spares for when it does
not answer.
"""

from __future__ import annotations

from typing import Protocol

from iceway.core.address import Address, is_ip
from iceway.core.machine import Resolve, Resolved
from iceway.ice.config import IceServer
from iceway.ice.servers import ServerState
from iceway.trace import records

MAX_SPARES = 4  # addresses tried for one name


class Asker(Protocol):
    """The gatherer, as its directory sees it."""

    def emit(self, output: object) -> None: ...

    def server_found(self, state: ServerState, address: Address, now: float) -> None:
        """A further address of a server: ask there."""

    def server_unreachable(self, state: ServerState, detail: str) -> None: ...


class Directory:
    """Iterates over servers in the order of their adding, which is their rank."""

    def __init__(self, agent: str, asker: Asker) -> None:
        self.servers: list[ServerState] = []
        self._agent = agent
        self._asker = asker
        self._looking_up: dict[str, ServerState] = {}

    @property
    def busy(self) -> bool:
        return bool(self._looking_up)

    def add(self, server: IceServer, families: tuple[int, ...], now: float) -> None:
        state = ServerState(server, len(self.servers))
        self.servers.append(state)
        self.find(state, families, now)

    def find(self, state: ServerState, families: tuple[int, ...], now: float) -> None:
        """Look for addresses of these families; known ones stay."""
        server = state.server
        if server.address is not None:
            self._known(state, server.address, now)
        elif is_ip(server.host):
            self._known(state, Address.of(server.host, server.port), now)
        else:
            for family in families:
                record_type = "AAAA" if family == 6 else "A"
                key = f"{self._agent}/resolve.{state.rank}.{record_type}"
                self._looking_up[key] = state
                self._asker.emit(Resolve(key, server.host, record_type))

    def resolved(self, event: Resolved, now: float) -> None:
        state = self._looking_up.pop(event.key, None)
        if state is None:
            return
        answers = tuple(answer.data for answer in event.answers)
        self._asker.emit(records.NameResolved(event.name, event.record_type, answers, event.error))
        found = [Address.of(data, state.server.port) for data in answers if is_ip(data)]
        if found:
            state.spares = (*state.spares, *found[1:MAX_SPARES])
            self._known(state, found[0], now)
        elif not state.addresses and state not in self._looking_up.values():
            detail = f"its name did not resolve: {event.error or 'no such name'}"
            self._asker.server_unreachable(state, detail)

    def try_spare(self, state: ServerState, now: float) -> None:
        """Another address that the name resolved to."""
        if state.spares:
            spare, *rest = state.spares
            state.spares = tuple(rest)
            self._known(state, spare, now)

    def stop(self) -> None:
        self._looking_up.clear()
        for state in self.servers:
            state.spares = ()

    def _known(self, state: ServerState, address: Address, now: float) -> None:
        if address not in state.addresses:
            state.addresses = (*state.addresses, address)
            self._asker.server_found(state, address, now)
