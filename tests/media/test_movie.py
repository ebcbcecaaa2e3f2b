"""Sound and pictures of one file: the same moment on both sides, whoever begins late."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.media.movie import Movie
from iceway.media.pattern import numbered, read
from iceway.media.picture import frame_of, size
from iceway.media.sound import FRAME, RATE, Samples, silence
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


@pytest.mark.parametrize(("sound_from", "pictures_from"), [(0.0, 0.4), (0.4, 0.0), (1.0, 1.2)])
def test_one_may_begin_after_the_other(tmp_path: Path, sound_from: float, pictures_from: float) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30)
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        video.width, video.height, video.pix_fmt, video.options = 320, 180, "yuv420p", {"tune": "zerolatency"}
        video.codec_context.time_base = Fraction(1, 1000)
        for number in range(6):
            picture = frame_of(numbered(number))
            picture.pts, picture.time_base = round(1000 * (pictures_from + number / 10)), Fraction(1, 1000)
            container.mux(video.encode(picture))
        for number in range(30):
            sound = av.AudioFrame.from_ndarray(spoken(number)[np.newaxis, :], format="s16", layout="mono")
            sound.sample_rate, sound.time_base = RATE, Fraction(1, RATE)
            sound.pts = round(RATE * sound_from) + number * FRAME
            container.mux(audio.encode(sound))
        for stream in (video, audio):
            container.mux(stream.encode(None))
    movie = Movie(path)
    moments = [(heard(movie), seen(movie)) for _ in range(30)]
    start = min(sound_from, pictures_from)
    silent, still = round(50 * (sound_from - start)), round(50 * (pictures_from - start))
    expected = [(max(0, at + 1 - silent), max(0, (at - still) // 5)) for at in range(30)]
    assert moments == expected


def test_a_film_as_cameras_make_it(tmp_path: Path) -> None:
    """MP4 with H.264, pictures that are coded out of order, and AAC."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=10), container.add_stream("aac", rate=44_100)
        video.width, video.height, video.pix_fmt, video.options = (
            320,
            180,
            "yuv420p",
            {"bf": "2", "crf": "18"},
        )
        click = np.zeros((1, 44_100), np.int16)
        click[0, 22_050:26_460:40] = 20_000  # between half a second and 0.6 s
        for number in range(10):
            container.mux(video.encode(frame_of(numbered(number))))
        frame = av.AudioFrame.from_ndarray(click, format="s16", layout="mono")
        frame.sample_rate = 44_100
        container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode(None))
    movie = Movie(path)
    clicks = []
    for _ in range(50):
        frame_heard = movie.sound.read()
        assert frame_heard is not None
        if np.abs(frame_heard).max() > 5_000:
            clicks.append(seen(movie))
    assert clicks
    assert {4, 5, 6} >= set(clicks)
    assert 5 in clicks


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
