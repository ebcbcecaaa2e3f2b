"""`iceway devices`, for people and for programs."""

from __future__ import annotations

import json

import pytest

from iceway import cli
from iceway.io import found
from iceway.io.found import Found, Surroundings


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Surroundings(
        microphones=[Found("mic:Headset", "1 channel", True)],
        windows=[Found("window:0x77", "Letter \x1b[2J, 30x40 at 1,2")],
        troubles=["no screen. Set DISPLAY."],
    )
    monkeypatch.setattr(found, "look_around", lambda: here)


def test_each_kind_is_listed_by_the_words_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["devices"]) == 0
    out = capsys.readouterr().out
    assert "microphones:\n  mic:Headset" in out
    assert "1 channel, the default\nspeakers: none\ncameras: none\nscreens: none\nwindows:\n" in out
    assert out.endswith("no screen. Set DISPLAY.\n")
    assert "\x1b" not in out, "a title does nothing to the terminal"


def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["devices", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["microphones"] == [{"word": "mic:Headset", "name": "1 channel", "default": True}]
    assert told["windows"][0]["word"] == "window:0x77"
    assert told["troubles"] == ["no screen. Set DISPLAY."]
