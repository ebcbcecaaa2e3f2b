"""A call as a ladder for the terminal: one column a node, one row a message, time on the left.

STUN requests and their answers share a row; runs of checks fold into one ("14 checks, 6 answered"); notes of nodes
stand at their column. Nothing is wider than asked for, from 60 columns up. The text carries styles; a console that
is no terminal prints it plain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

from iceway.explain.cast import Cast
from iceway.explain.clean import clean
from iceway.explain.messages import attribute, is_check
from iceway.explain.steps import Step, steps
from iceway.explain.streams import bare, first
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    ConsentLost,
    CredentialsMinted,
    MediaStarted,
    Note,
    PairSelected,
    Registered,
    RelayRefused,
    ServerRefused,
    ServerUnreachable,
    SipAuthenticationFailed,
    SipReceived,
    SipSent,
    SipTransactionFailed,
    StunReceived,
    StunSent,
)

MIN_WIDTH = 60
_TIME = 9
_MARGIN = 4
_STYLES = {"sip": "cyan", "stun": "yellow", "check": "magenta", "media": "bold green", "note": "dim"}
_WORTH_A_LINE = (
    CallState,
    ConsentLost,
    CredentialsMinted,
    PairSelected,
    Registered,
    RelayRefused,
    ServerRefused,
    ServerUnreachable,
    SipAuthenticationFailed,
    SipTransactionFailed,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the ladder: an arrow if there is a receiver, else a remark at the sender's column."""

    at: float
    kind: str
    sender: str
    receiver: str
    label: str
    both_ways: bool = False
    lost: bool = False
    via: str | None = None


def ladder(entries: Sequence[Entry], width: int = 100) -> Text:
    """The whole ladder, header included, not wider than `width` (at least 60)."""
    cast = Cast(entries)
    rows = fold(steps(entries, cast))
    columns = cast.in_order(name for row in rows for name in (row.sender, row.receiver or row.sender))
    if not columns:
        return Text("The trace holds no messages.")
    return _Canvas(columns, cast, max(MIN_WIDTH, width), rows[0].at).draw(rows)


def fold(every: Iterable[Step]) -> list[Row]:
    """Steps as rows: answers joined to their requests, runs of checks folded, minor notes left out."""
    listed = list(every)
    answers = {
        step.record.transaction_id: step
        for step in listed
        if isinstance(step.record, StunSent | StunReceived)
        and step.record.message_class.lower() in ("success", "error")
    }
    rows: list[Row] = []
    run: list[Step] = []
    for step in listed:
        record = step.record
        if step.kind == "check" and isinstance(record, StunSent | StunReceived):
            if is_check(record):
                run.append(step)
            continue
        row = _row(step, answers)
        if row is None:
            continue
        if run and (row.kind == "check" or step.at - run[-1].at > 1.0 or row.kind == "media"):
            rows.append(_checks(run, answers))
            run = []
        rows.append(row)
    if run:
        rows.append(_checks(run, answers))
    return sorted(rows, key=lambda row: row.at)


def _row(step: Step, answers: dict[str, Step]) -> Row | None:
    record = step.record
    if isinstance(record, SipSent | SipReceived):
        return Row(step.at, "sip", step.sender, step.receiver, _sip_label(record), lost=step.lost)
    if isinstance(record, StunSent | StunReceived):
        if record.message_class.lower() in ("success", "error"):
            return None
        answer = answers.get(record.transaction_id)
        label = f"{record.method}: {_outcome(answer)}" if answer else f"{record.method}: no answer"
        if record.message_class.lower() == "indication":
            label = f"{record.method} indication"
        return Row(step.at, "stun", step.sender, step.receiver, label, answer is not None, step.lost)
    if isinstance(record, MediaStarted):
        if record.direction == "sent" and step.receiver:
            return Row(step.at, "media", step.sender, step.receiver, f"{bare(record.media)} ({record.codec})")
        return Row(step.at, "media", step.sender, "", first(record.media))
    if isinstance(record, PairSelected):
        way = f"{'uses for now' if record.early else 'chose'} {record.local} ↔ {record.remote}"
        return Row(step.at, "check", step.sender, "", way)
    if isinstance(record, Note):
        return Row(step.at, "note", step.sender, "", record.text) if record.level != "info" else None
    if isinstance(record, _WORTH_A_LINE):
        return Row(step.at, "note", step.sender, "", _remark(record) or step.plain)
    return None


def _remark(record: object) -> str:
    if isinstance(record, CallState):
        return record.state + (f": {record.reason}" if record.reason else "")
    if isinstance(record, CredentialsMinted):
        return "mints relay credentials"
    if isinstance(record, Registered):
        return f"{record.aor} bound"
    if isinstance(record, RelayRefused):
        return f"refuses {record.method}: {record.code} {record.detail}"
    return ""


def _outcome(answer: Step) -> str:
    record = answer.record
    assert isinstance(record, StunSent | StunReceived)
    if record.message_class.lower() == "error":
        return (attribute(record, "ERROR-CODE") or "error").split(" ")[0]
    shown = attribute(record, "XOR-RELAYED-ADDRESS") or attribute(record, "XOR-MAPPED-ADDRESS")
    return shown or "ok"


def _checks(run: Sequence[Step], answers: dict[str, Step]) -> Row:
    sent = {step.record.transaction_id for step in run}  # type: ignore[union-attr]
    answered = sum(transaction in answers for transaction in sent)
    label = f"{len(run)} check{'s' if len(run) != 1 else ''}, {answered} answered"
    first = run[0]
    others = {step.sender for step in run}
    return Row(first.at, "check", first.sender, first.receiver, label, len(others) > 1, answered == 0)


def _sip_label(record: SipSent | SipReceived) -> str:
    line = record.start_line
    if line.startswith("SIP/2.0 "):
        return line[8:]
    return line.partition(" ")[0] + (" (SDP)" if "\nm=" in record.text else "")


class _Canvas:
    """Character cells of one ladder."""

    def __init__(self, columns: Sequence[str], cast: Cast, width: int, start: float) -> None:
        self._columns = list(columns)
        self._cast = cast
        self._width = width
        self._start = start
        room = width - _TIME - 2 * _MARGIN
        gap = room // max(1, len(columns) - 1)
        self._at = {node: _TIME + _MARGIN + place * gap for place, node in enumerate(columns)}
        self._gap = gap

    def draw(self, rows: Sequence[Row]) -> Text:
        text = Text(no_wrap=True, overflow="crop")
        self._header(text)
        previous = self._start
        for row in rows:
            if row.at - previous > 1.0:
                self._line(text, "", self._rails("┊"), "dim")
            previous = row.at
            self._draw_row(text, row)
        text.rstrip()
        return text

    def _header(self, text: Text) -> None:
        cells = [" "] * self._width
        for node in self._columns:
            name = clean(node)[: self._gap - 1]
            begin = max(_TIME, min(self._at[node] - len(name) // 2, self._width - len(name)))
            cells[begin : begin + len(name)] = name
        text.append("".join(cells[: self._width]).rstrip() + "\n", style="bold")

    def _rails(self, rail: str = "│") -> list[str]:
        cells = [" "] * self._width
        for column in self._at.values():
            cells[column] = rail
        return cells

    def _line(
        self, text: Text, time: str, cells: list[str], style: str, begin: int = 0, end: int = 0
    ) -> None:
        line = "".join(cells).rstrip()
        text.append(f"{time:>{_TIME - 1}} "[:_TIME], style="dim")
        text.append(line[_TIME : max(begin, _TIME)], style="dim")
        text.append(line[max(begin, _TIME) : end], style=style)
        text.append(line[max(end, _TIME) :], style="dim")
        text.append("\n")

    def _draw_row(self, text: Text, row: Row) -> None:
        time = f"{row.at - self._start:.3f}"
        if row.receiver in self._at and row.receiver != row.sender:
            begin, end = sorted((self._at[row.sender], self._at[row.receiver]))
            self._arrow(text, row, time, begin, end)
        else:
            self._note(text, row, time)

    def _arrow(self, text: Text, row: Row, time: str, begin: int, end: int) -> None:
        cells = self._rails()
        shaft = "═" if row.kind == "media" else "╌" if row.lost else "─"
        for place in range(begin + 1, end):
            cells[place] = shaft
        to_right = self._at[row.receiver] > self._at[row.sender]
        head = "×" if row.lost else ("▶" if to_right else "◀")
        cells[end - 1 if to_right else begin + 1] = head
        if row.both_ways and not row.lost:
            cells[begin + 1 if to_right else end - 1] = "◀" if to_right else "▶"
        room = end - begin - 7
        label = clean(row.label)
        label = label if len(row.label) <= room else label[: max(0, room - 1)] + "…"
        if label:
            middle = begin + (end - begin - len(label)) // 2
            cells[middle - 1 : middle + len(label) + 1] = f" {label} "
        style = "red" if row.lost else _STYLES[row.kind]
        self._line(text, time, cells, style, begin + 1, end)

    def _note(self, text: Text, row: Row, time: str) -> None:
        cells = self._rails()
        column = self._at[row.sender]
        label = f"● {clean(row.label)}"
        if column + len(label) + 2 > self._width and column - _TIME > self._width - column:
            begin = max(_TIME, column - len(label) - 1)
            label = label[: column - 1 - begin]
        else:
            begin = column
            label = label[: self._width - begin]
        cells[begin : begin + len(label)] = label
        self._line(text, time, cells[: self._width], _STYLES[row.kind], begin, begin + len(label))
