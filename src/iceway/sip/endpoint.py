"""A SIP endpoint: transport and transactions of one element, be it a user agent, a proxy or a registrar.

The owner sends requests (`request`), gets their responses as events, gets the requests of others as events and
answers them (`respond`). The endpoint adds Via, retransmits, absorbs copies, sends the ACK of a failed INVITE,
answers CANCEL and what cannot be parsed, and lets responses go back over the flow their request came in on.
Bodies, dialogs and routing are the owner's affair.

A proxy forwards by calling `request` with the incoming request (a Via is pushed on top) and passes a response
on with `respond(upstream, response.without_first_value("Via"), now)`. An ACK for a 2xx has no transaction: it
arrives as `AckReceived` and leaves through `send_ack`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import Input, Outbox, TlsServer, earliest
from iceway.core.timers import Timers
from iceway.sip.transaction import (
    OWN_TIMERS,
    TABLES,
    TIMEOUT,
    Action,
    Event,
    Happening,
    Kind,
    State,
    Timer,
    Transaction,
    happening,
)
from iceway.sip.transport import (
    Arrived,
    Flow,
    FlowClosed,
    FlowOpened,
    Happened,
    ListenFailed,
    Listening,
    Target,
    TransportConfig,
    Transports,
    Unframeable,
    udp_flow_id,
)
from iceway.sip.websocket import WebSocketConfig
from iceway.trace.records import Malformed, Note, SipReceived, SipSent, SipTransactionFailed
from iceway.trace.redact import redact_sip
from iceway.wire.sip import (
    CSeq,
    Headers,
    MalformedMessage,
    Message,
    Params,
    Request,
    Response,
    Via,
    canonical_name,
    make_response,
    parse_message,
    validate,
)
from iceway.wire.sip.fields import MAGIC_COOKIE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

__all__ = [
    "AckReceived",
    "CancelReceived",
    "Endpoint",
    "EndpointConfig",
    "Flow",
    "FlowClosed",
    "FlowOpened",
    "ListenFailed",
    "Listening",
    "RequestReceived",
    "ResponseReceived",
    "Target",
    "TransactionFailed",
    "TransportConfig",
]


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """`via_host` stands in our Via (default: the flow's local address); `transport` holds the flows' limits."""

    via_host: str | None = None
    max_transactions: int = 20000
    transport: TransportConfig = field(default_factory=TransportConfig)


# --- events ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A new request, to be answered with `respond(transaction, …)`. Its top Via tells where it came from."""

    transaction: str
    request: Request
    flow: Flow

    @property
    def source(self) -> Address:
        return self.flow.remote


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """A response to our request, our Via still on top. Every copy of a 2xx to INVITE is reported."""

    transaction: str
    response: Response


@dataclass(frozen=True, slots=True)
class TransactionFailed:
    """A transaction ended without its final message. `status` is the response it amounts to: 408 or 503.

    For a server transaction: our response could not be delivered, or the ACK of a failed INVITE never came.
    """

    transaction: str
    reason: str
    status: int


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The ACK of a 2xx: it belongs to a dialog, not to a transaction."""

    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class CancelReceived:
    """The INVITE `transaction` is cancelled. The CANCEL is answered already; the INVITE is not."""

    transaction: str
    request: Request


class Endpoint(Outbox):
    """Transport and transactions of one SIP element; see the module's law."""

    def __init__(self, name: str, rng: Random, config: EndpointConfig | None = None) -> None:
        super().__init__()
        self._name = name
        self._rng = rng
        self._config = config or EndpointConfig()
        self._transports = Transports(name, rng, self._config.transport, self.emit)
        self._transactions: dict[str, Transaction] = {}
        self._timers = Timers()
        self._waiting: dict[str, list[Transaction | tuple[Request, str]]] = {}

    # --- commands -------------------------------------------------------------------------------------
    def listen(
        self,
        transport: Transport,
        local: Address,
        now: float,
        tls: TlsServer | None = None,
        websocket: WebSocketConfig | None = None,
    ) -> str:
        """Open a socket or listener. Answered by `Listening` or `ListenFailed` with the key returned here."""
        return self._transports.listen(transport, local, tls, websocket)

    def open_flow(self, target: Target, now: float) -> str | None:
        """Make sure there is a flow to the target and give its id; None if there can be none.

        A new connection is answered by `FlowOpened` or `FlowClosed`; `flow(id)` knows one that is up already.
        """
        return self._transports.open(target, now)

    def flow(self, flow_id: str) -> Flow | None:
        """The flow of that id, if it is up."""
        return self._transports.flow(flow_id)

    def has_udp_socket(self, remote: Address) -> bool:
        """Whether a UDP socket is open from which the address can be reached."""
        return self._transports.has_udp_socket(remote)

    def keep_alive(self, flow_id: str, now: float) -> None:
        """Ping this flow from now on; `FlowClosed` comes when nobody answers."""
        self._transports.keep_alive(flow_id, now)

    def probe(self, flow_id: str, now: float) -> None:
        """Find out soon whether a connection still lives; `FlowClosed` comes if it does not."""
        self._transports.probe(flow_id, now)

    def close_flow(self, flow_id: str, now: float, reason: str = "closed by us") -> None:
        self._happened(self._transports.close(flow_id, reason), now)

    def close(self, now: float) -> None:
        """Close every flow and listener. Pending transactions fail."""
        self._happened(self._transports.close_all(), now)
        self._timers.clear()
        self._transactions.clear()

    def new_branch(self) -> str:
        """A branch that no transaction has had."""
        return f"{MAGIC_COOKIE}{self._rng.getrandbits(96):024x}"

    def request(self, request: Request, target: Target, now: float, *, branch: str | None = None) -> str:
        """Send a request in a transaction of its own, with a Via on top; gives the transaction's id.

        Answered by `ResponseReceived`, any number of times, or `TransactionFailed`. Not for ACK and CANCEL.
        """
        if request.method in ("ACK", "CANCEL"):
            raise UsageError(
                f"{request.method} is sent with {'send_ack' if request.method == 'ACK' else 'cancel'}"
            )
        return self._start_client(request, target, branch or self.new_branch(), now)

    def respond(self, transaction: str, response: Response, now: float) -> bool:
        """Send a response in a server transaction. False: the transaction is over, nothing was sent.

        A 2xx to INVITE may be sent again and again until its ACK arrives.
        """
        found = self._transactions.get(transaction)
        if found is None or found.is_client:
            return False
        event = happening(response, sending=True)
        if (found.state, event) not in TABLES[found.kind]:
            return False
        self._step(found, event, response, now)
        return True

    def respond_and_forget(self, transaction: str, response: Response, now: float) -> None:
        """Send a final response once and keep nothing: for strangers, whose requests must cost nothing lasting and
        whose forged addresses must hear nothing twice (RFC 3261 §26.3.2.4)."""
        found = self._transactions.pop(transaction, None)
        if found is not None and not found.is_client and found.awaits_final:
            self._send(found.flow, response, response.serialize())
            found.state = State.TERMINATED
            self._run_timers(found, now)

    def send_ack(self, request: Request, target: Target, now: float, *, branch: str | None = None) -> None:
        """Send the ACK of a 2xx: ours, or one that a proxy passes on. A fresh Via is put on top."""
        branch = branch or self.new_branch()
        flow_id = self._transports.open(target, now)
        if flow_id is None:
            self.emit(
                Note("warning", f"ACK of {request.headers.get('Call-ID')} not sent: its connection is gone.")
            )
        elif (flow := self._transports.flow(flow_id)) is not None:
            ack = self._with_via(request, branch, flow)
            self._send(flow_id, ack, ack.serialize())
        else:
            self._waiting.setdefault(flow_id, []).append((request, branch))

    def cancel(self, transaction: str, now: float, reason: str | None = None) -> bool:
        """Ask for the end of our INVITE (RFC 3261 §9.1), as soon as a provisional response allows it.

        `reason` is a Reason header's value (RFC 3326). False: the INVITE is answered already, or unknown.
        """
        found = self._transactions.get(transaction)
        if found is None or found.kind is not Kind.INVITE_CLIENT or not found.awaits_final:
            return False
        if not found.cancelled:
            found.cancelled, found.cancel_reason = True, reason
            if found.state is State.PROCEEDING:
                self._send_cancel(found, now)
        return True

    def answer_statelessly(self, request: Request, flow: Flow, response: Response, now: float) -> None:
        """Send a response without a transaction (RFC 3261 §8.2.7)."""
        self._send_response(flow, request, response)

    def flow_of(self, transaction: str) -> Flow | None:
        """The flow of a transaction that still lives, if it is up."""
        found = self._transactions.get(transaction)
        return self._transports.flow(found.flow) if found else None

    def request_of(self, transaction: str) -> Request | None:
        """The request of a transaction that still lives."""
        found = self._transactions.get(transaction)
        return found.request if found else None

    # --- machine --------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        self._happened(self._transports.handle_input(event, now), now)

    def handle_timeout(self, now: float) -> None:
        self._happened(self._transports.handle_timeout(now), now)
        for timer in self._timers.due(now):
            assert isinstance(timer, tuple)
            transaction_id, event = timer
            if (transaction := self._transactions.get(transaction_id)) is not None:
                self._step(transaction, event, None, now)

    def poll_timeout(self) -> float | None:
        return earliest(self._transports.poll_timeout(), self._timers.next_at())

    # --- from the transport ---------------------------------------------------------------------------
    def _happened(self, happened: Iterable[Happened], now: float) -> None:
        for what in happened:
            match what:
                case Arrived(flow, data):
                    self._arrived(flow, data, now)
                case Unframeable(flow, error, size):
                    self._refuse(flow, error, size)
                case FlowOpened(flow):
                    self.emit(what)
                    self._send_waiting(flow)
                case FlowClosed(flow, reason):
                    self.emit(what)
                    self._flow_broken(flow, reason, now)
                case _:
                    self.emit(what)

    def _arrived(self, flow: Flow, data: bytes, now: float) -> None:
        try:
            message = parse_message(data)
        except MalformedMessage as error:
            self._refuse(flow, error, len(data))
            return
        self.emit(SipReceived(*_seen(flow, message, data)))
        try:
            validate(message)
        except MalformedMessage as error:
            self._refuse(flow, error, len(data))
            return
        if isinstance(message, Response):
            self._response_arrived(flow, message, now)
        else:
            self._request_arrived(flow, _with_source(message, flow), now)

    def _request_arrived(self, flow: Flow, request: Request, now: float) -> None:
        key = _server_key(flow, request, "INVITE" if request.method == "ACK" else request.method)
        known = self._transactions.get(key)
        if request.method == "ACK":
            if known is not None and known.state is not State.ACCEPTED:
                self._step(known, Happening.ACK, None, now)
            else:
                self.emit(AckReceived(request, flow))
        elif known is not None:
            self._step(known, Happening.REQUEST, None, now)
        elif len(self._transactions) >= self._config.max_transactions:
            overloaded = make_response(request, 503).with_last("Retry-After", "10")
            self.answer_statelessly(request, flow, overloaded, now)
        else:
            kind = Kind.INVITE_SERVER if request.method == "INVITE" else Kind.SERVER
            reply = _reply_flow(flow, request.top_via)
            transaction = Transaction(key, kind, request, reply, flow.transport.is_stream)
            self._transactions[key] = transaction
            self._run_timers(transaction, now)
            if request.method == "CANCEL":
                self._cancelled(transaction, request, flow, now)
            else:
                self.emit(RequestReceived(key, request, flow))

    def _cancelled(self, transaction: Transaction, request: Request, flow: Flow, now: float) -> None:
        """CANCEL goes hop by hop, so the endpoint answers it (RFC 3261 §9.2)."""
        invite = self._transactions.get(_server_key(flow, request, "INVITE"))
        tag = f"{self._rng.getrandbits(32):08x}"
        self.respond(transaction.id, make_response(request, 200 if invite else 481, to_tag=tag), now)
        if invite is not None and invite.awaits_final:
            self.emit(CancelReceived(invite.id, request))

    def _response_arrived(self, flow: Flow, response: Response, now: float) -> None:
        branch = response.top_via.branch
        found = self._transactions.get(_client_key(branch, response.cseq.method)) if branch else None
        # Everybody further on reads our branch in the Via headers, so over connections it proves nothing alone.
        if found is None or (found.reliable and found.flow != flow.id):
            self.emit(Note("info", f"A {response.status} answers no request of ours (any more); dropped."))
            return
        self._step(found, happening(response, sending=False), response, now)
        if found.cancelled and found.state is State.PROCEEDING and not found.cancel_sent:
            self._send_cancel(found, now)

    def _refuse(self, flow: Flow, error: MalformedMessage, size: int) -> None:
        """Record what cannot be taken; answer it if it says enough about who asked (RFC 3261 §21.4.1)."""
        self.emit(Malformed("sip", flow.remote, str(error), size))
        request = error.request
        if request is None or request.method == "ACK":
            return
        if not all(name in request.headers for name in ("Via", "From", "To", "Call-ID", "CSeq")):
            return
        try:
            request = _with_source(request, flow)
        except ParseError:
            return
        reason = _phrase(str(error)) if error.status == 400 else None
        self._send_response(flow, request, make_response(request, error.status, reason, to_tag="malformed"))

    # --- transactions ---------------------------------------------------------------------------------
    def _start_client(self, request: Request, target: Target, branch: str, now: float) -> str:
        kind = Kind.INVITE_CLIENT if request.method == "INVITE" else Kind.CLIENT
        key = _client_key(branch, request.method)
        flow_id = self._transports.open(target, now)
        transaction = Transaction(
            key, kind, request, flow_id or "", target.transport.is_stream, branch=branch
        )
        self._transactions[key] = transaction
        self._run_timers(transaction, now)
        if flow_id is None:
            gone = "the connection to answer over is gone" if target.flow else f"no way to {target.address}"
            self._break(transaction, gone, now)
        elif (flow := self._transports.flow(flow_id)) is not None:
            self._transmit(transaction, flow)
        else:
            self._waiting.setdefault(flow_id, []).append(transaction)
        return key

    def _transmit(self, transaction: Transaction, flow: Flow) -> None:
        if transaction.request.method != "CANCEL":  # which shows the Via of its INVITE
            transaction.request = self._with_via(transaction.request, transaction.branch, flow)
        transaction.wire = transaction.request.serialize()
        self._send(flow.id, transaction.request, transaction.wire)

    def _send_waiting(self, flow: Flow) -> None:
        for item in self._waiting.pop(flow.id, ()):
            if isinstance(item, tuple):
                ack = self._with_via(*item, flow)
                self._send(flow.id, ack, ack.serialize())
            elif item.id in self._transactions:
                self._transmit(item, flow)

    def _flow_broken(self, flow: Flow, reason: str, now: float) -> None:
        self._waiting.pop(flow.id, None)
        for transaction in [t for t in self._transactions.values() if t.flow == flow.id]:
            self._break(transaction, reason, now)

    def _break(self, transaction: Transaction, why: str, now: float) -> None:
        transaction.failure = why
        self._step(transaction, Happening.BROKEN, None, now)

    def _step(self, transaction: Transaction, event: Event, message: Message | None, now: float) -> None:
        actions = transaction.step(event)
        for action in actions:
            self._act(transaction, action, message, now)
        if event in _RETRANSMITTING and Action.RESEND in actions:
            transaction.retransmissions += 1
        if transaction.state is State.TERMINATED:
            self._transactions.pop(transaction.id, None)
        self._run_timers(transaction, now)

    def _act(self, transaction: Transaction, action: Action, message: Message | None, now: float) -> None:
        match action:
            case Action.SEND:
                assert isinstance(message, Response)
                transaction.response, transaction.wire = message, message.serialize()
                self._send(transaction.flow, message, transaction.wire)
            case Action.RESEND:
                last = transaction.request if transaction.is_client else transaction.response
                if last is not None and transaction.wire:
                    self._send(transaction.flow, last, transaction.wire)
            case Action.ACKNOWLEDGE:
                assert isinstance(message, Response)
                ack = _ack_of_failure(transaction.request, message)
                self._send(transaction.flow, ack, ack.serialize())
            case Action.SAY_TRYING:
                self.respond(transaction.id, make_response(transaction.request, 100), now)
            case Action.DELIVER:
                self._deliver(transaction, message)
            case Action.TIMED_OUT:
                waited = "no ACK for our response" if not transaction.is_client else "no answer"
                self._fail(transaction, f"{waited} in {TIMEOUT:g} s", 408)
            case Action.FAILED:
                self._fail(transaction, transaction.failure, 503)

    def _deliver(self, transaction: Transaction, message: Message | None) -> None:
        if isinstance(message, Response) and transaction.request.method != "CANCEL":
            self.emit(ResponseReceived(transaction.id, message))

    def _fail(self, transaction: Transaction, reason: str, status: int) -> None:
        request = transaction.request
        if request.method == "CANCEL":
            return
        self.emit(SipTransactionFailed(request.method, request.headers.get("Call-ID") or "", reason))
        self.emit(TransactionFailed(transaction.id, reason, status))

    def _send_cancel(self, invite: Transaction, now: float) -> None:
        invite.cancel_sent = True
        request = invite.request
        cseq = CSeq(request.cseq.number, "CANCEL")
        fields = [("Via", request.headers.values("Via")[0]), ("Max-Forwards", "70")]
        fields += [(name, value) for name, value in request.headers if canonical_name(name) in _CANCEL_COPIES]
        fields.append(("CSeq", str(cseq)))
        if invite.cancel_reason:
            fields.append(("Reason", invite.cancel_reason))
        flow = self._transports.flow(invite.flow)
        if flow is not None:
            cancel = Request("CANCEL", request.uri, headers=Headers.of(*fields))
            self._start_client(cancel, Target.over(flow), invite.branch, now)
        self._timers.arm((invite.id, Happening.CANCEL_UNANSWERED), now + TIMEOUT)

    def _run_timers(self, transaction: Transaction, now: float) -> None:
        """Start the timers of the state that do not run, stop those that are not of it."""
        running = transaction.timers()
        for timer in OWN_TIMERS[transaction.kind]:
            name = (transaction.id, timer)
            if timer not in running:
                self._timers.cancel(name)
            elif self._timers.at(name) is None:
                self._timers.arm(name, now + running[timer])
        if not transaction.awaits_final:
            self._timers.cancel((transaction.id, Happening.CANCEL_UNANSWERED))

    # --- sending --------------------------------------------------------------------------------------
    def _with_via(self, request: Request, branch: str, flow: Flow) -> Request:
        host = self._config.via_host or flow.local.ip
        via = Via(flow.protocol.upper(), host, flow.local.port, Params([("branch", branch), ("rport", None)]))
        return request.with_first("Via", str(via))

    def _send_response(self, flow: Flow, request: Request, response: Response) -> None:
        self._send(_reply_flow(flow, request.top_via), response, response.serialize())

    def _send(self, flow_id: str, message: Message, wire: bytes) -> None:
        flow = self._transports.flow(flow_id)
        if flow is None:
            call_id = message.headers.get("Call-ID") or ""
            self.emit(Note("info", f"{message.start_line} of {call_id} not sent: its connection is gone."))
            return
        self.emit(SipSent(*_seen(flow, message, wire)))
        self._transports.send(flow_id, wire)


_RETRANSMITTING = (Timer.A, Timer.E, Timer.G)
_CANCEL_COPIES = {"route", "from", "to", "call-id"}  # RFC 3261 §9.1
_ACK_COPIES = {"route", "from", "call-id"}  # RFC 3261 §17.1.1.3


def _client_key(branch: str, method: str) -> str:
    return f"c|{branch}|{method}"


def _server_key(flow: Flow, request: Request, method: str) -> str:
    """How copies, ACK and CANCEL find their transaction (RFC 3261 §17.2.3), from the same host.

    A branch without the magic cookie promises nothing: then Call-ID, CSeq, From tag and Via tell. The callee
    reads all of this in what reaches it, and shall not cancel for the caller: hence the host.
    """
    via = request.top_via
    sender = f"{flow.remote.ip}|{via.sent_by}|{method}"
    if via.branch and via.branch.startswith(MAGIC_COOKIE) and len(via.branch) > len(MAGIC_COOKIE):
        return f"s|{via.branch}|{sender}"
    return f"s|{request.call_id}|{request.cseq.number}|{request.from_.tag}|{sender}"


def _with_source(request: Request, flow: Flow) -> Request:
    """The request with its source written into the top Via (RFC 3261 §18.2.1, RFC 3581 §4)."""
    via = request.top_via
    changed = via
    if via.params.has("rport"):
        changed = changed.with_param("rport", str(flow.remote.port))
    if changed is not via or via.host != flow.remote.ip or via.params.has("received"):
        changed = changed.with_param("received", flow.remote.ip)
    if changed is via:
        return request
    return request.without_first_value("Via").with_first("Via", str(changed))


def _reply_flow(flow: Flow, via: Via) -> str:
    """Where a response goes: back over its connection; over UDP to the port Via tells (RFC 3261 §18.2.2)."""
    if flow.transport.is_stream or via.params.has("rport"):
        return flow.id
    return udp_flow_id(flow.local, Address(flow.remote.ip, via.port or 5060))


def _ack_of_failure(request: Request, response: Response) -> Request:
    fields = [("Via", request.headers.values("Via")[0]), ("Max-Forwards", "70")]
    fields += [(name, value) for name, value in request.headers if canonical_name(name) in _ACK_COPIES]
    fields += [("To", response.headers.get("To") or ""), ("CSeq", str(CSeq(request.cseq.number, "ACK")))]
    return Request("ACK", request.uri, headers=Headers.of(*fields))


def _phrase(fault: str) -> str:
    """A reason phrase out of a fault's text: one line, printable, not endless."""
    return "Bad Request: " + "".join(c if c.isprintable() else "?" for c in fault)[:120]


def _seen(flow: Flow, message: Message, wire: bytes) -> tuple[str, Address, Address, str, str, str, str]:
    """The fields of a SipSent or SipReceived."""
    text = redact_sip(wire.lstrip(b"\r\n").decode(errors="replace"))
    return (
        flow.protocol,
        flow.local,
        flow.remote,
        text.partition("\r\n")[0],
        message.headers.get("Call-ID") or "",
        message.headers.get("CSeq") or "",
        text,
    )
