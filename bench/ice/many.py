"""Many sessions in one process: does any miss a consent, and what does a session cost that only stays alive?

Both agents of every session live in this process, on sockets of the loopback interface, each under a driver of
its own. Sessions are set up a few at a time, then left alone: asking for consent and answering it (RFC 7675) is
all that they do. A consent is missed if the answer to its request never came.

    .venv/bin/python bench/ice/many.py [--sessions 1000] [--seconds 90]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from machine import machine

from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig
from iceway.ice.events import CandidateFound, ConsentLostEvent, Failed, GatheringDone, Selected
from iceway.io.driver import Driver
from iceway.io.run import loop_factory

AT_ONCE = 20  # sessions that are set up at the same time
LOOPBACK = "127.0.0.1"
LOOKS = 4
LATE = 3.5  # seconds after the watch until an answer counts as missed


class End:
    """One agent and its driver."""

    def __init__(self, name: str, controlling: bool) -> None:
        self.agent = Agent(name, AgentConfig(controlling=controlling), random.SystemRandom())
        self.driver = Driver(
            self.agent, on_event=lambda event, now: self._hear(event), addresses=lambda: (LOOPBACK,)
        )
        self.peer: End
        self.selected = asyncio.Event()
        self.lost: list[str] = []

    def consents(self) -> Consents:
        report = self.agent.statistics(self.driver.now())
        pairs = [entry for entry in report.values() if entry["type"] == "candidate-pair"]
        return Consents(
            sum(int(str(pair["consentRequestsSent"])) for pair in pairs),
            sum(int(str(pair["responsesReceived"])) for pair in pairs),
            max(float(str(pair.get("currentRoundTripTime", 0.0))) for pair in pairs),
        )

    def _hear(self, event: object) -> None:
        peer, agent = self.peer.driver, self.peer.agent
        match event:
            case CandidateFound(candidate):
                peer.call(lambda now: agent.add_remote_candidate(candidate, now))
            case GatheringDone():
                peer.call(agent.end_of_remote_candidates)
            case Selected():
                self.selected.set()
            case Failed(reason):
                self.lost.append(reason)
            case ConsentLostEvent(silent_for=silence):
                self.lost.append(f"no consent for {silence:.0f} s")


@dataclass(frozen=True)
class Consents:
    sent: int
    answered: int
    round_trip: float


@dataclass
class Watch:
    """What is counted of one agent. `settled` is the least that requests were ever ahead of answers: the answers
    include those to the checks of the beginning, so it is no number that anybody knows before."""

    end: End
    before: int
    settled: int
    asked: int = 0
    missed: int = 0
    slowest: float = 0.0

    def look(self) -> None:
        """Consents asked for since the watch began, and those of them without an answer until now."""
        now = self.end.consents()
        ahead = now.sent - now.answered
        self.settled = min(self.settled, ahead)
        self.asked, self.missed = now.sent - self.before, ahead - self.settled
        self.slowest = max(self.slowest, now.round_trip)


async def session(number: int) -> tuple[End, End]:
    """Two agents that have selected."""
    ends = End(f"a{number}", True), End(f"b{number}", False)
    ends[0].peer, ends[1].peer = ends[1], ends[0]
    for end in ends:
        await end.driver.start()
    for end in ends:
        theirs = end.peer.agent
        end.driver.call(lambda now, end=end: end.agent.gather((LOOPBACK,), (), now))
        end.driver.call(
            lambda now, end=end, theirs=theirs: end.agent.set_remote(
                theirs.local_ufrag, theirs.local_pwd, now, pacing=theirs.pacing
            )
        )
    for end in ends:
        await end.selected.wait()
    return ends


async def sessions(wanted: int) -> list[End]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> tuple[End, End]:
        async with turns:
            return await session(number)

    return [end for ends in await asyncio.gather(*(one(n) for n in range(wanted))) for end in ends]


async def watch(ends: list[End], seconds: float) -> list[Watch]:
    watches = []
    for end in ends:
        now = end.consents()
        watches.append(Watch(end, now.sent, now.sent - now.answered))
    for _ in range(LOOKS):
        await asyncio.sleep(seconds / LOOKS)
        for one in watches:
            one.look()
    # What is under way now may still arrive; nobody waits so long that another request could hide it.
    until = time.monotonic() + LATE
    while any(one.missed for one in watches) and time.monotonic() < until:
        await asyncio.sleep(0.01)
        for one in watches:
            if one.missed:
                one.look()
    return watches


def resident() -> float:
    """Bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("VmRSS"))


async def main(wanted: int, seconds: float) -> int:
    memory, began = resident(), time.monotonic()
    await session(-1)  # what the first one costs, all share
    memory = resident()
    ends = await sessions(wanted)
    print(machine())
    print(f"{wanted} sessions ({len(ends)} agents) set up in {time.monotonic() - began:.1f} s")
    memory = (resident() - memory) / wanted
    cpu, began = time.process_time(), time.monotonic()
    watches = await watch(ends, seconds)
    took = time.monotonic() - began
    cpu = time.process_time() - cpu
    asked, missed = sum(w.asked for w in watches), sum(w.missed for w in watches)
    lost = [reason for end in ends for reason in end.lost]
    print(f"watched for {took:.0f} s: {asked} consents asked for, {missed} missed, {len(lost)} sessions lost")
    print(f"{cpu / took / wanted * 1e6:.0f} µs of CPU a session and second; {cpu / took:.1%} of one core")
    print(f"{memory / 1024:.0f} KiB a session")
    print(f"slowest of the last answers: {max(w.slowest for w in watches) * 1e3:.1f} ms")
    for end in ends:
        end.driver.call(end.agent.close)
        await end.driver.stop()
    return 1 if missed or lost else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Many ICE sessions in one process.")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=90.0)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        sys.exit(runner.run(main(options.sessions, options.seconds)))
