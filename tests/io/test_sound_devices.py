"""Microphone and speakers with a PortAudio that the test plays. A real one: tests/interop/test_sound_devices.py."""

from __future__ import annotations

import logging
import sys
from typing import Any

import numpy as np
import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.io.sound_devices import Microphone, Speakers, sound_devices
from iceway.media.sound import FRAME, RATE, Samples


class Played:
    """PortAudio, as far as it is used: what was asked of it, and its callback in the test's hands."""

    latency = 0.010

    def __init__(self) -> None:
        self.how: dict[str, Any] = {}
        self.closed = 0

    def __call__(self, **how: Any) -> Played:
        self.how = how
        return self

    def close(self) -> None:
        self.closed += 1
        self.how["finished_callback"]()

    def speaks(self, samples: Samples) -> None:
        data = bytearray(samples.tobytes())
        self.how["callback"](memoryview(data), len(samples), None, None)
        data[:] = bytes(len(data))  # PortAudio takes its buffer back

    def hears(self, count: int) -> Samples:
        data = bytearray(b"\x55" * 2 * count)
        self.how["callback"](memoryview(data), count, None, None)
        return np.frombuffer(bytes(data), np.int16)


def tone(count: int) -> Samples:
    return np.arange(1, count + 1).astype(np.int16)


def test_what_is_spoken_is_read_in_frames() -> None:
    portaudio = Played()
    microphone = Microphone("Headset", portaudio)
    assert portaudio.how["device"] == "Headset"
    assert (portaudio.how["samplerate"], portaudio.how["channels"], portaudio.how["dtype"]) == (
        RATE,
        1,
        "int16",
    )
    assert not microphone.read().any()
    for block in np.split(tone(2 * FRAME), 5):
        portaudio.speaks(block)
    assert np.array_equal(np.concatenate([microphone.read(), microphone.read()]), tone(2 * FRAME))
    microphone.close()
    microphone.close()
    assert portaudio.closed == 1


def test_what_is_written_is_heard_in_the_devices_blocks() -> None:
    portaudio = Played()
    speakers = Speakers(open_stream=portaudio)
    assert not portaudio.hears(128).any(), "silence until there is enough"
    speakers.write(tone(FRAME))
    speakers.write(tone(FRAME))
    heard = np.concatenate([portaudio.hears(128) for _ in range(15)])
    assert np.array_equal(heard, np.concatenate([tone(FRAME), tone(FRAME)]))
    speakers.close()
    speakers.write(tone(FRAME))
    assert len(speakers.ring) == 0


def test_how_old_the_sound_is() -> None:
    portaudio = Played()
    microphone = Microphone(open_stream=portaudio)
    assert microphone.latency == pytest.approx(0.010 + 0.040)
    microphone.close()


def test_a_device_that_is_unplugged_is_silence_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    portaudio = Played()
    microphone = Microphone(open_stream=portaudio)
    portaudio.speaks(tone(2 * FRAME))
    with caplog.at_level(logging.WARNING, "iceway.sound"):
        portaudio.how["finished_callback"]()
        microphone.read()
    assert not np.concatenate([microphone.read() for _ in range(20)][3:]).any()
    assert "the microphone is gone" in caplog.text
    caplog.clear()
    microphone.close()
    assert not caplog.text, "closed by us"


def test_without_portaudio_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    for needs_it in (Microphone, Speakers, sound_devices):
        with pytest.raises(EnvironmentFailure, match=r"need PortAudio.*apt-get install libportaudio2"):
            needs_it()


class PortAudio:
    """The module sounddevice on a machine that has a headset and nothing else."""

    class PortAudioError(Exception):
        pass

    class default:
        device = (0, -1)

    def __init__(self) -> None:
        self.closed = 0

    def query_devices(self) -> list[dict[str, Any]]:
        return [{"name": "Headset", "max_input_channels": 1, "max_output_channels": 2}]

    def RawInputStream(self, **how: Any) -> Any:
        raise ValueError(f"No input device matching {how['device']!r}")

    def RawOutputStream(self, **how: Any) -> Any:
        return self

    def start(self) -> None:
        raise self.PortAudioError("Device unavailable [PaErrorCode -9985]")

    def close(self) -> None:
        self.closed += 1


def test_devices_that_cannot_be_opened_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    portaudio = PortAudio()
    monkeypatch.setitem(sys.modules, "sounddevice", portaudio)  # type: ignore[arg-type]
    with pytest.raises(
        EnvironmentFailure, match=r"microphone 'Webcam' cannot be opened: No input.*has: 'Headset'"
    ):
        Microphone("Webcam")
    with pytest.raises(EnvironmentFailure, match=r"the loudspeaker cannot be opened: Device unavailable"):
        Speakers()
    assert portaudio.closed == 1
    (found,) = sound_devices()
    assert (found.name, found.inputs, found.chosen_input, found.chosen_output) == ("Headset", 1, True, False)
