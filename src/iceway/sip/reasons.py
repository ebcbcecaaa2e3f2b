"""Why a call ends, in words: the Reason header (RFC 3326), which brings SIP's codes and the telephone network's.

Its text is for people and wins; a bare cause is put into words here. Whatever a stranger sends is read, or shown as
it is.
"""

from __future__ import annotations

import re

from iceway.core.errors import ParseError
from iceway.wire.sip import Message, split_outside
from iceway.wire.sip.syntax import parse_params

LONGEST = 300
_PROTOCOL = re.compile(r"\s*([A-Za-z0-9.\-]{1,32})\s*(;.*)?", re.DOTALL)
_WORDS = {
    ("sip", "200"): "answered elsewhere",
    ("sip", "408"): "nobody answered in time",
    ("sip", "480"): "not reachable at the moment",
    ("sip", "486"): "busy",
    ("sip", "600"): "busy everywhere",
    ("sip", "603"): "declined",
    ("q.850", "1"): "no such number",
    ("q.850", "16"): "the other side hung up",
    ("q.850", "17"): "busy",
    ("q.850", "18"): "nobody answered",
    ("q.850", "19"): "nobody answered",
    ("q.850", "21"): "declined",
    ("q.850", "31"): "ended by the telephone network",
    ("q.850", "34"): "the telephone network has no free line",
}


def reason_words(message: Message) -> str | None:
    """The first reason that says something; None without any."""
    values = message.headers.all("Reason")
    for value in (one for line in values for one in _parts(line)):
        found = _PROTOCOL.fullmatch(value)
        if found is None:
            continue
        try:
            params = parse_params(found[2] or "")
        except ParseError:
            continue
        words = params.get("text") or _WORDS.get((found[1].lower(), params.get("cause") or ""))
        if words:
            return words[:LONGEST]
    return values[0][:LONGEST] if values else None


def _parts(line: str) -> list[str]:
    try:
        return list(split_outside(line, ","))
    except ParseError:
        return []
