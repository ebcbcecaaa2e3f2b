"""A client that does what a test says, and takes down what the phone asks of it; no network and no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from iceway.client import events
from iceway.client.media import Media
from iceway.client.run import CallFailed, RegistrationFailed
from iceway.client.stats import CallStats
from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.media.files import MemorySink, ToneSource
from iceway.media.pattern import PatternSource
from iceway.media.pictures import Pictures
from iceway.media.session import MediaStats
from iceway.media.sound import FRAME
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    CandidateGathered,
    CandidateInfo,
    CandidateReceived,
    GatheringStarted,
    IceStateChanged,
    MediaStarted,
    PairChecked,
    PairFailed,
    PairFormed,
    PairSelected,
    PairSucceeded,
    Record,
    Registered,
    Started,
)
from iceway.tui.card import Options, Watched
from iceway.tui.contacts import ContactBook
from iceway.tui.desk import Desk
from iceway.tui.voice import Devices

T = TypeVar("T")
ALICE, BOB, CAROL = (f"sip:{name}@example.test" for name in ("alice", "bob", "carol"))


class FakeCall:
    """What `LiveCall` is to the phone. `asked` are the commands it was given."""

    def __init__(self, name: str, peer: str, media: Any, waiting: bool = False) -> None:
        self.name, self.peer, self.media, self.waiting = name, peer, media, waiting
        self.end_reason = ""
        self.was_answered = self.held_here = self.held_there = False
        self.asked: list[str] = []
        self.measured = CallStats()
        self.streams: tuple[str, ...] = ("audio",)
        self.pictures: dict[str, Any] = {}
        self._passed_on: asyncio.Future[str] | None = None
        self._answered, self._ended = asyncio.Event(), asyncio.Event()

    # --- what the other side does -------------------------------------------------------------------------
    def is_answered(self) -> None:
        self.was_answered = True
        self._answered.set()

    def ends(self, reason: str) -> None:
        self.end_reason = reason
        self.media.close()
        self._ended.set()

    # --- what the phone does ------------------------------------------------------------------------------
    async def answered(self) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (self._answered, self._ended)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._answered.is_set():
            raise CallFailed(self.end_reason)

    async def ended(self) -> None:
        await self._ended.wait()

    def take(self) -> None:
        self.asked.append("take")
        self.is_answered()

    def refuse(self, code: int = 486, reason: str = "Busy Here") -> None:
        self.asked.append(f"refuse {code}")
        self.ends(f"refused here: {code} {reason}")

    def hang_up(self) -> None:
        self.asked.append("hang up")
        self.ends("hung up here")

    def mute(self, muted: bool = True) -> None:
        self.asked.append(f"mute {muted}")

    def hold(self) -> None:
        if not self.was_answered:
            raise UsageError(f"{self.name} is not answered yet, so it cannot be held")
        self.asked.append("hold")
        self.held_here = True

    def resume(self) -> None:
        self.asked.append("resume")
        self.held_here = False

    def send_dtmf(self, digits: str, duration: float) -> None:
        self.asked.append(f"keys {digits}")

    def stats(self) -> CallStats:
        return self.measured

    def transfer(self, target: str) -> None:
        self.asked.append(f"transfer {target}")
        self._passed_on = asyncio.get_running_loop().create_future()

    def transfer_to(self, other: FakeCall) -> None:
        self.transfer(other.name)

    async def transferred(self) -> None:
        assert self._passed_on is not None
        if failure := await self._passed_on:
            raise CallFailed(failure)

    def is_transferred(self, failure: str = "") -> None:
        """The other side says what became of it."""
        assert self._passed_on is not None
        self._passed_on.set_result(failure)

    def add(self, kind: str, pictures: Any) -> None:
        if kind in self.streams:
            raise UsageError(f"{self.name} has {kind} already")
        self.asked.append(f"add {kind}")
        self.pictures[kind] = pictures
        self.streams = (*self.streams, kind)

    def drop(self, kind: str) -> None:
        self.asked.append(f"drop {kind}")
        self.streams = tuple(one for one in self.streams if one != kind)
        if kind in self.pictures:
            self.pictures.pop(kind).sink.close()

    # --- sound --------------------------------------------------------------------------------------------
    def talks(self, level: int) -> None:
        """A frame of ours is read, and one of theirs is heard."""
        self.media.read()
        self.media.write(np.full(FRAME, level, np.int16))


@dataclass
class FakeClient:
    """What `Client` is to the phone. `refusals` are the reasons for which it cannot register, one a try."""

    desk: Desk
    refusals: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    calls: list[FakeCall] = field(default_factory=list)
    waiting: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    count: int = 0
    ready: events.Ready = field(default_factory=lambda: events.Ready(outside=False))

    async def start(self) -> events.Ready:
        self.asked.append("start")
        self.records(Started("client", "0", ALICE))
        if self.refusals:
            raise RegistrationFailed(self.refusals.pop(0))
        self.records(Registered(ALICE, "sip:alice@192.0.2.9", 600))
        return self.ready

    async def stop(self) -> None:
        self.asked.append("stop")
        for call in self.calls:
            if not call._ended.is_set():
                call.ends("hung up here")

    async def call(self, peer: str, *, play: Any, record: Any) -> FakeCall:
        assert play is record
        self.count += 1
        call = FakeCall(f"call.{self.count}", peer, record)
        self.calls.append(call)
        return call

    async def incoming(self) -> FakeCall:
        next_one = await self.waiting.get()
        if isinstance(next_one, Exception):
            raise next_one
        return next_one  # type: ignore[no-any-return]

    def do_not_disturb(self, quiet: bool = True) -> None:
        self.asked.append(f"quiet {quiet}")

    def problems(self) -> list[str]:
        return ["Nobody answers: is the server running?"]

    def explain(self) -> str:
        return "alice ↔ bob: direct, as both are in one network"

    # --- what the other side does -------------------------------------------------------------------------
    def rings(self, peer: str, waiting: bool = False) -> FakeCall:
        media: Media = self.desk.attend(peer)
        self.count += 1
        call = FakeCall(f"call.{self.count}", peer, media.sink, waiting)
        call.pictures = {"video": media.video, "slides": media.slides}
        self.calls.append(call)
        self.waiting.put_nowait(call)
        return call

    def records(self, *records: Record, node: str = "alice") -> None:
        for record in records:
            self.count_records = getattr(self, "count_records", 0) + 1
            self.desk.story.hear(Entry(self.count_records, self.desk.clock(), node, record))


async def until(condition: Callable[[], object]) -> None:
    """Wait for what a thread brings about."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (nobody sets an event)
            await asyncio.sleep(0.001)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def host(
    ip: str, port: int = 40000, kind: str = "host", server: str | None = None, over: str | None = None
) -> CandidateInfo:
    return CandidateInfo(kind, "udp", Address(ip, port), 100, "f", server=server, relay_transport=over)


def finds_a_path(client: FakeClient, call: FakeCall) -> None:
    """ICE, from the first candidate to a relayed path."""
    agent = f"{call.name}/ice"
    own, seen = host("192.168.1.5"), host("203.0.113.9", 51000, "srflx", "stun:198.51.100.2:3478")
    lent = host("198.51.100.2", 50010, "relay", "turn:198.51.100.2:3478?transport=udp", "udp")
    theirs, their_nat = host("10.0.0.7"), host("203.0.113.77", 61000, "srflx")
    client.records(
        CallState("id-1", "trying", ALICE, call.peer),
        GatheringStarted(agent, ("192.168.1.5",), ("turn:198.51.100.2:3478?transport=udp",)),
        *(CandidateGathered(agent, one) for one in (own, seen, lent)),
        *(CandidateReceived(agent, one) for one in (theirs, their_nat)),
        PairFormed(agent, 1, own, theirs, 900),
        PairFormed(agent, 2, own, their_nat, 800),
        PairFormed(agent, 3, lent, their_nat, 300),
        IceStateChanged(agent, "checking"),
        *(PairChecked(agent, number, 1, "ordinary") for number in (1, 2, 3)),
        PairFailed(agent, 1, "no answer to 7 checks in 8.1 s"),
        PairSucceeded(agent, 3, 0.0423, Address("198.51.100.2", 50010)),
        PairSelected(agent, 3, lent, their_nat, False, 0.0423),
        MediaStarted("id-1", "received", "opus", False),
    )


def measured(kind: type[T], **known: Any) -> T:
    """Figures of a stream, of which a test knows some; the others are 0."""
    return kind(**(dict.fromkeys((one.name for one in fields(kind)), 0) | known))  # type: ignore[arg-type]


def stats(lost: int = 0) -> CallStats:
    sound = measured(
        MediaStats,
        codec="opus/48000",
        packets_sent=500,
        packets_received=480,
        packets_lost=lost,
        samples_played=460_800,
        samples_concealed=4608,
        jitter=0.004,
        round_trip=0.043,
        mouth_to_ear=0.12,
        mos=4.28,
        fraction_lost=0.0,
    )
    return CallStats(audio=sound)


def desk(tmp_path: Path, *refusals: str) -> tuple[Desk, list[FakeClient]]:
    """A desk whose clients are fakes; the list grows with each that it makes."""
    clients: list[FakeClient] = []
    left = list(refusals)

    def connect(desk: Desk) -> FakeClient:
        client = FakeClient(desk, [left.pop(0)] if left else [])
        clients.append(client)
        return client

    book = ContactBook(tmp_path / "config" / "contacts.toml", tmp_path / "state" / "calls.toml")

    def pictures(kind: str, watched: Watched) -> Pictures:
        return Pictures(PatternSource(64, 48), watched)

    options = Options(Devices(ToneSource, MemorySink), tmp_path / "recordings", "example.test", pictures)
    return Desk(connect, book, options, clock=Clock(), wall=lambda: 1_700_000_000.0), clients  # type: ignore[arg-type, return-value]
