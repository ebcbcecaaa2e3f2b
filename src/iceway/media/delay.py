"""How long packets take from the other side to us, by the clock times in its sender reports (RFC 3550 §6.4.1).

What a report's time says depends on both clocks. If it arrives neither before it was sent nor later than a whole round
trip after, both clocks show the same time, as far as anybody can tell, and the difference is the delay. If not, the
clocks differ: then half a round trip is assumed for the fastest report, and what slower ones took longer is added to
it. A path that is slower in one direction than in the other goes unseen in that case, hence `clocks_agree`.
"""

from __future__ import annotations

from collections import deque

from iceway.media.stream import NTP_EPOCH

_REMEMBERED = 30  # reports: enough to see a fast one, few enough for clocks not to drift apart
_ROUNDING = 0.002  # seconds that clocks kept by NTP in one network may well differ by


class OneWay:
    """The delay from the other side to us."""

    def __init__(self) -> None:
        self._differences: deque[float] = deque(maxlen=_REMEMBERED)
        self._round_trip: float | None = None

    def heard(self, ntp: int, wall: float, round_trip: float | None) -> None:
        """A sender report with this time came at `wall` (Unix seconds); the round trip is that known by now."""
        sent = (ntp >> 32) + (ntp & 0xFFFF_FFFF) / (1 << 32)
        here = wall + NTP_EPOCH
        # The seconds go round once in 136 years (in 2036 first).
        difference = (here - sent + (1 << 31)) % (1 << 32) - (1 << 31)
        self._differences.append(difference)
        if round_trip is not None:
            self._round_trip = min(round_trip, self._round_trip or round_trip)

    def forget(self) -> None:
        """What was measured on another path, or by another clock, says nothing any more."""
        self._differences.clear()
        self._round_trip = None

    @property
    def clocks_agree(self) -> bool | None:
        """None while that cannot be told."""
        if not self._differences or self._round_trip is None:
            return None
        return -_ROUNDING <= min(self._differences) <= self._round_trip + _ROUNDING

    @property
    def seconds(self) -> float | None:
        """For the latest report; None before a report and a round trip are known."""
        if not self._differences or self._round_trip is None:
            return None
        offset = 0.0 if self.clocks_agree else min(self._differences) - self._round_trip / 2
        return max(0.0, self._differences[-1] - offset)
