"""Which packets of a stream to ask for again, and when (RFC 4585): the receiving half of retransmission.

A gap is left alone for a moment, since packets overtake each other; then its packets are asked for, again every so
often, until they come, are given up by whoever plays them, or were asked for often enough.
"""

from __future__ import annotations

from dataclasses import dataclass

OVERTAKING = 0.015
"""Seconds that a packet may come after those sent behind it before it counts as missing, at the least."""
MAX_OVERTAKING = 0.05
MAX_MISSING = 300
MAX_ASKED = 8
_SHORTEST_WAIT, _LONGEST_WAIT = 0.04, 0.5
_WAIT_UNKNOWN = 0.12  # between two requests, while no round trip was measured


@dataclass(slots=True)
class _Wanted:
    ask_at: float
    asked: int = 0


class MissingPackets:
    """Takes unwrapped sequence numbers as they arrive."""

    def __init__(self) -> None:
        self.requested = 0
        """Packets asked for, each counted once."""
        self.recovered = 0
        """Those of them that came."""
        self._highest: int | None = None
        self._wanted: dict[int, _Wanted] = {}

    def arrived(self, sequence: int, jitter: float, now: float) -> None:
        """`jitter` in seconds: where it is large, packets overtake each other for longer."""
        if self._highest is None:
            self._highest = sequence
            return
        overtaking = min(max(OVERTAKING, 1.5 * jitter), MAX_OVERTAKING)
        for missing in range(max(self._highest + 1, sequence - MAX_MISSING), sequence):
            self._wanted[missing] = _Wanted(now + overtaking)
        self._highest = max(self._highest, sequence)
        wanted = self._wanted.pop(sequence, None)
        if wanted is not None and wanted.asked:
            self.recovered += 1
        for passed in sorted(self._wanted)[: max(0, len(self._wanted) - MAX_MISSING)]:
            del self._wanted[passed]

    def forget_before(self, sequence: int) -> None:
        """Nobody waits any more for what was sent before this."""
        for passed in [missing for missing in self._wanted if missing < sequence]:
            del self._wanted[passed]

    def restart(self) -> None:
        self._highest = None
        self._wanted.clear()

    def due(self, now: float, round_trip: float | None) -> tuple[int, ...]:
        """What to ask for at `now`, ascending, modulo 2^16."""
        wait = _WAIT_UNKNOWN if round_trip is None else 1.5 * round_trip
        wait = min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT)
        asked = []
        for sequence in sorted(self._wanted):
            wanted = self._wanted[sequence]
            if wanted.ask_at > now:
                continue
            if wanted.asked == MAX_ASKED:
                del self._wanted[sequence]
                continue
            self.requested += wanted.asked == 0
            wanted.asked += 1
            wanted.ask_at = now + wait
            asked.append(sequence & 0xFFFF)
        return tuple(asked)

    def next_at(self) -> float | None:
        return min((wanted.ask_at for wanted in self._wanted.values()), default=None)
