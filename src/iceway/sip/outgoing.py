"""A call we make: INVITE, early dialogs, PRACK, the 2xx or another end (RFC 3261 §13.2, RFC 3262 §4).

Every To tag makes an early dialog of its own, with its own reliable sequence. The first 2xx makes the call;
the 2xx of any other branch is acknowledged and hung up. A CANCEL that crosses a 2xx becomes a BYE.
"""

from __future__ import annotations

from dataclasses import dataclass

from iceway.sip.call import SDP, Call, Phase, Switch, sdp_of
from iceway.sip.dialog import Dialog, takes_update
from iceway.sip.endpoint import Flow
from iceway.sip.exchange import Exchange
from iceway.sip.refusal import why_refused
from iceway.wire.sip import Headers, NameAddr, RAck, Request, Response

_MAX_EARLY_DIALOGS = 16


# --- events ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Provisional:
    """The other side rings or makes progress. `branch` tells several ringing ends apart (their To tag).

    `sdp` in a reliable response is the answer; in another it only previews it.
    """

    call: str
    status: int
    sdp: bytes | None
    reliable: bool
    branch: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The call is accepted, and acknowledged unless we made no offer: then `acknowledge` with an answer.

    `sdp` is what came with the 2xx; None if the answer came before, in the reliable response of `branch`.
    """

    call: str
    sdp: bytes | None
    branch: str


@dataclass(slots=True)
class _Early:
    dialog: Dialog
    rseq: int | None = None
    answer: bytes | None = None


class OutgoingCall(Call):
    """See the module's law."""

    def __init__(self, key: str, target: NameAddr, switch: Switch) -> None:
        super().__init__(key, f"{switch.rng.getrandbits(128):032x}", target, switch)
        self._owns_call_id = True
        self._cseq = switch.rng.randint(1, 2**15)
        self._early: dict[str, _Early] = {}
        self._invite: Exchange | None = None
        self._offer: bytes | None = None
        self._unacknowledged: Response | None = None
        self._cancel_words = ""
        self._declined: set[str] = set()  # branches whose 2xx came too late

    @property
    def dialogs(self) -> tuple[Dialog, ...]:
        return tuple(early.dialog for early in self._early.values())

    # --- commands -------------------------------------------------------------------------------------
    def start(self, offer: bytes | None, fields: tuple[tuple[str, str], ...], now: float) -> None:
        local = self._switch.local.with_param("tag", self._switch.tag())
        request = Request(
            "INVITE",
            self.remote.uri,
            headers=Headers.of(
                ("Max-Forwards", "70"),
                ("From", str(local)),
                ("To", str(self.remote)),
                ("Call-ID", self.call_id),
                ("CSeq", f"{self._cseq} INVITE"),
                ("User-Agent", self._switch.user_agent),
                *fields,
            ),
        )
        if offer is not None:
            request = request.with_body(offer, SDP)
        self._offer = offer
        request = self._timer.asked(request)
        self._invite = Exchange(request, self._next_cseq, self._responded, self._failed, dress=self._dress)
        self._switch.timers.arm((self.key, "answer"), now + self._switch.answer_timeout)
        self._record("trying")
        self._switch.requester.send(self._invite, now)

    def acknowledge(self, answer: bytes, now: float) -> None:
        """The answer to an offer that came with the 2xx."""
        if self._unacknowledged is not None and self._invite is not None:
            response, self._unacknowledged = self._unacknowledged, None
            self._send_ack(self._the_dialog(), self._invite, response, now, answer)

    def cancel(self, now: float, reason: str = "cancelled") -> None:
        if not self.may("cancel") or self.phase is Phase.CANCELLING or self._invite is None:
            return
        self.phase, self._cancel_words = Phase.CANCELLING, reason
        self._switch.timers.cancel((self.key, "answer"))
        self._switch.requester.cancel(self._invite, now)

    def bye(self, now: float, reason: str | None = None) -> None:
        if self._unacknowledged is not None and self._invite is not None and self.phase is Phase.CONFIRMED:
            # Their offer found no answer, but the 2xx must have its ACK (RFC 3261 §13.2.2.4).
            response, self._unacknowledged = self._unacknowledged, None
            self._send_ack(self._the_dialog(), self._invite, response, now)
        super().bye(now, reason)

    def hang_up(self, now: float, reason: str | None = None) -> None:
        """End the call, whatever its phase."""
        if self.phase is Phase.CONFIRMED:
            self.bye(now, reason)
        elif not self.is_over:
            self.cancel(now, reason or "hung up here")

    def handle_timer(self, what: str, now: float) -> None:
        if what == "answer":
            self.cancel(now, f"not answered in {self._switch.answer_timeout:g} s")
        else:
            super().handle_timer(what, now)

    def forget(self) -> None:
        super().forget()
        if self._invite is not None:
            self._switch.requester.forget(self._invite)

    def _dialog_for_info(self, branch: str | None) -> Dialog | None:
        early = self._early.get(branch or "")
        return self.dialog or (early.dialog if early else None)

    # --- responses ------------------------------------------------------------------------------------
    def _responded(self, exchange: Exchange, response: Response, now: float) -> None:
        if response.is_success:
            self._accepted(exchange, response, now)
        elif not response.is_provisional:
            if response.status == 422 and self.phase is Phase.TRYING and self._timer.too_small(response):
                self._ask_again(exchange, now)
            elif self.phase is Phase.CANCELLING:
                self._end(self._cancel_words, 487, True, now)
            else:
                self._end(why_refused(response), response.status, False, now)
        elif response.status > 100 and not self.is_over:
            self._progressed(exchange, response, now)

    def _ask_again(self, exchange: Exchange, now: float) -> None:
        """For a longer session, since a proxy or the other end wants none so short (RFC 4028 §7.3)."""
        request = self._timer.asked(exchange.request)
        request = request.with_header("CSeq", f"{self._next_cseq()} INVITE")
        self._invite = Exchange(request, self._next_cseq, self._responded, self._failed, dress=self._dress)
        self._switch.requester.send(self._invite, now)

    def _progressed(self, exchange: Exchange, response: Response, now: float) -> None:
        tag = response.to.tag
        early = self._early_dialog(exchange, response) if tag else None
        sdp, reliable = sdp_of(response), False
        if early is not None and response.requires("100rel") and response.rseq is not None:
            reliable = True
            if early.rseq is not None and response.rseq != early.rseq + 1:
                return  # a copy, or one that overtook another (RFC 3262 §4)
            early.rseq = response.rseq
            self._send_prack(early.dialog, exchange, response, now)
            if sdp is not None and early.answer is None:
                early.answer = sdp
        if self.phase is Phase.CANCELLING:
            return
        if self.phase is Phase.TRYING:
            self.phase = Phase.RINGING
        self._record("early" if sdp is not None else "ringing")
        self._switch.emit(Provisional(self.key, response.status, sdp, reliable, tag or ""))

    def _accepted(self, exchange: Exchange, response: Response, now: float) -> None:
        tag = response.to.tag or ""
        if self.dialog is not None and tag == self.dialog.remote.tag:
            if self._unacknowledged is None:  # a copy: so is the ACK
                self._send_ack(self.dialog, exchange, response, now)
            return
        early = self._early.get(tag)
        fresh = Dialog.from_response(exchange.request, response, exchange.flow)
        dialog = early.dialog.confirmed(response) if early else fresh
        if self.dialog is not None or self.phase in (Phase.CANCELLING, Phase.ENDED):
            self._decline_branch(dialog, exchange, response, now)
            return
        self.dialog = dialog
        answer = early.answer if early else None
        self._early = {tag: _Early(dialog)}
        self._switch.timers.cancel((self.key, "answer"))
        self.phase = Phase.CONFIRMED
        self._takes_update = takes_update(response)
        self._timer.answered(response)
        self._arm_session(now)
        if self._offer is None and sdp_of(response) is not None:
            self._unacknowledged = response
        else:
            self._send_ack(dialog, exchange, response, now)
        self._record("confirmed")
        # The first description of a branch is the answer, later ones in the same INVITE are not (RFC 3261 §13.2.1).
        self._switch.emit(Answered(self.key, sdp_of(response) if answer is None else None, tag))

    def _decline_branch(self, dialog: Dialog, exchange: Exchange, response: Response, now: float) -> None:
        """Another branch than the one we talk to answered, or one we no longer want: ACK, then BYE."""
        tag = dialog.remote.tag or ""
        self._send_ack(dialog, exchange, response, now)
        if tag not in self._declined:
            self._declined.add(tag)
            self._send_bye(dialog, now, None)
        if self.phase is Phase.CANCELLING:
            self._end(self._cancel_words, 487, True, now)

    def _failed(self, exchange: Exchange, reason: str, status: int, now: float) -> None:
        if self.phase is Phase.CANCELLING:
            self._end(self._cancel_words, 487, True, now)
        else:
            self._end(reason, status, False, now)

    def _early_dialog(self, exchange: Exchange, response: Response) -> _Early | None:
        tag = response.to.tag or ""
        if tag not in self._early and len(self._early) < _MAX_EARLY_DIALOGS:
            self._early[tag] = _Early(Dialog.from_response(exchange.request, response, exchange.flow))
        return self._early.get(tag)

    def _send_prack(self, dialog: Dialog, exchange: Exchange, response: Response, now: float) -> None:
        assert response.rseq is not None
        rack = RAck(response.rseq, response.cseq.number, "INVITE")
        request = dialog.request("PRACK").with_last("RAck", str(rack))
        prack = Exchange(request, dialog.next_cseq, _prack_answered, _prack_failed, flow=exchange.flow)
        self._switch.requester.send(prack, now)

    def _next_cseq(self) -> int:
        self._cseq += 1
        return self._cseq

    def _dress(self, request: Request, flow: Flow) -> Request:
        request = super()._dress(request, flow)
        if request.to.tag is None:
            request = request.with_header("Route", *self._switch.service_route())
            if self._offer is None:
                # A reliable 1xx would then bring an offer, to be answered in the PRACK; we do not go there.
                without = ", ".join(o for o in self._switch.supported.split(", ") if o != "100rel")
                request = request.with_header("Supported", without)
        return request


def _prack_answered(exchange: Exchange, response: Response, now: float) -> None:
    """Nothing depends on it."""


def _prack_failed(exchange: Exchange, reason: str, status: int, now: float) -> None:
    """The other side repeats its response or gives up the INVITE; either reaches us."""
