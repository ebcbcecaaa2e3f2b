"""How fast pictures leave: not in bursts that fill a queue in front of the sound, and not more than the rate for long.

A coder keeps to its rate only roughly: whole pictures, noise and what is sent again come on top. What leaves beyond the
rate is a debt, which time pays off; while it is large, pictures are left out.
"""

from __future__ import annotations

SLICE = 0.005
"""Seconds of packets that may leave together."""
_HASTE = 2.5  # how much faster than the rate packets may leave
_LARGE, _MOST = 1.0, 2.0  # seconds of the rate: with more, pictures are left out; more is not remembered


class Pace:
    """Of one stream. Rates in bit/s."""

    def __init__(self) -> None:
        self._debt = 0.0
        self._at = 0.0

    def spent(self, size: int, rate: int, now: float) -> float:
        """So many bytes leave: the seconds that they take up."""
        self._debt = self.debt(rate, now) + size * 8
        self._at = now
        return size * 8 / (_HASTE * rate)

    def debt(self, rate: int, now: float) -> float:
        """Bits that left too early."""
        return max(0.0, min(self._debt, _MOST * rate) - (now - self._at) * rate)

    def too_fast(self, rate: int, now: float) -> bool:
        """Whether the next picture is better left out."""
        return self.debt(rate, now) > _LARGE * rate
