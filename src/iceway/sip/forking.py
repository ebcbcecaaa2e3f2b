"""Forks of forwarded requests and the one answer that is made of theirs (RFC 3261 §16.7 to §16.10).

A request that was forwarded has a response context: its branches, and what each of them has said so far. Ringing and
every 2xx of an INVITE are passed back at once, the best of the failures when all have failed; losers are cancelled, a
branch whose hop is dead goes on to its fallback, and an INVITE that rings for ever is given up by Timer C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from iceway.core.timers import Timers
from iceway.sip.best_response import best_response
from iceway.sip.endpoint import Endpoint
from iceway.sip.proxy_events import Granted, Hop, HopFailed, RequestArrived
from iceway.trace.records import Note
from iceway.wire.sip import Request, Response, make_response, quote

LINGER = 40.0  # copies of a 2xx may come for 64·T1 after the first (RFC 6026)
# What no client may tell another: who somebody is, and that a password is wanted.
_SERVERS_ONLY = ("WWW-Authenticate", "Proxy-Authenticate", "P-Asserted-Identity", "Remote-Party-ID")


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A request on its way on: as it arrived, and as it is to be copied for its hops."""

    arrived: RequestArrived
    request: Request
    from_client: bool
    record_route: bool


class Forwarder(Protocol):
    """The proxy, as its forks see it."""

    def emit(self, output: object) -> None: ...

    def new_tag(self) -> str: ...

    def send_copy(self, forwarding: Forwarding, hop: Hop, breadth: int | None, now: float) -> str:
        """Send a hop its copy of the request; returns the branch."""


@dataclass(slots=True)
class _Branch:
    hop: Hop
    final: Response | None = None
    heard: bool = False


@dataclass(slots=True)
class _Context:
    """A response context (§16.2): one server transaction and what became of its forks."""

    forwarding: Forwarding
    transaction: str
    branches: dict[str, _Branch] = field(default_factory=dict)
    answered: bool = False
    cancelled: bool = False
    declined: bool = False


class Forking:
    """The response contexts of one proxy. `host` signs its warnings; `timer_c` is how long an INVITE may ring."""

    def __init__(self, endpoint: Endpoint, owner: Forwarder, host: str, timer_c: float) -> None:
        self._endpoint = endpoint
        self._owner = owner
        self._host = host
        self._timer_limit = timer_c
        self._contexts: dict[str, _Context] = {}
        self._context_of: dict[str, str] = {}
        self._timers = Timers()

    def has(self, transaction: str) -> bool:
        """Whether this server transaction was forwarded."""
        return transaction in self._contexts

    def has_branch(self, branch_id: str) -> bool:
        return branch_id in self._context_of

    # --- inputs ---------------------------------------------------------------------------------------
    def begin(
        self, transaction: str, forwarding: Forwarding, hops: Sequence[Hop], breadth: int, now: float
    ) -> None:
        """Send the request to every hop at once."""
        context = self._contexts[transaction] = _Context(forwarding, transaction)
        for hop in hops:
            self._start(context, hop, breadth, now)

    def response(self, branch_id: str, response: Response, now: float) -> None:
        context = self._contexts[self._context_of[branch_id]]
        branch = context.branches[branch_id]
        if branch.hop.client:
            response = _as_a_client_may_say_it(response)
        if response.is_provisional:
            branch.heard = True
            if self._timers.at(("C", branch_id)) is not None:
                self._timers.arm(("C", branch_id), now + self._timer_limit)
            if response.status > 100 and not context.answered:
                self._pass_on(context, response, now)
            return
        self._timers.cancel(("C", branch_id))
        first = branch.final is None
        branch.final = _worth_passing_on(response.without_first_value("Via"), branch.hop)
        if response.is_success:
            if context.forwarding.arrived.request.method == "INVITE" or not context.answered:
                context.answered = True
                self._pass_on(context, response, now)
            self._cancel_pending(context, now, 'SIP;cause=200;text="Call completed elsewhere"')
        elif first:
            if response.status == 430:
                self._dead(context, branch, 430, "the edge has no connection to the client any more", now)
            elif response.status >= 600:
                context.declined = True
                self._cancel_pending(context, now, None)
        self._conclude(context, now)

    def branch_failed(self, branch_id: str, status: int, reason: str, now: float) -> None:
        """No connection or no answer: as if the next element had said so (§16.9)."""
        context = self._contexts[self._context_of[branch_id]]
        branch = context.branches[branch_id]
        self._timers.cancel(("C", branch_id))
        if branch.final is not None:
            return
        told = branch.hop.unreachable if status == 503 else status
        branch.final = make_response(
            context.forwarding.arrived.request, told, to_tag=self._owner.new_tag()
        ).with_last("Warning", f"399 {self._host} {quote(reason)}")
        if not branch.heard:
            self._dead(context, branch, status, reason, now)
        self._conclude(context, now)

    def cancel(self, transaction: str, reason: str | None, now: float) -> None:
        """The caller gives up (§16.10)."""
        context = self._contexts[transaction]
        context.cancelled = True
        self._cancel_pending(context, now, reason)

    def upstream_gone(self, transaction: str, now: float) -> None:
        """Nobody is there any more to be answered."""
        context = self._contexts[transaction]
        context.answered = True
        self.cancel(transaction, None, now)

    def handle_timeout(self, now: float) -> None:
        for timer in self._timers.due(now):
            assert isinstance(timer, tuple)
            kind, key = timer
            if kind == "C":
                self._timer_c(key, now)
            else:
                self._forget(key)

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- branches -------------------------------------------------------------------------------------
    def _start(self, context: _Context, hop: Hop, breadth: int | None, now: float) -> None:
        branch_id = self._owner.send_copy(context.forwarding, hop, breadth, now)
        context.branches[branch_id] = _Branch(hop)
        self._context_of[branch_id] = context.transaction
        if context.forwarding.request.method == "INVITE":
            self._timers.arm(("C", branch_id), now + self._timer_limit)

    def _dead(self, context: _Context, branch: _Branch, status: int, reason: str, now: float) -> None:
        self._owner.emit(HopFailed(branch.hop, status, reason))
        if branch.hop.fallback is not None and not (
            context.cancelled or context.declined or context.answered
        ):
            self._start(context, branch.hop.fallback, None, now)

    def _conclude(self, context: _Context, now: float) -> None:
        """When every fork is final: pass the best response on, and let the context fade."""
        if any(branch.final is None for branch in context.branches.values()):
            return
        self._timers.arm(("forget", context.transaction), now + LINGER)
        if not context.answered:
            context.answered = True
            finals = [branch.final for branch in context.branches.values() if branch.final is not None]
            self._endpoint.respond(context.transaction, best_response(finals), now)

    def _pass_on(self, context: _Context, response: Response, now: float) -> None:
        self._endpoint.respond(context.transaction, response.without_first_value("Via"), now)
        self._owner.emit(Granted(context.forwarding.arrived))

    def _timer_c(self, branch_id: str, now: float) -> None:
        """An INVITE that rings for ever is given up (§16.8)."""
        if self._endpoint.cancel(branch_id, now):
            self._owner.emit(
                Note("info", f"An INVITE was not answered in {self._timer_limit:g} s; cancelled.")
            )

    def _cancel_pending(self, context: _Context, now: float, reason: str | None) -> None:
        if context.forwarding.arrived.request.method != "INVITE":
            return
        for branch_id, branch in context.branches.items():
            if branch.final is None:
                self._endpoint.cancel(branch_id, now, reason)

    def _forget(self, transaction: str) -> None:
        context = self._contexts.pop(transaction, None)
        for branch_id in context.branches if context else ():
            self._context_of.pop(branch_id, None)
            self._timers.cancel(("C", branch_id))


def _as_a_client_may_say_it(response: Response) -> Response:
    """A digest made for another client's challenge is one to guess the password from, so none goes through."""
    if response.status in (401, 407):
        response = replace(response, status=403, reason="Forbidden")
    return response.without_header(*_SERVERS_ONLY)


def _worth_passing_on(response: Response, hop: Hop) -> Response:
    """What a failure further on means to the caller (§16.7 step 6; RFC 5626 §5.3).

    A dead flow means that the user is away for now. A client's 503 says nothing about this server.
    """
    if response.status == 430:
        return replace(response, status=480, reason="Temporarily Unavailable")
    if response.status == 503 and hop.client:
        return replace(response, status=500, reason="Server Internal Error")
    return response
