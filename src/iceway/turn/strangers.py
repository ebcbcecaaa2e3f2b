"""How much those get who have proved nothing: so many answers a second for each IP.

A UDP source address can be forged, so every answer to a stranger may hit somebody else. Counting by IP bounds
what one victim can be sent. The table lives for one second at a time and never grows past a limit.
"""

from __future__ import annotations

MAX_TRACKED = 50_000


class Strangers:
    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._second = 0.0
        self._counts: dict[str, int] = {}

    def may_be_answered(self, ip: str, now: float) -> bool:
        if now - self._second >= 1.0 or now < self._second:
            self._second = now
            self._counts.clear()
        count = self._counts.get(ip, 0)
        if count >= self._rate or (not count and len(self._counts) >= MAX_TRACKED):
            return False
        self._counts[ip] = count + 1
        return True
