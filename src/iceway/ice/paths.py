"""Which valid pair each component uses: the best one at first, then the nominated one, for as long as it lives.

How both ends come to the same pair: only the controlling agent decides, and it decides once, after looking
(regular nomination, RFC 8445 §8.1.1); again only if both announced that (see `improvement`). It selects when its
nomination is answered; the controlled agent selects when a nominated pair works in its own direction too. If the
controlling one had to give a nomination up and a late answer shows that it arrived after all, it repeats the
nomination that holds, so the last word is clear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.core.address import Address
from iceway.core.timers import Timers
from iceway.ice.checklist import CandidatePair, Checklist, PairState
from iceway.ice.checks import Check, Checks, Outlet
from iceway.ice.config import AgentConfig
from iceway.ice.consent import Consent
from iceway.ice.events import ConsentLostEvent, PairValid, Selected
from iceway.ice.improvement import Improvement
from iceway.ice.messages import keepalive_indication, transaction_id
from iceway.ice.nomination import Following, decide, most_recently_heard
from iceway.ice.remotes import HeardCheck
from iceway.ice.standing import Standing
from iceway.trace import records

if TYPE_CHECKING:
    from random import Random


class Component:
    """The state of one component. Media may flow on `active` as soon as there is one (RFC 8445 §12).

    `nominating` is the pair whose nomination waits for its answer, `given_up` how many never got one.
    `consent` watches the active pair, which changed `changes` times.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.active: CandidatePair | None = None
        self.selected = False
        self.changes = 0
        self.valid_since: float | None = None
        self.nominating: CandidatePair | None = None
        self.given_up = 0
        self.following = Following()
        self.improvement = Improvement()
        self.consent: Consent | None = None
        self.consent_timer = "consent", number
        self.nomination_timer = "nominate", number
        self.look_timer = "look", number


class Paths:
    """All components of one session. `failure` says why a selected path ended, once it has."""

    def __init__(
        self,
        agent: str,
        config: AgentConfig,
        standing: Standing,
        checklist: Checklist,
        checks: Checks,
        timers: Timers,
        rng: Random,
        outlet: Outlet,
    ) -> None:
        self.components = {number: Component(number) for number in range(1, config.components + 1)}
        self.failure = ""
        self.more_to_come = True
        """Candidates of either side are still being found; the session keeps it up to date."""
        self.nominated_at = 0.0
        """When the peer last nominated, if it is the controlling one."""
        self.doubted_at = 0.0
        """When what had worked fell silent: the patience for new checks counts from then."""
        self._agent = agent
        self._config = config
        self._standing = standing
        self._checklist = checklist
        self._checks = checks
        self._timers = timers
        self._rng = rng
        self._outlet = outlet
        self._accepted: dict[tuple[Address, Address], int] = {}

    # --- questions ---------------------------------------------------------------------------------------
    @property
    def connected(self) -> bool:
        return all(component.active is not None for component in self.components.values())

    @property
    def completed(self) -> bool:
        return all(component.selected for component in self.components.values())

    def needed_ways(self) -> tuple[tuple[Address, Address], ...]:
        """Base and remote address of selected pairs, and of pairs that the peer wants and that do not work yet."""
        pairs = [
            pair
            for c in self.components.values()
            for pair in (c.active, c.nominating, c.following.wanted)
            if pair is not None
        ]
        return tuple((pair.base, pair.remote.address) for pair in pairs)

    def accepts(self, base: Address, source: Address) -> int | None:
        """The component that data from there belongs to, or None if no authentic check came from there."""
        return self._accepted.get((base, source))

    def accept(self, pair_or_early: tuple[Address, Address], component: int) -> None:
        if len(self._accepted) < 4 * self._config.max_remote_candidates:
            self._accepted[pair_or_early] = component

    def ignore(self, base: Address, source: Address) -> None:
        self._accepted.pop((base, source), None)

    # --- what happens to pairs ---------------------------------------------------------------------------
    def heard(self, pair: CandidatePair, check: HeardCheck, now: float) -> None:
        """The peer checks this pair: so shall we, and perhaps it is the one (RFC 8445 §7.3.1.4, §7.3.1.5)."""
        first, pair.heard_at = pair.heard_at is None, now
        component = self.components[pair.component]
        if check.nominates and not self._standing.controlling:
            self.nominated_at = now
            number = check.nomination if self._standing.renominates else 0
            if component.following.nominated(pair, check.transaction_id, first, number):
                self._outlet.emit(records.PairNominated(self._agent, pair.id, by_us=False))
        wanted = component.following.wanted is pair
        if self._standing.lite:
            self._believe(component, pair, wanted, now)
        elif pair.state is not PairState.SUCCEEDED and (wanted or self._tempting(component, pair)):
            self._checks.trigger(pair, now)
        self.settle(pair.component, now)

    def _believe(self, component: Component, pair: CandidatePair, wanted: bool, now: float) -> None:
        """A lite agent checks nothing: a nominated pair works, for as long as the peer goes on checking it."""
        if wanted and pair.state is not PairState.SUCCEEDED:
            pair.valid_local, pair.valid_priority = pair.local, pair.priority
            if pair.state is not PairState.WAITING:
                pair.move(PairState.WAITING)
            pair.move(PairState.SUCCEEDED)
        if component.active is pair and component.consent is not None:
            component.consent.renewed(now)
            self._timers.arm(component.consent_timer, component.consent.next_at)

    def works(self, pair: CandidatePair, check: Check, now: float) -> None:
        """A check of the pair was answered."""
        component = self.components[pair.component]
        if component.valid_since is None:
            component.valid_since = now
        self.accept((pair.base, pair.remote.address), pair.component)
        if check.nominates and check.controlling and self._standing.controlling:
            if component.nominating is pair:
                if not (component.selected and component.active is pair):
                    self._select(component, pair, now)
            elif component.nominating is not None:
                # The peer heard a nomination that we had given up. Say again which one holds.
                self._checks.nominate(component.nominating, now)
        self.settle(pair.component, now)

    def nomination_unanswered(self, check: Check, now: float) -> None:
        component = self.components[check.pair.component]
        if component.selected and component.active is check.pair:
            return  # A repeated nomination of the pair in use need not be answered.
        if not component.selected:
            component.given_up += 1
            self._doubt(component, check.pair, now)
        self.lose(check.pair, f"{check.transaction.failure(now)} that nominated it", now)

    def _doubt(self, component: Component, silent: CandidatePair, now: float) -> None:
        """A path that worked has fallen silent before one was selected. That the others worked says no more than that
        this one did, and to find them dead one after the other would take minutes: so all are asked again, those
        first that the peer still asks about."""
        component.valid_since = None
        self.doubted_at = now
        self._timers.arm("patience", now + self._config.patience)
        for pair in most_recently_heard(self._checklist.valid(component.number)):
            if pair is not silent:
                pair.move(PairState.WAITING)
                pair.first_sent_at = None
                self._checks.trigger(pair, now)

    def lose(self, pair: CandidatePair, reason: str, now: float, *, for_good: bool = False) -> None:
        """The pair does not work, or no longer. `for_good`: nothing can bring it back."""
        pair.hopeless = pair.hopeless or for_good
        if pair.state is PairState.FAILED:
            return
        self._checks.abandon(pair)
        pair.move(PairState.FAILED)
        pair.failure = reason
        self._outlet.emit(records.PairFailed(self._agent, pair.id, reason))
        component = self.components[pair.component]
        if component.nominating is pair and not component.selected:
            component.nominating = None
        elif component.nominating is pair and component.active is not pair:
            self._stay(component, now)
        if component.active is pair:
            self.ignore(pair.base, pair.remote.address)
            component.active = component.consent = None
            self._timers.cancel(component.consent_timer)
            if component.selected:
                self.failure = reason
                return
        self.settle(pair.component, now)

    def switched_role(self) -> None:
        """Nominations of the other role are void."""
        for component in self.components.values():
            component.nominating = None
            self._timers.cancel(component.nomination_timer)

    def close(self) -> None:
        for component in self.components.values():
            component.active = component.consent = None

    # --- choosing ----------------------------------------------------------------------------------------
    def settle(self, number: int, now: float) -> None:
        """Something changed for the component: use the best valid pair, nominate, or follow a nomination."""
        if self.failure or self._standing.remote is None:
            return
        component = self.components[number]
        wanted = None if self._standing.controlling else component.following.wanted
        works = wanted is not None and wanted.state is PairState.SUCCEEDED
        if wanted is not None and works and not (component.selected and component.active is wanted):
            self._select(component, wanted, now)
        if component.selected:
            self._improve(component, now)
            return
        valid = self._checklist.valid(number)
        if valid and valid[0] is not component.active:
            first = self._activate(component, valid[0], now)
            self._checks.hasten(number, now)
            self._outlet.emit(self._chosen(valid[0], early=True))
            if first:
                self._outlet.emit(PairValid(valid[0].path))
        if self._standing.controlling and component.nominating is None:
            self._consider(component, valid, now)

    def _consider(self, component: Component, valid: list[CandidatePair], now: float) -> None:
        if component.given_up:
            valid = most_recently_heard(valid)
        plan = decide(
            valid,
            self._checklist.hoped_for(component.number, valid[0].valid_priority) if valid else (),
            valid_since=now if component.valid_since is None else component.valid_since,
            more_to_come=self.more_to_come,
            patience=self._config.nomination_patience,
            now=now,
        )
        if plan is None:
            self._timers.cancel(component.nomination_timer)
        elif plan.at > now:
            self._timers.arm(component.nomination_timer, plan.at)
        else:
            self._nominate(component, plan.pair, now)

    def _nominate(self, component: Component, pair: CandidatePair, now: float) -> None:
        self._timers.cancel(component.nomination_timer)
        component.nominating = pair
        self._outlet.emit(records.PairNominated(self._agent, pair.id, by_us=True))
        self._checks.nominate(pair, now)

    def _select(self, component: Component, pair: CandidatePair, now: float) -> None:
        """The nominated pair works both ways: it is the component's pair from now on (RFC 8445 §8.1.2)."""
        again, component.selected = component.selected, True
        self._timers.cancel(component.nomination_timer)
        first = self._activate(component, pair, now)
        self._outlet.emit(self._chosen(pair, early=False))
        if first:  # The peer nominated before a check of ours was answered.
            self._outlet.emit(PairValid(pair.path))
        self._outlet.emit(Selected(pair.path))
        self._outlet.pair_selected(pair, now)
        self._checks.clear_queue(component.number)
        if self._standing.renominates:
            self._checks.settle_for(component.number, pair.valid_priority)
            if not again:
                component.improvement.moves(now)
                self._timers.arm(component.look_timer, component.improvement.next_look(now))
        for other in self._checklist.of(component.number):
            if other.unfinished:
                if other.first_sent_at is None:
                    reason = f"never checked: pair {pair.id} was selected first"
                else:
                    reason = f"{self._checks.silence(other, now)}; given up when pair {pair.id} was selected"
                self.lose(other, reason, now)
        if self.completed and not self._standing.renominates:
            self._checks.stop_ordinary()

    # --- choosing better ---------------------------------------------------------------------------------
    def _tempting(self, component: Component, pair: CandidatePair) -> bool:
        """Whether a pair is worth checking: before the choice any; after it, where that is allowed, a better one."""
        active = component.active
        if not component.selected or active is None:
            return True
        return self._standing.renominates and self._checklist.hoped_priority(pair) > active.valid_priority

    def _improve(self, component: Component, now: float) -> None:
        """Nominate what has turned out to be better than the selected pair (see `improvement`)."""
        active, improvement = component.active, component.improvement
        if not (self._standing.renominates and self._standing.controlling) or active is None:
            return
        if component.nominating is not None and component.nominating is not active:
            return  # One move at a time.
        better = improvement.better(self._checklist.valid(component.number), active)
        if better is None:
            self._timers.cancel(component.nomination_timer)
        elif now < improvement.next_move_at:
            self._timers.arm(component.nomination_timer, improvement.next_move_at)
        else:
            improvement.moves(now)
            self._nominate(component, better, now)

    def _stay(self, component: Component, now: float) -> None:
        """The move failed, and the peer may have made it: the pair in use is nominated once more."""
        if component.active is not None:
            self._nominate(component, component.active, now)

    def look(self, number: int, now: float) -> None:
        """From time to time: check again what would be better, measure what might be."""
        component = self.components[number]
        active, improvement = component.active, component.improvement
        if active is None or not component.selected:
            return
        above = self._checklist.above(number, active.valid_priority)
        for pair in improvement.to_check(self._checklist.of(number), above, active):
            self._checks.again(pair, now)
        for pair in improvement.to_measure(self._checklist.valid(number), active):
            self._checks.measure(pair, now)
        self._timers.arm(component.look_timer, improvement.next_look(now))

    # --- sending on it -----------------------------------------------------------------------------------
    def _activate(self, component: Component, pair: CandidatePair, now: float) -> bool:
        """Send on this pair. True if there was none."""
        first = component.active is None
        if component.active is not pair:
            component.active = pair
            component.changes += 1
            interval, expiry = self._config.consent_interval, self._config.consent_expiry
            component.consent = Consent(pair, interval, expiry, self._rng, now)
            self._timers.arm(component.consent_timer, component.consent.next_at)
        return first

    def _chosen(self, pair: CandidatePair, early: bool) -> records.PairSelected:
        path = pair.path
        local, remote = path.local.info, path.remote.info
        return records.PairSelected(self._agent, pair.id, local, remote, early, path.round_trip)

    # --- keeping it --------------------------------------------------------------------------------------
    def watch(self, number: int, now: float) -> None:
        """Consent (RFC 7675): ask again, or notice that it is gone."""
        component = self.components[number]
        consent = component.consent
        if consent is None:
            return
        pair = consent.pair
        if consent.expired(now):
            silent_for = consent.silent_for(now)
            self._outlet.emit(records.ConsentLost(self._agent, pair.id, silent_for))
            if component.selected:
                self._outlet.emit(ConsentLostEvent(pair.path, silent_for))
            else:
                self._doubt(component, pair, now)
            self.lose(pair, f"the peer stopped answering {silent_for:.0f} s ago", now)
            return
        if consent.request_due(now):
            self.ask(number, now)
        self._timers.arm(component.consent_timer, consent.next_at)

    def ask(self, number: int, now: float) -> None:
        """Ask for consent now."""
        consent = self.components[number].consent
        if consent is None:
            return
        pair = consent.pair
        id, data = self._standing.request(pair)
        consent.sent(id, now)
        if not self._standing.lite:
            pair.counts.consent_requests_sent += 1
            self._outlet.send_stun(pair.base, pair.remote.address, data, now)

    def is_consent(
        self, transaction_id: bytes, base: Address, source: Address, granted: bool, now: float
    ) -> bool:
        """Whether an answer belongs to a consent request; if it is `granted` and took the right way, it counts."""
        for component in self.components.values():
            consent = component.consent
            if consent is not None and consent.knows(transaction_id):
                pair = consent.pair
                if granted and (base, source) == (pair.base, pair.remote.address):
                    pair.measured(consent.answered(transaction_id, now))
                    self._timers.arm(component.consent_timer, consent.next_at)
                return True
        return False

    def keep_alive(self, now: float) -> None:
        """Valid pairs that wait for a nomination keep their NATs awake; consent does it for the active one."""
        for component in self.components.values():
            waiting = [] if component.selected else self._checklist.valid(component.number)
            for pair in waiting:
                if pair is not component.active:
                    data = keepalive_indication(transaction_id(self._rng))
                    self._outlet.send_stun(pair.base, pair.remote.address, data, now)
        if not self.completed:
            self._timers.arm("keepalive", now + self._config.keepalive)
