"""Candidates that are found after the description went out, by INFO, one at a time (RFC 8840 §4.3).

Nothing is sent before the other side has said that it takes such INFO requests; whoever does not is told
everything in the description, as far as it was worth waiting for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.client.agreement import Agreement
from iceway.client.legs import Legs
from iceway.core.errors import ParseError
from iceway.trace.records import Malformed, Note
from iceway.wire import sdpfrag

if TYPE_CHECKING:
    from iceway.client.call import Call
    from iceway.client.signalling import Signalling

MAX_MALFORMED = 16  # records of unreadable fragments; what follows is dropped silently


class Trickle:
    """One call's; `owner` is the call."""

    def __init__(
        self,
        owner: Call,
        agreement: Agreement,
        legs: Legs,
        signalling: Signalling,
    ) -> None:
        self._owner = owner
        self._agreement = agreement
        self._legs = legs
        self._signalling = signalling
        self._on_its_way = False
        self._refused = False
        self._malformed = 0

    def tell(self, now: float) -> None:
        """Something may be new: candidates, or that the other side can be told of them."""
        if self._owner.ended or self._on_its_way or self._refused:
            return
        for leg in self._legs.in_use():
            if leg.exchange.they_trickle and self._signalling.takes_candidates(self._owner):
                fragment = leg.exchange.unsaid(self._agreement.mid(leg))
                if fragment is not None:
                    self._on_its_way = True
                    self._signalling.trickle(self._owner, fragment, now)
                    return

    def told(self, status: int, reason: str, now: float) -> None:
        """Our INFO was answered. What a refused one said is in the next one as well, if there is any."""
        self._on_its_way = False
        if status >= 300:
            self._refused = status not in (408, 500, 503)
            self._owner.emit(Note("warning", f"candidates by INFO were refused: {status} {reason}"))
        self.tell(now)

    def receive(self, content_type: str, body: bytes, now: float) -> None:
        try:
            if content_type.partition(";")[0].strip().lower() != sdpfrag.MEDIA_TYPE:
                raise ParseError(f"{content_type[:60]!r} is not {sdpfrag.MEDIA_TYPE}")
            for leg in self._legs.in_use():
                leg.exchange.learn_more(body, self._agreement.mid(leg), now)
        except ParseError as error:
            self._malformed += 1
            if self._malformed <= MAX_MALFORMED:
                self._owner.emit(Malformed("sdp", None, str(error), len(body)))
