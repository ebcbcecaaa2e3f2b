"""The two ends of a meeting, wherever they meet, and how each is told of the other.

Descriptions travel by a channel of the lab's own, since how they travel is not what is tried here. Who plays a meeting
(`meeting.Meeting` in virtual time, `kernel.KernelMeeting` on this kernel) says what that channel is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate
from iceway.ice.events import (
    CandidateFound,
    DataReceived,
    Failed,
    GatheringDone,
    GatheringSettled,
    PairValid,
    Selected,
)


@dataclass(slots=True)
class End:
    """One side of a meeting, and when things happened to it (None: not yet). `introduced`: the other side has been
    told of it, and goes on hearing what it finds."""

    name: str
    peer: str
    agent: Agent
    introduced: bool = False
    settled_at: float | None = None
    done: bool = False
    connected_at: float | None = None
    selected_at: float | None = None
    failure: str | None = None
    heard: list[bytes] = field(default_factory=list)

    @property
    def greeting(self) -> bytes:
        return f"from {self.name}".encode()

    def notice(self, event: object, now: float) -> None:
        match event:
            case GatheringSettled():
                self.settled_at = now if self.settled_at is None else self.settled_at
            case GatheringDone():
                self.done = True
            case PairValid():
                self.connected_at = now if self.connected_at is None else self.connected_at
            case Selected():
                self.selected_at = now if self.selected_at is None else self.selected_at
            case DataReceived(data=data):
                self.heard.append(data)
            case Failed(reason=reason):
                self.failure = reason


class Introductions:
    """Between two ends. `told_at` is when both had each other's description, if they first gathered.

    What is said of an end is said where that end runs, in the order of its events.
    """

    def __init__(self) -> None:
        self.ends: dict[str, End] = {}
        self.told_at: float | None = None

    def selected(self) -> bool:
        return all(end.selected_at is not None for end in self.ends.values())

    def failed(self) -> bool:
        return all(end.failure is not None for end in self.ends.values())

    def settled(self) -> bool:
        return all(end.settled_at is not None for end in self.ends.values())

    def since_told(self, instants: Iterable[float | None]) -> float | None:
        """Seconds from when both knew of each other until the last of these instants; None: one never came."""
        known = list(instants)
        if self.told_at is None or None in known:
            return None
        return max(instant for instant in known if instant is not None) - self.told_at

    def introduce(self, end: End) -> None:
        """Tell the other side of this end, and of every candidate that it has and will have."""
        end.introduced = True
        ufrag, pwd, pacing = end.agent.local_ufrag, end.agent.local_pwd, end.agent.pacing
        renomination = end.agent.renomination
        self._later(
            end.peer,
            lambda agent, now: agent.set_remote(ufrag, pwd, now, pacing=pacing, renomination=renomination),
        )
        for candidate in end.agent.local_candidates:
            self._offer(end, candidate)
        if end.done:
            self._finish(end)

    def happened(self, end: End, event: object, now: float) -> None:
        """An end's agent said something."""
        end.notice(event, now)
        if not end.introduced:
            return
        match event:
            case CandidateFound(candidate):
                self._offer(end, candidate)
            case GatheringDone():
                self._finish(end)

    def _offer(self, end: End, candidate: Candidate) -> None:
        self._later(end.peer, lambda agent, now: agent.add_remote_candidate(candidate, now))

    def _finish(self, end: End) -> None:
        self._later(end.peer, lambda agent, now: agent.end_of_remote_candidates(now))

    def _later(self, host: str, command: Callable[[Agent, float], object]) -> None:
        """Have a command reach the agent of a host."""
        raise NotImplementedError
