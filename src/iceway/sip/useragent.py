"""A SIP user agent (RFC 3261 §8): one user, registered through one uplink, with any number of calls.

A machine over an endpoint, a locator and an uplink; registration and calls have files of their own. Commands
name calls by the id that `invite` returned or `Incoming` told. Commands on a call that is over do nothing, since
its end may cross them; commands that its phase forbids raise UsageError.

Events: `RegistrationSucceeded`, `RegistrationFailed`, `Deregistered`; `RequestAnswered`, `RequestFailed` for
requests outside of calls; `Incoming`, `ProvisionalAcknowledged`, `Confirmed` for calls received; `Provisional`,
`Answered` for calls made; `ReinviteReceived`, `ReinviteAnswered`, `ReinviteFailed`, `InfoReceived`, `InfoAnswered`,
`RefreshDue`, `Ended` for both. Calls are passed on by `transfers`: `Referred`, `ReferralProgress`.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import AddressesChanged, Input, Outbox, TlsServer, earliest
from iceway.core.machine import Request as DriverRequest
from iceway.core.switchboard import Switchboard
from iceway.core.timers import Timers
from iceway.sip.call import ALLOW, SDP, Call, Switch
from iceway.sip.call_events import (
    Confirmed,
    Ended,
    InfoAnswered,
    InfoReceived,
    RefreshDue,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
)
from iceway.sip.dialog import Dialog, DialogId
from iceway.sip.digest import DigestClient
from iceway.sip.endpoint import (
    AckReceived,
    CancelReceived,
    Endpoint,
    EndpointConfig,
    Flow,
    ListenFailed,
    Listening,
    RequestReceived,
    ResponseReceived,
    Target,
    TransactionFailed,
)
from iceway.sip.exchange import Exchange, Requester
from iceway.sip.incoming import Incoming, IncomingCall, ProvisionalAcknowledged
from iceway.sip.locate import Locator
from iceway.sip.outgoing import Answered, OutgoingCall, Provisional
from iceway.sip.referral import ReferralProgress, Referred
from iceway.sip.registration import Deregistered, Registration, RegistrationFailed, RegistrationSucceeded
from iceway.sip.session_timer import SessionTimer
from iceway.sip.transfers import Transfers
from iceway.sip.uplink import Uplink
from iceway.trace.records import Malformed, Record
from iceway.wire.sip import Headers, NameAddr, Request, Response, SipUri, make_response

if TYPE_CHECKING:
    from random import Random

__all__ = [
    "Answered",
    "Confirmed",
    "Deregistered",
    "Ended",
    "Incoming",
    "InfoAnswered",
    "InfoReceived",
    "Listening",
    "Provisional",
    "ProvisionalAcknowledged",
    "ReferralProgress",
    "Referred",
    "RefreshDue",
    "RegistrationFailed",
    "RegistrationSucceeded",
    "ReinviteAnswered",
    "ReinviteFailed",
    "ReinviteReceived",
    "RequestAnswered",
    "RequestFailed",
    "UserAgent",
    "UserAgentConfig",
]

_METHODS = frozenset(ALLOW.split(", "))
_UNDERSTOOD = frozenset({"100rel", "path", "outbound", "gruu", "timer", "replaces", "norefersub"})
_MAX_CALLS = 500


@dataclass(frozen=True, slots=True)
class UserAgentConfig:
    """Who we are and how we reach the network.

    `outbound` lists the targets to try in order; without any, the domain of `aor` is looked up, for the
    `transports` given: nothing but TLS unless said, since what the DNS offers may be forged. `contact_ip`
    stands in Contact where a UDP socket is bound to no address of its own. `instance` is this device's URN and
    should outlive the process; one is made up without it. `retry` is the first and the longest pause between
    attempts to register. `info_packages` are those that our INFO requests may be of (RFC 6086), `info_types` the
    media types taken without a package, as before that RFC, `option_tags` what the owner understands beside what is
    understood here. `session_expires` is after how many seconds without a refresh a call counts as over (RFC 4028;
    0: we ask for no such thing).
    """

    aor: str
    username: str = ""
    password: str = ""
    display_name: str = ""
    outbound: tuple[Target, ...] = ()
    transports: tuple[Transport, ...] = (Transport.TLS,)
    local_ip: str = "0.0.0.0"
    contact_ip: str | None = None
    instance: str | None = None
    expires: int = 3600
    retry: tuple[float, float] = (1.0, 300.0)
    answer_timeout: float = 180.0
    info_packages: tuple[str, ...] = ()
    info_types: tuple[str, ...] = ()
    option_tags: tuple[str, ...] = ()
    session_expires: int = 1800
    user_agent: str = "iceway"
    endpoint: EndpointConfig | None = None


# --- events ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RequestAnswered:
    """The final response to a request outside of calls."""

    request: str
    response: Response


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request outside of calls got no final response. `status` is the one this amounts to: 408 or 503."""

    request: str
    reason: str
    status: int


class UserAgent(Outbox):
    """See the module's law."""

    def __init__(self, name: str, config: UserAgentConfig, rng: Random) -> None:
        super().__init__()
        self._name = name
        self._config = config
        self._rng = rng
        self._aor = SipUri.parse(config.aor)
        self._ips: tuple[str, ...] = ()
        self._count = 0
        self._now = 0.0  # the instant of the latest change, for what the children report because of it
        self._events: deque[object] = deque()
        self._timers = Timers()
        self._calls: dict[str, IncomingCall | OutgoingCall] = {}
        self.endpoint = Endpoint(f"{name}/sip", rng, config.endpoint)
        self._locator = Locator(f"{name}/dns", rng, config.transports)
        self._children = Switchboard()
        self._children.add(f"{name}/sip", self.endpoint)
        self._children.add(f"{name}/dns", self._locator)
        username = config.username or self._aor.username
        digest = DigestClient(username, config.password, rng) if config.password else None
        self._uplink = Uplink(
            self.endpoint,
            self._locator,
            self._aor.host,
            config.outbound,
            self._uplink_up,
            self._uplink_down,
            self._uplink_failed,
            config.local_ip,
        )
        self._requester = Requester(self.endpoint, self._uplink, digest, self.emit, username)
        self.registration = Registration(
            self._aor,
            config.instance,
            config.user_agent,
            config.expires,
            config.retry,
            self._uplink,
            self._requester,
            self._timers,
            rng,
            self.emit,
            self._flow_contact,
        )
        self._switch = Switch(
            endpoint=self.endpoint,
            requester=self._requester,
            timers=self._timers,
            rng=rng,
            emit=self.emit,
            local=NameAddr(self._aor.aor, config.display_name),
            contact=self._contact,
            service_route=lambda: self.registration.service_route,
            user_agent=config.user_agent,
            answer_timeout=config.answer_timeout,
            info_packages=config.info_packages,
            info_types=config.info_types,
            option_tags=config.option_tags,
            session_expires=config.session_expires,
        )
        self.transfers = Transfers(self._call, self._named, self._is_uplink)

    # --- commands: reachability -----------------------------------------------------------------------
    def register(self, now: float) -> None:
        """Register, and stay registered. Also tries again at once after a failure."""
        self._now = now
        self.registration.register(now)

    def unregister(self, now: float) -> None:
        self._now = now
        self.registration.unregister(now)

    def listen(self, transport: Transport, local: Address, now: float, tls: TlsServer | None = None) -> str:
        """Also take requests on a socket of our own, without a proxy between. Answered by `Listening`."""
        return self.endpoint.listen(transport, local, now, tls)

    def close(self, now: float) -> None:
        """Close every connection. Hang up and unregister first."""
        self._now = now
        self._uplink.close(now)
        self.endpoint.close(now)
        self._timers.clear()

    def probe_uplink(self, now: float) -> None:
        """Something says that our network may have changed: find out soon whether the proxy still hears us."""
        self._now = now
        if self._uplink.flow is not None:
            self.endpoint.probe(self._uplink.flow.id, now)

    @property
    def uplink(self) -> Flow | None:
        """The flow to our outbound proxy, while it is up."""
        return self._uplink.flow

    # --- commands: requests ---------------------------------------------------------------------------
    def request_out_of_dialog(
        self,
        method: str,
        uri: str,
        now: float,
        fields: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        content_type: str | None = None,
        to: str | None = None,
    ) -> str:
        """Send a request such as SERVICE; gives the id that `RequestAnswered` or `RequestFailed` will name."""
        self._now = now
        _checked(uri)
        key = self._next_name("request")
        cseq = iter(range(1, 2**31))
        request = Request(
            method,
            uri,
            headers=Headers.of(
                ("Max-Forwards", "70"),
                ("From", str(self._switch.local.with_param("tag", self._switch.tag()))),
                ("To", str(NameAddr(to or uri))),
                ("Call-ID", f"{self._rng.getrandbits(128):032x}"),
                ("CSeq", f"{next(cseq)} {method}"),
                ("User-Agent", self._config.user_agent),
                *fields,
            ),
        ).with_body(body, content_type)

        def responded(exchange: Exchange, response: Response, now: float) -> None:
            if not response.is_provisional:
                self.emit(RequestAnswered(key, response))

        def failed(exchange: Exchange, reason: str, status: int, now: float) -> None:
            self.emit(RequestFailed(key, reason, status))

        def dress(request: Request, flow: Flow) -> Request:
            return request.with_header("Route", *self.registration.service_route)

        exchange = Exchange(request, lambda: next(cseq), responded, failed, dress=dress)
        self._requester.send(exchange, now)
        return key

    # --- commands: calls ------------------------------------------------------------------------------
    def invite(
        self, target: str, offer: bytes | None, now: float, fields: tuple[tuple[str, str], ...] = ()
    ) -> str:
        """Call somebody: a SIP URI or a name-addr. Without an offer, theirs is asked for."""
        self._now = now
        address = _checked(target)
        key = self._next_name("call")
        call = OutgoingCall(key, NameAddr(address.uri, address.display), self._switch)
        self._calls[key] = call
        call.start(offer, fields, now)
        return key

    def ring(self, call: str, now: float, sdp: bytes | None = None) -> None:
        """Tell the caller that it rings: 180, or with our session description 183 (reliably if it may be)."""
        if (found := self._incoming(call, now)) is not None:
            found.ring(sdp, now)

    def accept(self, call: str, sdp: bytes, now: float) -> None:
        """Pick up. A session description that went out reliably with `ring` stands."""
        if (found := self._incoming(call, now)) is not None:
            found.accept(sdp, now)

    def reject(self, call: str, status: int, now: float, reason: str | None = None) -> None:
        if (found := self._incoming(call, now)) is not None:
            found.reject(status, now, reason)

    def acknowledge(self, call: str, answer: bytes, now: float) -> None:
        """Answer the offer that came with `Answered` (only for a call made without an offer)."""
        if (found := self._outgoing(call, now)) is not None:
            found.acknowledge(answer, now)

    def cancel(self, call: str, now: float, reason: str = "cancelled") -> None:
        """Give up a call of ours that is not answered. `Ended` follows, also when the answer crosses."""
        if (found := self._outgoing(call, now)) is not None:
            found.cancel(now, reason)

    def bye(self, call: str, now: float, reason: str | None = None) -> None:
        if (found := self._call(call, now)) is not None:
            found.bye(now, reason)

    def hang_up(self, call: str, now: float, reason: str | None = None) -> None:
        """End a call in whatever phase it is: CANCEL, a refusal, or BYE."""
        if (found := self._call(call, now)) is not None:
            found.hang_up(now, reason)

    def reinvite(self, call: str, sdp: bytes, now: float) -> None:
        """Renegotiate; waits for an INVITE in progress, and tries again after glare (491)."""
        if (found := self._call(call, now)) is not None:
            found.reinvite(sdp, now)

    def withdraw_reinvite(self, call: str, now: float) -> None:
        """Do not renegotiate after all, if the re-INVITE still waits for its turn."""
        if (found := self._call(call, now)) is not None:
            found.withdraw_reinvite(now)

    def answer_reinvite(self, call: str, sdp: bytes, now: float) -> None:
        if (found := self._call(call, now)) is not None:
            found.answer_reinvite(sdp, now)

    def reject_reinvite(self, call: str, status: int, now: float) -> None:
        if (found := self._call(call, now)) is not None:
            found.reject_reinvite(status, now)

    def takes_info(self, call: str, package: str, branch: str | None = None) -> bool:
        """Whether the other end takes INFO requests of that package, and can be sent any yet."""
        found = self._calls.get(call)
        return found is not None and found.takes_info(package, branch)

    def inform(
        self,
        call: str,
        package: str,
        content_type: str,
        body: bytes,
        now: float,
        branch: str | None = None,
    ) -> None:
        """Send an INFO within the dialog, the early one of `branch` while the call is not answered."""
        if (found := self._call(call, now)) is not None:
            found.inform(package, content_type, body, now, branch)

    def call_id(self, call: str) -> str:
        """SIP's Call-ID of a call, by which records name it; empty once the call is forgotten."""
        found = self._calls.get(call)
        return found.call_id if found is not None else ""

    # --- machine --------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        self._now = now
        if isinstance(event, AddressesChanged):
            self._addresses_changed(event.ips, now)
        self._children.route(event, now)
        self._work()

    def handle_timeout(self, now: float) -> None:
        self._now = now
        self._children.handle_timeout(now)
        self._work()
        for timer in self._timers.due(now):
            assert isinstance(timer, tuple)
            owner, what = timer
            call = self._calls.get(owner)
            if owner == "registration":
                self.registration.handle_timer(now)
            elif call is not None and what == "gone":
                call.forget()
                del self._calls[owner]
            elif call is not None:
                call.handle_timer(what, now)
            self._work()

    def poll_output(self) -> object | None:
        self._work()
        return super().poll_output()

    def poll_timeout(self) -> float | None:
        return earliest(self._children.poll_timeout(), self._timers.next_at())

    def emit(self, output: object) -> None:
        """What the children said before comes before, so the queue tells cause and effect in their order."""
        self._pump()
        super().emit(output)

    def _pump(self) -> None:
        for _, output in self._children.outputs():
            if isinstance(output, Record | DriverRequest):
                super().emit(output)
            else:
                self._events.append(output)

    def _work(self) -> None:
        """Take in what the children report, and what they report because of that."""
        self._pump()
        while self._events:
            self._take(self._events.popleft(), self._now)
            self._pump()

    # --- from the endpoint and the locator ------------------------------------------------------------
    def _take(self, event: object, now: float) -> None:
        match event:
            case RequestReceived():
                self._request_received(event, now)
            case AckReceived(request, flow):
                if (found := self._dialog_of(request)) is not None:
                    found[0].handle_ack(request, flow, now)
            case CancelReceived(transaction, request):
                for call in list(self._calls.values()):
                    if isinstance(call, IncomingCall) and call.invite.transaction == transaction:
                        call.cancelled(request, now)
            case ResponseReceived():
                self._requester.handle(event, now)
            case TransactionFailed(transaction, reason, status):
                if not self._requester.handle(event, now):
                    for call in list(self._calls.values()):
                        call.transaction_failed(transaction, reason, status, now)
            case Listening() | ListenFailed():
                self._uplink.handle(event, now)
                self.emit(event)
            case _:
                self._uplink.handle(event, now)

    def _uplink_up(self, flow: Flow, now: float) -> None:
        self.registration.uplink_up(now)
        self._requester.uplink_up(now)

    def _uplink_down(self, reason: str, now: float) -> None:
        self.registration.uplink_down(reason, now)

    def _uplink_failed(self, reason: str, now: float) -> None:
        self.registration.uplink_failed(reason, now)
        self._requester.uplink_failed(reason, now)

    def _addresses_changed(self, ips: tuple[str, ...], now: float) -> None:
        """A connection whose address is no longer ours is dead, though nobody has told it yet."""
        before, self._ips = self._ips, ips
        flow = self._uplink.flow
        if not ips or not self.registration.wanted:
            return
        if flow is None:
            if set(ips) - set(before):
                self.registration.network_changed("our network changed", now)
        elif flow.transport.is_stream:
            if flow.local.ip not in ips and not ipaddress.ip_address(flow.local.ip).is_loopback:
                self.registration.network_changed(f"our address {flow.local.ip} is gone", now)
        elif set(before) - set(ips):
            self.registration.register(now)  # from the same socket, and seen under another address

    # --- requests -------------------------------------------------------------------------------------
    def _request_received(self, event: RequestReceived, now: float) -> None:
        request = event.request
        try:
            if request.method not in _METHODS:
                self._refuse(event, 405, now, ("Allow", ALLOW))
            elif missing := [o for o in request.headers.values("Require") if not self._understands(o)]:
                self._refuse(event, 420, now, ("Unsupported", ", ".join(missing)))
            elif request.to.tag is not None:
                self._request_in_dialog(event, now)
            elif not request.uri.lower().startswith(("sip:", "sips:")):
                self._refuse(event, 416, now)
            elif request.method == "OPTIONS":
                self._refuse(
                    event, 200, now, ("Allow", ALLOW), ("Accept", SDP), ("Supported", self._switch.supported)
                )
            elif request.method == "INVITE":
                self._invited(event, now)
            else:  # calls are made at nobody's bidding but in a call
                self._refuse(event, 403 if request.method == "REFER" else 481, now)
        except ParseError as error:
            self.emit(Malformed("sip", event.source, str(error), len(request.body)))
            self._refuse(event, 400, now)

    def _understands(self, option: str) -> bool:
        return option.lower() in _UNDERSTOOD or option.lower() in self._config.option_tags

    def _request_in_dialog(self, event: RequestReceived, now: float) -> None:
        found = self._dialog_of(event.request)
        if found is None:
            self._refuse(event, 481, now)
        else:
            found[0].handle_request(event, found[1], now)

    def _invited(self, event: RequestReceived, now: float) -> None:
        request = event.request
        if request.body and request.content_type != SDP:
            self._refuse(event, 415, now, ("Accept", SDP))
        elif (least := SessionTimer(0).objection(request)) is not None:
            self._refuse(event, 422, now, ("Min-SE", str(least)))
        elif any(_same_request(call, request) for call in self._calls.values()):
            self._refuse(event, 482, now)  # it came over two ways (RFC 3261 §8.2.2.2)
        elif len(self._calls) >= _MAX_CALLS:
            self._refuse(event, 486, now)
        else:
            replaced, objection = self.transfers.replaced(request, event.flow.id)
            if objection:
                self._refuse(event, objection, now)
                return
            key = self._next_name("call")
            call = IncomingCall(key, event, self._switch, now)
            self._calls[key] = call
            self.emit(Incoming(key, request.from_, call.offer, request, replaced))

    def _refuse(self, event: RequestReceived, status: int, now: float, *fields: tuple[str, str]) -> None:
        response = make_response(event.request, status, to_tag=self._switch.tag())
        for name, value in fields:
            response = response.with_last(name, value)
        self.endpoint.respond(event.transaction, response, now)

    def _dialog_of(self, request: Request) -> tuple[IncomingCall | OutgoingCall, Dialog] | None:
        return self._named((request.call_id, request.to.tag or "", request.from_.tag or ""))

    def _named(self, wanted: DialogId) -> tuple[IncomingCall | OutgoingCall, Dialog] | None:
        for call in self._calls.values():
            for dialog in call.dialogs:
                if dialog.id == wanted:
                    return call, dialog
        return None

    # --- bookkeeping ----------------------------------------------------------------------------------
    def _is_uplink(self, flow: str) -> bool:
        return self._uplink.flow is not None and self._uplink.flow.id == flow

    def _call(self, key: str, now: float) -> IncomingCall | OutgoingCall | None:
        """The call of that id, None once it is forgotten; every command on a call comes through here."""
        self._now = now
        return self._calls.get(key)

    def _incoming(self, key: str, now: float) -> IncomingCall | None:
        call = self._call(key, now)
        if isinstance(call, OutgoingCall):
            raise UsageError(f"{key} is a call of ours")
        return call

    def _outgoing(self, key: str, now: float) -> OutgoingCall | None:
        call = self._call(key, now)
        if isinstance(call, IncomingCall):
            raise UsageError(f"{key} is a call to us")
        return call

    def _contact(self, flow: Flow | None) -> str:
        return self.registration.gruu or self._flow_contact(flow)

    def _flow_contact(self, flow: Flow | None) -> str:
        """Our URI as reached over a flow; `ob` asks the edge to keep to it (RFC 5626 §4.3)."""
        flow = flow or self._uplink.flow
        local = flow.local if flow is not None else Address(self._config.local_ip, 0)
        ip = local.ip
        if ipaddress.ip_address(ip).is_unspecified:
            ip = self._config.contact_ip or next(iter(self._ips), ip)
        uri = SipUri(ip, self._aor.user, local.port)
        if flow is not None and flow.transport.is_stream:
            uri = uri.with_param("transport", flow.transport.value)
        return str(uri.with_param("ob"))

    def _next_name(self, kind: str) -> str:
        self._count += 1
        return f"{self._name}/{kind}.{self._count}"


def _checked(address: str) -> NameAddr:
    """An address that our user gave; UsageError if it is none."""
    try:
        return NameAddr.parse(address)
    except ParseError as error:
        raise UsageError(f"cannot send to {address!r}: {error}") from error


def _same_request(call: Call, request: Request) -> bool:
    if not isinstance(call, IncomingCall) or call.is_over:
        return False
    known = call.invite.request
    return (known.call_id, known.cseq, known.from_.tag) == (request.call_id, request.cseq, request.from_.tag)
