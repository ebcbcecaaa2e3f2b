"""What the client's commands share."""

from __future__ import annotations

import pytest

from iceway.cli._client import Teller


def test_what_the_other_side_says_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell = Teller(as_json=False)
    tell.step("failed", "no call: 486 Busy\x1b]0;owned\x07\x1b[2J\u202eereH")
    tell.text("first\n  second \x1b[1A")
    out = capsys.readouterr().out
    assert out.isascii() is False  # shown as signs
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert out.count("\n") == 3
