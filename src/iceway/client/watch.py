"""Notices early that a path is dead: silence where sound was, and no answer when asked for consent.

Consent alone takes 30 s to expire (RFC 7675 §5.1), in which a caller hears nothing. So a second of silence makes
us ask at once, several times. Whoever is merely quiet answers, and then is left in peace for a while.
"""

from __future__ import annotations

from enum import Enum, auto

SILENCE = 1.0  # fifty packets of sound in a row that did not come
ASK_EVERY = 0.4
ASK_FOR = 1.6
ROUND_TRIPS = 3.0  # a slow path is asked for so long at least
LEAVE_ALONE = 10.0  # seconds, for somebody who is there and says nothing


class Finding(Enum):
    NOTHING = auto()
    ASK = auto()
    DEAD = auto()


class PathWatch:
    """Begins with the first sound. `next_at` is when it wants `judge`."""

    def __init__(self) -> None:
        self.next_at: float | None = None
        self._heard_at = 0.0
        self._asked_at: float | None = None

    def heard(self, now: float) -> None:
        self._heard_at = now
        if self.next_at is None:
            self.next_at = now + SILENCE

    def silent_for(self, now: float) -> float:
        return now - self._heard_at

    def stop(self) -> None:
        """Until sound is heard again."""
        self.next_at = self._asked_at = None

    def judge(self, proven_at: float | None, round_trip: float | None, now: float) -> Finding:
        """What is to be done now. `proven_at`: when the peer last proved that the path works."""
        if self.next_at is None or now < self.next_at:
            return Finding.NOTHING
        if now < self._heard_at + SILENCE:
            self._asked_at, self.next_at = None, self._heard_at + SILENCE
            return Finding.NOTHING
        if self._asked_at is not None and proven_at is not None and proven_at >= self._asked_at:
            self._asked_at, self.next_at = None, now + LEAVE_ALONE
            return Finding.NOTHING
        if self._asked_at is None:
            self._asked_at = now
        if now >= self._asked_at + max(ASK_FOR, ROUND_TRIPS * (round_trip or 0.0)):
            self.stop()
            return Finding.DEAD
        self.next_at = now + ASK_EVERY
        return Finding.ASK
