"""A call that comes in: ringing, reliable provisional responses, the answer (RFC 3261 §13.3, RFC 3262 §3).

A 183 with a session description goes out reliably when the caller can: it is repeated until its PRACK, one at a
time, and the 2xx waits for that PRACK (RFC 3262 §5). A CANCEL ends the call with 487.
"""

from __future__ import annotations

from dataclasses import dataclass

from iceway.core.errors import ParseError
from iceway.sip.call import SDP, Call, Phase, Switch, sdp_of
from iceway.sip.dialog import Dialog, takes_update
from iceway.sip.endpoint import RequestReceived
from iceway.sip.reasons import reason_words
from iceway.sip.transaction import T1, TIMEOUT
from iceway.wire.sip import NameAddr, Request, Response, make_response


# --- events ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Incoming:
    """Somebody calls: `ring`, `accept` or `reject`. Without an offer, ours is asked for.

    `replaces` is the call whose place it is to take (RFC 3891), if any: then `accept`, and `hang_up` that one.
    """

    call: str
    caller: NameAddr
    offer: bytes | None
    request: Request
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class ProvisionalAcknowledged:
    """The caller has our reliable provisional response. `answer` is there when that made the offer."""

    call: str
    answer: bytes | None = None


@dataclass(slots=True)
class _Reliable:
    response: Response
    rseq: int
    interval: float = T1
    until: float = 0.0


class IncomingCall(Call):
    """See the module's law. Raises ParseError for an INVITE that cannot make a dialog."""

    def __init__(self, key: str, event: RequestReceived, switch: Switch, now: float) -> None:
        request = event.request
        super().__init__(key, request.call_id, NameAddr(request.from_.uri, request.from_.display), switch)
        self.dialog = Dialog.from_request(request, switch.tag(), event.flow.id)
        self.invite = event
        self._sdp: bytes | None = None  # ours, once a reliable response has carried it
        self._rseq = switch.rng.randint(1, 2**20)
        self._unacked: _Reliable | None = None
        self._queue: list[Response] = []
        self._accepting: bytes | None = None
        self._reached = False  # the caller has shown that it knows our tag
        self._takes_update = takes_update(request)
        self._record("trying")
        switch.timers.arm((self.key, "answer"), now + switch.answer_timeout)

    @property
    def is_answered(self) -> bool:
        return self.phase in (Phase.ANSWERED, Phase.CONFIRMED)

    @property
    def offer(self) -> bytes | None:
        return sdp_of(self.invite.request)

    # --- commands -------------------------------------------------------------------------------------
    def ring(self, sdp: bytes | None, now: float) -> None:
        """180, or with a session description 183, reliably if the caller supports that."""
        if not self.may("ring") or self._accepting is not None:
            return
        self.phase = Phase.RINGING
        response = self._response(183 if sdp is not None else 180)
        if sdp is not None:
            response = response.with_body(sdp, SDP)
        request = self.invite.request
        if request.requires("100rel") or (sdp is not None and request.supports("100rel")):
            if sdp is not None and self._sdp is None:
                self._sdp = sdp
            self._queue.append(response)
            self._send_next_reliable(now)
        else:
            self._switch.endpoint.respond(self.invite.transaction, response, now)
        self._record("early" if sdp is not None else "ringing")

    def accept(self, sdp: bytes, now: float) -> None:
        """200 with our session description; the one of a reliable 183 stands, whatever is given here."""
        if not self.may("accept") or self._accepting is not None:
            return
        self._accepting = self._sdp if self._sdp is not None else sdp
        if self._unacked is None or not self._unacked.response.body:
            self._accept_now(now)

    def reject(self, status: int, now: float, reason: str | None = None) -> None:
        if self.may("reject"):
            self._refuse(status, reason, now)
            self._end(reason or f"rejected with {status}", status, True, now)

    def hang_up(self, now: float, reason: str | None = None) -> None:
        """End the call, whatever its phase."""
        if self.phase in (Phase.TRYING, Phase.RINGING):
            self.reject(603, now, reason)
        elif not self.is_over:
            self.bye(now, reason)

    @property
    def _is_known(self) -> bool:
        return self._reached or self.phase is Phase.CONFIRMED

    # --- inputs ---------------------------------------------------------------------------------------
    def cancelled(self, request: Request, now: float) -> None:
        if self.phase in (Phase.TRYING, Phase.RINGING):
            self._refuse(487, None, now)
            self._end(reason_words(request) or "cancelled by the caller", 487, False, now)

    def handle_request(self, event: RequestReceived, dialog: Dialog, now: float) -> None:
        self._reached = True
        if event.request.method == "PRACK":
            self._prack_received(event, dialog, now)
        else:
            super().handle_request(event, dialog, now)
        self._inform_now(now)

    def handle_timer(self, what: str, now: float) -> None:
        if what == "reliable":
            self._repeat_reliable(now)
        elif what == "answer":
            self._refuse(480, None, now)
            self._end(f"not answered in {self._switch.answer_timeout:g} s", 480, True, now)
        else:
            super().handle_timer(what, now)

    def transaction_failed(self, transaction: str, reason: str, status: int, now: float) -> bool:
        if transaction == self.invite.transaction and self.phase in (Phase.TRYING, Phase.RINGING):
            self._end(f"the caller is gone: {reason}", status, False, now)
            return True
        return super().transaction_failed(transaction, reason, status, now)

    def _bye_received(self, request: Request, now: float) -> None:
        if self.phase in (Phase.TRYING, Phase.RINGING):
            self._refuse(487, None, now)
        super()._bye_received(request, now)

    # --- reliable provisional responses ---------------------------------------------------------------
    def _send_next_reliable(self, now: float) -> None:
        if self._unacked is not None or not self._queue:
            return
        self._rseq += 1
        response = self._queue.pop(0).with_header("Require", "100rel").with_header("RSeq", str(self._rseq))
        self._unacked = _Reliable(response, self._rseq, until=now + TIMEOUT)
        self._switch.endpoint.respond(self.invite.transaction, response, now)
        self._switch.timers.arm((self.key, "reliable"), now + T1)

    def _repeat_reliable(self, now: float) -> None:
        unacked = self._unacked
        if unacked is None:
            return
        if now >= unacked.until:  # RFC 3262 §3: give up the INVITE with a 5xx
            self._refuse(504, None, now)
            self._end(f"no PRACK for our {unacked.response.status} in {TIMEOUT:g} s", 504, True, now)
            return
        self._switch.endpoint.respond(self.invite.transaction, unacked.response, now)
        unacked.interval *= 2
        self._switch.timers.arm((self.key, "reliable"), min(now + unacked.interval, unacked.until))

    def _prack_received(self, event: RequestReceived, dialog: Dialog, now: float) -> None:
        request, unacked = event.request, self._unacked
        dialog.in_order(request)
        try:
            rack = request.rack
        except ParseError:
            self._respond(event, 400, now)
            return
        asked = self.invite.request.cseq
        if (
            self.is_over
            or unacked is None
            or (rack.rseq, rack.cseq, rack.method) != (unacked.rseq, asked.number, "INVITE")
        ):
            self._respond(event, 481, now)  # RFC 3262 §3
            return
        made_offer = self.offer is None and bool(unacked.response.body)
        if request.body and not made_offer:
            self._respond(event, 488, now)  # a further offer before the answer is out: not taken
            return
        self._unacked = None
        self._switch.timers.cancel((self.key, "reliable"))
        self._respond(event, 200, now)
        self._switch.emit(ProvisionalAcknowledged(self.key, sdp_of(request) if made_offer else None))
        if self._accepting is not None:
            self._accept_now(now)
        else:
            self._send_next_reliable(now)

    # --- final responses ------------------------------------------------------------------------------
    def _accept_now(self, now: float) -> None:
        assert self._accepting is not None
        self._switch.timers.cancel((self.key, "answer"))
        self._switch.timers.cancel((self.key, "reliable"))
        self._unacked, self._queue = None, []
        self.phase = Phase.ANSWERED
        response = self._response(200).with_body(self._accepting, SDP)
        is_offer = self.offer is None and self._sdp is None
        response = self._timer.agree(self.invite.request, response)
        self._arm_session(now)
        self._send_2xx(self.invite, response, is_offer=is_offer, is_initial=True, now=now)

    def _refuse(self, status: int, reason: str | None, now: float) -> None:
        response = make_response(self.invite.request, status, reason, to_tag=self._the_dialog().local.tag)
        self._switch.endpoint.respond(self.invite.transaction, response, now)

    def _response(self, status: int) -> Response:
        """A response that makes a dialog: our tag, Contact, and the Record-Route of the request."""
        request = self.invite.request
        response = make_response(request, status, to_tag=self._the_dialog().local.tag)
        response = response.with_header("Record-Route", *request.headers.all("Record-Route"))
        return self._switch.dressed(response, self.invite.flow)
