"""Sources and sinks: any recording becomes frames, and frames become a recording."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.media.files import (
    FileSource,
    MemorySink,
    MemorySource,
    NullSink,
    SilenceSource,
    Source,
    ToneSource,
    WavSink,
    load,
)
from iceway.media.sound import FRAME, RATE, Samples


def write(path: Path, rate: int, channels: int, seconds: float = 0.5, width: int = 2) -> Path:
    """A recording of a 440 Hz tone; the right channel is silent."""
    tone = np.rint(np.sin(np.arange(int(rate * seconds)) * 2 * np.pi * 440 / rate) * 10000)
    columns = np.stack([tone] + [np.zeros_like(tone)] * (channels - 1), axis=1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(
            (columns // 256 + 128).astype(np.uint8).tobytes()
            if width == 1
            else columns.astype(np.int16).tobytes()
        )
    return path


def all_of(source: Source) -> Samples:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return np.concatenate(frames)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2])
def test_any_recording_plays_at_48_khz_mono(tmp_path: Path, rate: int, channels: int, width: int) -> None:
    played = all_of(FileSource(write(tmp_path / "a.wav", rate, channels, width=width)))
    assert len(played) % FRAME == 0
    assert len(played) == pytest.approx(RATE / 2, abs=2 * FRAME)
    middle = played[RATE // 10 : RATE * 4 // 10].astype(float)
    expected = 10000 / channels / np.sqrt(2)
    assert np.sqrt(np.mean((middle - middle.mean()) ** 2)) == pytest.approx(
        expected, rel=0.45 if channels == 2 else 0.03
    )
    crossings = np.count_nonzero(np.diff(np.signbit(middle - middle.mean())))
    assert crossings == pytest.approx(2 * 440 * 0.3, abs=2)


def test_once_or_over_and_over() -> None:
    sound = np.arange(FRAME + 10, dtype=np.int16)
    once, loop = MemorySource(sound), MemorySource(sound, loop=True)
    played = all_of(once)
    assert np.array_equal(played[: FRAME + 10], sound)
    assert not played[FRAME + 10 :].any()
    assert once.read() is None
    first, second, third = loop.read(), loop.read(), loop.read()
    assert first is not None
    assert second is not None
    assert len(second) == FRAME
    assert np.array_equal(first, third)


def test_nothing_in_a_loop_ends_at_once() -> None:
    assert MemorySource(np.zeros(0, np.int16), loop=True).read() is None


def test_a_tone_has_no_seams_and_silence_none_either() -> None:
    tone = ToneSource(441.0, 0.5)
    played = np.concatenate([tone.read() for _ in range(10)])
    assert abs(played).max() == pytest.approx(32767 / 2, rel=0.01)
    assert abs(np.diff(played.astype(int))).max() < 32767 / 2 * 2 * np.pi * 441 / RATE + 2
    assert not SilenceSource().read().any()


@pytest.mark.parametrize("rate", [48000, 16000])
def test_what_is_recorded_can_be_played(tmp_path: Path, rate: int) -> None:
    tone = ToneSource(440)
    sink = WavSink(tmp_path / "heard.wav", rate)
    for _ in range(25):
        sink.write(tone.read())
    sink.close()
    sink.close()
    sink.write(tone.read())
    with wave.open(str(tmp_path / "heard.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (rate, 1, rate // 2)
    assert load(tmp_path / "heard.wav")[4800:19200].std() == pytest.approx(32767 / 4 / np.sqrt(2), rel=0.02)


def test_memory_keeps_and_null_does_not() -> None:
    kept = MemorySink()
    assert len(kept.samples) == 0
    for sink in (kept, NullSink()):
        sink.write(np.ones(FRAME, np.int16))
        sink.write(np.zeros(FRAME, np.int16))
        sink.close()
    assert kept.samples.sum() == FRAME


def test_unreadable_recordings_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match=r"No such file.*readable"):
        FileSource(tmp_path / "none.wav")
    (tmp_path / "text.wav").write_text("not sound at all")
    with pytest.raises(EnvironmentFailure, match="cannot play"):
        load(tmp_path / "text.wav")
    with pytest.raises(EnvironmentFailure, match=r"cannot record.*directory"):
        WavSink(tmp_path / "missing" / "heard.wav")
    with pytest.raises(ValueError, match="44100"):
        WavSink(tmp_path / "heard.wav", 44100)
