"""The servers of an agent and where they are: by address, by name, or by URI.

A server becomes one state for each transport by which it is asked. The first address of each family is asked at once;
the others, of the same name or of further SRV targets, are spares for when that one does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from iceway.core.address import Address, Transport
from iceway.core.machine import Answer, Resolve, Resolved
from iceway.ice.config import IceServer, Place, ServerKind
from iceway.ice.discovery import Dead, Discovery
from iceway.ice.servers import ServerState
from iceway.trace import records
from iceway.wire.server_uri import ServerUri

if TYPE_CHECKING:
    from random import Random

MAX_TRIED = 8  # addresses of one server and transport, spares included


class Asker(Protocol):
    """The gatherer, as its directory sees it."""

    def emit(self, output: object) -> None: ...

    def server_found(self, state: ServerState, address: Address, now: float) -> None:
        """A further address of a server: ask there."""

    def server_unreachable(self, state: ServerState, detail: str) -> None: ...


@dataclass(slots=True, eq=False)
class _Entry:
    """One server as it was given. `told` are the dead ends that were reported."""

    server: IceServer
    rank: int
    discovery: Discovery | None = None
    states: dict[Transport, ServerState] = field(default_factory=dict)
    told: set[Dead] = field(default_factory=set)


class Directory:
    """`servers` are those with an address, in the order of their finding; ranks are the order of adding."""

    def __init__(self, agent: str, asker: Asker, rng: Random) -> None:
        self.servers: list[ServerState] = []
        self._agent = agent
        self._asker = asker
        self._rng = rng
        self._entries: list[_Entry] = []
        self._looking_up: dict[str, _Entry] = {}

    # --- questions ---------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        """Addresses that matter are still to come."""
        return any(entry.discovery.busy for entry in self._entries if entry.discovery)

    @property
    def relays_wanted(self) -> bool:
        return any(entry.server.kind is ServerKind.TURN for entry in self._entries)

    # --- commands ----------------------------------------------------------------------------------------
    def add(self, server: IceServer, families: tuple[int, ...], now: float) -> None:
        entry = _Entry(server, len(self._entries))
        self._entries.append(entry)
        if server.address is not None:
            self._found(entry, server.transport, server.address, now)
            return

        def ask(name: str, record_type: str) -> None:
            key = f"{self._agent}/resolve.{entry.rank}.{record_type}.{name}"
            self._looking_up[key] = entry
            self._asker.emit(Resolve(key, name, record_type))

        entry.discovery = Discovery(server.uri or _uri_of(server), families, self._rng, ask)
        self._take(entry, now)

    def widen(self, families: tuple[int, ...], now: float) -> None:
        """The host has other families now: look for addresses of theirs; known ones stay."""
        for entry in self._entries:
            if entry.discovery is not None:
                entry.discovery.widen(families)
                self._take(entry, now)

    def renew(self, renewed: Mapping[Place, IceServer]) -> None:
        """New credentials for servers that are known, by their places."""
        for entry in self._entries:
            server = renewed.get(entry.server.place)
            if server is not None:
                entry.server = server
                for state in entry.states.values():
                    state.server = replace(state.server, username=server.username, password=server.password)

    def resolved(self, event: Resolved, now: float) -> None:
        entry = self._looking_up.pop(event.key, None)
        if entry is None or entry.discovery is None:
            return
        answers = tuple(map(_readable, event.answers))
        self._asker.emit(records.NameResolved(event.name, event.record_type, answers, event.error))
        entry.discovery.answered(event)
        self._take(entry, now)

    def try_spare(self, state: ServerState, now: float) -> None:
        """Another address of a server that does not answer."""
        if state.spares:
            spare, *rest = state.spares
            state.spares = tuple(rest)
            state.addresses = (*state.addresses, spare)
            self._asker.server_found(state, spare, now)

    def stop(self) -> None:
        self._looking_up.clear()
        for entry in self._entries:
            entry.discovery = None
        for state in self.servers:
            state.spares = ()

    # --- what was found ----------------------------------------------------------------------------------
    def _take(self, entry: _Entry, now: float) -> None:
        """Everything that a discovery knows by now."""
        assert entry.discovery is not None
        for transport, address in list(entry.discovery.addresses()):
            useful = transport in (Transport.UDP, entry.server.transport)
            if useful or entry.server.kind is ServerKind.TURN:
                self._found(entry, transport, address, now)
        if not entry.discovery.busy:
            for end in entry.discovery.dead_ends():
                if end not in entry.told:
                    entry.told.add(end)
                    self._asker.server_unreachable(ServerState(entry.server, entry.rank), end.detail)

    def _found(self, entry: _Entry, transport: Transport, address: Address, now: float) -> None:
        state = entry.states.get(transport)
        if state is None:
            port = entry.server.port or address.port
            state = ServerState(replace(entry.server, transport=transport, port=port), entry.rank)
            entry.states[transport] = state
            self.servers.append(state)
        known = (*state.addresses, *state.spares)
        if address in known or len(known) >= MAX_TRIED:
            return
        if any(other.family == address.family for other in state.addresses):
            state.spares = (*state.spares, address)
        else:
            state.addresses = (*state.addresses, address)
            self._asker.server_found(state, address, now)


def _uri_of(server: IceServer) -> ServerUri:
    """A server given by name and port, as a URI that leaves nothing open."""
    if server.transport is Transport.UDP and server.kind is ServerKind.STUN:
        return ServerUri("stun", server.host, server.port)
    # RFC 7064 has no transports, so STUN over TCP is found as a relay over TCP would be.
    if server.transport is Transport.UDP:
        return ServerUri("turn", server.host, server.port, "udp")
    over = "tcp" if server.transport.is_stream else "udp"
    return ServerUri("turns" if server.transport.is_secure else "turn", server.host, server.port, over)


def _readable(answer: Answer) -> str:
    """As a zone file writes it."""
    if answer.service:
        texts = " ".join(f'"{text}"' for text in (answer.flags, answer.service, answer.regexp))
        return f"{answer.order} {answer.preference} {texts} {answer.data}"
    if answer.port:
        return f"{answer.priority} {answer.weight} {answer.port} {answer.data}"
    return answer.data
