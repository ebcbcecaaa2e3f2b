"""Transfers in the dialog of one call (RFC 3515): a REFER, and the NOTIFYs that tell what became of it.

    REFER → 202 → NOTIFY 100 Trying → NOTIFY 180 Ringing → NOTIFY 200 OK, or why not

Either side may refer the other, once at a time each. What a REFER asks for is the owner's to decide (`Referred`) and
to carry out; here is said what came of it. A REFER makes a subscription that may outlive its call for a moment, so
NOTIFYs are sent and answered also after the BYE (RFC 5057 §4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.core.errors import ParseError, UsageError
from iceway.sip.exchange import Exchange
from iceway.sip.refusal import why_refused
from iceway.wire.sip import NameAddr, Response, make_response
from iceway.wire.sip.transfer import (
    SIPFRAG,
    ReferTo,
    fragment,
    parse_event,
    parse_fragment,
    parse_subscription_state,
)

if TYPE_CHECKING:
    from iceway.sip.call import Switch
    from iceway.sip.dialog import Dialog
    from iceway.sip.endpoint import RequestReceived

PATIENCE = 240.0  # seconds without news of a transfer, which may ring for three minutes
EXPIRES = 300  # seconds for which we promise news
MOST = 20  # REFERs that one call may bring, each of which may be a call of ours
_GONE = (404, 408, 481, 503)  # answers to a NOTIFY after which nobody wants more


# --- events ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Referred:
    """The other side wants us to call somebody: `transfers.accept` or `transfers.refuse`, at once.

    `by` is the Referred-By for the new call's INVITE (RFC 3892), empty if there was none.
    """

    call: str
    target: ReferTo
    by: str


@dataclass(frozen=True, slots=True)
class ReferralProgress:
    """What became of our REFER. With `status` 200 or more it is the last word."""

    call: str
    status: int
    reason: str


@dataclass(slots=True)
class _Taken:
    """A REFER of the other side's. `event` is what our NOTIFYs name it by."""

    asked: RequestReceived
    dialog: Dialog
    event: str
    silent: bool
    accepted: bool = False


class Referrals:
    """See the module's law. `key` names the call; timers are the call's (`refer`)."""

    def __init__(self, key: str, switch: Switch) -> None:
        self._key = key
        self._switch = switch
        self._asked: Exchange | None = None  # our REFER, until the last word about it
        self._waits: ReferTo | None = None  # what it will be about, once it may be sent
        self._taken: _Taken | None = None
        self._count = 0
        self._over = False

    # --- we refer -------------------------------------------------------------------------------------
    def refer(self, dialog: Dialog, to: ReferTo, now: float, *, later: bool = False) -> None:
        """`later`: `go_on` says when. A hold, say, goes first: there are those (JsSIP) who take no REFER before the ACK."""
        if self._asked is not None or self._waits is not None:
            raise UsageError("a transfer of this call is under way")
        if later:
            self._waits = to
            return
        request = dialog.request("REFER").with_last("Refer-To", str(to))
        request = request.with_last("Referred-By", f"<{self._switch.local.uri}>")
        self._asked = Exchange(
            request, dialog.next_cseq, self._responded, self._failed, self._switch.dressed, dialog.flow
        )
        self._switch.timers.arm((self._key, "refer"), now + PATIENCE)
        self._switch.requester.send(self._asked, now)

    def go_on(self, dialog: Dialog, now: float) -> None:
        """Nothing keeps a REFER waiting any more."""
        if self._waits is not None:
            to, self._waits = self._waits, None
            self.refer(dialog, to, now)

    def expired(self) -> None:
        self._conclude(408, "no word of what became of the transfer")

    def call_over(self) -> None:
        """The call has ended: nothing more is told to the owner."""
        self._over, self._waits = True, None
        self._switch.timers.cancel((self._key, "refer"))

    def notified(self, event: RequestReceived, now: float) -> None:
        """A NOTIFY in the dialog."""
        request = event.request
        package, of = parse_event(request.headers.get("Event") or "")
        response = make_response(request, 200)
        if package != "refer":
            response = make_response(request, 489).with_last("Allow-Events", "refer")
        elif self._asked is None or (of is not None and of != str(self._asked.request.cseq.number)):
            response = make_response(request, 481)
        elif request.body and request.content_type != SIPFRAG:
            response = make_response(request, 415).with_last("Accept", SIPFRAG)
        else:
            state = parse_subscription_state(request.headers.get("Subscription-State") or "")
            told = parse_fragment(request.body) if request.body else None
            self._told(told, state == "terminated", now)
        self._switch.endpoint.respond(event.transaction, response, now)

    def _told(self, told: tuple[int, str] | None, last: bool, now: float) -> None:
        if told is not None and told[0] >= 200:
            self._conclude(*told)
        elif last:
            self._conclude(503, "the other side says no more about the transfer")
        elif told is not None and not self._over:
            self._switch.timers.arm((self._key, "refer"), now + PATIENCE)
            self._switch.emit(ReferralProgress(self._key, *told))

    def _responded(self, exchange: Exchange, response: Response, now: float) -> None:
        if exchange is self._asked and not response.is_provisional and not response.is_success:
            why = why_refused(response).removeprefix(f"{response.status} ")
            self._conclude(response.status, f"the transfer was refused: {why}")

    def _failed(self, exchange: Exchange, reason: str, status: int, now: float) -> None:
        if exchange is self._asked:
            self._conclude(status, reason)

    def _conclude(self, status: int, reason: str) -> None:
        self._asked = None
        self._switch.timers.cancel((self._key, "refer"))
        if not self._over:
            self._switch.emit(ReferralProgress(self._key, status, reason))

    # --- we are referred ------------------------------------------------------------------------------
    def referred(self, event: RequestReceived, dialog: Dialog, confirmed: bool, now: float) -> None:
        """A REFER in the dialog."""
        request = event.request
        self._count += 1
        named = request.headers.all("Refer-To")
        if len(named) != 1:  # RFC 3515 §2.4.2
            self._answer(event, 400, now)
        elif not confirmed or self._count > MOST:
            self._answer(event, 403, now)
        elif self._taken is not None:
            self._answer(event, 491, now)
        elif not NameAddr.parse(named[0]).uri.lower().startswith(("sip:", "sips:")):
            self._answer(event, 416, now)
        elif (target := ReferTo.parse(named[0])).method != "INVITE":
            self._answer(event, 403, now)
        else:
            # Only the first REFER of a dialog may go without its number (RFC 3515 §2.4.6).
            name = "refer" if self._count == 1 else f"refer;id={request.cseq.number}"
            silent = (request.headers.get("Refer-Sub") or "").strip().lower() == "false"  # RFC 4488
            self._taken = _Taken(event, dialog, name, silent)
            self._switch.emit(Referred(self._key, target, _referred_by(request.headers.get("Referred-By"))))

    def accept(self, now: float) -> None:
        taken = self._taken
        if taken is None or taken.accepted:
            return
        taken.accepted = True
        response = self._switch.dressed(make_response(taken.asked.request, 202), taken.asked.flow)
        if taken.silent:
            response = response.with_last("Refer-Sub", "false")
        self._switch.endpoint.respond(taken.asked.transaction, response, now)
        self.report(100, "Trying", now)  # at once, whatever comes (RFC 3515 §2.4.4)

    def refuse(self, status: int, now: float) -> None:
        if self._taken is not None and not self._taken.accepted:
            taken, self._taken = self._taken, None
            self._answer(taken.asked, status, now)

    def report(self, status: int, reason: str, now: float) -> None:
        """Tell how the new call gets on; a final status is the last word."""
        taken = self._taken
        if taken is None or not taken.accepted:
            return
        if status >= 200:
            self._taken = None
        if taken.silent:
            return
        state = "terminated;reason=noresource" if status >= 200 else f"active;expires={EXPIRES}"
        request = taken.dialog.request("NOTIFY").with_last("Event", taken.event)
        request = request.with_last("Subscription-State", state)
        request = request.with_body(fragment(status, reason), f"{SIPFRAG};version=2.0")

        def answered(exchange: Exchange, response: Response, now: float) -> None:
            taken.silent = taken.silent or response.status in _GONE

        def failed(exchange: Exchange, reason: str, status: int, now: float) -> None:
            taken.silent = True

        flow = taken.dialog.flow
        exchange = Exchange(request, taken.dialog.next_cseq, answered, failed, self._switch.dressed, flow)
        self._switch.requester.send(exchange, now)

    def _answer(self, event: RequestReceived, status: int, now: float) -> None:
        self._switch.endpoint.respond(event.transaction, make_response(event.request, status), now)


def _referred_by(text: str | None) -> str:
    """What can go on into an INVITE; a proof that came in the body (`cid`) stays behind (RFC 3892 §2.1)."""
    try:
        return str(NameAddr(NameAddr.parse(text).uri)) if text else ""
    except ParseError:
        return ""
