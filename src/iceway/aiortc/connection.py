"""The agent as aiortc wants it: the coroutines and attributes of aioice's `Connection`.

One connection is one agent on a driver of its own, from `gather_candidates` until shortly after `close`. Whatever
waits here can be cancelled without losing anything. `close` returns at once: relays are told goodbye in the
background, for a few seconds at most. Values (`Candidate`, `ConnectionClosed`) stay aioice's own, so that code
which holds them goes on working.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from iceway.aiortc.servers import servers_of_aioice
from iceway.aiortc.why import why
from iceway.core.errors import ParseError
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate, parse, serialize
from iceway.ice.config import AgentConfig, IceServer, Policy
from iceway.ice.events import (
    CandidateFound,
    CandidatePath,
    DataReceived,
    Failed,
    GatheringDone,
    GatheringSettled,
    PairValid,
    RestartNeeded,
    Selected,
)
from iceway.ice.messages import Credentials
from iceway.ice.statistics import Report
from iceway.io.addresses import usable_addresses
from iceway.io.driver import Driver
from iceway.io.keystore import KeyStore
from iceway.io.recorder import Recorder
from iceway.io.resolver import Resolver
from iceway.trace.entry import Entry
from iceway.trace.records import Note, StunReceived, StunSent

if TYPE_CHECKING:
    import aioice
    from aioice.ice import ConnectionEvent

MAX_UNREAD = 4096  # datagrams that wait for `recv`; the newest are dropped, as a full socket would
MAX_TRACE = 4000  # entries kept for explanations, some 2 MB
TRICKLE, RENOMINATION = "trickle", "renomination"  # RFC 8838 §3, draft-thatcher-ice-renomination
FAREWELL = 3.0  # seconds that relays get to confirm that they are released

_log = logging.getLogger("iceway.aiortc")
_numbers = itertools.count(1)
_leaving: set[asyncio.Task[None]] = set()


@cache
def _resolver() -> Resolver:
    """One a process: it remembers name servers that are silent."""
    return Resolver()


class TransportPolicy(Protocol):
    """aioice's: an enumeration whose names are those of `Policy`."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What aiortc has no words for. `agent` is what every agent is told, its role aside.

    `trust` are PEM files of authorities for TURN over TLS, besides the system's. `recorder` gets the traces of all
    connections. `addresses` lists the IPs of the interfaces to use, best first.
    """

    agent: AgentConfig = field(default_factory=lambda: AgentConfig(controlling=False))
    trust: tuple[Path, ...] = ()
    recorder: Recorder | None = None
    addresses: Callable[[], tuple[str, ...]] = usable_addresses


class Connection:
    """One media transport. The parameters before the asterisk are aioice's."""

    def __init__(
        self,
        ice_controlling: bool,
        stun_server: tuple[str, int] | None = None,
        turn_server: tuple[str, int] | None = None,
        turn_username: str | None = None,
        turn_password: str | None = None,
        turn_ssl: bool = False,
        turn_transport: str = "udp",
        transport_policy: TransportPolicy | None = None,
        local_username: str | None = None,
        local_password: str | None = None,
        *,
        settings: Settings | None = None,
    ) -> None:
        self.remote_is_lite = False
        self.remote_username: str | None = None
        self.remote_password: str | None = None
        self.remote_options: tuple[str, ...] = ()
        """The peer's `a=ice-options`."""
        self.servers: tuple[IceServer, ...] = servers_of_aioice(
            stun_server, turn_server, turn_username, turn_password, turn_ssl, turn_transport
        )
        """Who is asked, once gathering begins."""
        self.on_candidate: Callable[[aioice.Candidate], None] | None = None
        """Hears of local candidates as they are found; gathering then returns with the first of them."""
        self.on_gathered: Callable[[], None] | None = None
        """Hears that no local candidate is to come any more. A dead server takes half a minute to be given up."""

        self.on_restart_needed: Callable[[str], None] | None = None
        """Hears that the interface under the path is gone, and with it the path, unless ICE is restarted."""

        self._settings = settings or Settings()
        self._policy = transport_policy
        self._rng = random.SystemRandom()
        drawn = Credentials.drawn(self._rng)
        self._credentials = Credentials(local_username or drawn.ufrag, local_password or drawn.pwd)
        self._controlling = ice_controlling
        self._agent: Agent | None = None
        self._driver: Driver | None = None
        self._given: list[aioice.Candidate] = []
        self._given_all = False

        self._settled = False
        self._valid = False
        self._connected = False
        self._closed = False
        self._told_closed = False
        self._ended = ""
        self._unread: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._news = asyncio.Event()
        self._trace: deque[Entry] = deque(maxlen=MAX_TRACE)

    # --- what aiortc reads and writes --------------------------------------------------------------------
    @property
    def ice_controlling(self) -> bool:
        """Our role. Written after gathering it changes nothing: agents settle a clash among themselves."""
        return self._agent.role == "controlling" if self._agent is not None else self._controlling

    @ice_controlling.setter
    def ice_controlling(self, controlling: bool) -> None:
        self._controlling = controlling

    @property
    def local_username(self) -> str:
        return self._agent.local_ufrag if self._agent is not None else self._credentials.ufrag

    @property
    def local_password(self) -> str:
        return self._agent.local_pwd if self._agent is not None else self._credentials.pwd

    @property
    def local_options(self) -> tuple[str, ...]:
        """Our `a=ice-options`."""
        config = self._settings.agent
        trickle = (TRICKLE,) if self.on_candidate is not None else ()
        return (*trickle, RENOMINATION) if config.renomination and not config.lite else trickle

    @property
    def local_candidates(self) -> list[aioice.Candidate]:
        """Those found so far, in the order of finding; none after `close`."""
        if self._agent is None or self._closed:
            return []
        return [_to_aioice(candidate) for candidate in self._agent.local_candidates]

    @property
    def remote_candidates(self) -> list[aioice.Candidate]:
        """As they were given."""
        return list(self._given)

    # --- what aiortc awaits ------------------------------------------------------------------------------
    async def gather_candidates(self) -> None:
        """Returns when the candidates found are a sensible offer; servers that answer later are still used."""
        if self._agent is not None or self._closed:
            return
        settings = self._settings
        config = replace(settings.agent, controlling=self._controlling)
        if self._policy is not None and self._policy.name == "RELAY":
            config = replace(config, policy=Policy.RELAY)
        agent = self._agent = Agent(f"aiortc.{next(_numbers)}", config, self._rng, self._credentials)
        self._driver = Driver(
            agent,
            keystore=KeyStore(trust=settings.trust, system_trust=True),
            resolver=_resolver(),
            recorder=Recorder(listeners=(self._keep,)),
            on_event=self._heard,
            addresses=settings.addresses,
        )
        await self._driver.start()
        self._driver.call(lambda now: agent.gather(settings.addresses(), self.servers, now))
        for candidate in self._given:
            self._pass_on(candidate)
        if self._given_all:
            self._driver.call(agent.end_of_remote_candidates)
        await self.settled()

    async def add_remote_candidate(self, remote_candidate: aioice.Candidate | None) -> None:
        """At any time; None says that there are no more."""
        if self._given_all:
            raise ValueError("Cannot add remote candidate after end-of-candidates.")
        if remote_candidate is not None:
            self._given.append(remote_candidate)
            self._pass_on(remote_candidate)
            return
        self._given_all = True
        if self._agent is not None and self._driver is not None and not self._closed:
            self._driver.call(self._agent.end_of_remote_candidates)

    async def connect(self) -> None:
        """Returns when data can flow both ways. Raises ConnectionError, whose text says why it cannot."""
        username, password = self.remote_username, self.remote_password
        if self._agent is None or self._driver is None:
            raise ConnectionError(self._ended or "Local candidates gathering was not performed")
        if username is None or password is None:
            raise ConnectionError("Remote username or password is missing")
        self._set_remote(username, password)
        await self._until(lambda: self._connected)
        if self._ended:
            raise ConnectionError(self._ended)

    async def recv(self) -> bytes:
        """The next datagram. Raises ConnectionError when there will be none."""
        while not self._unread:
            if self._ended or not self._connected:
                raise ConnectionError(self._ended or "Cannot receive data, not connected")
            self._arrived.clear()
            await self._arrived.wait()
        return self._unread.popleft()

    async def send(self, data: bytes) -> None:
        agent, driver = self._agent, self._driver
        if (
            self._ended
            or agent is None
            or driver is None
            or not driver.call(lambda now: agent.send(data, now))
        ):
            raise ConnectionError(self._ended or "Cannot send data, not connected")

    async def get_event(self) -> ConnectionEvent | None:
        """`ConnectionClosed`, once: after `close`, or when there is no way, or no longer. From then on None."""
        from aioice import ConnectionClosed

        await self._until(lambda: False)
        if self._told_closed:
            await asyncio.sleep(0)  # whoever asks in a loop shall not hold up everybody else
            return None
        self._told_closed = True
        return ConnectionClosed()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._end("the connection is closed")
        self._unread.clear()
        if self._agent is None or self._driver is None:
            return
        self._driver.call(self._agent.close)
        if self._agent.closed:
            await self._driver.stop()
            return
        task = asyncio.create_task(self._leave(self._agent, self._driver))
        _leaving.add(task)
        task.add_done_callback(_leaving.discard)

    # --- more than aioice gives --------------------------------------------------------------------------
    def restart(self) -> None:
        """New credentials for a new search (RFC 8445 §9); data stays on the old path until there is a better one."""
        if self._agent is not None and self._driver is not None and not self._ended:
            self._settled = False
            self._driver.call(self._agent.restart)

    def follow(self, username: str, password: str) -> None:
        """The peer restarted: these are its credentials from now on, and candidates are of the new search."""
        self.remote_username, self.remote_password = username, password
        self._given, self._given_all = [], False
        self._set_remote(username, password)

    async def settled(self) -> None:
        """Returns when the candidates found are a sensible offer, if anybody looks for some."""
        agent = self._agent
        if agent is not None:
            await self._until(
                lambda: self._settled or (self.on_candidate is not None and bool(agent.local_candidates))
            )

    @property
    def path(self) -> CandidatePath | None:
        """What data is sent on."""
        return self._agent.active_path() if self._agent is not None else None

    @property
    def trace(self) -> tuple[Entry, ...]:
        """What happened, for `iceway.explain`; STUN messages until there was a path."""
        return tuple(self._trace)

    def why(self) -> str:
        """What became of every server, candidate and pair, for people to read."""
        return why(self.trace)

    def statistics(self) -> Report:
        """W3C-shaped: the transport, its candidate pairs and candidates, by their ids."""
        if self._agent is None or self._driver is None:
            return {}
        return self._agent.statistics(self._driver.now())

    # --- what the agent says -----------------------------------------------------------------------------
    def _heard(self, event: object, now: float) -> None:
        match event:
            case DataReceived(data=data):
                # aiortc looks at the first byte of whatever comes, so nothing at all would end its reader.
                if data and len(self._unread) < MAX_UNREAD:
                    self._unread.append(data)
                    self._arrived.set()
                return
            case CandidateFound(candidate=candidate):
                if self.on_candidate is not None:
                    self.on_candidate(_to_aioice(candidate))
            case GatheringSettled():
                self._settled = True
            case GatheringDone():
                self._settled = True
                if self.on_gathered is not None:
                    self.on_gathered()
            case PairValid():
                self._valid = True
            case Selected():
                self._connected = True
            case RestartNeeded(reason=reason):
                if self.on_restart_needed is not None:
                    self.on_restart_needed(reason)
            case Failed(reason=reason):
                if not self._ended:
                    _log.warning("ICE failed: %s", reason)
                self._end(reason)
        self._news.set()
        self._connect_early()

    def _connect_early(self) -> None:
        """No need to wait for the nomination when there is a path and the peer, too, has begun.

        It answers checks before it was given our answer, and would not know what to do with data.
        """
        agent = self._agent
        if self._valid and agent is not None and (self.remote_is_lite or agent.peer_heard):
            self._connected = True
            self._news.set()

    def _keep(self, entry: Entry) -> None:
        if self._closed:
            self._news.set()  # a relay may have confirmed
        if not isinstance(entry.record, StunSent | StunReceived):
            self._trace.append(entry)
        elif not self._connected:
            self._trace.append(entry)
            self._connect_early()
        recorder = self._settings.recorder
        if recorder is not None:
            recorder.record(entry.record, entry.at, entry.node)

    # --- inside ------------------------------------------------------------------------------------------
    async def _until(self, happened: Callable[[], bool]) -> None:
        """Returns when that happened, or when nothing more will."""
        while not (happened() or self._ended):
            self._news.clear()
            await self._news.wait()

    def _end(self, reason: str) -> None:
        self._ended = self._ended or reason
        self._arrived.set()
        self._news.set()

    async def _leave(self, agent: Agent, driver: Driver) -> None:
        """Wait until the relays have confirmed, then close what is left."""
        try:
            async with asyncio.timeout(FAREWELL):
                while not agent.closed:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        finally:
            await driver.stop()

    def _set_remote(self, username: str, password: str) -> None:
        agent, driver = self._agent, self._driver
        if agent is not None and driver is not None and not self._ended:
            lite, renomination = self.remote_is_lite, RENOMINATION in self.remote_options
            driver.call(
                lambda now: agent.set_remote(username, password, now, lite=lite, renomination=renomination)
            )

    def _pass_on(self, given: aioice.Candidate) -> None:
        """A candidate that cannot be understood or used is ignored (RFC 8839 §5.1), and the trace says so."""
        agent, driver = self._agent, self._driver
        if agent is None or driver is None or self._closed:
            return
        try:
            candidate = parse(given.to_sdp())
        except ParseError as error:
            driver.record(Note("warning", f"a candidate of the peer is ignored: {error}"))
            return
        driver.call(lambda now: agent.add_remote_candidate(candidate, now))


def _to_aioice(candidate: Candidate) -> aioice.Candidate:
    import aioice

    found = aioice.Candidate.from_sdp(serialize(candidate))
    found.transport = found.transport.lower()  # as aioice writes it
    return found
