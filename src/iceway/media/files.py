"""Where sound comes from and goes to: recordings, tones, silence; files and memory.

A source gives frames of 20 ms (48 kHz mono) until it gives None; a sink takes them in order. Neither knows
the time: the session's clock decides when a frame is read or written.
"""

from __future__ import annotations

import wave
from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path
from typing import Protocol

import av
import numpy as np

from iceway.core.errors import EnvironmentFailure
from iceway.media.resample import Decimator
from iceway.media.sound import FRAME, RATE, Samples, silence


class Source(Protocol):
    def read(self) -> Samples | None:
        """The next `FRAME` samples, or None at the end and ever after."""
        ...


class Sink(Protocol):
    def write(self, samples: Samples) -> None: ...

    def close(self) -> None: ...


class MemorySource:
    """Plays an array, once or over and over; the last frame is filled up with silence."""

    def __init__(self, samples: Samples, *, loop: bool = False) -> None:
        self._samples = samples
        self._loop = loop and len(samples) > 0
        self._at = 0

    def read(self) -> Samples | None:
        if self._at >= len(self._samples):
            if not self._loop:
                return None
            self._at = 0
        frame = self._samples[self._at : self._at + FRAME]
        self._at += FRAME
        if len(frame) < FRAME:
            frame = np.concatenate([frame, silence(FRAME - len(frame))])
        return frame


class FileSource:
    """Plays a recording, of any rate and any number of channels (WAV, MP4, or whatever FFmpeg reads), as it is read.

    Where a file is damaged it raises EnvironmentFailure, at once if that is at its beginning.
    """

    def __init__(self, path: Path | str, *, loop: bool = False) -> None:
        self._frames = self._played(path, loop)
        self._next = next(self._frames, None)

    def read(self) -> Samples | None:
        frame = self._next
        if frame is not None:
            self._next = next(self._frames, None)
        return frame

    def close(self) -> None:
        self._next = None
        self._frames.close()

    def _played(self, path: Path | str, loop: bool) -> Generator[Samples]:
        held = silence(0)
        while True:
            heard = False
            for piece in decoded(path):
                heard = True
                held = np.concatenate([held, piece])
                whole = len(held) - len(held) % FRAME
                yield from held[:whole].reshape(-1, FRAME)
                held = held[whole:]
            if not (loop and heard):
                break
        if len(held):
            yield np.concatenate([held, silence(FRAME - len(held))])


class ToneSource:
    """A sine wave without end. `level` is the share of full scale."""

    def __init__(self, frequency: float = 440.0, level: float = 0.25) -> None:
        self._step = 2 * np.pi * frequency / RATE
        self._amplitude = 32767 * level
        self._at = 0

    def read(self) -> Samples | None:
        phase = (self._at + np.arange(FRAME)) * self._step
        self._at += FRAME
        tone: Samples = np.rint(np.sin(phase) * self._amplitude).astype(np.int16)
        return tone


class SilenceSource:
    """Silence without end: keeps a stream flowing that has nothing to say."""

    def read(self) -> Samples | None:
        return silence()


class MemorySink:
    """Keeps what was heard."""

    def __init__(self) -> None:
        self._pieces: list[Samples] = []

    def write(self, samples: Samples) -> None:
        self._pieces.append(samples)

    def close(self) -> None:
        pass

    @property
    def samples(self) -> Samples:
        """All of it so far, 48 kHz mono."""
        return np.concatenate(self._pieces) if self._pieces else silence(0)


class NullSink:
    """Hears nothing."""

    def write(self, samples: Samples) -> None:
        pass

    def close(self) -> None:
        pass


class WavSink:
    """Records to a WAV file, 16 bits mono, at 48 or 16 kHz. The file is whole once closed.

    `write` and `close` raise OSError when the disk will not take it; the file is let go of all the same.
    """

    def __init__(self, path: Path | str, rate: int = RATE) -> None:
        if rate not in (48_000, 16_000):
            raise ValueError(f"a recording has 48000 or 16000 samples a second, not {rate}")
        try:
            self._raw = open(path, "wb")  # noqa: SIM115 (closed by `close`)
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot record to {path}: {error.strerror}", "Name a file in a directory you may write to."
            ) from error
        self._file = wave.open(self._raw, "wb")  # noqa: SIM115
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(rate)
        self._down = Decimator(RATE // rate) if rate != RATE else None
        self._closed = False

    def write(self, samples: Samples) -> None:
        if self._closed:
            return
        self._file.writeframes((self._down.process(samples) if self._down else samples).tobytes())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                self._file.close()
            finally:
                self._raw.close()


def load(path: Path | str) -> Samples:
    """A whole recording as 48 kHz mono. Raises EnvironmentFailure if it cannot be read."""
    pieces = list(decoded(path))
    return np.concatenate(pieces) if pieces else silence(0)


def decoded(path: Path | str) -> Iterator[Samples]:
    """A recording piece by piece, as 48 kHz mono. Raises EnvironmentFailure where it cannot be read."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise EnvironmentFailure(f"{path} holds no sound", "Name a WAV file.")
            for frame in chain(container.decode(container.streams.audio[0]), [None]):
                for piece in resampler.resample(frame):
                    yield piece.to_ndarray()[0].astype(np.int16)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EnvironmentFailure(f"cannot play {path}: {reason}", "Name a readable WAV file.") from error
