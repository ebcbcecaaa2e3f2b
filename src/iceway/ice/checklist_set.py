"""What the data streams of one ICE session share (RFC 8445 §6.1.2, §6.1.4.1, §14).

Who is controlling, the pace at which requests leave, the names of foundations, and which of these are being tried
somewhere already: a pair stays frozen while its like is checked in another checklist. An agent alone has a set of
its own. `Streams` composes several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from iceway.ice.candidate import Foundations
from iceway.ice.config import MAX_PAIRS

if TYPE_CHECKING:
    from random import Random

    from iceway.ice.checklist import Checklist


class Member(Protocol):
    """The checks of one checklist."""

    stopped: bool

    @property
    def checklist(self) -> Checklist: ...

    def wake(self, now: float) -> None:
        """There may be something to check: be there when the next check may leave."""

    def send_next(self, now: float) -> float | None:
        """Send a check, if there is one; then seconds until the next one may leave, anybody's."""


class Slots:
    """Slots in time, each for one transaction of whoever asks first; so askers take turns by themselves."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def reserve(self, now: float, interval: float) -> float:
        """When the asker's slot begins. Nobody else's does until `interval` later."""
        at = max(now, self._free_at)
        self._free_at = at + interval
        return at


class Role:
    """Controlling or controlled, for all streams at once, and the tie-breaker of RFC 8445 §5.3."""

    def __init__(self, controlling: bool, tie_breaker: int | None = None) -> None:
        self.controlling = controlling
        self._tie_breaker = tie_breaker
        self._listeners: dict[str, Callable[[], None]] = {}

    def drawn(self, rng: Random) -> Role:
        """Itself, with a tie-breaker."""
        if self._tie_breaker is None:
            self._tie_breaker = rng.getrandbits(64)
        return self

    @property
    def tie_breaker(self) -> int:
        assert self._tie_breaker is not None
        return self._tie_breaker

    def listen(self, agent: str, switched: Callable[[], None]) -> None:
        """Call this when the role has changed; in place of what the agent asked for before."""
        self._listeners[agent] = switched

    def forget(self, agent: str) -> None:
        self._listeners.pop(agent, None)

    def switch(self) -> None:
        self.controlling = not self.controlling
        for switched in list(self._listeners.values()):
            switched()


class ChecklistSet:
    """Members are the checks of every session that lives, in the order in which their turns come; during a restart
    an agent has two. `next_at` is when the next check may leave.
    """

    def __init__(self, controlling: bool) -> None:
        self.role = Role(controlling)
        self.next_at = 0.0
        self.gathering = Slots()
        self.foundations = Foundations()
        self._agents: dict[Member, str] = {}

    def join(self, member: Member, agent: str) -> None:
        self._agents[member] = agent
        self._share_out()

    def leave(self, member: Member, now: float) -> None:
        if self._agents.pop(member, None) is None:
            return
        self._share_out()
        for other in self._agents:
            if other.checklist.unchecked:
                other.wake(now)

    def pace(self, now: float) -> bool:
        """A member's timer says that a check may leave: whose turn it is sends one. False: nobody has one to send."""
        if now < self.next_at:
            return True
        for member, agent in list(self._agents.items()):
            interval = member.send_next(now)
            if interval is not None:
                self.next_at = now + interval
                del self._agents[member]
                self._agents[member] = agent  # the last one now
                return True
        return False

    def busy(self) -> int:
        """Pairs waiting or in progress, which set the pace of retransmissions (RFC 8445 §14.3)."""
        return sum(member.checklist.busy() for member in self._agents)

    def tried_elsewhere(self, foundation: tuple[str, str], than: Checklist) -> bool:
        """Whether the checklist of another stream has, or soon will have, an answer about pairs of this kind. What the
        same stream tries with its credentials from before a restart says nothing."""
        asking = {agent for member, agent in self._agents.items() if member.checklist is than}
        for member, agent in self._agents.items():
            if agent not in asking and not member.stopped and foundation in member.checklist.tried:
                member.checklist.awaited.add(foundation)
                return True
        return False

    def known_to_work(self, foundation: tuple[str, str]) -> bool:
        return any(member.checklist.reached(foundation) for member in self._agents)

    def thaw(self, foundation: tuple[str, str]) -> None:
        """A pair of this kind succeeded: its frozen kin may go, wherever it is (RFC 8445 §7.2.5.3.3)."""
        for member in self._agents:
            member.checklist.thaw(foundation)

    def stir(self, checklist: Checklist, now: float) -> None:
        """Something may have happened in this checklist: who waited for its end of a trial may go on."""
        if checklist.awaited <= checklist.tried:
            return
        checklist.awaited &= checklist.tried
        for member in self._agents:
            if member.checklist is not checklist and member.checklist.unchecked:
                member.wake(now)

    def _share_out(self) -> None:
        """RFC 8445 §6.1.2.5 bounds the pairs of all checklists together."""
        for member in self._agents:
            member.checklist.limit = MAX_PAIRS // len(set(self._agents.values()))
