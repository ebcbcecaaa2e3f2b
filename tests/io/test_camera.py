"""A camera, played by FFmpeg's test source at its own pace; and cameras that are not there."""

from __future__ import annotations

import errno
import time

import av
import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.io import camera
from iceway.io.camera import CameraSource

PATIENCE = 10.0


def until(source: CameraSource, taken: int) -> None:
    give_up = time.monotonic() + PATIENCE
    while source.taken < taken:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_pictures_come_at_the_cameras_pace_whoever_reads() -> None:
    source = CameraSource("testsrc=size=640x360:rate=50,realtime", format="lavfi")
    first = source.read()
    until(source, 10)
    assert source.size == (640, 360)
    later = source.read()
    assert first is not None
    assert later is not None
    assert (first != later).any()
    source.close()
    assert source.read() is None


def test_a_larger_camera_is_scaled_to_fit() -> None:
    source = CameraSource("testsrc=size=1280x960:rate=50,realtime", format="lavfi", size=(640, 360))
    assert source.size == (480, 360)
    source.close()


def test_a_camera_that_is_unplugged_ends_the_pictures() -> None:
    source = CameraSource("testsrc=size=64x36:rate=50:duration=0.2,realtime", format="lavfi")
    give_up = time.monotonic() + PATIENCE
    while source.failure is None:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    with pytest.raises(EnvironmentFailure, match="gives no more pictures"):
        source.read()
    source.close()


def test_what_is_wrong_with_a_camera_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentFailure, match=r"no camera /dev/video99. Plug it in, or name another"):
        CameraSource("/dev/video99")
    with pytest.raises(EnvironmentFailure, match=r"/dev/null is no camera.*iceway devices"):
        CameraSource("/dev/null")
    for number, words in (
        (errno.EACCES, r"no permission.*group video"),
        (errno.EBUSY, r"in use.*Close the program"),
        (errno.EIO, r"the camera /dev/video0 fails: Input/output error"),
    ):
        failing = OSError(number, "Input/output error")

        def fails(*_: object, failing: OSError = failing, **__: object) -> None:
            raise failing

        monkeypatch.setattr(av, "open", fails)
        with pytest.raises(EnvironmentFailure, match=words):
            CameraSource()


def test_the_cameras_of_this_machine(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tmp_path_factory.mktemp("video4linux")
    for name, index, called in (("video10", 0, "Second"), ("video0", 0, "First"), ("video1", 1, "First")):
        (found / name).mkdir()
        (found / name / "index").write_text(f"{index}\n")
        (found / name / "name").write_text(f"{called}\n")
    (found / "video2").mkdir()
    monkeypatch.setattr(camera, "_SYSFS", found)
    assert camera.cameras() == [("/dev/video0", "First"), ("/dev/video10", "Second")]
