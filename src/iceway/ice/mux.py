"""One UDP port and one TCP port for any number of agents: what a server opens instead of a port a call.

    mux = Mux("mux", MuxConfig(udp=(Address("203.0.113.1", 3478),), tcp=(Address("203.0.113.1", 443),)), rng)
    mux.start(now)
    mux.add("call.7", AgentConfig(controlling=False, lite=True), now)
    mux.command("call.7", lambda agent: agent.set_remote(ufrag, pwd, now), now)
    …FromAgent("call.7", DataReceived(…))…

The mux is the machine that holds the agents, and what a driver is to them: an agent that asks for a socket or
a listener is given the mux's, and knows nothing of the others. So every agent is the same agent as on sockets of
its own, restarts and consent included. Its requests and records pass through; its events come out as
`FromAgent`. Commands go through `command`, because only the mux can drain one agent out of a thousand.

What an agent on a mux does without: relays and a second component (one socket has one 5-tuple for each server,
and one component), and following the host's addresses: a mux stands where its configuration puts it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import (
    CloseListener,
    CloseStream,
    CloseUdp,
    Input,
    Listen,
    ListenerFailed,
    ListenerOpened,
    OpenUdp,
    Outbox,
    Request,
    SendDatagram,
    StreamAccepted,
    StreamClosed,
    StreamReceived,
    UdpFailed,
    UdpOpened,
)
from iceway.core.machine import DatagramReceived as Datagram
from iceway.core.timers import Timers
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig, Policy
from iceway.ice.mux_doors import Doors, Visitor, first_word, ufrag_of
from iceway.ice.mux_routes import Routes
from iceway.ice.scope import Scope, scope_of
from iceway.trace import records
from iceway.wire import stun

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

TCP_TYPES = ("active", "passive")  # opening from both ends takes a port that no other agent has
STRAYS_EVERY = 10.0  # seconds between records of what was dropped
BINDING_REQUEST = b"\x00\x01"  # RFC 8489 §5: how the headers begin
BINDING_SUCCESS = b"\x01\x01"
BINDING_ERROR = b"\x01\x11"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MuxConfig:
    """Where to be: at most one UDP socket and one TCP listener an IP, port 0 for any, and never the same port.

    Agents tell what they stand on apart by address alone, hence the two ports. `prove_within` is how long a
    connection may take to say whom it wants; `max_unproven` how many may stand there without having said it.
    """

    udp: tuple[Address, ...]
    tcp: tuple[Address, ...] = ()
    prove_within: float = 5.0
    max_unproven: int = 256
    max_unproven_per_site: int = 32

    def __post_init__(self) -> None:
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


# --- events ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class FromAgent:
    """What an agent told: one of `ice/events.py`."""

    agent: str
    event: object


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


# --- parts ----------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Port:
    """A socket or listener: `local` once open, `failure` if it never will be. `waiting` are (agent, its key)."""

    transport: Transport
    wanted: Address
    local: Address | None = None
    failure: str = ""
    waiting: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Seat:
    """An agent, the sockets of the mux that it uses, and its names for the listeners that it has."""

    id: str
    agent: Agent
    sockets: set[Address] = field(default_factory=set)
    listeners: dict[Address, str] = field(default_factory=dict)


class Mux(Outbox):
    """Machine. Commands take `now` last."""

    def __init__(self, name: str, config: MuxConfig, rng: Random) -> None:
        super().__init__()
        self.name = name
        self._config = config
        self._rng = rng
        self._timers = Timers()
        self._routes = Routes()
        self._doors = Doors(config.max_unproven, config.max_unproven_per_site)
        self._ports: dict[str, _Port] = {}
        self._seats: dict[str, _Seat] = {}
        self._agents: dict[str, Agent] = {}
        self._streams: dict[str, _Seat] = {}
        self._strays: Counter[str] = Counter()
        self._started = self._listening = self._closing = False

    # --- questions ---------------------------------------------------------------------------------------
    @property
    def agents(self) -> Mapping[str, Agent]:
        """To look at. Commands go through `command`."""
        return MappingProxyType(self._agents)

    @property
    def closed(self) -> bool:
        """After `close`: every agent has taken leave and nothing is open."""
        return self._closing and not self._ports and not self._seats

    def local(self, transport: Transport) -> tuple[Address, ...]:
        """The sockets (UDP) or listeners (TCP) that are open."""
        ports = [port for port in self._ports.values() if port.transport is transport]
        return tuple(port.local for port in ports if port.local is not None)

    # --- commands ----------------------------------------------------------------------------------------
    def start(self, now: float) -> None:
        """Open the sockets; listeners follow, so that none takes a port that UDP has."""
        if self._started:
            raise UsageError(f"the mux {self.name} has been started")
        self._started = True
        for number, wanted in enumerate(self._config.udp, 1):
            key = f"{self.name}/udp.{number}"
            self._ports[key] = _Port(Transport.UDP, wanted)
            self.emit(OpenUdp(key, wanted))
        for number, wanted in enumerate(self._config.tcp, 1):
            self._ports[f"{self.name}/tcp.{number}"] = _Port(Transport.TCP, wanted)
        self._listen_if_ready()

    def add(self, id: str, config: AgentConfig, now: float) -> None:
        """A new agent, gathering already. `id` names it in commands and events; its records say `{mux}/{id}`."""
        if self._closing or not self._started:
            raise UsageError(f"the mux {self.name} is not open")
        if id in self._seats or not id or "/" in id:
            raise UsageError(f"{id!r} cannot name an agent of {self.name}: it is taken, empty or has a slash")
        if config.components > 1 or config.policy is Policy.RELAY:
            raise UsageError("an agent on a mux has one component and no relays")
        config = replace(
            config, policy=Policy.NO_RELAY, ports=None, tcp=bool(self._config.tcp), tcp_types=TCP_TYPES
        )
        agent = Agent(f"{self.name}/{id}", config, self._rng)
        seat = self._seats[id] = _Seat(id, agent)
        self._agents[id] = agent
        self._routes.add(id)
        ips = tuple(dict.fromkeys(place.ip for place in self._config.udp))
        agent.gather(ips, (), now)
        self._settle(seat, now)

    def command(self, id: str, command: Callable[[Agent], T], now: float) -> T:
        """Run a command of an agent and carry out what follows."""
        seat = self._seats.get(id)
        if seat is None:
            raise UsageError(f"the mux {self.name} has no agent {id!r} (any more)")
        try:
            return command(seat.agent)
        finally:
            self._settle(seat, now)

    def close(self, now: float) -> None:
        """Close all agents and sockets."""
        if self._closing:
            return
        self._closing = True
        for seat in list(self._seats.values()):
            self.command(seat.id, lambda agent: agent.close(now), now)
        for stream in self._doors.streams:
            self._turn_away(stream)
        for key, port in list(self._ports.items()):
            # What is still being opened is closed as it comes; a listener not asked for yet never will be.
            if port.local or port.failure or (port.transport is Transport.TCP and not self._listening):
                port.failure = "the mux is closed"
                self._serve(port, now)
                self._shut(key)
        self._timers.cancel("strays")

    # --- machine -----------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case Datagram():
                self._datagram(event, now)
            case UdpOpened(key=key, local=local) | ListenerOpened(key=key, local=local) if key in self._ports:
                self._opened(key, local, now)
            case UdpFailed(key=key, reason=reason) | ListenerFailed(key=key, reason=reason) if (
                key in self._ports
            ):
                self._failed(key, reason, now)
            case StreamAccepted():
                self._welcome(event, now)
            case StreamReceived(stream=stream, data=data) if self._doors.get(stream) is not None:
                self._listen_to(stream, data, now)
            case StreamClosed(stream=stream) if self._doors.leave(stream) is not None:
                self._timers.cancel(("door", stream))
            case _:
                self._pass_on(event, now)

    def handle_timeout(self, now: float) -> None:
        for name in self._timers.due(now):
            match name:
                case ("agent", str(id)):
                    seat = self._seats[id]
                    seat.agent.handle_timeout(now)
                    self._settle(seat, now)
                case ("door", str(stream)):
                    self._stray("connections that named no agent", now)
                    self._turn_away(stream)
                case "strays":
                    self._tell_strays()

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- datagrams ---------------------------------------------------------------------------------------
    def _datagram(self, event: Datagram, now: float) -> None:
        local, remote, data = event.local, event.remote, event.data
        kind = data[:2] if stun.is_stun(data) else b""
        if kind == BINDING_REQUEST:
            seat = self._asked_for(data, now)
        elif kind in (BINDING_SUCCESS, BINDING_ERROR):
            seat = self._seat(self._routes.of_transaction(data[8:20]), "answers that nobody waits for", now)
        else:
            seat = self._seat(
                self._routes.of_way(local, remote), "packets from addresses that proved nothing", now
            )
        if seat is None or local not in seat.sockets:
            return
        seat.agent.handle_input(event, now)
        unclaimed = kind == BINDING_SUCCESS and self._routes.of_way(local, remote) is None
        if unclaimed and seat.agent.knows(local, remote):
            # A lite peer never checks; that it answered ours, and rightly, must do.
            self._routes.proved(seat.id, local, remote)
        self._settle(seat, now)

    def _asked_for(self, data: bytes, now: float) -> _Seat | None:
        """The agent that a check names."""
        try:
            ufrag = ufrag_of(stun.parse(data))
        except ParseError:
            self._stray("broken checks", now)
            return None
        id = None if ufrag is None else self._routes.of_ufrag(ufrag)
        return self._seat(id, "checks for agents that are not here", now)

    def _seat(self, id: str | None, stray: str, now: float) -> _Seat | None:
        if id is not None:
            return self._seats[id]
        self._stray(stray, now)
        return None

    def _stray(self, what: str, now: float) -> None:
        self._strays[what] += 1
        if self._timers.at("strays") is None:
            self._timers.arm("strays", now + STRAYS_EVERY)

    def _tell_strays(self) -> None:
        told = ", ".join(f"{count} {what}" for what, count in self._strays.items())
        self._strays.clear()
        self.emit(records.Note("info", f"{self.name} dropped in {STRAYS_EVERY:.0f} s: {told}"))

    # --- connections -------------------------------------------------------------------------------------
    def _welcome(self, event: StreamAccepted, now: float) -> None:
        port = self._ports.get(event.key)
        if port is None or port.local is None:
            self.emit(CloseStream(event.stream, abort=True))  # It crossed the end of its listener.
        elif not self._doors.come(Visitor(event.stream, port.local, event.remote)):
            self.emit(CloseStream(event.stream, abort=True))
            self._stray("connections too many at the door", now)
        else:
            self._timers.arm(("door", event.stream), now + self._config.prove_within)

    def _listen_to(self, stream: str, data: bytes, now: float) -> None:
        visitor = self._doors.get(stream)
        assert visitor is not None
        visitor.said += data
        try:
            ufrag = first_word(visitor.said)
        except ParseError:
            self._stray("connections that began with no check", now)
            self._turn_away(stream)
            return
        if ufrag is None:
            return
        seat = self._seat(self._routes.of_ufrag(ufrag), "checks for agents that are not here", now)
        key = seat.listeners.get(visitor.local) if seat else None
        if seat is None or key is None:
            self._turn_away(stream)
            return
        self._doors.leave(stream)
        self._timers.cancel(("door", stream))
        self._streams[stream] = seat
        seat.agent.handle_input(StreamAccepted(stream, key, visitor.local, visitor.remote), now)
        seat.agent.handle_input(StreamReceived(stream, bytes(visitor.said)), now)
        self._settle(seat, now)

    def _turn_away(self, stream: str) -> None:
        self._timers.cancel(("door", stream))
        self._doors.leave(stream)
        self.emit(CloseStream(stream, abort=True))

    def _pass_on(self, event: Input, now: float) -> None:
        """To the agent whose stream or key it is. Clock and interfaces concern none of them."""
        key: str = getattr(event, "stream", "") or getattr(event, "key", "")
        seat = self._streams.get(key) or self._seats.get(key.removeprefix(f"{self.name}/").partition("/")[0])
        if seat is None:
            return
        if isinstance(event, StreamClosed):
            self._streams.pop(event.stream, None)
        seat.agent.handle_input(event, now)
        self._settle(seat, now)

    # --- what an agent asks ------------------------------------------------------------------------------
    def _settle(self, seat: _Seat, now: float) -> None:
        """Everything the agent said, in order; then its timer and its names."""
        agent = seat.agent
        while (output := agent.poll_output()) is not None:
            match output:
                case SendDatagram(local=local, remote=remote, data=data):
                    self._note_sent(seat, local, remote, data)
                    self.emit(output)
                case OpenUdp(key=key, local=wanted):
                    self._lend(seat, key, Transport.UDP, wanted, now)
                case Listen(key=key, local=wanted):
                    self._lend(seat, key, Transport.TCP, wanted, now)
                case CloseUdp(local=local):
                    seat.sockets.discard(local)
                    self._routes.left(seat.id, local)
                case CloseListener(key=key):
                    seat.listeners = {at: name for at, name in seat.listeners.items() if name != key}
                case CloseStream(stream=stream):
                    self._streams.pop(stream, None)
                    self.emit(output)
                case records.Record():
                    self.emit(output)
                case _:
                    # Other requests (a name, a connection, a group) are the agent's own, and its keys lead back.
                    own = isinstance(output, Request)
                    self.emit(output if own else FromAgent(seat.id, output))
        if agent.closed:
            self._forget(seat)
            return
        self._routes.answers_to(seat.id, agent.local_ufrags)
        at = agent.poll_timeout()
        timer = "agent", seat.id
        if at is None:
            self._timers.cancel(timer)
        elif at != self._timers.at(timer):
            self._timers.arm(timer, at)

    def _note_sent(self, seat: _Seat, local: Address, remote: Address, data: bytes) -> None:
        if not stun.is_stun(data):
            return
        if data[:2] == BINDING_REQUEST:
            self._routes.asked(seat.id, data[8:20])
        elif data[:2] == BINDING_SUCCESS:
            self._routes.proved(seat.id, local, remote)

    def _lend(self, seat: _Seat, key: str, transport: Transport, wanted: Address, now: float) -> None:
        """The mux's socket or listener on this interface instead of one of the agent's own."""
        for port in self._ports.values():
            if port.transport is transport and port.wanted.ip == wanted.ip:
                if port.local is None and not port.failure:
                    port.waiting.append((seat.id, key))
                else:
                    self._give(seat, key, port, now)
                return
        self._give(seat, key, _Port(transport, wanted, failure=f"the mux has none on {wanted.ip}"), now)

    def _give(self, seat: _Seat, key: str, port: _Port, now: float) -> None:
        local, taken = port.local, port.local in seat.sockets or port.local in seat.listeners
        failure = port.failure or ("the agent has it already" if taken else "")
        if port.transport is Transport.UDP:
            if local is None or failure:
                seat.agent.handle_input(UdpFailed(key, failure), now)
            else:
                seat.sockets.add(local)
                seat.agent.handle_input(UdpOpened(key, local), now)
        elif local is None or failure:
            seat.agent.handle_input(ListenerFailed(key, failure), now)
        else:
            seat.listeners[local] = key
            seat.agent.handle_input(ListenerOpened(key, local), now)

    def _forget(self, seat: _Seat) -> None:
        self._timers.cancel(("agent", seat.id))
        self._routes.remove(seat.id)
        del self._seats[seat.id], self._agents[seat.id]

    # --- sockets -----------------------------------------------------------------------------------------
    def _opened(self, key: str, local: Address, now: float) -> None:
        port = self._ports[key]
        port.local = local
        if self._closing:
            port.failure = "the mux is closed"
            self._serve(port, now)
            self._shut(key)
        elif local in self.local(Transport.UDP) and port.transport is Transport.TCP:
            # Only with port 0, by chance. The listener that comes next has another one.
            port.local = None
            self.emit(CloseListener(key))
            self.emit(Listen(key, port.wanted))
        else:
            self.emit(MuxOpened(port.transport, local))
            self._serve(port, now)

    def _failed(self, key: str, reason: str, now: float) -> None:
        port = self._ports[key]
        port.failure = reason
        if not self._closing:
            said = f"{self.name} cannot be at {port.wanted} over {port.transport.upper()}: {reason}"
            self.emit(records.Note("error", said))
            self.emit(MuxFailed(port.transport, port.wanted, reason))
        self._serve(port, now)
        if self._closing:
            self._shut(key)

    def _serve(self, port: _Port, now: float) -> None:
        """Those who waited for it."""
        waiting, port.waiting = port.waiting, []
        for id, key in waiting:
            seat = self._seats.get(id)
            if seat is not None:
                self._give(seat, key, port, now)
                self._settle(seat, now)
        self._listen_if_ready()

    def _listen_if_ready(self) -> None:
        """Once every UDP socket is there or refused."""
        ports = self._ports.items()
        settled = all(p.local or p.failure for _, p in ports if p.transport is Transport.UDP)
        if settled and not (self._listening or self._closing):
            self._listening = True
            for key, port in ports:
                if port.transport is Transport.TCP:
                    self.emit(Listen(key, port.wanted))

    def _shut(self, key: str) -> None:
        port = self._ports.pop(key)
        if port.local is not None:
            self.emit(CloseUdp(port.local) if port.transport is Transport.UDP else CloseListener(key))
