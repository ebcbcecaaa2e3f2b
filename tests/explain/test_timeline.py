"""What ICE did, told in order and without repeats."""

from __future__ import annotations

import io
import json

from rich.console import Console

from iceway.core.address import Address
from iceway.explain.timeline import Event, timeline, timeline_json, timeline_table
from iceway.lab.grid.play import play
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CandidateInfo,
    GatheringStarted,
    Note,
    PairChecked,
    PairFailed,
    PairFormed,
    Record,
    ServerRefused,
    ServerUnreachable,
)

HERE = CandidateInfo("host", "udp", Address("10.0.0.1", 5000), 1, "1")
THERE = CandidateInfo("srflx", "udp", Address("203.0.113.9", 6000), 1, "2")


def told(*records: tuple[float, Record]) -> list[Event]:
    entries = [Entry(number, at, "alice", record) for number, (at, record) in enumerate(records, start=1)]
    return timeline(entries)


def formed(number: int, priority: int = 1) -> PairFormed:
    return PairFormed("a", number, HERE, THERE, priority)


def test_times_count_from_the_first_line() -> None:
    lines = told(
        (7.0, Note("info", "before")), (9.0, GatheringStarted("a", ("10.0.0.1",), ())), (9.5, formed(1))
    )
    assert [line.at for line in lines] == [0.0, 0.5]
    assert lines[0].text == "gathers on 10.0.0.1"


def test_repeated_checks_are_one_line_with_a_count() -> None:
    checks = [(at, PairChecked("a", 1, n, "ordinary")) for n, at in enumerate((1.0, 1.5, 2.5), start=1)]
    lines = told((1.0, formed(1)), *checks)
    assert str(lines[-1]) == "checks pair 1: host 10.0.0.1:5000 → srflx 203.0.113.9:6000, 3 times in 1.5 s"
    assert lines[-1].seen == (2, 3, 4)


def test_a_nomination_is_not_one_of_the_checks() -> None:
    lines = told(
        (1.0, formed(1)),
        (1.0, PairChecked("a", 1, 1, "ordinary")),
        (2.0, PairChecked("a", 1, 2, "nomination")),
    )
    assert str(lines[-1]) == "nominates pair 1 (host → srflx)"


def test_pairs_of_one_instant_are_one_line_that_shows_the_best() -> None:
    lines = told((1.0, formed(1, 5)), (1.0, formed(2, 9)), (1.0, formed(3, 7)), (2.0, formed(4)))
    assert lines[0].text.startswith("forms pairs 1–3; the best is 2: host")
    assert lines[1].text.startswith("forms pair 4: host")


def test_one_step_of_a_real_program_takes_some_milliseconds_and_is_one_line() -> None:
    lines = told((1.0, formed(1, 5)), (1.0004, formed(2, 9)), (1.003, formed(3)), (1.5, formed(4)))
    assert lines[0].text.startswith("forms pairs 1–3;")
    assert lines[1].text.startswith("forms pair 4")


def test_failures_for_one_cause_are_one_line() -> None:
    failures = [(3.0, PairFailed("a", number, "relay refuses")) for number in (2, 3, 4, 7)]
    lines = told((1.0, formed(1)), *failures, (3.0, PairFailed("a", 9, "no answer to 7 checks in 8.1 s")))
    assert [line.text for line in lines[1:]] == [
        "pairs 2–4, 7 failed: relay refuses",
        "pair 9 failed: no answer to 7 checks in 8.1 s",
    ]


def test_servers_are_told_with_their_reasons() -> None:
    refused = ServerRefused("a", "turn:one", 401, "Unauthorized", "credentials expired 93 s ago")
    lines = told((1.0, formed(1)), (1.0, refused), (2.0, ServerUnreachable("a", "turn:two", "no answer")))
    assert lines[1].text == "turn:one refused: 401 Unauthorized (credentials expired 93 s ago)"
    assert lines[2].text == "turn:two: no answer"


def test_control_characters_stay_out() -> None:
    refused = ServerRefused("a", "turn:one", 401, "\x1b[2J", "")
    assert "\x1b" not in told((1.0, formed(1)), (1.0, refused))[-1].text


def test_a_whole_call_has_a_lane_an_end_and_fits() -> None:
    trace = play("port-restricted", "symmetric").trace
    out = io.StringIO()
    Console(file=out, width=100).print(timeline_table(trace))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    head = text.splitlines()[0]
    assert head.index("Alice") < head.index("Bob")
    for piece in ("gathers on", "settles on", "relay refuses", "works, round trip"):
        assert piece in text


def test_a_whole_call_is_plain_values_too() -> None:
    trace = play("port-restricted", "full-cone").trace
    rows = json.loads(json.dumps(timeline_json(trace)))
    known = {entry.id for entry in trace}
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert all(set(row["entries"]) <= known for row in rows)
    assert {row["node"] for row in rows} == {"alice", "bob"}


def test_nothing_is_told_of_nothing() -> None:
    assert timeline([]) == []
    assert str(timeline_table([])) == "No ICE in this trace."
