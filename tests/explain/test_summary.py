"""What people and programs get to see of an explanation."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.explain.summary import as_json, headline, summary, timing
from iceway.trace.entry import Entry
from tests.explain.call_story import NETWORKS, told, view_of


def printed(entries: list[Entry], detail: bool = True, width: int = 110) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(summary(entries, detail))
    return out.getvalue()


@pytest.mark.parametrize("network", NETWORKS)
def test_one_call_is_told_once(network: str) -> None:
    text = printed(told(network))
    assert text.count("Alice ↔ Bob: ") == 1
    assert "Bob ↔ Alice" not in text
    assert "both ends agree on the pair" in text


def test_everything_the_demo_promises_is_there() -> None:
    text = printed(told("relayed_udp"))
    for piece in (
        "relayed over UDP",
        "Why not better:",
        "private addresses of different networks",
        "Alice offers",
        "Bob offers",
        "▸ relay over UDP 198.51.100.2:49154",
        "answered in 62.0 ms, chosen",
        "bob heard alice: 98.7%",
        "Findings",
        "symmetric NAT",
    ):
        assert piece in text


def test_without_detail_the_tables_stay_out() -> None:
    text = printed(told("relayed_udp"), detail=False)
    assert "Why not better" in text
    assert "offers" not in text


def test_plain_text_carries_no_escapes_and_fits() -> None:
    text = printed(told("relayed_tcp"), width=80)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_trace_without_a_call_says_so() -> None:
    assert printed([]).strip() == "No call in this trace."


def test_headline_and_timing() -> None:
    entries = told("reflexive")
    assert (
        headline(verdict(entries))
        == "alice ↔ bob: reflexive, srflx 198.51.100.77:50000 ↔ srflx 198.51.100.1:50100"
    )
    assert timing(verdict(entries)) == "round trip 41.0 ms, sound was there before the call was picked up"
    assert (
        timing(verdict(entries, "bob"))
        == "round trip 41.0 ms, first sound 91 ms after the answer (2.2 round trips)"
    )
    none = verdict(view_of(entries, "edge"))
    assert none.path is PathClass.NONE
    assert "no path" in headline(none)


def test_programs_get_plain_values() -> None:
    facts = json.loads(json.dumps(as_json(told("relayed_tcp"))))
    alice = facts["verdicts"][0]
    assert alice["node"] == "alice"
    assert alice["path"] == "relayed over TCP"
    assert alice["remote"]["address"] == "198.51.100.2:49155"
    assert alice["agreed"] is True
    assert facts["findings"][0]["severity"] == "warning"
