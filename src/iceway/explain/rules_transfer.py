"""Rules about transfers: who would not be transferred, and who could not be, with the word of whoever was called."""

from __future__ import annotations

import re
from collections.abc import Iterator

from iceway.explain.case import Case, Finding, Rule, Severity
from iceway.explain.cast import user_of
from iceway.trace.records import SipReceived, SipSent

_HEADER = {
    name: re.compile(rf"^(?:{name}|{short})[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
    for name, short in (("from", "f"), ("to", "t"), ("refer-to", "r"))
}
_LAST_WORD = re.compile(r"^SIP/2\.0 ([3-6][0-9]{2}[^\r\n]*)", re.MULTILINE)
_REMEDIES = {
    "404": "Check the address.",
    "416": "Transfer to a SIP address; other kinds cannot be called.",
    "480": "Try again when they are reachable, or talk to them first (call.transfer_to).",
    "481": "The call that was to be replaced was over. Call again.",
    "486": "Try again later, or talk to them first (call.transfer_to).",
    "603": "Ask whoever declined: the other side of the call (on_transfer, --no-transfer) or whom it called.",
}


def _failed(case: Case) -> Iterator[Finding]:
    """One finding a transfer, however many nodes have seen the messages."""
    asked: dict[str, tuple[str, str, str]] = {}
    told: set[tuple[str, str]] = set()
    for entry in case.entries:
        record = entry.record
        if not isinstance(record, SipSent | SipReceived):
            continue
        method, request = record.cseq.rpartition(" ")[2].upper(), not record.start_line.startswith("SIP/2.0 ")
        if method == "REFER" and request:
            asked[record.call_id] = (
                _who(record.text, "from"),
                _who(record.text, "to"),
                _who(record.text, "refer-to"),
            )
        if record.call_id not in asked or method not in ("REFER", "NOTIFY") or request is (method == "REFER"):
            continue
        last = _LAST_WORD.search(record.text if method == "REFER" else record.text.partition("\r\n\r\n")[2])
        if last is None or (record.call_id, record.cseq) in told:
            continue
        told.add((record.call_id, record.cseq))
        who, whom, target = asked[record.call_id]
        yield Finding(
            Severity.WARNING,
            f"{whom} would not be transferred to {target}: {last[1]}"
            if method == "REFER"
            else f"{who} could not transfer {whom} to {target}: {last[1]}",
            (entry.id,),
            "The call between the two goes on as it was.",
            _REMEDIES.get(
                last[1][:3], "See the call to the target in the trace of whoever was to be transferred."
            ),
        )


def _who(text: str, name: str) -> str:
    found = _HEADER[name].search(text)
    user = user_of(found[1]) if found else ""
    return user[:1].upper() + user[1:] or "somebody"


TRANSFER_RULES: tuple[Rule, ...] = (_failed,)
