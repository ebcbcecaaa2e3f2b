"""Relay credentials for users: the front end vouches for who asks, and fetches them from an edge.

A SERVICE request whose sender is authenticated may ask for itself and nobody else. Edges are asked in the
configured order, each for a bounded time; the first that mints answers the client. When none does, the client
gets 504 with every edge's reason in a Warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from iceway.core.errors import ParseError
from iceway.core.machine import Input, Outbox, earliest
from iceway.core.timers import Timers
from iceway.frontend.config import EdgeConfig, FrontEndConfig
from iceway.sip.endpoint import ResponseReceived, Target, TransactionFailed
from iceway.sip.locate import Located, Locator, NotLocated
from iceway.sip.proxy import Proxy
from iceway.sip.proxy_events import RequestArrived
from iceway.sip.registrar import address_of_record
from iceway.trace.records import CredentialsRefused, CredentialsRequested, Malformed
from iceway.wire import mras
from iceway.wire.mras import MrasRequest, MrasResponse, ReasonPhrase
from iceway.wire.sip import Headers, Request, SipUri, make_response, quote

if TYPE_CHECKING:
    from random import Random

MAX_PENDING = 1000
_GENUINE = (ReasonPhrase.OK, ReasonPhrase.NOT_SUPPORTED, ReasonPhrase.FORBIDDEN)
"""Outcomes that another edge would not better."""


@dataclass(slots=True)
class _Pending:
    """One client waiting: the edges not asked yet, and why those asked gave nothing."""

    arrived: RequestArrived
    user: str
    asked: MrasRequest
    edges: list[EdgeConfig]
    edge: EdgeConfig | None = None
    targets: list[Target] = field(default_factory=list)
    awaited: str | None = None
    """The look-up, or the transaction with an edge, whose outcome is next."""
    failures: list[str] = field(default_factory=list)


class CredentialBroker(Outbox):
    """A machine beside the front end's proxy, through which it speaks. Its own inputs are look-ups."""

    def __init__(self, name: str, config: FrontEndConfig, proxy: Proxy, rng: Random) -> None:
        super().__init__()
        self._config = config
        self._proxy = proxy
        self._rng = rng
        self._locator = Locator(name, rng)
        self._timers = Timers()
        self._pending: dict[str, _Pending] = {}

    # --- commands -------------------------------------------------------------------------------------
    def serve(self, arrived: RequestArrived, user: str, now: float) -> None:
        """Answer a SERVICE request of the authenticated `user`, now or when an edge has answered."""
        request, transaction = arrived.request, arrived.transaction
        if transaction is None:
            return
        if request.content_type != mras.CONTENT_TYPE:
            self._proxy.refuse(arrived, 415, now, headers=[("Accept", mras.CONTENT_TYPE)])
            return
        try:
            asked = mras.parse_request(request.body)
        except ParseError as error:
            self.emit(Malformed("mras", arrived.flow.remote, str(error), len(request.body)))
            self._reply(arrived, MrasResponse.refusing(None, ReasonPhrase.MALFORMED), now)
            return
        fault = asked.fault() or self._objection(asked, user)
        if fault is not None:
            self._reply(arrived, MrasResponse.refusing(asked, fault), now)
            return
        for item in asked.credentials:
            wanted = 60.0 * (item.duration or mras.DEFAULT_DURATION)
            location = str(item.location or "internet and intranet")
            self.emit(CredentialsRequested(item.identity, location, wanted))
        self._pending[transaction] = _Pending(arrived, user, asked, list(self._config.edges))
        self._ask_next(transaction, now)
        self._settle(now)

    def heard(self, event: ResponseReceived | TransactionFailed, now: float) -> None:
        """An event of the proxy's about a request of ours; others are ignored."""
        transaction = self._asker(event.transaction)
        if transaction is None:
            return
        if isinstance(event, TransactionFailed):
            self._next_target(transaction, event.reason, now)
        elif not event.response.is_provisional:
            self._answered(transaction, event, now)
        self._settle(now)

    # --- machine --------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        self._locator.handle_input(event, now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        self._locator.handle_timeout(now)
        for transaction in self._timers.due(now):
            assert isinstance(transaction, str)
            self._edge_failed(transaction, f"no answer in {self._config.relay.timeout:g} s", now)
        self._settle(now)

    def poll_timeout(self) -> float | None:
        return earliest(self._locator.poll_timeout(), self._timers.next_at())

    def _settle(self, now: float) -> None:
        while (output := self._locator.poll_output()) is not None:
            match output:
                case Located(question, _, targets):
                    self._located(question, targets, now)
                case NotLocated(question, _, reason):
                    if (transaction := self._asker(question)) is not None:
                        self._edge_failed(transaction, reason, now)
                case _:
                    self.emit(output)

    # --- the client's side ----------------------------------------------------------------------------
    def _objection(self, asked: MrasRequest, user: str) -> ReasonPhrase | None:
        """Nobody gets credentials in another's name; nor is there room for everybody at once."""
        for item in asked.credentials:
            try:
                own = address_of_record(SipUri.parse(item.identity)) == user
            except ParseError:
                own = False
            if not own:
                self.emit(CredentialsRefused(user, f"asked for credentials of {item.identity[:200]}"))
                return ReasonPhrase.FORBIDDEN
        if len(self._pending) >= MAX_PENDING:
            self.emit(CredentialsRefused(user, f"{MAX_PENDING} requests are waiting for edges already"))
            return ReasonPhrase.BUSY
        return None

    def _reply(self, arrived: RequestArrived, response: MrasResponse, now: float) -> None:
        self._reply_with(arrived, mras.serialize_response(response), now)

    def _reply_with(self, arrived: RequestArrived, body: bytes, now: float) -> None:
        response = make_response(arrived.request, 200, to_tag=self._proxy.new_tag())
        self._proxy.respond(arrived, response.with_body(body, mras.CONTENT_TYPE), now)

    # --- the edges' side ------------------------------------------------------------------------------
    def _ask_next(self, transaction: str, now: float) -> None:
        pending = self._pending[transaction]
        pending.awaited = None
        if not pending.edges:
            self._give_up(transaction, now)
            return
        pending.edge = pending.edges.pop(0)
        self._timers.arm(transaction, now + self._config.relay.timeout)
        uri = SipUri.parse(f"sip:{pending.edge.mras};transport=tls")
        pending.awaited = self._locator.locate(uri, now)

    def _located(self, question: str, targets: Sequence[Target], now: float) -> None:
        transaction = self._asker(question)
        if transaction is None:
            return
        pending = self._pending[transaction]
        assert pending.edge is not None
        pending.targets = [
            Target(target.address, target.transport, pending.edge.name, "frontend") for target in targets
        ]
        self._next_target(transaction, "it has no address", now)

    def _next_target(self, transaction: str, failure: str, now: float) -> None:
        """Ask the edge at its next address; when it has no more, the next edge."""
        pending = self._pending[transaction]
        if not pending.targets:
            self._edge_failed(transaction, failure, now)
            return
        assert pending.edge is not None
        request = self._request(pending, pending.edge)
        pending.awaited = self._proxy.request(request, pending.targets.pop(0), now)

    def _request(self, pending: _Pending, edge: EdgeConfig) -> Request:
        longest = round(self._config.relay.max_hours * 60)
        items = tuple(
            replace(item, identity=pending.user, duration=min(item.duration or longest, longest))
            for item in pending.asked.credentials
        )
        uri = f"sip:{edge.mras};transport=tls"
        headers = Headers.of(
            ("Max-Forwards", "70"),
            ("From", f"<sip:{self._config.name}>;tag={self._proxy.new_tag()}"),
            ("To", f"<{uri}>"),
            ("Call-ID", f"{self._rng.getrandbits(96):024x}@{self._config.name}"),
            ("CSeq", "1 SERVICE"),
            ("P-Asserted-Identity", f"<{pending.user}>"),
            ("Content-Type", mras.CONTENT_TYPE),
        )
        body = mras.serialize_request(replace(pending.asked, credentials=items))
        return Request("SERVICE", uri, headers=headers, body=body)

    def _answered(self, transaction: str, event: ResponseReceived, now: float) -> None:
        pending, response = self._pending[transaction], event.response
        if not response.is_success:
            self._next_target(transaction, f"it answered {response.status} {response.reason}", now)
            return
        try:
            outcome = mras.parse_response(response.body).reason
        except ParseError as error:
            self._edge_failed(transaction, f"its answer makes no sense: {error}", now)
            return
        if outcome not in _GENUINE:
            self._edge_failed(transaction, f"it answered {outcome.value!r}", now)
            return
        if outcome is not ReasonPhrase.OK:
            edge = pending.edge.name if pending.edge else ""
            self.emit(CredentialsRefused(pending.user, f"edge {edge} answered {outcome.value!r}"))
        self._timers.cancel(transaction)
        del self._pending[transaction]
        self._reply_with(pending.arrived, response.body, now)

    def _edge_failed(self, transaction: str, why: str, now: float) -> None:
        pending = self._pending[transaction]
        assert pending.edge is not None
        pending.targets.clear()
        pending.failures.append(f"edge {pending.edge.name}: {why}")
        self._timers.cancel(transaction)
        self._ask_next(transaction, now)

    def _give_up(self, transaction: str, now: float) -> None:
        pending = self._pending.pop(transaction)
        reason = "; ".join(pending.failures) or "no edge is configured"
        self.emit(CredentialsRefused(pending.user, reason))
        warning = f"399 {self._config.name} {quote(reason[:500])}"
        self._proxy.refuse(pending.arrived, 504, now, headers=[("Warning", warning)])

    def _asker(self, awaited: str) -> str | None:
        """The client's transaction that waits for this look-up, or for this request to an edge."""
        for transaction, pending in self._pending.items():
            if pending.awaited == awaited:
                return transaction
        return None
