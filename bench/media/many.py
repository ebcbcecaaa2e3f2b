"""How many audio calls one core carries: calls are added between two clients until frames come late.

Two processes of our client, each on a core of its own if there are two, call each other through a front end on
loopback: Opus both ways, SRTP, ICE with its consents, records kept as always. A step counts as carried if of all frames
of both processes less than one in a hundred was sent more than 20 ms late.

    .venv/bin/python bench/media/many.py [--step 10] [--seconds 10] [--most 400]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "ice"))

from cpu import cpu, resident
from machine import machine
from told import Told

HERE = Path(__file__).parent
MUCH = 0.01  # the share of frames that may be late


def main(step: int, seconds: float, most: int, realtime: bool) -> None:
    print(machine())
    with (
        tempfile.TemporaryDirectory() as directory,
        Told(str(HERE / "stage.py"), directory, "alice", "bob") as stage,
    ):
        place = stage.says()
        party = [str(HERE / "party.py")]
        where = [str(place["port"]), place["trust"]]
        with Told(*party, "alice", *where) as alice, Told(*party, "bob", *where) as bob:
            both = [alice, bob]
            cores = sorted(os.sched_getaffinity(0))
            for at, one in enumerate(both):
                one.says()
                os.sched_setaffinity(one.pid, {cores[at % len(cores)]})
                if realtime:
                    os.sched_setscheduler(one.pid, os.SCHED_RR, os.sched_param(1))
            bob.hears(take=True)
            before = resident(alice.pid)
            carried = 0
            for count in range(step, most + 1, step):
                alice.hears(call="bob", count=step)
                time.sleep(2.0)
                used, began = [cpu(one.pid) for one in both], time.monotonic()
                for one in both:
                    one.hears(report=True)
                time.sleep(seconds)
                told = [one.hears(report=True) for one in both]
                took = time.monotonic() - began
                busy = [(cpu(one.pid) - was) / took for one, was in zip(both, used, strict=True)]
                late = sum(one["late"] for one in told) / max(1, sum(one["frames"] for one in told))
                print(
                    f"{count:4} calls: {busy[0]:6.1%} and {busy[1]:6.1%} of a core, "
                    f"{max(busy) / count:.2%} a call, {late:.2%} of frames late, the latest by "
                    f"{max(one['latest'] for one in told) * 1e3:.0f} ms, "
                    f"{(resident(alice.pid) - before) / count / 1024:.0f} KiB a call",
                    flush=True,
                )
                if late >= MUCH:
                    break
                carried = count
            print(f"one core carries {carried} calls")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How many audio calls one core carries.")
    parser.add_argument("--step", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--most", type=int, default=400)
    parser.add_argument("--realtime", action="store_true", help="before other work of the machine (root)")
    options = parser.parse_args()
    main(options.step, options.seconds, options.most, options.realtime)
