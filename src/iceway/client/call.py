"""One call: offer and answer, ICE, sound, in the order that gets it through.

    gather → offer → (183 with the answer) → check → early media → picked up → settle → talk

The call speaks SIP through the `Signalling` it is given, owns an ICE agent and, once keys are agreed, an audio
session. Whoever offers first is ICE-controlling. When the selected pair is not the one that the default
addresses of offer and answer promised, the controlling side sends the re-INVITE that settles it
(RFC 8839 §4.4): its chosen candidate alone, and `a=remote-candidates` with the other side's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from iceway.client.config import PhoneConfig
from iceway.client.events import (
    CallAnswered,
    CallConnected,
    CallEnded,
    CallPlayed,
    CallProgress,
    CallSettled,
)
from iceway.client.sound import CallSource
from iceway.core.address import Address
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import ClockSet, Input, Outbox, earliest
from iceway.ice import candidate as candidates
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate
from iceway.ice.config import AgentConfig, IceServer, Policy
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
from iceway.media.files import Sink, Source
from iceway.media.session import (
    AudioSession,
    FirstMediaReceived,
    FirstMediaSent,
    MediaStats,
    SendMedia,
    SourceFinished,
)
from iceway.trace.records import CallState, Note
from iceway.wire.sdp import IceParameters

if TYPE_CHECKING:
    from random import Random

NOWHERE = Address("0.0.0.0", 9)  # the default address of an offer without candidates (RFC 8840 §4.1.1)


class Phase(StrEnum):
    PREPARING = "preparing"
    TRYING = "trying"
    RINGING = "ringing"
    EARLY = "early"
    CONFIRMED = "confirmed"
    SETTLED = "settled"
    ENDED = "ended"


class Signalling(Protocol):
    """What a call asks of SIP. Bodies are SDP."""

    def offer(self, call: Call, body: str, now: float) -> None: ...

    def progress(self, call: Call, body: str, now: float) -> None: ...

    def accept(self, call: Call, body: str, now: float) -> None: ...

    def refuse(self, call: Call, code: int, reason: str, now: float) -> None: ...

    def settle(self, call: Call, body: str, now: float) -> None: ...

    def answer_settling(self, call: Call, body: str, now: float) -> None: ...

    def refuse_settling(self, call: Call, code: int, now: float) -> None: ...

    def hang_up(self, call: Call, reason: str, now: float) -> None: ...


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
    ) -> None:
        super().__init__()
        self.name = name
        self.peer = peer
        self.incoming = incoming
        self.phase = Phase.PREPARING
        self.sip_call = ""
        self.call_id = ""
        self.path: CandidatePath | None = None
        self.end_reason = ""
        self._config = config
        self._rng = rng
        self._signalling = signalling
        self._source = CallSource(early_source, source)
        self._sink = sink
        only = config.interfaces
        self._agent = Agent(
            f"{name}/ice",
            AgentConfig(
                controlling=not incoming,
                policy=Policy.RELAY if config.relay_only else Policy.ALL,
                ports=config.ports,
                interface_filter=None if only is None else lambda ip: ip in only,
            ),
            rng,
        )
        self._negotiation = AudioNegotiation(rng, config.codecs, allow_clear=config.allow_clear)
        self._session: AudioSession | None = None
        self._clock: ClockSet | None = None
        self._our_default: Address | None = None
        self._their_default: Address | None = None
        self._described = False
        self._answer = ""
        self._picked_up = False
        self._accepted = False
        self._settling = False
        self._restart: Negotiated | None = None  # their offer of an ICE restart, until candidates are there

    # --- facts --------------------------------------------------------------------------------------------
    @property
    def answered(self) -> bool:
        return self.phase in (Phase.CONFIRMED, Phase.SETTLED)

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
        self._send_when_possible(now)
        self._settle_when_selected(now)
        self._drain(now)

    def receive_reoffer(self, body: str, now: float) -> None:
        """A re-INVITE: the other side settles the pair, or restarts ICE."""
        try:
            negotiated = self._negotiation.receive_offer(body)
        except NegotiationError as error:
            self._refuse_settling(error.code, error.reason, now)
            return
        if negotiated.ice is None:
            self._refuse_settling(488, "ICE cannot be left during a call", now)
            return
        if negotiated.ice.ufrag != self._agent.remote_ufrag:
            self._restart = negotiated
            self.phase = Phase.CONFIRMED  # the new pair is to be settled again (RFC 8445 §9)
            self._agent.restart(now)
            self._learn(negotiated, now)
        else:
            self._answer_settling(negotiated, now)
        self._drain(now)

    def receive_reanswer(self, body: str, now: float) -> None:
        """The answer to our re-INVITE."""
        self._settling = False
        try:
            negotiated = self._negotiation.receive_answer(body)
        except NegotiationError as error:
            self.emit(Note("warning", f"the answer to the settling re-INVITE is unusable: {error.reason}"))
            return
        self._renegotiated(negotiated, now)
        self._become_settled()
        self._drain(now)

    def reoffer_failed(self, code: int, reason: str, now: float) -> None:
        """The pair stays in use all the same; the default addresses in SDP just do not say so."""
        self._settling = False
        self.emit(Note("warning", f"the other side refused the settling re-INVITE: {code} {reason}"))

    def over(self, reason: str, now: float) -> None:
        """SIP ended the call."""
        self._end(reason, now)

    # --- machine ------------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, ClockSet):
            self._clock = event
        self._agent.handle_input(event, now)
        if self._session is not None:
            self._session.handle_input(event, now)
        self._drain(now)

    def handle_timeout(self, now: float) -> None:
        self._agent.handle_timeout(now)
        if self._session is not None:
            self._session.handle_timeout(now)
        self._drain(now)

    def poll_timeout(self) -> float | None:
        session = self._session.poll_timeout() if self._session else None
        return earliest(self._agent.poll_timeout(), session)

    # --- the children's outputs ---------------------------------------------------------------------------
    def _drain(self, now: float) -> None:
        quiet = False
        while not quiet:
            quiet = True
            while (output := self._agent.poll_output()) is not None:
                quiet = False
                self._from_agent(output, now)
            while self._session is not None and (output := self._session.poll_output()) is not None:
                quiet = False
                self._from_session(output, now)

    def _from_agent(self, output: object, now: float) -> None:
        match output:
            case DataReceived(data=data):
                if self._session is not None:
                    self._session.receive(data, now)
            case GatheringSettled() | GatheringDone():
                self._describe(now)
            case PairValid(path=path):
                self._usable(self.path or path, now)
            case Selected(path=path):
                self._usable(path, now)  # a nomination may come before any check of ours is answered
                self._settle_when_selected(now)
            case Failed(reason=reason):
                self.hang_up(now, f"no way was found: {reason}")
            case ConsentLostEvent(silent_for=silent):
                self.hang_up(now, f"the other side has been silent for {silent:.0f} s")
            case CandidateFound() | StateChanged():
                pass  # told in the description, and in records
            case RestartNeeded():
                pass  # restarts are answered, not begun: if the path is dead, the loss of consent says so
            case _:
                self.emit(output)

    def _from_session(self, output: object, now: float) -> None:
        match output:
            case SendMedia(data=data):
                self._agent.send(data, now)
            case FirstMediaSent() | FirstMediaReceived():
                pass  # a MediaStarted record says the same
            case SourceFinished():
                self.emit(CallPlayed(self.name))
            case _:
                self.emit(output)

    # --- offers and answers -------------------------------------------------------------------------------
    def _describe(self, now: float) -> None:
        """Candidates are there: say them, once."""
        if self.ended:
            return
        if self._restart is not None:
            offered, self._restart = self._restart, None
            self._answer_settling(offered, now)
            return
        if self._described:
            return
        self._described = True
        self._our_default = self._default_address()
        parameters = self._parameters(self._agent.local_candidates)
        if not self.incoming:
            body = self._negotiation.offer(parameters, self._our_default)
            self._become(Phase.TRYING)
            self._signalling.offer(self, body, now)
            return
        self._answer = self._negotiation.answer(parameters, self._our_default)
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
        ice = negotiated.ice
        if ice is None or ice.mismatch:
            return False
        self._their_default = negotiated.remote
        if self._agent.remote_ufrag not in (None, ice.ufrag):
            self.path = None  # another end of a forked call: no path leads there yet
        self._agent.set_remote(ice.ufrag, ice.pwd, now, lite=ice.lite)
        for text in ice.candidates:
            try:
                remote = candidates.parse(text)
            except ParseError:
                continue  # RFC 8839 §5.1: candidates that cannot be used are ignored
            self._agent.add_remote_candidate(remote, now)
        self._agent.end_of_remote_candidates(now)
        return True

    def _parameters(
        self, own: tuple[Candidate, ...], remote: tuple[tuple[int, Address], ...] = ()
    ) -> IceParameters:
        return IceParameters(
            ufrag=self._agent.local_ufrag,
            pwd=self._agent.local_pwd,
            candidates=tuple(candidates.serialize(one) for one in own),
            remote_candidates=remote,
            options=("ice2",),
        )

    def _default_address(self) -> Address:
        default = self._agent.default_candidate()
        return default.address if default else NOWHERE

    # --- media --------------------------------------------------------------------------------------------
    def _start_session(self, negotiated: Negotiated, now: float) -> None:
        if self._session is None:
            self._session = AudioSession(
                f"{self.name}/audio",
                negotiated,
                self._source,
                self._sink,
                self._rng,
                self.call_id,
                early=not self.answered,
                cname=self._config.identity,
            )
            if self._clock is not None:
                self._session.handle_input(self._clock, now)
        else:
            self._session.renegotiate(negotiated, now)
        self._send_when_possible(now)

    def _send_when_possible(self, now: float) -> None:
        """The called side sends early media; the calling side is silent until somebody has picked up."""
        if self._session is not None and self.path is not None and (self.incoming or self.answered):
            self._session.start_sending(now)

    def _speak_up(self, now: float) -> None:
        self._source.answered = True
        self._agent.answered(now)
        if self._session is not None:
            self._session.confirm(now)

    def _renegotiated(self, negotiated: Negotiated, now: float) -> None:
        self._their_default = negotiated.remote
        if self._session is not None:
            self._session.renegotiate(negotiated, now)

    def _usable(self, path: CandidatePath, now: float) -> None:
        """Media can flow on a path; the first one is news."""
        first, self.path = self.path is None, path
        if first:
            self.emit(CallConnected(self.name, path))
        self._send_when_possible(now)

    # --- settling -----------------------------------------------------------------------------------------
    def _settle_when_selected(self, now: float) -> None:
        path = self._agent.selected
        if path is None or not self.answered or self._settling or self.phase is Phase.SETTLED:
            return
        if path.local.address == self._our_default and path.remote.address == self._their_default:
            self._become_settled()
        elif self._agent.role == "controlling":
            self._settling = True
            self._our_default = path.local.address
            remote = ((path.component, path.remote.address),)
            body = self._negotiation.offer(self._parameters((path.local,), remote), path.local.address)
            self._signalling.settle(self, body, now)

    def _answer_settling(self, negotiated: Negotiated, now: float) -> None:
        """Name the candidate of ours that the offer chose, else the one in use, else the default.

        baresip names all of ours that it knows; then the one in use is meant.
        """
        assert negotiated.ice is not None
        chosen = self._agent.selected or self._agent.active_path()
        local = chosen.local if chosen else self._agent.default_candidate()
        named = [where for component, where in negotiated.ice.remote_candidates if component == 1]
        if local is None or local.address not in named:
            ours = (one for one in self._agent.local_candidates if one.address in named)
            local = next(ours, local)
        own = (
            (local,)
            if local is not None and negotiated.ice.remote_candidates
            else self._agent.local_candidates
        )
        self._our_default = local.address if local else self._default_address()
        body = self._negotiation.answer(self._parameters(own), self._our_default)
        self._signalling.answer_settling(self, body, now)
        agreed = self._negotiation.negotiated
        assert agreed is not None
        self._renegotiated(agreed, now)
        if negotiated.ice.remote_candidates:
            self._become_settled()

    def _refuse_settling(self, code: int, reason: str, now: float) -> None:
        self.emit(Note("warning", f"a re-INVITE of {self.peer} was refused: {reason}"))
        self._signalling.refuse_settling(self, code, now)

    def _become_settled(self) -> None:
        if self.phase is Phase.CONFIRMED:
            self._become(Phase.SETTLED)
            path = self._agent.selected or self.path
            if path is not None:
                self.emit(CallSettled(self.name, path))

    # --- the end ------------------------------------------------------------------------------------------
    def _end(self, reason: str, now: float) -> None:
        if self.ended:
            return
        self.end_reason = reason
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
