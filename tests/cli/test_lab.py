"""`iceway lab grid`, as people and programs use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from iceway import cli
from iceway.lab.grid import meeting
from iceway.lab.grid.networks import topology
from iceway.lab.topology_file import load
from iceway.trace.entry import read_lines

PICTURE = Path(__file__).parents[2] / "docs" / "grid.svg"


def test_the_whole_grid_is_told_and_the_picture_in_the_docs_is_what_comes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, picture = tmp_path / "new" / "grid.html", tmp_path / "grid.svg"
    assert cli.run(["lab", "grid", "--out", str(page), "--svg", str(picture), "--jobs", "2"]) == 0
    told = capsys.readouterr().out
    assert "144 of 144 pairs of networks connect; every cell is as the oracle says" in told
    assert " 1 Public IPv4      D1.0 N" in told
    assert page.read_text().count("data-cell=") == 144
    fresh, kept = picture.read_text(), PICTURE.read_text()
    assert fresh == kept, "the grid has changed; look at it, then: iceway lab grid --svg docs/grid.svg"


def test_one_cell_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["lab", "grid", "--cell", "vpn:open"]) == 0
    told = capsys.readouterr().out
    assert "Alice: Dead VPN: a port-restricted NAT, and a VPN interface that swallows packets." in told
    assert "Alice ↔ Bob: reflexive" in told
    assert "round trips (budget" in told
    assert "Allocate" in told


def test_facts_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["lab", "grid", "--cell", "no-udp:open", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    (cell,) = facts["cells"]
    assert facts["networks"] == "world"
    assert (facts["seed"], facts["faults"], facts["paths"]) == (1, 0, {"relayed over TCP": 1})
    assert (cell["path"], cell["types"], cell["agreed"], cell["heard"]) == (
        "relayed over TCP",
        ["relay", "host"],
        True,
        True,
    )
    assert cell["connect"]["round_trips"] <= cell["connect"]["budget"]
    assert cell["expected"] == {"path": "relayed over TCP", "types": [["relay", "host"]]}


@pytest.mark.kernel
def test_a_cell_on_this_kernel(tmp_path: Path) -> None:
    command = ["lab", "grid", "--where", "kernel", "--cell", "port-restricted:dual-stack", "--json"]
    picture = tmp_path / "cell.svg"
    done = subprocess.run(
        [sys.executable, "-m", "iceway", *command, "--svg", str(picture)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert (facts["networks"], facts["faults"], facts["paths"]) == ("kernel", 0, {"reflexive": 1})
    assert facts["cells"][0]["connect"]["round_trips"] >= 1.0
    assert "on a kernel's own NATs" in picture.read_text()


def test_a_cell_that_is_not_as_expected_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(meeting, "PORTS", {meeting.Transport.UDP: 3478})
    assert cli.run(["lab", "grid", "--cell", "no-udp:open"]) == 1
    assert "the path is none, where relayed over TCP was expected" in capsys.readouterr().out


def test_topologies_are_written_as_files_and_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["lab", "grid", "--dump", str(tmp_path / "networks")]) == 0
    assert capsys.readouterr().out == f"144 topologies in {tmp_path / 'networks'}\n"
    text = (tmp_path / "networks" / "vpn-dual-stack.toml").read_text()
    assert load(text) == topology("vpn", "dual-stack")


def test_a_trace_goes_to_iceway_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["lab", "grid", "--cell", "open:symmetric", "--traces", str(tmp_path)]) == 0
    trace = tmp_path / "open-symmetric.jsonl"
    assert list(read_lines(trace.read_text().splitlines()))
    capsys.readouterr()
    assert cli.run(["explain", str(trace)]) == 0
    assert "Alice ↔ Bob: reflexive" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [("symmetric", "'symmetric' is no cell"), ("moon:open", "no network 'moon'; it has open")],
)
def test_a_wrong_cell_is_refused_with_what_to_write(
    cell: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["lab", "grid", "--cell", cell]) == 2
    assert complaint in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.run(["lab", "grid", "--cell", "open:open", "--out", str(tmp_path / "file" / "grid.html")]) == 3
    assert "cannot be written" in capsys.readouterr().err
