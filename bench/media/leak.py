"""Five hundred calls, one after the other, between two clients on loopback: what does each process hold afterwards?

Each call is set up through a front end, carries sound (and pictures, if MEDIA is VP8 or H264) for a moment and is hung
up. Memory is counted after the first two hundred, when everything has been loaded and every pool is warm, and at the
end, each time once SIP has forgotten the transactions of those calls. Records are thrown away: a client keeps its
latest 50 000.

    .venv/bin/python bench/media/leak.py [--calls 500] [--media audio]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "ice"))

from cpu import descriptors, resident
from machine import machine
from told import Told

HERE = Path(__file__).parent
STEP = 100
WARM = 200
EXPIRY = 40.0  # seconds in which transactions of SIP and STUN run out


def main(calls: int, media: str) -> int:
    print(machine())
    with (
        tempfile.TemporaryDirectory() as directory,
        Told(str(HERE / "stage.py"), directory, "alice", "bob") as stage,
    ):
        place = stage.says()
        where = [str(place["port"]), place["trust"], media]
        party = str(HERE / "party.py")
        with Told(party, "alice", *where) as alice, Told(party, "bob", *where) as bob:
            ends = {"caller": alice, "called": bob}
            for end in ends.values():
                end.says()
            bob.hears(take=True)
            first: dict[str, tuple[int, int, float]] = {}
            held = first
            for number in range(1, calls + 1):
                alice.hears(call="bob")
                time.sleep(0.1)
                alice.hears(hang_up=True)
                if number in (WARM, calls) or number % STEP == 0:
                    time.sleep(EXPIRY if number in (WARM, calls) else 0.0)
                    for end in ends.values():
                        end.hears(forget=True)
                    held = {name: holds(end) for name, end in ends.items()}
                    first = first or held
                    for name, (memory, files, tasks) in held.items():
                        kept = f"{memory / 2**20:.1f} MiB, {files} descriptors, {tasks} tasks"
                        print(f"{number:4} calls, {name}: {kept}", flush=True)
            for name, (memory, files, tasks) in held.items():
                before = first[name]
                grown = (memory - before[0]) / 1024 / max(1, calls - WARM)
                print(f"{name}: {grown:.1f} KiB a call")
                if files > before[1] + 2 or tasks > before[2] + 2:
                    print(f"{name} holds more sockets or tasks than in the beginning")
                    return 1
    return 0


def holds(end: Told) -> tuple[int, int, float]:
    """Bytes of memory, descriptors, tasks."""
    return resident(end.pid), descriptors(end.pid), end.hears(report=True)["tasks"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What calls leave behind.")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--media", default="audio")
    options = parser.parse_args()
    sys.exit(main(options.calls, options.media))
