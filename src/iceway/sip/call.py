"""A call, once there is a dialog: ACK and 2xx, re-INVITE in both directions, glare, BYE (RFC 3261 §13–15).

How a call comes about is told in `outgoing.py` and `incoming.py`. Who may say what when is a table
(`COMMANDS`); offers and answers alternate strictly (RFC 3264 §4, RFC 6337): an INVITE or re-INVITE carries the
offer and its 2xx (or reliable 183) the answer, or else the 2xx the offer and the ACK the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from iceway.core.errors import UsageError
from iceway.core.timers import Timers
from iceway.sip.call_events import (
    Confirmed,
    Ended,
    RefreshDue,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
)
from iceway.sip.dialog import Dialog
from iceway.sip.endpoint import Endpoint, Flow, RequestReceived, Target
from iceway.sip.exchange import Exchange, Requester
from iceway.sip.info import Information
from iceway.sip.reasons import reason_words
from iceway.sip.referral import Referrals
from iceway.sip.session_timer import SessionTimer
from iceway.sip.transaction import T1, T2, TIMEOUT
from iceway.trace.records import CallState
from iceway.wire.sip import Message, NameAddr, Request, Response, make_response, quote

if TYPE_CHECKING:
    from random import Random

SDP = "application/sdp"
ALLOW = "INVITE, ACK, CANCEL, BYE, PRACK, OPTIONS, INFO, UPDATE, REFER, NOTIFY"
SUPPORTED = "100rel, path, outbound, gruu, timer, replaces, norefersub"
_REFRESH_AGAIN = 10.0  # seconds after a refresh that was refused for now
_MAX_GLARE = 8

M = TypeVar("M", bound=Message)


class Phase(Enum):
    TRYING = "trying"  # INVITE out or in, nothing said yet
    RINGING = "ringing"  # a provisional response
    CANCELLING = "cancelling"  # CANCEL is out, the INVITE still unanswered
    ANSWERED = "answered"  # our 2xx is out, its ACK is not here
    CONFIRMED = "confirmed"
    ENDED = "ended"


COMMANDS: dict[str, frozenset[Phase]] = {
    "ring": frozenset({Phase.TRYING, Phase.RINGING}),
    "accept": frozenset({Phase.TRYING, Phase.RINGING}),
    "reject": frozenset({Phase.TRYING, Phase.RINGING}),
    "cancel": frozenset({Phase.TRYING, Phase.RINGING, Phase.CANCELLING}),
    "bye": frozenset({Phase.ANSWERED, Phase.CONFIRMED}),
    "reinvite": frozenset({Phase.ANSWERED, Phase.CONFIRMED}),
    "answer_reinvite": frozenset({Phase.ANSWERED, Phase.CONFIRMED}),
    "reject_reinvite": frozenset({Phase.ANSWERED, Phase.CONFIRMED}),
    "refer": frozenset({Phase.CONFIRMED}),
}


@dataclass(slots=True)
class Switch:
    """What a user agent lends its calls. `timers` are named (call, what); `contact` is ours on a flow."""

    endpoint: Endpoint
    requester: Requester
    timers: Timers
    rng: Random
    emit: Callable[[object], None]
    local: NameAddr
    contact: Callable[[Flow | None], str]
    service_route: Callable[[], tuple[str, ...]]
    user_agent: str
    answer_timeout: float
    info_packages: tuple[str, ...] = ()
    info_types: tuple[str, ...] = ()
    option_tags: tuple[str, ...] = ()
    session_expires: int = 0

    @property
    def supported(self) -> str:
        return ", ".join((SUPPORTED, *self.option_tags))

    def tag(self) -> str:
        return f"{self.rng.getrandbits(64):016x}"

    def dressed(self, message: M, flow: Flow | None) -> M:
        """With the headers of a message that makes or moves a dialog."""
        message = message.with_header("Contact", f"<{self.contact(flow)}>")
        message = message.with_header("Allow", ALLOW).with_header("Supported", self.supported)
        return message.with_header("Recv-Info", *self.info_packages)


@dataclass(slots=True)
class _Sent2xx:
    transaction: str
    response: Response
    cseq: int
    interval: float
    until: float
    is_offer: bool
    is_initial: bool


class Call:
    """What both kinds of call share; see the module's law."""

    def __init__(self, key: str, call_id: str, remote: NameAddr, switch: Switch) -> None:
        self.key = key
        self.call_id = call_id
        self.remote = remote
        self.phase = Phase.TRYING
        self.dialog: Dialog | None = None
        self._switch = switch
        self._sent_2xx: _Sent2xx | None = None
        self._reinvite: Exchange | None = None  # ours, unanswered
        self._last_reinvite: Exchange | None = None  # kept while copies of its 2xx may come
        self._wished: bytes | None = None  # the offer of a re-INVITE that has to wait
        self._leaving: str | None = None  # hung up before the ACK was here
        self._glares = 0
        self._acks: dict[tuple[str, int], Request] = {}  # by remote tag and CSeq, for copies of the 2xx
        self._asked: RequestReceived | None = None  # their re-INVITE, unanswered
        self._asked_gone = False  # …until its transaction broke
        self._owns_call_id = False
        self._timer = SessionTimer(switch.session_expires)
        self._takes_update = False
        self.referrals = Referrals(key, switch)
        self._information = Information(key, switch)

    @property
    def is_over(self) -> bool:
        return self.phase is Phase.ENDED

    @property
    def is_reinviting(self) -> bool:
        """Whether a re-INVITE of ours is under way or waits for its turn."""
        return self._reinvite is not None or self._wished is not None

    @property
    def dialogs(self) -> tuple[Dialog, ...]:
        return (self.dialog,) if self.dialog is not None else ()

    def may(self, command: str) -> bool:
        """Whether to carry out a command: False once the call is over; UsageError in a phase that forbids it."""
        if self.is_over:
            return False
        if self.phase not in COMMANDS[command]:
            raise UsageError(f"{command} does not fit a call that is {self.phase.value}")
        return True

    # --- commands -------------------------------------------------------------------------------------
    def bye(self, now: float, reason: str | None = None) -> None:
        """Hang up. Before the ACK of our answer nothing may be said; then it waits for that (RFC 3261 §15)."""
        if not self.may("bye"):
            return
        if self.phase is Phase.ANSWERED:
            self._leaving = reason or ""
            return
        self._send_bye(self._the_dialog(), now, reason)
        self._end(reason or "hung up here", 0, True, now)

    def reinvite(self, offer: bytes, now: float) -> None:
        """Renegotiate, as soon as no other INVITE of the dialog is in progress (RFC 3261 §14.1)."""
        if not self.may("reinvite"):
            return
        self._wished = offer
        self._reinvite_if_free(now)

    def withdraw_reinvite(self, now: float) -> None:
        """One that has not left yet stays here."""
        if self._reinvite is None:
            self._wished, self._glares = None, 0
            self._switch.timers.cancel((self.key, "glare"))
            self._refer_if_free(now)

    def answer_reinvite(self, sdp: bytes, now: float) -> None:
        if not self.may("answer_reinvite") or (asked := self._take_asked()) is None:
            return
        response = make_response(asked.request, 200).with_body(sdp, SDP)
        response = self._switch.dressed(response, asked.flow)
        response = self._timer.agree(asked.request, response)
        self._arm_session(now)
        if asked.request.method == "UPDATE":  # no ACK follows (RFC 3311 §5.2)
            self._switch.endpoint.respond(asked.transaction, response, now)
            self._reinvite_if_free(now)
            return
        self._send_2xx(asked, response, is_offer=not asked.request.body, is_initial=False, now=now)

    def reject_reinvite(self, status: int, now: float) -> None:
        if self.may("reject_reinvite") and (asked := self._take_asked()) is not None:
            self._switch.endpoint.respond(asked.transaction, make_response(asked.request, status), now)
            self._reinvite_if_free(now)

    def takes_info(self, package: str, branch: str | None = None) -> bool:
        """Whether the other end says that it takes such an INFO."""
        dialog = self._dialog_for_info(branch)
        return not self.is_over and dialog is not None and package in dialog.recv_info

    def inform(
        self, package: str, content_type: str, body: bytes, now: float, branch: str | None = None
    ) -> None:
        """Send an INFO (RFC 6086), also before the call is answered. `InfoAnswered` follows.

        It waits until the other end can know the dialog (RFC 8840 §4.3.1).
        """
        dialog = self._dialog_for_info(branch)
        if self.is_over or dialog is None:
            return
        if not self._is_known:
            self._information.hold_back(package, content_type, body)
        else:
            self._information.send(package, content_type, body, dialog, now)

    @property
    def _is_known(self) -> bool:
        """The other end has shown that it knows our tag."""
        return True

    def _inform_now(self, now: float) -> None:
        """Send the INFO that waited, if there is one and it may go."""
        if self._is_known and not self.is_over and self.dialog is not None:
            self._information.send_what_waits(self.dialog, now)

    def _dialog_for_info(self, branch: str | None) -> Dialog | None:
        return self.dialog

    # --- requests within the dialog -------------------------------------------------------------------
    def handle_request(self, event: RequestReceived, dialog: Dialog, now: float) -> None:
        """A request within one of our dialogs; the user agent has checked what is common to all."""
        request = event.request
        if not dialog.in_order(request):
            self._respond(event, 500, now)
            return
        dialog.flow = event.flow.id
        if self.is_over and request.method not in ("BYE", "NOTIFY"):
            self._respond(event, 481, now)
            return
        match request.method:
            case "BYE":
                self._respond(event, 200, now)
                self._bye_received(request, now)
            case "INVITE" | "UPDATE" if (least := self._timer.objection(request)) is not None:
                response = make_response(request, 422).with_last("Min-SE", str(least))
                self._switch.endpoint.respond(event.transaction, response, now)
            case "UPDATE" if not request.body:
                self._refreshed(event, dialog, now)
            case "INVITE" | "UPDATE":
                self._reinvited(event, dialog, now)
            case "OPTIONS":
                self._respond(event, 200, now)
            case "INFO":
                self._information.received(event, now)
            case "REFER":
                self.referrals.referred(event, dialog, self.phase is Phase.CONFIRMED, now)
            case "NOTIFY":
                self.referrals.notified(event, now)
            case _:
                self._respond(event, 405, now)

    def handle_ack(self, request: Request, flow: Flow, now: float) -> None:
        sent = self._sent_2xx
        if sent is None or request.cseq.number != sent.cseq:
            return
        self._sent_2xx = None
        self._switch.timers.cancel((self.key, "2xx"))
        self._the_dialog().flow = flow.id
        answer = sdp_of(request) if sent.is_offer else None
        if sent.is_initial:
            self.phase = Phase.CONFIRMED
            self._record("confirmed")
            self._switch.emit(Confirmed(self.key, answer))
            self._inform_now(now)
            if self._leaving is not None:
                self.bye(now, self._leaving)
                return
        elif sent.is_offer:
            self._switch.emit(ReinviteAnswered(self.key, answer))
        self._reinvite_if_free(now)

    def handle_timer(self, what: str, now: float) -> None:
        if what == "2xx":
            self._repeat_2xx(now)
        elif what == "glare":
            self._reinvite_if_free(now)
        elif what == "refresh":
            self._refresh(now)
        elif what == "refer":
            self.referrals.expired()
        elif what == "expiry":
            silent = f"no sign of life for {self._timer.over_after:.0f} s"
            self._send_bye(self._the_dialog(), now, silent)
            self._end(f"the other side is gone: {silent}", 0, True, now)

    def transaction_failed(self, transaction: str, reason: str, status: int, now: float) -> bool:
        """A server transaction of this call broke; True if it was one of ours."""
        if self._asked is not None and self._asked.transaction == transaction:
            asked, self._asked, self._asked_gone = self._asked, None, True
            if not asked.request.body and not self.is_over:  # the offer it wanted reaches nobody
                self._switch.emit(ReinviteFailed(self.key, status, reason))
            return True
        return False

    def forget(self) -> None:
        """Copies of what was said are no longer expected."""
        if self._last_reinvite is not None:
            self._switch.requester.forget(self._last_reinvite)

    def _bye_received(self, request: Request, now: float) -> None:
        self._end(reason_words(request) or "the other side hung up", 0, False, now)

    def _reinvited(self, event: RequestReceived, dialog: Dialog, now: float) -> None:
        if self._asked is not None or (self._sent_2xx is not None and self._sent_2xx.is_initial):
            # RFC 3261 §14.2: one at a time.
            response = make_response(event.request, 500).with_last(
                "Retry-After", str(self._switch.rng.randrange(11))
            )
            self._switch.endpoint.respond(event.transaction, response, now)
        elif self._reinvite is not None or self.phase not in (Phase.CONFIRMED, Phase.ANSWERED):
            self._respond(event, 491, now)
        elif event.request.body and event.request.content_type != SDP:
            response = make_response(event.request, 415).with_last("Accept", SDP)
            self._switch.endpoint.respond(event.transaction, response, now)
        else:
            dialog.refresh_target(event.request)
            self._asked, self._asked_gone = event, False
            self._switch.emit(ReinviteReceived(self.key, sdp_of(event.request)))

    # --- the session's timer (RFC 4028) ---------------------------------------------------------------
    def _arm_session(self, now: float) -> None:
        """Count anew; called whenever both sides agreed on something."""
        timers = self._switch.timers
        timers.cancel((self.key, "refresh"))
        timers.cancel((self.key, "expiry"))
        if self._timer.interval and not self.is_over:
            timers.arm((self.key, "expiry"), now + self._timer.over_after)
            if self._timer.we_refresh:
                timers.arm((self.key, "refresh"), now + self._timer.refresh_after)

    def _refreshed(self, event: RequestReceived, dialog: Dialog, now: float) -> None:
        """An UPDATE that says no more than that somebody is there."""
        response = self._switch.dressed(make_response(event.request, 200), event.flow)
        if self.phase in (Phase.CONFIRMED, Phase.ANSWERED):
            dialog.refresh_target(event.request)
            response = self._timer.agree(event.request, response)
            self._arm_session(now)
        self._switch.endpoint.respond(event.transaction, response, now)

    def _refresh(self, now: float) -> None:
        if self.phase is not Phase.CONFIRMED:
            return
        if not self._takes_update:
            self._switch.timers.arm((self.key, "refresh"), now + _REFRESH_AGAIN)
            self._switch.emit(RefreshDue(self.key))
            return
        dialog = self._the_dialog()
        request = self._timer.asked(dialog.request("UPDATE"))
        update = Exchange(
            request, dialog.next_cseq, self._refresh_answered, self._refresh_failed, self._dress, dialog.flow
        )
        self._switch.requester.send(update, now)

    def _refresh_answered(self, exchange: Exchange, response: Response, now: float) -> None:
        if response.is_provisional or self.is_over:
            return
        if response.is_success:
            self._the_dialog().refresh_target(response)
            self._timer.answered(response)
            self._arm_session(now)
        elif response.status == 422 and self._timer.too_small(response):
            self._refresh(now)
        elif response.status in (405, 501):
            self._takes_update = False
            self._refresh(now)
        else:
            self._refresh_failed(exchange, f"{response.status} {response.reason}", response.status, now)

    def _refresh_failed(self, exchange: Exchange, reason: str, status: int, now: float) -> None:
        if self.is_over:
            return
        if status in (408, 481):  # the dialog is gone at the other end (RFC 3261 §12.2.1.2)
            self._send_bye(self._the_dialog(), now, None)
            self._end(f"the other side is gone: {reason}", 0, True, now)
        else:
            self._switch.timers.arm((self.key, "refresh"), now + _REFRESH_AGAIN)

    # --- our 2xx, until its ACK -----------------------------------------------------------------------
    def _send_2xx(
        self, asked: RequestReceived, response: Response, *, is_offer: bool, is_initial: bool, now: float
    ) -> None:
        cseq = asked.request.cseq.number
        self._sent_2xx = _Sent2xx(asked.transaction, response, cseq, T1, now + TIMEOUT, is_offer, is_initial)
        self._switch.timers.arm((self.key, "2xx"), now + T1)
        self._switch.endpoint.respond(asked.transaction, response, now)

    def _repeat_2xx(self, now: float) -> None:
        """RFC 3261 §13.3.1.4: whatever the transport, until the ACK comes or there is no hope."""
        sent = self._sent_2xx
        if sent is None:
            return
        if now >= sent.until:
            self._send_bye(self._the_dialog(), now, "no ACK")
            self._end(f"no ACK for our answer in {TIMEOUT:g} s", 408, True, now)
            return
        self._switch.endpoint.respond(sent.transaction, sent.response, now)
        sent.interval = min(2 * sent.interval, T2)
        self._switch.timers.arm((self.key, "2xx"), min(now + sent.interval, sent.until))

    # --- our re-INVITE --------------------------------------------------------------------------------
    def _reinvite_if_free(self, now: float) -> None:
        if self._wished is None or self.is_over or self.phase is not Phase.CONFIRMED:
            return
        waits = self._switch.timers.at((self.key, "glare")) is not None
        if waits or self._reinvite is not None or self._asked is not None or self._sent_2xx is not None:
            return
        dialog = self._the_dialog()
        offer = self._wished
        request = self._timer.asked(dialog.request("INVITE").with_body(offer, SDP))
        if self._last_reinvite is not None:
            self._switch.requester.forget(self._last_reinvite)
        self._acks.clear()
        self._last_reinvite = self._reinvite = Exchange(
            request,
            dialog.next_cseq,
            self._reinvite_response,
            self._reinvite_failed,
            dress=self._dress,
            flow=dialog.flow,
        )
        self._switch.requester.send(self._reinvite, now)

    def _reinvite_response(self, exchange: Exchange, response: Response, now: float) -> None:
        if response.is_provisional:
            return
        dialog = self._the_dialog()
        if response.is_success:
            is_copy = self._reinvite is not exchange
            if not is_copy:
                dialog.refresh_target(response)
                self._timer.answered(response)
                self._arm_session(now)
            self._send_ack(dialog, exchange, response, now)
            if is_copy:
                return
            self._reinvite, self._glares = None, 0
            if self._wished == sdp_of(exchange.request):
                self._wished = None
            if not self.is_over:
                self._switch.emit(ReinviteAnswered(self.key, sdp_of(response)))
                self._reinvite_if_free(now)
                self._refer_if_free(now)
            return
        self._reinvite = None
        if self.is_over:
            return
        if response.status == 422 and self._timer.too_small(response):
            self._reinvite_if_free(now)
            return
        if response.status == 491 and self._glares < _MAX_GLARE:
            # Whoever made the Call-ID waits longer, so that one of the two goes first (RFC 3261 §14.1).
            self._glares += 1
            ticks = (
                self._switch.rng.randint(210, 400) if self._owns_call_id else self._switch.rng.randint(0, 200)
            )
            self._switch.timers.arm((self.key, "glare"), now + ticks / 100)
            return
        self._reinvite_failed(exchange, f"{response.status} {response.reason}", response.status, now)

    def _reinvite_failed(self, exchange: Exchange, reason: str, status: int, now: float) -> None:
        self._reinvite, self._wished, self._glares = None, None, 0
        if self.is_over:
            return
        if status in (408, 481):  # the dialog is gone at the other end (RFC 3261 §12.2.1.2)
            self._send_bye(self._the_dialog(), now, None)
            self._end(reason, status, True, now)
        else:
            self._switch.emit(ReinviteFailed(self.key, status, reason))
            self._refer_if_free(now)

    def _refer_if_free(self, now: float) -> None:
        if not self.is_reinviting and not self.is_over:
            self.referrals.go_on(self._the_dialog(), now)

    # --- sending --------------------------------------------------------------------------------------
    def _send_ack(
        self, dialog: Dialog, exchange: Exchange, response: Response, now: float, answer: bytes | None = None
    ) -> None:
        """The ACK of a 2xx: made once, sent again for each copy (RFC 3261 §13.2.2.4)."""
        number = response.cseq.number
        key = (dialog.remote.tag or "", number)
        ack = self._acks.get(key)
        if ack is None:
            ack = dialog.request("ACK", number)
            for name in ("Authorization", "Proxy-Authorization"):  # RFC 3261 §22.1
                ack = ack.with_header(name, *exchange.request.headers.all(name))
            if answer is not None:
                ack = ack.with_body(answer, SDP)
            self._acks[key] = ack
        flow = self._flow_of(dialog, exchange)
        if flow is not None:
            self._switch.endpoint.send_ack(ack, Target.over(flow), now)

    def _send_bye(self, dialog: Dialog, now: float, reason: str | None) -> None:
        request = dialog.request("BYE")
        if reason:
            request = request.with_last("Reason", _reason_value(reason))
        bye = Exchange(request, dialog.next_cseq, _unheard, _unanswered, flow=dialog.flow)
        self._switch.requester.send(bye, now)

    def _flow_of(self, dialog: Dialog, exchange: Exchange) -> Flow | None:
        for flow_id in (exchange.flow, dialog.flow):
            if flow_id is not None and (flow := self._switch.endpoint.flow(flow_id)) is not None:
                return flow
        return None

    def _dress(self, request: Request, flow: Flow) -> Request:
        return self._switch.dressed(request, flow)

    def _respond(self, event: RequestReceived, status: int, now: float) -> None:
        response = make_response(event.request, status)
        if status == 405 or event.request.method == "OPTIONS":
            response = response.with_header("Allow", ALLOW)
        self._switch.endpoint.respond(event.transaction, response, now)

    # --- bookkeeping ----------------------------------------------------------------------------------
    def _take_asked(self) -> RequestReceived | None:
        """The re-INVITE to answer; None if it went with its connection, which may cross our answer."""
        if self._asked is None and not self._asked_gone:
            raise UsageError("there is no re-INVITE to answer")
        asked, self._asked, self._asked_gone = self._asked, None, False
        return asked

    def _the_dialog(self) -> Dialog:
        assert self.dialog is not None
        return self.dialog

    def _end(self, reason: str, status: int, by_us: bool, now: float) -> None:
        if self.is_over:
            return
        failed = status >= 300 and status != 487
        self.phase = Phase.ENDED
        if self._asked is not None:
            self._respond(self._asked, 487, now)
            self._asked = None
        for what in ("2xx", "glare", "answer", "reliable", "refresh", "expiry"):
            self._switch.timers.cancel((self.key, what))
        self.referrals.call_over()
        self._information.call_over()
        self._switch.timers.arm((self.key, "gone"), now + TIMEOUT)
        self._record("failed" if failed else "ended", reason)
        self._switch.emit(Ended(self.key, reason, status, by_us))

    def _record(self, state: str, reason: str = "") -> None:
        local = self._switch.local.uri
        self._switch.emit(CallState(self.call_id, state, local, self.remote.uri, reason))


def sdp_of(message: Message) -> bytes | None:
    """The session description in a message, if it has one."""
    return message.body if message.body and message.content_type == SDP else None


def _reason_value(text: str) -> str:
    return f"SIP;text={quote(' '.join(text.split()))}"


def _unheard(exchange: Exchange, response: Response, now: float) -> None:
    """A BYE's answer changes nothing."""


def _unanswered(exchange: Exchange, reason: str, status: int, now: float) -> None:
    """Nor does its lack."""
