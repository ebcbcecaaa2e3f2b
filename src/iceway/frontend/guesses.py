"""Slowing down who guesses passwords.

After a few wrong ones, the same site is heard about the same user only after a pause, which doubles with every
further wrong one. What it says meanwhile is not looked at, right or wrong, so asking faster learns nothing. Other
sites are not concerned: nobody can lock a user out from elsewhere. The table is bounded and forgets.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from iceway.core.address import site_of

FREE = 5
"""Wrong passwords that cost nothing: people mistype, and a phone tries its old one over every connection."""
FIRST_PAUSE = 2.0
LAST_PAUSE = 60.0
FORGET = 900.0
MAX_TRACKED = 10_000
_LONGEST_NAME = 256


@dataclass(slots=True)
class _Record:
    wrong: int = 0
    last_at: float = 0.0
    until: float = 0.0


class Guesses:
    """By user and site. Instants may be of any one clock."""

    def __init__(self) -> None:
        self._records: OrderedDict[tuple[str, str], _Record] = OrderedDict()

    def pause(self, user: str, ip: str, now: float) -> float:
        """For how long nothing is heard about this user from there; 0 if it is heard."""
        record = self._records.get(_key(user, ip))
        return max(0.0, min(record.until - now, LAST_PAUSE)) if record is not None else 0.0

    def wrong(self, user: str, ip: str, now: float) -> None:
        key = _key(user, ip)
        record = self._records.pop(key, None)
        if record is None or now - record.last_at > FORGET:
            record = _Record()
        record.wrong += 1
        record.last_at = now
        if record.wrong >= FREE:
            record.until = now + min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(record.wrong - FREE, 10))
        self._records[key] = record
        while len(self._records) > MAX_TRACKED:
            self._records.popitem(last=False)

    def right(self, user: str, ip: str) -> None:
        self._records.pop(_key(user, ip), None)


def _key(user: str, ip: str) -> tuple[str, str]:
    return user[:_LONGEST_NAME], site_of(ip)
