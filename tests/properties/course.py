"""Plays a case: the agents, the relay and the judge of paths are the real ones, the network is the world's.

`Course` tells what happened; `laws` says whether that is right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig, IceServer
from iceway.ice.events import CandidatePath, GatheringSettled, IceState
from iceway.lab.grid.ends import End
from iceway.lab.grid.meeting import Meeting
from iceway.lab.grid.networks import EDGE, ENDS
from tests.properties.cases import Case, Mishap
from tests.properties.networks import topology


class Course(Meeting):
    """A meeting at the pace of a case.

    `last_told` is when the last message of the signalling arrived that says who the peer is and where.
    """

    def __init__(self, case: Case) -> None:
        configs = {name: AgentConfig(role) for name, role in zip(ENDS, case.controlling, strict=True)}
        super().__init__(topology(case), case.seed, configs)
        self.case = case
        self.last_told = 0.0
        self.relay_lives = True
        mishap = case.mishap
        if mishap is not None and not mishap.later:
            self.world.clock.at(mishap.at, partial(self.strike, mishap))
        for end, start in zip(self.ends.values(), (0.0, case.skew), strict=True):
            self.world.clock.at(start, partial(self._begin, end))

    # --- questions ---------------------------------------------------------------------------------------
    @property
    def paths(self) -> list[CandidatePath | None]:
        """What Alice and Bob have selected."""
        return [end.agent.selected for end in self.ends.values()]

    @property
    def agreed(self) -> bool:
        """Both stand on the two ends of one path."""
        ours, theirs = self.paths
        return (
            ours is not None
            and theirs is not None
            and (ours.local.address, ours.remote.address) == (theirs.remote.address, theirs.local.address)
        )

    def ended(self) -> bool:
        return all(end.selected_at is not None or end.failure is not None for end in self.ends.values())

    # --- what a test does --------------------------------------------------------------------------------
    def clear_weather(self) -> None:
        """No packet is lost any more, and none comes twice."""
        for segment in self.world.topology.segments:
            self.world.set_link(segment.name, dataclasses.replace(segment.link, loss=0.0, duplicate=0.0))

    def strike(self, mishap: Mishap) -> None:
        match mishap.kind:
            case "relay-silent":
                self.world.unplug(EDGE)
                self.relay_lives = False
            case "relay-killed":
                self.world.kill(EDGE)
                self.relay_lives = False
            case _:
                name = mishap.kind.removeprefix("rebind-")
                ways = self.world.topology.routers
                own = [
                    router.name for router in ways if router.nat and router.name.startswith((name, "shared"))
                ]
                if own:
                    self.world.reboot(own[-1])

    def mend(self, mishap: Mishap) -> None:
        """The relay is back."""
        self.relay_lives = True
        if mishap.kind == "relay-silent":
            self.world.plug(EDGE)
        elif mishap.kind == "relay-killed":
            self.relay = self.run_relay()

    def speak(self, words: str, patience: float = 30.0) -> bool:
        """Each says something on the path it has; whether each heard what the other said. A connection to a relay that
        lost many packets has to catch up first."""
        said = {name: f"{words} from {name}".encode() for name in ENDS}
        for name, end in self.ends.items():
            self.world.call(name, partial(_say, end.agent, said[name]))
        return self.world.run_until(
            lambda: all(said[end.peer] in end.heard for end in self.ends.values()), patience
        )

    def restart(self) -> None:
        """Both begin anew, and are told of each other again."""
        for name, end in self.ends.items():
            end.failure = end.selected_at = end.connected_at = None
            end.introduced = end.done = False
            self.world.call(name, end.agent.restart)
        for end in self.ends.values():
            if not end.introduced:
                self.introduce(end)

    def close(self) -> None:
        for name, end in self.ends.items():
            self.world.call(name, end.agent.close)

    def _servers(self, end: End) -> tuple[IceServer, ...]:
        return tuple(s for s in super()._servers(end) if s.transport in self.case.transports)

    # --- the signalling ----------------------------------------------------------------------------------
    def happened(self, end: End, event: object, now: float) -> None:
        super().happened(end, event, now)
        if isinstance(event, GatheringSettled) and not end.introduced:
            self.introduce(end)

    def _begin(self, end: End) -> None:
        if self.case.trickle[ENDS.index(end.name)]:
            self.introduce(end)
        self._start(end)

    def _finish(self, end: End) -> None:
        self._later(end.peer, lambda agent, now: agent.end_of_remote_candidates(now), telling=False)

    def _later(self, host: str, command: Callable[[Agent, float], object], *, telling: bool = True) -> None:
        def tell(agent: Agent, now: float) -> None:
            if agent.state is not IceState.CLOSED:
                command(agent, now)
                self.last_told = now if telling else self.last_told

        super()._later(host, tell)

    def _journey(self) -> float:
        return super()._journey() + self.world.rng("signalling").uniform(0, self.case.spread)


def _say(agent: Agent, words: bytes, now: float) -> None:
    agent.send(words, now)
