"""What an ICE agent tells whoever composed it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from iceway.core.address import Address
from iceway.ice.candidate import Candidate


class IceState(StrEnum):
    """`CONNECTED`: media can flow on a valid pair. `COMPLETED`: every component has its nominated pair."""

    NEW = "new"
    GATHERING = "gathering"
    CHECKING = "checking"
    CONNECTED = "connected"
    COMPLETED = "completed"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class CandidatePath:
    """A path that works: the local candidate as the peer sees it, and the remote one (RFC 8445 §7.2.5.3.2)."""

    component: int
    local: Candidate
    remote: Candidate
    round_trip: float | None = None

    def __str__(self) -> str:
        return f"{self.local} ↔ {self.remote}"


@dataclass(frozen=True, slots=True)
class CandidateFound:
    """A local candidate to tell the peer about."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class GatheringDone:
    """No further local candidates are to come (until servers are added, addresses change or ICE restarts)."""


@dataclass(frozen=True, slots=True)
class GatheringSettled:
    """Every server that is going to answer soon has: a good moment for an offer. `GatheringDone` may be far off."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    state: IceState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PairValid:
    """The first usable path of a component: media may flow both ways from now on. Always before `Selected`."""

    path: CandidatePath


@dataclass(frozen=True, slots=True)
class Selected:
    """The nominated path of a component. Both agents select the same one; again if they move to a better one."""

    path: CandidatePath


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A datagram that is not STUN, from a path that passed a check. `local` is the base it came in on."""

    component: int
    data: bytes
    remote: Address
    local: Address


@dataclass(frozen=True, slots=True)
class Failed:
    """No path, or the path is gone. `reason` sums up what every pair and server said."""

    reason: str


@dataclass(frozen=True, slots=True)
class RestartNeeded:
    """The interface under the selected path left: `restart` and tell the peer. Until then the path is still used,
    and should it be dead, the loss of consent tells so."""

    reason: str


@dataclass(frozen=True, slots=True)
class ConsentLostEvent:
    """The peer has not answered on the path for `silent_for` seconds; nothing is sent on it any more."""

    path: CandidatePath
    silent_for: float
