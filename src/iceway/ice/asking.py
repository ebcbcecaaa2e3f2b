"""Asking servers: one job for each server and each place to ask it from, at the pace of gathering (RFC 8445 §14.1).

A job is a STUN or a TURN client from its first question to the last word about its relay. Here they are begun,
given what comes for them, listened to, and given up; what their answers mean for candidates, sockets and sessions
is told to the gatherer, in the order in which it happens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from iceway.core.address import Address, Transport
from iceway.core.machine import (
    ClockSet,
    Input,
    SendDatagram,
    StreamClosed,
    StreamCongested,
    StreamConnected,
    StreamReceived,
    earliest,
)
from iceway.core.machine import DatagramReceived as Datagram
from iceway.core.timers import Timers
from iceway.ice.checklist_set import Slots
from iceway.ice.config import GATHERING_TA, AgentConfig, IceServer, Place, Policy, ServerKind
from iceway.ice.directory import Directory
from iceway.ice.families import relay_families
from iceway.ice.interfaces import Interfaces
from iceway.ice.messages import keepalive_indication, transaction_id
from iceway.ice.servers import (
    SERVERS_PER_INTERFACE,
    HostSocket,
    Job,
    ServerState,
    claims,
    client_of,
    is_mute,
    refusal,
    said_of_expiry,
)
from iceway.trace import records
from iceway.turn.client import TurnClient
from iceway.turn.events import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    BindingFailed,
    Bound,
    PeerData,
    PeerRefused,
)
from iceway.turn.trace import stun_sent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

NO_SUCH_FAMILY = 440  # RFC 8656 §18.7
OVERLOADED = (500, 508)  # RFC 8489 §14.8, RFC 8656 §17: this server cannot, another one may
SPARE_AFTER = 1.5  # seconds of silence after which a server's next address is asked as well


class Gathering(Protocol):
    """The gatherer, as its questions see it."""

    def emit(self, output: object) -> None: ...

    def answered(self, job: Job, answer: Allocated | Bound, now: float) -> None: ...

    def refused(self, label: str, failure: AllocationFailed | BindingFailed, detail: str) -> None: ...

    def server_unreachable(self, state: ServerState, detail: str) -> None: ...

    def relayed_data(self, base: Address, peer: Address, data: bytes, now: float) -> None: ...

    def peer_refused(self, base: Address, ip: str, reason: str, now: float) -> None: ...

    def relay_lost(self, base: Address, reason: str, now: float) -> None: ...

    def mapping_doubted(self, base: Address | None) -> None: ...


class Asking:
    """All questions of one agent."""

    def __init__(
        self,
        agent: str,
        config: AgentConfig,
        pacer: Slots,
        interfaces: Interfaces,
        directory: Directory,
        rng: Random,
        owner: Gathering,
    ) -> None:
        self._agent = agent
        self._config = config
        self._pacer = pacer
        self._interfaces = interfaces
        self._directory = directory
        self._rng = rng
        self._owner = owner
        self._timers = Timers()
        self._jobs: list[Job] = []
        self._names: dict[str, Job] = {}
        self._routes: dict[tuple[Address, Address], list[Job]] = {}
        self._relays: dict[Address, Job] = {}
        self._mappings: dict[tuple[Address, Address], None] = {}
        self._waiting: list[Job] = []
        self._last_job = 0
        self._wall_offset: float | None = None
        self._closing = False

    # --- questions ---------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        return bool(self._waiting or any(not job.finished for job in self._jobs))

    @property
    def over(self) -> bool:
        """Nobody is asked and no relay is held."""
        return not self._jobs

    def is_relay(self, base: Address) -> bool:
        return base in self._relays

    def is_mute(self, ip: str, now: float) -> bool:
        return is_mute(self._jobs, ip, now)

    def carried_by(self, local: Address) -> set[Address]:
        """The bases that stand on a socket: itself, and relays reached from it."""
        return {local} | {job.relayed for job in self._jobs if job.local == local and job.relayed}

    # --- commands ----------------------------------------------------------------------------------------
    def begin(self, now: float) -> None:
        """Keep alive what was found, for as long as it may be needed."""
        self._timers.arm("keepalive", now + self._config.keepalive)

    def ask_from_everywhere(self, state: ServerState, address: Address, now: float) -> None:
        """From every interface over UDP; over connections once, wherever they leave the host."""
        if state.server.transport.is_connected:
            for component in range(1, self._config.components + 1):
                for family in relay_families(self._config, address.family):
                    self._add_job(state, address, component, None, family, now)
        else:
            for socket in self._interfaces.current:
                self.ask_from(state, address, socket, now)

    def ask_from(self, state: ServerState, address: Address, socket: HostSocket, now: float) -> None:
        if socket.local.family != address.family or state.server.transport.is_connected:
            return
        relays = state.server.kind is ServerKind.TURN
        family, *others = relay_families(self._config, address.family)
        if socket.relays_only:
            if relays and others:
                self._add_job(state, address, socket.component, socket, others[0], now)
            return
        if relays or self._config.policy is not Policy.RELAY:
            self._add_job(state, address, socket.component, socket, family, now)
        if relays and self._config.policy is Policy.ALL:
            self._add_job(state, address, socket.component, socket, family, now, scouts=True)
        if relays and others:
            self._interfaces.open_second(socket)

    def renew(self, renewed: Mapping[Place, IceServer], now: float) -> None:
        for job in self._jobs:
            server = renewed.get(job.server.place)
            if server is not None and isinstance(job.client, TurnClient):
                job.client.renew(server.username, server.password, now)

    def verify(self, now: float) -> None:
        """Whether relays still stand: a NAT that forgot us makes one unreachable without anybody saying so."""
        for job in list(self._jobs):
            left = job.retired or (job.socket is not None and job.socket.leaving)
            if job.relayed is not None and not left and job.turn.verify(now):
                job.finished, job.doubted = False, True
                self._pump(job, now)

    def release(self, keep: tuple[Address, ...], now: float) -> None:
        """Give back relays that no kept base stands on, and stop asking."""
        self._timers.cancel("keepalive")
        self._mappings.clear()
        self._waiting.clear()
        for job in list(self._jobs):
            if job.relayed is None or job.relayed not in keep:
                self._retire(job, now)

    def close(self, now: float) -> None:
        """Give everything back; sockets close when nobody says farewell through them any more."""
        self._closing = True
        self._timers.clear()
        self._waiting.clear()
        for job in list(self._jobs):
            self._retire(job, now)
        self._close_idle_sockets()

    def send(self, base: Address, remote: Address, data: bytes, now: float) -> bool:
        """Through a relay; False if the base is none."""
        job = self._relays.get(base)
        if job is None:
            return False
        job.turn.send(remote, data, now)
        self._pump(job, now)
        return True

    def permit(self, ips: tuple[str, ...], now: float) -> None:
        for job in list(self._relays.values()):
            job.turn.permit(ips, now)
            self._pump(job, now)

    def bind(self, base: Address, peer: Address, now: float) -> None:
        job = self._relays.get(base)
        if job is not None:
            job.turn.bind(peer, now)
            self._pump(job, now)

    # --- interfaces that leave ---------------------------------------------------------------------------
    def interface_left(self, ip: str, in_use: tuple[Address, ...], reason: str, now: float) -> bool:
        """Connections to servers from there are gone, but for relays in use. Says whether there are such."""
        stranded = False
        for job in [job for job in self._jobs if job.socket is None and job.local_ip == ip]:
            if job.relayed in in_use:
                stranded = True
                job.retired = True  # Another one may be asked for; this one lives for as long as it is used.
            else:
                self._abandon(job, reason, now)
        return stranded

    def socket_left(self, socket: HostSocket, reason: str, now: float) -> None:
        for job in [job for job in self._jobs if job.socket is socket]:
            self._abandon(job, reason, now)
        self._mappings = {way: None for way in self._mappings if way[0] != socket.local}

    def left_behind(self, gone: set[Address]) -> set[Address | None]:
        """Relays that are told to nobody any more: retired ones, and those reached from sockets that are gone."""
        return {job.relayed for job in self._jobs if job.retired or job.local in gone}

    # --- inputs ------------------------------------------------------------------------------------------
    def from_server(self, datagram: Datagram, now: float) -> bool:
        """Hand a datagram to the client of the server that it came from. False: it is no server's."""
        jobs = self._routes.get((datagram.local, datagram.remote))
        if jobs is None:
            return False
        for job in jobs:
            if claims(job.client, datagram.data):
                job.client.handle_input(datagram, now)
                self._pump(job, now)
                return True
        return False

    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case ClockSet(wall_offset=offset):
                self._wall_offset = offset
            case StreamConnected() | StreamReceived() | StreamClosed() | StreamCongested():
                job = self._names.get(event.stream.rpartition("/")[0])
                if job is not None:
                    job.client.handle_input(event, now)
                    self._pump(job, now)

    def handle_timeout(self, now: float) -> None:
        for job in list(self._jobs):
            at = job.client.poll_timeout()
            if at is not None and at <= now:
                job.client.handle_timeout(now)
                self._pump(job, now)
        for name in self._timers.due(now):
            match name:
                case "start":
                    self._start_next(now)
                case "keepalive":
                    self._keep_alive(now)
                case ServerState():
                    self._ask_spare(name, now)

    def poll_timeout(self) -> float | None:
        return earliest(self._timers.next_at(), *(job.client.poll_timeout() for job in self._jobs))

    # --- beginning ---------------------------------------------------------------------------------------
    def _add_job(
        self,
        state: ServerState,
        address: Address,
        component: int,
        socket: HostSocket | None,
        family: int,
        now: float,
        *,
        scouts: bool = False,
    ) -> None:
        server = state.server
        for other in self._jobs:
            same_place = other.socket is socket and other.address == address and other.component == component
            same_way = other.server.transport is server.transport and (socket or other.family == family)
            if same_place and same_way and other.scouts == scouts and not other.retired:
                return  # Asked there already; a TURN server answers what a STUN server would.
        self._last_job += 1
        name = f"{self._agent}/server.{self._last_job}"
        rank = (socket.rank if socket else 0) * SERVERS_PER_INTERFACE + min(
            state.rank, SERVERS_PER_INTERFACE - 1
        )
        # Servers of RFC 5766 know no families: IPv4 is what they give when nothing is said.
        asked_family = None if family == 4 else family
        client = client_of(name, server, address, socket, asked_family, self._rng, scouts=scouts)
        if client is None:
            return
        job = Job(state, address, component, rank, socket, client, family, scouts=scouts)
        state.asked = True
        self._jobs.append(job)
        self._names[name] = job
        self._route(job, address)
        self._waiting.append(job)
        if self._timers.at("start") is None:
            self._timers.arm("start", self._pacer.reserve(now, GATHERING_TA))

    def _start_next(self, now: float) -> None:
        if self._waiting:
            job = self._waiting.pop(0)
            job.start(now)
            if job.server.address is None and not job.state.alive:
                self._timers.arm(job.state, now + SPARE_AFTER)
            self._pump(job, now)
        if self._waiting:
            self._timers.arm("start", self._pacer.reserve(now, GATHERING_TA))

    def _ask_spare(self, state: ServerState, now: float) -> None:
        """Nobody has answered for a while, though nobody has given up either."""
        if state.spares and not state.alive:
            self._directory.try_spare(state, now)

    def _route(self, job: Job, address: Address) -> None:
        if job.socket is not None:
            self._routes.setdefault((job.socket.local, address), []).append(job)

    def _pump(self, job: Job, now: float) -> None:
        """Everything a client said, in order."""
        while (output := job.client.poll_output()) is not None:
            match output:
                case Allocated() | Bound():
                    self._answered(job, output, now)
                case AllocationFailed() | BindingFailed():
                    self._refused(job, output, now)
                case AllocationLost(reason=reason):
                    self._lost(job, f"the relay is gone: {reason}", now)
                case PeerData(peer=peer, data=data):
                    if job.relayed is not None:
                        self._owner.relayed_data(job.relayed, peer, data, now)
                case PeerRefused(peer_ip=ip, code=code, reason=reason):
                    if job.relayed is not None:
                        self._owner.peer_refused(job.relayed, ip, refusal(ip, code, reason), now)
                case _:
                    self._owner.emit(output)
        if job.client.server != job.address:
            job.address = job.client.server  # The server sent us to another one (300).
            self._route(job, job.address)
        if job.ended:
            self._forget(job)

    def _answered(self, job: Job, answer: Allocated | Bound, now: float) -> None:
        first, job.answered, job.finished, job.doubted = not job.answered, True, True, False
        job.state.alive = job.state.alive or not job.scouts
        if first and not job.scouts:
            self._owner.emit(
                records.ServerAnswered(self._agent, job.server.label, job.local, answer.round_trip)
            )
        if job.socket is not None:
            self._mappings[job.socket.local, job.address] = None
        if isinstance(answer, Allocated):
            job.relayed = answer.relayed
            self._relays[answer.relayed] = job
        self._owner.answered(job, answer, now)

    def _refused(self, job: Job, failure: AllocationFailed | BindingFailed, now: float) -> None:
        job.finished = True
        if job.scouts:
            return
        label = job.server.label
        if failure.code is None:
            self._owner.server_unreachable(job.state, failure.detail)
            self._directory.try_spare(job.state, now)
            return
        job.state.alive = True
        if failure.code in OVERLOADED:
            self._directory.try_spare(job.state, now)
        if failure.code == NO_SUCH_FAMILY and job.family == 6:
            self._owner.emit(records.Note("info", f"{label} has no relayed addresses of IPv6"))
        else:
            detail = failure.detail
            if failure.code == 401 and self._wall_offset is not None:
                detail += said_of_expiry(job.server.username, now + self._wall_offset)
            self._owner.refused(label, failure, detail)
        if isinstance(failure, AllocationFailed) and job.socket is not None and not self._closing:
            # It relays nothing for us, but it lives, and tells anybody their address.
            state = ServerState(replace(job.server, kind=ServerKind.STUN), job.rank % SERVERS_PER_INTERFACE)
            self._forget(job)
            self.ask_from(state, job.address, job.socket, now)

    def _lost(self, job: Job, reason: str, now: float) -> None:
        base = job.relayed
        self._forget(job)
        if base is not None:
            self._owner.relay_lost(base, reason, now)
        if job.doubted and not self._closing and not job.retired:
            self._owner.mapping_doubted(job.local)
            self.ask_from_everywhere(job.state, job.address, now)

    def _abandon(self, job: Job, reason: str, now: float) -> None:
        """The way to the server is gone, so there is nobody to say goodbye to."""
        if not (job.finished or job.scouts):
            self._owner.emit(records.ServerUnreachable(self._agent, job.server.label, reason))
        if job.socket is None:
            job.client.close(now)
            self._pump(job, now)
        self._lost(job, reason, now)

    def _retire(self, job: Job, now: float) -> None:
        """Stop asking, or give the relay back; a relay over UDP lives on until that is said."""
        if not (job.finished or job.scouts) and job.started_at is not None:
            detail = f"no answer in {now - job.started_at:.1f} s; then it was not needed any more"
            self._owner.emit(records.ServerUnreachable(self._agent, job.server.label, detail))
        job.finished = job.retired = True
        base = job.relayed
        job.client.close(now)
        self._pump(job, now)
        if base is not None:
            self._relays.pop(base, None)
            job.relayed = None
            if not self._closing:
                self._owner.relay_lost(base, "the relay was given back unused", now)

    def _forget(self, job: Job) -> None:
        if job not in self._jobs:
            return
        self._jobs.remove(job)
        job.finished = True
        del self._names[job.client.name]
        if job in self._waiting:
            self._waiting.remove(job)
        if job.relayed is not None and self._relays.get(job.relayed) is job:
            del self._relays[job.relayed]
        self._routes = {
            way: rest
            for way, jobs in self._routes.items()
            if (rest := [other for other in jobs if other is not job])
        }
        if self._closing:
            self._close_idle_sockets()

    def _keep_alive(self, now: float) -> None:
        """Mappings that candidates stand on must outlive a long ringing (RFC 8445 §5.1.1.4), connections too."""
        for local, server in self._mappings:
            data = keepalive_indication(transaction_id(self._rng))
            self._owner.emit(SendDatagram(local, server, data))
            self._owner.emit(stun_sent(data, Transport.UDP, local, server))
        for job in [job for job in self._relays.values() if job.socket is None]:
            job.turn.keep_alive(now)
            self._pump(job, now)
        self._timers.arm("keepalive", now + self._config.keepalive)

    def _close_idle_sockets(self) -> None:
        """While closing: a socket goes as soon as no relay says farewell through it."""
        for local in list(self._interfaces.sockets):
            if all(job.local != local for job in self._jobs):
                self._interfaces.close(local)
