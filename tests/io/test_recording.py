"""A recording in the background: the same file, no waiting, and what goes wrong told to the stream that it befell."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.io import recording
from iceway.io.recording import Recording
from iceway.media.files import load
from iceway.media.pattern import numbered, read
from iceway.media.picture import Picture, picture_of
from iceway.media.sound import FRAME, RATE, Samples, silence
from iceway.media.video_files import MkvRecorder

PATIENCE = 10.0


def numbers(path: Path, stream: int = 0) -> list[int]:
    with av.open(str(path)) as container:
        readings = [read(picture_of(frame)) for frame in container.decode(video=stream)]
    return [reading.number for reading in readings if reading is not None]


def test_sound_pictures_and_slides_come_back(tmp_path: Path) -> None:
    path = tmp_path / "call.mkv"
    kept = Recording(path, size=(320, 180), slides=(320, 180))
    for step in range(20):
        kept.sound.write(silence() + np.int16(step))
        if step % 5 == 0:
            kept.pictures.show(numbered(step), step / 50)
            kept.slides.show(numbered(100 + step), step / 50)
    for sink in (kept.sound, kept.pictures, kept.slides):
        sink.close()
        sink.close()
    assert not kept._thread.is_alive(), "the file is whole"
    assert len(load(path)) == 20 * FRAME
    assert (numbers(path), numbers(path, 1)) == ([0, 5, 10, 15], [100, 105, 110, 115])
    assert kept.dropped == 0
    kept.sound.write(silence())
    kept.pictures.show(numbered(1), 9.0)


class Slow(MkvRecorder):
    """A recorder that works when its test lets it."""

    go: threading.Event

    def show(self, picture: Picture, at: float, which: str = "pictures") -> None:
        assert self.go.wait(PATIENCE)
        super().show(picture, at, which)

    def write(self, samples: Samples) -> None:
        assert self.go.wait(PATIENCE)
        super().write(samples)


def test_a_machine_that_is_too_slow_leaves_out_pictures_and_no_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Slow.go = threading.Event()
    monkeypatch.setattr(recording, "MkvRecorder", Slow)
    monkeypatch.setattr(recording, "MAX_PICTURES", 5)
    path = tmp_path / "call.mkv"
    kept = Recording(path, size=(320, 180))
    for step in range(100):
        kept.sound.write(silence())
        if step % 5 == 0:
            kept.pictures.show(numbered(step), step / 50)
    assert kept.dropped in (14, 15), "whoever speaks has not waited"
    Slow.go.set()
    kept.pictures.close()
    kept.sound.close()
    kept._thread.join(PATIENCE)
    assert len(load(path)) == 2 * RATE
    assert numbers(path)[:5] == [0, 5, 10, 15, 20]


def test_a_full_disk_is_told_to_each_stream_once() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    kept = Recording(full, size=(320, 180))
    noise = np.random.default_rng(1)

    def speak() -> None:
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            kept.sound.write(noise.integers(-9999, 9999, FRAME).astype(np.int16))

    with pytest.raises(OSError, match="No space left"):
        speak()
    kept.sound.close()  # was told
    with pytest.raises(OSError, match="No space left"):
        kept.pictures.close()
    kept._thread.join(PATIENCE)
    assert not kept._thread.is_alive()


def test_a_file_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(EnvironmentFailure, match="cannot record"):
        Recording(tmp_path / "no" / "call.mkv")
    assert threading.active_count() == before
