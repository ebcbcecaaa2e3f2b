"""Re-INVITEs of a call in both directions: settle the pair, restart ICE, hold and resume, add and drop streams.

Every description of ours says whether we hold the call and which streams we want, whatever else it is for, and nothing
of the other side's hold, which is theirs to end (RFC 3264 §8.4, RFC 6337 §5.3). So a change needs an offer of its own
only if no other description has said it by then.

Only one offer is under way at a time; SIP sees to that (491 and its pauses). What is left to decide here is whose
restart counts when both sides begin one: the one whose offer gets through first, answered with the credentials
that the other side had drawn for its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from iceway.client.agreement import Agreement, Terms
from iceway.client.legs import Leg, Legs
from iceway.client.restart import Restarts, Step
from iceway.media.negotiation import Transport
from iceway.media.reading import NegotiationError
from iceway.trace.records import Note
from iceway.wire.sdp import IceParameters

if TYPE_CHECKING:
    from iceway.client.call import Call
    from iceway.client.signalling import Signalling

CURABLE = frozenset({408, 480, 491, 500, 503, 504})  # refusals after which the same offer may be taken


class Renegotiation:
    """One call's; `owner` is the call."""

    def __init__(
        self,
        owner: Call,
        legs: Legs,
        agreement: Agreement,
        signalling: Signalling,
        restarts: Restarts,
    ) -> None:
        self._owner = owner
        self._legs = legs
        self._first = legs.first
        self._agreement = agreement
        self._signalling = signalling
        self._restarts = restarts
        self._settling = False
        self._changing = False  # an offer is out that changes what is held, or which streams there are
        self._wanted = False  # they asked for an offer, which goes out with the 200 to that
        self._theirs: Terms | None = None  # their offer, until our candidates for its answer are there
        self._known_ufrag: str | None = None  # theirs when we began a restart: what an older offer still has

    # --- what is to be said -------------------------------------------------------------------------------
    def refresh(self, now: float) -> None:
        """Say once more what holds, unless something is being said anyway."""
        self._agreement.say_again()
        self.say_what_changed(now)

    def say_what_changed(self, now: float) -> None:
        """Hold, resume, add or drop: at once, or with what is being agreed now."""
        if not self._agreement.unsaid or self._owner.ended or not self._owner.answered:
            return
        if self._settling or self._changing or self._restarts.offering or self._theirs is not None:
            return  # what is under way says it, or is followed by this
        if not self._legs.ready:
            return  # `gathered` comes back to it
        self._changing = True
        self._offer(Leg.settled, now)

    def _offer(self, end: Callable[[Leg], Transport], now: float) -> None:
        if self._agreement.empty:
            self._owner.hang_up(now, "nothing is left of this call")
            return
        body = self._agreement.offer(end)
        if self._wanted:
            self._wanted = False
            self._signalling.answer_reoffer(self._owner, body, now)
        else:
            self._signalling.reoffer(self._owner, body, now)

    # --- settling -----------------------------------------------------------------------------------------
    def settle(self, now: float) -> None:
        """Name the selected pairs in SDP, if the default addresses do not and it is ours to say."""
        if self._settling or self._changing or self._restarts.offering:
            return
        if all(leg.as_promised for leg in self._legs.in_use() if leg.agent.selected):
            self._owner.settled()
        elif self._first.agent.role == "controlling":
            self._settling = True
            self._offer(Leg.settled, now)

    # --- restarts of ours ---------------------------------------------------------------------------------
    def restart(self, now: float) -> None:
        """New credentials, and candidates gathered anew; the offer follows when they are there."""
        if self._first.agent.remote_ufrag is not None:
            self._known_ufrag = self._first.agent.remote_ufrag
        self._restarts.begun()
        if self._theirs is not None:  # SIP takes no offer of ours until theirs is answered
            offered, self._theirs = self._theirs, None
            self._answer(offered, now, restarted=True)
        self._owner.to_be_settled()
        self._owner.hurry(now)
        self._legs.restart(now)

    def gathered(self, now: float) -> None:
        """Candidates are there, or as many as are worth waiting for."""
        if self._theirs is not None:
            offered, self._theirs = self._theirs, None
            self._answer(offered, now, restarted=True)
        elif self._restarts.step is Step.GATHERING and self._legs.describable:
            self._restarts.offered()
            self._offer(Leg.everything, now)
        else:
            self.say_what_changed(now)

    # --- what SIP brought ---------------------------------------------------------------------------------
    def offer_wanted(self, now: float) -> None:
        """A re-INVITE without an offer: ours goes into the 200, and the answer comes with the ACK (RFC 3261 §14.2).

        A third party may show our offer to somebody else (RFC 3725), so it is one that anybody can answer: ICE restarts.
        """
        if self._settling or self._changing or self._restarts.offering or self._theirs is not None:
            self._signalling.refuse_reoffer(self._owner, 491, now)
        else:
            self._wanted = True
            self.restart(now)

    def receive_offer(self, body: str, now: float) -> None:
        try:
            terms = self._agreement.read_offer(body)
        except NegotiationError as error:
            self._refuse(error.code, error.reason, now)
            return
        ice = self._said_of(self._first, terms)
        if ice is None or ice.mismatch:
            self._refuse(488, "ICE cannot be left during a call", now)
        elif self._restarts.offering and ice.ufrag == self._known_ufrag:
            self._refuse(491, "it crossed a restart of ours", now)
        elif self._restarts.offering:
            gathered = self._restarts.step is Step.OFFERED
            self._signalling.withdraw_reoffer(self._owner, now)
            self._take_restart(terms, now)
            if gathered:
                self.gathered(now)
        elif ice.ufrag != self._first.agent.remote_ufrag:
            self._legs.restart(now)
            self._take_restart(terms, now)
        else:
            self._agreement.take_offer(terms, now)
            if self._legs.ready:
                self._answer(terms, now)
            else:
                self._theirs = terms  # a stream is new, and comes with a way of its own

    def receive_answer(self, body: str, now: float) -> None:
        settling, self._settling = self._settling or self._changing, False
        self._changing = False
        try:
            terms = self._agreement.read_answer(body)
            ice = self._said_of(self._first, terms)
            if ice is None or ice.mismatch:
                raise NegotiationError("it leaves ICE, which cannot be left during a call")
            known = self._restarts.offering and ice.ufrag == self._known_ufrag
            restarted = ice.ufrag != self._first.agent.remote_ufrag
            if not known:
                self._agreement.take_answer(terms, now)
        except NegotiationError as error:
            self._owner.emit(Note("warning", f"the answer to our re-INVITE is unusable: {error.reason}"))
            if self._restarts.step is Step.OFFERED:
                self._restarts.failed(now)
            self.say_what_changed(now)
            return
        if known:
            if not settling:
                self._owner.emit(Note("warning", "the other side answered an ICE restart without restarting"))
                if not self._restarts.in_trouble:  # else the trouble has its own limit
                    self._restarts.failed(now)
            return
        self._agreement.renegotiated(terms, now)
        if restarted:
            self._restarts.checking()
        else:
            self._owner.settled()
        self.say_what_changed(now)

    def offer_failed(self, code: int, reason: str, now: float) -> None:
        """A pair that could not be settled stays in use; a restart may be tried again."""
        self._settling = self._changing = self._wanted = False
        self._owner.emit(Note("warning", f"the other side refused our re-INVITE: {code} {reason}"))
        if self._restarts.step is Step.OFFERED:
            if code in CURABLE or code == 430:
                self._restarts.failed(now)
            else:
                self._restarts.refused()
        self._agreement.refused(now)
        self.say_what_changed(now)

    # --- answers ------------------------------------------------------------------------------------------
    def _take_restart(self, terms: Terms, now: float) -> None:
        """Theirs counts; it is answered when our candidates are there."""
        self._theirs = terms
        self._restarts.checking()
        self._owner.to_be_settled()
        self._agreement.take_offer(terms, now)
        self._owner.hurry(now)

    def _answer(self, terms: Terms, now: float, *, restarted: bool = False) -> None:
        settling = self._settling
        if self._settling or self._changing:  # it met theirs and waits, and what it says is not so any more
            self._settling = self._changing = False
            self._signalling.withdraw_reoffer(self._owner, now)
        answer = self._agreement.answer(
            lambda leg: leg.answering(self._said_of(leg, terms), restarted=restarted)
        )
        self._signalling.answer_reoffer(self._owner, answer, now)
        self._agreement.answered(now)
        ice = self._said_of(self._first, terms)
        if ice is not None and ice.remote_candidates:
            self._owner.settled()
        elif settling:
            self._owner.settle_when_selected(now)
        self.say_what_changed(now)

    def _said_of(self, leg: Leg, terms: Terms) -> IceParameters | None:
        """What a description of theirs says of a leg."""
        for kind, found in terms.items():
            if found.negotiated and leg in (self._legs.used(kind), self._legs.used(found.transport)):
                return found.negotiated.ice
        return None

    def _refuse(self, code: int, reason: str, now: float) -> None:
        self._agreement.refuse_offer()
        self._owner.emit(Note("warning", f"a re-INVITE of {self._owner.peer} was refused: {reason}"))
        self._signalling.refuse_reoffer(self._owner, code, now)
