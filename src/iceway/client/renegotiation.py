"""Re-INVITEs of a call in both directions: those that settle the pair, restart ICE, hold the call and resume it.

Every description of ours says whether we hold the call, whatever else it is for, and nothing of the other side's
hold, which is theirs to end (RFC 3264 §8.4, RFC 6337 §5.3). So a hold needs an offer of its own only if no other
description has said it by then.

Only one offer is under way at a time; SIP sees to that (491 and its pauses). What is left to decide here is whose
restart counts when both sides begin one: the one whose offer gets through first, answered with the credentials
that the other side had drawn for its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.client.exchange import CandidateExchange
from iceway.client.restart import Restarts, Step
from iceway.core.address import Address
from iceway.ice.agent import Agent
from iceway.ice.events import CandidatePath
from iceway.media.description import AudioNegotiation, Negotiated, NegotiationError
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
        agent: Agent,
        negotiation: AudioNegotiation,
        exchange: CandidateExchange,
        signalling: Signalling,
        restarts: Restarts,
    ) -> None:
        self._owner = owner
        self._agent = agent
        self._negotiation = negotiation
        self._exchange = exchange
        self._signalling = signalling
        self._restarts = restarts
        self._settling = False
        self._changing = False  # an offer is out that only holds or resumes
        self._said = self._wanted = "sendrecv"
        self._theirs: Negotiated | None = None  # their offer of a restart, until our candidates are there
        self._known_ufrag: str | None = None  # theirs when we began a restart: what an older offer still has

    # --- holding ------------------------------------------------------------------------------------------
    def hold(self, holding: bool, now: float) -> None:
        """Hold the call, or resume it: at once, or with what is being agreed now."""
        self._wanted = "sendonly" if holding else "sendrecv"
        self._say_what_changed(now)

    def refresh(self, now: float) -> None:
        """Say once more what holds, unless something is being said anyway."""
        self._said = ""
        self._say_what_changed(now)

    def _say_what_changed(self, now: float) -> None:
        if self._said == self._wanted or self._owner.ended or not self._owner.answered:
            return
        if self._settling or self._changing or self._restarts.offering or self._theirs is not None:
            return  # what is under way says it, or is followed by this
        self._changing = True
        path = self._agent.selected
        if path is None:
            parameters, default = self._exchange.everything()
        else:
            default = self._exchange.our_default = path.local.address
            controlling = self._agent.role == "controlling"
            remote = ((path.component, path.remote.address),) if controlling else ()
            parameters = self._exchange.parameters((path.local,), remote)
        self._signalling.reoffer(self._owner, self._offer(parameters, default), now)

    def _offer(self, parameters: IceParameters, default: Address) -> str:
        self._said = self._wanted
        return self._negotiation.offer(parameters, default, self._wanted)

    # --- settling -----------------------------------------------------------------------------------------
    def settle(self, path: CandidatePath, now: float) -> None:
        """Name the selected pair in SDP, if the default addresses do not and it is ours to say."""
        exchange = self._exchange
        if self._settling or self._changing or self._restarts.offering:
            return
        if path.local.address == exchange.our_default and path.remote.address == exchange.their_default:
            self._owner.settled()
        elif self._agent.role == "controlling":
            self._settling = True
            exchange.our_default = path.local.address
            remote = ((path.component, path.remote.address),)
            parameters = exchange.parameters((path.local,), remote)
            self._signalling.reoffer(self._owner, self._offer(parameters, path.local.address), now)

    # --- restarts of ours ---------------------------------------------------------------------------------
    def restart(self, now: float) -> None:
        """New credentials, and candidates gathered anew; the offer follows when they are there."""
        if self._agent.remote_ufrag is not None:
            self._known_ufrag = self._agent.remote_ufrag
        self._restarts.begun()
        self._theirs = None
        self._owner.to_be_settled()
        self._owner.hurry(now)
        self._agent.restart(now)

    def gathered(self, now: float) -> None:
        """Candidates are there, or as many as are worth waiting for."""
        if self._theirs is not None:
            offered, self._theirs = self._theirs, None
            self._answer(offered, now, restarted=True)
        elif self._restarts.step is Step.GATHERING and self._agent.local_candidates:
            self._restarts.offered()
            parameters, default = self._exchange.everything()
            self._signalling.reoffer(self._owner, self._offer(parameters, default), now)

    # --- what SIP brought ---------------------------------------------------------------------------------
    def receive_offer(self, body: str, now: float) -> None:
        try:
            negotiated = self._negotiation.receive_offer(body)
        except NegotiationError as error:
            self._refuse(error.code, error.reason, now)
            return
        ice = negotiated.ice
        if ice is None:
            self._refuse(488, "ICE cannot be left during a call", now)
        elif self._restarts.offering and ice.ufrag == self._known_ufrag:
            self._refuse(491, "it crossed a restart of ours", now)
        elif self._restarts.offering:
            gathered = self._restarts.step is Step.OFFERED
            self._signalling.withdraw_reoffer(self._owner, now)
            self._take_restart(negotiated, now)
            if gathered:
                self.gathered(now)
        elif ice.ufrag != self._agent.remote_ufrag:
            self._agent.restart(now)
            self._take_restart(negotiated, now)
        else:
            self._answer(negotiated, now)

    def receive_answer(self, body: str, now: float) -> None:
        settling, self._settling = self._settling or self._changing, False
        self._changing = False
        try:
            negotiated = self._negotiation.receive_answer(body)
        except NegotiationError as error:
            self._owner.emit(Note("warning", f"the answer to our re-INVITE is unusable: {error.reason}"))
            if self._restarts.step is Step.OFFERED:
                self._restarts.failed(now)
            self._say_what_changed(now)
            return
        ufrag = negotiated.ice.ufrag if negotiated.ice is not None else None
        if self._restarts.offering and ufrag == self._known_ufrag:
            if not settling:
                self._owner.emit(Note("warning", "the other side answered an ICE restart without restarting"))
            return
        self._owner.renegotiated(negotiated, now)
        if ufrag != self._agent.remote_ufrag:
            self._learn(negotiated, now)
            self._restarts.checking()
        else:
            self._exchange.their_default = negotiated.remote
            self._owner.settled()
        self._say_what_changed(now)

    def offer_failed(self, code: int, reason: str, now: float) -> None:
        """A pair that could not be settled stays in use; a restart may be tried again."""
        self._settling = self._changing = False
        self._owner.emit(Note("warning", f"the other side refused our re-INVITE: {code} {reason}"))
        if self._restarts.step is Step.OFFERED:
            if code in CURABLE or code == 430:
                self._restarts.failed(now)
            else:
                self._restarts.refused()
        self._say_what_changed(now)

    # --- answers ------------------------------------------------------------------------------------------
    def _take_restart(self, negotiated: Negotiated, now: float) -> None:
        """Theirs counts; it is answered when our candidates are there."""
        self._settling = False
        self._theirs = negotiated
        self._restarts.checking()
        self._owner.to_be_settled()
        self._learn(negotiated, now)
        self._owner.hurry(now)

    def _learn(self, negotiated: Negotiated, now: float) -> None:
        deaf = not self._signalling.takes_candidates(self._owner)
        self._exchange.learn(negotiated.ice, negotiated.remote, now, deaf=deaf)

    def _answer(self, negotiated: Negotiated, now: float, *, restarted: bool = False) -> None:
        """Name the candidate of ours that the offer chose, else the one in use, else all.

        baresip names all of ours that it knows; then the one in use is meant.
        """
        assert negotiated.ice is not None
        parameters, default = self._exchange.everything()
        chosen = self._agent.selected or (None if restarted else self._agent.active_path())
        local = chosen.local if chosen else self._agent.default_candidate()
        named = [where for component, where in negotiated.ice.remote_candidates if component == 1]
        if named and (local is None or local.address not in named):
            local = next((one for one in self._agent.local_candidates if one.address in named), local)
        if local is not None:
            default = self._exchange.our_default = local.address
            if negotiated.ice.remote_candidates:
                parameters = self._exchange.parameters((local,))
        if self._changing:  # it met theirs and waits: this answer says the same
            self._changing = False
            self._signalling.withdraw_reoffer(self._owner, now)
        self._said = self._wanted
        answer = self._negotiation.answer(parameters, default, self._wanted)
        self._signalling.answer_reoffer(self._owner, answer, now)
        agreed = self._negotiation.negotiated
        assert agreed is not None
        self._exchange.their_default = agreed.remote
        self._owner.renegotiated(agreed, now)
        if negotiated.ice.remote_candidates:
            self._owner.settled()
        if self._wanted == "sendrecv" and not agreed.hears:
            self._said = agreed.direction  # we resumed, and they had not heard of it when they offered this
            self._say_what_changed(now)

    def _refuse(self, code: int, reason: str, now: float) -> None:
        self._owner.emit(Note("warning", f"a re-INVITE of {self._owner.peer} was refused: {reason}"))
        self._signalling.refuse_reoffer(self._owner, code, now)
