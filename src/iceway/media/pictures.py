"""Where pictures come from and go to: memory and programs here, files in `media/video_files.py`.

A source gives a picture each time it is asked until it gives None; a sink takes pictures with the time at which each
is to be seen, in seconds since the first. Neither knows the time: the session's clock decides when a picture is read,
and the sender's timestamps say when it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from iceway.media.picture import Picture


class PictureSource(Protocol):
    def read(self) -> Picture | None:
        """The picture of this moment, or None at the end and ever after. Its size may change."""
        ...


class PictureSink(Protocol):
    def show(self, picture: Picture, at: float) -> None: ...

    def close(self) -> None: ...


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
