"""The values that a verdict is made of, and how the class of a path follows from its two candidates.

A pair's class is the worse of its two candidates: direct, reflexive, relayed over UDP, over TCP, over TLS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from iceway.core.address import Address
from iceway.trace.records import CandidateInfo


class PathClass(StrEnum):
    """From best to worst. The value is how people say it."""

    DIRECT = "direct"
    REFLEXIVE = "reflexive"
    RELAY_UDP = "relayed over UDP"
    RELAY_TCP = "relayed over TCP"
    RELAY_TLS = "relayed over TLS"
    NONE = "none"

    @property
    def rank(self) -> int:
        return list(PathClass).index(self)

    @property
    def relayed(self) -> bool:
        return self in (PathClass.RELAY_UDP, PathClass.RELAY_TCP, PathClass.RELAY_TLS)


@dataclass(frozen=True, slots=True)
class PairTried:
    """A candidate pair and how it went: waiting, checking, failed, succeeded, pruned."""

    number: int
    local: CandidateInfo
    remote: CandidateInfo
    priority: int
    path: PathClass
    checks: int = 0
    outcome: str = "waiting"
    reason: str = ""
    round_trip: float | None = None
    mapped: Address | None = None
    nominated: bool = False
    selected: bool = False
    seen: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Pairs of a better class that did not carry the call, for one cause."""

    path: PathClass
    title: str
    cause: str
    detail: str = ""
    pairs: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.title}: {self.cause}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Unused:
    """A candidate of either side that made no pair, and why."""

    candidate: CandidateInfo
    reason: str

    def __str__(self) -> str:
        return f"{self.candidate}: {self.reason}"


@dataclass(frozen=True, slots=True)
class PathVerdict:
    """What one end of a call says about its path. `agreed` is None while the other end is not in the trace."""

    node: str
    agent: str
    path: PathClass
    state: str = ""
    reason: str = ""
    local: CandidateInfo | None = None
    remote: CandidateInfo | None = None
    round_trip: float | None = None
    local_candidates: tuple[CandidateInfo, ...] = ()
    remote_candidates: tuple[CandidateInfo, ...] = ()
    unused: tuple[Unused, ...] = ()
    pairs: tuple[PairTried, ...] = ()
    why_not: tuple[WhyNot, ...] = ()
    peer: str = ""
    peer_agent: str | None = None
    agreed: bool | None = None
    answered_at: float | None = None
    first_media_at: float | None = None
    early_media: bool = False

    @property
    def answer_to_media(self) -> float | None:
        """Seconds from the answer (call confirmed) to the first media heard; 0 if media was there before."""
        if self.answered_at is None or self.first_media_at is None:
            return None
        return max(0.0, self.first_media_at - self.answered_at)

    @property
    def media_round_trips(self) -> float | None:
        """The same in round trips of the chosen pair."""
        wait = self.answer_to_media
        return wait / self.round_trip if wait is not None and self.round_trip else None


def pair_class(local: CandidateInfo, remote: CandidateInfo, mapped: Address | None = None) -> PathClass:
    """The worse of the two candidates; a host whose packets arrive under another address counts as reflexive."""
    local_class = candidate_class(local)
    if local_class is PathClass.DIRECT and mapped is not None and mapped != local.address:
        local_class = PathClass.REFLEXIVE
    return max(local_class, candidate_class(remote), key=lambda one: one.rank)


def candidate_class(candidate: CandidateInfo) -> PathClass:
    if candidate.type == "host":
        return PathClass.DIRECT
    if candidate.type != "relay":
        return PathClass.REFLEXIVE
    by_transport = {"tcp": PathClass.RELAY_TCP, "tls": PathClass.RELAY_TLS}
    return by_transport.get((candidate.relay_transport or "udp").lower(), PathClass.RELAY_UDP)
