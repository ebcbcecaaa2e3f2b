"""A stateful, record-routing proxy (RFC 3261 §16): a machine over an endpoint, for servers.

It does what every proxy must do alike, and asks its owner only where requests go. A request that passes the
checks of §16.3 arrives as `RequestArrived`, its own Route values taken off and what they said worked out; the
owner answers it (`respond`, `refuse`) or gives the hops to fork it to (`forward`). From then on `sip/forking.py`
collects responses and picks the best. An ACK of a 2xx arrives the same way, without a transaction, and is forwarded
without state. Events that are none of its business (responses to the owner's own requests, flows, listeners) pass
through to the owner.

Flows are found again by tokens (RFC 5626 §5): a Record-Route names the flow of the side that is a client's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport, canonical_ip, is_ip
from iceway.core.errors import ParseError
from iceway.core.machine import AddressesChanged, Input, Outbox, TlsServer, earliest
from iceway.sip.endpoint import (
    AckReceived,
    CancelReceived,
    Endpoint,
    EndpointConfig,
    Flow,
    Listening,
    RequestReceived,
    ResponseReceived,
    Target,
    TransactionFailed,
)
from iceway.sip.flow_token import FlowTokens
from iceway.sip.forking import Forking, Forwarding
from iceway.sip.proxy_events import Hop, RequestArrived
from iceway.sip.successors import Successors
from iceway.sip.websocket import WebSocketConfig
from iceway.wire.sip import NameAddr, Request, Response, SipUri, make_response
from iceway.wire.sip.syntax import number

if TYPE_CHECKING:
    from random import Random

TIMER_C = 185.0  # RFC 3261 §16.6 step 11: more than three minutes
MAX_FORWARDS = 70
MAX_BREADTH = 60  # RFC 5393 §5.3.3
_DEFAULT_PORTS = {"tls": 5061, "ws": 443}  # WebSockets are under TLS here
_DIALOG_MAKERS = frozenset({"INVITE", "SUBSCRIBE", "REFER"})


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """`uri` goes into Record-Route and Path; every host among `hosts` means this proxy (lower case)."""

    uri: SipUri
    hosts: frozenset[str]
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    timer_c: float = TIMER_C


class Proxy(Outbox):
    """See the module's law."""

    def __init__(self, name: str, rng: Random, config: ProxyConfig) -> None:
        super().__init__()
        self._endpoint = Endpoint(name, rng, config.endpoint)
        self.tokens = FlowTokens(rng)
        self._successors = Successors()
        self._config = config
        self._rng = rng
        self._mark = ""
        self._ips: set[str] = set()
        self._ports: set[int] = set()
        self._forking = Forking(self._endpoint, self, config.uri.host, config.timer_c)

    # --- commands -------------------------------------------------------------------------------------
    def listen(
        self,
        transport: Transport,
        local: Address,
        now: float,
        tls: TlsServer | None = None,
        websocket: WebSocketConfig | None = None,
    ) -> str:
        """As `Endpoint.listen`."""
        key = self._endpoint.listen(transport, local, now, tls, websocket)
        self._pump(now)
        return key

    def request(self, request: Request, target: Target, now: float) -> str:
        """A request of the owner's own; its `ResponseReceived` and `TransactionFailed` pass through."""
        transaction = self._endpoint.request(request, target, now)
        self._pump(now)
        return transaction

    def open_flow(self, target: Target, now: float) -> str | None:
        """As `Endpoint.open_flow`."""
        flow_id = self._endpoint.open_flow(target, now)
        self._pump(now)
        return flow_id

    def keep_alive(self, flow_id: str, now: float) -> None:
        self._endpoint.keep_alive(flow_id, now)
        self._pump(now)

    def close_flow(self, flow_id: str, now: float, reason: str) -> None:
        self._endpoint.close_flow(flow_id, now, reason)
        self._pump(now)

    def client_registered(self, request: Request, flow: Flow, now: float) -> None:
        """A REGISTER that came over this flow was accepted; a flow that it replaces is closed."""
        replaced = self._successors.registered(request, flow.id)
        if replaced is not None:
            self.close_flow(replaced, now, "its client came back over another connection")

    def close(self, now: float) -> None:
        """Close every flow and listener."""
        self._endpoint.close(now)
        self._pump(now)

    def flow(self, flow_id: str) -> Flow | None:
        return self._endpoint.flow(flow_id)

    def respond(self, arrived: RequestArrived, response: Response, now: float) -> None:
        """Answer a request ourselves; nothing happens for an ACK."""
        if arrived.transaction is not None:
            self._endpoint.respond(arrived.transaction, response, now)
            self._pump(now)

    def refuse(
        self,
        arrived: RequestArrived,
        status: int,
        now: float,
        reason: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Answer with an error; an ACK is dropped."""
        self.respond(arrived, self._refusal(arrived, status, reason, headers), now)

    def refuse_stranger(
        self, arrived: RequestArrived, status: int, now: float, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """The same, once and without remembering it."""
        if arrived.transaction is not None:
            response = self._refusal(arrived, status, None, headers)
            self._endpoint.respond_and_forget(arrived.transaction, response, now)
            self._pump(now)

    def forward(
        self,
        arrived: RequestArrived,
        hops: Sequence[Hop],
        now: float,
        *,
        request: Request | None = None,
        from_client: bool = False,
        record_route: bool = True,
    ) -> None:
        """Send the request (or the changed copy `request`) to every hop at once, and manage what comes back.

        `from_client`: it came over a client's own flow, which the dialog's Record-Route must remember.
        """
        message = arrived.request if request is None else request
        forwarding = Forwarding(arrived, message, from_client, record_route)
        if arrived.transaction is None:
            for hop in hops[:1]:
                ack = self._prepared(forwarding, hop, None)
                self._endpoint.send_ack(ack, hop.target, now, branch=self._branch(arrived))
        elif not hops:
            self.refuse(arrived, 480, now)
        elif (breadth := _breadth(message) // len(hops)) < 1:
            self.refuse(arrived, 440, now)
        else:
            self._forking.begin(arrived.transaction, forwarding, hops, breadth, now)
        self._pump(now)

    def new_tag(self) -> str:
        return f"{self._rng.getrandbits(64):016x}"

    def own_uri(self, flow_id: str | None = None) -> SipUri:
        """Our URI for Path and Record-Route, naming a flow if given: as the far end of that flow reaches us."""
        uri, user = self._config.uri, None
        if flow_id is not None:
            user = self.tokens.seal(flow_id)
            flow = self._endpoint.flow(flow_id)
            if flow is not None and flow.transport is not Transport.TLS:
                # Without TLS there is no name to prove, and the address that the client used works for sure.
                host = uri.host if flow.local.ip in ("0.0.0.0", "::") else flow.local.ip
                uri = SipUri.of(None, host, flow.local.port, transport=flow.transport.value)
        return SipUri(uri.host, user, uri.port, uri.scheme, uri.params.with_param("lr"))

    def is_ours(self, uri: SipUri) -> bool:
        """Whether a URI means this proxy: by a name of ours, or by an address and port that we listen on."""
        if uri.host.lower() in self._config.hosts:
            return True
        if not is_ip(uri.host):
            return False
        port = uri.port or _DEFAULT_PORTS.get(uri.transport or "", 5060)
        return canonical_ip(uri.host) in self._ips and port in self._ports

    def flow_of(self, uri: SipUri) -> Flow | None:
        """The living flow that a URI of ours names."""
        flow_id = self._open(uri.username) if uri.user else None
        return self._endpoint.flow(flow_id) if flow_id is not None else None

    def _open(self, token: str) -> str | None:
        """The flow that a token leads to by now."""
        flow_id = self.tokens.open(token)
        return self._successors.of(flow_id) if flow_id is not None else None

    # --- machine --------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, AddressesChanged):
            self._ips |= set(event.ips)
        self._endpoint.handle_input(event, now)
        self._pump(now)

    def handle_timeout(self, now: float) -> None:
        self._endpoint.handle_timeout(now)
        self._pump(now)
        self._forking.handle_timeout(now)
        self._pump(now)

    def poll_timeout(self) -> float | None:
        return earliest(self._endpoint.poll_timeout(), self._forking.poll_timeout())

    def _pump(self, now: float) -> None:
        while (output := self._endpoint.poll_output()) is not None:
            match output:
                case RequestReceived(transaction, request, flow):
                    self._arrived(transaction, request, flow, now)
                case AckReceived(request, flow):
                    self._arrived(None, request, flow, now)
                case ResponseReceived(transaction=transaction) if self._forking.has_branch(transaction):
                    self._forking.response(transaction, output.response, now)
                case TransactionFailed(transaction, reason, status) if self._forking.has_branch(transaction):
                    self._forking.branch_failed(transaction, status, reason, now)
                case TransactionFailed(transaction=transaction) if self._forking.has(transaction):
                    self._forking.upstream_gone(transaction, now)
                case CancelReceived(transaction, request) if self._forking.has(transaction):
                    self._forking.cancel(transaction, request.headers.get("Reason"), now)
                case CancelReceived(transaction, _):
                    self._cancel_unforwarded(transaction, now)
                case Listening(local=local):
                    self._ports.add(local.port)
                    self._ips.add(local.ip)
                    self.emit(output)
                case _:
                    self.emit(output)

    def _refusal(
        self, arrived: RequestArrived, status: int, reason: str | None, headers: Sequence[tuple[str, str]]
    ) -> Response:
        response = make_response(arrived.request, status, reason, to_tag=self.new_tag())
        for name, value in headers:
            response = response.with_last(name, value)
        return response

    def _cancel_unforwarded(self, transaction: str, now: float) -> None:
        request = self._endpoint.request_of(transaction)
        if request is not None:
            self._endpoint.respond(transaction, make_response(request, 487, to_tag=self.new_tag()), now)

    # --- requests: §16.3, §16.4 -----------------------------------------------------------------------
    def _arrived(self, transaction: str | None, request: Request, flow: Flow, now: float) -> None:
        mark = self._loop_mark(request)
        arrived = RequestArrived(transaction, request, flow, loop_mark=mark)
        try:
            refusal = self._objection(request, mark)
            if refusal is None:
                arrived = self._take_routes(arrived)
        except ParseError as error:
            refusal = (400, f"Bad Request: {error}"[:120], ())
        if refusal is None:
            self.emit(arrived)
        elif transaction is not None:
            status, reason, headers = refusal
            response = make_response(request, status, reason, to_tag=self.new_tag())
            for name, value in headers:
                response = response.with_last(name, value)
            self._endpoint.respond(transaction, response, now)

    def _objection(
        self, request: Request, mark: str
    ) -> tuple[int, str | None, tuple[tuple[str, str], ...]] | None:
        if not request.uri.lower().startswith(("sip:", "sips:")):
            return 416, None, ()
        _ = request.sip_uri, _breadth(request)
        if request.max_forwards == 0:
            return 483, None, ()
        if any(via.branch and via.branch.startswith(mark) for via in request.vias):
            return 482, None, ()
        unknown = request.headers.values("Proxy-Require")
        if unknown and request.method not in ("ACK", "CANCEL"):
            return 420, None, (("Unsupported", ", ".join(unknown)),)
        return None

    def _take_routes(self, arrived: RequestArrived) -> RequestArrived:
        request = arrived.request
        routes = list(request.routes)
        if routes and request.sip_uri.param("lr") is not None and self.is_ours(request.sip_uri):
            # A strict router put our Record-Route value into the Request-URI (§16.4).
            last = routes.pop()
            routes.insert(0, NameAddr(request.uri))
            request = _with_uri(request, last.uri)
        tokens: list[str] = []
        ours = False
        while routes and self.is_ours(routes[0].sip):
            tokens.append(routes.pop(0).sip.username)
            ours = True
        if ours:
            request = request.with_header("Route", *map(str, routes))
        destination, gone = self._destination(
            [token for token in tokens if token], arrived.flow, bool(routes)
        )
        return RequestArrived(
            arrived.transaction, request, arrived.flow, destination, gone, ours, arrived.loop_mark
        )

    def _destination(self, tokens: list[str], came_over: Flow, goes_on: bool) -> tuple[Flow | None, bool]:
        """Where tokens lead (RFC 5626 §5.3): of two, the second is the far side's; of one, it is the far
        side's unless the request came over that very flow (or a dead one, and has routes to follow)."""
        if not tokens:
            return None, False
        flow_id = self._open(tokens[-1])
        if len(tokens) == 1 and flow_id == came_over.id:
            return None, False
        flow = self._endpoint.flow(flow_id) if flow_id is not None else None
        if flow is None:
            return None, not (len(tokens) == 1 and goes_on)
        return flow, False

    # --- forwarding: §16.6 ----------------------------------------------------------------------------
    def send_copy(self, forwarding: Forwarding, hop: Hop, breadth: int | None, now: float) -> str:
        request = self._prepared(forwarding, hop, breadth)
        branch = self._branch(forwarding.arrived)
        return self._endpoint.request(request, hop.target, now, branch=branch)

    def _prepared(self, forwarding: Forwarding, hop: Hop, breadth: int | None) -> Request:
        """The copy for one hop. (Its Via is the endpoint's affair.)"""
        request = forwarding.request
        uri = hop.uri
        left = request.max_forwards
        copy = request.with_header("Max-Forwards", str(MAX_FORWARDS if left is None else left - 1))
        if breadth is not None and "Max-Breadth" in request.headers:
            copy = copy.with_header("Max-Breadth", str(breadth))
        if forwarding.record_route and request.method in _DIALOG_MAKERS and request.to.tag is None:
            for flow_id in self._remembered(forwarding, hop):
                copy = copy.with_first("Record-Route", f"<{self.own_uri(flow_id)}>")
        for route in reversed(hop.routes):
            copy = copy.with_first("Route", route)
        routes = copy.routes
        if routes and routes[0].sip.param("lr") is None:
            # The next hop is a strict router: it wants itself in the Request-URI (§16.6 step 6).
            uri, copy = routes[0].uri, copy.without_first_value("Route").with_last("Route", f"<{uri}>")
        return _with_uri(copy, uri)

    def _remembered(self, forwarding: Forwarding, hop: Hop) -> list[str | None]:
        flows: list[str | None] = []
        if forwarding.from_client:
            flows.append(forwarding.arrived.flow.id)
        if hop.client and hop.target.flow is not None:
            flows.append(hop.target.flow)
        return flows or [None]

    def _branch(self, arrived: RequestArrived) -> str:
        return f"{arrived.loop_mark}{self._rng.getrandbits(64):016x}"

    def _loop_mark(self, request: Request) -> str:
        """The start of our branches for requests that would be routed as this one (RFC 5393 §4.2)."""
        if not self._mark:
            self._mark = f"{self._rng.getrandbits(32):08x}"
        names = ("From", "To", "Call-ID", "CSeq", "Route", "Proxy-Require")
        routed_by = [request.uri, *(value for name in names for value in request.headers.all(name))]
        digest = sha256("\0".join(routed_by).encode(errors="replace")).hexdigest()[:12]
        return f"z9hG4bK{self._mark}.{digest}."


def _with_uri(request: Request, uri: str) -> Request:
    return replace(request, uri=uri)


def _breadth(request: Request) -> int:
    """How many branches this request may still be forked into (RFC 5393 §5.3)."""
    value = request.headers.get("Max-Breadth")
    return number(value, "Max-Breadth") if value is not None else MAX_BREADTH
