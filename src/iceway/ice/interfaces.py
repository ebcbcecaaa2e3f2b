"""The interfaces of a host and the UDP sockets on them, as they come and go.

Each usable interface has a rank, which is its preference, and one socket a component; a second socket where
relays of both families are asked for over UDP. When an interface leaves, its sockets are closed, except those
that a selected path still stands on: addresses also vanish from a list while they work, so the path is kept
until a restart has found another, or until consent says that it is dead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from iceway.core.address import Address, canonical_ip
from iceway.core.machine import CloseUdp, OpenUdp
from iceway.ice.config import AgentConfig
from iceway.ice.families import interleaved
from iceway.ice.scope import usable_interfaces
from iceway.ice.servers import HostSocket
from iceway.trace.records import Note


@dataclass(frozen=True, slots=True)
class Change:
    """Interfaces that came and left; `stranded` are those of them that a path in use stands on."""

    came: tuple[str, ...]
    left: tuple[str, ...]
    stranded: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.came or self.left)


@dataclass(frozen=True, slots=True)
class _Place:
    ip: str
    rank: int
    component: int
    relays_only: bool


class Interfaces:
    """Interfaces and sockets of one agent. `sockets` are open; `current` of them belong to interfaces that are there."""

    def __init__(self, agent: str, config: AgentConfig, emit: Callable[[object], None]) -> None:
        self.sockets: dict[Address, HostSocket] = {}
        self._agent = agent
        self._config = config
        self._emit = emit
        self._ranks: list[str] = []
        self._here: set[str] = set()
        self._refused: set[str] = set()
        self._opening: dict[str, _Place] = {}
        self._opened = 0

    # --- questions ---------------------------------------------------------------------------------------
    @property
    def opening(self) -> bool:
        return bool(self._opening)

    @property
    def here(self) -> tuple[str, ...]:
        """The IPs of those that are there, best first."""
        return tuple(ip for ip in self._ranks if ip in self._here)

    @property
    def families(self) -> tuple[int, ...]:
        """Of the interfaces that are there; IPv4 while none is known."""
        return tuple(sorted({Address(ip, 0).family for ip in self._here} or {4}))

    @property
    def current(self) -> list[HostSocket]:
        return [socket for socket in self.sockets.values() if not socket.leaving]

    def usable(self, ips: tuple[str, ...]) -> tuple[str, ...]:
        """What may be gathered from, in the order of preference."""
        wanted = self._config.interface_filter
        allowed = ips if wanted is None else tuple(ip for ip in ips if self._wants(wanted, ip))
        return interleaved(tuple(map(canonical_ip, usable_interfaces(allowed))))

    def _wants(self, wanted: Callable[[str], bool], ip: str) -> bool:
        if wanted(ip):
            return True
        if ip not in self._refused:
            self._refused.add(ip)
            self._emit(
                Note("info", f"{self._agent} does not use the interface {ip}: its filter leaves it out")
            )
        return False

    def changed(self, ips: tuple[str, ...]) -> Change:
        """Which interfaces came, and which left, if these are there now."""
        usable = self.usable(ips)
        came = tuple(ip for ip in usable if ip not in self._here)
        return Change(came, tuple(ip for ip in self._ranks if ip in self._here and ip not in usable))

    def is_base(self, local: Address) -> bool:
        socket = self.sockets.get(local)
        return socket is not None and not socket.relays_only

    # --- coming ------------------------------------------------------------------------------------------
    def come(self, ips: tuple[str, ...]) -> None:
        """Open sockets on interfaces that have none."""
        for ip in ips:
            if ip in self._here:
                continue
            self._here.add(ip)
            if ip not in self._ranks:
                self._ranks.append(ip)
            for component in range(1, self._config.components + 1):
                self._open(_Place(ip, self._ranks.index(ip), component, relays_only=False))

    def open_second(self, socket: HostSocket) -> None:
        """One 5-tuple holds one allocation, so relays of the other family have a socket of their own."""
        place = _Place(socket.local.ip, socket.rank, socket.component, relays_only=True)
        known = any(
            (other.rank, other.component) == (place.rank, place.component) and other.relays_only
            for other in self.current
        )
        if not known and place not in self._opening.values():
            self._open(place)

    def opened(self, key: str, local: Address) -> HostSocket | None:
        """The socket, unless nobody waits for it (any more); then it is closed again."""
        place = self._opening.pop(key, None)
        if place is None or place.ip not in self._here:
            self._emit(CloseUdp(local))
            return None
        socket = HostSocket(local, place.component, place.rank, place.relays_only)
        self.sockets[local] = socket
        return socket

    def failed(self, key: str) -> bool:
        return self._opening.pop(key, None) is not None

    # --- going -------------------------------------------------------------------------------------------
    def leave(self, ip: str) -> list[HostSocket]:
        """An interface is gone; its sockets are for the caller to close, now or later."""
        self._here.discard(ip)
        left = [socket for socket in self.current if socket.local.ip == ip]
        for socket in left:
            socket.leaving = True
        return left

    def close(self, local: Address) -> None:
        del self.sockets[local]
        self._emit(CloseUdp(local))

    def close_all(self) -> None:
        """No interface is wanted any more; sockets that are still being opened are closed as they come."""
        self._here.clear()

    def _open(self, place: _Place) -> None:
        self._opened += 1
        key = f"{self._agent}/udp.{self._opened}"
        self._opening[key] = place
        self._emit(OpenUdp(key, Address(place.ip, 0), self._config.ports))
