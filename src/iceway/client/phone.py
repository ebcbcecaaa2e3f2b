"""One user's phone: registered, supplied with relay credentials, ready to call and be called.

    locate → register → ask for relay credentials → Ready → calls

It is a user agent (SIP) and any number of calls (ICE and sound), joined: what SIP brings goes to the call
concerned, what a call wants said goes out through SIP. Relay credentials are asked for as soon as the front end
has said where, and again before they run out; a call that starts meanwhile waits a moment for them, never long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from iceway import __version__
from iceway.client import events, relays
from iceway.client.call import Call
from iceway.client.config import PhoneConfig
from iceway.client.lending import Loan
from iceway.client.line import Line
from iceway.client.media import Media
from iceway.client.stats import CallStats
from iceway.client.transfers import Fields, TransferRequest, Transfers
from iceway.core.address import Address, Transport, is_ip
from iceway.core.errors import IcewayError, ParseError, UsageError
from iceway.core.machine import AddressesChanged, ClockSet, Input, Outbox, earliest
from iceway.core.switchboard import Switchboard
from iceway.core.timers import Timers
from iceway.ice.config import IceServer
from iceway.media.negotiation import wants_rtcp_apart
from iceway.media.pictures import Pictures
from iceway.sip.locate import Located, Locator, NotLocated
from iceway.sip.refusal import why_refused
from iceway.sip.transport import Target
from iceway.sip.useragent import (
    Answered,
    Confirmed,
    Deregistered,
    Ended,
    Incoming,
    InfoAnswered,
    InfoReceived,
    Listening,
    Provisional,
    ProvisionalAcknowledged,
    ReferralProgress,
    Referred,
    RefreshDue,
    RegistrationFailed,
    RegistrationSucceeded,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
    RequestAnswered,
    RequestFailed,
    UserAgent,
    UserAgentConfig,
)
from iceway.trace.records import CredentialsRefused, CredentialsRequested, Malformed, Note, Started
from iceway.wire import mras, sdpfrag, telephone_event
from iceway.wire.sip import NameAddr, Response, SipUri

if TYPE_CHECKING:
    from random import Random

STOP_LIMIT = 2.0  # seconds for saying goodbye
RENEW_NO_SOONER = 30.0  # seconds between requests for credentials, however shortly those live
MAX_RINGING = 8  # each has sockets and relays of its own, which one caller alone must not use up
RETRY_RELAYS = 60.0  # seconds until relay credentials are asked for again after a refusal


class Phone(Outbox):
    """Machine. `attend` gives an incoming caller's URI its media, `allows` says who may transfer us to whom: by default
    whoever we talk with, to anybody. Events are those of `client/events.py`."""

    def __init__(
        self,
        config: PhoneConfig,
        rng: Random,
        attend: Callable[[str], Media],
        allows: Callable[[TransferRequest], bool] = lambda _: True,
    ) -> None:
        super().__init__()
        self.config = config
        self._rng = rng
        self._attend = attend
        self._board = Switchboard()
        self._timers = Timers()
        self._clock: ClockSet | None = None
        self._ips: tuple[str, ...] = ()
        self._locator: Locator | None = None
        self._ua: UserAgent | None = None
        self._registered = False
        self._ready = False
        self._stopping = False
        self._do_not_disturb = False
        self._outside = False
        self._secured = True
        self._service: str | None = None
        self._asking: str | None = None
        self._granted: tuple[IceServer, ...] = ()
        self._trouble = ""
        self._calls: dict[str, Call] = {}
        self._line = Line(self)
        self._transfers = Transfers(self, config.identity, allows)
        self._waiting: list[str] = []  # calls that wait for relay credentials
        self._count = 0
        self._signed_off = False
        self._finished = False

    # --- facts --------------------------------------------------------------------------------------------
    @property
    def user_agent(self) -> UserAgent:
        if self._ua is None:
            raise UsageError("the phone has not started")
        return self._ua

    @property
    def calls(self) -> Mapping[str, Call]:
        return self._calls

    @property
    def outside(self) -> bool:
        """Whether we came in through an edge."""
        return self._outside

    def stats(self, name: str, now: float) -> CallStats:
        """How the streams of a call fare; all None for one that is not there (any more)."""
        call = self._calls.get(name)
        return call.stats(now) if call else CallStats()

    def streams(self, name: str) -> tuple[str, ...]:
        """What a call carries, of "audio", "video" and "slides"."""
        call = self._calls.get(name)
        return call.streams if call else ()

    # --- commands -----------------------------------------------------------------------------------------
    def start(self, now: float) -> None:
        """Find the server and register. Ends in `Ready` or `RegistrationFailed`."""
        if self._ua is not None or self._locator is not None:
            raise UsageError("a phone starts once")
        self.emit(Started("client", __version__, self.config.identity))
        server = self.config.server
        if server is None:
            self._sign_on((), now)
        elif is_ip(server.host):
            address = Address.of(server.host, server.port)
            name = server.host if server.transport is Transport.TLS else None
            self._sign_on((Target(address, server.transport, tls_name=name),), now)
        else:
            self._locator = Locator("server", self._rng)
            self._board.add("server", self._locator)
            uri = SipUri.of(None, server.host, server.port, transport=server.transport.value)
            self._locator.locate(uri, now)
        self._settle(now)

    def call(self, peer: str, media: Media, now: float) -> str:
        """Call somebody; the name by which events and commands speak of the call."""
        try:
            NameAddr.parse(peer)
        except ParseError as error:
            raise UsageError(f"{peer!r} cannot be called: {error}; write sip:bob@example.test") from error
        call = self.place(peer, Loan(media), (), now)
        self._settle(now)
        return call.name

    def place(self, peer: str, loan: Loan, fields: Fields, now: float) -> Call:
        """Call somebody whose name is one, with media on loan. (For `client/transfers.py`.)"""
        if self._ua is None or not self._registered or self._stopping:
            raise UsageError("not registered, so nobody can be called")
        if not (self._secured or self.config.dtls or self.config.allow_clear):
            raise UsageError(
                "keys for the media would cross the network in clear, since the server is not reached over TLS; "
                "connect with tls:, or agree on keys by DTLS"
            )
        call = self._new_call(peer, loan)
        self._line.head(call, fields)
        self._begin_supplied(call, now)
        return call

    def pick_up(self, name: str, now: float) -> None:
        """Answer an incoming call; one that has ended meanwhile stays ended."""
        self._timers.cancel(("pick up", name))
        if (call := self._calls.get(name)) is not None:
            call.pick_up(now)
        self._settle(now)

    def take(self, name: str, now: float) -> None:
        """Answer an incoming call and hold all others."""
        if (call := self._calls.get(name)) is not None and not call.ended:
            for other in list(self._calls.values()):
                if other is not call and other.answered:
                    other.hold(True, now)
            self.pick_up(name, now)

    def do_not_disturb(self, quiet: bool, now: float) -> None:
        """Turn whoever calls away (480) from now on, or let it ring again. What rings already goes on ringing."""
        self._do_not_disturb = quiet

    def refuse(self, name: str, code: int, reason: str, now: float) -> None:
        """Turn an incoming call down (486 Busy Here, 603 Decline)."""
        if (call := self._calls.get(name)) is not None:
            call.refuse(code, reason, now)
        self._settle(now)

    def press(self, name: str, digits: str, duration: float, now: float) -> None:
        """Send telephone keys (DTMF). Raises UsageError, as `Call.press` says."""
        if (call := self._calls.get(name)) is not None:
            call.press(digits, duration, now)
        self._settle(now)

    def mute(self, name: str, muted: bool, now: float) -> None:
        """Send silence in place of what the source says, until told otherwise."""
        if (call := self._calls.get(name)) is not None:
            call.mute(muted, now)
        self._settle(now)

    def hold(self, name: str, holding: bool, now: float) -> None:
        """Hold a call, or resume it. Raises UsageError before it is answered."""
        if (call := self._calls.get(name)) is not None:
            call.hold(holding, now)
        self._settle(now)

    def transfer(self, name: str, target: str, now: float) -> None:
        """Ask the other side to call somebody else. `CallTransferred` or `TransferFailed` says what came of it.

        Meanwhile the call is on hold. Raises UsageError before it is answered, and for a target that is no address.
        """
        if (call := self._calls.get(name)) is not None:
            self._transfers.transfer(call, target, now)
        self._settle(now)

    def join(self, name: str, other: str, now: float) -> None:
        """Ask the other side of a call to talk with that of another one, in our place; told of as by `transfer`."""
        call, another = self._calls.get(name), self._calls.get(other)
        if another is None:
            raise UsageError(f"{other} is over, so nobody can be joined with whom we talked with there")
        if call is not None:
            self._transfers.join(call, another, now)
        self._settle(now)

    def add(self, name: str, kind: str, pictures: Pictures, now: float) -> None:
        """Add pictures or slides to a call. Raises UsageError, as `Call.add` says."""
        if (call := self._calls.get(name)) is not None:
            self._transfers.lend_more(name, kind, pictures, lambda lent: call.add(kind, lent, now))
        self._settle(now)

    def drop(self, name: str, kind: str, now: float) -> None:
        """Take pictures or slides out of a call."""
        if (call := self._calls.get(name)) is not None:
            call.drop(kind, now)
        self._settle(now)

    def hang_up(self, name: str, now: float) -> None:
        if (call := self._calls.get(name)) is not None:
            call.hang_up(now)
        self._settle(now)

    def stop(self, now: float) -> None:
        """Hang up, unregister, let go of everything; `Stopped` says when, after a few seconds at most."""
        if self._stopping:
            return
        self._stopping = True
        for call in self._calls.values():
            call.hang_up(now)
        self._asking = None
        self._waiting.clear()
        self._timers.clear()
        self._timers.arm("stopped", now + STOP_LIMIT)
        if self._ua is None:
            self._signed_off = True
        else:
            self._ua.unregister(now)
        self._settle(now)

    # --- machine ------------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, ClockSet):
            self._clock = event
        elif isinstance(event, AddressesChanged):
            self._ips = event.ips
        self._board.route(event, now)
        self._settle(now, commanded=False)

    def handle_timeout(self, now: float) -> None:
        commanded = False
        for name in self._timers.due(now):
            commanded = True
            match name:
                case ("begin", str(call)):
                    self._begin_late(call, now)
                case ("pick up", str(call)):
                    self.pick_up(call, now)
                case ("hang up", str(call)):
                    self.hang_up(call, now)
                case "renew":
                    self._ask_for_relays(now)
                case "stopped":
                    self._finish(now)
        self._board.handle_timeout(now)
        self._settle(now, commanded=commanded)

    def poll_timeout(self) -> float | None:
        return earliest(self._board.poll_timeout(), self._timers.next_at())

    # --- what the children say ----------------------------------------------------------------------------
    def _settle(self, now: float, *, commanded: bool = True) -> None:
        """Pass on what the children say. Calls are left alone unless something was, or may have been, done to them."""
        if commanded:
            self._board.wake()
        for name, output in self._board.outputs():
            if name == "ua":
                self._board.wake()  # what SIP brings goes to calls
            match output:
                case Located() | NotLocated() if self._stopping:
                    pass
                case Located(targets=targets):
                    self._sign_on(targets, now)
                case NotLocated(reason=reason):
                    self._not_registered(reason, final=False)
                case _ if name == "ua":
                    self._from_ua(output, now)
                case events.CallProgress() | events.CallAnswered() | events.CallEnded():
                    if isinstance(output, events.CallEnded):
                        self._timers.cancel(("pick up", output.call))
                        self._timers.cancel(("hang up", output.call))
                    self.emit(output)
                    self._board.wake()
                    self._transfers.follow(output, now)
                case _:
                    self.emit(output)
        for name in self._board.stirred():
            if name in self._calls and self._calls[name].finished:
                call = self._calls[name]
                del self._calls[name]
                self._board.remove(name)
                self._line.forget(call)
                self._transfers.forget(name)
        if self._signed_off and not self._calls:
            self._finish(now)

    def _from_ua(self, output: object, now: float) -> None:
        match output:
            case RegistrationSucceeded() | RegistrationFailed() if self._stopping:
                pass  # too late to matter
            case RegistrationSucceeded():
                self._signed_on(output, now)
            case RegistrationFailed(reason=reason, retry_in=retry_in):
                self._not_registered(reason, final=retry_in is None)
            case Deregistered():
                self._signed_off = True
            case RequestAnswered(request=request, response=response) if request == self._asking:
                self._relays_answered(response, now)
            case RequestFailed(request=request, reason=reason) if request == self._asking:
                self._no_relays(f"the request for relay credentials failed: {reason}", now)
            case Incoming(replaces=""):
                self._called(output, now)
            case Incoming():
                self._called_in_place(output, now)
            case Referred() | ReferralProgress():
                self._transfers.hear(output, self._line.call_of(output.call), now)
            case (
                Provisional()
                | Answered()
                | Confirmed()
                | Ended()
                | ReinviteReceived()
                | ReinviteAnswered()
                | ReinviteFailed()
                | InfoReceived()
                | InfoAnswered()
                | RefreshDue()
            ):
                if isinstance(output, Ended):
                    self._transfers.hear(output, self._line.call_of(output.call), now)
                self._line.deliver(output, now)
            case ProvisionalAcknowledged() | Listening() | RequestAnswered() | RequestFailed():
                pass  # nothing here waits for these
            case _:
                self.emit(output)

    # --- registration -------------------------------------------------------------------------------------
    def _sign_on(self, targets: tuple[Target, ...], now: float) -> None:
        config = UserAgentConfig(
            aor=self.config.identity,
            username=self.config.user,
            password=self.config.password,
            outbound=targets,
            user_agent=f"iceway/{__version__}",
            info_packages=(sdpfrag.INFO_PACKAGE,),
            info_types=(telephone_event.RELAY,),
            option_tags=("trickle-ice",),  # RFC 8840 §10
            session_expires=self.config.session_expires,
        )
        self._secured = all(target.transport is Transport.TLS for target in targets)
        self._ua = UserAgent("ua", config, self._rng)
        self._board.add("ua", self._ua)
        for event in (self._clock, AddressesChanged(self._ips)):
            if event is not None:
                self._ua.handle_input(event, now)
        self._ua.register(now)

    def _signed_on(self, event: RegistrationSucceeded, now: float) -> None:
        if self._ready and not self._registered:
            self.emit(events.RegistrationRestored())
        self._registered = True
        headers = event.response.headers
        outside = mras.OUTSIDE in (headers.get(mras.LOGON_HEADER) or "")
        self._service = self._relay_service(headers.get(mras.SERVICE_HEADER))
        moved = outside != self._outside
        self._outside = outside
        if self._service is not None and self.config.ask_for_relays:
            if self._asking is None and (moved or not self._granted):
                self._ask_for_relays(now)
        else:
            if self.config.ask_for_relays and not self.config.relays:
                self._trouble = "the front end names no relay service"
            self._become_ready()

    def _relay_service(self, value: str | None) -> str | None:
        """Whom to ask for relay credentials, as the 200 to REGISTER says; None if it names nobody."""
        if value is None:
            return None
        try:
            return NameAddr.parse(value).uri
        except ParseError as error:
            self.emit(Malformed("sip", None, f"{mras.SERVICE_HEADER}: {error}", len(value)))
            return None

    def _not_registered(self, reason: str, *, final: bool) -> None:
        self._registered = False
        self.emit(events.RegistrationFailed(reason, final))

    def _become_ready(self) -> None:
        if not self._ready:
            self._ready = True
            self.emit(events.Ready(self._outside, self._trouble))

    def _finish(self, now: float) -> None:
        if self._finished:
            return
        self._finished = True
        self._timers.clear()
        if self._ua is not None:
            self._ua.close(now)
        self.emit(events.Stopped())

    # --- relay credentials --------------------------------------------------------------------------------
    @property
    def _location(self) -> mras.Location:
        return mras.Location.INTERNET if self._outside else mras.Location.INTRANET

    def _ask_for_relays(self, now: float) -> None:
        if self._ua is None or self._service is None:
            return
        identity = self.config.identity
        body = relays.question(identity, self._service, self._location, f"{self._rng.getrandbits(31)}")
        self.emit(CredentialsRequested(identity, self._location.value, relays.WANTED))
        self._asking = self._ua.request_out_of_dialog(
            "SERVICE", self._service, now, body=body, content_type=mras.CONTENT_TYPE
        )

    def _relays_answered(self, response: Response, now: float) -> None:
        if response.status != 200:
            self._no_relays(why_refused(response), now)
            return
        try:
            granted = relays.grant(response.body, self._location)
        except ParseError as error:
            self._no_relays(str(error), now)
            return
        for record in granted.records:
            self.emit(record)
        self._granted, self._trouble = granted.servers, ""
        for call in self._calls.values():
            call.renew_servers(granted.servers, now)
        self._timers.arm("renew", now + max(relays.RENEW_AT * granted.duration, RENEW_NO_SOONER))
        self._relays_known(now)

    def _no_relays(self, reason: str, now: float) -> None:
        """Calls go on without a relay, or with the last credentials; the next try is in a minute."""
        self._trouble = reason
        self.emit(CredentialsRefused(self.config.identity, reason))
        self._timers.arm("renew", now + RETRY_RELAYS)
        self._relays_known(now)

    def _relays_known(self, now: float) -> None:
        self._asking = None
        self._become_ready()
        for name in list(self._waiting):
            self._begin_late(name, now)

    # --- calls --------------------------------------------------------------------------------------------
    def hang_up_at(self, name: str, at: float) -> None:
        """(For `client/transfers.py`.)"""
        self._timers.arm(("hang up", name), at)

    def _new_call(self, peer: str, loan: Loan, incoming: Incoming | None = None) -> Call:
        self._count += 1
        media = self._transfers.lend(name := f"call.{self._count}", loan)
        call = Call(
            name,
            self.config,
            self._rng,
            self._line,
            peer=peer,
            media=media,
            incoming=incoming is not None,
            secured=self._secured,
            rtcp_apart=self._rtcp_apart(incoming),
        )
        self._calls[call.name] = call
        self._board.add(call.name, call, rests=True)
        return call

    def _rtcp_apart(self, incoming: Incoming | None) -> bool:
        """Whether RTCP has a component of its own: as the offer has it, or as ours is to have it."""
        if incoming is not None:
            return wants_rtcp_apart(incoming.offer or b"")
        return not self.config.rtcp_mux and self.config.dtls is None

    def _begin_supplied(self, call: Call, now: float) -> None:
        """Begin, or wait for the relay credentials that are on their way; not for long."""
        if self._asking is None:
            self._begin(call, now)
        else:
            self._waiting.append(call.name)
            self._timers.arm(("begin", call.name), now + self.config.relay_limit)

    def _begin(self, call: Call, now: float) -> None:
        chosen = self.config.ways.interfaces
        ips = self._ips if chosen is None else chosen
        if self._clock is not None:
            call.handle_input(self._clock, now)
        call.begin(ips, self._granted + self.config.relays, now)

    def _begin_late(self, name: str, now: float) -> None:
        self._timers.cancel(("begin", name))
        self._waiting.remove(name)
        if name in self._calls and not self._calls[name].ended:
            self._begin(self._calls[name], now)

    def _called(self, event: Incoming, now: float) -> None:
        assert self._ua is not None
        if event.offer is None:
            self._ua.reject(event.call, 488, now, "An INVITE without an offer is not answered here")
            return
        if self._stopping:
            self._ua.reject(event.call, 480, now)
            return
        if sum(call.incoming and not call.answered for call in self._calls.values()) >= MAX_RINGING:
            self._ua.reject(event.call, 486, now, "Too many calls ring here already")
            return
        peer = event.caller.uri
        if self._do_not_disturb:
            self._ua.reject(event.call, 480, now, "Do Not Disturb")
            self.emit(events.CallTurnedAway(peer))
            return
        try:
            media = self._attend(peer)
        except IcewayError as error:  # such as a recording that cannot be written
            self.emit(Note("error", f"the call of {peer} cannot be taken: {error}"))
            self._ua.reject(event.call, 480, now)
            return
        call = self._new_call(peer, Loan(media), event)
        if not self._line.ring_in(call, event, now):
            return
        waiting = any(other.answered for other in self._calls.values())
        self.emit(events.IncomingCall(call.name, peer, waiting, media))
        if self.config.ring_for is not None and not waiting:
            self._timers.arm(("pick up", call.name), now + self.config.ring_for)
        self._begin_supplied(call, now)

    def _called_in_place(self, event: Incoming, now: float) -> None:
        """Somebody takes the place of one whom we talk with: nothing rings."""
        assert self._ua is not None
        old = self._line.call_of(event.replaces)
        loan = (
            self._transfers.receives(old, event) if event.offer is not None and not self._stopping else None
        )
        if old is None or loan is None:
            self._ua.reject(event.call, 488 if event.offer is None else 603, now)
            return
        call = self._new_call(event.caller.uri, loan, event)
        self._transfers.received(call, old)
        if self._line.ring_in(call, event, now):
            call.pick_up(now)
            self._begin_supplied(call, now)
