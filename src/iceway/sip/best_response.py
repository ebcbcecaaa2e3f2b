"""Which of several final responses a proxy passes on (RFC 3261 §16.7 steps 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence

from iceway.wire.sip import Response

# Within 4xx, first what the caller can act on, then what says least (not here).
_TELLING = (401, 407, 415, 420, 484)
_SILENT = (404, 408, 480)
_CHALLENGES = ("WWW-Authenticate", "Proxy-Authenticate")


def best_response(responses: Sequence[Response]) -> Response:
    """A 6xx decides; else the lowest class wins, and in it the most helpful. Challenges are collected."""
    best = min(responses, key=_rank)
    if best.status not in (401, 407):
        return best
    for name in _CHALLENGES:
        fields = [
            field
            for response in responses
            if response.status in (401, 407)
            for field in response.headers.all(name)
        ]
        if fields:
            best = best.with_header(name, *fields)
    return best


def _rank(response: Response) -> tuple[int, int]:
    status = response.status
    if status >= 600:
        return 0, 0
    if status in _TELLING:
        return status // 100, _TELLING.index(status) - len(_TELLING)
    return status // 100, 1 if status in _SILENT else 0
