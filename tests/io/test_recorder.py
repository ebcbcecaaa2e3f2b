from __future__ import annotations

import logging
from pathlib import Path

import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.io.recorder import FLUSH_EVERY, FLUSH_LINES, Recorder
from iceway.trace.entry import Entry, read_lines
from iceway.trace.records import Note


def note(text: str) -> Note:
    return Note("info", text)


def test_records_reach_file_memory_and_listeners_alike(tmp_path: Path) -> None:
    path, heard = tmp_path / "run.jsonl", []
    recorder = Recorder(path, keep=True, listeners=(heard.append,))
    recorder.record(note("one"), 1.0, "alice")
    recorder.record(note("two \udcff zwei ü"), 1.5, "bob")
    recorder.close()
    expected = [Entry(1, 1.0, "alice", note("one")), Entry(2, 1.5, "bob", note("two \udcff zwei ü"))]
    assert recorder.entries == heard == expected
    assert list(read_lines(path.read_text(encoding="utf-8").splitlines())) == expected


def test_a_reader_beside_the_run_is_at_most_a_second_behind(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    recorder = Recorder(path)
    recorder.record(note("first"), 50.0, "n")
    recorder.record(note("held back"), 50.0 + FLUSH_EVERY / 2, "n")
    assert len(path.read_text().splitlines()) == 1
    recorder.record(note("brings both"), 50.0 + FLUSH_EVERY, "n")
    assert len(path.read_text().splitlines()) == 3
    for _ in range(FLUSH_LINES):
        recorder.record(note("many at once"), 50.0 + FLUSH_EVERY, "n")
    assert len(path.read_text().splitlines()) == 3 + FLUSH_LINES
    recorder.close()


def test_a_full_disk_is_warned_about_once_and_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(Path("/dev/full"), keep=True)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            recorder.record(note(str(number)), number * FLUSH_EVERY * 2, "n")
        recorder.close()
    assert len(recorder.entries) == 3
    assert [r.getMessage() for r in caplog.records] == [
        "cannot write the trace /dev/full any more (No space left on device): records from now on are lost to it"
    ]


def test_a_trace_is_for_its_owner_only(tmp_path: Path) -> None:
    Recorder(tmp_path / "run.jsonl").close()
    assert (tmp_path / "run.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match=r"cannot write the trace .*: No such file or directory"):
        Recorder(tmp_path / "nowhere" / "run.jsonl")


def test_memory_holds_the_latest_entries_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iceway.io.recorder.KEEP", 100)
    recorder = Recorder(keep=True)
    for number in range(1000):
        recorder.record(note(str(number)), float(number), "n")
        assert len(recorder.entries) <= 100
    assert recorder.entries[-1].id == 1000
    assert len(recorder.entries) >= 75
