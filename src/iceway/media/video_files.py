"""Pictures from files and into files: anything that FFmpeg reads, and Matroska recordings with sound.

A file is read at the rate at which the session asks: what is faster is left out, what is slower is shown again. A
recording keeps each picture's own time, so standstills stay what they were.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer, OutputContainer

from iceway.core.errors import EnvironmentFailure
from iceway.media.picture import Picture, fitting, frame_of, framed, picture_of
from iceway.media.sound import RATE, Samples, silence

LIMIT = 1280, 720

_TICKS = Fraction(1, 1000)  # Matroska counts milliseconds
_RECORDED = 1_000_000  # bit/s
_ONE_PICTURE = 0.1  # seconds that the only picture of a file is shown in each round


class VideoFileSource:
    """Shows the pictures of a file (MP4, MKV, …), once or over and over, scaled to `size`, or down to fit `limit`."""

    def __init__(
        self,
        path: Path | str,
        *,
        frame_rate: float = 15.0,
        loop: bool = False,
        size: tuple[int, int] = (0, 0),
        limit: tuple[int, int] = LIMIT,
    ) -> None:
        self._step = 1 / frame_rate
        self._at = 0.0
        self._timeline = Timeline(path, loop=loop, size=size, limit=limit)

    def read(self) -> Picture | None:
        picture = self._timeline.at(self._at)
        self._at += self._step
        return picture

    def close(self) -> None:
        self._timeline.close()


class Timeline:
    """The pictures of a file and the time of each; time only goes forward."""

    def __init__(
        self,
        path: Path | str,
        *,
        loop: bool = False,
        size: tuple[int, int] = (0, 0),
        limit: tuple[int, int] = LIMIT,
    ) -> None:
        self._path = path
        self._loop = loop
        self._size = size
        self._limit = limit
        self._shown: Picture | None = None
        self._pictures = self._all_rounds()
        self._next = next(self._pictures, None)
        if self._next is None:
            raise EnvironmentFailure(f"{path} holds no picture", "Name a video file.")

    def at(self, time: float) -> Picture | None:
        """The picture of this time; None after the last one was shown once."""
        fresh = False
        while self._next is not None and self._next[0] <= time + 1e-6:
            self._shown, fresh = self._next[1], True
            self._next = next(self._pictures, None)
        return self._shown if fresh or self._next is not None else None

    def close(self) -> None:
        self._next = None
        self._pictures.close()

    def _all_rounds(self) -> Generator[tuple[float, Picture]]:
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
            began += last + (gap or _ONE_PICTURE)

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
                    size = self._size if any(self._size) else fitting(frame.width, frame.height, self._limit)
                    yield at - first, picture_of(frame, *size)

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


def streams_of(path: Path | str) -> set[str]:
    """What a file holds: "audio", "video", or both. Raises EnvironmentFailure if it cannot be read."""
    try:
        with av.open(str(path)) as container:
            return {str(stream.type) for stream in container.streams} & {"audio", "video"}
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EnvironmentFailure(
            f"cannot play {path}: {reason}", "Name a readable WAV or video file."
        ) from error


class MkvRecorder:
    """Records sound and pictures to a Matroska file (PCM and H.264), whole once all of its sinks are closed.

    `sound`, `pictures` and, if wanted, `slides` are the sinks for the sessions of a call. Pictures are scaled to fit the
    recording's size; the first one of a stream belongs to the sound that was heard when it came, and sound that comes
    after pictures begins where they are. Writing and closing raise OSError when the disk will not take it; the file is
    let go of all the same.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        size: tuple[int, int] = (640, 360),
        with_sound: bool = True,
        slides: tuple[int, int] | None = None,
    ) -> None:
        """`slides`: the size of a second stream of pictures."""
        try:
            self._disk = _Disk(path)
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot record to {path}: {error.strerror}", "Name a file in a directory you may write to."
            ) from error
        # A stream that has nothing to say holds the others up so long, in microseconds.
        patience = {"max_interleave_delta": "1000000"}
        self._container = av.open(self._disk, "w", format="matroska", container_options=patience)
        self._tracks = {"pictures": _Track(self._container, size, "Pictures")}
        if slides is not None:
            self._tracks["slides"] = _Track(self._container, slides, "Slides")
        self._audio: av.AudioStream | None = None
        if with_sound:
            self._audio = self._container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        self._heard = 0
        self._open = {*self._tracks, "sound"} if with_sound else {*self._tracks}
        self.pictures = RecordedPictures(self, "pictures")
        self.slides = RecordedPictures(self, "slides")
        self.sound = RecordedSound(self)

    def show(self, picture: Picture, at: float, which: str = "pictures") -> None:
        if which in self._open:
            track = self._tracks[which]
            self._mux(track.stream, track.frame(picture, at, self._heard / RATE))

    def write(self, samples: Samples) -> None:
        if self._audio is None or "sound" not in self._open:
            return
        if self._heard == 0 and (shown := max(track.until for track in self._tracks.values())) > 0:
            samples = np.concatenate([silence(round(shown * RATE)), samples])
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._heard, Fraction(1, RATE)
        self._heard += len(samples)
        self._mux(self._audio, frame)

    def close(self, which: str) -> None:
        """One of the sinks is closed; the last one closes the file."""
        if which not in self._open:
            return
        self._open.discard(which)
        try:
            self._mux(self._audio if which == "sound" else self._tracks[which].stream, None)
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


class _Track:
    """One stream of pictures in a recording."""

    def __init__(self, container: OutputContainer, size: tuple[int, int], title: str) -> None:
        self._size = size
        self.stream = container.add_stream("libx264", rate=30)
        self.stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
        self.stream.width, self.stream.height = size
        self.stream.pix_fmt = "yuv420p"
        self.stream.bit_rate = _RECORDED
        self.stream.codec_context.time_base = _TICKS
        self.stream.codec_context.thread_count = 1
        self.stream.metadata["title"] = title
        self._began: float | None = None
        self._last_pts = -1

    @property
    def until(self) -> float:
        """Seconds from the beginning to the last picture."""
        return float(max(self._last_pts, 0) * _TICKS)

    def frame(self, picture: Picture, at: float, now: float) -> av.VideoFrame:
        """The picture with its time; `now` is how far the sound is."""
        if self._began is None:
            self._began = now - at
        frame = frame_of(framed(picture, *self._size))
        # Two pictures never share an instant: the second of them would be refused.
        self._last_pts = max(self._last_pts + 1, round((at + self._began) / _TICKS))
        frame.pts, frame.time_base = self._last_pts, _TICKS
        return frame


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

    def __init__(self, recorder: MkvRecorder, which: str) -> None:
        self._recorder = recorder
        self._which = which

    def show(self, picture: Picture, at: float) -> None:
        self._recorder.show(picture, at, self._which)

    def close(self) -> None:
        self._recorder.close(self._which)


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
