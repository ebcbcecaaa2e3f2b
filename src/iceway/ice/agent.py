"""The ICE agent (RFC 8445, 8838): one media transport's way through whatever stands between two hosts.

    agent = Agent("call.1/ice", AgentConfig(controlling=True), rng)
    agent.gather(("192.0.2.1",), (IceServer(ServerKind.TURN, "av.example.test", …),), now)
    …tell the peer agent.local_ufrag, agent.local_pwd and the candidates of CandidateFound events…
    agent.set_remote(ufrag, pwd, now); agent.add_remote_candidate(candidate, now); …
    …PairValid: media may flow; Selected: this is the path; agent.send(data, now); DataReceived…

Candidates may be exchanged at any time, in any order, early and late. Checks start by themselves as soon as
the peer's user name and password are known. The agent is a gatherer, which owns sockets and relays, and a
session, which owns pairs and checks; a restart makes a new session while the old one carries the media on
(`ice/generations.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import AddressesChanged, Input, Outbox, earliest
from iceway.core.machine import DatagramReceived as Datagram
from iceway.core.timers import Timers
from iceway.ice.attempts import so_far
from iceway.ice.candidate import Candidate, CandidateType, NamedCandidate
from iceway.ice.checklist import CandidatePair
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.config import AgentConfig, IceServer, Policy
from iceway.ice.events import (
    CandidateFound,
    CandidatePath,
    DataReceived,
    Failed,
    GatheringDone,
    GatheringSettled,
    IceState,
    RestartNeeded,
    StateChanged,
)
from iceway.ice.gathering import Gatherer
from iceway.ice.generations import Generations
from iceway.ice.mdns import Names
from iceway.ice.messages import Credentials, check_error
from iceway.ice.session import Session
from iceway.ice.statistics import Report, report
from iceway.ice.statistics import Transport as Transported
from iceway.ice.tcp import TcpWays
from iceway.trace import records
from iceway.turn.trace import stun_received, stun_sent
from iceway.wire import stun
from iceway.wire.stun import MessageClass, Method

if TYPE_CHECKING:
    from random import Random

MAX_MALFORMED = 32  # records of undecodable datagrams; what follows is dropped silently


class Agent(Outbox):
    """Machine. Commands take `now` last; events are those of `ice/events.py`.

    `local` are the user name and password to begin with, where they are given: bundled media share them.
    `together` joins it with the agents of other data streams; see `Streams`.
    """

    def __init__(
        self,
        name: str,
        config: AgentConfig,
        rng: Random,
        local: Credentials | None = None,
        together: ChecklistSet | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.state = IceState.NEW
        self._config = config
        self._rng = rng
        self._together = together or ChecklistSet(config.controlling and not config.lite)
        self._names = Names(name, config.mdns and config.policy is not Policy.RELAY, rng, self)
        self._gatherer = Gatherer(name, config, self._together, rng, self, self._names.name_of)
        self._tcp = TcpWays(name, config, self._gatherer.maker, rng, self)
        self._generations = Generations(name, config, local, self._together, rng, self)
        self._timers = Timers()
        self._named: list[NamedCandidate] = []
        self._permitted: tuple[str, ...] = ()
        self._told_settled = self._told_done = True
        self._malformed = 0

    # --- what an application asks ------------------------------------------------------------------------
    @property
    def local_ufrag(self) -> str:
        return self._session.local.ufrag

    @property
    def local_pwd(self) -> str:
        return self._session.local.pwd

    @property
    def local_ufrags(self) -> tuple[str, ...]:
        """Every ufrag that checks of the peer may name: during a restart those of the old session, too."""
        return tuple(session.local.ufrag for session in self._generations)

    @property
    def local_candidates(self) -> tuple[Candidate, ...]:
        """What to tell the peer, in the order of finding."""
        return tuple(self._gatherer.candidates)

    @property
    def remote_ufrag(self) -> str | None:
        return self._session.remote.ufrag if self._session.remote else None

    @property
    def role(self) -> str:
        return "controlling" if self._session.controlling else "controlled"

    @property
    def peer_heard(self) -> bool:
        """Whether an authentic check of the peer came: it has what it was told of us, and looks for a path too."""
        return any(pair.counts.requests_received for pair in self._session.pairs)

    @property
    def lite(self) -> bool:
        """Whether SDP must say `a=ice-lite`."""
        return self._config.lite

    @property
    def pacing(self) -> float:
        """The seconds between two checks that we propose: `a=ice-pacing`, there in milliseconds (RFC 8839 §5.5)."""
        return self._config.ta

    @property
    def renomination(self) -> bool:
        """Whether to announce the ICE option `renomination`: the path may move after it was selected."""
        return self._config.renomination and not self._config.lite

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The addresses of this host that candidates are found on, as they are now."""
        return self._gatherer.interfaces

    @property
    def gathering_settled(self) -> bool:
        """Whether the candidates so far are a sensible offer (see `GatheringSettled`)."""
        return self._gatherer.settled

    @property
    def gathering_done(self) -> bool:
        """Whether no more candidates are to come (see `GatheringDone`)."""
        return self._gatherer.started and self._told_done

    @property
    def closed(self) -> bool:
        """After `close`: nothing is left to do, the machine may be dropped."""
        return self.state is IceState.CLOSED and self._gatherer.closed and not self._tcp.opening

    @property
    def selected(self) -> CandidatePath | None:
        """The nominated path of component 1; see `selected_path` for others."""
        return self.selected_path()

    def selected_path(self, component: int = 1) -> CandidatePath | None:
        pair = self._session.selected(component)
        return pair.path if pair else None

    def active_path(self, component: int = 1) -> CandidatePath | None:
        """The path that `send` uses now: nominated, or the best valid one until then."""
        pair = self._generations.active(component)
        return pair.path if pair else None

    def default_candidate(self, component: int = 1) -> Candidate | None:
        """For peers without ICE: the likeliest to work (RFC 8445 §5.1.4), relayed before reflexive before host."""
        found = [
            c
            for c in self._gatherer.candidates
            if c.component == component and c.transport is Transport.UDP and c.name is None
        ]
        order = (CandidateType.RELAY, CandidateType.SRFLX, CandidateType.HOST)
        return min(found, key=lambda c: (c.address.family, order.index(c.type), -c.priority), default=None)

    @property
    def tried(self) -> str:
        """What has been tried so far, in words; for whoever waits for a first path."""
        session = self._session
        return so_far(session.pairs, self._gatherer.troubles, heard_of_peer=bool(session.remote_ips))

    def statistics(self, now: float) -> Report:
        """A W3C-shaped report: transports, candidate pairs and candidates by their ids; ready for JSON."""
        session = self._session
        transports = [
            Transported(
                name=self.name,
                component=number,
                state=self.state.value,
                role=self.role,
                local_ufrag=self.local_ufrag,
                remote_ufrag=self.remote_ufrag,
                local=tuple(c for c in self._gatherer.candidates if c.component == number),
                remote=tuple(c for c in session.remotes if c.component == number),
                selected=session.selected(number),
                changes=session.changes(number),
            )
            for number in range(1, self._config.components + 1)
        ]
        return report(transports, session.pairs, now)

    # --- commands ----------------------------------------------------------------------------------------
    def gather(self, interfaces: tuple[str, ...], servers: tuple[IceServer, ...], now: float) -> None:
        """Find candidates on these interface IPs (best first) and through these servers, all at once.

        Changes of the host's addresses are followed from then on; `AgentConfig.interface_filter` says which.
        """
        self._usable()
        self._told_settled = self._told_done = False
        self._gatherer.gather(interfaces, servers, now)
        self._names.interfaces(self._gatherer.interfaces, now)
        self._session.gathering = True
        self._settle(now)

    def add_servers(self, servers: tuple[IceServer, ...], now: float) -> None:
        """Servers that became known after `gather`."""
        self._usable()
        self._told_settled = self._told_done = False
        self._gatherer.add_servers(servers, now)
        self._session.gathering = True
        self._settle(now)

    def renew_servers(self, servers: tuple[IceServer, ...], now: float) -> None:
        """New credentials of the same user for servers in use, before the old ones expire; nothing is asked anew."""
        self._usable()
        self._gatherer.renew_servers(servers, now)

    def set_remote(
        self,
        ufrag: str,
        pwd: str,
        now: float,
        *,
        lite: bool = False,
        pacing: float | None = None,
        renomination: bool = False,
    ) -> None:
        """The peer's user name fragment and password; other ones than before mean another peer (a fork), and
        nothing is sent to the old one any more.

        `lite`: it said `a=ice-lite`, so it only answers, and we are the controlling agent. `pacing` is what it
        proposed as `a=ice-pacing`, in seconds; None if it said nothing. `renomination`: it announced that option.
        """
        self._usable()
        remote = Credentials(ufrag, pwd)
        session = self._session
        if session.remote == remote:
            return
        if session.remote is not None:
            self._leave_session()
            self._generations.change_peer(self._gatherer.candidates, now, gathering=self._busy)
            self._retire_previous(now)  # It leads to another than the one we are to talk to.
        self._session.set_remote(remote, now, lite=lite, pacing=pacing, renomination=renomination)
        self._settle(now)

    def add_remote_candidate(self, candidate: Candidate | NamedCandidate, now: float) -> None:
        """One with a name becomes a candidate as soon as a neighbour answers for the name."""
        self._usable()
        if isinstance(candidate, NamedCandidate):
            self._find(candidate, now)
        else:
            self._session.add_remote(candidate, now)
        self._settle(now)

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer has no more; always said of a peer that does not trickle."""
        self._usable()
        self._session.end_of_remote_candidates(now)
        self._settle(now)

    def ringing(self, now: float) -> None:
        """The peer may know nothing of us until somebody picks up: do not give up before `answered`."""
        self._usable()
        self._session.ringing(now)

    def answered(self, now: float) -> None:
        """The call was picked up; what failed while it rang is tried again."""
        self._usable()
        self._session.answered(now)
        self._settle(now)

    def send(self, data: bytes, now: float, component: int = 1) -> bool:
        """Send on the best path there is; False if there is none (the data is lost)."""
        pair = self._generations.active(component)
        if pair is None:
            return False
        pair.counts.sent(len(data))
        self._send(pair.base, pair.remote.address, data, now)
        return True

    @property
    def proven_at(self) -> float | None:
        """When the peer last proved on the path in use that it is there; None without a path."""
        return self._session.proven_at(1)

    def ask_consent(self, now: float) -> None:
        """Ask at once whether the path still works, since something says that it may not; see `proven_at`."""
        self._usable()
        for session in self._generations:
            session.ask_consent(1, now)

    def restart(self, now: float) -> None:
        """New user name and password (RFC 8445 §9); media stays on the old path until there is a new one."""
        self._usable()
        self._told_settled = self._told_done = False
        self._leave_session()
        self._generations.restart(self._gatherer.candidates, now, gathering=self._busy)
        self._gatherer.again(now)
        self._session.gathering = True
        self._settle(now)

    def close(self, now: float) -> None:
        """Let go of everything. Relays over UDP are told, which takes up to 2.5 s that nobody waits for."""
        if self.state is IceState.CLOSED:
            return
        self._generations.close(now)
        self._timers.clear()
        self._tcp.close()
        self._names.close()
        self._named.clear()
        self._gatherer.close(now)
        self._together.role.forget(self.name)
        self._become(IceState.CLOSED)

    # --- machine -----------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, AddressesChanged):
            self._addresses_changed(event.ips, now)
        elif self._tcp.handle_input(event, now) or self._names.handle_input(event, now):
            pass
        elif not isinstance(event, Datagram):
            self._gatherer.handle_input(event, now)
        elif not self._gatherer.from_server(event, now) and self._hears(event.local):
            self._receive(event.local, event.remote, event.data, now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        self._gatherer.handle_timeout(now)
        self._tcp.handle_timeout(now)
        self._names.handle_timeout(now)
        for session in self._generations:
            session.handle_timeout(now)
        for _ in self._timers.due(now):
            self._release(now)
        self._settle(now)

    def poll_timeout(self) -> float | None:
        return earliest(
            self._gatherer.poll_timeout(),
            self._tcp.poll_timeout(),
            self._names.poll_timeout(),
            self._timers.next_at(),
            *(session.poll_timeout() for session in self._generations),
        )

    # --- what the gatherer tells ---------------------------------------------------------------------------
    def candidate_found(self, candidate: Candidate, now: float) -> None:
        self.emit(CandidateFound(candidate))
        self._session.add_local(candidate, now)
        if candidate.type is CandidateType.RELAY and self._permitted:
            self._gatherer.permit(self._permitted, now)
        socket = self._gatherer.socket(candidate.address)
        if self._config.tcp and candidate.type is CandidateType.HOST and socket is not None:
            self._tcp.come(socket, now)

    def server_found(self, server: IceServer, address: Address, now: float) -> None:
        if self._config.tcp:
            self._tcp.ask(server, address, now)

    def tcp_found(self, candidate: Candidate, now: float) -> None:
        self._gatherer.add(candidate, now)

    def relayed_data(self, base: Address, peer: Address, data: bytes, now: float) -> None:
        if self.state is not IceState.CLOSED:
            self._receive(base, peer, data, now)

    def peer_refused(self, base: Address, ip: str, reason: str, now: float) -> None:
        for session in self._generations:
            session.peer_refused(base, ip, reason, now)

    def base_lost(self, base: Address, reason: str, now: float) -> None:
        self._gatherer.forget_base(base)
        self._tcp.leave(base, reason, now)
        for session in self._generations:
            session.base_lost(base, reason, now)

    def connection_lost(self, base: Address, peer: Address, reason: str, now: float) -> None:
        for session in self._generations:
            session.connection_lost(base, peer, reason, now)

    def knows(self, base: Address, peer: Address) -> bool:
        """Whether an authentic check came from there, or an answer to one of ours."""
        return any(session.accepts(base, peer) is not None for session in self._generations)

    def is_taken(self, base: Address) -> bool:
        return self._gatherer.socket(base) is not None or self._gatherer.is_relay(base)

    # --- what a session asks -----------------------------------------------------------------------------
    def send_stun(self, base: Address, remote: Address, data: bytes, now: float) -> None:
        relay = base if self._gatherer.is_relay(base) else None
        self.emit(stun_sent(data, self._transport(base), base, remote, relay))
        self._send(base, remote, data, now)

    def _transport(self, base: Address) -> Transport:
        return Transport.TCP if self._tcp.is_base(base) else Transport.UDP

    def _send(self, base: Address, remote: Address, data: bytes, now: float) -> None:
        if self._tcp.is_base(base):
            self._tcp.send(base, remote, data, now)
        else:
            self._gatherer.send(base, remote, data, now)

    def pair_selected(self, pair: CandidatePair, now: float) -> None:
        self._gatherer.bind(pair.base, pair.remote.address, now)
        if self.state is IceState.COMPLETED:  # A later choice: what the earlier one stood on may go.
            self._timers.arm("release", now + self._config.release_after)

    def is_mute(self, base: Address, now: float) -> bool:
        return self._gatherer.is_mute(base, now)

    # --- the peer's names --------------------------------------------------------------------------------
    def _find(self, named: NamedCandidate, now: float) -> None:
        if self._config.policy is Policy.RELAY:
            refusal: str | None = "a relay cannot reach what only neighbours can"
        elif self._config.lite:
            refusal = "a lite agent checks nothing, so it need not know where"
        elif not self._config.resolve_names:
            refusal = "the names of neighbours are not asked for here"
        elif len(self._named) >= self._config.max_remote_candidates:
            refusal = f"more than {self._config.max_remote_candidates} candidates"
        else:
            self._named.append(named)
            refusal = self._names.find(named.name, now)
        if refusal is not None:
            self._named = [other for other in self._named if other is not named]
            self.emit(records.Note("info", f"{named} of the peer of {self.name} is not used: {refusal}"))

    def name_resolved(self, name: str, ip: str | None, now: float) -> None:
        found = [named for named in self._named if named.name == name]
        self._named = [named for named in self._named if named.name != name]
        for named in found:
            if ip is not None:
                self._session.add_remote(named.at(ip), now)

    # --- datagrams ---------------------------------------------------------------------------------------
    def _hears(self, local: Address) -> bool:
        """Under the relay policy a socket only talks to servers, so that no peer learns its address."""
        relayed_only = self._config.policy is Policy.RELAY
        return not relayed_only and self.state is not IceState.CLOSED and self._gatherer.is_socket(local)

    def _receive(self, base: Address, source: Address, data: bytes, now: float) -> None:
        """A datagram from a peer (RFC 7983): STUN for the sessions, everything else is the application's."""
        if not stun.is_stun(data):
            accepted = self._generations.accepts(base, source)
            if accepted is not None:
                component, pair = accepted
                if pair is not None:
                    pair.counts.received(len(data))
                self.emit(DataReceived(component, data, source, base))
            return
        try:
            message = stun.parse(data)
        except ParseError as error:
            if self._malformed < MAX_MALFORMED:
                self._malformed += 1
                self.emit(records.Malformed("stun", source, str(error), len(data)))
            return
        relay = base if self._gatherer.is_relay(base) else None
        self.emit(stun_received(message, self._transport(base), base, source, relay))
        if message.method != Method.BINDING:
            return
        if message.message_class is MessageClass.REQUEST:
            refusal = self._generations.handle_request(base, source, message, now)
            if refusal is not None:
                self.send_stun(base, source, check_error(message, refusal, None), now)
        elif message.message_class in (MessageClass.SUCCESS, MessageClass.ERROR):
            for session in self._generations:
                session.handle_response(base, source, message, now)

    # --- sessions ----------------------------------------------------------------------------------------
    @property
    def _session(self) -> Session:
        return self._generations.current

    def _leave_session(self) -> None:
        """Another one begins: what was agreed with the peer of this one, and waited for, is over."""
        self._timers.clear()
        self._named.clear()
        self._permitted = ()

    @property
    def _busy(self) -> bool:
        """Local candidates are still to come."""
        return self._gatherer.busy or self._tcp.opening or self._tcp.asking

    # --- the network around us -----------------------------------------------------------------------------
    def _addresses_changed(self, ips: tuple[str, ...], now: float) -> None:
        """Interfaces came or left: gather anew there, and say so if the selected path stands on nothing now."""
        if self.state is IceState.CLOSED or not self._gatherer.started:
            return
        change = self._gatherer.addresses_changed(ips, self._in_use(), now)
        if not change:
            return
        self._names.interfaces(self._gatherer.interfaces, now)
        told = [
            f"{verb} {', '.join(ips)}" for verb, ips in (("came", change.came), ("left", change.left)) if ips
        ]
        self.emit(records.Note("info", f"interfaces of {self.name} changed: {'; '.join(told)}"))
        self._told_settled = self._told_done = False
        self._session.gathering = True
        if self._session.completed:
            self._timers.arm("release", now + self._config.release_after)
        if change.stranded and self._session.completed:
            gone = ", ".join(change.stranded)
            self.emit(RestartNeeded(f"the selected path stands on {gone}, which is gone"))

    def _in_use(self) -> tuple[Address, ...]:
        """Bases that carry media and must not be pulled away, with what they stand on."""
        bases = self._generations.bases_in_use()
        companions = [self._tcp.companion(base) for base in bases]
        return (*bases, *(base for base in companions if base is not None))

    def _release(self, now: float) -> None:
        """Give back what is not needed, unless the peer still looks for a path to nominate."""
        at = self._session.nominated_at + self._config.release_after
        if at > now:
            self._timers.arm("release", at)
        else:
            ways = self._session.needed_ways
            self._gatherer.release(tuple(base for base, _ in ways), now)
            self._tcp.release(ways)

    # --- after every change --------------------------------------------------------------------------------
    def _settle(self, now: float) -> None:
        """Carry the consequences of a change from one part to the others."""
        if self.state is IceState.CLOSED:
            return
        session = self._session
        ips = session.remote_ips
        if ips != self._permitted:
            self._permitted = ips
            self._gatherer.permit(ips, now)
        if not self._told_settled and self._gatherer.is_settled(now, busy=self._tcp.asking):
            self._told_settled = True
            self.emit(GatheringSettled())
        if not self._told_done and self._gatherer.started and not self._busy:
            self._told_done = True
            self._gatherer.account()
            self.emit(records.GatheringFinished(self.name, now - self._gatherer.began_at))
            self.emit(GatheringDone())
            session.gathering_done(now)
        self._follow(session, now)

    def _follow(self, session: Session, now: float) -> None:
        """The agent's state is derived from its parts."""
        if session.failure:
            if self.state is not IceState.FAILED:
                reason = "; ".join((session.failure, *self._gatherer.troubles))
                self._become(IceState.FAILED, reason)
                self.emit(Failed(reason))
                self._retire_previous(now)
        elif session.completed:
            if self.state is not IceState.COMPLETED:
                self._become(IceState.COMPLETED)
                self._timers.arm("release", now + self._config.release_after)
                self._retire_previous(now)
        elif session.connected:
            self._become(IceState.CONNECTED)
        elif session.checking:
            self._become(IceState.CHECKING)
        elif self._gatherer.started:
            self._become(IceState.GATHERING)

    def _become(self, state: IceState, reason: str = "") -> None:
        if state is not self.state:
            self.state = state
            self.emit(records.IceStateChanged(self.name, state.value, reason))
            self.emit(StateChanged(state, reason))

    def _retire_previous(self, now: float) -> None:
        self._generations.retire_previous(now)
        self._gatherer.drop_left(self._in_use(), now)

    def _usable(self) -> None:
        if self.state is IceState.CLOSED:
            raise UsageError(f"the ICE agent {self.name} is closed")
