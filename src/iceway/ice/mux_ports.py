"""The sockets and listeners of a mux: opened once, lent to every agent that asks for one of its own, closed at the end.

A port is asked for before it is open, and who asked waits. Listeners are opened when it is known which ports UDP has:
agents tell what they stand on apart by address alone, so no address may be both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import CloseListener, CloseUdp, Listen, OpenUdp
from iceway.ice.scope import Scope, scope_of
from iceway.trace import records

CLOSED = "the mux is closed"


@dataclass(frozen=True, slots=True)
class MuxConfig:
    """Where to be: at most one UDP socket and one TCP listener an IP, port 0 for any, and never the same port.

    `prove_within` is how long a connection may take to say whom it wants; `max_unproven` how many may stand
    there without having said it. `resolve_names`: ask the links for mDNS names of peers; a server's neighbours
    seldom are its peers, and many agents would flood the link with questions.
    """

    udp: tuple[Address, ...]
    tcp: tuple[Address, ...] = ()
    prove_within: float = 5.0
    max_unproven: int = 256
    max_unproven_per_site: int = 32
    resolve_names: bool = False

    def __post_init__(self) -> None:
        if not self.udp:
            raise UsageError("a mux needs a UDP socket; TCP is for peers that UDP does not reach")
        for places in (self.udp, self.tcp):
            if len({place.ip for place in places}) < len(places):
                raise UsageError("a mux has one socket of a kind on each IP address")
        for place in (*self.udp, *self.tcp):
            if scope_of(place.ip) is Scope.LOCAL:
                raise UsageError(
                    f"nobody can be told to reach a mux at {place.ip}; name the interface's address"
                )
        for place in set(self.udp) & set(self.tcp):
            if place.port:
                raise UsageError(f"{place} cannot be both UDP and TCP of one mux; take two ports")


@dataclass(frozen=True, slots=True)
class MuxOpened:
    """A socket or listener of the mux is there. Agents that waited for it go on by themselves."""

    transport: Transport
    local: Address


@dataclass(frozen=True, slots=True)
class MuxFailed:
    """A socket or listener cannot be had. Agents have no candidates there."""

    transport: Transport
    wanted: Address
    reason: str


@dataclass(slots=True)
class Port:
    """A socket or listener: `local` once open, `failure` if it never will be. `waiting` are (agent, its key)."""

    key: str
    transport: Transport
    wanted: Address
    asked: bool = False
    local: Address | None = None
    failure: str = ""
    waiting: list[tuple[str, str]] = field(default_factory=list)

    @property
    def decided(self) -> bool:
        return self.local is not None or bool(self.failure)


class Ports:
    """Outputs leave through `emit`, the mux's queue."""

    def __init__(self, mux: str, config: MuxConfig, emit: Callable[[object], None]) -> None:
        self._mux = mux
        self._emit = emit
        self._closing = False
        wanted = [
            *(Port(f"{mux}/udp.{n}", Transport.UDP, place) for n, place in enumerate(config.udp, 1)),
            *(Port(f"{mux}/tcp.{n}", Transport.TCP, place) for n, place in enumerate(config.tcp, 1)),
        ]
        self._ports = {port.key: port for port in wanted}

    # --- questions ---------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return len(self._ports)

    def __contains__(self, key: str) -> bool:
        return key in self._ports

    def get(self, key: str) -> Port | None:
        return self._ports.get(key)

    def open(self, transport: Transport) -> tuple[Address, ...]:
        """Those that are open."""
        ports = [port for port in self._ports.values() if port.transport is transport]
        return tuple(port.local for port in ports if port.local is not None)

    def at(self, transport: Transport, ip: str) -> Port:
        """The port on an IP; one that failed if there is none."""
        for port in self._ports.values():
            if port.transport is transport and port.wanted.ip == ip:
                return port
        return Port("", transport, Address(ip, 0), failure=f"the mux has none on {ip}")

    # --- what happens ------------------------------------------------------------------------------------
    def start(self) -> None:
        for port in self._ports.values():
            if port.transport is Transport.UDP:
                port.asked = True
                self._emit(OpenUdp(port.key, port.wanted))

    def opened(self, key: str, local: Address) -> Port:
        port = self._ports[key]
        if port.transport is Transport.TCP and local in self.open(Transport.UDP):
            # By chance, where one of the two was any port. A listener of any port comes to another one next.
            self._emit(CloseListener(key))
            if port.wanted.port:
                return self.failed(key, "UDP was given this port; take a fixed one there as well")
            self._emit(Listen(key, port.wanted))
            return port
        port.local = local
        if self._closing:
            self._shut(port)
        else:
            self._emit(MuxOpened(port.transport, local))
        self._listen_if_ready()
        return port

    def failed(self, key: str, reason: str) -> Port:
        port = self._ports[key]
        port.failure = reason
        if self._closing:
            self._shut(port)
        else:
            said = f"{self._mux} cannot be at {port.wanted} over {port.transport.upper()}: {reason}"
            self._emit(records.Note("error", said))
            self._emit(MuxFailed(port.transport, port.wanted, reason))
        self._listen_if_ready()
        return port

    def close(self) -> list[Port]:
        """What is still being opened is closed as it comes; what has not been asked for never will be."""
        self._closing = True
        ended = [port for port in self._ports.values() if port.decided or not port.asked]
        for port in ended:
            self._shut(port)
        return ended

    def _listen_if_ready(self) -> None:
        """Once every UDP socket is there or refused."""
        udp = [port for port in self._ports.values() if port.transport is Transport.UDP]
        if self._closing or not all(port.decided for port in udp):
            return
        for port in self._ports.values():
            if port.transport is Transport.TCP and not port.asked:
                port.asked = True
                self._emit(Listen(port.key, port.wanted))

    def _shut(self, port: Port) -> None:
        del self._ports[port.key]
        if port.local is not None:
            udp = port.transport is Transport.UDP
            self._emit(CloseUdp(port.local) if udp else CloseListener(port.key))
        port.failure = CLOSED
