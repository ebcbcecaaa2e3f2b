"""`iceway explain` on files of all kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iceway import cli
from iceway.trace.entry import Entry, write_lines
from tests.explain.call_story import told, view_of


def written(path: Path, entries: list[Entry]) -> str:
    with path.open("w", encoding="utf-8") as file:
        write_lines(entries, file.write)
    return str(path)


def test_explains_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", written(tmp_path / "call.jsonl", told("relayed_udp")), "--width", "110"]) == 0
    out = capsys.readouterr().out
    assert "Alice ↔ Bob: relayed over UDP" in out
    assert "Findings" in out


def test_merges_the_traces_of_both_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        written(tmp_path / f"{node}.jsonl", view_of(told("reflexive"), node)) for node in ("alice", "bob")
    ]
    assert cli.run(["explain", *files, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [one["agreed"] for one in facts["verdicts"]] == [True, True]


def test_draws_the_ladder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.run(["explain", written(tmp_path / "call.jsonl", told("one_lan")), "--ladder", "--width", "90"])
        == 0
    )
    assert "INVITE (SDP)" in capsys.readouterr().out


def test_writes_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "deep" / "report.html"
    trace = written(tmp_path / "call.jsonl", told("one_lan"))
    assert cli.run(["explain", trace, "--html", str(page)]) == 0
    assert f"Report: {page}" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_json_stays_json_while_a_report_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = written(tmp_path / "call.jsonl", told("one_lan"))
    assert cli.run(["explain", trace, "--json", "--html", str(tmp_path / "r.html")]) == 0
    json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("content", [b"not json\n", b'{"id":1}\n', b"\xff\xfe\x00"])
def test_other_files_are_refused_with_the_next_step(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "song.mp3"
    file.write_bytes(content)
    assert cli.run(["explain", str(file)]) == cli.Exit.USAGE
    assert "is not a trace" in capsys.readouterr().err


def test_a_missing_file_is_the_environments_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", str(tmp_path / "none.jsonl")]) == cli.Exit.ENVIRONMENT
    assert "No such file" in capsys.readouterr().err


def test_an_empty_trace_is_explained_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", written(tmp_path / "empty.jsonl", [])]) == 0
    assert "No call in this trace." in capsys.readouterr().out


def test_tells_what_ice_did_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "call.jsonl", told("reflexive"))
    assert cli.run(["explain", file, "--timeline", "--width", "100"]) == 0
    assert "settles on" in capsys.readouterr().out
    assert cli.run(["explain", file, "--timeline", "--json"]) == 0
    assert any("settles on" in row["text"] for row in json.loads(capsys.readouterr().out))


def test_says_what_stands_in_front_of_each_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "call.jsonl", told("relayed_udp"))
    assert cli.run(["explain", file, "--width", "110"]) == 0
    assert "In front of" in capsys.readouterr().out
    assert cli.run(["explain", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nats"]
