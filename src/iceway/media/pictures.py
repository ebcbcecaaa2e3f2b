"""Where pictures come from and go to: memory and programs here, files in `media/video_files.py`.

A source gives a picture each time it is asked until it gives None; a sink takes pictures with the time at which each
is to be seen, in seconds since the first. Neither knows the time: the session's clock decides when a picture is read,
and the sender's timestamps say when it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from iceway.core.errors import UsageError
from iceway.media.picture import Picture


class PictureSource(Protocol):
    def read(self) -> Picture | None:
        """The picture of this moment, or None at the end and ever after. Its size may change."""
        ...


class PictureSink(Protocol):
    def show(self, picture: Picture, at: float) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Pictures:
    """One stream of pictures in a call: what is shown to the other side and where theirs go.

    Without a source we only watch, without a sink we only show. `frame_rate`: pictures a second that are read from the
    source; `budget`: the bit/s that the stream may take.
    """

    source: PictureSource | None = None
    sink: PictureSink | None = None
    frame_rate: float = 15.0
    budget: int = 600_000

    def __post_init__(self) -> None:
        if self.source is None and self.sink is None:
            raise UsageError("a stream of pictures needs a source, a sink or both")
        if not 0.1 <= self.frame_rate <= 120:
            raise UsageError(f"frame_rate: {self.frame_rate} is not between 0.1 and 120 pictures a second")

    @property
    def direction(self) -> str:
        """Ours, as SDP says it."""
        if self.source is None:
            return "recvonly"
        return "sendonly" if self.sink is None else "sendrecv"


class MemoryPictures:
    """Shows some pictures, once or over and over."""

    def __init__(self, pictures: Sequence[Picture], *, loop: bool = False) -> None:
        self._pictures = pictures
        self._loop = loop and len(pictures) > 0
        self._at = 0

    def read(self) -> Picture | None:
        if self._at >= len(self._pictures):
            if not self._loop:
                return None
            self._at = 0
        self._at += 1
        return self._pictures[self._at - 1]


class MemorySink:
    """Keeps what was seen, with its times."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, Picture]] = []

    def show(self, picture: Picture, at: float) -> None:
        self.seen.append((at, picture))

    def close(self) -> None:
        pass


class NullSink:
    """Looks away."""

    def show(self, picture: Picture, at: float) -> None:
        pass

    def close(self) -> None:
        pass
