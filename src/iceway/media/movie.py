"""A file with sound and pictures, played in step: the sound is the clock.

The picture that is shown is the one that belongs to the sound that was last played, so both stay together however late
the pictures of a call begin, and both stand still while it is held. What is shorter is filled up, sound with silence and
pictures with the last one; in a loop both begin again together. In the file, too, one may begin after the other.
"""

from __future__ import annotations

from pathlib import Path

import av

from iceway.media.files import FileSource
from iceway.media.picture import Picture
from iceway.media.sound import FRAME_DURATION, Samples, silence
from iceway.media.video_files import LIMIT, Timeline


class Movie:
    """`sound` and `pictures` are the sources for the two sessions of a call."""

    def __init__(self, path: Path | str, *, loop: bool = False, limit: tuple[int, int] = LIMIT) -> None:
        self._path = path
        self._loop = loop
        self._limit = limit
        self._over = False
        self._heard = FileSource(path)
        self._seen = Timeline(path, limit=limit)
        self._picture = self._seen.at(0.0)
        lag = _lag(path)
        self._sound_from, self._pictures_from = max(0.0, -lag), max(0.0, lag)
        self._at = 0.0
        self.sound = _Sound(self)
        self.pictures = _Pictures(self)

    def _play(self) -> Samples | None:
        if self._over:
            return None
        frame = silence() if self._at < self._sound_from else self._heard.read()
        picture = (
            self._picture if self._at < self._pictures_from else self._seen.at(self._at - self._pictures_from)
        )
        if frame is None and picture is None:
            if not self._loop or self._at == 0:
                self._over = True
                return None
            self._begin_again()
            return self._play()
        self._picture = self._picture if picture is None else picture
        self._at += FRAME_DURATION
        return silence() if frame is None else frame

    def _begin_again(self) -> None:
        self._close()
        self._heard = FileSource(self._path)
        self._seen = Timeline(self._path, limit=self._limit)
        self._at = 0.0

    def _show(self) -> Picture | None:
        return None if self._over else self._picture

    def _close(self) -> None:
        self._heard.close()
        self._seen.close()


class _Sound:
    def __init__(self, movie: Movie) -> None:
        self._movie = movie

    def read(self) -> Samples | None:
        return self._movie._play()

    def close(self) -> None:
        self._movie._over = True
        self._movie._close()


class _Pictures:
    def __init__(self, movie: Movie) -> None:
        self._movie = movie

    def read(self) -> Picture | None:
        return self._movie._show()


def _lag(path: Path | str) -> float:
    """Seconds from the first sound in a file to its first picture."""
    with av.open(str(path)) as container:
        pictures = next(iter(container.decode(container.streams.video[0])), None)
    with av.open(str(path)) as container:
        sound = next(iter(container.decode(container.streams.audio[0])), None)
    if pictures is None or sound is None:
        return 0.0
    return (pictures.time or 0.0) - (sound.time or 0.0)
