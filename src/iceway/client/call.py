"""One call: offer and answer, ICE, sound, in the order that gets it through.

    gather → offer → (183 with the answer) → check → early media → picked up → settle → talk

The call speaks SIP through the `Signalling` it is given, owns an ICE agent and, once keys are agreed, an audio
session. Whoever offers first is ICE-controlling. When the selected pair is not the one that the default
addresses of offer and answer promised, the controlling side sends the re-INVITE that settles it
(RFC 8839 §4.4): its chosen candidate alone, and `a=remote-candidates` with the other side's.

A path that dies in mid-call does not end it: ICE restarts by re-INVITE, from whichever side notices (`restart.py`
says when), and sound goes on over the old path for as long as there is one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from iceway.client.config import PhoneConfig
from iceway.client.events import (
    CallAnswered,
    CallDigit,
    CallEnded,
    CallHeld,
    CallKeyless,
    CallPlayed,
    CallProgress,
    CallSettled,
)
from iceway.client.exchange import CandidateExchange
from iceway.client.keeping import PathKeeper
from iceway.client.keys import CallKeys
from iceway.client.renegotiation import Renegotiation
from iceway.client.restart import Restarts
from iceway.client.signalling import Signalling
from iceway.client.sound import CallSource
from iceway.client.trickle import MAX_MALFORMED, Trickle
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import AddressesChanged, ClockSet, Input, Outbox, earliest
from iceway.ice.agent import Agent
from iceway.ice.config import IceServer
from iceway.ice.events import (
    CandidateFound,
    CandidatePath,
    ConsentLostEvent,
    DataReceived,
    Failed,
    GatheringDone,
    GatheringSettled,
    PairValid,
    RestartNeeded,
    Selected,
    StateChanged,
)
from iceway.media.description import AudioNegotiation, Negotiated, NegotiationError
from iceway.media.digits import checked
from iceway.media.dtls import KeysAgreed, KeysFailed, SendHandshake
from iceway.media.files import Sink, Source
from iceway.media.keying import Keys
from iceway.media.session import (
    AudioSession,
    DigitReceived,
    FirstMediaReceived,
    FirstMediaSent,
    MediaStats,
    SendMedia,
    SourceFinished,
)
from iceway.trace.records import CallState, Malformed
from iceway.wire import telephone_event
from iceway.wire.dtls import is_dtls

if TYPE_CHECKING:
    from random import Random

SOON = 0.2  # seconds of gathering before a description to which candidates can be added later


class Phase(StrEnum):
    PREPARING = "preparing"
    TRYING = "trying"
    RINGING = "ringing"
    EARLY = "early"
    CONFIRMED = "confirmed"
    SETTLED = "settled"
    ENDED = "ended"


class Call(Outbox):
    """Machine; its parent routes the agent's inputs here and tells what SIP brought."""

    def __init__(
        self,
        name: str,
        config: PhoneConfig,
        rng: Random,
        signalling: Signalling,
        *,
        peer: str,
        source: Source,
        sink: Sink,
        early_source: Source,
        incoming: bool,
        secured: bool = True,
    ) -> None:
        """`secured`: our signalling is encrypted, so that it may carry keys."""
        super().__init__()
        self.name = name
        self.peer = peer
        self.incoming = incoming
        self.phase = Phase.PREPARING
        self.sip_call = ""
        self.call_id = ""
        self.end_reason = ""
        self._config = config
        self._rng = rng
        self._signalling = signalling
        self._source = CallSource(early_source, source)
        self._sink = sink
        self._agent = Agent(f"{name}/ice", config.ways.agent_config(controlling=not incoming), rng)
        self._negotiation = AudioNegotiation(
            rng,
            config.codecs,
            allow_clear=config.allow_clear,
            sdes=secured and config.keys is not Keys.DTLS,
            fingerprint=config.dtls.fingerprint if config.dtls else None,
        )
        self._keys = CallKeys(f"{name}/dtls", config.dtls)
        self._unkeyed: Negotiated | None = None  # agreed on, but for the keys
        self._exchange = CandidateExchange(self._agent)
        self._trickle = Trickle(self, self._negotiation, self._exchange, signalling)
        self._session: AudioSession | None = None
        self._clock: ClockSet | None = None
        self._described = False
        self._describe_by: float | None = None
        self._answer = ""
        self._picked_up = False
        self._accepted = False
        self._unreadable = 0
        self._muted = False
        self._holding = False
        self._held = (False, False)  # here, there; as last told
        restarts = Restarts(incoming=incoming)
        self._keeper = PathKeeper(self, self._agent, signalling, restarts)
        self._renegotiation = Renegotiation(
            self, self._agent, self._negotiation, self._exchange, signalling, restarts
        )

    # --- facts --------------------------------------------------------------------------------------------
    @property
    def answered(self) -> bool:
        return self.phase in (Phase.CONFIRMED, Phase.SETTLED)

    @property
    def path(self) -> CandidatePath | None:
        """What media takes, or took last; None before there is any."""
        return self._keeper.path

    @property
    def holding(self) -> bool:
        return self._holding

    @property
    def muted(self) -> bool:
        return self._muted

    @property
    def ended(self) -> bool:
        return self.phase is Phase.ENDED

    @property
    def finished(self) -> bool:
        """Ended, and nothing is left to send."""
        return self.ended and self._agent.closed

    def media_stats(self) -> MediaStats | None:
        return self._session.stats() if self._session else None

    # --- commands -----------------------------------------------------------------------------------------
    def begin(self, interfaces: tuple[str, ...], servers: tuple[IceServer, ...], now: float) -> None:
        """Start to gather; the offer (or the answer to one) follows when candidates are there."""
        self.hurry(now)
        self._agent.gather(interfaces, servers, now)
        self._drain(now)

    def receive_offer(self, body: str, now: float) -> bool:
        """The offer of an incoming call. False: it was refused, with its reason."""
        try:
            negotiated = self._negotiation.receive_offer(body)
        except NegotiationError as error:
            self.refuse(error.code, error.reason, now)
            return False
        if not self._learn(negotiated, now):
            self.refuse(488, "iceway calls need ICE, and the offer has none that works", now)
            return False
        self._agent.ringing(now)
        self._drain(now)
        return True

    def pick_up(self, now: float) -> None:
        """Answer an incoming call, as soon as its candidates are there. Raises UsageError for a call of ours."""
        self._must_be_incoming()
        self._picked_up = True
        self._accept_when_ready(now)
        self._drain(now)

    def refuse(self, code: int, reason: str, now: float) -> None:
        """Turn an incoming call down with a SIP status; hang up if it was picked up. Raises UsageError as above."""
        self._must_be_incoming()
        if self._accepted:
            self.hang_up(now)
        elif not self.ended:
            self._signalling.refuse(self, code, reason, now)
            self._end(f"refused here: {code} {reason}", now)

    def hang_up(self, now: float, reason: str = "hung up here") -> None:
        """End the call, whatever its phase."""
        if not self.ended:
            self._signalling.hang_up(self, reason, now)
            self._end(reason, now)

    def press(self, digits: str, duration: float, now: float) -> None:
        """Send telephone keys. Raises UsageError for what is no key, or if the call cannot carry any."""
        checked(digits, duration)
        if self.ended:
            return
        if self._session is None or not self.answered:
            raise UsageError(f"{self.name} is not answered yet; telephone keys need somebody who listens")
        self._session.press(digits, duration, now)
        self._drain(now)

    def mute(self, muted: bool, now: float) -> None:
        """Send silence; the call goes on otherwise."""
        self._muted = muted
        if self._session is not None:
            self._session.mute(muted)

    def hold(self, holding: bool, now: float) -> None:
        """Hold the call, or resume it. Raises UsageError before it is answered; `CallHeld` says when both know."""
        if self.ended or holding == self._holding:
            return
        if self._session is None or not self.answered:
            raise UsageError(f"{self.name} is not answered yet, so it cannot be held")
        self._holding = holding
        self._session.hold(holding)
        self._renegotiation.hold(holding, now)
        self._drain(now)

    def renew_servers(self, servers: tuple[IceServer, ...], now: float) -> None:
        """New credentials for the relays in use, before the old ones expire."""
        if not self.ended:
            self._agent.renew_servers(servers, now)

    # --- what SIP brought ---------------------------------------------------------------------------------
    def ringing(self, status: int, now: float) -> None:
        """A provisional response, with or without an answer in it."""
        self.emit(CallProgress(self.name, status))
        if self.phase is Phase.TRYING:
            self._become(Phase.RINGING)
        self._agent.ringing(now)
        self._drain(now)

    def receive_answer(self, body: str, now: float, *, early: bool) -> bool:
        """The answer in a 183 or a 200; the 200 may repeat the 183's. False: it is unusable, the call ends."""
        try:
            negotiated = self._negotiation.receive_answer(body)
            if not self._learn(negotiated, now):
                raise NegotiationError("the other side does not speak ICE")
        except NegotiationError as error:
            self._signalling.hang_up(self, error.reason, now)
            self._end(error.reason, now)
            return False
        self._start_session(negotiated, now)
        self._trickle.tell(now)
        if early and self.phase in (Phase.TRYING, Phase.RINGING):
            self._become(Phase.EARLY)
        self._drain(now)
        return True

    def confirmed(self, now: float) -> None:
        """The 200 is here (or our own is acknowledged): this is a call now."""
        if self.answered or self.ended:
            return
        self._become(Phase.CONFIRMED)
        self._speak_up(now)
        self.emit(CallAnswered(self.name))
        self._keeper.answered(now)
        self._send_when_possible(now)
        self._settle_when_selected(now)
        self._drain(now)

    def receive_reoffer(self, body: str, now: float) -> None:
        """A re-INVITE: the other side settles the pair, or restarts ICE."""
        self._renegotiation.receive_offer(body, now)
        self._trickle.tell(now)
        self._drain(now)

    def receive_reanswer(self, body: str, now: float) -> None:
        """The answer to our re-INVITE."""
        self._renegotiation.receive_answer(body, now)
        self._trickle.tell(now)
        self._drain(now)

    def reoffer_failed(self, code: int, reason: str, now: float) -> None:
        """Our re-INVITE was refused, or nobody answered it."""
        self._renegotiation.offer_failed(code, reason, now)
        self._drain(now)

    def refresh(self, now: float) -> None:
        """The other side wants to hear that we are still there."""
        self._renegotiation.refresh(now)
        self._drain(now)

    def over(self, reason: str, now: float) -> None:
        """SIP ended the call."""
        self._end(reason, now)

    def receive_candidates(self, content_type: str, body: bytes, now: float) -> None:
        """Candidates of the other side that were found after its description."""
        self._trickle.receive(content_type, body, now)
        self._drain(now)

    def receive_relayed_key(self, body: bytes, now: float) -> None:
        """A telephone key that came by INFO; some send them so."""
        try:
            digit, duration = telephone_event.parse_relay(body)
        except ParseError as error:
            self._unreadable += 1
            if self._unreadable <= MAX_MALFORMED:
                self.emit(Malformed("sip", None, str(error), len(body)))
            return
        if self.answered:
            self.emit(CallDigit(self.name, digit, duration))

    def candidates_told(self, status: int, reason: str, now: float) -> None:
        self._trickle.told(status, reason, now)
        self._drain(now)

    # --- machine ------------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, ClockSet):
            self._clock = event
        again = isinstance(event, AddressesChanged) and event.ips and self._keeper.in_trouble
        self._agent.handle_input(event, now)
        if again:
            self._keeper.network_changed(now)
        if self._session is not None:
            self._session.handle_input(event, now)
        self._drain(now)

    def handle_timeout(self, now: float) -> None:
        self._agent.handle_timeout(now)
        self._keys.handle_timeout(now)
        if self._session is not None:
            self._session.handle_timeout(now)
        self._drain(now)
        self._keeper.handle_timeout(now)
        if self._describe_by is not None and now >= self._describe_by and self._agent.local_candidates:
            self._describe(now)
        self._drain(now)

    def poll_timeout(self) -> float | None:
        session = self._session.poll_timeout() if self._session else None
        hurry = self._describe_by if self._agent.local_candidates else None
        keys = self._keys.poll_timeout()
        return earliest(self._agent.poll_timeout(), session, keys, self._keeper.poll_timeout(), hurry)

    # --- the children's outputs ---------------------------------------------------------------------------
    def _drain(self, now: float) -> None:
        quiet = False
        while not quiet:
            quiet = True
            while (output := self._agent.poll_output()) is not None:
                quiet = False
                self._from_agent(output, now)
            while (output := self._keys.poll_output()) is not None:
                quiet = False
                self._from_keys(output, now)
            while self._session is not None and (output := self._session.poll_output()) is not None:
                quiet = False
                self._from_session(output, now)
            if self._keeper.restart_when_due(self._renegotiation, now):
                quiet = False

    def _from_agent(self, output: object, now: float) -> None:
        match output:
            case DataReceived(data=data, remote=remote):
                if is_dtls(data):
                    self._keys.receive(data, remote, now)
                elif self._session is not None:
                    self._session.receive(data, now)
                self._keeper.heard(remote, now)
            case GatheringSettled():
                self._describe(now)
            case GatheringDone():
                self._describe(now)
                self._trickle.tell(now)
            case PairValid(path=path):
                self._usable(path, now)
            case Selected(path=path):
                if self.path is not None and not _same(path, self.path):
                    self.to_be_settled()
                self._usable(path, now)  # a nomination may come before any check of ours is answered
                self._settle_when_selected(now)
            case Failed(reason=reason):
                self._keeper.not_found(reason, now)
            case ConsentLostEvent(silent_for=silent):
                self._keeper.lost(f"the other side has been silent for {silent:.0f} s", now)
            case RestartNeeded(reason=reason):
                self._keeper.lost(reason, now, ours=True)
            case CandidateFound():
                self._trickle.tell(now)
            case StateChanged():
                pass  # records tell
            case _:
                self.emit(output)

    def _from_keys(self, output: object, now: float) -> None:
        match output:
            case SendHandshake(data=data):
                self._agent.send(data, now)
            case KeysAgreed():
                if self._unkeyed is not None:
                    self._start_session(self._unkeyed, now)
            case KeysFailed(reason=reason):
                self.emit(CallKeyless(self.name, reason))
            case _:
                self.emit(output)

    def _from_session(self, output: object, now: float) -> None:
        match output:
            case SendMedia(data=data):
                self._agent.send(data, now)
            case FirstMediaSent() | FirstMediaReceived():
                pass  # a MediaStarted record says the same
            case DigitReceived(digit=digit, duration=duration):
                self.emit(CallDigit(self.name, digit, duration))
            case SourceFinished():
                self.emit(CallPlayed(self.name))
            case _:
                self.emit(output)

    # --- offers and answers -------------------------------------------------------------------------------
    def hurry(self, now: float) -> None:
        """Gathering begins; whoever takes candidates later need not wait for all of them."""
        if self._exchange.they_trickle:
            self._describe_by = now + SOON

    def _describe(self, now: float) -> None:
        """Candidates are there: say them, once."""
        self._describe_by = None
        if self.ended:
            return
        if self._described:
            self._renegotiation.gathered(now)
            return
        self._described = True
        parameters, default = self._exchange.everything()
        if not self.incoming:
            body = self._negotiation.offer(parameters, default)
            self._become(Phase.TRYING)
            self._signalling.offer(self, body, now)
            return
        self._answer = self._negotiation.answer(parameters, default)
        negotiated = self._negotiation.negotiated
        assert negotiated is not None
        self._start_session(negotiated, now)
        if self._picked_up:
            self._accept_when_ready(now)
        else:
            self._become(Phase.EARLY)
            self._signalling.progress(self, self._answer, now)

    def _accept_when_ready(self, now: float) -> None:
        if self._picked_up and self._described and not self._accepted and not self.ended:
            self._accepted = True
            self._signalling.accept(self, self._answer, now)
            self._speak_up(now)  # the first word is sent on the early path; nobody waits for the ACK

    def _learn(self, negotiated: Negotiated, now: float) -> bool:
        """Tell the agent who the other side is; False if it speaks no ICE."""
        known = self._agent.remote_ufrag
        deaf = not self._signalling.takes_candidates(self)
        if not self._exchange.learn(negotiated.ice, negotiated.remote, now, deaf=deaf):
            return False
        if known is None:
            self._keeper.looked_for(now)
        elif known != self._agent.remote_ufrag:
            self._keeper.another_end()
        self._keys.talk_to(self._agent.remote_ufrag or "")
        return True

    # --- media --------------------------------------------------------------------------------------------
    def _start_session(self, agreed: Negotiated, now: float) -> None:
        """…or go on under what was agreed, as soon as there are keys; until then nothing is sent or played."""
        negotiated = self._keyed(agreed, now)
        if negotiated is None:
            return
        if self._session is None:
            self._session = AudioSession(
                f"{self.name}/audio",
                negotiated,
                self._source,
                self._sink,
                self._rng,
                self.call_id,
                early=not self._source.answered,
                cname=self._config.identity,
            )
            self._session.mute(self._muted)
            if self._clock is not None:
                self._session.handle_input(self._clock, now)
        else:
            self._session.renegotiate(negotiated, now)
        self._send_when_possible(now)

    def _keyed(self, agreed: Negotiated, now: float) -> Negotiated | None:
        negotiated = self._keys.keyed(agreed, self.call_id)
        self._unkeyed = agreed if negotiated is None else None
        if self.path is not None:
            self._keys.path_found(self.path.remote.address, self.path.round_trip, now)
        return negotiated

    def _send_when_possible(self, now: float) -> None:
        """The called side sends early media; the calling side is silent until somebody has picked up.

        Nobody begins under the keys of another end of a fork.
        """
        if self._session is None or self.path is None or self._unkeyed is not None:
            return
        if self.incoming or self.answered:
            self._session.start_sending(now)

    def _speak_up(self, now: float) -> None:
        self._source.answered = True
        self._agent.answered(now)
        self._keys.expect(now)
        if self._session is not None:
            self._session.confirm(now)

    def renegotiated(self, negotiated: Negotiated, now: float) -> None:
        """Sound goes on under what a re-INVITE agreed."""
        self._start_session(negotiated, now)
        held = (not negotiated.hears, not negotiated.sends)
        if held != self._held:
            self._held = held
            self.emit(CallHeld(self.name, *held))

    def _usable(self, path: CandidatePath, now: float) -> None:
        self._keeper.usable(path, now)
        self._keys.path_found(path.remote.address, path.round_trip, now)
        self._send_when_possible(now)

    # --- settling -----------------------------------------------------------------------------------------
    def _settle_when_selected(self, now: float) -> None:
        path = self._agent.selected
        if path is not None and self.phase is Phase.CONFIRMED:
            self._renegotiation.settle(path, now)

    def to_be_settled(self) -> None:
        """Another pair than before is going to be used: ICE restarts (RFC 8445 §9), or a better one was found."""
        if self.phase is Phase.SETTLED:
            self.phase = Phase.CONFIRMED

    def settled(self) -> None:
        """Both sides have named the pair in SDP."""
        path = self._agent.selected or self.path
        if self.phase is Phase.CONFIRMED:
            self._become(Phase.SETTLED)
            if path is not None:
                self.emit(CallSettled(self.name, path))

    # --- the end ------------------------------------------------------------------------------------------
    def _end(self, reason: str, now: float) -> None:
        if self.ended:
            return
        self.end_reason = reason
        self._keeper.stop()
        self._describe_by = None
        self._keys.close()
        answered = self.answered
        self.phase = Phase.ENDED
        if not self.call_id:  # SIP never heard of it; what it hears of, it records itself
            self.emit(self._state("failed", reason))
        if self._session is not None:
            self._session.close(now)
            while (output := self._session.poll_output()) is not None:
                self._from_session(output, now)
        else:
            self._sink.close()
        self._agent.close(now)
        self._drain(now)
        self.emit(CallEnded(self.name, reason, answered))

    def _must_be_incoming(self) -> None:
        if not self.incoming:
            raise UsageError(f"{self.name} is a call of ours; {self.peer} answers it")

    def _become(self, phase: Phase) -> None:
        self.phase = phase
        if phase is Phase.SETTLED:  # the other steps are SIP's to record
            self.emit(self._state(phase.value))

    def _state(self, state: str, reason: str = "") -> CallState:
        return CallState(self.call_id, state, self._config.identity, self.peer, reason)


def _same(one: CandidatePath, other: CandidatePath) -> bool:
    return (one.local.address, one.remote.address) == (other.local.address, other.remote.address)
