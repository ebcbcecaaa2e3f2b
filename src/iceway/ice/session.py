"""One ICE session: one pair of credentials, its checklist, and the checks that go both ways.

A restart makes a new session beside the old one; sockets and relays outlive both. The session knows nothing
of them: it says `send_stun(base, remote, …)` to its outlet and hears `handle_request` and `handle_response`.
It pairs candidates, answers the peer's checks and reads the answers to its own; what follows from a pair that
works is the business of `paths`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.core.timers import Timers
from iceway.ice import messages
from iceway.ice.candidate import FACING, TYPE_PREFERENCE, Candidate, CandidateType
from iceway.ice.checklist import CandidatePair, Checklist, PairState
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.checks import Check, Checks, Outlet
from iceway.ice.config import AgentConfig
from iceway.ice.messages import Credentials, Refusal
from iceway.ice.paths import Paths
from iceway.ice.prospects import Prospects
from iceway.ice.remotes import MAX_REFLEXIVE, HeardCheck, RemoteCandidates
from iceway.ice.scope import Scope, scope_of
from iceway.ice.standing import Standing, reflexive_priority
from iceway.trace import records
from iceway.wire import stun
from iceway.wire.stun import MessageClass, StunMessage

if TYPE_CHECKING:
    from random import Random

MAX_CREDENTIAL = 256  # RFC 8839 §5.4
NO_PRIORITY = TYPE_PREFERENCE[CandidateType.PRFLX] << 24


class Session:
    """Commands and inputs take `now` last."""

    def __init__(
        self,
        agent: str,
        config: AgentConfig,
        local: Credentials,
        together: ChecklistSet,
        rng: Random,
        outlet: Outlet,
    ) -> None:
        self.gathering = True
        self._agent = agent
        self._config = config
        self._outlet = outlet
        self._together = together
        self._standing = Standing(local, together.role.drawn(rng), rng, lite=config.lite)
        self._timers = Timers()
        self._checklist = Checklist(together)
        self._checks = Checks(agent, config, self._standing, self._checklist, together, self._timers, outlet)
        self._paths = Paths(
            agent, config, self._standing, self._checklist, self._checks, self._timers, rng, outlet
        )
        self._prospects = Prospects(self._checklist, outlet.is_mute)
        self._bases: dict[Address, Candidate] = {}
        self._locals: list[Candidate] = []
        self._remotes = RemoteCandidates(config)
        self._ended = False
        self._ringing = False
        self._began_at = 0.0
        together.join(self._checks, agent)
        together.role.listen(agent, self._role_switched)

    # --- what the agent asks -----------------------------------------------------------------------------
    @property
    def local(self) -> Credentials:
        return self._standing.local

    @property
    def remote(self) -> Credentials | None:
        return self._standing.remote

    @property
    def controlling(self) -> bool:
        return self._standing.controlling

    @property
    def failure(self) -> str:
        """Why the session ended, once it has."""
        return self._paths.failure

    @property
    def checking(self) -> bool:
        return self.remote is not None and len(self._checklist) > 0

    @property
    def connected(self) -> bool:
        return self._paths.connected

    @property
    def completed(self) -> bool:
        return self._paths.completed

    @property
    def nominated_at(self) -> float:
        """When the peer last nominated, if it is the controlling one: until it is done, it needs all our paths."""
        return self._paths.nominated_at

    @property
    def needed_ways(self) -> tuple[tuple[Address, Address], ...]:
        """What must be kept of bases, and of connections from them to the peer, once all is decided."""
        return self._paths.needed_ways()

    @property
    def remotes(self) -> tuple[Candidate, ...]:
        """Candidates of the peer, announced and learnt."""
        return tuple(self._remotes)

    @property
    def remote_ips(self) -> tuple[str, ...]:
        """Every IP of the peer, in the order in which they became known: what relays must let through."""
        return self._remotes.ips

    def active(self, component: int) -> CandidatePair | None:
        found = self._paths.components.get(component)
        return found.active if found else None

    def selected(self, component: int) -> CandidatePair | None:
        found = self._paths.components.get(component)
        return found.active if found and found.selected else None

    def accepts(self, base: Address, source: Address) -> int | None:
        """The component that data from there belongs to, or None if no authentic check came from there."""
        return self._paths.accepts(base, source)

    def pair(self, base: Address, source: Address) -> CandidatePair | None:
        return self._checklist.find(base, source)

    def proven_at(self, component: int) -> float | None:
        """When the peer last showed that the active pair works."""
        consent = self._paths.components[component].consent
        return consent.heard_at if consent is not None else None

    def ask_consent(self, component: int, now: float) -> None:
        self._paths.ask(component, now)

    @property
    def pairs(self) -> tuple[CandidatePair, ...]:
        """Best first."""
        return tuple(self._checklist)

    def changes(self, component: int) -> int:
        """How often the pair that data is sent on has changed."""
        return self._paths.components[component].changes

    # --- candidates --------------------------------------------------------------------------------------
    def add_local(self, candidate: Candidate, now: float) -> None:
        self._locals.append(candidate)
        if candidate.type in (CandidateType.HOST, CandidateType.RELAY):
            self._bases[candidate.address] = candidate
        for remote in self._remotes:
            self._form(candidate, remote)
        self._go_on(now)

    def add_remote(self, candidate: Candidate, now: float) -> None:
        """A candidate that the peer announced."""
        self._outlet.emit(records.CandidateReceived(self._agent, candidate.info))
        if reason := self._remotes.useless(candidate):
            self._outlet.emit(records.CandidatePruned(self._agent, candidate.info, reason))
            return
        learned = self._remotes.get(candidate.component, candidate.address, candidate.transport)
        self._remotes.add(candidate)
        if learned is not None:
            # RFC 8838 §11.4: what a check taught us now gets its real type and priority. That check came to one base
            # of ours; the others have no pair with it yet.
            self._checklist.replace_remote(learned, candidate)
        self._began_at = max(self._began_at, now)
        for local in self._locals:
            self._form(local, candidate)
        self._go_on(now)
        self._paths.settle(candidate.component, now)

    def end_of_remote_candidates(self, now: float) -> None:
        self._ended = True
        self._go_on(now)

    def set_remote(
        self,
        remote: Credentials,
        now: float,
        *,
        lite: bool = False,
        pacing: float | None = None,
        renomination: bool = False,
    ) -> None:
        """The peer's credentials: checks may start. Checks that came early are taken up."""
        if not 0 < len(remote.ufrag) <= MAX_CREDENTIAL or not 0 < len(remote.pwd) <= MAX_CREDENTIAL:
            self._fail("the peer's ICE user name or password has an impossible length", now)
            return
        if lite and self._standing.lite:
            self._fail("both ends are lite agents, so nobody looks for a path", now)
            return
        self._standing.remote, self._standing.peer_lite = remote, lite
        self._standing.renominates = (
            self._config.renomination and renomination and not self._standing.roles_given
        )
        self._checks.agree(pacing)
        if lite and not self.controlling:
            self._together.role.switch()
        self._began_at = now
        self._timers.arm("keepalive", now + self._config.keepalive)
        for candidate in self._remotes:
            for local in self._locals:
                self._form(local, candidate)
        for check in self._remotes.take_early(remote.ufrag):
            pair = self._place(check)
            if pair is not None:
                pair.counts.requests_received += 1
                pair.counts.responses_sent += 1
                self._paths.heard(pair, check, now)
        self._go_on(now)

    # --- how long to go on -------------------------------------------------------------------------------
    def ringing(self, now: float) -> None:
        """Nobody has picked up yet: the peer may not even have begun, so failure must wait."""
        self._ringing = True

    def answered(self, now: float) -> None:
        """The call was picked up: the peer has everything now. What failed before gets its full chance again."""
        self._ringing = False
        self._began_at = max(self._began_at, now)
        if not self.connected:
            for pair in self._checklist:
                if pair.state is PairState.FAILED and not pair.hopeless:
                    pair.move(PairState.WAITING)
        self._go_on(now)

    def gathering_done(self, now: float) -> None:
        self.gathering = False
        self._go_on(now)
        for number in self._paths.components:
            self._paths.settle(number, now)

    def close(self, now: float) -> None:
        self._together.leave(self._checks, now)
        self._timers.clear()
        self._paths.close()

    # --- bases that go away ------------------------------------------------------------------------------
    def peer_refused(self, base: Address, ip: str, reason: str, now: float) -> None:
        """The relay does not forward to this IP. Where it did before, consent tells whether it still does."""
        for pair in self._checklist:
            if pair.base == base and pair.remote.address.ip == ip and pair.state is not PairState.SUCCEEDED:
                self._paths.lose(pair, reason, now, for_good=True)
        self._judge(now)

    def base_lost(self, base: Address, reason: str, now: float) -> None:
        """A relay or socket is gone, and with it all that it carried."""
        self._bases.pop(base, None)
        self._locals = [candidate for candidate in self._locals if candidate.base != base]
        for pair in self._checklist:
            if pair.base == base:
                self._paths.lose(pair, reason, now, for_good=True)
        self._judge(now)

    def connection_lost(self, base: Address, remote: Address, reason: str, now: float) -> None:
        """The TCP connection of a pair ended, or never came up."""
        pair = self._checklist.find(base, remote)
        if pair is not None:
            self._paths.lose(pair, reason, now)
        self._judge(now)

    # --- inputs ------------------------------------------------------------------------------------------
    def handle_request(self, base: Address, source: Address, request: StunMessage, now: float) -> None:
        """A check, or consent request, of the peer (RFC 8445 §7.3)."""
        fragments = messages.user_fragments(request)
        theirs = fragments[1] if fragments else ""
        if self.failure or (self.remote is not None and theirs != self.remote.ufrag):
            return  # Another fork of the call, or a peer that restarted; its own credentials will come.
        refusal = messages.authenticate(request, self.local)
        if refusal is not None:
            signed = self.local if refusal.code == 420 else None
            self._outlet.send_stun(base, source, messages.check_error(request, refusal, signed), now)
            return
        conflict = self._standing.conflict(request)
        if conflict:
            refusal = Refusal(487, "Role Conflict")
            self._outlet.send_stun(base, source, messages.check_error(request, refusal, self.local), now)
            return
        if conflict is not None:
            self._together.role.switch()
        priority, number = request.get(stun.PRIORITY), request.get(stun.NOMINATION) or 0
        check = HeardCheck(
            base=base,
            source=source,
            priority=NO_PRIORITY if priority is None else priority,
            nominates=request.get(stun.USE_CANDIDATE) is not None or number > 0,
            transaction_id=request.transaction_id,
            ufrag=theirs,
            nomination=number,
        )
        pair = self._place(check) if self.remote is not None else None
        if pair is None and not (self.remote is None and self._remotes.keep(check)):
            return  # No room for it. An answer would let the peer count on a path that we forget.
        if base in self._bases:
            self._paths.accept((base, source), self._bases[base].component)
        self._outlet.send_stun(base, source, messages.check_success(request, self.local, source), now)
        if pair is not None:
            pair.counts.requests_received += 1
            pair.counts.responses_sent += 1
            self._paths.heard(pair, check, now)
            self._judge(now)

    def handle_response(self, base: Address, source: Address, response: StunMessage, now: float) -> None:
        """An answer to a check or consent request of ours (RFC 8445 §7.2.5)."""
        authentic = self._standing.signed_by_peer(response)
        granted = authentic and response.message_class is MessageClass.SUCCESS
        if self._paths.is_consent(response.transaction_id, base, source, granted, now):
            if granted:
                self._look_again(base, source, response.get(stun.XOR_MAPPED_ADDRESS))
            return
        check = self._checks.take(response.transaction_id)
        if check is None:
            return
        error = response.get(stun.ERROR_CODE)
        if not authentic:
            # RFC 8489 §9.1.4: as if it had not come. But it may explain why none that counts does.
            said = f"said {error.code} {error.reason}".rstrip() if error else "had a wrong signature"
            check.pair.hint = f"an answer that proves nothing {said}"
            return
        self._checks.done(check)
        if granted:
            self._succeeded(check, base, source, response.get(stun.XOR_MAPPED_ADDRESS), now)
        elif error is not None and error.code == 487:
            self._told_of_conflict(check, now)
        else:
            said = f"{error.code} {error.reason}".rstrip() if error else "an error"
            self._paths.lose(check.pair, f"the peer refused with {said}", now)
        self._judge(now)

    def handle_timeout(self, now: float) -> None:
        for name in self._timers.due(now):
            match name:
                case "pace":
                    self._checks.pace(now)
                case Check():
                    if not self._checks.retransmit(name, now):
                        self._unanswered(name, now)
                case ("nominate", int(number)):
                    self._paths.settle(number, now)
                case ("look", int(number)):
                    self._paths.look(number, now)
                case ("consent", int(number)):
                    self._paths.watch(number, now)
                case "keepalive":
                    self._paths.keep_alive(now)
            self._judge(now)

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- pairs -------------------------------------------------------------------------------------------
    def _form(self, local: Candidate, remote: Candidate) -> None:
        if self.remote is None or not pairable(local, remote):
            return
        assert local.base is not None
        if local.address != local.base:
            reason = f"its checks would leave from {local.base}, which has its own pair"
            self._outlet.emit(records.PairPruned(self._agent, local.info, remote.info, reason))
        elif self._checklist.find(local.base, remote.address) is None:
            self._add(local, remote)

    def _add(self, local: Candidate, remote: Candidate, needed: bool = False) -> CandidatePair | None:
        pair, dropped = self._checklist.add(local, remote, needed=needed)
        if dropped is not None:
            reason = "more pairs than the checklist holds"
            self._outlet.emit(
                records.PairPruned(self._agent, dropped.local.info, dropped.remote.info, reason)
            )
        if pair is not None:
            self._outlet.emit(
                records.PairFormed(self._agent, pair.id, local.info, remote.info, pair.priority)
            )
        return pair

    def _appraise(self, now: float) -> None:
        self._prospects.appraise(self._locals, self._remotes, now)

    # --- checks from the peer ----------------------------------------------------------------------------
    def _place(self, check: HeardCheck) -> CandidatePair | None:
        """The pair that a check came in on, made if need be (RFC 8445 §7.3.1.3, §7.3.1.4)."""
        pair = self._checklist.find(check.base, check.source)
        local = self._bases.get(check.base)
        if pair is None and local is not None:
            remote = self._remotes.get(local.component, check.source, local.transport)
            remote = remote or self._learn(local, check)
            pair = self._add(local, remote, needed=True) if remote else None
        return pair

    def _learn(self, local: Candidate, check: HeardCheck) -> Candidate | None:
        """The peer has an address that nobody told us of."""
        if not check.priority or scope_of(check.source.ip) is Scope.LOCAL:
            return None
        learned = self._remotes.learned()
        if len(learned) >= MAX_REFLEXIVE and not self._forget_one(learned):
            return None
        remote = self._remotes.learn(
            local.component, check, local.transport, FACING.get(local.tcp_type or "")
        )
        self._outlet.emit(records.CandidateReceived(self._agent, remote.info))
        return remote

    def _forget_one(self, learned: list[Candidate]) -> bool:
        """Make room: two symmetric NATs show a new address with every check, and none of them works."""
        for remote in learned:
            pairs = [pair for pair in self._checklist if pair.remote is remote]
            if all(pair.state is PairState.FAILED for pair in pairs):
                for pair in pairs:
                    self._checklist.remove(pair)
                    self._paths.ignore(pair.base, remote.address)
                self._remotes.forget(remote)
                return True
        return False

    def _told_of_conflict(self, check: Check, now: float) -> None:
        """RFC 8445 §7.2.5.1: unless we switched since, switch; then check again."""
        pair = check.pair
        if self._standing.roles_given:
            self._paths.lose(pair, "the lite peer wants to be controlling, which it cannot", now)
            return
        if check.controlling == self.controlling:
            self._together.role.switch()
        if pair.state is PairState.SUCCEEDED:
            self._paths.settle(pair.component, now)
        elif self.selected(pair.component) is None:
            self._checks.trigger(pair, now)

    def _role_switched(self) -> None:
        """In this stream or in another one."""
        self._outlet.emit(records.RoleConflict(self._agent, now_controlling=self.controlling))
        self._checklist.role_switched()
        self._paths.switched_role()

    # --- answers to our checks ---------------------------------------------------------------------------
    def _succeeded(
        self, check: Check, base: Address, source: Address, mapped: Address | None, now: float
    ) -> None:
        pair = check.pair
        if mapped is not None:
            self._prospects.mapped(pair, mapped)
        self._appraise(now)
        if (base, source) != (pair.base, pair.remote.address):
            # RFC 8445 §7.2.5.2.1: the answer must take the check's way back.
            reason = f"answered from {source} instead of {pair.remote.address} (symmetric)"
            self._paths.lose(pair, reason, now)
            return
        if mapped is None:
            self._paths.lose(pair, "the peer's answer names no mapped address", now)
            return
        running = self._checks.current(pair)
        if running is not None and not running.keeps:
            self._checks.abandon(pair)
        pair.valid_local = self._as_seen(pair, mapped)
        pair.valid_priority = self._checklist.priority_of(pair.valid_local, pair.remote)
        round_trip = check.round_trip(now)
        pair.measured(round_trip, now - check.transaction.started_at)
        if pair.state is not PairState.SUCCEEDED:
            pair.move(PairState.SUCCEEDED)
            self._outlet.emit(records.PairSucceeded(self._agent, pair.id, round_trip, mapped))
            self._together.thaw(pair.foundation)
        self._paths.works(pair, check, now)
        self._checks.wake(now)

    def _look_again(self, base: Address, source: Address, mapped: Address | None) -> None:
        """An answer to a consent request tells what the peer sees now: NATs forget, and give other ports."""
        pair = self._checklist.find(base, source)
        if pair is None or pair.valid_local is None or mapped in (None, pair.valid_local.address):
            return
        assert mapped is not None
        text = f"{self._agent}: a NAT shows pair {pair.id} from {mapped} now, no longer from {pair.valid_local.address}"
        self._outlet.emit(records.Note("info", text))
        pair.valid_local = self._as_seen(pair, mapped)
        pair.valid_priority = self._checklist.priority_of(pair.valid_local, pair.remote)

    def _as_seen(self, pair: CandidatePair, mapped: Address) -> Candidate:
        """The local candidate that the peer sees (RFC 8445 §7.2.5.3.1)."""
        if mapped == pair.local.address:
            return pair.local
        for candidate in self._locals:
            if candidate.address == mapped and candidate.base == pair.base:
                return candidate
        # Over TCP the port is the connection's; on the interface's own IP it is still the host candidate.
        own = pair.local.transport.is_stream and mapped.ip == pair.base.ip
        learned = Candidate(
            type=CandidateType.HOST if own else CandidateType.PRFLX,
            address=mapped,
            priority=pair.local.priority if own else reflexive_priority(pair),
            foundation=f"{pair.local.foundation}p",
            component=pair.component,
            transport=pair.local.transport,
            tcp_type=pair.local.tcp_type,
            related=pair.base,
            base=pair.base,
            relay_transport=pair.local.relay_transport,
        )
        self._locals.append(learned)
        self._outlet.emit(records.CandidateGathered(self._agent, learned.info))
        return learned

    def _unanswered(self, check: Check, now: float) -> None:
        pair = check.pair
        if check.nominates:
            self._paths.nomination_unanswered(check, now)
        elif pair.state is PairState.IN_PROGRESS or check.keeps:
            self._paths.lose(pair, self._checks.silence(pair, now), now)

    # --- giving up ---------------------------------------------------------------------------------------
    def _go_on(self, now: float) -> None:
        """There may be something new to check, or nothing left."""
        self._appraise(now)
        self._paths.more_to_come = (self.gathering and not _served(self._locals)) or (
            not self._ended and not _served(self._remotes)
        )
        if self.remote is not None and not self.failure:
            if not self._standing.lite:
                self._checks.wake(now)
            self._timers.arm("patience", max(now, self._began_at + self._config.patience))

    def _judge(self, now: float) -> None:
        """Fail when there is no hope left, and not before RFC 8863's patience is used up. After twice as long hope
        counts no more: behind two NATs that map every destination anew, checks call forth checks for ever."""
        self._together.stir(self._checklist, now)
        if self.failure:
            self.close(now)
            return
        if self.remote is None or self._ringing or self.gathering or self.connected:
            return
        since, patience = max(self._began_at, self._paths.doubted_at), self._config.patience
        if now < since + patience or not (self._ended or len(self._remotes)):
            return
        if self._standing.lite:
            self._fail(
                f"the peer nominated no path in {now - self._began_at:.1f} s, and we are the lite agent",
                now,
            )
            return
        hopeless = [c.number for c in self._paths.components.values() if c.active is None]
        pairs = [pair for number in hopeless for pair in self._checklist.of(number)]
        unfinished = [pair for pair in pairs if pair.unfinished]
        if unfinished and now < since + 2 * patience:
            self._timers.arm("patience", since + 2 * patience)
            return
        for pair in unfinished:
            sent = pair.first_sent_at is not None
            self._paths.lose(pair, self._checks.silence(pair, now) if sent else "never checked", now)
        self._fail(_sum_up(pairs), now)

    def _fail(self, reason: str, now: float) -> None:
        self._paths.failure = reason
        self.close(now)


def pairable(local: Candidate, remote: Candidate) -> bool:
    """RFC 8445 §6.1.2.2: same component and family; and loopback only reaches loopback.

    Over TCP passive ones do not send (RFC 6544 §6.2); what they get makes its own pair.
    """
    return (
        local.component == remote.component
        and local.transport is remote.transport
        and (local.transport is Transport.UDP or _faces(local, remote))
        and local.address.family == remote.address.family
        and (scope_of(local.address.ip) is Scope.LOOPBACK) == (scope_of(remote.address.ip) is Scope.LOOPBACK)
    )


def _served(candidates: Iterable[Candidate]) -> bool:
    """Whether some server has answered already: one answer tells of all direct ways that are left to find."""
    return any(candidate.type in (CandidateType.SRFLX, CandidateType.RELAY) for candidate in candidates)


def _faces(local: Candidate, remote: Candidate) -> bool:
    """RFC 6544 §6.2."""
    return local.tcp_type != "passive" and remote.tcp_type == FACING.get(local.tcp_type or "")


def _sum_up(pairs: Iterable[CandidatePair]) -> str:
    """What became of the pairs, in one line, commonest reason first."""
    counts = Counter(pair.failure for pair in pairs)
    if not counts:
        return "no candidate of the peer could be paired with ours"
    told = [f"{count} of them: {reason}" if count > 1 else reason for reason, count in counts.most_common(4)]
    more = f"; and {len(counts) - 4} reasons more" if len(counts) > 4 else ""
    return f"none of {sum(counts.values())} pairs worked ({'; '.join(told)}{more})"
