"""What both sides of a call agree that it carries, and what that makes of its legs and sessions.

Every description of ours is about the streams that are `wanted`, each with our direction. What offer and answer come to
(`terms`) puts each stream on a leg, and begins its session as soon as there are keys; until then nothing is sent or
played. A stream that only one side wants is let go of, and the call goes on without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from iceway.client.config import PhoneConfig
from iceway.client.events import CallHeld, CallStreams
from iceway.client.legs import Leg, Legs
from iceway.client.media import PICTURES, CallMedia
from iceway.core.errors import UsageError
from iceway.media.description import Negotiated
from iceway.media.keying import Keys
from iceway.media.negotiation import KINDS, MediaNegotiation, StreamTerms, Transport
from iceway.media.pictures import Pictures
from iceway.media.reading import NegotiationError
from iceway.trace.records import Note

if TYPE_CHECKING:
    from random import Random

    from iceway.client.call import Call

Terms = Mapping[str, StreamTerms]


class Agreement:
    """One call's; `owner` is the call. `secured`: its signalling is encrypted, so that it may carry keys."""

    def __init__(
        self, owner: Call, config: PhoneConfig, legs: Legs, media: CallMedia, rng: Random, *, secured: bool
    ) -> None:
        self.holding = False
        """Whether this end holds the call, or wants to."""
        self._owner = owner
        self._legs = legs
        self._media = media
        self._config = config
        self._rng = rng
        self._sdes = secured and config.keys is not Keys.DTLS
        self._negotiation = self._begun()
        self._wanted = set() if owner.incoming else set(media.kinds)
        self._said: dict[str, str] = {}  # our directions, by stream, in the last description of ours
        self._left_out = frozenset[str]()  # streams that there were, and which it left out
        self._terms: dict[str, StreamTerms] = {}
        self._unkeyed: set[str] = set()  # agreed on, but for the keys
        self._streams: tuple[str, ...] = ("audio",)  # as last told
        self._held = (False, False)  # here, there; as last told

    # --- facts --------------------------------------------------------------------------------------------
    @property
    def streams(self) -> tuple[str, ...]:
        """What both sides agreed to carry, of "audio", "video" and "slides"."""
        return tuple(kind for kind in KINDS if self._legs.used(kind) is not None)

    @property
    def terms(self) -> Terms:
        """What the last offer and answer came to."""
        return self._negotiation.terms

    @property
    def unsaid(self) -> bool:
        """Whether the other side has still to be told what we want."""
        return self._said != self._directions()

    @property
    def empty(self) -> bool:
        """Whether nothing is left to offer: they took the sound out of the call, and we the pictures."""
        return not self._legs.carry(self._directions())

    def mid(self, leg: Leg) -> str | None:
        """How both sides call the stream whose transport a leg is (RFC 5888)."""
        kinds = self._legs.kinds_on(leg)
        found = self.terms.get(kinds[0]) if kinds else None
        return self._negotiation.mid(found.transport) if found is not None else None

    # --- what we want -------------------------------------------------------------------------------------
    def prepare(self, now: float) -> None:
        """Legs for what is going to be offered."""
        self._legs.prepare(
            [kind for kind in KINDS if kind in self._wanted], bundled=bool(self._negotiation.bundle), now=now
        )

    def add(self, kind: str, pictures: Pictures, now: float) -> None:
        """Raises UsageError for what is wanted already."""
        if kind in self._wanted:
            raise UsageError(f"{self._owner.name} has {kind} already")
        self._media.add(kind, pictures)
        self._wanted.add(kind)
        self._terms.pop(kind, None)  # what was agreed on before is not about these pictures
        self.prepare(now)

    def drop(self, kind: str, now: float) -> None:
        """A stream of pictures is over, at this end at least."""
        self._wanted.discard(kind)
        self._terms.pop(kind, None)
        self._media.drop(kind, now)
        self._negotiation.renew(kind)

    # --- descriptions of ours -----------------------------------------------------------------------------
    def offer(self, end: Callable[[Leg], Transport] = Leg.everything) -> str:
        """An offer of all that we want, with our end of every leg as `end` has it."""
        self._said = self._directions()
        self._left_out = frozenset(self.streams) - self._said.keys()
        return self._negotiation.offer(self._legs.transports(self._said, end), self._said)

    def answer(self, end: Callable[[Leg], Transport] = Leg.everything) -> str:
        """The answer to the offer that was taken last."""
        self._said = {kind: self._direction(kind) for kind in self.streams if kind in self._media.kinds}
        self._left_out = frozenset(self.streams) - self._said.keys()
        refused = [kind for kind in KINDS if kind not in self._said]
        return self._negotiation.answer(self._legs.transports(self._said, end), self._said, refused)

    def offer_dtls_alone(self) -> bool:
        """Begin anew without keys in SDP; False if that is what was offered, or would leave none.

        Some phones whose DTLS is mandatory take no offer that has keys in SDP as well.
        """
        if not self._sdes or self._config.dtls is None:
            return False
        self._sdes = False
        self._negotiation = self._begun()
        return True

    def say_again(self) -> None:
        """The other side is to be told once more."""
        self._said = {}

    # --- descriptions of theirs ---------------------------------------------------------------------------
    def read_offer(self, body: str) -> Terms:
        """What an answer to it would come to. Raises NegotiationError."""
        return self._negotiation.receive_offer(body, self._media.kinds)

    def refuse_offer(self) -> None:
        """The offer that was read last is not going to be answered."""
        self._negotiation.refuse()

    def take_offer(self, terms: Terms, now: float) -> None:
        """It is going to be answered. Raises NegotiationError if there is no ICE in it."""
        self._legs.offered_by_them(terms, now)
        self._learn(terms, now)
        if not self._owner.answered:
            self._wanted = set(self.streams)

    def read_answer(self, body: str) -> Terms:
        """What came of our last offer. Raises NegotiationError."""
        return self._negotiation.receive_answer(body)

    def take_answer(self, terms: Terms, now: float) -> None:
        """Streams go where it puts them. Raises NegotiationError if there is no ICE in it."""
        before = self._legs.answered_by_them(terms)
        try:
            self._learn(terms, now)
        except NegotiationError:
            self._legs.take_back(before)
            raise

    def _learn(self, terms: Terms, now: float) -> None:
        """Tell the agents who the other side is."""
        for leg in self._legs.in_use():
            kinds = self._legs.kinds_on(leg)
            agreed = terms[kinds[0]].negotiated if kinds else None
            if agreed is not None and self._owner.meet(leg, agreed, now):
                continue
            if leg is self._legs.first:
                raise NegotiationError("the other side does not speak ICE as iceway calls need it")
            self._owner.pathless(leg, "the other side says no ICE for it", now)
            self._legs.disuse(leg)

    # --- what comes of them -------------------------------------------------------------------------------
    def begin(self, now: float, terms: Terms | None = None) -> None:
        """Sessions begin, or go on, under these terms (the last ones), as far as there are keys."""
        for kind, found in (self.terms if terms is None else terms).items():
            self._terms[kind] = found
            self._begin(kind, found.negotiated, now)
        self.send_when_possible(now)

    def keyed(self, leg: Leg, now: float) -> None:
        """There are keys for what a leg carries."""
        self.begin(now, {kind: self._terms[kind] for kind in self._legs.kinds_on(leg) if kind in self._terms})

    def renegotiated(self, terms: Terms, now: float) -> None:
        """Media goes on under what a re-INVITE agreed."""
        left_out = {kind: StreamTerms(None, kind) for kind in self._terms if kind not in terms}
        # What was dropped here while it was being agreed on stays dropped, and is said next.
        agreed = set(self.streams) & set(self._media.kinds)
        self._wanted = (self._wanted - set(left_out)) | agreed
        self.begin(now, {**left_out, **terms})
        sound = terms["audio"].negotiated if "audio" in terms else None
        if sound is not None:
            held = (not sound.hears, not sound.sends)
            if held != self._held:
                self._held = held
                self._owner.emit(CallHeld(self._owner.name, *held))
        for kind in self._left_out & self._wanted:  # dropped and added again meanwhile
            self._legs.leave(kind)
        self.concluded(now)
        self.prepare(now)

    def answered(self, now: float) -> None:
        """Our answer to a re-INVITE is out."""
        self.renegotiated(self.terms, now)
        sound = self.terms["audio"].negotiated if "audio" in self.terms else None
        if sound is not None and not sound.hears and self._said.get("audio") == "sendrecv":
            self._said["audio"] = (
                sound.direction
            )  # we resumed, and they had not heard of it when they offered this

    def concluded(self, now: float) -> None:
        """Offer and answer have come to something: what did not make it is let go of, and it is told what flows."""
        self._let_go(now)
        if self.streams != self._streams and self._owner.answered:
            self._streams = self.streams
            self._owner.emit(CallStreams(self._owner.name, self.streams))

    def refused(self, now: float) -> None:
        """An offer of ours was refused as a whole."""
        self._let_go(now)

    def send_when_possible(self, now: float) -> None:
        """The called side sends early sound; the calling side is silent until somebody has picked up.

        Pictures wait for that on both sides. Nobody begins under the keys of another end of a fork.
        """
        for kind, session in self._media.sessions.items():
            leg = self._legs.used(kind)
            if leg is None or leg.path is None or kind in self._unkeyed:
                continue
            if self._owner.picked_up or (self._owner.incoming and kind == "audio"):
                session.start_sending(now)

    # --- helpers ------------------------------------------------------------------------------------------
    def _begun(self) -> MediaNegotiation:
        config = self._config
        return MediaNegotiation(
            self._rng,
            {"audio": config.codecs, **dict.fromkeys(PICTURES, config.video_codecs)},
            allow_clear=config.allow_clear,
            sdes=self._sdes,
            fingerprint=config.dtls.fingerprint if config.dtls else None,
            bundle=config.bundle,
            rtcp_mux=config.rtcp_mux,
        )

    def _directions(self) -> dict[str, str]:
        return {kind: self._direction(kind) for kind in KINDS if kind in self._wanted}

    def _direction(self, kind: str) -> str:
        return self._media.direction(kind, holding=self.holding)

    def _begin(self, kind: str, agreed: Negotiated | None, now: float) -> None:
        leg = self._legs.used(kind)
        self._unkeyed.discard(kind)
        if agreed is None or leg is None or kind not in self._media.kinds:
            self._media.rest(kind, now)
            return
        apart = leg.components > 1 and not agreed.rtcp_mux and agreed.dtls is None
        keyed = leg.keys.keyed(replace(agreed, rtcp_apart=apart), self._owner.call_id)
        if keyed is None:
            self._unkeyed.add(kind)
        else:
            self._media.agreed(kind, keyed, self._owner.call_id, now)
        if leg.path is not None:
            leg.keys.path_found(leg.path.remote.address, leg.path.round_trip, now)

    def _let_go(self, now: float) -> None:
        """Of streams that we wanted and said so, and that came to nothing; and of legs that nothing needs."""
        for kind in [kind for kind in PICTURES if kind in self._wanted and kind in self._said]:
            if self._legs.used(kind) is None:
                found = self._terms.get(kind)
                reason = (found.reason if found is not None else "") or "the other side did not take it"
                self._owner.emit(Note("info", f"no {kind} in this call: {reason}"))
                self.drop(kind, now)
        self._legs.keep(self._wanted, now)
