"""What the clients of this room tell whoever composed them. Each ends up in one place of the parent's `match`."""

from __future__ import annotations

from dataclasses import dataclass

from iceway.core.address import Address


# --- TurnClient -----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Allocated:
    """The relay gave `relayed`; it saw us as `mapped` (over TCP: the stream's address, of no use to peers)."""

    relayed: Address
    mapped: Address | None
    lifetime: float
    round_trip: float


@dataclass(frozen=True, slots=True)
class AllocationFailed:
    """No relayed address. `code` is the server's error or None; `detail` reads well after "because"."""

    code: int | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class AllocationLost:
    """It stood and does not any more, without `close`."""

    reason: str


@dataclass(frozen=True, slots=True)
class PeerData:
    peer: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """The relay will not forward to this IP, or did not answer about it (`code` None). Others are not touched."""

    peer_ip: str
    code: int | None
    reason: str


# --- BindingClient -----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Bound:
    """The server saw us as `mapped`. `round_trip` runs from the first request to the answer."""

    mapped: Address
    round_trip: float


@dataclass(frozen=True, slots=True)
class BindingFailed:
    """`code` is the server's error, None when nobody answered; `detail` reads well after "because"."""

    code: int | None
    reason: str
    detail: str
