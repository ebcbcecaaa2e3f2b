"""Pictures of a device, taken by a thread of their own, so that whoever asks for one never waits.

`CapturedPictures.read` gives the latest picture, however often it is asked. The thread of a device that sets its own
pace (a camera) takes every picture, lest they grow old in a queue; a device without one (a screen) is looked at once
after each reading, `frame_rate` times a second at most, and once a second while nobody asks: the first picture of a
stream is never older than that.
"""

from __future__ import annotations

import threading
from typing import Protocol

from iceway.media.picture import Picture, size

IDLE = 1.0  # seconds
CLOSING = 0.2  # seconds at most that a call waits for a device to let go, which then does so by itself


class Device(Protocol):
    """Something to take pictures of. Used by one thread at a time."""

    name: str

    def grab(self) -> Picture:
        """The picture of this moment. Raises EnvironmentFailure when there are no more."""
        ...

    def close(self) -> None: ...


class CapturedPictures:
    """A device as a source of pictures. The first one is taken at once, so what is wrong is raised here."""

    def __init__(self, device: Device, frame_rate: float | None) -> None:
        """`frame_rate` None: the device sets the pace."""
        self.failure: Exception | None = None
        self.taken = 0
        self._device = device
        self._interval = None if frame_rate is None else 1 / frame_rate
        self._wanted = threading.Event()
        self._closing = threading.Event()
        try:
            self._latest = self._grabbed()
        except BaseException:
            device.close()
            raise
        self._thread = threading.Thread(target=self._run, name=f"iceway {device.name}", daemon=True)
        self._thread.start()

    @property
    def size(self) -> tuple[int, int]:
        return size(self._latest)

    def read(self) -> Picture | None:
        """The latest picture; None once the source is closed. Raises `failure` once the device has given out."""
        self._wanted.set()
        if self._closing.is_set():
            return None
        if self.failure is not None:
            raise self.failure
        return self._latest

    def close(self) -> None:
        """Let go of the device."""
        self._closing.set()
        self._wanted.set()
        if self._thread is not threading.current_thread():
            self._thread.join(CLOSING)

    def _grabbed(self) -> Picture:
        picture = self._device.grab()
        self.taken += 1
        return picture

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                if self._interval is not None:
                    self._closing.wait(self._interval)
                    self._wanted.wait(IDLE)
                    self._wanted.clear()
                if not self._closing.is_set():
                    self._latest = self._grabbed()
        except Exception as failure:
            self.failure = failure
        finally:
            self._device.close()
