"""One STUN request waiting for its answer (RFC 8489 §6.2): when to send it again, when to give up.

Over UDP a request goes out up to Rc times, at intervals that double from RTO, and has failed Rm × RTO after
the last. Over a stream it goes out once and has failed after the same whole time. Nothing is sent here: at
`deadline` the owner calls `on_timeout` and sends what it returns.
"""

from __future__ import annotations

RTO = 0.5  # RFC 8489 §6.2.1
RC = 7  # RFC 8489 §6.2.1: requests in all
RM = 16  # RFC 8489 §6.2.1
TI = 39.5  # RFC 8489 §6.2.2: the same whole time on a stream


class Transaction:
    """The request `data`, sent for the first time now by whoever made this."""

    __slots__ = ("_interval", "_last_wait", "_requests", "data", "deadline", "reliable", "sent", "started_at")

    def __init__(
        self,
        data: bytes,
        now: float,
        *,
        reliable: bool,
        rto: float = RTO,
        requests: int = RC,
        last_wait: float = RM,
    ) -> None:
        self.data = data
        self.reliable = reliable
        self.started_at = now
        self.sent = 1
        self._interval = rto
        self._requests = requests
        self._last_wait = last_wait * rto
        if reliable:
            self.deadline = now + (2 ** (requests - 1) - 1) * rto + self._last_wait
        else:
            self.deadline = now + (rto if requests > 1 else self._last_wait)

    def on_timeout(self, now: float) -> bytes | None:
        """The deadline has come: bytes to send again, or None when the request has failed."""
        if self.reliable or self.sent >= self._requests:
            return None
        self.sent += 1
        self._interval *= 2
        # Counted from when we run, not from the deadline: a late driver must not cause a burst.
        self.deadline = now + (self._interval if self.sent < self._requests else self._last_wait)
        return self.data

    def hasten(self, rto: float, sent_at: float, now: float) -> None:
        """Repeat sooner: as if RTO had been this from the start. `sent_at` is when the last request left."""
        interval = rto * 2 ** (self.sent - 1)
        if not self.reliable and self.sent < self._requests and interval < self._interval:
            self._last_wait *= interval / self._interval
            self._interval = interval
            self.deadline = max(now, sent_at + interval)

    def failure(self, now: float) -> str:
        """Why it failed, in words: "no answer to 7 requests in 39.5 s"."""
        requests = "the request" if self.sent == 1 else f"{self.sent} requests"
        return f"no answer to {requests} in {now - self.started_at:.1f} s"
