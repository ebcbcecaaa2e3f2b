"""What a user agent tells of its calls once there is a dialog. How they begin is told by `incoming.py`, `outgoing.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The ACK of our 2xx arrived. `answer` is in it when our 2xx made the offer."""

    call: str
    answer: bytes | None = None


@dataclass(frozen=True, slots=True)
class ReinviteReceived:
    """The other side renegotiates: `answer_reinvite` or `reject_reinvite`. No offer: ours is asked for."""

    call: str
    offer: bytes | None


@dataclass(frozen=True, slots=True)
class ReinviteAnswered:
    """Our re-INVITE was accepted, or the ACK brought the answer to the offer in our 2xx."""

    call: str
    answer: bytes | None


@dataclass(frozen=True, slots=True)
class ReinviteFailed:
    """Our re-INVITE was refused; the session goes on as it was (RFC 3261 §14.1)."""

    call: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class InfoReceived:
    """An INFO of a package that we take (RFC 6086), or without one and of a type that we take; it is answered."""

    call: str
    package: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class InfoAnswered:
    """Our INFO got its answer; `status` as in `ReinviteFailed` if there was none."""

    call: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class RefreshDue:
    """The session wants a sign of life, and the other side takes no UPDATE: `reinvite` with what holds now."""

    call: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over. `status`: the SIP status it ended with, 0 for a BYE after an answer."""

    call: str
    reason: str
    status: int
    by_us: bool
