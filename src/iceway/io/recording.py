"""A recording of sound and pictures that is coded and written by a thread of its own, so that no call waits for it.

Order is kept: what came first is written first. Where the machine or the disk is too slow, pictures are left out, and
counted, long before sound is. An error is raised to the sink that it befell, with what comes next. Closing the last
sink waits for the file to be whole, for two seconds at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from iceway.media.files import Sink
from iceway.media.picture import Picture
from iceway.media.pictures import PictureSink
from iceway.media.sound import Samples
from iceway.media.video_files import MkvRecorder

MAX_PICTURES = 45  # that wait to be coded
MAX_PIECES = 3000  # a minute of sound
CLOSING = 2.0  # seconds


class Recording:
    """What `MkvRecorder` is, in the background. `dropped` counts the pictures and pieces of sound left out."""

    def __init__(
        self, path: Path | str, *, size: tuple[int, int] = (640, 360), slides: tuple[int, int] | None = None
    ) -> None:
        recorder = MkvRecorder(path, size=size, slides=slides)
        self.dropped = 0
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._open = 2 if slides is None else 3
        self.sound = _Sound(self, recorder.sound)
        self.pictures = _Pictures(self, recorder.pictures)
        self.slides = _Pictures(self, recorder.slides)
        self._thread = threading.Thread(target=self._run, name=f"iceway {path}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (job := self._work.get()) is not None:
            job()

    def _closed(self) -> None:
        """One of the sinks is; the last one ends the thread."""
        self._open -= 1
        if self._open == 0:
            self._work.put(None)
            self._thread.join(CLOSING)


class _Lane:
    """The way of one stream to the thread."""

    def __init__(self, recording: Recording, limit: int) -> None:
        self._recording = recording
        self._limit = limit
        self._waiting = 0
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._over = False

    def _do(self, job: Callable[[], None]) -> None:
        if self._over:
            return
        if self._failure is not None:
            raise self._failure
        with self._lock:
            if self._waiting >= self._limit:
                self._recording.dropped += 1
                return
            self._waiting += 1
        self._recording._work.put(lambda: self._done(job))

    def _done(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._waiting -= 1
        if self._failure is None:
            self._try(job)

    def _end(self, close: Callable[[], None]) -> None:
        if self._over:
            return
        self._over = True
        told = self._failure
        self._recording._work.put(lambda: self._try(close))
        self._recording._closed()
        if self._failure is not told and self._failure is not None:
            raise self._failure

    def _try(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as failure:
            self._failure = failure


class _Sound(_Lane):
    def __init__(self, recording: Recording, sink: Sink) -> None:
        super().__init__(recording, MAX_PIECES)
        self._sink = sink

    def write(self, samples: Samples) -> None:
        self._do(lambda: self._sink.write(samples))

    def close(self) -> None:
        self._end(self._sink.close)


class _Pictures(_Lane):
    def __init__(self, recording: Recording, sink: PictureSink) -> None:
        super().__init__(recording, MAX_PICTURES)
        self._sink = sink

    def show(self, picture: Picture, at: float) -> None:
        self._do(lambda: self._sink.show(picture, at))

    def close(self) -> None:
        self._end(self._sink.close)
