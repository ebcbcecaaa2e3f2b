"""Fifty calls, one after the other, and what is left of them: nothing, counted object by object.

Counted are the objects of everything that a call is made of, on both ends and in the servers between them. Records and what
the virtual world remembers of its network are meant to stay.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from pathlib import Path

import pytest

from iceway.client import events
from iceway.io.selfsigned import media_identity
from iceway.lab import topologies
from iceway.lab.office import Shown, VirtualOffice
from iceway.media.files import MemorySink, ToneSource
from iceway.media.keying import Keys
from iceway.media.pattern import PatternSource
from tests.client.test_run import DOMAIN, Scene, play
from tests.e2e.calls import connect

CALLS = 50
ROOMS = ("client", "ice", "media", "sip", "turn", "edge", "frontend", "core.timers", "core.switchboard")


def living() -> Counter[str]:
    """How many objects of our own classes, and of those that hold memory outside of Python, are alive."""
    gc.collect()
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        kind = type(one)
        module = str(kind.__module__)
        ours = module.startswith("iceway.") and module.removeprefix("iceway.").startswith(ROOMS)
        if ours or module.partition(".")[0] in ("OpenSSL", "pylibsrtp", "av"):
            found[f"{module}.{kind.__qualname__}"] += 1
    return found


def pictures(on: bool) -> Shown:
    return {"video": PatternSource(64, 48)} if on else {}


@pytest.mark.parametrize("kind", ["sound", "pictures", "dtls"])
def test_fifty_calls_leave_nothing(kind: str) -> None:
    keys = {"keys": Keys.DTLS, "certificate": media_identity()} if kind == "dtls" else {}
    office = VirtualOffice(topologies.one_lan() if kind == "sound" else topologies.relayed_udp(), 1)
    alice = office.joins("alice", **keys)  # type: ignore[arg-type]
    bob = office.joins("bob", ring_for=0.0, shows=lambda: pictures(kind == "pictures"), **keys)  # type: ignore[arg-type]
    for person in (alice, bob):
        assert person.waits_for(events.Ready)

    def talk(times: int) -> None:
        for _ in range(times):
            for person in (alice, bob):
                person.events.clear()
            call = alice.calls("bob", ToneSource(), pictures(kind == "pictures"))
            for person in (alice, bob):
                assert person.waits_for(events.CallSettled), person.events
            office.world.advance(0.1)
            alice.hangs_up(call)
            for person in (alice, bob):
                assert person.waits_for(events.CallEnded), person.events
        office.world.advance(80.0)  # transactions, allocations and permissions run out
        for person in (alice, bob):
            person.events.clear()
            person.heard.clear()
            person.seen.clear()
        for program in office.world.programs.values():
            program.events.clear()

    talk(3)
    before = living()
    talk(CALLS if kind == "sound" else 10)
    more = living() - before
    assert {name: count for name, count in more.items() if count > 2} == {}, more
    assert not alice.phone._calls
    assert not alice.phone._line._ties


def test_a_call_that_nobody_hears_of_again_leaves_nothing() -> None:
    """The other side disappears in mid-call: also that ends, and is forgotten."""
    office = VirtualOffice(topologies.relayed_udp(), 1)
    alice, bob = office.joins("alice"), office.joins("bob", ring_for=0.0)
    for person in (alice, bob):
        assert person.waits_for(events.Ready)
    connect(alice, bob)
    office.world.kill("bob")
    assert alice.waits_for(events.CallEnded, 120.0)
    office.world.advance(120.0)
    assert not alice.phone._calls
    assert set(alice.phone._board.children) <= {"ua"}


def test_real_calls_leave_no_sockets_and_no_tasks(tmp_path: Path) -> None:
    counted: list[tuple[int, int]] = []

    async def scene(on: Scene) -> None:
        async with on.client("alice") as alice, on.client("bob", ring_for=0.0) as bob:
            for number in range(12):
                call = await alice.call(f"sip:bob@{DOMAIN}", play=ToneSource(), record=MemorySink())
                coming = await bob.incoming()
                await asyncio.gather(call.settled(), coming.settled())
                call.hang_up()
                await asyncio.gather(call.ended(), coming.ended())
                if number >= 2:
                    counted.append((len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())))

    play(tmp_path, scene)
    files, tasks = zip(*counted, strict=True)
    assert max(files[-3:]) <= min(files[:3]) + 2, files
    assert max(tasks[-3:]) <= min(tasks[:3]) + 1, tasks
