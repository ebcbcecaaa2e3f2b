"""One cell of the grid as the page shows it: verdict, candidates, why not better, and a ladder past all boxes.

A ladder's lanes are the callers, their boxes and the relay, in the order in which packets meet them, so a check that
dies can be drawn to the box that dropped it. A question and its answer are one row; what a relay's client asks of it
is told once for each outcome. Rows are lists, and texts stand once in a table for all cells, to keep the page small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from iceway.core.address import Address
from iceway.explain.cast import Cast
from iceway.explain.messages import Message, attribute, is_check, join
from iceway.lab.grid.networks import EDGE, ENDS, network, topology
from iceway.lab.grid.play import CLASSES, Cell
from iceway.studio.grid_picture import TONES
from iceway.trace.entry import Entry
from iceway.trace.records import CandidateGathered, CandidateReceived, PairSelected, StunReceived, StunSent

_BOXES = {"vpn-gateway": "VPN", "nat": "NAT", "cgn": "carrier's NAT", "router6": "IPv6 firewall"}
"""Titles of boxes, by the second half of their names, in the order in which packets meet them."""
_AFTER_SELECTION = 0.001


class Texts:
    """Texts by number; equal ones are one."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._known: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        if text not in self._known:
            self._known[text] = len(self.all)
            self.all.append(text)
        return self._known[text]


@dataclass(frozen=True, slots=True)
class Row:
    """`to` is where the sender meant it, `died` the lane where it was dropped (else -1), `via` a relay's lane (else
    -1). `answered`: an answer came back. Without a receiver (-1) it is a remark at the sender's lane."""

    at: float
    kind: str
    sender: int
    to: int = -1
    via: int = -1
    died: int = -1
    answered: bool = False
    label: str = ""
    note: str = ""


def cell_model(cell: Cell, texts: Texts) -> dict[str, Any]:
    """What the page's script reads."""
    one = cell.verdicts[0]
    told = _told_at(cell)
    lanes = _lanes(cell)
    rows = _rows(cell, [name for name, _ in lanes], told)
    expected = cell.expected
    types = " or ".join(" · ".join(pair) for pair in sorted(expected.types))
    wanted = CLASSES[expected.path].value + (f", {types}" if types else "")
    return {
        "left": cell.left,
        "right": cell.right,
        "path": TONES[cell.path].key,
        "way": cell.path.value,
        "pair": [str(one.local), str(one.remote)] if one.local and one.remote else None,
        "reason": one.reason,
        "expected": wanted,
        "agreed": all(verdict.agreed for verdict in cell.verdicts),
        "heard": cell.heard,
        "rtt": _milli(expected.round_trip),
        "connect": [_milli(cell.connect), _short(cell.connect_trips), _short(expected.to_connect)],
        "select": [_milli(cell.select), _short(cell.select_trips), _short(expected.to_select)],
        "faults": list(cell.faults),
        "offers": [
            [
                [str(candidate).replace("relay over", "relay"), candidate.address == chosen]
                for candidate in verdict.local_candidates
            ]
            for verdict, chosen in zip(cell.verdicts, _chosen(cell), strict=True)
        ],
        "why": [[why.title, _plainly(why.cause), why.detail] for why in one.why_not],
        "lanes": [title for _, title in lanes],
        "rows": [
            [
                round((row.at - told) * 1000),
                row.kind,
                row.sender,
                row.to,
                row.via,
                row.died,
                int(row.answered),
                texts(row.label),
                texts(row.note),
            ]
            for row in rows
        ],
    }


def network_model(name: str) -> dict[str, str]:
    one = network(name)
    return {"name": one.name, "title": one.title, "summary": one.summary}


# --- lanes ----------------------------------------------------------------------------------------------
def _lanes(cell: Cell) -> list[tuple[str, str]]:
    """Names and titles, from Alice past her boxes and the relay to Bob."""
    described = topology(cell.left, cell.right)
    names = [router.name for router in described.routers] + [host.name for host in described.hosts]
    sides: list[list[tuple[str, str]]] = []
    for end in ENDS:
        boxes = [name for name in names if name.startswith(f"{end}-")]
        boxes.sort(key=lambda name: list(_BOXES).index(name.partition("-")[2]))
        sides.append([(end, end.capitalize()), *((name, _BOXES[name.partition("-")[2]]) for name in boxes)])
    return [*sides[0], (EDGE, "Relay"), *reversed(sides[1])]


def _told_at(cell: Cell) -> float:
    """When both had each other's description: the first candidate that either was told of."""
    return next((entry.at for entry in cell.trace if isinstance(entry.record, CandidateReceived)), 0.0)


def _chosen(cell: Cell) -> tuple[Address | None, Address | None]:
    one = cell.verdicts[0]
    return (one.local.address if one.local else None, one.remote.address if one.remote else None)


# --- rows -----------------------------------------------------------------------------------------------
def _rows(cell: Cell, lanes: Sequence[str], told: float) -> list[Row]:
    until = told + cell.select + _AFTER_SELECTION if cell.select is not None else float("inf")
    cast = Cast(cell.trace)
    messages = [message for message in join(cell.trace, cast) if message.at <= until]
    answers = {
        message.record.transaction_id: message
        for message in messages
        if isinstance(message.record, StunSent | StunReceived) and _class(message) in ("success", "error")
    }
    rows = [*_checks(cell.trace, messages, answers, lanes), *_relay_rows(messages, answers, lanes)]
    rows += _remarks(cell, lanes, until)
    rows.append(Row(told, "mark", -1, label="both know each other's candidates"))
    return sorted(rows, key=lambda row: (row.at, row.kind != "mark", row.sender))


def _checks(
    trace: Sequence[Entry], messages: Sequence[Message], answers: dict[str, Message], lanes: Sequence[str]
) -> Iterator[Row]:
    """Connectivity checks: where from, where to, what became of them."""
    types = {
        entry.record.candidate.address: entry.record.candidate.type
        for entry in trace
        if isinstance(entry.record, CandidateGathered)
    }
    for message in messages:
        record = message.record
        if not isinstance(record, StunSent) or not is_check(record):
            continue
        source = "relay" if record.relay else "host"
        label = f"{source} → {types.get(record.remote, 'prflx')} {record.remote}"
        if attribute(record, "USE-CANDIDATE") is not None:
            label += ", nominates"
        answer = answers.get(record.transaction_id)
        note, answered = "", answer is not None and answer.received is not None and not message.lost
        if message.lost:
            note = _dropped(message) or "lost"
        elif answer is not None and answer.lost:
            note = f"the answer was {_dropped(answer) or 'lost'}"
        elif answered and answer is not None and answer.arrived is not None:
            note = f"{(answer.arrived - message.at) * 1000:.0f} ms"
        yield Row(
            message.at,
            "check",
            lanes.index(message.sender),
            lanes.index(message.receiver) if message.receiver in lanes else lanes.index(EDGE),
            lanes.index(EDGE) if message.via else -1,
            _lane(lanes, message.dropped_at) if message.lost else -1,
            answered,
            label,
            note,
        )


def _relay_rows(
    messages: Sequence[Message], answers: dict[str, Message], lanes: Sequence[str]
) -> Iterator[Row]:
    """What the callers ask of the relay: one row for each wish and outcome at one instant."""
    told: set[tuple[str, str, str, float]] = set()
    for message in messages:
        record = message.record
        if not isinstance(record, StunSent) or _class(message) != "request" or record.method == "Binding":
            continue
        answer = answers.get(record.transaction_id)
        outcome = _outcome(answer)
        if outcome.startswith("401"):
            continue  # the challenge; the question is asked again with a password
        wish = {
            "Allocate": f"asks for a relay over {record.transport.upper()}",
            "CreatePermission": "asks to relay to the other end",
            "ChannelBind": "binds a channel to the other end",
        }.get(record.method, record.method)
        kind = f"{record.method} {record.transport}" if record.method == "Allocate" else record.method
        key = (
            message.sender,
            kind,
            outcome if record.method != "CreatePermission" else outcome[:3],
            message.at,
        )
        if key in told:
            continue
        told.add(key)
        note = _dropped(message) or outcome
        yield Row(
            message.at,
            "relay",
            lanes.index(message.sender),
            lanes.index(EDGE),
            died=_lane(lanes, message.dropped_at) if message.lost else -1,
            answered=answer is not None and not outcome[:1].isdigit(),
            label=wish,
            note=note,
        )


def _remarks(cell: Cell, lanes: Sequence[str], until: float) -> Iterator[Row]:
    early: set[str] = set()
    for entry in cell.trace:
        record = entry.record
        if isinstance(record, PairSelected) and entry.at <= until:
            if record.early and entry.node in early:
                continue
            early.add(entry.node)
            label = "can send media" if record.early else "has its pair"
            yield Row(
                entry.at,
                "done",
                lanes.index(entry.node),
                label=label,
                note=f"{record.local} ↔ {record.remote}",
            )


def _outcome(answer: Message | None) -> str:
    if answer is None or not isinstance(answer.record, StunSent | StunReceived):
        return "no answer"
    if _class(answer) == "error":
        code = attribute(answer.record, "ERROR-CODE") or "refused"
        return f"{code}: a private address" if answer.record.method == "CreatePermission" else code
    relayed = attribute(answer.record, "XOR-RELAYED-ADDRESS")
    return f"lent {relayed}" if relayed else "granted"


def _class(message: Message) -> str:
    record = message.record
    return record.message_class.lower() if isinstance(record, StunSent | StunReceived) else ""


def _lane(lanes: Sequence[str], name: str) -> int:
    return lanes.index(name) if name in lanes else -1


def _dropped(message: Message) -> str:
    """Who dropped it and why; empty if nobody said so."""
    if not message.dropped:
        return ""
    if message.dropped_at.endswith("-vpn-gateway"):
        return f"swallowed by {_whose(message.dropped_at)}"
    return f"dropped by {_whose(message.dropped_at)}: {message.dropped_why}"


def _whose(box: str) -> str:
    """`alice-nat` → Alice's NAT."""
    end, _, kind = box.partition("-")
    if not kind:
        return {EDGE: "the relay"}.get(box, box.capitalize())
    return f"{end.capitalize()}'s {_BOXES.get(kind, kind)}"


def _plainly(text: str) -> str:
    """Boxes by their owners, as the ladder calls them."""
    for end in ENDS:
        text = text.replace(f"the {end} NAT", f"{end.capitalize()}'s NAT")
        text = text.replace(f"{end}-vpn-gateway", f"{end.capitalize()}'s VPN")
    return text[:1].upper() + text[1:]


def _milli(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
