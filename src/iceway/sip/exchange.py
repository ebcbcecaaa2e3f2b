"""Requests of a user agent and their answers, with authentication taken care of (RFC 3261 §22).

An exchange is what the user agent thinks of as one request: it waits for the uplink if need be, is dressed
with what only the flow can tell (Contact), and is sent once more, under the next CSeq, when it is challenged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from iceway.core.errors import ParseError
from iceway.sip.digest import DigestClient
from iceway.sip.endpoint import Endpoint, Flow, ResponseReceived, Target, TransactionFailed
from iceway.sip.uplink import Uplink
from iceway.trace.records import Malformed, SipAuthenticationFailed
from iceway.wire.sip import CSeq, Request, Response

_MAX_CHALLENGES = 3


@dataclass(slots=True, eq=False)
class Exchange:
    """One request of ours and its answers.

    `dress` finishes the request for the flow it leaves by; `next_cseq` numbers the authenticated copy. Of
    `on_response` and `on_failure`, the latter gets a reason and the status it amounts to.
    """

    request: Request
    next_cseq: Callable[[], int]
    on_response: Callable[[Exchange, Response, float], None]
    on_failure: Callable[[Exchange, str, int, float], None]
    dress: Callable[[Request, Flow], Request] = field(default=lambda request, flow: request)
    flow: str | None = None
    transaction: str = ""
    challenges: int = 0
    unasked: bool = False
    cancelled: bool = False
    cancel_reason: str | None = None


class Requester:
    """Sends exchanges and routes what comes back to them."""

    def __init__(
        self,
        endpoint: Endpoint,
        uplink: Uplink,
        digest: DigestClient | None,
        emit: Callable[[object], None],
        username: str,
    ) -> None:
        self._endpoint = endpoint
        self._uplink = uplink
        self._digest = digest
        self._emit = emit
        self._username = username
        self._by_transaction: dict[str, Exchange] = {}
        self._waiting: list[Exchange] = []

    def send(self, exchange: Exchange, now: float) -> None:
        """Send over the exchange's flow if that is up, else over the uplink, waiting for it."""
        flow = self._endpoint.flow(exchange.flow) if exchange.flow else None
        flow = flow or self._uplink.flow
        if flow is None:
            self._waiting.append(exchange)
            self._uplink.ensure(now)
        else:
            self._send_over(exchange, flow, now)

    def cancel(self, exchange: Exchange, now: float, reason: str | None = None) -> bool:
        """Cancel an INVITE. False: it is answered already. One that has not left yet fails at once."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)
            exchange.on_failure(exchange, "cancelled before it was sent", 487, now)
            return True
        exchange.cancelled, exchange.cancel_reason = True, reason
        return self._endpoint.cancel(exchange.transaction, now, reason)

    def uplink_up(self, now: float) -> None:
        waiting, self._waiting = self._waiting, []
        for exchange in waiting:
            self.send(exchange, now)

    def uplink_failed(self, reason: str, now: float) -> None:
        waiting, self._waiting = self._waiting, []
        for exchange in waiting:
            exchange.on_failure(exchange, reason, 503, now)

    def handle(self, event: ResponseReceived | TransactionFailed, now: float) -> bool:
        """Take in an answer; False if it answers none of ours."""
        exchange = self._by_transaction.get(event.transaction)
        if exchange is None:
            return False
        if isinstance(event, TransactionFailed):
            del self._by_transaction[event.transaction]
            exchange.on_failure(exchange, event.reason, event.status, now)
            return True
        response = event.response
        if not response.is_provisional and not (response.is_success and exchange.request.method == "INVITE"):
            del self._by_transaction[event.transaction]  # a 2xx to INVITE may come again
        try:
            if response.status in (401, 407) and self._answer_challenge(exchange, response, now):
                return True
            exchange.on_response(exchange, response, now)
        except ParseError as error:
            flow = self._endpoint.flow_of(event.transaction)
            self._emit(Malformed("sip", flow.remote if flow else None, str(error), len(response.body)))
        return True

    def forget(self, exchange: Exchange) -> None:
        """No more answers are of interest."""
        self._by_transaction.pop(exchange.transaction, None)

    def _send_over(self, exchange: Exchange, flow: Flow, now: float) -> None:
        request = exchange.dress(exchange.request, flow)
        if self._digest is not None and exchange.challenges == 0:
            request = self._digest.authorize(request)
            exchange.unasked = "Authorization" in request.headers or "Proxy-Authorization" in request.headers
        exchange.request, exchange.flow = request, flow.id
        exchange.transaction = self._endpoint.request(request, Target.over(flow), now)
        self._by_transaction[exchange.transaction] = exchange
        if exchange.cancelled:
            self._endpoint.cancel(exchange.transaction, now, exchange.cancel_reason)

    def _answer_challenge(self, exchange: Exchange, response: Response, now: float) -> bool:
        """Send the request again with credentials. False: there is no use, the response is final."""
        exchange.challenges += 1
        again = None
        if self._digest is not None and exchange.challenges <= _MAX_CHALLENGES and not exchange.cancelled:
            unasked, exchange.unasked = exchange.unasked, False
            again = self._digest.answer(response, exchange.request, preemptive=unasked)
        if again is None:
            why = "no credentials configured" if self._digest is None else "the server refused our proof"
            self._emit(SipAuthenticationFailed(self._username, None, why))
            return False
        cseq = CSeq(exchange.next_cseq(), exchange.request.method)
        exchange.request = again.with_header("CSeq", str(cseq))
        self.send(exchange, now)
        return True
