"""Connectivity checks under way: pacing, retransmission, and what their answers mean (RFC 8445 §7.2, §14).

One new check leaves every Ta seconds, as both agents agreed, triggered ones before ordinary ones. Each is a
STUN transaction whose retransmissions are not paced. Giving a check up stops its retransmissions; its answer
still counts when it comes late, because it proves the path all the same.

A check is repeated after Ta times the pairs that want one, so that every pair gets its first check before others
get their second (RFC 8445 §14.3). Once something works, those pairs are the better ones alone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypedDict

from iceway.core.address import Address
from iceway.core.timers import Timers
from iceway.ice.checklist import CandidatePair, Checklist, PairState
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.config import DEFAULT_TA, LAST_WAIT, MAX_TA, REQUESTS, AgentConfig
from iceway.ice.standing import Standing
from iceway.trace.records import PairChecked
from iceway.turn.transaction import Transaction

TRIGGERED_IN_A_ROW = 3
"""Then one ordinary check: behind two symmetric NATs every check triggers another that leads nowhere."""
MAX_REMEMBERED = 256  # transactions whose late answers still count


class Cause(StrEnum):
    """Why a check is sent, as records say it."""

    ORDINARY = "ordinary"
    TRIGGERED = "triggered"
    NOMINATION = "nomination"
    MEASURE = "measurement"


class Schedule(TypedDict):
    """Rc and Rm of RFC 8489 §6.2.1."""

    requests: int
    last_wait: float


_PATIENT = Schedule(requests=REQUESTS, last_wait=LAST_WAIT)
_SCHEDULE = {
    Cause.ORDINARY: _PATIENT,
    Cause.TRIGGERED: _PATIENT,
    # A path that worked a moment ago and now swallows five requests is gone.
    Cause.NOMINATION: Schedule(requests=5, last_wait=4),
    Cause.MEASURE: Schedule(requests=5, last_wait=4),
}
_BRIEF = Schedule(requests=4, last_wait=4)  # after the choice, of what may be better
_KEEPS = (Cause.NOMINATION, Cause.MEASURE)


class Outlet(Protocol):
    """What the session needs of the agent around it."""

    def emit(self, output: object) -> None: ...

    def send_stun(self, base: Address, remote: Address, data: bytes, now: float) -> None:
        """Send a STUN message from a socket or relay, with its record."""

    def pair_selected(self, pair: CandidatePair, now: float) -> None:
        """The pair was nominated and will carry media."""

    def is_mute(self, base: Address, now: float) -> bool:
        """Whether servers stay silent on this host base that answer elsewhere."""


@dataclass(slots=True, eq=False)
class Check:
    """One check. `controlling` is the role it was sent in; after `sent_at` no request of it has left yet."""

    transaction_id: bytes
    pair: CandidatePair
    cause: Cause
    controlling: bool
    transaction: Transaction
    sent_at: float

    @property
    def keeps(self) -> bool:
        """It goes out on a pair that works already, and leaves its state alone."""
        return self.cause in _KEEPS

    @property
    def nominates(self) -> bool:
        return self.cause is Cause.NOMINATION

    def round_trip(self, now: float) -> float:
        """At least this long: with retransmissions nobody knows which request was answered."""
        return now - self.sent_at


class Checks:
    """The outgoing transactions of one session. Its timers live in the session's, named `pace` and by Check."""

    def __init__(
        self,
        agent: str,
        config: AgentConfig,
        standing: Standing,
        checklist: Checklist,
        together: ChecklistSet,
        timers: Timers,
        outlet: Outlet,
    ) -> None:
        self._agent = agent
        self._config = config
        self._standing = standing
        self.checklist = checklist
        self._together = together
        self._timers = timers
        self._outlet = outlet
        self._queue: deque[tuple[CandidatePair, Cause]] = deque()
        self._current: dict[CandidatePair, Check] = {}
        self._transactions: dict[bytes, Check] = {}
        self._ta = max(config.ta, DEFAULT_TA)
        self._in_a_row = 0
        self.stopped = False

    def agree(self, proposed: float | None) -> None:
        """RFC 8839 §5.5: the larger of both proposals holds; who says nothing proposes the default."""
        self._ta = max(self._config.ta, DEFAULT_TA if proposed is None else min(proposed, MAX_TA))

    # --- what to send ------------------------------------------------------------------------------------
    def trigger(self, pair: CandidatePair, now: float) -> None:
        """A check in answer to the peer's (RFC 8445 §7.3.1.4); the peer is there, so it goes before others."""
        if pair.state is PairState.IN_PROGRESS:
            self.abandon(pair)
            pair.move(PairState.WAITING)
        elif pair.state in (PairState.FROZEN, PairState.FAILED):
            pair.move(PairState.WAITING)
        if all(queued is not pair for queued, _ in self._queue):
            self._queue.append((pair, Cause.TRIGGERED))
        self.wake(now)

    def nominate(self, pair: CandidatePair, now: float) -> None:
        """The check that carries USE-CANDIDATE, on a pair that succeeded already; before everything else."""
        self._queue.appendleft((pair, Cause.NOMINATION))
        self.wake(now)

    def hasten(self, component: int, now: float) -> None:
        """Something works, or something better: what may be better still is repeated sooner."""
        for pair in self._hoped_for(component):
            check = self._current.get(pair)
            if check is not None and not check.keeps:
                rto = self._rto(check.cause, pair)
                check.transaction.hasten(rto, check.sent_at, now)
                pair.rto = min(pair.rto, rto)
                self._timers.arm(check, check.transaction.deadline)

    def wake(self, now: float) -> None:
        """There may be something to check: let the pacer look as soon as it may."""
        if self._timers.at("pace") is None:
            self._timers.arm("pace", max(now, self._together.next_at))

    def again(self, pair: CandidatePair, now: float) -> None:
        """A pair that failed is checked once more, better or not."""
        pair.move(PairState.WAITING)
        self._queue.append((pair, Cause.ORDINARY))
        self.wake(now)

    def measure(self, pair: CandidatePair, now: float) -> None:
        """How long is the round trip of a pair that works and is not in use?"""
        self._queue.append((pair, Cause.MEASURE))
        self.wake(now)

    def settle_for(self, component: int, priority: int) -> None:
        """Ordinary checks of this component go on for better pairs alone; what the peer triggers is always checked."""
        self.checklist.enough[component] = priority

    def stop_ordinary(self) -> None:
        """Only what the peer triggers is checked from now on (RFC 8445 §8.1.2)."""
        self.stopped = True

    def abandon(self, pair: CandidatePair) -> None:
        check = self._current.pop(pair, None)
        if check is not None:
            self._timers.cancel(check)

    def clear_queue(self, component: int) -> None:
        self._queue = deque(item for item in self._queue if item[0].component != component)

    # --- sending -----------------------------------------------------------------------------------------
    def pace(self, now: float) -> None:
        """The pacer's turn: a check leaves, of this list or another, and we look again after Ta."""
        if self._together.pace(now):
            self.wake(now)

    def send_next(self, now: float) -> float | None:
        """Send the next check; then Ta. None: there is nothing to send."""
        found = None if self._standing.remote is None else self._next()
        if found is None:
            return None
        pair, cause = found
        if cause not in _KEEPS:
            pair.move(PairState.IN_PROGRESS)
        id, data = self._standing.request(pair, nominate=cause is Cause.NOMINATION)
        pair.rto = self._rto(cause, pair)
        schedule = (
            _BRIEF
            if cause is Cause.ORDINARY and pair.component in self.checklist.enough
            else _SCHEDULE[cause]
        )
        transaction = Transaction(
            data,
            now,
            reliable=pair.local.transport.is_stream,  # RFC 6544 §7.1: TCP repeats by itself
            rto=pair.rto,
            **schedule,
        )
        check = Check(id, pair, cause, self._standing.controlling, transaction, now)
        self._current[pair] = check
        pair.counts.requests_sent += 1
        self._transactions[id] = check
        while len(self._transactions) > MAX_REMEMBERED:
            del self._transactions[next(iter(self._transactions))]
        self._send(check, now)
        return self._ta

    def retransmit(self, check: Check, now: float) -> bool:
        """The check's timer fired. False: it has failed, nobody answered."""
        if check.transaction.on_timeout(now) is None:
            self._forget(check)
            return False
        self._send(check, now)
        return True

    def take(self, transaction_id: bytes) -> Check | None:
        """The check that an answer belongs to."""
        return self._transactions.get(transaction_id)

    def done(self, check: Check) -> None:
        """Answered: the transaction is over."""
        self._forget(check)
        self._transactions.pop(check.transaction_id, None)

    def current(self, pair: CandidatePair) -> Check | None:
        return self._current.get(pair)

    def silence(self, pair: CandidatePair, now: float) -> str:
        """What to say of a pair that never answered."""
        assert pair.first_sent_at is not None
        checks = "1 check" if pair.attempts == 1 else f"{pair.attempts} checks"
        text = f"no answer to {checks} in {now - pair.first_sent_at:.1f} s"
        return f"{text}; {pair.hint}" if pair.hint else text

    def _next(self) -> tuple[CandidatePair, Cause] | None:
        if self._in_a_row < TRIGGERED_IN_A_ROW:
            found = self._next_queued() or self._next_ordinary()
        else:
            found = self._next_ordinary() or self._next_queued()
        triggered = found is not None and found[1] is Cause.TRIGGERED
        self._in_a_row = self._in_a_row + 1 if triggered else 0
        return found

    def _next_queued(self) -> tuple[CandidatePair, Cause] | None:
        while self._queue:
            pair, cause = self._queue.popleft()
            if pair.state is (PairState.SUCCEEDED if cause in _KEEPS else PairState.WAITING):
                return pair, cause
        return None

    def _next_ordinary(self) -> tuple[CandidatePair, Cause] | None:
        queued = [pair for pair, _ in self._queue]
        pair = None if self.stopped else self.checklist.next_ordinary(queued)
        return (pair, Cause.ORDINARY) if pair else None

    def _hoped_for(self, component: int) -> list[CandidatePair]:
        valid = self.checklist.valid(component)
        return self.checklist.hoped_for(component, valid[0].valid_priority) if valid else []

    def _rto(self, cause: Cause, pair: CandidatePair) -> float:
        if cause in _KEEPS:
            # One measurement may be far too long, of a relay over TCP that lost a segment: it may not slow us much.
            return min(max(self._config.rto, 2 * (pair.round_trip or 0.0)), 2 * self._config.rto)
        better = self._hoped_for(pair.component)
        waiting = len(better) if pair in better else self._together.busy()
        return max(self._config.rto, self._ta * waiting)

    def _send(self, check: Check, now: float) -> None:
        pair = check.pair
        check.sent_at = now
        pair.attempts += 1
        if pair.first_sent_at is None:
            pair.first_sent_at = now
        self._timers.arm(check, check.transaction.deadline)
        self._outlet.emit(PairChecked(self._agent, pair.id, pair.attempts, check.cause.value))
        self._outlet.send_stun(pair.base, pair.remote.address, check.transaction.data, now)

    def _forget(self, check: Check) -> None:
        self._timers.cancel(check)
        if self._current.get(check.pair) is check:
            del self._current[check.pair]
