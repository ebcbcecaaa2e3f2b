"""How a video stream fares: counters for whoever asks, and how evenly its pictures came."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from iceway.media.sound import RATE

_LONGER, _AT_LEAST = 3.0, 0.15  # a freeze: three times the usual gap, and 150 ms over it
_GAPS, _FEW = 30, 5  # of which half are longer than the usual one; with fewer nothing is usual yet


@dataclass(frozen=True, slots=True)
class VideoStats:
    """`lost`: packets never shown; `requested`: asked for again; `recovered`: came on that. Times in seconds.

    `frame_rate` is that of the last second shown, `freezes` and `frozen` count the standstills and their time.
    `one_way` is from there to here; unless `clocks_agree`, half a round trip is assumed.
    `bit_rate` is what the encoder is held to; `fraction_lost` what the other side last reported of our packets (0–1).
    """

    codec: str
    width: int
    height: int
    frames_sent: int
    frames_shown: int
    frame_rate: float
    freezes: int
    frozen: float
    whole_sent: int
    whole_requested: int
    packets_sent: int
    packets_resent: int
    packets_received: int
    packets_requested: int
    packets_recovered: int
    packets_lost: int
    packets_late: int
    packets_duplicate: int
    packets_rejected: int
    bit_rate: int
    jitter: float
    round_trip: float | None
    one_way: float | None
    clocks_agree: bool | None
    fraction_lost: float | None
    reports: int
    round_trips: int


@dataclass(frozen=True, slots=True)
class Standstill:
    """`start` in seconds after the first picture."""

    start: float
    length: float
    reason: str


class Flow:
    """The pictures shown and the time between them."""

    def __init__(self) -> None:
        self.width = 0
        self.height = 0
        self.shown = 0
        self.freezes = 0
        self.frozen = 0.0
        self._first_at: float | None = None
        self._last_at = 0.0
        self._gaps: deque[float] = deque(maxlen=_GAPS)
        self._lately: deque[float] = deque()
        self._waits_for = ""

    def shows(self, width: int, height: int, now: float) -> Standstill | None:
        """The standstill that this picture ends, if it was one."""
        self.width, self.height = width, height
        self.shown += 1
        ended = None
        if self._first_at is None:
            self._first_at = now
        elif self._gap(now - self._last_at):
            reason = self._waits_for or "nothing came"
            ended = Standstill(self._last_at - self._first_at, now - self._last_at, reason)
        self._last_at = now
        self._waits_for = ""
        self._lately.append(now)
        self._forget(now)
        return ended

    def waits(self, reason: str) -> None:
        """Why the next picture cannot be shown yet: what is said last counts."""
        self._waits_for = reason

    def rate(self, now: float) -> float:
        """Pictures shown in the last second."""
        self._forget(now)
        return float(len(self._lately))

    def elapsed(self, now: float) -> int:
        """Samples at 48 kHz since the first picture."""
        return 0 if self._first_at is None else int((now - self._first_at) * RATE)

    def _gap(self, gap: float) -> bool:
        """Whether this is a standstill."""
        usual = sorted(self._gaps)[len(self._gaps) // 2] if len(self._gaps) >= _FEW else None
        self._gaps.append(gap)
        if usual is None or gap <= max(_LONGER * usual, usual + _AT_LEAST):
            return False
        self.freezes += 1
        self.frozen += gap - usual
        return True

    def _forget(self, now: float) -> None:
        while self._lately and self._lately[0] <= now - 1.0:
            self._lately.popleft()
