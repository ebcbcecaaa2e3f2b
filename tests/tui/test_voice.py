from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.media.files import MemorySink, MemorySource, Source, ToneSource
from iceway.media.sound import FRAME, Samples
from iceway.tui.voice import FLOOR, Devices, Level, Voice, loudness


def frame(level: int) -> Samples:
    return np.full(FRAME, level, np.int16)


def test_loudness_is_in_decibels_below_full_scale() -> None:
    assert loudness(frame(32767)) == pytest.approx(0.0, abs=0.01)
    assert loudness(frame(3277)) == pytest.approx(-20.0, abs=0.01)
    assert loudness(frame(0)) == loudness(np.zeros(0, np.int16)) == FLOOR


def test_a_level_rises_at_once_and_falls_slowly() -> None:
    level = Level()
    level.hear(frame(3277))
    level.hear(frame(33))
    assert level.look() == pytest.approx(-20.0, abs=0.01)  # the loudest since the last look
    falling = [level.look() for _ in range(20)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == FLOOR
    assert level.peak > FLOOR  # the mark falls more slowly


def test_sound_passes_and_is_measured() -> None:
    sink = MemorySink()
    voice = Voice(Devices(lambda: MemorySource(frame(3277)), lambda: sink))
    samples = voice.read()
    assert samples is not None
    assert samples[0] == 3277
    voice.write(frame(1000))
    assert sink.samples[0] == 1000
    assert voice.said.look() == pytest.approx(-20.0, abs=0.01)
    assert voice.heard.look() == pytest.approx(-30.3, abs=0.1)
    assert voice.read() is None  # the end of a source is the end


def test_a_call_that_merely_rings_opens_no_microphone() -> None:
    opened: list[str] = []

    def source() -> Source:
        opened.append("source")
        return ToneSource()

    devices = Devices(source, MemorySink)
    voice = Voice(devices)
    voice.close()
    assert not opened
    again = Voice(devices)
    again.read()
    again.write(frame(1))
    assert len(opened) == 1


def test_without_a_microphone_one_still_hears_and_it_says_why() -> None:
    def source() -> Source:
        raise EnvironmentFailure("there is no microphone", "Plug one in.")

    sink = MemorySink()
    voice = Voice(Devices(source, lambda: sink))
    samples = voice.read()
    assert samples is not None
    assert not samples.any()
    voice.write(frame(1000))
    assert sink.samples[0] == 1000
    assert voice.trouble == "there is no microphone. Plug one in."


def test_what_both_devices_lack_is_said_once() -> None:
    def missing() -> Any:
        raise EnvironmentFailure("PortAudio is not installed", "apt-get install libportaudio2.")

    voice = Voice(Devices(missing, missing))
    voice.write(frame(1000))
    assert voice.trouble == "PortAudio is not installed. apt-get install libportaudio2."


def test_a_recording_holds_both_sides(tmp_path: Path) -> None:
    ours = MemorySource(np.concatenate([frame(100), frame(30000), frame(5)]))
    voice = Voice(Devices(lambda: ours, MemorySink))
    voice.record(tmp_path / "new" / "call.wav")
    for theirs in (1000, 30000):
        voice.read()
        voice.write(frame(theirs))
    voice.write(frame(7))  # nothing of ours beside it
    voice.close()
    with wave.open(str(tmp_path / "new" / "call.wav")) as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert list(heard[::FRAME]) == [1100, 32767, 7]


def test_a_full_disk_ends_the_recording_and_not_the_call(tmp_path: Path) -> None:
    voice = Voice(Devices(ToneSource, MemorySink))
    voice.record(tmp_path / "call.wav")

    class Full:
        def write(self, samples: Samples) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    whole, voice._file = voice._file, Full()
    assert whole is not None
    whole.close()
    voice.write(frame(1))
    assert voice.recording is None
    assert voice.trouble == "recording stopped: No space left on device"
    voice.write(frame(1))


def test_closing_lets_go_of_both_devices_once() -> None:
    closed: list[str] = []

    class Device(ToneSource):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def write(self, samples: Samples) -> None:
            pass

        def close(self) -> None:
            closed.append(self.name)

    voice = Voice(Devices(lambda: Device("microphone"), lambda: Device("speakers")))
    voice.read()
    voice.close()
    voice.close()
    assert sorted(closed) == ["microphone", "speakers"]
    assert voice.closed
