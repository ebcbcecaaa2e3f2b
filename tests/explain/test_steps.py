"""Steps, their words and the terminal ladder."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from iceway.core.address import Address
from iceway.explain.cast import Cast
from iceway.explain.ladder import fold, ladder
from iceway.explain.steps import CHAPTERS, Step, steps
from iceway.explain.words import Words, technical
from iceway.trace.entry import RECORD_TYPES, Entry
from iceway.trace.records import Note, StunReceived
from tests.explain.call_story import NETWORKS, told, view_of


def lines(network: str) -> list[str]:
    return [step.plain for step in steps(told(network))]


def test_the_story_reads_like_one() -> None:
    said = lines("reflexive")
    wanted = [
        "Alice asks DNS which server handles _sip._tls.example.test: 0 0 443 edge.example.test",
        "Alice opens an encrypted connection to the edge, who proves to be edge.example.test",
        "Alice tells the edge: calls for Alice reach me here",
        "The edge passes Alice's registration on to the front end",
        "The front end says: first prove that you know the password",
        "Alice tells the edge: calls for Alice reach me here, with proof of the password",
        "Alice asks the edge for a name and password for the relay",
        "The edge passes Alice's request for a relay password on to the front end",
        "The front end vouches for its user: the edge, please make a relay password",
        "The edge makes a relay password, without keeping a list of them",
        "Alice looks for all addresses by which it might be reached",
        "Alice found 192.168.1.20:50000, its own address",
        "Alice asks the edge for an address on the relay",
        "The edge says: name and password first",
        "The edge lends Alice the address 198.51.100.2:49152, and sees it as 198.51.100.77:50000",
        "Alice calls Bob, and lists the addresses where sound could arrive",
        "The front end passes Alice's call on to Bob",
        "Bob's phone rings: Alice is calling",
        "Bob answers early, before anybody picks up, with the addresses of the other side",
        "Bob tries a way to Alice: 10.0.0.20:50100 → 198.51.100.77:50000",
        "Alice answers Bob: this way works, I see you as 198.51.100.1:50100",
        "Alice proposes to Bob: let us use this way, 192.168.1.20:50000 → 198.51.100.1:50100",
        "Alice hears the first sound, even before the call is picked up",
        "Bob says: picked up!",
        "Alice confirms to Bob which addresses both settled on",
        "Bob agrees: these are the addresses",
        "Alice hangs up",
        "Bob says: goodbye",
    ]
    place = 0
    for line in wanted:
        assert line in said[place:], line
        place = said.index(line, place)


def test_chapters_follow_the_call() -> None:
    every = steps(told("reflexive"))
    first = {chapter: next((s.at for s in every if s.chapter == chapter), None) for chapter in CHAPTERS}
    assert None not in first.values()
    times = [first[chapter] for chapter in CHAPTERS if chapter not in ("talk", "settle")]
    assert times == sorted(times)  # type: ignore[type-var]


def test_a_lost_check_says_where_and_why() -> None:
    assert any("It never arrives: the HQ NAT drops it (filtered)" in line for line in lines("relayed_udp"))


def test_relayed_checks_say_by_way_of_whom() -> None:
    assert any("→ 198.51.100.2:49154 by way of the edge" in line for line in lines("relayed_udp"))


@pytest.mark.parametrize("network", NETWORKS)
def test_every_entry_is_in_some_step_or_joined_to_one(network: str) -> None:
    entries = told(network)
    covered = {identifier for step in steps(entries) for identifier in step.seen}
    assert covered == {entry.id for entry in entries}


def test_every_record_type_has_words_of_its_own() -> None:
    from hypothesis import Phase, find, settings
    from hypothesis import strategies as st

    address = st.just(Address("192.0.2.1", 5))
    st.register_type_strategy(Address, address)
    any_one = settings(max_examples=1, phases=(Phase.generate,), database=None)
    messages = {"SipSent", "SipReceived", "StunSent", "StunReceived"}
    for name, kind in RECORD_TYPES.items():
        if name in messages:
            continue
        entry = Entry(1, 0.0, "alice", find(st.from_type(kind), lambda _: True, settings=any_one))
        words = Words(Cast([entry]))
        assert words.entry(entry)
        assert not words.entry(entry).endswith(technical(entry)), f"{name} has no plain words"


def test_foreign_braces_do_not_break_a_sentence() -> None:
    here, there = Address("192.0.2.1", 1), Address("192.0.2.2", 2)
    evil = StunReceived("udp", here, there, "{0}", "error", "ab", (("ERROR-CODE", "499 {A.__class__}"),))
    (step,) = steps([Entry(1, 0.0, "bob", evil)])
    assert "{A.__class__}" in step.plain


def test_technical_lines_hold_the_facts() -> None:
    every = steps(told("reflexive"))
    check = next(step for step in every if step.title == "check" and step.sender == "alice")
    assert check.technical.startswith("Binding request  192.168.1.20:50000 → 10.0.0.20:50100 UDP ")
    assert "USERNAME bobF:aliceF" in check.technical
    gathered = next(step for step in every if step.title == "Candidate gathered")
    assert gathered.technical == "candidate gathered: agent call.1/ice, candidate host 10.0.0.20:50100" or (
        gathered.technical.startswith("candidate gathered: agent call.1/ice, candidate host 192.168.1.20")
    )


# --- the ladder -----------------------------------------------------------------------------------------
def drawn(entries: list[Entry], width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(ladder(entries, width))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("network", NETWORKS)
def test_no_line_is_wider_than_asked(network: str, width: int) -> None:
    rows = drawn(told(network), width)
    assert max(len(row) for row in rows) <= width
    assert "\x1b" not in "".join(rows)


def test_columns_arrows_and_folded_checks() -> None:
    rows = drawn(told("reflexive"), 140)
    assert rows[0].split() == ["alice", "edge", "frontend", "bob"]
    text = "\n".join(rows)
    assert "INVITE (SDP)" in text
    assert "183 Session Progress" in text
    assert "Allocate: 198.51.100.2:49152" in text
    checks = [row for row in rows if " checks, " in row]
    assert len(checks) <= 2
    assert "answered" in checks[0]
    assert any("═" in row and "sound (opus)" in row for row in rows)


def test_arrows_point_the_right_way() -> None:
    rows = drawn(told("reflexive"), 100)
    register = next(row for row in rows if "REGISTER" in row)
    assert "◀" in register  # bob, the rightmost, registers first
    assert "▶" not in register
    invite = next(row for row in rows if "INVITE" in row)
    assert invite.index("INVITE") < invite.index("▶")


def test_unanswered_requests_look_lost() -> None:
    rows = drawn(told("relayed_tcp"), 100)
    lost = next(row for row in rows if "Allocate: no answer" in row)
    assert "×" in lost
    assert "╌" in lost


def test_one_nodes_trace_has_a_ladder_too() -> None:
    rows = drawn(view_of(told("reflexive"), "alice"), 90)
    assert rows[0].split()[0] == "alice"
    assert "bob" in rows[0]


def test_nothing_to_draw_is_said() -> None:
    assert "no messages" in str(ladder([]))
    assert drawn([Entry(1, 0.0, "x", Note("error", "disk full"))], 80)[1].strip().endswith("● disk full")


def test_runs_of_checks_fold_into_one_row() -> None:
    every: list[Step] = steps(told("relayed_udp"))
    rows = fold(every)
    assert len(rows) < len(every) / 2
    assert [row.at for row in rows] == sorted(row.at for row in rows)
