"""What a call asks of SIP. Bodies are SDP; `client/line.py` is the one that carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from iceway.client.call import Call


class Signalling(Protocol):
    """The call's words for SIP. A re-offer is a re-INVITE: it settles the pair, or restarts ICE."""

    def offer(self, call: Call, body: str, now: float) -> None: ...

    def progress(self, call: Call, body: str, now: float) -> None: ...

    def accept(self, call: Call, body: str, now: float) -> None: ...

    def refuse(self, call: Call, code: int, reason: str, now: float) -> None: ...

    def reoffer(self, call: Call, body: str, now: float) -> None: ...

    def withdraw_reoffer(self, call: Call, now: float) -> None:
        """One that has not left yet is not wanted any more."""

    def answer_reoffer(self, call: Call, body: str, now: float) -> None: ...

    def refuse_reoffer(self, call: Call, code: int, now: float) -> None: ...

    def probe(self, call: Call, now: float) -> None:
        """The path is in doubt; is the way to our own server as well?"""

    def takes_candidates(self, call: Call) -> bool:
        """Whether the other side says that it takes candidates by INFO."""
        ...

    def trickle(self, call: Call, fragment: str, now: float) -> None: ...

    def hang_up(self, call: Call, reason: str, now: float) -> None: ...
