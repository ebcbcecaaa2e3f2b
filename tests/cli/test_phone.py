"""`iceway phone`: what is wrong with how it is started is said before or instead of a screen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iceway import cli
from iceway.cli import phone
from iceway.core.errors import UsageError
from iceway.media.files import NullSink, ToneSource
from iceway.media.pattern import PatternSource
from iceway.tui.card import Watched


def test_it_needs_a_terminal_and_says_what_scripts_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ICEWAY_PASSWORD", "secret")
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert cli.run(["phone", "--as", "alice@example.test"]) == 3
    assert "needs a terminal\n  Scripts use `iceway call`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("none.wav", "speakers", "camera", "screen"), "--play: there is no recording none.wav"),
        (("mic", "mic", "camera", "screen"), "--hear: 'mic' is neither speakers, speakers:NAME nor nothing"),
        (("mic", "speakers", "none.mkv", "screen"), "--video: there is no file none.mkv"),
        (("mic", "speakers", "camera", "window"), "--share: which window?"),
    ],
    ids=["play", "hear", "video", "share"],
)
def test_words_that_mean_nothing_are_named(words: tuple[str, str, str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        phone._check(*words)


def test_words_that_mean_something_open_what_they_say() -> None:
    phone._check("tone:440", "nothing", "watch", "pattern")
    assert isinstance(phone._source("tone:440"), ToneSource)
    assert isinstance(phone._sink("nothing"), NullSink)
    watched = Watched()
    video, slides = (phone._pictures(kind, "pattern", watched) for kind in ("video", "slides"))
    assert isinstance(video.source, PatternSource)
    assert video.sink is watched
    assert slides.frame_rate < video.frame_rate
    assert phone._pictures("video", "watch", watched).source is None


def test_recordings_and_logs_are_where_users_keep_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iceway.tui import terminal

    for name in ("DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    assert terminal.recordings_directory() == tmp_path / "DATA" / "iceway" / "recordings"
    assert terminal.state_directory() == tmp_path / "STATE" / "iceway"
