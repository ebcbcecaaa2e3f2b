"""No trace, however odd, may break an explanation: records of any type, from any node, in any order."""

from __future__ import annotations

import io
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from iceway.core.address import Address
from iceway.explain.findings import findings
from iceway.explain.ladder import ladder
from iceway.explain.path import verdicts
from iceway.explain.steps import steps
from iceway.explain.summary import as_json, summary
from iceway.studio.model import CallReport
from iceway.studio.report import report_html
from iceway.trace.entry import RECORD_TYPES, Entry
from iceway.trace.records import CandidateInfo, Record

ADDRESSES = st.sampled_from(
    [
        Address(ip, port)
        for ip in ("10.0.0.1", "192.168.1.2", "198.51.100.2", "2001:db8::1")
        for port in (1, 3478)
    ]
)
WORDS = st.sampled_from(
    ["", "a", "alice", "bob", "1 INVITE", "2 ACK", "INVITE sip:b@c SIP/2.0", "SIP/2.0 200 OK", "SIP/2.0 4", "{0}", "\n",
     "[bold]x[/]", "\x1b[2J", "\u202e", "\x9b1m",
     "request", "success", "error", "Binding", "Allocate", "call.1/ice", "host", "srflx", "relay", "udp", "tcp", "sent",
     "received", "failed", "confirmed", "turn:x:1?transport=udp", "PRIORITY", "XOR-MAPPED-ADDRESS", "ERROR-CODE",
     "401 x", "198.51.100.2:1", "nonsense:port", "</script>", "certificate is for", "expired"]
)  # fmt: skip
CANDIDATES = st.builds(
    CandidateInfo,
    st.sampled_from(["host", "srflx", "prflx", "relay", "?"]),
    st.just("udp"),
    ADDRESSES,
    st.integers(0, 2**32 - 1),
    st.just("1"),
    related=st.none() | ADDRESSES,
    relay_transport=st.sampled_from([None, "udp", "tcp", "tls"]),
)


def records() -> st.SearchStrategy[Record]:
    st.register_type_strategy(Address, ADDRESSES)
    st.register_type_strategy(CandidateInfo, CANDIDATES)
    st.register_type_strategy(str, WORDS)
    st.register_type_strategy(float, st.floats(0, 1e5))
    st.register_type_strategy(int, st.integers(0, 5))
    return st.one_of([st.from_type(kind) for kind in RECORD_TYPES.values()])


def traces() -> st.SearchStrategy[list[Entry]]:
    said = st.tuples(
        st.floats(0, 60), st.sampled_from(["alice", "bob", "edge", "nat", "", "\x1b[2J"]), records()
    )

    def stamped(rows: list[tuple[float, str, Record]]) -> list[Entry]:
        rows.sort(key=lambda row: row[0])
        return [Entry(number, at, node, record) for number, (at, node, record) in enumerate(rows, 1)]

    return st.lists(said, max_size=25).map(stamped)


@settings(max_examples=150)
@given(traces())
def test_any_trace_can_be_explained(entries: list[Entry]) -> None:
    for one in verdicts(entries):
        assert one.path.value
        assert all(str(reason) for reason in one.why_not)
    assert {i for step in steps(entries) for i in step.seen} == {entry.id for entry in entries}
    known = {entry.id for entry in entries}
    for finding in findings(entries):
        assert finding.title
        assert set(finding.seen) <= known
    out = io.StringIO()
    console = Console(file=out, width=90)
    console.print(summary(entries))
    console.print(ladder(entries, 90))
    shown = out.getvalue()
    assert max(map(len, shown.split("\n"))) <= 90
    assert not set("\x1b\x9b\u202e\r") & set(shown)
    json.dumps(as_json(entries))
    page = report_html([CallReport("call", entries)])
    assert page.count("</script>") == 2
