"""One ICE session: one pair of credentials, its checklist, and the way from candidates to a selected pair.

A restart makes a new session beside the old one; sockets and relays outlive both. The session knows nothing
of them: it says `send_stun(base, remote, …)` to its outlet and hears `handle_request` and `handle_response`.

How both ends come to the same pair: only the controlling agent decides, and it decides once, after looking
(regular nomination, RFC 8445 §8.1.1). It selects when its nomination is answered; the controlled agent selects
when a nominated pair works in its own direction too. If the controlling one had to give a nomination up and a
late answer shows that it arrived after all, it repeats the nomination that holds, so the last word is clear.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.core.timers import Timers
from iceway.ice import messages
from iceway.ice.candidate import TYPE_PREFERENCE, Candidate, CandidateType
from iceway.ice.checklist import CandidatePair, Checklist, PairState
from iceway.ice.checks import Check, Checks, Outlet, reflexive_priority
from iceway.ice.config import AgentConfig
from iceway.ice.consent import Consent
from iceway.ice.events import ConsentLostEvent, PairValid, Selected
from iceway.ice.messages import Credentials, Refusal
from iceway.ice.nomination import decide, most_recently_heard
from iceway.ice.scope import Scope, scope_of
from iceway.ice.selection import Selection
from iceway.trace import records
from iceway.wire import stun
from iceway.wire.stun import MessageClass, StunMessage

if TYPE_CHECKING:
    from random import Random

MAX_EARLY = 32  # checks kept from before the peer's credentials are known
MAX_REFLEXIVE = 32  # remote candidates that checks may make us learn
MAX_UFRAG = 256  # RFC 8839 §5.4
NO_PRIORITY = TYPE_PREFERENCE[CandidateType.PRFLX] << 24


@dataclass(frozen=True, slots=True)
class HeardCheck:
    """An authentic check from the peer, already answered."""

    base: Address
    source: Address
    priority: int
    nominates: bool
    transaction_id: bytes
    ufrag: str


class Session:
    """Commands and inputs take `now` last. `failure` says why it ended, once it has."""

    def __init__(
        self,
        agent: str,
        config: AgentConfig,
        local: Credentials,
        controlling: bool,
        tie_breaker: int,
        rng: Random,
        outlet: Outlet,
    ) -> None:
        self.local = local
        self.remote: Credentials | None = None
        self.controlling = controlling
        self.failure = ""
        self.gathering = True
        self.nominated_at = 0.0
        """When the peer last nominated, if it is the controlling one: until it is done, it needs all our paths."""
        self._agent = agent
        self._config = config
        self._tie_breaker = tie_breaker
        self._rng = rng
        self._outlet = outlet
        self._timers = Timers()
        self._checklist = Checklist(controlling)
        self._checks = Checks(agent, config, self._checklist, self._timers, rng, outlet)
        self._bases: dict[Address, Candidate] = {}
        self._locals: list[Candidate] = []
        self._remotes: dict[tuple[int, Address], Candidate] = {}
        self._early: dict[tuple[Address, Address], HeardCheck] = {}
        self._learned = 0
        self._hints: dict[CandidatePair, str] = {}
        self._selections = {number: Selection(number) for number in range(1, config.components + 1)}
        self._accepted: dict[tuple[Address, Address], int] = {}
        self._ended = False
        self._ringing = False
        self._began_at = 0.0

    # --- what the agent asks -----------------------------------------------------------------------------
    @property
    def checking(self) -> bool:
        return self.remote is not None and len(self._checklist) > 0

    @property
    def connected(self) -> bool:
        return all(selection.active is not None for selection in self._selections.values())

    @property
    def completed(self) -> bool:
        return all(selection.selected for selection in self._selections.values())

    def active(self, component: int) -> CandidatePair | None:
        selection = self._selections.get(component)
        return selection.active if selection else None

    def selected(self, component: int) -> CandidatePair | None:
        selection = self._selections.get(component)
        return selection.active if selection and selection.selected else None

    def remote_ips(self) -> tuple[str, ...]:
        """Every IP of the peer, in the order in which they became known: what relays must let through."""
        return tuple(dict.fromkeys(address.ip for _, address in self._remotes))

    def accepts(self, base: Address, source: Address) -> int | None:
        """The component that data from there belongs to, or None if no authentic check came from there."""
        return self._accepted.get((base, source))

    # --- candidates --------------------------------------------------------------------------------------
    def add_local(self, candidate: Candidate, now: float) -> None:
        self._locals.append(candidate)
        if candidate.type in (CandidateType.HOST, CandidateType.RELAY):
            self._bases[candidate.address] = candidate
        for remote in self._remotes.values():
            self._form(candidate, remote)
        self._go_on(now)

    def add_remote(self, candidate: Candidate, now: float) -> None:
        """A candidate that the peer announced."""
        self._outlet.emit(records.CandidateReceived(self._agent, candidate.info))
        key = candidate.component, candidate.address
        known = self._remotes.get(key)
        if reason := self._unusable(candidate):
            self._outlet.emit(records.CandidatePruned(self._agent, candidate.info, reason))
            return
        if known is not None:
            if known.type is not CandidateType.PRFLX or candidate.type is CandidateType.PRFLX:
                self._outlet.emit(records.CandidatePruned(self._agent, candidate.info, f"repeats {known}"))
                return
            # RFC 8838 §11.4: what a check taught us now gets its real type and priority.
            self._remotes[key] = candidate
            self._checklist.replace_remote(known, candidate)
            self._settle(candidate.component, now)
            return
        self._remotes[key] = candidate
        self._began_at = max(self._began_at, now)
        for local in self._locals:
            self._form(local, candidate)
        self._go_on(now)

    def end_of_remote_candidates(self, now: float) -> None:
        self._ended = True
        self._go_on(now)

    def set_remote(self, remote: Credentials, now: float) -> None:
        """The peer's credentials: checks may start. Checks that came early are taken up."""
        if not 0 < len(remote.ufrag) <= MAX_UFRAG or not 0 < len(remote.pwd) <= MAX_UFRAG:
            self._fail("the peer's ICE user name or password has an impossible length")
            return
        self.remote = remote
        self._began_at = now
        self._timers.arm("patience", now + self._config.patience)
        self._timers.arm("keepalive", now + self._config.keepalive)
        for candidate in self._remotes.values():
            for local in self._locals:
                self._form(local, candidate)
        early, self._early = self._early, {}
        for check in early.values():
            pair = self._place(check) if check.ufrag == remote.ufrag else None
            if pair is not None:
                self._heard(pair, check, now)
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
                if pair.state is PairState.FAILED:
                    pair.move(PairState.WAITING)
        self._go_on(now)

    def gathering_done(self, now: float) -> None:
        self.gathering = False
        for component in self._selections:
            self._settle(component, now)
        self._judge(now)

    def close(self) -> None:
        self._timers.clear()
        for selection in self._selections.values():
            selection.active = None

    # --- bases that go away ------------------------------------------------------------------------------
    def peer_refused(self, base: Address, ip: str, reason: str, now: float) -> None:
        """The relay does not forward to this IP. Where it did before, consent tells whether it still does."""
        for pair in self._checklist:
            if pair.base == base and pair.remote.address.ip == ip and pair.state is not PairState.SUCCEEDED:
                self._lose(pair, reason, now)
        self._judge(now)

    def base_lost(self, base: Address, reason: str, now: float) -> None:
        """A relay or socket is gone, and with it all that it carried."""
        self._bases.pop(base, None)
        self._locals = [candidate for candidate in self._locals if candidate.base != base]
        for pair in self._checklist:
            if pair.base == base:
                self._lose(pair, reason, now)
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
        if self._conflict(request, now):
            refusal = Refusal(487, "Role Conflict")
            self._outlet.send_stun(base, source, messages.check_error(request, refusal, self.local), now)
            return
        priority = request.get(stun.PRIORITY)
        heard = HeardCheck(
            base=base,
            source=source,
            priority=NO_PRIORITY if priority is None else priority,
            nominates=request.get(stun.USE_CANDIDATE) is not None,
            transaction_id=request.transaction_id,
            ufrag=theirs,
        )
        pair = self._place(heard) if self.remote is not None else None
        if pair is None and not (self.remote is None and self._keep(heard)):
            return  # No room for it. An answer would let the peer count on a path that we forget.
        self._accept(base, source)
        self._outlet.send_stun(base, source, messages.check_success(request, self.local, source), now)
        if pair is not None:
            self._heard(pair, heard, now)

    def handle_response(self, base: Address, source: Address, response: StunMessage, now: float) -> None:
        """An answer to a check or consent request of ours (RFC 8445 §7.2.5)."""
        if self.remote is None:
            return
        authentic = stun.verify_integrity(response, stun.short_term_key(self.remote.pwd))
        id = response.transaction_id
        for selection in self._selections.values():
            consent = selection.consent
            if consent is not None and consent.knows(id):
                there = consent.pair.base == base and consent.pair.remote.address == source
                if authentic and there and response.message_class is MessageClass.SUCCESS:
                    consent.pair.round_trip = consent.answered(id, now)
                    self._timers.arm(selection.consent_timer, consent.next_at)
                return
        check = self._checks.take(id)
        if check is None:
            return
        error = response.get(stun.ERROR_CODE)
        if not authentic:
            # RFC 8489 §9.1.4: as if it had not come. But it may explain why none that counts does.
            said = f"said {error.code} {error.reason}".rstrip() if error else "had a wrong signature"
            self._hints[check.pair] = f"an answer that proves nothing {said}"
        elif response.message_class is MessageClass.SUCCESS:
            self._checks.done(check)
            self._succeeded(check, base, source, response.get(stun.XOR_MAPPED_ADDRESS), now)
        else:
            self._checks.done(check)
            code = error.code if error else 500
            if code == 487:
                self._told_of_conflict(check, now)
            else:
                self._lose(
                    check.pair, f"the peer refused with {code} {error.reason if error else ''}".rstrip(), now
                )
        self._judge(now)

    def handle_timeout(self, now: float) -> None:
        for name in self._timers.due(now):
            match name:
                case "pace":
                    if self.remote is not None:
                        self._checks.pace(self.local, self.remote, self.controlling, self._tie_breaker, now)
                case Check():
                    if not self._checks.retransmit(name, now):
                        self._unanswered(name, now)
                case ("nominate", int(component)):
                    self._settle(component, now)
                case ("consent", int(component)):
                    self._watch(self._selections[component], now)
                case "keepalive":
                    self._keep_alive(now)
                case "patience":
                    self._judge(now)

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- pairs -------------------------------------------------------------------------------------------
    def _form(self, local: Candidate, remote: Candidate) -> CandidatePair | None:
        if self.remote is None or not pairable(local, remote):
            return None
        assert local.base is not None
        known = self._checklist.find(local.base, remote.address)
        if local.address != local.base:
            reason = f"its checks would leave from {local.base}, which has its own pair"
            self._outlet.emit(records.PairPruned(self._agent, local.info, remote.info, reason))
            return None
        return known or self._add(local, remote)

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

    def _unusable(self, remote: Candidate) -> str:
        """Why an announced candidate is of no use; empty if it is."""
        if remote.transport is not Transport.UDP:
            return "candidates over TCP are not used"
        if remote.component not in self._selections:
            return f"there is no component {remote.component}"
        if scope_of(remote.address.ip) is Scope.LOCAL or remote.address.port == 0:
            return "nothing can be sent to this address"
        if len(self._remotes) >= self._config.max_remote_candidates:
            return f"more than {self._config.max_remote_candidates} candidates"
        return ""

    # --- checks from the peer ----------------------------------------------------------------------------
    def _keep(self, check: HeardCheck) -> bool:
        """Remember a check from before the peer's credentials are known; False if there is no room."""
        known = self._early.get((check.base, check.source))
        if known is None and len(self._early) >= MAX_EARLY:
            return False
        if known is None or not known.nominates or check.ufrag != known.ufrag:
            self._early[check.base, check.source] = check
        return True

    def _place(self, check: HeardCheck) -> CandidatePair | None:
        """The pair that a check came in on, made if need be (RFC 8445 §7.3.1.3, §7.3.1.4)."""
        pair = self._checklist.find(check.base, check.source)
        local = self._bases.get(check.base)
        if pair is None and local is not None:
            remote = self._remotes.get((local.component, check.source)) or self._learn(local.component, check)
            pair = self._add(local, remote, needed=True) if remote else None
        return pair

    def _heard(self, pair: CandidatePair, check: HeardCheck, now: float) -> None:
        """The peer checks this pair: so shall we, and perhaps it is the one."""
        first, pair.heard_at = pair.heard_at is None, now
        selection = self._selections[pair.component]
        if check.nominates and not self.controlling:
            self.nominated_at = now
            if selection.following.nominated(pair, check.transaction_id, first):
                self._outlet.emit(records.PairNominated(self._agent, pair.id, by_us=False))
        if pair.state is not PairState.SUCCEEDED and (
            not selection.selected or selection.following.wanted is pair
        ):
            self._checks.trigger(pair, now)
        self._settle(pair.component, now)

    def _learn(self, component: int, check: HeardCheck) -> Candidate | None:
        """RFC 8445 §7.3.1.3: the peer has an address that nobody told us of."""
        if not check.priority or scope_of(check.source.ip) is Scope.LOCAL:
            return None
        learned = [key for key, remote in self._remotes.items() if remote.type is CandidateType.PRFLX]
        if len(learned) >= MAX_REFLEXIVE and not self._forget_one(learned):
            return None
        self._learned += 1
        remote = Candidate(
            type=CandidateType.PRFLX,
            address=check.source,
            priority=check.priority,
            foundation=f"learned{self._learned}",
            component=component,
        )
        self._remotes[component, check.source] = remote
        self._outlet.emit(records.CandidateReceived(self._agent, remote.info))
        return remote

    def _forget_one(self, learned: list[tuple[int, Address]]) -> bool:
        """Make room: two symmetric NATs show a new address with every check, and none of them works."""
        for key in learned:
            remote = self._remotes[key]
            pairs = [pair for pair in self._checklist if pair.remote is remote]
            if all(pair.state is PairState.FAILED for pair in pairs):
                for pair in pairs:
                    self._checklist.remove(pair)
                    self._accepted.pop((pair.base, remote.address), None)
                del self._remotes[key]
                return True
        return False

    def _accept(self, base: Address, source: Address) -> None:
        local = self._bases.get(base)
        if local is not None and len(self._accepted) < 4 * self._config.max_remote_candidates:
            self._accepted[base, source] = local.component

    def _conflict(self, request: StunMessage, now: float) -> bool:
        """RFC 8445 §7.3.1.1. True: the peer must switch; else the roles agree, perhaps because we switched."""
        theirs = request.get(stun.ICE_CONTROLLING if self.controlling else stun.ICE_CONTROLLED)
        if theirs is None:
            return False
        if self.controlling == (self._tie_breaker >= theirs):
            return True
        self._switch_role(now)
        return False

    def _told_of_conflict(self, check: Check, now: float) -> None:
        """RFC 8445 §7.2.5.1: unless we switched since, switch; then check again."""
        if check.controlling == self.controlling:
            self._switch_role(now)
        if check.pair.state is PairState.SUCCEEDED:
            self._settle(check.pair.component, now)
        elif not self._selections[check.pair.component].selected:
            self._checks.trigger(check.pair, now)

    def _switch_role(self, now: float) -> None:
        self.controlling = not self.controlling
        self._outlet.emit(records.RoleConflict(self._agent, now_controlling=self.controlling))
        self._checklist.set_controlling(self.controlling)
        for selection in self._selections.values():
            selection.nominating = None
            self._timers.cancel(selection.nomination_timer)

    # --- answers to our checks ---------------------------------------------------------------------------
    def _succeeded(
        self, check: Check, base: Address, source: Address, mapped: Address | None, now: float
    ) -> None:
        pair = check.pair
        if (base, source) != (pair.base, pair.remote.address):
            # RFC 8445 §7.2.5.2.1: the answer must take the check's way back.
            self._lose(pair, f"answered from {source} instead of {pair.remote.address} (symmetric)", now)
            return
        if mapped is None:
            self._lose(pair, "the peer's answer names no mapped address", now)
            return
        running = self._checks.current(pair)
        if running is not None and not running.nominates:
            self._checks.abandon(pair)
        again = pair.state is PairState.SUCCEEDED
        pair.valid_local = self._as_seen(pair, mapped)
        pair.valid_priority = self._checklist.priority_of(pair.valid_local, pair.remote)
        pair.round_trip = check.round_trip(now)
        selection = self._selections[pair.component]
        if not again:
            pair.move(PairState.SUCCEEDED)
            self._outlet.emit(records.PairSucceeded(self._agent, pair.id, pair.round_trip, mapped))
            self._checklist.thaw(pair.foundation)
            self._accept(pair.base, pair.remote.address)
            if selection.valid_since is None:
                selection.valid_since = now
        if check.nominates and self.controlling and check.controlling:
            self._nomination_answered(selection, pair, now)
        self._settle(pair.component, now)
        self._checks.wake(now)

    def _nomination_answered(self, selection: Selection, pair: CandidatePair, now: float) -> None:
        if selection.nominating is pair and not selection.selected:
            self._select(selection, pair, now)
        elif selection.nominating is not None and selection.nominating is not pair:
            # The peer heard a nomination that we had given up. Say again which one holds.
            self._checks.nominate(selection.nominating, now)

    def _as_seen(self, pair: CandidatePair, mapped: Address) -> Candidate:
        """The local candidate that the peer sees (RFC 8445 §7.2.5.3.1)."""
        if mapped == pair.local.address:
            return pair.local
        for candidate in self._locals:
            if candidate.address == mapped and candidate.base == pair.base:
                return candidate
        learned = Candidate(
            type=CandidateType.PRFLX,
            address=mapped,
            priority=reflexive_priority(pair),
            foundation=f"{pair.local.foundation}p",
            component=pair.component,
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
            if self._selections[pair.component].selected:
                return  # A repeated nomination; the first one was answered.
            self._selections[pair.component].given_up += 1
            self._lose(pair, f"{check.transaction.failure(now)} that nominated it", now)
        elif pair.state is PairState.IN_PROGRESS:
            self._lose(pair, self._silence(pair, now), now)
        self._judge(now)

    def _silence(self, pair: CandidatePair, now: float) -> str:
        assert pair.first_sent_at is not None
        checks = "1 check" if pair.attempts == 1 else f"{pair.attempts} checks"
        text = f"no answer to {checks} in {now - pair.first_sent_at:.1f} s"
        hint = self._hints.get(pair)
        return f"{text}; {hint}" if hint else text

    def _lose(self, pair: CandidatePair, reason: str, now: float) -> None:
        """The pair does not work, or no longer."""
        if pair.state is PairState.FAILED:
            return
        self._checks.abandon(pair)
        pair.move(PairState.FAILED)
        pair.failure = reason
        self._outlet.emit(records.PairFailed(self._agent, pair.id, reason))
        selection = self._selections[pair.component]
        if selection.nominating is pair and not selection.selected:
            selection.nominating = None
        if selection.active is pair:
            was_selected = selection.selected
            self._accepted.pop((pair.base, pair.remote.address), None)
            selection.active = selection.consent = None
            self._timers.cancel(selection.consent_timer)
            if was_selected:
                self._fail(reason)
                return
        self._settle(pair.component, now)

    # --- choosing ----------------------------------------------------------------------------------------
    def _settle(self, component: int, now: float) -> None:
        """Something changed for the component: use the best valid pair, nominate, or follow a nomination."""
        selection = self._selections[component]
        wanted = None if self.controlling else selection.following.wanted
        if self.failure or self.remote is None:
            return
        works = wanted is not None and wanted.state is PairState.SUCCEEDED
        if wanted is not None and works and not (selection.selected and selection.active is wanted):
            self._select(selection, wanted, now)
        if selection.selected:
            return
        valid = self._checklist.valid(component)
        if valid and valid[0] is not selection.active:
            first = selection.active is None
            self._activate(selection, valid[0], now)
            self._outlet.emit(self._chosen(valid[0], early=True))
            if first:
                self._outlet.emit(PairValid(valid[0].path))
        if self.controlling and selection.nominating is None and selection.valid_since is not None:
            self._consider(selection, valid, now)

    def _consider(self, selection: Selection, valid: list[CandidatePair], now: float) -> None:
        assert selection.valid_since is not None
        plan = decide(
            most_recently_heard(valid) if selection.given_up else valid,
            self._checklist.of(selection.component),
            valid_since=selection.valid_since,
            more_to_come=self.gathering or not self._ended,
            patience=self._config.nomination_patience,
            now=now,
        )
        if plan is None:
            self._timers.cancel(selection.nomination_timer)
        elif plan.at > now:
            self._timers.arm(selection.nomination_timer, plan.at)
        else:
            self._timers.cancel(selection.nomination_timer)
            selection.nominating = plan.pair
            self._outlet.emit(records.PairNominated(self._agent, plan.pair.id, by_us=True))
            self._checks.nominate(plan.pair, now)

    def _select(self, selection: Selection, pair: CandidatePair, now: float) -> None:
        """The nominated pair works both ways: it is the component's pair from now on (RFC 8445 §8.1.2)."""
        selection.selected = True
        self._timers.cancel(selection.nomination_timer)
        self._activate(selection, pair, now)
        self._outlet.emit(self._chosen(pair, early=False))
        self._outlet.emit(Selected(pair.path))
        self._outlet.pair_selected(pair, now)
        self._checks.clear_queue(selection.component)
        for other in self._checklist.of(selection.component):
            if other.unfinished:
                if other.first_sent_at is None:
                    reason = f"never checked: pair {pair.id} was selected first"
                else:
                    reason = f"{self._silence(other, now)}; given up when pair {pair.id} was selected"
                self._lose(other, reason, now)
        if self.completed:
            self._checks.stop_ordinary()

    def _activate(self, selection: Selection, pair: CandidatePair, now: float) -> None:
        if selection.active is not pair:
            selection.active = pair
            selection.consent = Consent(
                pair, self._config.consent_interval, self._config.consent_expiry, self._rng, now
            )
            self._timers.arm(selection.consent_timer, selection.consent.next_at)

    def _chosen(self, pair: CandidatePair, early: bool) -> records.PairSelected:
        path = pair.path
        return records.PairSelected(
            self._agent, pair.id, path.local.info, path.remote.info, early, path.round_trip
        )

    # --- keeping it --------------------------------------------------------------------------------------
    def _watch(self, selection: Selection, now: float) -> None:
        consent, remote = selection.consent, self.remote
        if consent is None or remote is None:
            return
        pair = consent.pair
        if consent.expired(now):
            silent_for = consent.silent_for(now)
            self._outlet.emit(records.ConsentLost(self._agent, pair.id, silent_for))
            if selection.selected:
                self._outlet.emit(ConsentLostEvent(pair.path, silent_for))
            self._lose(pair, f"the peer stopped answering {silent_for:.0f} s ago", now)
            self._judge(now)
            return
        if consent.request_due(now):
            id = messages.transaction_id(self._rng)
            data = messages.check_request(
                id,
                self.local,
                remote,
                priority=reflexive_priority(pair),
                controlling=self.controlling,
                tie_breaker=self._tie_breaker,
            )
            consent.sent(id, now)
            self._outlet.send_stun(pair.base, pair.remote.address, data, now)
        self._timers.arm(selection.consent_timer, consent.next_at)

    def _keep_alive(self, now: float) -> None:
        """Valid pairs that wait for a nomination keep their NATs awake; consent does it for the active one."""
        if self.completed:
            return
        for selection in self._selections.values():
            if selection.selected:
                continue
            for pair in self._checklist.valid(selection.component):
                if pair is not selection.active:
                    data = messages.keepalive_indication(messages.transaction_id(self._rng))
                    self._outlet.send_stun(pair.base, pair.remote.address, data, now)
        self._timers.arm("keepalive", now + self._config.keepalive)

    # --- giving up ---------------------------------------------------------------------------------------
    def _go_on(self, now: float) -> None:
        if self.remote is not None and not self.failure:
            self._checks.wake(now)
            self._timers.arm("patience", self._began_at + self._config.patience)
            self._judge(now)

    def _judge(self, now: float) -> None:
        """Fail when there is no hope left, and not before RFC 8863's patience is used up."""
        if self.failure or self.remote is None or self._ringing or self.gathering or self.connected:
            return
        if now < self._began_at + self._config.patience or not (self._ended or self._remotes):
            return
        hopeless = [s.component for s in self._selections.values() if s.active is None]
        pairs = [pair for component in hopeless for pair in self._checklist.of(component)]
        if not any(pair.unfinished for pair in pairs):
            self._fail(_sum_up(pairs))

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self.close()


def pairable(local: Candidate, remote: Candidate) -> bool:
    """RFC 8445 §6.1.2.2: same component and family; and loopback only reaches loopback."""
    return (
        local.component == remote.component
        and local.address.family == remote.address.family
        and (scope_of(local.address.ip) is Scope.LOOPBACK) == (scope_of(remote.address.ip) is Scope.LOOPBACK)
    )


def _sum_up(pairs: Iterable[CandidatePair]) -> str:
    """What became of the pairs, in one line, commonest reason first."""
    counts = Counter(pair.failure for pair in pairs)
    if not counts:
        return "no candidate of the peer could be paired with ours"
    told = [f"{count} of them: {reason}" if count > 1 else reason for reason, count in counts.most_common(4)]
    more = f"; and {len(counts) - 4} reasons more" if len(counts) > 4 else ""
    return f"none of {sum(counts.values())} pairs worked ({'; '.join(told)}{more})"
