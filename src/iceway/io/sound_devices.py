"""Microphone and speakers, by PortAudio (sounddevice), as a source and a sink of sound.

PortAudio calls back from a thread of its own; a `SoundRing` stands between it and the session. `latency` says how old
the sound is at most when it leaves: the device's own buffer and the ring's. A device that goes away in mid-call means
silence, never the end of the call; it is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from iceway.core.errors import EnvironmentFailure
from iceway.io.sound_ring import TARGET, SoundRing
from iceway.media.sound import FRAME, RATE, Samples

Callback = Callable[[Any, int, Any, Any], None]

_log = logging.getLogger("iceway.sound")


class Stream(Protocol):
    """What is used of a stream of sounddevice that runs."""

    latency: float

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SoundDevice:
    """One that was found. `channels`: how many it takes in and gives out; `chosen`: used where none is named."""

    name: str
    inputs: int
    outputs: int
    chosen_input: bool
    chosen_output: bool


class _Device:
    """A stream of PortAudio and the ring behind it."""

    def __init__(self, kind: str, device: str | None, open_stream: Callable[..., Stream]) -> None:
        self.ring = SoundRing()
        self._name = f"{kind} {device or ''}".strip()
        self._closed = False
        self._stream = open_stream(
            samplerate=RATE,
            channels=1,
            dtype="int16",
            latency="low",
            device=device,
            callback=self._called,
            finished_callback=self._finished,
        )

    @property
    def latency(self) -> float:
        """Seconds."""
        return self._stream.latency + max(len(self.ring), TARGET) / RATE

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._stream.close()

    def _called(self, data: Any, count: int, times: Any, status: Any) -> None:
        raise NotImplementedError

    def _finished(self) -> None:
        if not self._closed:
            _log.warning("the %s is gone; there is silence from here on", self._name)


class Microphone(_Device):
    """What is spoken, without end. `device`: a part of its name; None: the one the system chose."""

    def __init__(self, device: str | None = None, open_stream: Callable[..., Stream] | None = None) -> None:
        super().__init__("microphone", device, open_stream or _opener("RawInputStream", "microphone"))

    def read(self) -> Samples:
        return self.ring.take(FRAME)

    def _called(self, data: Any, count: int, times: Any, status: Any) -> None:
        self.ring.put(np.frombuffer(bytes(data), np.int16))  # PortAudio takes its buffer back


class Speakers(_Device):
    """What is heard. `device`: a part of its name; None: the one the system chose."""

    def __init__(self, device: str | None = None, open_stream: Callable[..., Stream] | None = None) -> None:
        super().__init__("loudspeaker", device, open_stream or _opener("RawOutputStream", "loudspeaker"))

    def write(self, samples: Samples) -> None:
        if not self._closed:
            self.ring.put(samples)

    def _called(self, data: Any, count: int, times: Any, status: Any) -> None:
        data[:] = self.ring.take(count).tobytes()


def sound_devices() -> list[SoundDevice]:
    """Those of this machine. Raises EnvironmentFailure without PortAudio."""
    portaudio = _portaudio()
    chosen_input, chosen_output = portaudio.default.device[0], portaudio.default.device[1]
    return [
        SoundDevice(
            one["name"],
            one["max_input_channels"],
            one["max_output_channels"],
            number == chosen_input,
            number == chosen_output,
        )
        for number, one in enumerate(portaudio.query_devices())
    ]


def _portaudio() -> Any:
    try:
        import sounddevice
    except OSError as error:  # it says so if the library is missing
        raise EnvironmentFailure(
            "microphone and speakers need PortAudio, which is not installed",
            "apt-get install libportaudio2 (Debian, Ubuntu), or brew install portaudio (macOS).",
        ) from error
    return sounddevice


def _opener(stream: str, what: str) -> Callable[..., Stream]:
    portaudio = _portaudio()

    def open_stream(**how: Any) -> Stream:
        try:
            opened = getattr(portaudio, stream)(**how)
            try:
                opened.start()
            except BaseException:
                opened.close()
                raise
        except (portaudio.PortAudioError, ValueError) as error:
            named = how["device"]
            name = f"the {what} {named!r}" if named else f"the {what}"
            raise EnvironmentFailure(
                f"{name} cannot be opened: {_first_line(error)}", f"This machine has: {_listed(stream)}."
            ) from error
        return cast(Stream, opened)

    return open_stream


def _listed(stream: str) -> str:
    """The devices for this kind of stream, by name."""
    inputs = stream == "RawInputStream"
    names = [one.name for one in sound_devices() if (one.inputs if inputs else one.outputs)]
    return ", ".join(map(repr, names)) or "none"


def _first_line(error: Exception) -> str:
    return (str(error.args[0]) if error.args else str(error)).splitlines()[0]
