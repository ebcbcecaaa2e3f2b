"""What a call carries: its sound, its pictures and its slides, each a session of its own over the way that it has.

Sessions begin when their stream is agreed on and its keys are there. A stream that offer and answer leave out rests,
and goes on when it is agreed on again; `drop` ends it. What arrives on a way that several streams share is told apart
by the name that packets bear or the sources that were announced, else by payload types.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.client.sound import CallSource
from iceway.client.stats import CallStats
from iceway.core.machine import ClockSet, earliest
from iceway.media.budget import Budget
from iceway.media.description import Negotiated
from iceway.media.files import Sink, Source
from iceway.media.pictures import MemoryPictures, NullSink, Pictures
from iceway.media.session import AudioSession
from iceway.media.supplied import let_go
from iceway.media.video import VideoSession
from iceway.trace.records import Note
from iceway.wire.rtp import is_rtcp
from iceway.wire.rtp_extension import find_element

if TYPE_CHECKING:
    from random import Random

PICTURES = ("video", "slides")
_ALLOTTED = 1.0  # seconds between two looks at what pictures may take


@dataclass(frozen=True, slots=True)
class Media:
    """What a call plays, where what it hears goes, and what the caller hears while it rings.

    `video` and `slides` are pictures both ways; a kind that is None is refused when the other side offers it.
    """

    source: Source
    sink: Sink
    early: Source
    video: Pictures | None = None
    slides: Pictures | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        return ("audio", *(kind for kind in PICTURES if getattr(self, kind) is not None))

    def close(self) -> None:
        """Let go of everything: it never came to a call."""
        for what in (self.source, self.sink, self.early):
            let_go(what)
        for pictures in (self.video, self.slides):
            if pictures is not None:
                let_go(pictures.source)
                let_go(pictures.sink)


class CallMedia:
    """One call's sessions, by kind. The call handles what `outputs` yields."""

    def __init__(self, name: str, media: Media, rng: Random, cname: str) -> None:
        self.audio: AudioSession | None = None
        self.pictures: dict[str, VideoSession] = {}
        self.source = CallSource(media.early, media.source)
        self._name = name
        self._sink = media.sink
        self._offers = {kind: getattr(media, kind) for kind in media.kinds if kind in PICTURES}
        self._rng = rng
        self._cname = cname
        self._clock: ClockSet | None = None
        self._notes: list[Note] = []
        self._budget = Budget()
        self._allot_at: float | None = None
        self._round_trip: float | None = None
        self.muted = False

    # --- facts --------------------------------------------------------------------------------------------
    @property
    def kinds(self) -> tuple[str, ...]:
        """What we would carry, best first."""
        return ("audio", *(kind for kind in PICTURES if kind in self._offers))

    def direction(self, kind: str, *, holding: bool) -> str:
        """Ours in an offer or answer, as we want it."""
        if kind == "audio":
            return "sendonly" if holding else "sendrecv"
        return "inactive" if holding else self._offers[kind].direction

    @property
    def sessions(self) -> dict[str, AudioSession | VideoSession]:
        sound: dict[str, AudioSession | VideoSession] = {} if self.audio is None else {"audio": self.audio}
        return sound | self.pictures

    # --- streams ------------------------------------------------------------------------------------------
    def add(self, kind: str, pictures: Pictures) -> None:
        self._offers[kind] = pictures

    def drop(self, kind: str, now: float) -> None:
        """A stream of pictures is over; its source is let go of, its sink is closed."""
        pictures = self._offers.pop(kind, None)
        session = self.pictures.get(kind)
        if session is not None:
            session.close(now)
        elif pictures is not None:
            let_go(pictures.sink, self._notes.append)
        if pictures is not None:
            let_go(pictures.source, self._notes.append)

    def agreed(self, kind: str, negotiated: Negotiated, call_id: str, now: float) -> None:
        """Begin a stream under what was agreed, keys and all, or go on under it."""
        session = self.sessions.get(kind)
        if session is not None and not session.closed:
            session.renegotiate(negotiated, now)
            return
        name = f"{self._name}/{kind}"
        early = not self.source.answered
        if kind == "audio":
            self.audio = session = AudioSession(
                name, negotiated, self.source, self._sink, self._rng, call_id, early=early, cname=self._cname
            )
            session.mute(self.muted)
        else:
            pictures = self._offers[kind]
            self.pictures[kind] = session = VideoSession(
                name,
                negotiated,
                MemoryPictures(()) if pictures.source is None else pictures.source,
                NullSink() if pictures.sink is None else pictures.sink,
                self._rng,
                call_id,
                early=early,
                cname=self._cname,
                frame_rate=pictures.frame_rate,
                budget=pictures.budget,
                media=kind,
            )
            session.path_changed(now, self._round_trip)
            self._budget.allow(kind, pictures.budget)
            if self._allot_at is None:
                self._allot_at = now + _ALLOTTED
        if self._clock is not None:
            session.handle_input(self._clock, now)

    def rest(self, kind: str, now: float) -> None:
        """A stream that offer and answer left out is silent."""
        if (session := self.sessions.get(kind)) is not None:
            session.stop_sending(now)

    def receive(self, data: bytes, kinds: Collection[str], now: float) -> None:
        """A datagram from a way that these streams have."""
        sessions = [session for kind, session in self.sessions.items() if kind in kinds]
        if is_rtcp(data):  # a report may speak of several streams
            for session in sessions:
                session.receive(data, now)
        elif (meant := _meant(data, sessions)) is not None:
            meant.receive(data, now)

    def path_changed(self, kinds: Collection[str], round_trip: float | None, now: float) -> None:
        """These streams have a way, or another one; `round_trip` is what ICE measured on it."""
        self._round_trip = round_trip
        apart = any(not session.negotiated.rtcp_mux for session in self.sessions.values())
        self._budget.path_changed(now, None if apart else round_trip)
        for kind in kinds:
            if kind in self.pictures:
                self.pictures[kind].path_changed(now, round_trip)

    def confirm(self, now: float) -> None:
        """The call was answered."""
        self.source.answered = True
        for session in self.sessions.values():
            session.confirm(now)

    def stats(self, now: float) -> CallStats:
        return CallStats(
            audio=self.audio.stats() if self.audio is not None else None,
            **{kind: session.stats(now) for kind, session in self.pictures.items()},
        )

    def _allot(self, now: float) -> None:
        """Pictures give way to sound."""
        told = self.stats(now)
        self._budget.update(told.audio, told.video, told.slides, now)
        flowing = {kind: session for kind, session in self.pictures.items() if not session.closed}
        for kind, session in flowing.items():
            session.set_budget(self._budget.of(kind), now)
        self._allot_at = now + _ALLOTTED if flowing else None

    def mute(self, muted: bool) -> None:
        self.muted = muted
        if self.audio is not None:
            self.audio.mute(muted)

    def close(self, now: float) -> None:
        """The call is over; every sink is closed."""
        self._allot_at = None
        for session in self.sessions.values():
            session.close(now)
        if self.audio is None:
            let_go(self._sink, self._notes.append)
        for kind in tuple(self._offers):
            self.drop(kind, now)

    # --- machine ------------------------------------------------------------------------------------------
    def handle_input(self, event: object, now: float) -> None:
        if isinstance(event, ClockSet):
            self._clock = event
            for session in self.sessions.values():
                session.handle_input(event, now)

    def handle_timeout(self, now: float) -> None:
        for session in self.sessions.values():
            session.handle_timeout(now)
        if self._allot_at is not None and now >= self._allot_at:
            self._allot(now)

    def poll_timeout(self) -> float | None:
        return earliest(self._allot_at, *(session.poll_timeout() for session in self.sessions.values()))

    def outputs(self) -> Iterator[tuple[str, object]]:
        """What the sessions say, each with its kind, and what failed where there was none."""
        notes, self._notes = self._notes, []
        yield from (("audio", note) for note in notes)
        for kind, session in self.sessions.items():
            while (output := session.poll_output()) is not None:
                yield kind, output


def _meant(data: bytes, sessions: list[AudioSession | VideoSession]) -> AudioSession | VideoSession | None:
    """Whose packet this is, of several streams on one transport (RFC 8843 §9.2)."""
    if len(sessions) < 2 or len(data) < 12:
        return sessions[0] if sessions else None
    ssrc, payload_type = int.from_bytes(data[8:12]), data[1] & 0x7F
    for session in sessions:
        terms = session.negotiated
        if ssrc in terms.their_ssrcs:
            return session
        if terms.named is not None and find_element(data, terms.named[0]) == terms.named[1].encode():
            return session
    fitting = [session for session in sessions if session.takes(payload_type)]
    unannounced = [session for session in fitting if not session.negotiated.their_ssrcs]
    return next(iter(unannounced or fitting or sessions))
