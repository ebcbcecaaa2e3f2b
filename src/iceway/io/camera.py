"""A camera as a source of pictures: V4L2 on Linux, by PyAV.

Every picture is taken off the device as it comes, so that what is sent is never older than one picture. A camera gives
the size that it has which is nearest to the one asked for; what is larger is scaled down to fit.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer

from iceway.core.errors import EnvironmentFailure
from iceway.io.capture import CapturedPictures
from iceway.media.picture import Picture, fitting, picture_of

DEVICE = "/dev/video0"
_SYSFS = Path("/sys/class/video4linux")


class CameraSource(CapturedPictures):
    """`format` is FFmpeg's name of the kind of device, None for whatever a file is."""

    def __init__(
        self,
        device: str = DEVICE,
        *,
        size: tuple[int, int] = (640, 360),
        frame_rate: int = 30,
        format: str | None = "v4l2",
    ) -> None:
        options = {"video_size": f"{size[0]}x{size[1]}", "framerate": str(frame_rate)}
        super().__init__(_Camera(device, format, options if format == "v4l2" else {}, size), None)


def cameras() -> list[tuple[str, str]]:
    """(device, name) each that this machine has."""
    found = []
    for entry in sorted(_SYSFS.glob("video*"), key=_number):
        try:
            # Cameras have several devices; those past the first are for metadata.
            if (entry / "index").read_text().strip() == "0":
                found.append((f"/dev/{entry.name}", (entry / "name").read_text().strip()))
        except OSError:
            continue
    return found


class _Camera:
    def __init__(
        self, device: str, format: str | None, options: dict[str, str], size: tuple[int, int]
    ) -> None:
        self.name = f"camera {device}"
        self._device = device
        self._size = size
        self._container = self._opened(format, options)
        self._pictures = self._decoded()

    def grab(self) -> Picture:
        picture = next(self._pictures, None)
        if picture is None:
            raise EnvironmentFailure(f"the camera {self._device} gives no more pictures")
        return picture

    def close(self) -> None:
        self._container.close()

    def _opened(self, format: str | None, options: dict[str, str]) -> InputContainer:
        try:
            return av.open(self._device, format=format, options=options)
        except (av.error.FFmpegError, OSError) as error:
            raise _failure(self._device, error) from error

    def _decoded(self) -> Iterator[Picture]:
        try:
            for frame in self._container.decode(video=0):
                yield picture_of(frame, *fitting(frame.width, frame.height, self._size))
        except (av.error.FFmpegError, OSError) as error:
            raise _failure(self._device, error) from error


def _failure(device: str, error: av.error.FFmpegError | OSError) -> EnvironmentFailure:
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            names = ", ".join(name for name, _ in cameras()) or "none"
            return EnvironmentFailure(
                f"there is no camera {device}", f"Plug it in, or name another; this machine has: {names}."
            )
        case errno.EACCES | errno.EPERM:
            return EnvironmentFailure(
                f"no permission for the camera {device}",
                "Join the group video (usermod -aG video USER) and log in again.",
            )
        case errno.EBUSY:
            return EnvironmentFailure(
                f"the camera {device} is in use", "Close the program that uses it, or name another camera."
            )
        case errno.EINVAL | errno.ENOTTY:
            return EnvironmentFailure(
                f"{device} is no camera, or has no such size", "`iceway devices` lists the cameras."
            )
        case _:
            return EnvironmentFailure(f"the camera {device} fails: {error.strerror or error}")


def _number(entry: Path) -> int:
    digits = re.search(r"\d+", entry.name)
    return int(digits.group()) if digits else 0
