"""The ways of a call's media: one that all streams share where they are bundled, one for each where they are not.

A leg is an ICE agent, what is told about it in offers and answers, and the keys that are agreed on over it. The first
leg is the call's: its path is the one that is watched, restarted and told. Every kind of stream is `offered` over one
leg, and flows over the one that offer and answer came to (`used`), which may be another's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.client.exchange import CandidateExchange
from iceway.client.keys import CallKeys
from iceway.core.address import Address
from iceway.core.machine import Input, Outbox, earliest
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig, IceServer
from iceway.ice.events import CandidatePath, IceState
from iceway.ice.streams import StreamEvent, Streams
from iceway.media.dtls import DtlsIdentity
from iceway.media.negotiation import KINDS, StreamTerms, Transport
from iceway.media.reading import NegotiationError
from iceway.trace.records import Record
from iceway.wire.rtp import is_rtcp
from iceway.wire.sdp import IceParameters

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class LegEvent:
    """`event` is one of `ice/events.py` or `media/dtls.py`."""

    leg: Leg
    event: object


class Leg:
    """One way. `name` is the kind of stream that it was made for; `path` what its media takes, or took last."""

    def __init__(self, name: str, agent: Agent, keys: CallKeys, components: int) -> None:
        """`components`: 2 where RTCP has one of its own."""
        self.name = name
        self.components = components
        self.agent = agent
        self.exchange = CandidateExchange(agent)
        self.keys = keys
        self.path: CandidatePath | None = None

    # --- our end in a description -------------------------------------------------------------------------
    def everything(self) -> Transport:
        """All candidates there are."""
        parameters, default = self.exchange.everything()
        return Transport(default, parameters, self._rtcp)

    def settled(self) -> Transport:
        """The pair in use alone (RFC 8839 §4.4); everything as long as there is none."""
        path, paths = self.agent.selected, self._selected()
        if path is None or len(paths) < self.components:
            return self.everything()
        self.exchange.our_default = path.local.address
        controlling = self.agent.role == "controlling"
        remote = tuple((one.component, one.remote.address) for one in paths) if controlling else ()
        parameters = self.exchange.parameters(tuple(one.local for one in paths), remote)
        return Transport(path.local.address, parameters, paths[1].local.address if len(paths) > 1 else None)

    def answering(self, ice: IceParameters | None, *, restarted: bool) -> Transport:
        """The candidate of ours that their offer chose, else the one in use, else all.

        baresip names all of ours that it knows; then the one in use is meant.
        """
        everything = self.everything()
        chosen = self.agent.selected or (None if restarted else self.agent.active_path())
        local = chosen.local if chosen else self.agent.default_candidate()
        theirs = ice.remote_candidates if ice is not None else ()
        named = [where for component, where in theirs if component == 1]
        if named and (local is None or local.address not in named):
            local = next((one for one in self.agent.local_candidates if one.address in named), local)
        if local is None:
            return everything
        self.exchange.our_default = local.address
        further = tuple(path.local for path in self._selected()[1:])
        parameters = self.exchange.parameters((local, *further)) if theirs else everything.ice
        return Transport(local.address, parameters, further[0].address if further else self._rtcp)

    @property
    def _rtcp(self) -> Address | None:
        default = self.agent.default_candidate(2) if self.components > 1 else None
        return default.address if default is not None else None

    def _selected(self) -> list[CandidatePath]:
        """The pairs in use, of every component."""
        paths = (self.agent.selected_path(number) for number in range(1, self.components + 1))
        return [path for path in paths if path is not None]

    def send(self, data: bytes, now: float) -> None:
        """A packet; RTCP by its own component if it has one."""
        self.agent.send(data, now, self.components if is_rtcp(data) else 1)

    @property
    def decided(self) -> bool:
        """A pair is selected, or there is none to be had."""
        return len(self._selected()) == self.components or self.agent.state is IceState.FAILED

    @property
    def as_promised(self) -> bool:
        """Whether the default addresses of offer and answer are the pair in use."""
        path, exchange = self.agent.selected, self.exchange
        return path is not None and (path.local.address, path.remote.address) == (
            exchange.our_default,
            exchange.their_default,
        )


class Legs(Outbox):
    """All of one call's. What an agent or its keys say comes out as `LegEvent`; records and requests as they are."""

    def __init__(self, name: str, config: AgentConfig, rng: Random, identity: DtlsIdentity | None) -> None:
        super().__init__()
        self._name = name
        self._identity = identity
        self._components = config.components
        self._streams = Streams(f"{name}/ice", config, rng)
        self._legs: dict[str, Leg] = {}
        self._offered: dict[str, Leg] = {}
        self._used: dict[str, Leg] = {}
        self._servers: tuple[IceServer, ...] | None = None
        self._answered = False
        self.first = self._made("audio", 0.0)

    # --- facts --------------------------------------------------------------------------------------------
    def __iter__(self) -> Iterator[Leg]:
        return iter(tuple(self._legs.values()))

    @property
    def ready(self) -> bool:
        """Whether every leg has the candidates that are worth waiting for."""
        return all(leg.agent.gathering_settled for leg in self)

    @property
    def describable(self) -> bool:
        """Whether every leg has a candidate at least."""
        return all(leg.agent.local_candidates for leg in self)

    @property
    def closed(self) -> bool:
        return self._streams.closed

    def used(self, kind: str) -> Leg | None:
        """What a stream flows over, as offer and answer have it."""
        return self._used.get(kind)

    def in_use(self) -> tuple[Leg, ...]:
        """Those that offer and answer came to; the first always."""
        return tuple(leg for leg in self if leg is self.first or leg in self._used.values())

    def carry(self, kinds: Collection[str]) -> bool:
        """Whether there is anything of these to offer."""
        return any(kind in self._offered for kind in kinds)

    def kinds_on(self, leg: Leg) -> tuple[str, ...]:
        return tuple(kind for kind, used in self._used.items() if used is leg)

    # --- offers and answers -------------------------------------------------------------------------------
    def prepare(self, kinds: Collection[str], *, bundled: bool, now: float) -> None:
        """A leg for each kind that is going to be offered; none of its own where the other side bundles."""
        for kind in kinds:
            if kind in self._used:
                self._offered[kind] = self._used[kind]
            elif not self._offered:
                self._offered[kind] = self.first
            elif kind not in self._offered and not bundled:
                self._offered[kind] = self._made(kind, now)

    def transports(self, kinds: Collection[str], end: Callable[[Leg], Transport]) -> dict[str, Transport]:
        """Our ends for a description of these kinds."""
        legs = {kind: self._offered[kind] for kind in kinds if kind in self._offered}
        ends = {leg.name: end(leg) for leg in legs.values()}
        return {kind: ends[leg.name] for kind, leg in legs.items()}

    def answered_by_them(self, terms: Mapping[str, StreamTerms]) -> Mapping[str, Leg]:
        """Streams flow where the answer puts them; where they did before, by kind.

        Raises NegotiationError if it leaves the first leg, the call's own.
        """
        agreed = {kind: found.transport for kind, found in terms.items() if found.negotiated}
        ways: dict[Leg, str] = {}
        used: dict[str, Leg] = {}
        for kind, over in agreed.items():
            leg = self._offered.get(over)
            if leg is not None and ways.setdefault(leg, over) == over:  # an answer cannot undo a bundle
                used[kind] = leg
        if self.first not in ways:
            raise NegotiationError(
                "the answer refuses the stream whose transport carries the call (its sound), and bundles nothing with it"
            )
        before, self._used = self._used, used
        return before

    def take_back(self, used: Mapping[str, Leg]) -> None:
        """The answer does not count: streams flow where they did before."""
        self._used = dict(used)

    def offered_by_them(self, terms: Mapping[str, StreamTerms], now: float) -> None:
        """…where their offer puts them; a leg is made for what comes with a transport of its own."""
        agreed = {kind: found.transport for kind, found in terms.items() if found.negotiated}
        ways = sorted(set(agreed.values()), key=KINDS.index)
        kept = [self._used.get(over) for over in ways]
        legs: dict[str, Leg] = {}
        for over, leg in zip(ways, kept, strict=True):
            if leg is None or leg in legs.values():  # it is new, or has left a bundle
                free = self.first not in kept
                leg = self.first if free and self.first not in legs.values() else self._made(over, now)
            legs[over] = leg
        if ways and self.first not in legs.values():
            legs[ways[0]] = self.first
        self._used = {kind: legs[over] for kind, over in agreed.items()}
        self._offered |= self._used

    def disuse(self, leg: Leg) -> None:
        """Nothing can flow over it, whatever offer and answer say."""
        self._used = {kind: used for kind, used in self._used.items() if used is not leg}

    def leave(self, kind: str) -> None:
        """Both sides know that this stream is over. The other one gives up its end of a leg that was the stream's alone,
        with the keys that were agreed on over it: what comes under the same name needs another."""
        leg = self._offered.get(kind)
        others = [other for name, other in self._offered.items() if name != kind]
        if leg is not None and leg is not self.first and leg not in others and kind not in self._used:
            del self._offered[kind]

    def keep(self, kinds: Collection[str], now: float) -> None:
        """It is known what flows where: legs that none of these kinds needs are given back."""
        self._offered = {
            kind: self._used.get(kind) or self._offered[kind]
            for kind in kinds
            if kind in self._used or kind in self._offered
        }
        needed = [self.first, *self._offered.values(), *self._used.values()]
        for leg in self:
            if leg not in needed:
                leg.keys.close()
                del self._legs[leg.name]
                self._streams.drop(leg.name, now)

    # --- commands -----------------------------------------------------------------------------------------
    def gather(self, interfaces: tuple[str, ...], servers: tuple[IceServer, ...], now: float) -> None:
        self._servers = servers
        self._streams.gather(interfaces, servers, now)

    def renew_servers(self, servers: tuple[IceServer, ...], now: float) -> None:
        """New credentials, before the old ones expire."""
        self._servers = servers
        for leg in self:
            leg.agent.renew_servers(servers, now)

    def restart(self, now: float) -> None:
        """All together (RFC 8445 §9)."""
        self._streams.restart(now)

    def ringing(self, now: float) -> None:
        for leg in self:
            leg.agent.ringing(now)

    def answered(self, now: float) -> None:
        self._answered = True
        for leg in self:
            leg.agent.answered(now)
            leg.keys.expect(now)

    def close(self, now: float) -> None:
        for leg in self:
            leg.keys.close()
        self._streams.close(now)
        self._legs.clear()

    # --- machine ------------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        self._streams.handle_input(event, now)

    def handle_timeout(self, now: float) -> None:
        self._streams.handle_timeout(now)
        for leg in self:
            leg.keys.handle_timeout(now)

    def poll_timeout(self) -> float | None:
        return earliest(self._streams.poll_timeout(), *(leg.keys.poll_timeout() for leg in self))

    def poll_output(self) -> object | None:
        if (waiting := super().poll_output()) is not None:
            return waiting
        while (output := self._streams.poll_output()) is not None:
            match output:
                case StreamEvent(stream=name, event=event) if name in self._legs:
                    self.emit(LegEvent(self._legs[name], event))
                case StreamEvent():
                    pass  # it is on its way out
                case _:
                    self.emit(output)
        for leg in self:
            while (said := leg.keys.poll_output()) is not None:
                self.emit(said if isinstance(said, Record) else LegEvent(leg, said))
        return super().poll_output()

    # --- helpers ------------------------------------------------------------------------------------------
    def _made(self, name: str, now: float) -> Leg:
        while name in self._legs:
            name += "'"
        agent = self._streams.add(name)
        further = f".{name}" if self._legs else ""
        keys = CallKeys(f"{self._name}/dtls{further}", self._identity)
        leg = self._legs[name] = Leg(name, agent, keys, self._components)
        if self._servers is not None:
            agent.gather(self.first.agent.interfaces, self._servers, now)
        if self._answered:
            agent.answered(now)
            leg.keys.expect(now)
        return leg
