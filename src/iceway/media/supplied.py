"""What programs supply, kept from ending a call: sources and sinks that fail are let go of, and why is said once.

A source that raises is at its end; what it gives that is no frame or no picture is replaced. A sink that raises takes no
more, and is closed. Nobody knows what a program's own code may raise, so everything is caught, here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from iceway.media.files import Sink, Source
from iceway.media.picture import MAX_PIXELS, Picture, plain, size
from iceway.media.pictures import PictureSink, PictureSource
from iceway.media.sound import FRAME, Samples, silence
from iceway.trace.records import Note

Tell = Callable[[Note], None]


class SoundIn:
    """A source of sound; what it gives in place of a frame is silence."""

    def __init__(self, source: Source, tell: Tell) -> None:
        self._source: Source | None = source
        self._tell = tell
        self._complained = False

    def read(self) -> Samples | None:
        if self._source is None:
            return None
        try:
            frame = self._source.read()
        except Exception as error:
            self._source = None
            self._tell(
                Note("error", f"the source of sound failed, silence is sent from here on: {_why(error)}")
            )
            return None
        if frame is None or (_is(frame, np.int16) and frame.shape == (FRAME,)):
            return frame
        if not self._complained:
            self._complained = True
            self._tell(
                Note("error", f"the source gives {_told(frame)}, not {FRAME} samples of int16: left out")
            )
        return silence()


class PicturesIn:
    """A source of pictures; in place of what cannot be coded the last picture is shown again, or a black one."""

    def __init__(self, source: PictureSource, tell: Tell) -> None:
        self._source: PictureSource | None = source
        self._tell = tell
        self._last = plain(320, 180)
        self._complained = False

    def read(self) -> Picture | None:
        if self._source is None:
            return None
        try:
            picture = self._source.read()
        except Exception as error:
            self._source = None
            self._tell(
                Note("error", f"the source of pictures failed, none is sent from here on: {_why(error)}")
            )
            return None
        if picture is None:
            return None
        if _can_be_coded(picture):
            self._last = picture
        elif not self._complained:
            self._complained = True
            wanted = f"one 4:2:0 array of uint8, width and height even, at most {MAX_PIXELS} pixels"
            self._tell(Note("error", f"the source gives {_told(picture)}, which cannot be sent ({wanted})"))
        return self._last


class SoundOut:
    """A sink of sound."""

    def __init__(self, sink: Sink, tell: Tell) -> None:
        self._sink: Sink | None = sink
        self._tell = tell

    def write(self, samples: Samples) -> None:
        if self._sink is not None:
            try:
                self._sink.write(samples)
            except Exception as error:
                self._tell(Note("warning", f"what is heard is not recorded from here on: {_why(error)}"))
                self.close()

    def close(self) -> None:
        sink, self._sink = self._sink, None
        _close(sink, self._tell)


class PicturesOut:
    """A sink of pictures."""

    def __init__(self, sink: PictureSink, tell: Tell) -> None:
        self._sink: PictureSink | None = sink
        self._tell = tell

    def show(self, picture: Picture, at: float) -> None:
        if self._sink is not None:
            try:
                self._sink.show(picture, at)
            except Exception as error:
                self._tell(Note("warning", f"what is seen is not recorded from here on: {_why(error)}"))
                self.close()

    def close(self) -> None:
        sink, self._sink = self._sink, None
        _close(sink, self._tell)


def let_go(supplied: object, tell: Tell | None = None) -> None:
    """Close what can be closed: a source that holds a device or a file has `close`, others need none."""
    close = getattr(supplied, "close", None)
    if callable(close):
        try:
            close()
        except Exception as error:
            if tell is not None:
                tell(Note("warning", f"what the call was given could not be closed: {_why(error)}"))


def _close(sink: Sink | PictureSink | None, tell: Tell) -> None:
    if sink is not None:
        try:
            sink.close()
        except Exception as error:
            tell(Note("warning", f"the recording may lack its end: {_why(error)}"))


def _can_be_coded(picture: Picture) -> bool:
    if not _is(picture, np.uint8) or picture.ndim != 2 or picture.shape[0] % 3:
        return False
    width, height = size(picture)
    return not (width % 2 or height % 2) and 0 < width * height <= MAX_PIXELS


def _is(given: object, kind: type[np.generic]) -> bool:
    return isinstance(given, np.ndarray) and given.dtype == kind


def _told(given: object) -> str:
    if isinstance(given, np.ndarray):
        return f"{'×'.join(map(str, given.shape))} of {given.dtype}"
    return f"a {type(given).__name__}"


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"
