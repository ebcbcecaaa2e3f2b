from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.tui import terminal


def test_what_others_write_to_standard_error_goes_to_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sys.stderr, sys.__stderr__
    with terminal.all_to_ourselves(tmp_path / "new" / "phone.log"):
        os.write(2, b"ALSA lib: underrun\n")
        sys.stderr.write("a traceback\n")
        assert sys.__stderr__ is not None
        sys.__stderr__.write("drawn")
        sys.__stderr__.flush()
    os.write(2, b"after")
    assert (sys.stderr, sys.__stderr__) == before
    assert capfd.readouterr().err == "drawnafter"
    log = (tmp_path / "new" / "phone.log").read_text()
    assert "ALSA lib: underrun\na traceback\n" in log


def test_a_log_that_cannot_be_written_is_said_before_the_screen_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EnvironmentFailure, match=r"cannot write the log .* Name another --log"),
        terminal.all_to_ourselves(tmp_path / "file" / "phone.log"),
    ):
        pass


def test_the_phone_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(EnvironmentFailure, match=r"needs a terminal.*iceway call"):
            terminal.must_be_a_terminal()
