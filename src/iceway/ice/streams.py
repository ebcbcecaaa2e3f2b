"""One ICE session of several data streams: an agent each, one pace, one role (RFC 8445 §6.1.2, §6.1.4.1).

    streams = Streams("call.1/ice", AgentConfig(controlling=True), rng)
    audio, video = streams.add("audio"), streams.add("video")
    streams.gather(("192.0.2.1",), servers, now)
    …every agent has its own candidates, credentials and path; commands go to it as to one that is alone…
    …StreamEvent("video", Selected(…))…
    streams.drop("video", now)              # bundled into audio (RFC 8843), or taken out of the call

Requests leave through one pacer, so that three streams load a network like one. A pair whose like is being checked
in another stream stays frozen until that one is known, and a role conflict in one is settled for all. A stream that
fails leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from iceway.core.errors import UsageError
from iceway.core.machine import Input, Outbox, Request
from iceway.core.switchboard import Switchboard
from iceway.ice.agent import Agent
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.config import AgentConfig, IceServer
from iceway.ice.events import IceState
from iceway.trace.records import Record

if TYPE_CHECKING:
    from random import Random

_PROGRESS = (IceState.NEW, IceState.GATHERING, IceState.CHECKING, IceState.CONNECTED, IceState.COMPLETED)


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """`event` is one of `ice/events.py`, of this stream's agent."""

    stream: str
    event: object


class Streams(Outbox):
    """Machine of agents. Streams are told apart by name. Keys and records of the first begin with `{name}`, as those of an
    agent that is alone, those of a further one with `{name}.{stream}`."""

    def __init__(self, name: str, config: AgentConfig, rng: Random) -> None:
        super().__init__()
        self.name = name
        self._config = config
        self._rng = rng
        self._together = ChecklistSet(config.controlling and not config.lite)
        self._agents: dict[str, Agent] = {}
        self._leaving: list[Agent] = []
        self._names: dict[str, str] = {}
        self._switchboard = Switchboard()

    # --- what an application asks ------------------------------------------------------------------------
    @property
    def agents(self) -> Mapping[str, Agent]:
        """By stream, in the order of adding; dropped ones are gone at once."""
        return MappingProxyType(self._agents)

    def __getitem__(self, stream: str) -> Agent:
        """The agent of a stream. Raises UsageError."""
        try:
            return self._agents[stream]
        except KeyError:
            raise UsageError(f"there is no stream {stream!r} in {self.name}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._agents))

    def __len__(self) -> int:
        return len(self._agents)

    @property
    def role(self) -> str:
        return "controlling" if self._together.role.controlling else "controlled"

    @property
    def state(self) -> IceState:
        """Of the session (RFC 8445 §6.1.3): failed if a stream is, else that of the stream which is furthest behind."""
        states = [agent.state for agent in self._agents.values()]
        if not states:
            return IceState.CLOSED if self._leaving else IceState.NEW
        for exception in (IceState.FAILED, IceState.CLOSED):
            if exception in states:
                return exception
        return min(states, key=_PROGRESS.index)

    @property
    def closed(self) -> bool:
        """Nothing is left of any stream."""
        return not self._agents and not self._leaving

    # --- commands ----------------------------------------------------------------------------------------
    def add(self, stream: str, *, components: int | None = None) -> Agent:
        """A further stream, with the session's configuration but for `components`. Raises UsageError."""
        if not stream or "/" in stream or stream in self._agents:
            raise UsageError(f"{stream!r} cannot be a further stream of {self.name}")
        name = f"{self.name}.{stream}" if self._names else self.name
        while name in self._names:  # One of this name was dropped and still takes leave of its relays.
            name += "'"
        config = self._config if components is None else replace(self._config, components=components)
        agent = Agent(name, config, self._rng, together=self._together)
        self._agents[stream] = agent
        self._names[name] = stream
        self._switchboard.add(name, agent)
        return agent

    def drop(self, stream: str, now: float) -> None:
        """The stream is not needed (any more): its sockets and relays are given back at once."""
        agent = self[stream]
        del self._agents[stream]
        self._leaving.append(agent)
        agent.close(now)

    def gather(self, interfaces: tuple[str, ...], servers: tuple[IceServer, ...], now: float) -> None:
        for agent in self._agents.values():
            agent.gather(interfaces, servers, now)

    def restart(self, now: float) -> None:
        """All streams restart together (RFC 8445 §9)."""
        for agent in self._agents.values():
            agent.restart(now)

    def close(self, now: float) -> None:
        for stream in self:
            self.drop(stream, now)

    # --- machine -----------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        self._switchboard.route(event, now)

    def handle_timeout(self, now: float) -> None:
        self._switchboard.handle_timeout(now)

    def poll_timeout(self) -> float | None:
        return self._switchboard.poll_timeout()

    def poll_output(self) -> object | None:
        if (waiting := super().poll_output()) is not None:
            return waiting
        for name, output in self._switchboard.outputs():
            if isinstance(output, Record | Request):
                self.emit(output)
            else:
                self.emit(StreamEvent(self._names[name], output))
        for agent in [agent for agent in self._leaving if agent.closed]:
            self._leaving.remove(agent)
            self._switchboard.remove(agent.name)
            del self._names[agent.name]
        return super().poll_output()
