"""The sound of one call on its way between the call and the devices: measured, and recorded when wanted.

To the call it is source and sink at once. Devices are opened with the first frame, so that a call which merely rings
listens to nobody; if they cannot be, the call is silent and `trouble` says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iceway.core.errors import IcewayError

if TYPE_CHECKING:
    from iceway.media.files import Sink, Source
    from iceway.media.sound import Samples

FLOOR = -60.0  # dB below full scale that count as silence
_FALL = 3.0  # dB by which a level falls from one look to the next
_IN_STEP = 5  # frames of ours that wait for a frame of theirs to be recorded with


@dataclass(frozen=True, slots=True)
class Devices:
    """How to open what we speak into and what we hear with."""

    source: Callable[[], Source]
    sink: Callable[[], Sink]


class Level:
    """How loud it is, in dB below full scale: rises at once, falls slowly, as eyes like it."""

    def __init__(self) -> None:
        self.now = FLOOR
        self.peak = FLOOR
        self._latest = FLOOR

    def hear(self, samples: Samples) -> None:
        """One frame went by."""
        self._latest = max(self._latest, loudness(samples))

    def look(self) -> float:
        """The level to show, once for each time the screen is drawn."""
        self.now = max(self._latest, self.now - _FALL, FLOOR)
        self.peak = max(self.now, self.peak - _FALL / 6)
        self._latest = FLOOR
        return self.now


class Voice:
    """A `Source` and a `Sink`; `said` is what leaves, `heard` what comes in."""

    def __init__(self, devices: Devices) -> None:
        self.said = Level()
        self.heard = Level()
        self.trouble = ""
        self.recording: Path | None = None
        self.closed = False
        self.hears = False  # anything at all of the other side
        self._devices: Devices | None = devices
        self._source: Source | None = None
        self._sink: Sink | None = None
        self._file: Sink | None = None
        self._ours: deque[Samples] = deque(maxlen=_IN_STEP)

    def read(self) -> Samples | None:
        self._open()
        samples = self._source.read() if self._source is not None else _nothing()
        if samples is not None:
            self.said.hear(samples)
            if self._file is not None:
                self._ours.append(samples)
        return samples

    def write(self, samples: Samples) -> None:
        self._open()
        self.hears = True
        self.heard.hear(samples)
        if self._sink is not None:
            self._sink.write(samples)
        if self._file is not None:
            self._keep(samples)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._devices = None
        self.stop_recording()
        for device in (self._sink, self._source):
            if (let_go := getattr(device, "close", None)) is not None:
                let_go()

    def record(self, path: Path) -> None:
        """Write both sides, mixed, to a WAV file from now on. Raises EnvironmentFailure if that cannot be."""
        from iceway.media.files import WavSink

        self.stop_recording()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = WavSink(path)
        self.recording = path

    def stop_recording(self) -> None:
        file, self._file, self.recording = self._file, None, None
        self._ours.clear()
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self.trouble = f"the recording is not whole: {error.strerror}"

    def _open(self) -> None:
        devices, self._devices = self._devices, None
        if devices is None:
            return
        troubles = []
        try:
            self._source = devices.source()
        except IcewayError as error:
            troubles.append(str(error))
        try:
            self._sink = devices.sink()
        except IcewayError as error:
            troubles.append(str(error))
        self.trouble = "\n".join(dict.fromkeys(troubles))

    def _keep(self, samples: Samples) -> None:
        import numpy as np

        ours = self._ours.popleft() if self._ours else _nothing()
        mixed = samples.astype(np.int32) + ours
        try:
            assert self._file is not None
            self._file.write(np.clip(mixed, -32768, 32767).astype(np.int16))
        except OSError as error:
            self.stop_recording()
            self.trouble = f"recording stopped: {error.strerror}"


def loudness(samples: Samples) -> float:
    """The mean of a frame in dB below full scale."""
    import numpy as np

    if not len(samples):
        return FLOOR
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(FLOOR, 10 * float(np.log10(power / 32768**2))) if power > 0 else FLOOR


def _nothing() -> Samples:
    from iceway.media.sound import silence

    return silence()
