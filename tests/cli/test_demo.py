"""`iceway demo` in the virtual world: what it says, what it writes, and when it fails."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from iceway import cli
from iceway.explain.model import PathClass
from iceway.lab import demo, pictured
from iceway.media.heard import Heard
from iceway.trace.entry import read_lines


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def in_the_world(out: Path, *options: str) -> int:
    return cli.run(["demo", "--where", "world", "--out", str(out), *options])


def test_the_calls_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_the_world(tmp_path) == 0
    told = capsys.readouterr().out
    assert "Networks: simulated (as asked)." in told
    calls = told.split("\n\n")
    for call, path in zip(
        calls[1:6],
        ("direct", "reflexive", "relayed over UDP", "relayed over TCP", "relayed over UDP"),
        strict=True,
    ):
        lines = call.splitlines()
        assert "… calling in virtual time" in call, "progress is shown without a terminal, too"
        (chosen,) = [line for line in lines if line.lstrip().startswith("✓")]
        assert f"✓  {path} " in chosen
        assert " ↔ " in chosen
        assert "agreed" in chosen
        assert sum("◂" in line for line in lines) >= 1
        for kind in ("host", "relay over TCP", "round trip", "first sound", "heard"):
            assert any(line.split("  ")[0] == kind for line in map(str.strip, lines)), kind
        assert "round trips after the answer" in call
        assert all(len(line) <= 100 for line in lines)
    better = [[line for line in call.splitlines() if line.lstrip().startswith("not ")] for call in calls[1:6]]
    assert [len(lines) for lines in better] == [0, 1, 2, 3, 2], "a line a class, each cause once"
    assert "symmetric" in calls[3]
    assert told.count("100% by Alice, 100% by Bob") == 5
    for seen in (
        "60 of 60 pictures of Alice's camera by Bob, ",
        "20 of 20 pictures of Alice's desktop by Bob, ",
    ):
        assert seen in calls[5]
    assert "All 5 calls took the path they should, and were heard and seen." in told
    assert f"Step through them in {tmp_path / 'report.html'}" in told
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert page.count("data:image/jpeg;base64,") >= 24
    assert "Alice's desktop, as Bob saw it" in page
    assert told.rstrip().endswith("4-relayed-tcp/trace.jsonl"), "the call with most to explain"
    for number, scenario in enumerate(demo.SCENARIOS, 1):
        directory = tmp_path / f"{number}-{scenario.name}"
        with (directory / "trace.jsonl").open(encoding="utf-8") as lines:
            assert len(list(read_lines(lines))) > 100
        assert (directory / "alice-heard.wav").stat().st_size > 100_000


def test_json_holds_the_facts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_the_world(tmp_path, "--json", "--only", "relayed-tcp", "--only", "one-lan") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["networks"] == "world"
    assert [(call["name"], call["ok"], call["path"]) for call in told["calls"]] == [
        ("one-lan", True, "direct"),
        ("relayed-tcp", True, "relayed over TCP"),
    ]
    assert all(call["heard"]["bob"]["share"] > 0.95 for call in told["calls"])
    assert Path(told["report"]).exists()


def test_a_call_that_takes_another_path_fails_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    relayed = demo.SCENARIOS[2]
    hoped = dataclasses.replace(relayed, expected=PathClass.REFLEXIVE)
    monkeypatch.setattr(demo, "SCENARIOS", (hoped,))
    assert in_the_world(tmp_path) == 1
    told = capsys.readouterr().out
    assert "✗  relayed over UDP" in told
    assert "alice took another path: relayed over UDP instead of reflexive" in told
    assert "1 of 1 calls did not go as they should." in told


def test_a_call_that_is_not_heard_fails_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = Heard(share=0.4, correlation=0.9, delay=0.0)
    monkeypatch.setattr(demo, "compare", lambda said, heard: deaf)
    assert in_the_world(tmp_path, "--only", "one-lan") == 1
    told = capsys.readouterr().out
    assert "40% by Alice" in told
    assert "alice heard only 40% of what was said" in told


def test_pictures_that_do_not_arrive_fail_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictured, "SEEN_ENOUGH", 1.01)
    assert in_the_world(tmp_path, "--only", "pictures") == 1
    assert "bob and Alice's desktop: only 20 of 20 pictures arrived" in capsys.readouterr().out


def test_a_call_that_does_not_exist_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_the_world(tmp_path, "--only", "the-moon") == 2
    assert "there are one-lan, reflexive, relayed-udp, relayed-tcp, pictures" in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert in_the_world(tmp_path / "file" / "below", "--only", "one-lan") == 3
    told = capsys.readouterr().err
    assert "Name another --out" in told
    assert str(tmp_path / "file") in told
