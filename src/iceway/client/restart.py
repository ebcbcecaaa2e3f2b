"""When to restart ICE because a path died, and when to let go (RFC 8445 §9, RFC 8839 §4.4.1.1.1).

Whoever knows the cause (an interface of ours is gone) acts at once. Silence is noticed by both sides, so the
called one waits a moment for the caller's re-INVITE. A failed attempt is followed by another, a few times and
within half a minute; a path that holds makes the count start anew.
"""

from __future__ import annotations

from enum import Enum, auto

from iceway.core.timers import Timers

CALLEE_WAITS = 1.5
PAUSE = 1.0  # between one attempt and the next
LIMIT = 30.0  # seconds of trouble, then the call is over
HELD = 30.0  # a path that lasted so long was worth its restart
MAX_ATTEMPTS = 5


class Step(Enum):
    IDLE = auto()
    WAITING = auto()  # to begin, or for the other side to
    GATHERING = auto()
    OFFERED = auto()
    CHECKING = auto()  # both sides know the new credentials


class Due(Enum):
    BEGIN = auto()
    OVER = auto()


class Restarts:
    """The trouble that one call is in. `reason` is its cause, in words."""

    def __init__(self, *, incoming: bool) -> None:
        self.step = Step.IDLE
        self.reason = ""
        self.began_at = 0.0
        self._incoming = incoming
        self._timers = Timers()
        self._attempts = 0
        self._mended_at = 0.0
        self._refused = False

    @property
    def in_trouble(self) -> bool:
        return bool(self.reason)

    @property
    def offering(self) -> bool:
        """A restart of ours has begun, and the other side has not answered it."""
        return self.step in (Step.GATHERING, Step.OFFERED)

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    def due(self, now: float) -> list[Due]:
        return [due for due in self._timers.due(now) if isinstance(due, Due)]

    # --- what happens -------------------------------------------------------------------------------------
    def trouble(self, reason: str, now: float, *, ours: bool) -> bool:
        """The path is gone or about to go; `ours`: at this end. True if that is news."""
        news = not self.in_trouble
        if news:
            self.reason, self.began_at, self._refused = reason, now, False
            if now >= self._mended_at + HELD:
                self._attempts = 0
            self._timers.arm(Due.OVER, now + LIMIT)
        if ours or news:
            self._try_at(now if ours or not self._incoming else now + CALLEE_WAITS, now)
        return news

    def resume(self, now: float) -> None:
        """What could not begin before may now."""
        if self.step is Step.WAITING:
            self._try_at(now, now)

    def begun(self) -> None:
        self._attempts += 1
        self.step = Step.GATHERING

    def offered(self) -> None:
        self.step = Step.OFFERED

    def checking(self) -> None:
        """Offer and answer are exchanged, whoever made the offer."""
        self.step = Step.CHECKING
        self._timers.cancel(Due.BEGIN)

    def failed(self, now: float) -> None:
        """This attempt came to nothing."""
        self._try_at(now + PAUSE, now)

    def refused(self) -> None:
        """The other side wants no restart, so it is of no use to ask again."""
        self._refused = True
        self.step = Step.WAITING

    def mended(self, now: float) -> bool:
        """There is a path. True if there was trouble before."""
        was, self.reason = self.in_trouble, ""
        self.step = Step.IDLE
        self._mended_at = now
        self._timers.clear()
        return was

    def stop(self) -> None:
        self.reason = ""
        self.step = Step.IDLE
        self._timers.clear()

    def _try_at(self, at: float, now: float) -> None:
        self.step = Step.WAITING
        if self._attempts >= MAX_ATTEMPTS:
            self._timers.arm(Due.OVER, now)
        elif not self._refused:
            self._timers.arm(Due.BEGIN, at)
