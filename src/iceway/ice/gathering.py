"""Gathering: sockets, servers, and the candidates they give (RFC 8445 §5.1.1), as each is found.

All servers are asked at once from every interface (`ice/asking.py`); a dead one delays nobody. This room of the
agent also owns what candidates stand on, sockets and relays, and so carries what is sent from a base and routes what
comes from a server. A base is the address of a socket, or a relayed address.

*Settled* comes before *done*: every server that is going to answer soon has, so an offer may go out, while a
dead server still gets its 39.5 s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from iceway.core.address import Address
from iceway.core.machine import DatagramReceived as Datagram
from iceway.core.machine import Input, Resolved, SendDatagram, UdpFailed, UdpOpened, earliest
from iceway.core.timers import Timers
from iceway.ice.asking import Asking
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.config import AgentConfig, IceServer, Policy, ServerKind
from iceway.ice.directory import Directory
from iceway.ice.interfaces import Change, Interfaces
from iceway.ice.making import Maker
from iceway.ice.servers import HostSocket, Job, ServerState, not_asked
from iceway.ice.settling import Settling
from iceway.trace import records
from iceway.turn.events import Allocated, AllocationFailed, BindingFailed, Bound

if TYPE_CHECKING:
    from random import Random


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
        self._owner = owner
        self._timers = Timers()
        self.maker = Maker(config, together.foundations, name_of)
        self._interfaces = Interfaces(agent, config, owner.emit)
        self._directory = Directory(agent, self, rng)
        self._asking = Asking(agent, config, together.gathering, self._interfaces, self._directory, rng, self)
        self._repeated: set[tuple[CandidateType, Address]] = set()
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
        self._asking.renew(renewed, now)

    def again(self, now: float) -> None:
        """For a restart: ask anew whoever is not asked or answering any more, and whether relays still stand."""
        self._begin(now)
        self._asking.verify(now)
        self._ask_again(now)

    def release(self, keep: tuple[Address, ...], now: float) -> None:
        """Give back relays that no kept base stands on, and stop asking (RFC 8445 §8.3)."""
        self._asking.release(keep, now)

    def close(self, now: float) -> None:
        self._closing = True
        self._interfaces.close_all()
        self._timers.clear()
        self._directory.stop()
        self._asking.close(now)

    def send(self, base: Address, remote: Address, data: bytes, now: float) -> None:
        """From a socket, or through a relay."""
        if not self._asking.send(base, remote, data, now):
            self._owner.emit(SendDatagram(base, remote, data))

    def permit(self, ips: tuple[str, ...], now: float) -> None:
        self._asking.permit(ips, now)

    def bind(self, base: Address, peer: Address, now: float) -> None:
        """A channel for the peer that media will go to, if the base is a relay."""
        self._asking.bind(base, peer, now)

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
        return self._interfaces.opening or self._directory.busy or self._asking.busy

    @property
    def closed(self) -> bool:
        """Nothing is left: every relay was told goodbye and every socket closed."""
        left = self._interfaces.sockets or self._interfaces.opening
        return self._closing and self._asking.over and not left

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The IPs of those that are there, best first."""
        return self._interfaces.here

    def socket(self, local: Address) -> HostSocket | None:
        return self._interfaces.sockets.get(local)

    def is_relay(self, base: Address) -> bool:
        return self._asking.is_relay(base)

    def is_socket(self, base: Address) -> bool:
        return self._interfaces.is_base(base)

    def is_mute(self, base: Address, now: float) -> bool:
        """Whether servers stay silent on this interface that answer elsewhere."""
        return self._asking.is_mute(base.ip, now)

    # --- inputs ------------------------------------------------------------------------------------------
    def from_server(self, datagram: Datagram, now: float) -> bool:
        """Hand a datagram to the client of the server that it came from. False: it is no server's."""
        return self._asking.from_server(datagram, now)

    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case UdpOpened(key=key, local=local):
                self._opened(key, local, now)
            case UdpFailed(key=key, reason=reason):
                if self._interfaces.failed(key):
                    self._owner.emit(records.Note("warning", f"no UDP socket for ICE: {reason}"))
            case Resolved():
                self._directory.resolved(event, now)
            case _:
                self._asking.handle_input(event, now)

    def handle_timeout(self, now: float) -> None:
        self._asking.handle_timeout(now)
        self._timers.due(now)  # "settle": the agent asks `is_settled` after every input.

    def poll_timeout(self) -> float | None:
        return earliest(self._timers.next_at(), self._asking.poll_timeout())

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
        self._asking.begin(now)

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
                self._asking.ask_from(state, address, socket, now)

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
            if socket.leaving and not self._asking.carried_by(socket.local) & set(in_use):
                self._drop(socket, now)

    def _leave(self, ip: str, in_use: tuple[Address, ...], now: float) -> bool:
        """True if a path in use stands on this interface."""
        reason = f"the interface {ip} is gone"
        stranded = self._asking.interface_left(ip, in_use, reason, now)
        for socket in self._interfaces.leave(ip):
            if self._asking.carried_by(socket.local) & set(in_use):
                stranded = True
            else:
                self._drop(socket, now)
        gone = {socket.local for socket in self._interfaces.sockets.values() if socket.leaving}
        lost = self._asking.left_behind(gone)
        on_it = {
            c.base
            for c in self.candidates
            if c.base and c.base.ip == ip and not self._asking.is_relay(c.base)
        }
        self.candidates = [c for c in self.candidates if c.base not in lost | on_it]
        return stranded

    def forget_base(self, base: Address) -> None:
        self.candidates = [c for c in self.candidates if c.base != base]

    def _drop(self, socket: HostSocket, now: float) -> None:
        reason = f"the interface {socket.local.ip} is gone"
        self._asking.socket_left(socket, reason, now)
        self.candidates = [c for c in self.candidates if c.base != socket.local]
        self._interfaces.close(socket.local)
        self._owner.base_lost(socket.local, reason, now)

    # --- servers -----------------------------------------------------------------------------------------
    def emit(self, output: object) -> None:
        self._owner.emit(output)

    def server_found(self, state: ServerState, address: Address, now: float) -> None:
        self._asking.ask_from_everywhere(state, address, now)
        self._owner.server_found(state.server, address, now)

    def server_unreachable(self, state: ServerState, detail: str) -> None:
        self._owner.emit(records.ServerUnreachable(self._agent, state.server.label, detail))
        self.troubles[f"{state.server.label}: {detail}"] = None

    def _ask_again(self, now: float) -> None:
        for state in self._directory.servers:
            for address in state.addresses:
                self.server_found(state, address, now)

    def answered(self, job: Job, answer: Allocated | Bound, now: float) -> None:
        self._settling.answered(answer.round_trip)
        socket = job.socket
        shown = socket is not None and not socket.relays_only and self._config.policy is not Policy.RELAY
        if socket is not None and shown and answer.mapped is not None:
            self.add(self.maker.reflexive(job, socket, answer.mapped), now)
        if isinstance(answer, Allocated):
            self.add(self.maker.relayed(job, answer), now)

    def refused(self, label: str, failure: AllocationFailed | BindingFailed, detail: str) -> None:
        assert failure.code is not None
        self.troubles[f"{label} refused: {detail}"] = None
        self._owner.emit(records.ServerRefused(self._agent, label, failure.code, failure.reason, detail))

    def relayed_data(self, base: Address, peer: Address, data: bytes, now: float) -> None:
        self._owner.relayed_data(base, peer, data, now)

    def peer_refused(self, base: Address, ip: str, reason: str, now: float) -> None:
        self._owner.peer_refused(base, ip, reason, now)

    def relay_lost(self, base: Address, reason: str, now: float) -> None:
        self.forget_base(base)
        self._owner.base_lost(base, reason, now)

    def mapping_doubted(self, base: Address | None) -> None:
        """A NAT may have forgotten us: what it showed of this socket is to be found out anew."""
        self.candidates = [c for c in self.candidates if c.type is not CandidateType.SRFLX or c.base != base]

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
