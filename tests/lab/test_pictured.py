"""Who shows and watches what in a call with pictures, and what is found fault with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.lab.pictured import STREAMS, Eyes, Seen, read_accounts, seen_by_both


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def watched(lost: str = "", every: int = 1) -> dict[tuple[str, str], Seen]:
    """A call in which nothing is lost, but for all but one in `every` picture of a kind."""
    clock = Clock()
    eyes = {name: Eyes(name, clock) for name in ("alice", "bob")}
    for kind, stream in STREAMS.items():
        for shower in stream.by:
            viewer = "bob" if shower == "alice" else "alice"
            source, sink = eyes[shower].pictures[kind].source, eyes[viewer].pictures[kind].sink
            assert source is not None
            assert sink is not None
            number = 0
            while (picture := source.read()) is not None:
                clock.now += 0.05
                if kind != lost or number % every == 0:
                    sink.show(picture, clock.now)
                number += 1
    accounts = {name: one.accounts for name, one in eyes.items()}
    return {(one.shower, one.kind): one for one in seen_by_both(accounts)}


def test_both_show_a_camera_and_the_caller_a_desktop() -> None:
    pictures = {name: Eyes(name, Clock()).pictures for name in ("alice", "bob")}
    assert {kind: one.direction for kind, one in pictures["alice"].items()} == {
        "video": "sendrecv",
        "slides": "sendonly",
    }
    assert {kind: one.direction for kind, one in pictures["bob"].items()} == {
        "video": "sendrecv",
        "slides": "recvonly",
    }


def test_a_call_that_brings_everything_has_no_faults() -> None:
    seen = watched()
    assert set(seen) == {("alice", "video"), ("bob", "video"), ("alice", "slides")}
    assert not [fault for one in seen.values() for fault in one.faults()]
    assert seen["alice", "slides"].watched.delay == pytest.approx(0.05)
    assert all(delay == pytest.approx(0.05) for _, delay in seen["alice", "slides"].kept)


def test_a_stream_that_loses_pictures_is_named() -> None:
    seen = watched(lost="slides", every=2)
    faults = [fault for one in seen.values() for fault in one.faults()]
    assert faults == ["bob and Alice's desktop: only 10 of 20 pictures arrived"]


def test_a_call_that_never_was_is_full_of_faults(tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        accounts = {kind: one.to_json() for kind, one in Eyes(name, Clock()).accounts.items()}
        (tmp_path / f"{name}-pictures.json").write_text(json.dumps(accounts), encoding="utf-8")
    seen = seen_by_both({name: read_accounts(tmp_path, name) for name in ("alice", "bob")})
    assert all(one.faults() for one in seen)


def test_an_end_that_left_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match="what bob saw cannot be read"):
        read_accounts(tmp_path, "bob")
