"""Consent freshness (RFC 7675): whoever sends must know that the other end still wants to receive.

A request goes out every 5 s ± 20 %, each a transaction of its own and never retransmitted. Any answer within
the expiry counts, however long it took, so a path with a slow round trip lives. Silence for the expiry ends
the consent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.ice.checklist import CandidatePair

if TYPE_CHECKING:
    from random import Random


class Consent:
    """The consent of one pair. `next_at` is when it wants attention: a request is due, or it has expired."""

    def __init__(self, pair: CandidatePair, interval: float, expiry: float, rng: Random, now: float) -> None:
        self.pair = pair
        self._interval = interval
        self._expiry = expiry
        self._rng = rng
        self._sent: dict[bytes, float] = {}
        self._heard_at = now
        self._request_at = now + self._pause()

    @property
    def heard_at(self) -> float:
        """When the peer last gave it."""
        return self._heard_at

    @property
    def next_at(self) -> float:
        return min(self._request_at, self._heard_at + self._expiry)

    def expired(self, now: float) -> bool:
        return now >= self._heard_at + self._expiry

    def request_due(self, now: float) -> bool:
        return now >= self._request_at

    def silent_for(self, now: float) -> float:
        return now - self._heard_at

    def sent(self, transaction_id: bytes, now: float) -> None:
        self._sent = {key: at for key, at in self._sent.items() if at + self._expiry > now}
        self._sent[transaction_id] = now
        self._request_at = now + self._pause()

    def renewed(self, now: float) -> None:
        """The peer showed by a check of its own that it is there: all that a lite agent gets."""
        self._heard_at = now

    def knows(self, transaction_id: bytes) -> bool:
        return transaction_id in self._sent

    def answered(self, transaction_id: bytes, now: float) -> float:
        """An authentic answer came; returns the round trip it took."""
        self._heard_at = now
        return now - self._sent.pop(transaction_id)

    def _pause(self) -> float:
        return self._interval * self._rng.uniform(0.8, 1.2)  # RFC 7675 §5.1
