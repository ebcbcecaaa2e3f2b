"""One call: offer and answer, ICE, sound and pictures, in the order that gets it through.

    gather → offer → (183 with the answer) → check → early media → picked up → settle → talk

The call speaks SIP through the `Signalling` it is given; `legs.py` has the ways of its media, with ICE and keys,
`media.py` the sessions that begin once there are keys. Whoever offers first is ICE-controlling. When the selected pair
is not the one that the default addresses of offer and answer promised, the controlling side sends the re-INVITE that
settles it (RFC 8839 §4.4): its chosen candidate alone, and `a=remote-candidates` with the other side's.

A path that dies in mid-call does not end it: ICE restarts by re-INVITE, from whichever side notices (`restart.py`
says when), and sound goes on over the old path for as long as there is one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from iceway.client.agreement import Agreement
from iceway.client.config import PhoneConfig
from iceway.client.events import (
    CallAnswered,
    CallDigit,
    CallEnded,
    CallKeyless,
    CallPlayed,
    CallProgress,
    CallSettled,
)
from iceway.client.keeping import PathKeeper
from iceway.client.legs import Leg, LegEvent, Legs
from iceway.client.media import PICTURES, CallMedia, Media
from iceway.client.renegotiation import Renegotiation
from iceway.client.restart import Restarts
from iceway.client.signalling import Signalling
from iceway.client.stats import CallStats
from iceway.client.trickle import MAX_MALFORMED, Trickle
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import AddressesChanged, Input, Outbox, earliest
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
from iceway.media.description import Negotiated
from iceway.media.digits import checked
from iceway.media.dtls import KeysAgreed, KeysFailed, SendHandshake
from iceway.media.pictures import Pictures
from iceway.media.reading import NegotiationError
from iceway.media.session import (
    DigitReceived,
    FirstMediaReceived,
    FirstMediaSent,
    SendMedia,
    SourceFinished,
)
from iceway.trace.records import CallState, Malformed, Note
from iceway.wire import telephone_event
from iceway.wire.dtls import is_dtls

if TYPE_CHECKING:
    from random import Random

UNACCEPTABLE = (488, 606)  # refusals of an offer, not of a call
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
        media: Media,
        incoming: bool,
        secured: bool = True,
        rtcp_apart: bool = False,
    ) -> None:
        """`secured`: our signalling is encrypted, so that it may carry keys. `rtcp_apart`: RTCP gets its own component."""
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
        self._media = CallMedia(name, media, rng, config.identity)
        components = 2 if rtcp_apart else 1
        ways = config.ways.agent_config(controlling=not incoming, components=components)
        self._legs = Legs(name, ways, rng, config.dtls)
        self._first = self._legs.first
        self._agreement = Agreement(self, config, self._legs, self._media, rng, secured=secured)
        self._trickle = Trickle(self, self._agreement, self._legs, signalling)
        self._described = False
        self._describe_by: float | None = None
        self._answer = ""
        self._to_be_accepted = False
        self._accepted = False
        self._unreadable = 0
        restarts = Restarts(incoming=incoming)
        self._keeper = PathKeeper(self, self._first.agent, signalling, restarts)
        self._renegotiation = Renegotiation(self, self._legs, self._agreement, signalling, restarts)

    # --- facts --------------------------------------------------------------------------------------------
    @property
    def answered(self) -> bool:
        return self.phase in (Phase.CONFIRMED, Phase.SETTLED)

    @property
    def picked_up(self) -> bool:
        """Somebody has, there or here; our 200 may still be on its way."""
        return self.answered or self._accepted

    @property
    def path(self) -> CandidatePath | None:
        """What media takes, or took last; None before there is any."""
        return self._keeper.path

    @property
    def holding(self) -> bool:
        return self._agreement.holding

    @property
    def muted(self) -> bool:
        return self._media.muted

    @property
    def ended(self) -> bool:
        return self.phase is Phase.ENDED

    @property
    def finished(self) -> bool:
        """Ended, and nothing is left to send."""
        return self.ended and self._legs.closed

    @property
    def streams(self) -> tuple[str, ...]:
        """What both sides agreed to carry, of "audio", "video" and "slides"."""
        return self._agreement.streams

    def takes(self) -> tuple[str, ...]:
        """The streams that may be offered to us."""
        return self._media.kinds

    def stats(self, now: float) -> CallStats:
        return self._media.stats(now)

    # --- commands -----------------------------------------------------------------------------------------
    def begin(self, interfaces: tuple[str, ...], servers: tuple[IceServer, ...], now: float) -> None:
        """Start to gather; the offer (or the answer to one) follows when candidates are there."""
        self._agreement.prepare(now)
        self.hurry(now)
        self._legs.gather(interfaces, servers, now)
        self._drain(now)

    def receive_offer(self, body: str, now: float) -> bool:
        """The offer of an incoming call. False: it was refused, with its reason."""
        try:
            self._agreement.take_offer(self._agreement.read_offer(body), now)
        except NegotiationError as error:
            self.refuse(error.code, error.reason, now)
            return False
        self._legs.ringing(now)
        self._drain(now)
        return True

    def pick_up(self, now: float) -> None:
        """Answer an incoming call, as soon as its candidates are there. Raises UsageError for a call of ours."""
        self._must_be_incoming()
        self._to_be_accepted = True
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

    def hang_up(self, now: float, reason: str = "") -> None:
        """End the call, whatever its phase; the other side hears of a `reason` if there is more to it than that."""
        if not self.ended:
            self._signalling.hang_up(self, reason, now)
            self._end(reason or "hung up here", now)

    def press(self, digits: str, duration: float, now: float) -> None:
        """Send telephone keys. Raises UsageError for what is no key, or if the call cannot carry any."""
        checked(digits, duration)
        if self.ended:
            return
        if self._media.audio is None or not self.answered:
            raise UsageError(f"{self.name} is not answered yet; telephone keys need somebody who listens")
        self._media.audio.press(digits, duration, now)
        self._drain(now)

    def mute(self, muted: bool, now: float) -> None:
        """Send silence; the call goes on otherwise."""
        self._media.mute(muted)

    def hold(self, holding: bool, now: float) -> None:
        """Hold the call, or resume it. Raises UsageError before it is answered; `CallHeld` says when both know."""
        if self.ended or holding == self.holding:
            return
        if self._media.audio is None or not self.answered:
            raise UsageError(f"{self.name} is not answered yet, so it cannot be held")
        self._agreement.holding = holding
        self._media.audio.hold(holding)
        self._renegotiation.say_what_changed(now)
        self._drain(now)

    def add(self, kind: str, pictures: Pictures, now: float) -> None:
        """Add pictures or slides to the call, by re-INVITE. Raises UsageError before it is answered, or if it has them."""
        _must_be_pictures(kind)
        if self.ended or not self.answered:
            raise UsageError(f"{self.name} is not answered, so nothing can be added to it")
        self._agreement.add(kind, pictures, now)
        self._renegotiation.say_what_changed(now)
        self._drain(now)

    def drop(self, kind: str, now: float) -> None:
        """Take pictures or slides out of the call, by re-INVITE; what is not there need not be taken out."""
        _must_be_pictures(kind)
        if not self.ended:
            self._agreement.drop(kind, now)
            self._renegotiation.say_what_changed(now)
            self._drain(now)

    def renew_servers(self, servers: tuple[IceServer, ...], now: float) -> None:
        """New credentials for the relays in use, before the old ones expire."""
        if not self.ended:
            self._legs.renew_servers(servers, now)

    # --- what SIP brought ---------------------------------------------------------------------------------
    def ringing(self, status: int, now: float) -> None:
        """A provisional response, with or without an answer in it."""
        self.emit(CallProgress(self.name, status))
        if self.phase is Phase.TRYING:
            self._become(Phase.RINGING)
        self._legs.ringing(now)
        self._drain(now)

    def receive_answer(self, body: str, now: float, *, early: bool) -> bool:
        """The answer in a 183 or a 200; the 200 may repeat the 183's. False: it is unusable.

        Then the call ends with the 200; until that, another end of a fork may do better.
        """
        try:
            self._agreement.take_answer(self._agreement.read_answer(body), now)
        except NegotiationError as error:
            if early:
                self.emit(Note("warning", f"an answer that came early is unusable: {error.reason}"))
                return False
            self._signalling.hang_up(self, error.reason, now)
            self._end(error.reason, now)
            return False
        self._agreement.begin(now)
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
        self._agreement.concluded(now)
        self._keeper.answered(now)
        self._agreement.send_when_possible(now)
        self.settle_when_selected(now)
        self._drain(now)

    def receive_reoffer(self, body: str, now: float) -> None:
        """A re-INVITE: the other side settles the pair, or restarts ICE."""
        self._renegotiation.receive_offer(body, now)
        self._trickle.tell(now)
        self._drain(now)

    def offer_wanted(self, now: float) -> None:
        """A re-INVITE that asks for an offer of ours."""
        self._renegotiation.offer_wanted(now)
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

    def over(self, reason: str, status: int, now: float) -> None:
        """SIP ended the call, with this status; an offer that was not acceptable may be followed by another."""
        unacceptable = status in UNACCEPTABLE and self.phase in (Phase.TRYING, Phase.RINGING)
        if unacceptable and not self.incoming and self._agreement.offer_dtls_alone():
            self.emit(Note("info", f"{reason}; offered once more, with keys by DTLS alone"))
            self._become(Phase.TRYING)
            self._signalling.offer(self, self._agreement.offer(), now)
        else:
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
        again = isinstance(event, AddressesChanged) and event.ips and self._keeper.in_trouble
        self._legs.handle_input(event, now)
        if again:
            self._keeper.network_changed(now)
        self._media.handle_input(event, now)
        self._drain(now)

    def handle_timeout(self, now: float) -> None:
        self._legs.handle_timeout(now)
        self._media.handle_timeout(now)
        self._drain(now)
        self._keeper.handle_timeout(now)
        if self._describe_by is not None and now >= self._describe_by and self._legs.describable:
            self._describe(now)
        self._drain(now)

    def poll_timeout(self) -> float | None:
        hurry = self._describe_by if self._legs.describable else None
        return earliest(
            self._legs.poll_timeout(), self._media.poll_timeout(), self._keeper.poll_timeout(), hurry
        )

    # --- the children's outputs ---------------------------------------------------------------------------
    def _drain(self, now: float) -> None:
        quiet = False
        while not quiet:
            quiet = True
            while (output := self._legs.poll_output()) is not None:
                quiet = False
                if isinstance(output, LegEvent):
                    self._from_leg(output.leg, output.event, now)
                else:
                    self.emit(output)
            for kind, said in self._media.outputs():
                quiet = False
                self._from_session(kind, said, now)
            if self._keeper.restart_when_due(self._renegotiation, now):
                quiet = False

    def _from_leg(self, leg: Leg, event: object, now: float) -> None:
        match event:
            case DataReceived(component=component, data=data, remote=remote):
                if is_dtls(data) and component > 1:
                    pass  # RTCP has no keys of its own here
                elif is_dtls(data):
                    leg.keys.receive(data, remote, now)
                else:
                    self._media.receive(data, self._legs.kinds_on(leg), now)
                if leg is self._first and component == 1:
                    self._keeper.heard(remote, now)
            case GatheringSettled():
                self._describe_when_ready(now)
            case GatheringDone():
                self._describe_when_ready(now)
                self._trickle.tell(now)
            case PairValid(path=CandidatePath(component=2)):
                pass  # RTCP goes as soon as it can
            case Selected(path=CandidatePath(component=2)):
                self.settle_when_selected(now)
            case PairValid(path=path):
                self._usable(leg, path, now)
            case Selected(path=path):
                if leg.path is not None and not _same(path, leg.path):
                    self.to_be_settled()
                self._usable(leg, path, now)  # a nomination may come before any check of ours is answered
                self.settle_when_selected(now)
            case Failed(reason=reason):
                if leg is self._first:
                    self._keeper.not_found(reason, now)
                else:
                    self.pathless(leg, reason, now)
            case ConsentLostEvent(silent_for=silent):
                self._keeper.lost(f"the other side has been silent for {silent:.0f} s", now)
            case RestartNeeded(reason=reason):
                self._keeper.lost(reason, now, ours=True)
            case CandidateFound():
                self._trickle.tell(now)
            case StateChanged():
                pass  # records tell
            case SendHandshake(data=data):
                leg.agent.send(data, now)
            case KeysAgreed():
                self._agreement.keyed(leg, now)
            case KeysFailed(reason=reason):
                self.emit(CallKeyless(self.name, reason))
            case _:
                self.emit(event)

    def _from_session(self, kind: str, output: object, now: float) -> None:
        match output:
            case SendMedia(data=data):
                if (leg := self._legs.used(kind)) is not None:
                    leg.send(data, now)
            case FirstMediaSent() | FirstMediaReceived():
                pass  # a MediaStarted record says the same
            case DigitReceived(digit=digit, duration=duration):
                self.emit(CallDigit(self.name, digit, duration))
            case SourceFinished():
                if kind == "audio":
                    self.emit(CallPlayed(self.name))
            case _:
                self.emit(output)

    # --- offers and answers -------------------------------------------------------------------------------
    def hurry(self, now: float) -> None:
        """Gathering begins; whoever takes candidates later need not wait for all of them."""
        if self._first.exchange.they_trickle:
            self._describe_by = now + SOON

    def _describe_when_ready(self, now: float) -> None:
        if self._legs.ready:
            self._describe(now)

    def _describe(self, now: float) -> None:
        """Candidates are there: say them, once."""
        self._describe_by = None
        if self.ended:
            return
        if self._described:
            self._renegotiation.gathered(now)
            return
        self._described = True
        if not self.incoming:
            body = self._agreement.offer()
            self._become(Phase.TRYING)
            self._signalling.offer(self, body, now)
            return
        self._answer = self._agreement.answer()
        self._agreement.begin(now)
        if self._to_be_accepted:
            self._accept_when_ready(now)
        else:
            self._become(Phase.EARLY)
            self._signalling.progress(self, self._answer, now)

    def _accept_when_ready(self, now: float) -> None:
        if self._to_be_accepted and self._described and not self._accepted and not self.ended:
            self._accepted = True
            self._signalling.accept(self, self._answer, now)
            self._speak_up(now)  # the first word is sent on the early path; nobody waits for the ACK

    def meet(self, leg: Leg, agreed: Negotiated, now: float) -> bool:
        """Tell a leg's agent who the other side is; False if it speaks no ICE."""
        known = leg.agent.remote_ufrag
        deaf = not self._signalling.takes_candidates(self)
        if not leg.exchange.learn(agreed.ice, agreed.remote, now, deaf=deaf):
            return False
        if self.answered:
            return True  # whoever restarts ICE stays who they are, and media goes on over the old path
        leg.keys.talk_to(leg.agent.remote_ufrag or "")
        if known is not None and known != leg.agent.remote_ufrag:
            leg.path = None
            if leg is self._first:
                self._keeper.another_end()
        if known is None and leg is self._first:
            self._keeper.looked_for(now)
        return True

    # --- media --------------------------------------------------------------------------------------------
    def _speak_up(self, now: float) -> None:
        self._legs.answered(now)
        self._media.confirm(now)
        self._agreement.send_when_possible(now)

    def pathless(self, leg: Leg, reason: str, now: float) -> None:
        """A way that is not the call's own came to nothing; the call goes on without it."""
        leg.path = None
        what = " and ".join(self._legs.kinds_on(leg)) or leg.name
        self.emit(Note("warning", f"no way was found for the {what} of this call: {reason}"))
        self.settle_when_selected(now)

    def _usable(self, leg: Leg, path: CandidatePath, now: float) -> None:
        before, leg.path = leg.path, path
        if leg is self._first:
            self._keeper.usable(path, now)
        leg.keys.path_found(path.remote.address, path.round_trip, now)
        if before is None or not _same(before, path):
            self._media.path_changed(self._legs.kinds_on(leg), path.round_trip, now)
        self._agreement.send_when_possible(now)

    # --- settling -----------------------------------------------------------------------------------------
    def settle_when_selected(self, now: float) -> None:
        if self.phase is Phase.CONFIRMED and all(leg.decided for leg in self._legs.in_use()):
            self._renegotiation.settle(now)

    def to_be_settled(self) -> None:
        """Another pair than before is going to be used: ICE restarts (RFC 8445 §9), or a better one was found."""
        if self.phase is Phase.SETTLED:
            self.phase = Phase.CONFIRMED

    def settled(self) -> None:
        """Both sides have named the pair in SDP."""
        path = self._first.agent.selected or self.path
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
        answered = self.answered
        self.phase = Phase.ENDED
        if not self.call_id:  # SIP never heard of it; what it hears of, it records itself
            self.emit(self._state("failed", reason))
        self._media.close(now)
        for kind, said in self._media.outputs():
            self._from_session(kind, said, now)
        self._legs.close(now)
        self._drain(now)
        self.emit(CallEnded(self.name, reason, answered, self.stats(now)))

    def _must_be_incoming(self) -> None:
        if not self.incoming:
            raise UsageError(f"{self.name} is a call of ours; {self.peer} answers it")

    def _become(self, phase: Phase) -> None:
        self.phase = phase
        if phase is Phase.SETTLED:  # the other steps are SIP's to record
            self.emit(self._state(phase.value))

    def _state(self, state: str, reason: str = "") -> CallState:
        return CallState(self.call_id, state, self._config.identity, self.peer, reason)


def _must_be_pictures(kind: str) -> None:
    if kind not in PICTURES:
        raise UsageError(f"{kind!r} is no stream of pictures; there are {' and '.join(PICTURES)}")


def _same(one: CandidatePath, other: CandidatePath) -> bool:
    return (one.local.address, one.remote.address) == (other.local.address, other.remote.address)
