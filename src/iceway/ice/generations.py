"""Sessions across restarts (RFC 8445 §9): the current one, and its predecessor for as long as that carries media.

A restart, or a peer in place of the one before (a fork), makes a new session with credentials of its own. What
comes in finds its session by what it names; what goes out takes the best way of the current session, or the old
one's until there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from iceway.core.address import Address
from iceway.ice.candidate import Candidate
from iceway.ice.checklist import CandidatePair
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.checks import Outlet
from iceway.ice.config import AgentConfig
from iceway.ice.messages import Credentials, Refusal, user_fragments
from iceway.ice.session import Session
from iceway.wire.stun import StunMessage

if TYPE_CHECKING:
    from random import Random


class Generations:
    """Those that live, the current one first. `given` are its credentials to begin with, if they are not drawn."""

    def __init__(
        self,
        agent: str,
        config: AgentConfig,
        given: Credentials | None,
        together: ChecklistSet,
        rng: Random,
        outlet: Outlet,
    ) -> None:
        self._agent = agent
        self._config = config
        self._given = given
        self._together = together
        self._rng = rng
        self._outlet = outlet
        self._current: Session | None = None
        self._previous: Session | None = None

    def __iter__(self) -> Iterator[Session]:
        return iter([session for session in (self._current, self._previous) if session is not None])

    @property
    def current(self) -> Session:
        if self._current is None:
            self._together.role.drawn(self._rng)  # before the credentials
            self._current = self._new(self._given or Credentials.drawn(self._rng))
        return self._current

    # --- questions ---------------------------------------------------------------------------------------
    def active(self, component: int) -> CandidatePair | None:
        """The pair that data goes on."""
        for session in self:
            pair = session.active(component)
            if pair is not None:
                return pair
        return None

    def accepts(self, base: Address, source: Address) -> tuple[int, CandidatePair | None] | None:
        """Component and pair of data from there, or None if no authentic check came from there."""
        for session in self:
            component = session.accepts(base, source)
            if component is not None:
                return component, session.pair(base, source)
        return None

    def bases_in_use(self) -> list[Address]:
        """Bases that carry media and must not be pulled away."""
        numbers = range(1, self._config.components + 1)
        pairs = [self.current.selected(number) for number in numbers]
        if self._previous is not None:
            pairs += [self._previous.active(number) for number in numbers]
        return [pair.base for pair in pairs if pair is not None]

    # --- commands ----------------------------------------------------------------------------------------
    def restart(self, candidates: Iterable[Candidate], now: float, *, gathering: bool) -> None:
        """New credentials; media stays with the old session as long as that alone has a path."""
        self._succeed(Credentials.drawn(self._rng), candidates, now, gathering)

    def change_peer(self, candidates: Iterable[Candidate], now: float, *, gathering: bool) -> None:
        """The same credentials towards somebody else."""
        self._succeed(self.current.local, candidates, now, gathering)

    def retire_previous(self, now: float) -> None:
        if self._previous is not None:
            self._previous.close(now)
            self._previous = None

    def close(self, now: float) -> None:
        for session in self:
            session.close(now)
        self._previous = None

    def handle_request(
        self, base: Address, source: Address, request: StunMessage, now: float
    ) -> Refusal | None:
        """A check of the peer, for the session that it names. What nobody takes is refused, except from a peer that is
        no more."""
        fragments = user_fragments(request)
        if fragments is None:
            return Refusal(400, "Bad Request")
        ours, theirs = fragments
        mine = [session for session in self if session.local.ufrag == ours]
        for session in mine:
            if session.remote is None or session.remote.ufrag == theirs:
                session.handle_request(base, source, request, now)
                return None
        return None if mine else Refusal(401, "Unauthenticated")

    def _succeed(
        self, local: Credentials, candidates: Iterable[Candidate], now: float, gathering: bool
    ) -> None:
        old = self.current
        if old.connected:
            self._previous = old
        else:
            old.close(now)
        self._current = self._new(local)
        self._current.gathering = gathering
        for candidate in candidates:
            self._current.add_local(candidate, now)

    def _new(self, local: Credentials) -> Session:
        return Session(self._agent, self._config, local, self._together, self._rng, self._outlet)
