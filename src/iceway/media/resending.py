"""What was sent lately, to be sent again on request (RFC 4585): the sending half of retransmission.

Packets are kept as they went out, protected, so the very same bytes go again. Nobody can make us send more again than
we sent at first: each request spends what sending earned.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

MAX_KEPT = 1024  # packets
_MAX_CREDIT = 200_000  # bytes
_OFTEN = 0.02  # seconds that a packet on its way again is not sent a third time, at the least


@dataclass(slots=True)
class _Kept:
    data: bytes
    again_at: float = -1.0  # it never was


class SentPackets:
    """By sequence number as it stands in the packet."""

    def __init__(self) -> None:
        self.resent = 0
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._credit = 0
        self._sent_lately = 0
        self._resent_lately = 0

    def keep(self, sequence: int, data: bytes) -> None:
        self._kept.pop(sequence, None)  # of the time before the numbers went round
        self._kept[sequence] = _Kept(data)
        self._credit = min(self._credit + len(data), _MAX_CREDIT)
        self._sent_lately += 1
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        self._kept.clear()

    def again(self, sequences: tuple[int, ...], now: float, round_trip: float | None) -> Iterator[bytes]:
        """Those that are still kept, and that were not sent again a moment ago."""
        for sequence in sequences:
            kept = self._kept.get(sequence)
            if kept is None or kept.again_at > now or len(kept.data) > self._credit:
                continue
            self._resent_lately += kept.again_at < 0
            kept.again_at = now + max(_OFTEN, (round_trip or 0.0) / 2)
            self._credit -= len(kept.data)
            self.resent += 1
            yield kept.data

    def share_resent(self) -> float:
        """Of what was sent since this was asked last (0–1)."""
        share = min(1.0, self._resent_lately / self._sent_lately) if self._sent_lately else 0.0
        self._sent_lately = self._resent_lately = 0
        return share
