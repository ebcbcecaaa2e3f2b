"""How long a whole call takes in the virtual world: python bench/virtual_call.py [topology …] [--seed N].

From an empty world to the last record: everybody registers, both speak for seven virtual seconds, the call is hung
up, everybody leaves. A call is to take less than 2 s of wall time.
"""

from __future__ import annotations

import argparse
import time

from iceway.client import events
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice
from iceway.lab.topology import Topology
from iceway.media.files import FileSource
from iceway.media.speech import speech
from iceway.trace.entry import Entry

LIMIT = 2.0


def virtual_call(topology: Topology, seed: int) -> list[Entry]:
    """One whole call; its trace."""
    office = VirtualOffice(topology, seed)
    alice = office.joins("alice")
    bob = office.joins("bob", says=lambda: FileSource(speech("bob")), ring_for=1.0)
    for person in (alice, bob):
        if not person.waits_for(events.Ready):
            raise SystemExit(f"{person.name} does not get ready: {person.events}")
    alice.calls("bob", FileSource(speech("alice")))
    for person in (alice, bob):
        if not person.waits_for(events.CallSettled):
            raise SystemExit(f"{person.name}'s call does not settle: {person.events}")
    office.world.advance(7.0)
    alice.hangs_up()
    office.world.advance(1.0)
    return office.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("topology", nargs="*", default=list(topologies.TOPOLOGIES))
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    virtual_call(topologies.one_lan(), wanted.seed)  # codecs and speech load once
    slowest = 0.0
    for name in wanted.topology:
        began, busy = time.perf_counter(), time.process_time()
        trace = virtual_call(topologies.named(name), wanted.seed)
        took, used = time.perf_counter() - began, time.process_time() - busy
        slowest = max(slowest, took)
        print(
            f"{name:12} {took:5.2f} s wall, {used:5.2f} s CPU, {trace[-1].at:5.1f} virtual s, {len(trace)} records"
        )
    raise SystemExit(slowest > LIMIT)


if __name__ == "__main__":
    main()
