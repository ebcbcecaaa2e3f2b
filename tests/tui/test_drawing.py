from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from iceway.explain.model import PathVerdict
from iceway.media.sound import FRAME
from iceway.trace.records import CandidateInfo
from iceway.tui import drawing
from iceway.tui.drawing import FAIR, GOOD, POOR, Figure
from iceway.tui.story import Story
from iceway.tui.voice import Level
from tests.tui.fakes import BOB, FakeCall, FakeClient, finds_a_path, host


def level(amplitude: int) -> Level:
    one = Level()
    one.hear(np.full(FRAME, amplitude, np.int16))
    one.look()
    return one


def relayed() -> PathVerdict:
    story = Story()
    client = FakeClient(desk=type("Desk", (), {"story": story, "clock": staticmethod(lambda: 0.0)}))  # type: ignore[arg-type]
    finds_a_path(client, FakeCall("call.1", BOB, None))
    one = story.path("call.1")
    assert one is not None
    return one


def shown(renderable: object, width: int = 100) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [1, 2, 8, 40, 100])
def test_a_meter_is_as_wide_as_it_should_be_at_every_level(width: int) -> None:
    for amplitude in (0, 1, 33, 3277, 16000, 32767):
        assert len(drawing.meter(level(amplitude), width)) == width


def test_louder_is_longer_and_warmer() -> None:
    lengths = [drawing.meter(level(amplitude), 60).plain.count("█") for amplitude in (0, 330, 3277, 32767)]
    assert lengths == sorted(set(lengths))
    assert lengths[-1] == 60
    colours = {span.style for span in drawing.meter(level(32767), 60).spans}
    assert colours == {GOOD, FAIR, POOR}
    assert {span.style for span in drawing.meter(level(330), 60).spans} <= {GOOD}


def test_levels_say_when_nothing_is_sent() -> None:
    said = drawing.levels(level(3277), level(0), 50, muted=True, name="Bob").plain.split("\n")
    assert said[0].startswith("me  █")
    assert said[0].endswith("muted")
    assert said[1].startswith("Bob")
    assert said[1].endswith("silent")
    assert all(len(line) <= 50 for line in said)


def with_ends(local: CandidateInfo | None, remote: CandidateInfo | None) -> list[str]:
    one = replace(relayed(), local=local, remote=remote)
    return [stop.name for stop in drawing.stops(one, "Bob")]


def test_the_way_names_what_is_passed() -> None:
    reflexive, relay = host("203.0.113.9", 1, "srflx"), host("198.51.100.2", 2, "relay")
    assert with_ends(host("192.168.1.5"), host("192.168.1.6")) == ["me", "Bob"]
    assert with_ends(reflexive, host("192.0.2.7")) == ["me", "NAT", "Bob"]
    assert with_ends(reflexive, host("203.0.113.77", 3, "prflx")) == ["me", "NAT", "NAT", "Bob"]
    assert with_ends(relay, reflexive) == ["me", "NAT", "edge", "NAT", "Bob"]
    assert with_ends(host("192.168.1.5"), relay) == ["me", "edge", "Bob"]
    assert with_ends(None, None) == ["me", "?", "Bob"]


def test_a_relayed_path_is_drawn_whole_with_its_relay_and_why_nothing_better() -> None:
    lines = shown(drawing.path(relayed(), "Bob", 90))
    assert lines[0].startswith("me ─")
    assert [word for word in lines[0].split() if word.isalpha()] == ["me", "NAT", "edge", "NAT", "Bob"]
    assert lines[1].split() == ["192.168.1.5", "198.51.100.2", "203.0.113.77"]
    assert lines[1].index("198.51.100.2") < lines[0].index("edge") < lines[1].index("198.51.100.2") + 12
    assert lines[2] == "relayed over UDP through 198.51.100.2:3478 · 42 ms there and back"
    (direct, reflexive) = shown(drawing.why_not(relayed(), 90))
    assert direct.startswith("not direct: private addresses")
    assert reflexive.startswith("not reflexive: ")
    assert len(drawing.why_not(relayed(), 20).plain.split("\n")[0]) == 40
    assert drawing.why_not(None, 20).plain == ""


def test_a_call_that_is_over_looks_for_no_path() -> None:
    refused = replace(relayed(), local=None, remote=None, state="checking")
    assert "looking for a path" in drawing.path(refused, "Bob", 60).plain
    assert drawing.path(refused, "Bob", 60, over=True).plain == "the call ended before it had a path"
    assert drawing.path(None, "Bob", 60, over=True).plain == "the call ended before it had a path"
    assert drawing.path(relayed(), "Bob", 60, over=True) == drawing.path(relayed(), "Bob", 60)


@pytest.mark.parametrize("width", [20, 30, 44, 52, 80, 140])
def test_the_way_fits_the_screen(width: int) -> None:
    way = drawing.path(relayed(), "Bobby Tables", width).plain.split("\n")[0]
    assert len(way) <= max(width, 38)  # names are not cut


def test_before_there_is_a_path_it_says_how_the_search_goes() -> None:
    looking = replace(relayed(), local=None, remote=None)
    assert "3 of 3 pairs tried" in drawing.path(looking, "Bob", 60).plain
    failed = replace(looking, state="failed", reason="no pair\x1b works")
    assert "no path: no pair␛ works" in drawing.path(failed, "Bob", 60).plain
    assert "no path" in drawing.path(None, "Bob", 60).plain


def test_pairs_are_a_table_where_there_is_room_and_two_lines_each_elsewhere() -> None:
    wide = shown(drawing.pairs(relayed(), 120), 120)
    assert wide[0].split() == ["ours", "theirs", "way", "how", "it", "went"]
    chosen = next(line for line in wide if line.startswith("▸"))
    assert "relay 198.51.100.2:50010" in chosen
    assert "chosen, answered in 42.3 ms" in chosen
    narrow = shown(drawing.pairs(relayed(), 50), 50)
    assert "no answer to 7 checks in 8.1 s" in narrow[1]
    assert shown(drawing.pairs(None, 50)) == ["No pairs yet."]
    assert shown(drawing.pairs(relayed(), 120, most=1), 120)[-1] == "and 2 more"


def test_candidates_of_both_sides_are_listed_and_the_chosen_ones_marked() -> None:
    lines = drawing.candidates(relayed()).plain.split("\n")
    assert "  ▸ relay over UDP 198.51.100.2:50010" in lines
    assert "  ▸ srflx 203.0.113.77:61000" in lines
    assert lines.index("they offer") > lines.index("we offer")
    assert drawing.candidates(None).plain == ""


def test_figures_stand_in_columns() -> None:
    found = [Figure("codec", "opus"), Figure("lost", "0.6%"), Figure("round trip", "43 ms")]
    wide, narrow = (drawing.figures([("sound", found)], width).plain.split("\n") for width in (80, 20))
    assert len(wide) == 1
    assert [line.split()[-1] for line in narrow] == ["opus", "0.6%", "ms"]
    assert len({line.index(figure.value) for line, figure in zip(narrow, found, strict=True)}) == 1
    both = drawing.figures([("sound", found), ("video", found)], 80).plain.split("\n")
    assert [both[0], both[2]] == ["sound", "video"]
    assert drawing.figures([], 80).plain == "no media yet"


def test_less_is_better_where_it_is_judged() -> None:
    assert [drawing.judged(value, 1.0, 5.0) for value in (0.5, 1.0, 5.0)] == [GOOD, FAIR, POOR]


def test_spans_of_time_read_as_on_a_clock() -> None:
    assert [drawing.span(seconds) for seconds in (-1, 0, 59.9, 60, 3725)] == [
        "0:00",
        "0:00",
        "0:59",
        "1:00",
        "1:02:05",
    ]
