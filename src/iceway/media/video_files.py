"""Pictures from files and into files: anything that FFmpeg reads, and Matroska recordings with sound.

A file is read at the rate at which the session asks: what is faster is left out, what is slower is shown again. A
recording keeps each picture's own time, so standstills stay what they were.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from iceway.core.errors import EnvironmentFailure
from iceway.media.picture import Picture, frame_of, picture_of
from iceway.media.sound import RATE, Samples

_TICKS = Fraction(1, 1000)  # Matroska counts milliseconds
_RECORDED = 1_000_000  # bit/s


class VideoFileSource:
    """Shows the pictures of a file (MP4, MKV, …), once or over and over, scaled to `size` if one is given."""

    def __init__(
        self,
        path: Path | str,
        *,
        frame_rate: float = 15.0,
        loop: bool = False,
        size: tuple[int, int] = (0, 0),
    ) -> None:
        self._path = path
        self._step = 1 / frame_rate
        self._loop = loop
        self._size = size
        self._at = 0.0
        self._shown: Picture | None = None
        self._timeline = self._pictures()
        self._next = next(self._timeline, None)
        if self._next is None:
            raise EnvironmentFailure(f"{path} holds no picture", "Name a video file.")

    def read(self) -> Picture | None:
        fresh = False
        while self._next is not None and self._next[0] <= self._at + 1e-6:
            self._shown, fresh = self._next[1], True
            self._next = next(self._timeline, None)
        self._at += self._step
        return self._shown if fresh or self._next is not None else None

    def _pictures(self) -> Iterator[tuple[float, Picture]]:
        """(time, picture) each, through all rounds."""
        began = 0.0
        while True:
            last = gap = None
            for at, picture in self._decoded():
                gap = at - last if last is not None else gap
                last = at
                yield began + at, picture
            if not self._loop or last is None:
                return
            began += last + (gap or self._step)

    def _decoded(self) -> Iterator[tuple[float, Picture]]:
        """(time since the first, picture) each; where a file is damaged, it ends."""
        with self._opened() as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            first: float | None = None
            with suppress(av.error.FFmpegError):
                for frame in container.decode(stream):
                    at = float(frame.time or 0.0)
                    first = at if first is None else first
                    yield at - first, picture_of(frame, *self._size)

    def _opened(self) -> InputContainer:
        try:
            container = av.open(str(self._path))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise EnvironmentFailure(
                f"cannot play {self._path}: {reason}", "Name a readable video file."
            ) from error
        if not container.streams.video:
            container.close()
            raise EnvironmentFailure(f"{self._path} holds no picture", "Name a video file.")
        return container


class MkvRecorder:
    """Records pictures and sound to a Matroska file (H.264 and PCM), whole once both of its sinks are closed.

    `pictures` and `sound` are the sinks for the two sessions of a call. Pictures are scaled to the recording's size; the
    first one belongs to the sound that was heard when it came. Writing and closing raise OSError when the disk will not
    take it; the file is let go of all the same.
    """

    def __init__(
        self, path: Path | str, *, size: tuple[int, int] = (640, 360), with_sound: bool = True
    ) -> None:
        try:
            self._disk = _Disk(path)
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot record to {path}: {error.strerror}", "Name a file in a directory you may write to."
            ) from error
        self._container = av.open(self._disk, "w", format="matroska")
        self._size = size
        self._video = self._container.add_stream("libx264", rate=30)
        self._video.options = {"preset": "ultrafast", "tune": "zerolatency"}
        self._video.width, self._video.height = size
        self._video.pix_fmt = "yuv420p"
        self._video.bit_rate = _RECORDED
        self._video.codec_context.time_base = _TICKS
        self._video.codec_context.thread_count = 1
        self._audio: av.AudioStream | None = None
        if with_sound:
            self._audio = self._container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        self._heard = 0
        self._began: float | None = None
        self._last_pts = -1
        self._open = {"pictures", "sound"} if with_sound else {"pictures"}
        self.pictures = RecordedPictures(self)
        self.sound = RecordedSound(self)

    def show(self, picture: Picture, at: float) -> None:
        if "pictures" not in self._open:
            return
        if self._began is None:
            self._began = self._heard / RATE - at
        frame = frame_of(picture)
        if (frame.width, frame.height) != self._size:
            frame = frame.reformat(width=self._size[0], height=self._size[1])
        # Two pictures never share an instant: the second of them would be refused.
        self._last_pts = max(self._last_pts + 1, round((at + self._began) / _TICKS))
        frame.pts, frame.time_base = self._last_pts, _TICKS
        self._mux(self._video, frame)

    def write(self, samples: Samples) -> None:
        if self._audio is None or "sound" not in self._open:
            return
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._heard, Fraction(1, RATE)
        self._heard += len(samples)
        self._mux(self._audio, frame)

    def close(self, which: str) -> None:
        """One of the two sinks is closed; the last one closes the file."""
        if which not in self._open:
            return
        self._open.discard(which)
        try:
            self._mux(self._video if which == "pictures" else self._audio, None)
        finally:
            if not self._open:
                self._finish()

    def _finish(self) -> None:
        try:
            self._container.close()
        except av.error.FFmpegError as error:
            raise _as_os_error(error) from error
        finally:
            self._disk.close()
        self._disk.check()

    def _mux(
        self, stream: av.VideoStream | av.AudioStream | None, frame: av.VideoFrame | av.AudioFrame | None
    ) -> None:
        if stream is None:
            return
        try:
            for packet in stream.encode(frame):  # type: ignore[arg-type]  # each stream gets its own frames
                self._container.mux(packet)
        except av.error.FFmpegError as error:
            raise _as_os_error(error) from error
        self._disk.check()


class _Disk:
    """The file under a container. FFmpeg does not tell of writes that failed between two packets; `check` does."""

    def __init__(self, path: Path | str) -> None:
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._error = self._error or error
        return len(data)

    def seek(self, to: int, whence: int = 0) -> int:
        return self._file.seek(to, whence)

    def tell(self) -> int:
        return self._file.tell()

    def check(self) -> None:
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror)

    def close(self) -> None:
        self._file.close()


class RecordedPictures:
    """The recorder as a sink of pictures."""

    def __init__(self, recorder: MkvRecorder) -> None:
        self._recorder = recorder

    def show(self, picture: Picture, at: float) -> None:
        self._recorder.show(picture, at)

    def close(self) -> None:
        self._recorder.close("pictures")


class RecordedSound:
    """The recorder as a sink of sound."""

    def __init__(self, recorder: MkvRecorder) -> None:
        self._recorder = recorder

    def write(self, samples: Samples) -> None:
        self._recorder.write(samples)

    def close(self) -> None:
        self._recorder.close("sound")


def _as_os_error(error: av.error.FFmpegError) -> OSError:
    return OSError(error.errno or errno.EIO, error.strerror or str(error))
