"""Recordings of pictures and sound, and what is read back from them."""

from __future__ import annotations

import contextlib
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.media.files import ToneSource, WavSink, load
from iceway.media.heard import compare
from iceway.media.pattern import numbered, read
from iceway.media.picture import Picture, picture_of, plain, size
from iceway.media.sound import FRAME, RATE, silence
from iceway.media.supplied import PicturesOut, SoundOut
from iceway.media.video_files import MkvRecorder, VideoFileSource
from iceway.trace.records import Note


def number(picture: Picture | None) -> int | None:
    found = None if picture is None else read(picture)
    return found.number if found else None


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Ten numbered pictures a tenth of a second apart, and a tone."""
    path = tmp_path / "call.mkv"
    recorder, tone = MkvRecorder(path, size=(320, 180)), ToneSource()
    for step in range(10):
        recorder.pictures.show(numbered(step), step / 10)
        for _ in range(5):
            frame = tone.read()
            assert frame is not None
            recorder.sound.write(frame)
    recorder.pictures.close()
    recorder.sound.close()
    return path


def test_pictures_and_sound_come_back(recording: Path) -> None:
    source = VideoFileSource(recording, frame_rate=10)
    assert [number(source.read()) for _ in range(12)] == [*range(10), None, None]
    heard = load(recording)
    assert len(heard) == RATE
    tone = ToneSource()
    said = np.concatenate([frame for frame in (tone.read() for _ in range(50)) if frame is not None])
    assert np.array_equal(heard, said)
    assert compare(said, heard).share == 1.0


def test_what_is_asked_for_faster_is_shown_again_and_slower_is_left_out(recording: Path) -> None:
    fast = VideoFileSource(recording, frame_rate=20)
    assert [number(fast.read()) for _ in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    slow = VideoFileSource(recording, frame_rate=5)
    assert [number(slow.read()) for _ in range(6)] == [0, 2, 4, 6, 8, 9]


def test_over_and_over_and_scaled(recording: Path) -> None:
    source = VideoFileSource(recording, frame_rate=10, loop=True, size=(160, 90))
    shown = [source.read() for _ in range(25)]
    assert [number(picture) for picture in shown] == [*range(10), *range(10), *range(5)]
    assert {size(picture) for picture in shown if picture is not None} == {(160, 90)}


def test_standstills_and_other_sizes_stay_in_a_recording(tmp_path: Path) -> None:
    recorder = MkvRecorder(tmp_path / "a.mkv", size=(320, 180), with_sound=False)
    for step, (at, measures) in enumerate(
        [(0.0, (320, 180)), (0.1, (640, 360)), (0.1, (160, 90)), (2.0, (320, 180))]
    ):
        recorder.pictures.show(numbered(step, *measures), at)
    recorder.pictures.close()
    recorder.pictures.close()
    recorder.pictures.show(plain(8, 8), 3.0)
    with av.open(str(tmp_path / "a.mkv")) as container:
        frames = list(islice(container.decode(video=0), 10))
    assert [frame.time for frame in frames] == pytest.approx([0.0, 0.1, 0.101, 2.0])
    assert {(frame.width, frame.height) for frame in frames} == {(320, 180)}


def test_the_first_picture_belongs_to_the_sound_of_its_time(tmp_path: Path) -> None:
    recorder = MkvRecorder(tmp_path / "a.mkv", size=(64, 36))
    for _ in range(50):
        recorder.sound.write(silence())
    recorder.pictures.show(numbered(1, 64, 36), 0.0)
    recorder.sound.close()
    recorder.pictures.close()
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert next(container.decode(video=0)).time == pytest.approx(1.0)


def test_sound_that_comes_after_pictures_begins_where_they_are(tmp_path: Path) -> None:
    recorder = MkvRecorder(tmp_path / "a.mkv", size=(64, 36))
    for step in range(4):
        recorder.pictures.show(numbered(step, 64, 36), 5 + step / 10)
    recorder.sound.write(silence() + np.int16(7))
    recorder.sound.close()
    recorder.pictures.close()
    heard = load(tmp_path / "a.mkv")
    assert len(heard) == pytest.approx(0.32 * RATE, abs=1)
    assert np.flatnonzero(heard)[0] == pytest.approx(0.3 * RATE, abs=1)


def test_pictures_that_never_come_or_stop_hold_nothing_up(tmp_path: Path) -> None:
    """Sound is written as it is heard; a file that was never closed lacks a few seconds at most."""
    for shown in (0, 10):
        path = tmp_path / f"{shown}.mkv"
        recorder, tone = MkvRecorder(path, size=(64, 36)), ToneSource()
        for frame in range(50 * 30):
            if frame < 5 * shown and frame % 5 == 0:
                recorder.pictures.show(numbered(frame // 5, 64, 36), frame / 50)
            recorder.sound.write(tone.read())
        assert path.stat().st_size > 20 * RATE * 2
        recorder.sound.close()
        recorder.pictures.close()
        assert len(load(path)) == 30 * RATE
        with av.open(str(path)) as container:
            assert len(list(container.decode(video=0))) == shown


def test_slides_are_a_stream_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "call.mkv"
    recorder = MkvRecorder(path, size=(320, 180), slides=(640, 360))
    for step in range(10):
        for _ in range(5):
            recorder.sound.write(silence())
        recorder.pictures.show(numbered(step), step / 10)
        if step >= 5:
            recorder.slides.show(numbered(100 + step, 640, 360), (step - 5) / 10)
    for sink in (recorder.pictures, recorder.slides, recorder.sound):
        sink.close()
    with av.open(str(path)) as container:
        assert [stream.metadata.get("title") for stream in container.streams.video] == ["Pictures", "Slides"]
        seen = [(frame.time, number(picture_of(frame))) for frame in container.decode(video=1)]
    assert [found for _, found in seen] == [105, 106, 107, 108, 109]
    assert seen[0][0] == pytest.approx(0.6)


def test_files_that_cannot_be_shown_or_written(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    sound = WavSink(tmp_path / "sound.wav")
    sound.write(silence())
    sound.close()
    for name in ("none.mp4", "text.mp4", "sound.wav"):
        with pytest.raises(EnvironmentFailure):
            VideoFileSource(tmp_path / name)
    with pytest.raises(EnvironmentFailure):
        MkvRecorder(tmp_path / "no" / "a.mkv")


def test_a_file_that_is_cut_ends_early(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:-60_000])
    source = VideoFileSource(recording, frame_rate=10)
    numbers = [number(source.read()) for _ in range(12)]
    assert numbers[0] == 0
    assert numbers[-1] is None


def test_a_full_disk_is_an_os_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    recorder = MkvRecorder(full, size=(320, 180))
    noise = np.random.default_rng(1)

    def fill() -> None:
        for step in range(100):
            recorder.pictures.show(noise.integers(0, 255, (270, 320)).astype(np.uint8), step / 10)
            recorder.sound.write(silence())

    with pytest.raises(OSError, match="No space left"):
        fill()
    for sink in (recorder.sound, recorder.pictures):
        with contextlib.suppress(OSError):
            sink.close()
    recorder.pictures.show(plain(320, 180), 99.0)  # is let go of


def test_a_full_disk_ends_a_call_s_recording_with_a_note_for_each_stream() -> None:
    """Sound and pictures of one call into one recording, as its sessions do it."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    notes: list[Note] = []
    recorder = MkvRecorder(full, size=(320, 180), slides=(320, 180))
    sound = SoundOut(recorder.sound, notes.append)
    pictures = [PicturesOut(sink, notes.append) for sink in (recorder.pictures, recorder.slides)]
    noise = np.random.default_rng(1)
    for step in range(100):
        sound.write(noise.integers(-9999, 9999, FRAME).astype(np.int16))
        for sink in pictures:
            sink.show(noise.integers(0, 255, (270, 320)).astype(np.uint8), step / 10)
    for one in (sound, *pictures):
        one.close()
    assert len([note for note in notes if "is not recorded from here on: No space left" in note.text]) == 3
