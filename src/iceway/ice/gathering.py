"""Gathering: sockets, servers, and the candidates they give (RFC 8445 §5.1.1), as each is found.

All servers are asked at once from every interface; a dead one delays nobody. This room of the agent also owns
what candidates stand on, sockets and relays, and so carries what is sent from a base and routes what comes
from a server. A base is the address of a socket, or a relayed address.

*Settled* comes before *done*: every server that is going to answer soon has, so an offer may go out, while a
dead server still gets its 39.5 s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from iceway.core.address import Address, Transport
from iceway.core.machine import (
    ClockSet,
    Input,
    Resolved,
    SendDatagram,
    StreamClosed,
    StreamCongested,
    StreamConnected,
    StreamReceived,
    UdpFailed,
    UdpOpened,
    earliest,
)
from iceway.core.machine import DatagramReceived as Datagram
from iceway.core.timers import Timers
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.config import GATHERING_TA, AgentConfig, IceServer, Policy, ServerKind
from iceway.ice.directory import Directory
from iceway.ice.families import relay_families
from iceway.ice.interfaces import Change, Interfaces
from iceway.ice.making import Maker
from iceway.ice.messages import keepalive_indication, transaction_id
from iceway.ice.servers import (
    SERVERS_PER_INTERFACE,
    HostSocket,
    Job,
    ServerState,
    claims,
    client_of,
    is_mute,
    not_asked,
    refusal,
    said_of_expiry,
)
from iceway.ice.settling import Settling
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
    from random import Random

NO_SUCH_FAMILY = 440  # RFC 8656 §18.7
OVERLOADED = (500, 508)  # RFC 8489 §14.8, RFC 8656 §17: this server cannot, another one may
SPARE_AFTER = 1.5  # seconds of silence after which a server's next address is asked as well


class Owner(Protocol):
    """The agent, as its gatherer sees it."""

    def emit(self, output: object) -> None: ...

    def candidate_found(self, candidate: Candidate, now: float) -> None: ...

    def server_found(self, server: IceServer, address: Address, now: float) -> None: ...

    def relayed_data(self, base: Address, peer: Address, data: bytes, now: float) -> None: ...

    def peer_refused(self, base: Address, ip: str, reason: str, now: float) -> None: ...

    def base_lost(self, base: Address, reason: str, now: float) -> None: ...


class Gatherer:
    """Sockets, servers and relays of one agent. Its outputs leave through the owner's queue."""

    def __init__(
        self,
        agent: str,
        config: AgentConfig,
        together: ChecklistSet,
        rng: Random,
        owner: Owner,
        name_of: Callable[[str], str | None] = lambda ip: None,
    ) -> None:
        self.candidates: list[Candidate] = []
        self.started = False
        self.troubles: dict[str, None] = {}
        """What servers that gave nothing said, in words; for the summary of a failure."""
        self._agent = agent
        self._config = config
        self._rng = rng
        self._owner = owner
        self._timers = Timers()
        self.maker = Maker(config, together.foundations, name_of)
        self._pacer = together.gathering
        self._interfaces = Interfaces(agent, config, owner.emit)
        self._directory = Directory(agent, self, rng)
        self._jobs: list[Job] = []
        self._names: dict[str, Job] = {}
        self._routes: dict[tuple[Address, Address], list[Job]] = {}
        self._relays: dict[Address, Job] = {}
        self._mappings: dict[tuple[Address, Address], None] = {}
        self._waiting: list[Job] = []
        self._repeated: set[tuple[CandidateType, Address]] = set()
        self._last_job = 0
        self._wall_offset: float | None = None
        self._settling = Settling()
        self._closing = False

    @property
    def began_at(self) -> float:
        return self._settling.began_at

    @property
    def settled(self) -> bool:
        return self._settling.settled

    # --- commands ----------------------------------------------------------------------------------------
    def gather(self, interfaces: tuple[str, ...], servers: tuple[IceServer, ...], now: float) -> None:
        usable = self._interfaces.usable(interfaces)
        labels = tuple(server.label for server in servers)
        self._owner.emit(records.GatheringStarted(self._agent, usable, labels))
        self._begin(now)
        self._interfaces.come(usable)
        self.add_servers(servers, now)

    def add_servers(self, servers: tuple[IceServer, ...], now: float) -> None:
        """Further servers. A lite agent has host candidates only (RFC 8445 §5.2)."""
        self._begin(now)
        for server in servers:
            if reason := not_asked(server, self._config):
                self._owner.emit(records.ServerSkipped(self._agent, server.label, reason))
                continue
            if self._config.policy is Policy.NO_RELAY:
                server = replace(server, kind=ServerKind.STUN)
            self._directory.add(server, self._interfaces.families, now)

    def renew_servers(self, servers: tuple[IceServer, ...], now: float) -> None:
        """New credentials for known servers: relays go on with them, later questions start with them."""
        renewed = {server.place: server for server in servers}
        self._directory.renew(renewed)
        for job in self._jobs:
            server = renewed.get(job.server.place)
            if server is not None and isinstance(job.client, TurnClient):
                job.client.renew(server.username, server.password, now)

    def again(self, now: float) -> None:
        """For a restart: ask anew whoever is not asked or answering any more, and whether relays still stand.

        A NAT that forgot us makes a relay unreachable without anybody saying so.
        """
        self._begin(now)
        for job in list(self._jobs):
            left = job.retired or (job.socket is not None and job.socket.leaving)
            if job.relayed is not None and not left and job.turn.verify(now):
                job.finished, job.doubted = False, True
                self._pump(job, now)
        self._ask_again(now)

    def release(self, keep: tuple[Address, ...], now: float) -> None:
        """Give back relays that no kept base stands on, and stop asking (RFC 8445 §8.3)."""
        self._timers.cancel("keepalive")
        self._mappings.clear()
        self._waiting.clear()
        for job in list(self._jobs):
            if job.relayed is None or job.relayed not in keep:
                self._retire(job, now)

    def close(self, now: float) -> None:
        self._closing = True
        self._interfaces.close_all()
        self._timers.clear()
        self._directory.stop()
        self._waiting.clear()
        for job in list(self._jobs):
            self._retire(job, now)
        self._close_idle_sockets()

    def send(self, base: Address, remote: Address, data: bytes, now: float) -> None:
        """From a socket, or through a relay."""
        job = self._relays.get(base)
        if job is None:
            self._owner.emit(SendDatagram(base, remote, data))
        else:
            job.turn.send(remote, data, now)
            self._pump(job, now)

    def permit(self, ips: tuple[str, ...], now: float) -> None:
        for job in list(self._relays.values()):
            job.turn.permit(ips, now)
            self._pump(job, now)

    def bind(self, base: Address, peer: Address, now: float) -> None:
        """A channel for the peer that media will go to, if the base is a relay."""
        job = self._relays.get(base)
        if job is not None:
            job.turn.bind(peer, now)
            self._pump(job, now)

    def account(self) -> None:
        """Gathering is done: say of servers that were found and not asked why that is."""
        for state in self._directory.servers:
            if not state.asked and not state.server.asks_for_tcp:
                state.asked = True
                family = state.addresses[0].family
                reason = f"no interface here speaks IPv{family}, which is all that it has"
                if family in self._interfaces.families:
                    reason = "it is asked already, under another name or kind"
                self._owner.emit(records.ServerSkipped(self._agent, state.server.label, reason))

    # --- questions ---------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        return bool(
            self._interfaces.opening
            or self._directory.busy
            or self._waiting
            or any(not job.finished for job in self._jobs)
        )

    @property
    def closed(self) -> bool:
        """Nothing is left: every relay was told goodbye and every socket closed."""
        return self._closing and not (self._jobs or self._interfaces.sockets or self._interfaces.opening)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The IPs of those that are there, best first."""
        return self._interfaces.here

    def socket(self, local: Address) -> HostSocket | None:
        return self._interfaces.sockets.get(local)

    def is_relay(self, base: Address) -> bool:
        return base in self._relays

    def is_socket(self, base: Address) -> bool:
        return self._interfaces.is_base(base)

    def is_mute(self, base: Address, now: float) -> bool:
        """Whether servers stay silent on this interface that answer elsewhere."""
        return is_mute(self._jobs, base.ip, now)

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
            case UdpOpened(key=key, local=local):
                self._opened(key, local, now)
            case UdpFailed(key=key, reason=reason):
                if self._interfaces.failed(key):
                    self._owner.emit(records.Note("warning", f"no UDP socket for ICE: {reason}"))
            case Resolved():
                self._directory.resolved(event, now)
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
                case "settle":
                    pass  # The agent asks `is_settled` after every input.
                case "keepalive":
                    self._keep_alive(now)
                case ServerState():
                    self._ask_spare(name, now)

    def poll_timeout(self) -> float | None:
        return earliest(self._timers.next_at(), *(job.client.poll_timeout() for job in self._jobs))

    def is_settled(self, now: float, *, busy: bool = False) -> bool:
        """Whether waiting longer is unlikely to bring more. Stays true until something new is asked.

        `busy`: somebody else still waits for servers.
        """
        if not self.settled and self.started:
            at = self._settling.at(
                [candidate.type for candidate in self.candidates],
                busy=busy or self.busy,
                relays_wanted=self._directory.relays_wanted,
            )
            if at > now:
                self._timers.arm("settle", at)
                return False
            self._timers.cancel("settle")
            self._settling.settled = True
        return self.settled

    # --- sockets -----------------------------------------------------------------------------------------
    def _begin(self, now: float) -> None:
        self.started = True
        self._settling.begin(now)
        self.troubles.clear()
        self._timers.arm("keepalive", now + self._config.keepalive)

    def _opened(self, key: str, local: Address, now: float) -> None:
        socket = self._interfaces.opened(key, local)
        if socket is None:
            return
        if self._config.policy is not Policy.RELAY and not socket.relays_only:
            self.add(self.maker.host(socket), now)
            external = self.maker.external(socket)
            if external is not None:
                self.add(external, now)
        for state in self._directory.servers:
            for address in state.addresses:
                self._ask_from(state, address, socket, now)

    def addresses_changed(self, ips: tuple[str, ...], in_use: tuple[Address, ...], now: float) -> Change:
        """Gather from interfaces that came, let go of those that left; bases `in_use` stay for the time being."""
        change = self._interfaces.changed(ips)
        if not change:
            return change
        families = self._interfaces.families
        stranded = tuple(ip for ip in change.left if self._leave(ip, in_use, now))
        self._begin(now)
        self._interfaces.come(change.came)
        if self._interfaces.families != families:
            self._directory.widen(self._interfaces.families, now)
        if stranded or not in_use:
            self._ask_again(now)
        return replace(change, stranded=stranded)

    def drop_left(self, in_use: tuple[Address, ...], now: float) -> None:
        """Close what was kept of interfaces that left, as soon as no path uses it."""
        for socket in list(self._interfaces.sockets.values()):
            if socket.leaving and not self._carried_by(socket.local) & set(in_use):
                self._drop(socket, now)

    def _leave(self, ip: str, in_use: tuple[Address, ...], now: float) -> bool:
        """True if a path in use stands on this interface."""
        reason = f"the interface {ip} is gone"
        stranded = False
        for job in [job for job in self._jobs if job.socket is None and job.local_ip == ip]:
            if job.relayed in in_use:
                stranded = True
                job.retired = True  # Another one may be asked for; this one lives for as long as it is used.
            else:
                self._abandon(job, reason, now)
        for socket in self._interfaces.leave(ip):
            if self._carried_by(socket.local) & set(in_use):
                stranded = True
            else:
                self._drop(socket, now)
        gone = {socket.local for socket in self._interfaces.sockets.values() if socket.leaving}
        lost = {job.relayed for job in self._jobs if job.retired or job.local in gone}
        on_it = {c.base for c in self.candidates if c.base and c.base.ip == ip and c.base not in self._relays}
        self.candidates = [c for c in self.candidates if c.base not in lost | on_it]
        return stranded

    def forget_base(self, base: Address) -> None:
        self.candidates = [c for c in self.candidates if c.base != base]

    def _carried_by(self, local: Address) -> set[Address]:
        return {local} | {job.relayed for job in self._jobs if job.local == local and job.relayed}

    def _drop(self, socket: HostSocket, now: float) -> None:
        reason = f"the interface {socket.local.ip} is gone"
        for job in [job for job in self._jobs if job.socket is socket]:
            self._abandon(job, reason, now)
        self._mappings = {way: None for way in self._mappings if way[0] != socket.local}
        self.candidates = [c for c in self.candidates if c.base != socket.local]
        self._interfaces.close(socket.local)
        self._owner.base_lost(socket.local, reason, now)

    def _close_idle_sockets(self) -> None:
        """While closing: a socket goes as soon as no relay says farewell through it."""
        for local in list(self._interfaces.sockets):
            if all(job.local != local for job in self._jobs):
                self._interfaces.close(local)

    # --- servers -----------------------------------------------------------------------------------------
    def emit(self, output: object) -> None:
        self._owner.emit(output)

    def server_found(self, state: ServerState, address: Address, now: float) -> None:
        self._ask_from_everywhere(state, address, now)
        self._owner.server_found(state.server, address, now)

    def server_unreachable(self, state: ServerState, detail: str) -> None:
        self._owner.emit(records.ServerUnreachable(self._agent, state.server.label, detail))
        self.troubles[f"{state.server.label}: {detail}"] = None

    def _ask_again(self, now: float) -> None:
        for state in self._directory.servers:
            for address in state.addresses:
                self.server_found(state, address, now)

    def _ask_from_everywhere(self, state: ServerState, address: Address, now: float) -> None:
        if state.server.transport.is_connected:
            for component in range(1, self._config.components + 1):
                for family in relay_families(self._config, address.family):
                    self._add_job(state, address, component, None, family, now)
        else:
            for socket in self._interfaces.current:
                self._ask_from(state, address, socket, now)

    def _ask_from(self, state: ServerState, address: Address, socket: HostSocket, now: float) -> None:
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
        self._settling.answered(answer.round_trip)
        if first and not job.scouts:
            self._owner.emit(
                records.ServerAnswered(self._agent, job.server.label, job.local, answer.round_trip)
            )
        if job.socket is not None:
            self._mappings[job.socket.local, job.address] = None
        shown = (
            job.socket is not None and not job.socket.relays_only and self._config.policy is not Policy.RELAY
        )
        if job.socket is not None and shown and answer.mapped is not None:
            self.add(self.maker.reflexive(job, job.socket, answer.mapped), now)
        if isinstance(answer, Allocated):
            job.relayed = answer.relayed
            self._relays[answer.relayed] = job
            self.add(self.maker.relayed(job, answer), now)

    def _refused(self, job: Job, failure: AllocationFailed | BindingFailed, now: float) -> None:
        job.finished = True
        if job.scouts:
            return
        label = job.server.label
        if failure.code is None:
            self.server_unreachable(job.state, failure.detail)
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
            self.troubles[f"{label} refused: {detail}"] = None
            self._owner.emit(records.ServerRefused(self._agent, label, failure.code, failure.reason, detail))
        if isinstance(failure, AllocationFailed) and job.socket is not None and not self._closing:
            # It relays nothing for us, but it lives, and tells anybody their address.
            state = ServerState(replace(job.server, kind=ServerKind.STUN), job.rank % SERVERS_PER_INTERFACE)
            self._forget(job)
            self._ask_from(state, job.address, job.socket, now)

    def _lost(self, job: Job, reason: str, now: float) -> None:
        base = job.relayed
        self._forget(job)
        if base is not None:
            self.candidates = [candidate for candidate in self.candidates if candidate.base != base]
            self._owner.base_lost(base, reason, now)
        if job.doubted and not self._closing and not job.retired:
            stale = job.socket and job.socket.local
            self.candidates = [
                c for c in self.candidates if c.type is not CandidateType.SRFLX or c.base != stale
            ]
            self._ask_from_everywhere(job.state, job.address, now)

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
                self.candidates = [candidate for candidate in self.candidates if candidate.base != base]
                self._owner.base_lost(base, "the relay was given back unused", now)

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

    # --- candidates --------------------------------------------------------------------------------------
    def add(self, candidate: Candidate, now: float) -> None:
        """RFC 8445 §5.1.3: what repeats a better candidate is pruned."""
        for known in self.candidates:
            if (
                known.type is candidate.type
                and known.address == candidate.address
                and known.base == candidate.base
            ):
                return  # Asked again, same answer.
            hidden = known.name is not None  # Then the public address is news, although it is the same.
            if known.address == candidate.address and known.base == candidate.base and not hidden:
                repeated = candidate.type, candidate.address
                if repeated not in self._repeated:
                    self._repeated.add(repeated)
                    pruned = records.CandidatePruned(self._agent, candidate.info, f"repeats {known}")
                    self._owner.emit(pruned)
                return
        candidate = self.maker.ranked(candidate, self.candidates)
        self.candidates.append(candidate)
        self._owner.emit(records.CandidateGathered(self._agent, candidate.info))
        self._owner.candidate_found(candidate, now)
