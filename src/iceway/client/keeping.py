"""The path of a call: found, watched, lost, found again; or not found, and told so.

A call that never had a path ends when its agent gives up, which takes RFC 8863's 39.5 s; after ten seconds it is
told what was tried. A path that was there and died begins ICE restarts (`restart.py`), and only when those bring
nothing does the call end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.client.events import CallConnected, CallInterrupted, CallPathless, CallRestored
from iceway.client.restart import Due, Restarts, Step
from iceway.client.watch import Finding, PathWatch
from iceway.core.address import Address
from iceway.core.machine import earliest
from iceway.core.timers import Timers
from iceway.ice.agent import Agent
from iceway.ice.events import CandidatePath

if TYPE_CHECKING:
    from iceway.client.call import Call
    from iceway.client.renegotiation import Renegotiation
    from iceway.client.signalling import Signalling

PATHLESS = 10.0  # seconds without a path until that is told, and what was tried
HOPELESS = 60.0  # answered, and still without one: however much more the other side may have to name


class PathKeeper:
    """One call's; `owner` is the call. `path` is the one that works, or worked last; None before the first."""

    def __init__(self, owner: Call, agent: Agent, signalling: Signalling, restarts: Restarts) -> None:
        self.path: CandidatePath | None = None
        self._owner = owner
        self._agent = agent
        self._signalling = signalling
        self._restarts = restarts
        self._watch = PathWatch()
        self._timers = Timers()  # "pathless", "hopeless": until there is a path

    # --- before the first ---------------------------------------------------------------------------------
    def looked_for(self, now: float) -> None:
        """Both sides know each other's credentials."""
        if self.path is None:
            self._timers.arm("pathless", now + PATHLESS)

    def answered(self, now: float) -> None:
        """Re-INVITEs are possible from now on, and nobody waits for a path any more but the two who talk."""
        self._restarts.resume(now)
        if self.path is None:
            self._timers.arm("hopeless", now + HOPELESS)

    def another_end(self) -> None:
        """Another end of a forked call is talked to: no path leads there yet."""
        self.path = None

    # --- what the agent says ------------------------------------------------------------------------------
    def usable(self, path: CandidatePath, now: float) -> None:
        """Media can flow on a path; the first one is news, and so is one after trouble."""
        first, self.path = self.path is None, path
        self._timers.clear()
        if first:
            self._owner.emit(CallConnected(self._owner.name, path))
        if self._restarts.mended(now):
            self._owner.emit(CallRestored(self._owner.name, path))

    def heard(self, remote: Address, now: float) -> None:
        """Media came. From elsewhere than the path leads to it would not show that they hear us."""
        if self.path is not None and remote == self.path.remote.address:
            self._watch.heard(now)

    def lost(self, reason: str, now: float, *, ours: bool = False) -> None:
        """The path is dead or about to be; `ours`: the cause is at this end."""
        if not self._owner.ended and self._restarts.trouble(reason, now, ours=ours):
            self._owner.emit(CallInterrupted(self._owner.name, reason))

    def not_found(self, reason: str, now: float) -> None:
        """The agent has given up. After a restart that is one attempt; a call that never had a path is over."""
        if self.path is None:
            self._owner.hang_up(now, f"no way was found: {reason}")
        elif not self._restarts.in_trouble:
            self.lost(reason, now)
        elif self._restarts.step is Step.CHECKING:
            self._restarts.failed(now)

    def network_changed(self, now: float) -> None:
        """…again, while a restart because of the change before is under way."""
        if self._restarts.in_trouble:
            self._restarts.trouble("our network changed again", now, ours=True)

    @property
    def in_trouble(self) -> bool:
        return self._restarts.in_trouble

    # --- time ---------------------------------------------------------------------------------------------
    def handle_timeout(self, now: float) -> None:
        for timer in self._timers.due(now):
            if timer == "pathless":
                self._owner.emit(CallPathless(self._owner.name, PATHLESS, self._agent.tried))
            else:
                self._owner.hang_up(now, f"no way was found in {HOPELESS:.0f} s: {self._agent.tried}")
        path = self._agent.active_path()
        match self._watch.judge(self._agent.proven_at, path.round_trip if path else None, now):
            case Finding.ASK:
                self._agent.ask_consent(now)
                self._signalling.probe(self._owner, now)
            case Finding.DEAD:
                silent = self._watch.silent_for(now)
                self.lost(f"the other side has been silent for {silent:.0f} s", now)

    def restart_when_due(self, renegotiation: Renegotiation, now: float) -> bool:
        """Begin a restart, or let the call go, if it is time. True if anything happened."""
        happened = self._restarts.due(now)
        for due in happened:
            if due is Due.BEGIN:
                if self._owner.answered:  # else no re-INVITE may be sent; `answered` comes back to it
                    renegotiation.restart(now)
            elif (path := self._agent.active_path()) is not None:
                self.usable(path, now)  # the old one still works
            else:
                after = now - self._restarts.began_at
                reason = f"{self._restarts.reason}, and no other way was found in {after:.0f} s"
                self._owner.hang_up(now, reason)
        return bool(happened)

    def poll_timeout(self) -> float | None:
        return earliest(self._timers.next_at(), self._watch.next_at, self._restarts.poll_timeout())

    def stop(self) -> None:
        self._timers.clear()
        self._watch.stop()
        self._restarts.stop()
