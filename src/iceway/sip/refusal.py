"""Why a request was refused, in words for people: status, phrase, and what the refuser's Warning says."""

from __future__ import annotations

import re

from iceway.sip.reasons import reason_words
from iceway.wire.sip import Response, unquote

_LONGEST = 300
_MISCELLANEOUS = re.compile(r"\s*399\s+\S+\s+(?P<text>\"(?:[^\"\\]|\\.)*\")\s*", re.DOTALL)


def why_refused(response: Response) -> str:
    """`504 Server Time-out: edge edge.example.test: connection refused`. Warnings of code 399 are meant to be
    shown to people (RFC 3261 §20.43); others have a meaning of their own, which the phrase tells well enough."""
    words = f"{response.status} {response.reason or 'refused'}"
    for value in response.headers.all("Warning"):
        if (found := _MISCELLANEOUS.fullmatch(value)) is not None:
            return f"{words}: {unquote(found['text'])[:_LONGEST]}"
    # RFC 6432: gateways pass on what the telephone network said.
    reason = reason_words(response)
    return f"{words}: {reason}" if reason else words
