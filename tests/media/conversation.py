"""Two people who talk and show each other pictures over one link, in virtual time: a whole call below SIP and ICE."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

from iceway.core.machine import drain
from iceway.lab.crossing import Crossing
from iceway.lab.topology import Link
from iceway.media import pattern
from iceway.media.budget import Budget
from iceway.media.files import FileSource, MemorySink, Sink, Source
from iceway.media.heard import Heard, compare
from iceway.media.pattern import PatternSource
from iceway.media.pictures import MemorySink as MemoryPictureSink
from iceway.media.pictures import PictureSink, PictureSource
from iceway.media.session import AudioSession, SendMedia
from iceway.media.speech import speech
from iceway.media.video import VideoSession
from tests.media.test_session import negotiated
from tests.media.test_video import Grainy, terms

RATES = {"video": 15.0, "slides": 5.0}
SIZES = {"video": (320, 180), "slides": (640, 360)}
_HEADERS = 28  # IP and UDP


@dataclass(frozen=True)
class Brings:
    """Sources and sinks in place of the usual ones."""

    says: Source | None = None
    shows: PictureSource | None = None
    hears: Sink | None = None
    watches: PictureSink | None = None


class Person:
    """One end: a session for each stream, and the budget that holds the pictures back."""

    def __init__(
        self, name: str, kinds: tuple[str, ...], codec: str, seed: int, budget: int, brings: Brings
    ) -> None:
        first = name == "alice"
        self.name = name
        self.heard = MemorySink()
        self.seen = {kind: MemoryPictureSink() for kind in kinds}
        self.audio = AudioSession(
            f"{name}/audio",
            negotiated()[0 if first else 1],
            brings.says or FileSource(speech(name), loop=True),
            brings.hears or self.heard,
            random.Random(f"{seed}:{name}:audio"),
            "c1",
        )
        self.pictures = {
            kind: VideoSession(
                f"{name}/{kind}",
                terms(codec)[0 if first else 1],
                brings.shows or self._source(kind),
                brings.watches or self.seen[kind],
                random.Random(f"{seed}:{name}:{kind}"),
                "c1",
                frame_rate=RATES[kind],
                budget=budget,
                media=kind,
            )
            for kind in kinds
        }
        self.budget = Budget(budget, budget)
        self.records: list[tuple[float, object]] = []

    @staticmethod
    def _source(kind: str) -> PictureSource:
        source = PatternSource(*SIZES[kind])
        return Grainy(source) if kind == "video" else source

    @property
    def sessions(self) -> dict[str, AudioSession | VideoSession]:
        return {"audio": self.audio, **self.pictures}

    def allot(self, now: float) -> None:
        """What a call does once a second."""
        stats = {kind: session.stats(now) for kind, session in self.pictures.items()}
        self.budget.update(self.audio.stats(), stats.get("video"), stats.get("slides"), now)
        for kind, session in self.pictures.items():
            session.set_budget(self.budget.of(kind), now)

    def concealed(self) -> int:
        """Samples of sound made up so far."""
        return self.audio.stats().samples_concealed

    def numbers(self, kind: str) -> list[int]:
        """Of the pictures seen, all readable and upright."""
        read = [pattern.read(picture) for _, picture in self.seen[kind].seen]
        assert all(found is not None and found.lies == "upright" for found in read)
        return [found.number for found in read if found is not None]


class Conversation:
    """Alice and Bob over a link each way, which their streams share."""

    def __init__(
        self,
        link: Link,
        *,
        kinds: tuple[str, ...] = ("video",),
        codec: str = "VP8",
        seed: int = 1,
        budget: int = 600_000,
        alice: Brings = Brings(),
        bob: Brings = Brings(),
    ) -> None:
        self.alice = Person("alice", kinds, codec, seed, budget, alice)
        self.bob = Person("bob", kinds, codec, seed, budget, bob)
        self.now = 0.0
        self._crossings = {name: Crossing(link, random.Random(f"{seed}:{name}")) for name in ("alice", "bob")}
        self._flying: list[tuple[float, int, AudioSession | VideoSession, bytes]] = []
        self._count = 0
        self._allot_at = 1.0
        for person in (self.alice, self.bob):
            person.budget.path_changed(0.0, 2 * link.delay)
            for session in person.sessions.values():
                session.start_sending(0.0)
                if isinstance(session, VideoSession):
                    session.path_changed(0.0, 2 * link.delay)

    def change(self, link: Link) -> None:
        """From now on the way is like this."""
        for crossing in self._crossings.values():
            crossing.link = link

    def until(self, end: float) -> Conversation:
        people = (self.alice, self.bob)
        sessions = [session for person in people for session in person.sessions.values()]
        while True:
            self._drain()
            instants = [at for session in sessions if (at := session.poll_timeout()) is not None]
            instants.append(self._allot_at)
            if self._flying:
                instants.append(self._flying[0][0])
            if min(instants) > end:
                self.now = end
                return self
            self.now = max(self.now, min(instants))
            if self._flying and self._flying[0][0] <= self.now:
                _, _, receiver, data = heapq.heappop(self._flying)
                receiver.receive(data, self.now)
                continue
            for session in sessions:
                at = session.poll_timeout()
                if at is not None and at <= self.now:
                    session.handle_timeout(self.now)
            if self._allot_at <= self.now:
                self._allot_at += 1.0
                for person in people:
                    person.allot(self.now)

    def heard(self, by: Person) -> Heard:
        """What one heard of what the other said."""
        return compare(speech("bob" if by is self.alice else "alice"), by.heard.samples)

    def _drain(self) -> None:
        for person, other in ((self.alice, self.bob), (self.bob, self.alice)):
            for kind, session in person.sessions.items():
                for output in drain(session):
                    if isinstance(output, SendMedia):
                        self._send(person.name, other.sessions[kind], output.data)
                    else:
                        person.records.append((self.now, output))

    def _send(self, sender: str, receiver: AudioSession | VideoSession, data: bytes) -> None:
        fate = self._crossings[sender].cross(len(data) + _HEADERS, sender, "other", self.now)
        for at in () if isinstance(fate, str) else fate:
            self._count += 1
            heapq.heappush(self._flying, (at, self._count, receiver, data))
