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
from iceway.ice.mux_ports import MuxConfig, MuxFailed, MuxOpened, Port, Ports
from iceway.ice.mux_routes import Routes
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

__all__ = ["FromAgent", "Mux", "MuxConfig", "MuxFailed", "MuxOpened"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FromAgent:
    """What an agent told: one of `ice/events.py`."""

    agent: str
    event: object


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
        self._ports = Ports(name, config, self.emit)
        self._seats: dict[str, _Seat] = {}
        self._agents: dict[str, Agent] = {}
        self._streams: dict[str, _Seat] = {}
        self._ending: dict[str, set[str]] = {}
        self._strays: Counter[str] = Counter()
        self._started = self._closing = False

    # --- questions ---------------------------------------------------------------------------------------
    @property
    def agents(self) -> Mapping[str, Agent]:
        """To look at. Commands go through `command`."""
        return MappingProxyType(self._agents)

    @property
    def closed(self) -> bool:
        """After `close`: every agent has taken leave and nothing is open."""
        return self._closing and not len(self._ports) and not self._seats

    def local(self, transport: Transport) -> tuple[Address, ...]:
        """The sockets (UDP) or listeners (TCP) that are open."""
        return self._ports.open(transport)

    # --- commands ----------------------------------------------------------------------------------------
    def start(self, now: float) -> None:
        """Open the sockets; listeners follow, so that none takes a port that UDP has."""
        if self._started:
            raise UsageError(f"the mux {self.name} has been started")
        self._started = True
        self._ports.start()

    def add(self, id: str, config: AgentConfig, now: float) -> None:
        """A new agent, gathering already. `id` names it in commands and events; its records say `{mux}/{id}`.

        It stays until it is told to close, even when it has failed; its name is free again when the connections
        that it made have ended. What the mux decides (ports, TCP, no relays,
        whether names of peers are asked for) it decides whatever `config` says.
        """
        if self._closing or not self._started:
            raise UsageError(f"the mux {self.name} is not open")
        if id in self._seats or id in self._ending or not id or "/" in id:
            raise UsageError(f"{id!r} cannot name an agent of {self.name}: it is taken, empty or has a slash")
        if config.components > 1 or config.policy is Policy.RELAY:
            raise UsageError("an agent on a mux has one component and no relays")
        config = replace(
            config,
            policy=Policy.NO_RELAY,
            ports=None,
            tcp=bool(self._config.tcp),
            tcp_types=TCP_TYPES,
            resolve_names=self._config.resolve_names,
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
        for port in self._ports.close():
            self._serve(port, now)
        self._timers.cancel("strays")

    # --- machine -----------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case Datagram():
                self._datagram(event, now)
            case UdpOpened(key=key, local=local) | ListenerOpened(key=key, local=local) if key in self._ports:
                self._serve(self._ports.opened(key, local), now)
            case UdpFailed(key=key, reason=reason) | ListenerFailed(key=key, reason=reason) if (
                key in self._ports
            ):
                self._serve(self._ports.failed(key, reason), now)
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
        id = key.removeprefix(f"{self.name}/").partition("/")[0]
        seat = self._streams.get(key) or self._seats.get(id)
        if isinstance(event, StreamClosed):
            self._streams.pop(event.stream, None)
            self._ended(id, event.stream)
        if seat is None:
            return
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
                    self._lend(seat, key, self._ports.at(Transport.UDP, wanted.ip), now)
                case Listen(key=key, local=wanted):
                    self._lend(seat, key, self._ports.at(Transport.TCP, wanted.ip), now)
                case CloseUdp(local=local):
                    seat.sockets.discard(local)
                    self._routes.left(seat.id, local)
                case CloseListener(key=key):
                    seat.listeners = {at: name for at, name in seat.listeners.items() if name != key}
                case CloseStream(stream=stream):
                    if self._streams.pop(stream, None) is None:
                        self._ending.setdefault(seat.id, set()).add(stream)
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

    def _ended(self, id: str, stream: str) -> None:
        """The last word on a connection that an agent of this name made and closed."""
        ending = self._ending.get(id, set())
        ending.discard(stream)
        if not ending:
            self._ending.pop(id, None)

    def _note_sent(self, seat: _Seat, local: Address, remote: Address, data: bytes) -> None:
        if not stun.is_stun(data):
            return
        if data[:2] == BINDING_REQUEST:
            self._routes.asked(seat.id, data[8:20])
        elif data[:2] == BINDING_SUCCESS:
            self._routes.proved(seat.id, local, remote)

    def _lend(self, seat: _Seat, key: str, port: Port, now: float) -> None:
        """The mux's socket or listener instead of one of the agent's own."""
        local = port.local
        if not port.decided:
            port.waiting.append((seat.id, key))
            return
        taken = local in seat.sockets or local in seat.listeners
        failure = port.failure or ("the agent has it already" if taken else "")
        udp = port.transport is Transport.UDP
        if local is None or failure:
            seat.agent.handle_input(UdpFailed(key, failure) if udp else ListenerFailed(key, failure), now)
        elif udp:
            seat.sockets.add(local)
            seat.agent.handle_input(UdpOpened(key, local), now)
        else:
            seat.listeners[local] = key
            seat.agent.handle_input(ListenerOpened(key, local), now)

    def _serve(self, port: Port, now: float) -> None:
        """Those who waited for it, if it is decided now."""
        waiting, port.waiting = port.waiting, []
        for id, key in waiting:
            seat = self._seats.get(id)
            if seat is not None:
                self._lend(seat, key, port, now)
                self._settle(seat, now)

    def _forget(self, seat: _Seat) -> None:
        self._timers.cancel(("agent", seat.id))
        self._routes.remove(seat.id)
        del self._seats[seat.id], self._agents[seat.id]
