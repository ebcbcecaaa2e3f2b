"""Sound and pictures of one file: the same moment on both sides, whoever begins late."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.media.movie import Movie
from iceway.media.pattern import numbered, read
from iceway.media.picture import size
from iceway.media.sound import FRAME, Samples, silence
from iceway.media.video_files import MkvRecorder


def spoken(frame: int) -> Samples:
    """The sound of this 20 ms, which says its number."""
    return silence() + np.int16(100 * (frame + 1))


def film(path: Path, pictures: int, sound: int, measures: tuple[int, int] = (320, 180)) -> Path:
    """`pictures` a tenth of a second each, numbered; `sound` frames of 20 ms, each its own number."""
    recorder = MkvRecorder(path, size=measures)
    for frame in range(max(sound, pictures * 5)):
        if frame % 5 == 0 and frame < pictures * 5:
            recorder.pictures.show(numbered(frame // 5, *measures), frame / 50)
        if frame < sound:
            recorder.sound.write(spoken(frame))
    recorder.pictures.close()
    recorder.sound.close()
    return path


def heard(movie: Movie) -> int | None:
    """The number of the next 20 ms of sound, 0 for silence."""
    frame = movie.sound.read()
    return None if frame is None else int(frame[FRAME // 2]) // 100


def seen(movie: Movie) -> int | None:
    picture = movie.pictures.read()
    found = None if picture is None else read(picture)
    return found.number if found else None


def test_the_picture_is_that_of_the_sound(tmp_path: Path) -> None:
    movie = Movie(film(tmp_path / "a.mkv", 4, 20))
    assert seen(movie) == 0, "the first picture stands until there is sound"
    assert seen(movie) == 0
    moments = [(heard(movie), seen(movie)) for _ in range(21)]
    assert moments[:20] == [(frame + 1, frame // 5) for frame in range(20)]
    assert moments[20] == (None, None)


def test_pictures_that_begin_late_begin_where_the_sound_is(tmp_path: Path) -> None:
    movie = Movie(film(tmp_path / "a.mkv", 4, 20))
    for _ in range(13):
        movie.sound.read()
    assert seen(movie) == 2
    assert seen(movie) == 2, "and stand still while the sound does"


@pytest.mark.parametrize(
    ("pictures", "sound", "after"),
    [(4, 8, [(8, 1), (0, 1), (0, 1), (0, 2)]), (2, 20, [(8, 1), (9, 1), (10, 1), (11, 1)])],
    ids=["sound ends first", "pictures end first"],
)
def test_what_is_shorter_is_filled_up(
    tmp_path: Path, pictures: int, sound: int, after: list[tuple[int, int]]
) -> None:
    movie = Movie(film(tmp_path / "a.mkv", pictures, sound))
    for _ in range(7):
        movie.sound.read()
    assert [(heard(movie), seen(movie)) for _ in range(4)] == after
    rest = 0
    while movie.sound.read() is not None:
        rest += 1
    assert rest + 11 == pytest.approx(max(pictures * 5, sound), abs=5)
    assert movie.pictures.read() is None


def test_in_a_loop_both_begin_again_together(tmp_path: Path) -> None:
    movie = Movie(film(tmp_path / "a.mkv", 3, 11), loop=True)
    moments = [(heard(movie), seen(movie)) for _ in range(60)]
    again = moments.index((1, 0), 1)
    assert 11 <= again <= 15
    assert moments[again : 2 * again] == moments[:again]


def test_large_pictures_are_scaled_to_fit(tmp_path: Path) -> None:
    movie = Movie(film(tmp_path / "a.mkv", 1, 5, (640, 360)), limit=(320, 320))
    picture = movie.pictures.read()
    assert picture is not None
    assert size(picture) == (320, 180)


def test_closed_it_is_over(tmp_path: Path) -> None:
    movie = Movie(film(tmp_path / "a.mkv", 3, 11))
    movie.sound.read()
    movie.sound.close()
    assert (movie.sound.read(), movie.pictures.read()) == (None, None)


def test_files_that_lack_one_or_both(tmp_path: Path) -> None:
    recorder = MkvRecorder(tmp_path / "silent.mkv", size=(64, 36), with_sound=False)
    recorder.pictures.show(numbered(1, 64, 36), 0.0)
    recorder.pictures.close()
    with pytest.raises(EnvironmentFailure, match="holds no sound"):
        Movie(tmp_path / "silent.mkv")
    with pytest.raises(EnvironmentFailure, match="No such file"):
        Movie(tmp_path / "none.mp4")
