"""What a machine has, whatever part of it cannot be looked at."""

from __future__ import annotations

import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.io import camera, screen, sound_devices, x11
from iceway.io.found import Found, look_around
from iceway.io.sound_devices import SoundDevice
from iceway.io.x11 import Region, Window


class Server:
    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def windows(self) -> list[Window]:
        return [Window(0x1400007, "Letter", Region(1, 2, 30, 40))]


def test_each_thing_is_found_by_the_word_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    headset, monitor = SoundDevice("Headset", 1, 2, True, False), SoundDevice("HDMI", 0, 8, False, True)
    monkeypatch.setattr(sound_devices, "sound_devices", lambda: [headset, monitor])
    monkeypatch.setattr(camera, "cameras", lambda: [("/dev/video0", "Webcam"), ("/dev/video2", "Capture")])
    regions = [Region(0, 0, 300, 100), Region(0, 0, 200, 100), Region(200, 0, 100, 100)]
    monkeypatch.setattr(screen, "screens", lambda: regions)
    monkeypatch.setattr(x11, "WindowServer", Server)
    found = look_around()
    assert found.microphones == [Found("mic:Headset", "1 channel", True)]
    assert found.speakers == [
        Found("speakers:Headset", "2 channels"),
        Found("speakers:HDMI", "8 channels", True),
    ]
    assert found.cameras == [
        Found("camera:/dev/video0", "Webcam", True),
        Found("camera:/dev/video2", "Capture"),
    ]
    assert found.screens == [
        Found("screen:0", "all screens together, 300x100 at 0,0"),
        Found("screen:1", "200x100 at 0,0", True),
        Found("screen:2", "100x100 at 200,0"),
    ]
    assert found.windows == [Found("window:0x1400007", "Letter, 30x40 at 1,2")]
    assert found.troubles == []


def test_what_cannot_be_looked_for_is_said_and_hides_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_sound() -> list[SoundDevice]:
        raise EnvironmentFailure("no PortAudio", "Install it.")

    monkeypatch.setattr(sound_devices, "sound_devices", no_sound)
    monkeypatch.setattr(camera, "cameras", lambda: [("/dev/video0", "Webcam")])
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    found = look_around()
    assert [one.word for one in found.cameras] == ["camera:/dev/video0"]
    assert found.screens == []
    sound, desktop = found.troubles
    assert sound == "no PortAudio. Install it."
    assert "DISPLAY is not set" in desktop
