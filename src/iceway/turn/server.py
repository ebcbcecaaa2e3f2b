"""A STUN and TURN server (RFC 8489, RFC 8656): listeners, clients, the requests they make.

`start(now)` opens the listeners and reports each with `Listening` or `ListenFailed`. Requests are answered by
`control.py`, packets forwarded by `relay.py`; this file is where inputs arrive and where clients and
allocations begin and end. A stranger costs nothing lasting: over UDP it is remembered only once it has an
allocation, and the answers it can cause are limited in size and rate.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.core.address import Address, ClientAddress, PeerAddress, Transport, site_of
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import (
    AddressesChanged,
    ClockSet,
    CloseListener,
    CloseStream,
    CloseUdp,
    DatagramReceived,
    Input,
    Listen,
    ListenerFailed,
    ListenerOpened,
    OpenUdp,
    Outbox,
    SendDatagram,
    StreamAccepted,
    StreamClosed,
    StreamCongested,
    StreamReceived,
    UdpFailed,
    UdpOpened,
)
from iceway.core.timers import Timers
from iceway.trace.records import (
    AllocationCreated,
    AllocationEnded,
    ConnectionClosed,
    ConnectionOpened,
    Malformed,
    Note,
)
from iceway.turn import classic
from iceway.turn.allocation import Allocation, Client
from iceway.turn.auth import Authenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.control import Control, OpeningRelay
from iceway.turn.policy import PeerPolicy
from iceway.turn.relay import Relay
from iceway.turn.strangers import Strangers
from iceway.wire import stun
from iceway.wire.channel_data import MAX_FRAME, StreamFramer
from iceway.wire.stun import MessageClass, Method

if TYPE_CHECKING:
    from random import Random

STRANGER_FRAME = 4096
"""The longest message on a stream without allocation: requests are short, and each stream holds a buffer."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Event: clients can come in here."""

    transport: Transport
    local: Address


@dataclass(frozen=True, slots=True)
class ListenFailed:
    """Event: this listener could not be opened; the others work."""

    transport: Transport
    address: Address
    reason: str


@dataclass(frozen=True, slots=True)
class _Idle:
    """Timer: a stream that holds no allocation has had its time."""

    stream: str


@dataclass(frozen=True, slots=True)
class _Expiry:
    relayed: Address


class TurnServer(Outbox):
    """Machine. The edge composes it; keys start with `name`."""

    def __init__(
        self,
        config: TurnServerConfig,
        authenticator: Authenticator,
        rng: Random,
        name: str = "turn",
    ) -> None:
        super().__init__()
        self.config = config
        self.name = name
        self._rng = rng
        self._timers = Timers()
        self._relay = Relay(self.emit, PeerPolicy(config.allow_peers), lambda: rng.randbytes(12))
        self._strangers = Strangers(config.stranger_rate)
        self._relay_ips = _relay_ips(config)
        self._control = Control(
            config, authenticator, self._relay, self._strangers, self, frozenset(self._relay_ips)
        )
        self._started = False
        self._listeners: dict[str, TurnListener] = {}
        self._listening: dict[str, Address] = {}
        self._udp: dict[Address, dict[Address, Client]] = {}
        """Clients with an allocation, by listener and their address: the look-up of every packet in."""
        self._streams: dict[str, Client] = {}
        self._idle: Counter[str] = Counter()
        self._opening: dict[str, OpeningRelay] = {}
        self._next_relay = 0
        self._host_ips: tuple[str, ...] = ()

    # --- commands -------------------------------------------------------------------------------------
    def start(self, now: float) -> None:
        if self._started:
            raise UsageError("the server is started already")
        self._started = True
        self._control.start(self._rng.randbytes(20))
        for number, listener in enumerate(self.config.listeners):
            key = f"{self.name}/{listener.transport.value}.{number}"
            self._listeners[key] = listener
            if listener.transport is Transport.UDP:
                self.emit(OpenUdp(key, listener.address))
            else:
                datagrams = listener.transport is Transport.DTLS
                self.emit(Listen(key, listener.address, listener.tls, datagrams=datagrams))
        self._learn_own_addresses()

    def stop(self, now: float) -> None:
        """End all allocations and close everything."""
        for stream in list(self._streams):
            self._forget_stream(stream, "shut down")
            self.emit(CloseStream(stream))
        for allocation in self.allocations:
            self.end_allocation(allocation, "shut down")
        for opening in self._opening.values():
            opening.abandoned = True
        for key, local in self._listening.items():
            if self._listeners[key].transport is Transport.UDP:
                self.emit(CloseUdp(local))
            else:
                self.emit(CloseListener(key))
        self._listening.clear()
        self._udp.clear()
        self._timers.clear()

    @property
    def allocations(self) -> tuple[Allocation, ...]:
        return tuple(self._relay.by_relayed.values())

    # --- machine --------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case DatagramReceived(local=local, remote=remote, data=data):
                clients = self._udp.get(local)
                if clients is not None:
                    self._handle_datagram(clients, local, remote, data, now)
                    return
                allocation = self._relay.by_socket.get(local)
                if allocation is not None:
                    self._relay.from_peer(allocation, PeerAddress(remote), data, now)
            case StreamReceived(stream=stream, data=data):
                client = self._streams.get(stream)
                if client is not None:
                    self._handle_stream(client, data, now)
            case StreamAccepted():
                self._handle_accepted(event, now)
            case StreamClosed(stream=stream, reason=reason):
                self._handle_closed(stream, reason)
            case StreamCongested(stream=stream, congested=congested):
                if (client := self._streams.get(stream)) is not None:
                    client.congested = congested
            case UdpOpened(key=key, local=local):
                self._handle_opened(key, local, now)
            case ListenerOpened(key=key, local=local):
                self._handle_opened(key, local, now)
            case UdpFailed(key=key, reason=reason) | ListenerFailed(key=key, reason=reason):
                self._handle_open_failed(key, reason, now)
            case ClockSet(wall_offset=offset):
                self._control.wall_offset = offset
            case AddressesChanged(ips=ips):
                self._host_ips = ips
                self._learn_own_addresses()

    def handle_timeout(self, now: float) -> None:
        for timer in self._timers.due(now):
            match timer:
                case _Expiry(relayed=relayed):
                    allocation = self._relay.by_relayed.get(relayed)
                    if allocation is not None:
                        self.end_allocation(allocation, "expired", now)
                case _Idle(stream=stream):
                    client = self._streams.get(stream)
                    if client is not None:
                        self._close_stream(client, "no allocation in time")

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- what control.py asks for ---------------------------------------------------------------------
    def open_relay(self, opening: OpeningRelay) -> None:
        """Open a socket for an allocation; `Control.relay_opened` or `relay_failed` follows."""
        key = f"{self.name}/relay.{self._next_relay}"
        self._next_relay += 1
        self._opening[key] = opening
        client = opening.client
        if client.stream is None:
            self._udp[client.local][client.remote] = client
        bind_ip, _ = self._relay_ips[opening.family]
        if opening.even_port:
            low, high = self.config.relay_ports
            low += low % 2
            port = low + 2 * self._rng.randrange(max(1, (high - low) // 2 + 1))
            self.emit(OpenUdp(key, Address(bind_ip, port)))
        else:
            self.emit(OpenUdp(key, Address(bind_ip, 0), self.config.relay_ports))

    @property
    def awaited(self) -> int:
        """Allocations that are being made."""
        return len(self._opening)

    def awaited_by(self, user_id: str) -> int:
        return sum(opening.user_id == user_id for opening in self._opening.values())

    def add_allocation(self, opening: OpeningRelay, local: Address, now: float) -> Allocation:
        client = opening.client
        _, external_ip = self._relay_ips[opening.family]
        allocation = Allocation(
            client=client,
            user_id=opening.user_id,
            local=local,
            relayed=Address(external_ip, local.port),
            expires_at=now + opening.lifetime,
        )
        client.allocation = allocation
        self._relay.add(allocation)
        self._timers.arm(_Expiry(allocation.relayed), allocation.expires_at)
        if client.framer is not None:
            client.framer.max_frame = MAX_FRAME
        if client.stream is not None:
            self._set_idle(client, False, now)
        self.emit(
            AllocationCreated(
                client.remote,
                client.transport.value,
                allocation.relayed,
                float(opening.lifetime),
                opening.user_id,
            )
        )
        return allocation

    def extend_allocation(self, allocation: Allocation, lifetime: int, now: float) -> None:
        allocation.expires_at = now + lifetime
        self._timers.arm(_Expiry(allocation.relayed), allocation.expires_at)

    def end_allocation(self, allocation: Allocation, reason: str, now: float | None = None) -> None:
        """`now` unless the stream is gone or going, which then needs no idle timer."""
        client = allocation.client
        client.allocation = None
        self._relay.remove(allocation)
        self._control.allocation_ended(allocation)
        self._timers.cancel(_Expiry(allocation.relayed))
        self.emit(CloseUdp(allocation.local))
        self.emit(
            AllocationEnded(
                client.remote,
                allocation.relayed,
                reason,
                allocation.bytes_to_peers,
                allocation.bytes_to_client,
                allocation.packets_to_peers,
                allocation.packets_to_client,
            )
        )
        if client.stream is None:
            self._udp.get(client.local, {}).pop(client.remote, None)
        elif now is not None:
            self._set_idle(client, True, now)

    # --- clients over UDP -----------------------------------------------------------------------------
    def _handle_datagram(
        self, clients: dict[Address, Client], local: Address, remote: Address, data: bytes, now: float
    ) -> None:
        client = clients.get(remote)
        if client is None:
            if not self._strangers.may_be_answered(remote.ip, now):
                return
            client = Client(Transport.UDP, local, ClientAddress(remote))
        self._handle_message(client, data, now)

    # --- clients over streams -------------------------------------------------------------------------
    def _handle_accepted(self, event: StreamAccepted, now: float) -> None:
        listener = self._listeners.get(event.key)
        if listener is None:
            return
        ip, site = event.remote.ip, site_of(event.remote.ip)
        if (
            len(self._streams) >= self.config.max_streams
            or self._idle[site] >= self.config.max_idle_streams_per_ip
        ):
            self.emit(CloseStream(event.stream, abort=True))
            if self._strangers.may_be_answered(ip, now):
                self.emit(ConnectionClosed(event.stream, f"too many connections from {ip}", event.remote))
            return
        client = Client(
            listener.transport,
            event.local,
            ClientAddress(event.remote),
            event.stream,
            StreamFramer(STRANGER_FRAME) if listener.transport.is_stream else None,
        )
        self._streams[event.stream] = client
        self.emit(
            ConnectionOpened(
                event.stream, event.local, event.remote, listener.transport.value, True, _names(event)
            )
        )
        self._set_idle(client, True, now)

    def _handle_stream(self, client: Client, data: bytes, now: float) -> None:
        if client.framer is None:
            self._handle_message(client, data, now)
            return
        try:
            frames = client.framer.feed(data)
        except ParseError as error:
            self.emit(Malformed("turn", client.remote, str(error), len(data)))
            self._close_stream(client, "closed by us: it is not TURN")
            return
        for frame in frames:
            self._handle_message(client, frame, now)
            if client.stream not in self._streams:
                return

    def _handle_closed(self, stream: str, reason: str) -> None:
        client = self._streams.get(stream)
        if client is not None:
            self._forget_stream(stream)
            self.emit(ConnectionClosed(stream, reason, client.remote))

    def _close_stream(self, client: Client, reason: str) -> None:
        assert client.stream is not None
        self._forget_stream(client.stream)
        self.emit(CloseStream(client.stream))
        self.emit(ConnectionClosed(client.stream, reason, client.remote))

    def _forget_stream(self, stream: str, why: str = "stream closed") -> None:
        """RFC 8656 §5: when the stream ends, the allocation ends."""
        client = self._streams.pop(stream)
        if client.allocation is not None:
            self.end_allocation(client.allocation, why)
        else:
            self._set_idle(client, False, 0.0)
        for opening in self._opening.values():
            if opening.client is client:
                opening.abandoned = True

    def _set_idle(self, client: Client, idle: bool, now: float) -> None:
        """Count streams without allocation, and give each its time."""
        assert client.stream is not None
        site = site_of(client.remote.ip)
        self._idle[site] += 1 if idle else -1
        if not self._idle[site]:
            del self._idle[site]
        if idle:
            self._timers.arm(_Idle(client.stream), now + self.config.idle_stream_timeout)
        else:
            self._timers.cancel(_Idle(client.stream))

    # --- messages of either ---------------------------------------------------------------------------
    def _handle_message(self, client: Client, data: bytes, now: float) -> None:
        allocation = client.allocation
        if data and data[0] >= 0x40:
            if allocation is not None and len(data) >= 4:
                self._relay.channel_from_client(allocation, data, now)
            return
        try:
            message = stun.parse(data)
        except ParseError as error:
            plain = classic.answer(data, client.remote) if client.transport is Transport.UDP else None
            if plain is not None:
                self.emit(SendDatagram(client.local, client.remote, plain))
            else:
                self.emit(Malformed("stun", client.remote, str(error), len(data)))
            return
        if message.message_class is MessageClass.REQUEST:
            self._control.handle_request(client, message, now)
        elif (
            allocation is not None
            and message.message_class is MessageClass.INDICATION
            and message.method == Method.SEND
        ):
            self._relay.indication_from_client(allocation, message, now)

    # --- sockets --------------------------------------------------------------------------------------
    def _handle_opened(self, key: str, local: Address, now: float) -> None:
        opening = self._opening.pop(key, None)
        if opening is not None:
            if opening.abandoned:
                self.emit(CloseUdp(local))
            else:
                self._control.relay_opened(opening, local, now)
            return
        listener = self._listeners.get(key)
        if listener is None:
            return
        self._listening[key] = local
        if listener.transport is Transport.UDP:
            self._udp[local] = {}
        self._learn_own_addresses()
        self.emit(Listening(listener.transport, local))

    def _handle_open_failed(self, key: str, reason: str, now: float) -> None:
        opening = self._opening.pop(key, None)
        if opening is not None:
            if opening.even_port and opening.tries_left > 0 and not opening.abandoned:
                opening.tries_left -= 1
                self.open_relay(opening)
                return
            client = opening.client
            if client.stream is None:
                self._udp.get(client.local, {}).pop(client.remote, None)
            if not opening.abandoned:
                self._control.relay_failed(opening, reason, now)
            return
        listener = self._listeners.get(key)
        if listener is not None:
            where = f"{listener.transport.value} {listener.address}"
            self.emit(Note("error", f"the relay cannot listen on {where}: {reason}"))
            self.emit(ListenFailed(listener.transport, listener.address, reason))

    def _learn_own_addresses(self) -> None:
        relay = self._relay
        relay.relayed_ips = frozenset(external for _, external in self._relay_ips.values())
        relay.own_ips = relay.relayed_ips.union(
            (bound for bound, _ in self._relay_ips.values()),
            (local.ip for local in self._listening.values()),
            (listener.address.ip for listener in self.config.listeners),
            self._host_ips,
        )
        relay.own_ports = {local.port for local in self._listening.values()}


def _relay_ips(config: TurnServerConfig) -> dict[int, tuple[str, str]]:
    """By family: the IP that relayed sockets are bound to, and the one they are known by."""
    found: dict[int, tuple[str, str]] = {}
    for bound, external in ((config.relay_ip, config.external_ip), (config.relay_ip6, config.external_ip6)):
        if bound is not None:
            family = Address(bound, 0).family
            if family in found:
                raise UsageError(f"two relay addresses of IPv{family}")
            found[family] = (bound, external or bound)
    return found


def _names(event: StreamAccepted) -> tuple[str, ...]:
    return event.peer.names if event.peer else ()
