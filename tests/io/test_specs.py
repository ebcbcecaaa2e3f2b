"""The words for what a call says, shows and keeps: what each opens, and what is said of those that open nothing."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iceway.core.errors import EnvironmentFailure, UsageError
from iceway.io import camera, screen, sound_devices
from iceway.io.specs import Chosen, Opened, pictures_source, sound_sink, sound_source
from iceway.media.files import FileSource, NullSink, SilenceSource, ToneSource, WavSink
from iceway.media.pattern import PatternSource, numbered, read
from iceway.media.picture import size
from iceway.media.sound import FRAME, silence
from iceway.media.video_files import MkvRecorder, VideoFileSource, streams_of

LIMIT = 640, 360


@pytest.fixture
def movie(tmp_path: Path) -> str:
    """Half a second of numbered pictures and a tone."""
    recorder, tone = MkvRecorder(tmp_path / "film.mkv", size=(320, 180)), ToneSource()
    for frame in range(25):
        recorder.sound.write(tone.read())
        if frame % 5 == 0:
            recorder.pictures.show(numbered(frame // 5), frame / 50)
    recorder.sound.close()
    recorder.pictures.close()
    return str(tmp_path / "film.mkv")


@pytest.fixture
def recording(tmp_path: Path) -> str:
    sink = WavSink(tmp_path / "hello.wav")
    sink.write(silence() + np.int16(5))
    sink.close()
    return str(tmp_path / "hello.wav")


class Device:
    """Stands for a device that this machine need not have; remembers how it was asked for."""

    asked: list[tuple[tuple[object, ...], dict[str, object]]]

    def __init__(self, *given: object, **more: object) -> None:
        self.given, self.more = given, more
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, names in (
        (sound_devices, ("Microphone", "Speakers")),
        (camera, ("CameraSource",)),
        (screen, ("ScreenSource", "WindowSource")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, Device)


def test_sound(recording: str) -> None:
    assert isinstance(sound_source("silence"), SilenceSource)
    tone = sound_source("tone:1000").read()
    assert tone is not None
    assert np.array_equal(tone, ToneSource(1000.0).read())
    assert isinstance(sound_source("tone"), ToneSource)
    played = sound_source(recording)
    assert isinstance(played, FileSource)
    assert played.read() is not None
    assert played.read() is None
    over = sound_source(recording, loop=True)
    assert all(over.read() is not None for _ in range(5))
    for word, name in (("mic", None), ("mic:HDA Intel: ALC (hw:0,0)", "HDA Intel: ALC (hw:0,0)")):
        device = sound_source(word)
        assert isinstance(device, Device)
        assert device.given == (name,)


def opened(word: str) -> Device:
    source = pictures_source(word, LIMIT, 15.0)
    assert isinstance(source, Device)
    return source


def test_pictures_of_devices() -> None:
    assert opened("camera").given == ("/dev/video0",)
    assert opened("camera:/dev/video2").given == ("/dev/video2",)
    assert opened("camera").more == {"size": LIMIT}
    assert (opened("screen").given, opened("screen").more["monitor"]) == ((None,), None)
    assert opened("screen:2").more["monitor"] == 2
    part = opened("screen:0+100,50,640x480")
    assert str(part.given[0]) == "640x480 at 100,50"
    assert part.more == {"monitor": 0, "limit": LIMIT}
    assert str(opened("screen+1,2,30x40").given[0]) == "30x40 at 1,2"
    assert opened("window:Quarterly: figures").given == ("Quarterly: figures",)
    assert opened("window:0x1400007").given == (0x1400007,)


def test_pictures_of_patterns_and_files(movie: str) -> None:
    pattern = pictures_source("pattern", LIMIT, 15.0)
    assert isinstance(pattern, PatternSource)
    assert size(pattern.read()) == LIMIT  # type: ignore[arg-type]
    assert size(pictures_source("pattern:161x90", LIMIT, 15.0).read()) == (160, 90)  # type: ignore[arg-type,union-attr]
    film = pictures_source(movie, (160, 160), 10.0)
    assert isinstance(film, VideoFileSource)
    assert size(film.read()) == (160, 90)  # type: ignore[arg-type]
    assert pictures_source("watch", LIMIT, 15.0) is None


def test_sinks(tmp_path: Path) -> None:
    speakers = sound_sink("speakers:Headset")
    assert isinstance(speakers, Device)
    assert speakers.given == ("Headset",)
    sink = sound_sink(str(tmp_path / "heard.wav"))
    assert isinstance(sink, WavSink)
    sink.close()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            {"play": "none.wav"},
            "--play: there is no recording none.wav; sound comes from mic, mic:NAME, tone:HZ",
        ),
        ({"play": "silence:3"}, "--play: there is no recording silence:3"),
        ({"play": "tone:high"}, "--play: 'high' is no pitch between 20 and 20000 Hz; write tone:440"),
        ({"play": "tone:5"}, "--play: '5' is no pitch"),
        (
            {"video": "none.mp4"},
            "--video: there is no file none.mp4; pictures come from camera, camera:DEVICE",
        ),
        ({"video": "screen:left"}, "--video: 'screen:left' is no part of the screen; write screen, screen:2"),
        ({"share": "window:"}, "--share: which window.*iceway devices"),
        ({"share": "screen+0,0,8x8"}, "--share: '8x8' is no size between 16x16"),
        ({"video": "pattern:big"}, "--video: 'big' is no size"),
        ({"video": "watch"}, "--video: nobody would see it; --record FILE.mkv"),
        ({"share": "watch", "record": "a.wav"}, "--share: nobody would see it"),
        ({"record": "a.mp4"}, "--record: a.mp4: recordings are WAV .sound. or MKV"),
    ],
)
def test_words_that_mean_nothing_are_refused_before_anything_is_opened(
    words: dict[str, str], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        Chosen(**words)  # type: ignore[arg-type]


@given(
    st.sampled_from(("play", "video", "share", "record")),
    st.one_of(
        st.text(max_size=30),
        st.builds(
            "{}{}".format,
            st.sampled_from(
                ("mic:", "tone:", "screen:", "screen:1+", "window:0x", "camera:", "pattern:", "speakers:")
            ),
            st.text("0123456789abcx+,.:-", max_size=20),
        ),
    ),
)
@example("play", "x" * 5000)
@example("play", "a\0b")
@example("video", "pattern:0x0")
@example("share", "screen:99999999999")
@example("play", "tone:99999.5")
@example("record", "\0.mp4")
def test_any_word_is_taken_or_refused_in_words(option: str, word: str) -> None:
    with suppress(UsageError):
        Chosen(**{option: word})  # type: ignore[arg-type]


def test_nothing_is_silence_for_nobody() -> None:
    call = Chosen().open()
    assert isinstance(call.source, SilenceSource)
    assert isinstance(call.sink, NullSink)
    assert (call.video, call.slides) == (None, None)
    call.close()


def test_a_file_with_pictures_plays_both_in_step(movie: str) -> None:
    call = Chosen(play=movie).open()
    assert call.video is not None
    assert (call.video.sink, call.video.direction) == (None, "sendonly")
    for _ in range(13):
        call.source.read()
    assert read(call.video.source.read()).number == 2  # type: ignore[union-attr,arg-type]
    call.close()
    assert call.source.read() is None


def test_other_pictures_may_go_with_the_sound_of_a_film(movie: str) -> None:
    call = Chosen(play=movie, video="pattern").open()
    assert call.video is not None
    assert isinstance(call.video.source, PatternSource)
    assert call.source.read() is not None
    call.close()


def test_a_recording_with_pictures_keeps_all_that_comes(tmp_path: Path) -> None:
    call = Chosen(record=str(tmp_path / "out.mkv"), share="watch").open()
    assert call.video is not None
    assert call.slides is not None
    assert (call.video.direction, call.slides.direction) == ("recvonly", "recvonly")
    assert call.slides.budget > call.video.budget
    for pictures, first in ((call.video, 1), (call.slides, 2)):
        assert pictures.sink is not None
        pictures.sink.show(numbered(first), 0.0)
    call.sink.write(silence(FRAME))
    call.close()
    assert streams_of(tmp_path / "out.mkv") == {"audio", "video"}


def test_what_cannot_be_opened_lets_go_of_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Device] = []

    def take(*given: object, **more: object) -> Device:
        taken.append(Device())
        return taken[-1]

    monkeypatch.setattr(sound_devices, "Microphone", take)
    monkeypatch.setattr(camera, "CameraSource", take)
    with pytest.raises(EnvironmentFailure, match="cannot record"):
        Chosen(play="mic", video="camera", record=str(tmp_path / "no" / "a.mkv")).open()
    assert [device.closed for device in taken] == [True, True]


def test_a_rehearsal_keeps_nothing_open_and_records_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Device] = []

    def take(*given: object, **more: object) -> Device:
        taken.append(Device())
        return taken[-1]

    monkeypatch.setattr(sound_devices, "Microphone", take)
    monkeypatch.setattr(screen, "ScreenSource", take)
    Chosen(play="mic", video="watch", share="screen", record=str(tmp_path / "out.mkv")).rehearse()
    assert [device.closed for device in taken] == [True, True]
    assert not (tmp_path / "out.mkv").exists()


def test_closing_what_was_opened_lets_go_of_devices(tmp_path: Path) -> None:
    call: Opened = Chosen(play="mic", video="camera", share="screen", record="speakers").open()
    call.close()
    for device in (call.source, call.sink, call.video.source, call.slides.source):  # type: ignore[union-attr]
        assert isinstance(device, Device)
        assert device.closed


def test_words_alone_need_neither_sound_system_nor_screen() -> None:
    """Nobody without PortAudio or an X server is kept from playing a file."""
    code = "import sys; from iceway.io.specs import Chosen; Chosen(play='mic', share='screen', record='speakers')\n"
    code += "assert not {'sounddevice', 'mss'} & set(sys.modules), sys.modules.keys()"
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0
