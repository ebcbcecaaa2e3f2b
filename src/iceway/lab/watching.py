"""The numbered test pattern, shown and watched: which pictures arrive, how they lie, how long each is on its way.

Who shows it notes when each picture was taken; who watches reads the number of each as it is shown, and keeps some for
people to look at. Both ask one clock: the world's, or the monotonic one of a host that both ends run on. What either
noted can be written down as JSON, since on kernels the ends are processes of their own.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from typing import Any

import av

from iceway.media import pattern
from iceway.media.pattern import PatternSource
from iceway.media.picture import Picture, frame_of

Clock = Callable[[], float]

KEPT = 8
"""Pictures of a stream that are kept for people."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One picture as it was shown; `lies` is "unreadable" if its number could not be read."""

    number: int
    lies: str
    at: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A picture that was kept, as JPEG."""

    sighting: Sighting
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Watched:
    """How one stream of the pattern came over: `delays` in seconds from the taking of a picture to its showing, of
    those that arrived.
    """

    taken: int
    arrived: int
    in_order: bool
    upright: bool
    delays: tuple[float, ...]

    @property
    def share(self) -> float:
        return self.arrived / self.taken if self.taken else 0.0

    @property
    def delay(self) -> float | None:
        """The median."""
        return median(self.delays) if self.delays else None


class Showing:
    """A source of numbered pictures that remembers when it was asked for each."""

    def __init__(self, clock: Clock, count: int, width: int = 320, height: int = 180) -> None:
        self.taken: list[float] = []
        self._clock = clock
        self._source = PatternSource(width, height, count)

    def read(self) -> Picture | None:
        picture = self._source.read()
        if picture is not None:
            self.taken.append(self._clock())
        return picture


class Watching:
    """A sink that reads the numbers. `expected` pictures are to come; `KEPT` of them are kept, evenly spread."""

    def __init__(self, clock: Clock, expected: int) -> None:
        self.seen: list[Sighting] = []
        self.kept: list[tuple[Sighting, Picture]] = []
        self._clock = clock
        self._every = max(1, expected // KEPT)

    def show(self, picture: Picture, at: float) -> None:
        found = pattern.read(picture)
        number, lies = (found.number, found.lies) if found is not None else (-1, "unreadable")
        sighting = Sighting(number, lies, self._clock())
        self.seen.append(sighting)
        if len(self.kept) < KEPT and len(self.seen) % self._every == 1 % self._every:
            self.kept.append((sighting, picture))

    def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Account:
    """What one end noted of one stream: when it took its pictures, and what it saw of the other side's."""

    taken: tuple[float, ...]
    seen: tuple[Sighting, ...]
    kept: tuple[Snapshot, ...]

    @classmethod
    def of(cls, showing: Showing | None, watching: Watching | None) -> Account:
        return cls(
            tuple(showing.taken if showing else ()),
            tuple(watching.seen if watching else ()),
            tuple(Snapshot(sighting, jpeg(picture)) for sighting, picture in watching.kept)
            if watching
            else (),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "taken": list(self.taken),
            "seen": [[one.number, one.lies, one.at] for one in self.seen],
            "kept": [
                [self.seen.index(one.sighting), base64.b64encode(one.jpeg).decode()] for one in self.kept
            ],
        }

    @classmethod
    def from_json(cls, noted: dict[str, Any]) -> Account:
        """Of a file that our own program wrote."""
        seen = tuple(Sighting(number, lies, at) for number, lies, at in noted["seen"])
        kept = tuple(Snapshot(seen[place], base64.b64decode(data)) for place, data in noted["kept"])
        return cls(tuple(noted["taken"]), seen, kept)


def compare(taken: Sequence[float], seen: Sequence[Sighting]) -> Watched:
    """Picture `n` of the pattern was taken at `taken[n]`."""
    readable = [one for one in seen if 0 <= one.number < len(taken)]
    numbers = [one.number for one in readable]
    first = {one.number: one.at for one in reversed(readable)}
    return Watched(
        taken=len(taken),
        arrived=len(first),
        in_order=numbers == sorted(numbers) and len(readable) == len(seen),
        upright=all(one.lies == "upright" for one in seen),
        delays=tuple(at - taken[number] for number, at in sorted(first.items())),
    )


def delay_of(sighting: Sighting, taken: Sequence[float]) -> float | None:
    return sighting.at - taken[sighting.number] if 0 <= sighting.number < len(taken) else None


def jpeg(picture: Picture) -> bytes:
    frame = frame_of(picture).reformat(format="yuvj420p")
    coder = av.CodecContext.create("mjpeg", "w")
    coder.width, coder.height, coder.pix_fmt = frame.width, frame.height, frame.format.name
    coder.time_base = Fraction(1, 25)
    return b"".join(bytes(packet) for packet in [*coder.encode(frame), *coder.encode(None)])
