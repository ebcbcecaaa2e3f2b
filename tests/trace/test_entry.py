"""Every record survives the way to disk and back; whatever else a file holds is refused by line."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.trace.entry import RECORD_TYPES, Entry, from_json, merge, read_lines, to_json, write_lines
from iceway.trace.records import (
    CandidateInfo,
    NameResolved,
    Note,
    PairSucceeded,
    Record,
    SipReceived,
    StunSent,
)

ADDRESSES = st.builds(
    Address.of,
    st.ip_addresses().map(str).filter(lambda text: "%" not in text),
    st.integers(min_value=0, max_value=65535),
)
TIMES = st.floats(min_value=-1e6, max_value=1e9, allow_nan=False).map(lambda value: round(value, 6) + 0.0)


def entries(kind: type[Record]) -> st.SearchStrategy[Entry]:
    # Other files say otherwise of the same types, and there is one register for all.
    st.register_type_strategy(Address, ADDRESSES)
    st.register_type_strategy(float, TIMES)
    return st.builds(
        Entry,
        st.integers(min_value=1),
        st.floats(min_value=0, max_value=1e6).map(lambda at: round(at, 6)),
        st.text(max_size=20),
        st.from_type(kind),
    )


@pytest.mark.parametrize("kind", RECORD_TYPES.values(), ids=RECORD_TYPES.keys())
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_record_survives_the_round_trip(kind: type[Record], data: st.DataObject) -> None:
    entry = data.draw(entries(kind))
    line = to_json(entry)
    assert "\n" not in line
    assert from_json(line) == entry
    assert to_json(from_json(line)) == line


def test_the_vocabulary_is_all_there() -> None:
    assert "Record" not in RECORD_TYPES
    assert "CandidateInfo" not in RECORD_TYPES
    assert {"Started", "SipSent", "StunSent", "PairFailed", "PacketTranslated"} <= set(RECORD_TYPES)


def test_a_line_reads_as_promised() -> None:
    entry = Entry(7, 1.25, "alice", PairSucceeded("call.1/ice", 3, 0.0421234567, Address("192.0.2.1", 5000)))
    assert to_json(entry) == (
        '{"id":7,"at":1.25,"node":"alice","type":"PairSucceeded","agent":"call.1/ice","pair":3,'
        '"round_trip":0.042123,"mapped":"192.0.2.1:5000"}'
    )


def test_empty_and_none_are_told_apart() -> None:
    with_error, without = NameResolved("a.test", "A", (), ""), NameResolved("a.test", "A")
    assert from_json(to_json(Entry(1, 0.0, "n", with_error))).record == with_error
    assert '"error"' not in to_json(Entry(1, 0.0, "n", without))


def test_text_from_broken_utf8_still_makes_a_utf8_line() -> None:
    text = b"Subject: caf\xe9".decode("utf-8", "surrogateescape")
    address = Address("192.0.2.1", 5060)
    entry = Entry(1, 0.0, "bob", SipReceived("tls", address, address, "BYE ü", "c", "1 BYE", text))
    line = to_json(entry)
    assert from_json(line.encode().decode()) == entry


def test_an_optional_tuple_of_pairs_keeps_its_types() -> None:
    record = StunSent(
        "udp", Address("::1", 1), Address("2001:db8::1", 2), "binding", "request", "ab", (("X", ""),)
    )
    assert from_json(to_json(Entry(1, 0.5, "a", record))).record == record


GOOD: dict[str, Any] = json.loads(
    to_json(Entry(1, 1.0, "a", PairSucceeded("ice", 1, 0.1, Address("192.0.2.1", 1)))),
)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "NoSuchRecord"},
        {"type": ["Note"]},
        {"id": "one"},
        {"id": True},
        {"at": None},
        {"node": 5},
        {"pair": "1"},
        {"pair": True},
        {"mapped": "192.0.2.1"},
        {"mapped": {"ip": "192.0.2.1"}},
        {"round_trip": "soon"},
        {"unknown": 1},
        {"agent": None},
    ],
    ids=str,
)
def test_a_line_that_no_writer_made_is_refused(change: dict[str, Any]) -> None:
    from_json(json.dumps(GOOD))
    with pytest.raises(ParseError):
        from_json(json.dumps(GOOD | change))


@pytest.mark.parametrize("line", ["", "null", "[]", "7", "{", '{"type":"Note"}', '{"id":NaN}', "[" * 100_000])
def test_other_files_are_refused(line: str) -> None:
    with pytest.raises(ParseError):
        from_json(line)


@given(st.text())
def test_no_text_raises_anything_else(line: str) -> None:
    try:
        from_json(line)
    except ParseError:
        return


def test_reading_names_the_line_and_skips_blank_ones() -> None:
    lines: list[str] = []
    write_lines([Entry(1, 0.0, "a", Note("info", "hello\nworld"))], lines.append)
    assert [entry.record for entry in read_lines([*lines, "\n", *lines])] == [
        Note("info", "hello\nworld")
    ] * 2
    with pytest.raises(ParseError, match="line 3"):
        list(read_lines([*lines, "\n", "nonsense"]))


def test_merging_orders_by_time_then_node_and_keeps_each_nodes_own_order() -> None:
    def said(number: int, at: float, node: str, text: str) -> Entry:
        return Entry(number, at, node, Note("info", text))

    bob = [said(1, 0.5, "bob", "b1"), said(2, 0.5, "bob", "b2"), said(3, 2.0, "bob", "b3")]
    alice = [said(1, 0.5, "alice", "a1"), said(2, 1.0, "alice", "a2")]
    merged = merge(bob, alice)
    assert [entry.record.text for entry in merged if isinstance(entry.record, Note)] == [
        "a1",
        "b1",
        "b2",
        "a2",
        "b3",
    ]
    assert [entry.id for entry in merged] == [1, 2, 3, 4, 5]
    assert merge(alice, bob) == merged


def test_records_are_frozen_values() -> None:
    candidate = CandidateInfo("relay", "udp", Address("198.51.100.2", 49152), 1, "f", relay_transport="tcp")
    assert str(candidate) == "relay over TCP 198.51.100.2:49152"
    for kind in RECORD_TYPES.values():
        assert dataclasses.is_dataclass(kind)
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
