"""Where peers meet: two networks of the grid on this kernel, and the relay between them."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from iceway.lab.grid.networks import EDGE, ENDS, RELAY_IP, RELAY_PORT
from iceway.lab.namespaces import KernelLab
from iceway.lab.topology import Topology
from tests.interop.peers.process import Peer, running
from tests.interop.peers.programs import HERE, Program

USER, PASSWORD = "user", "secret"
STUN = {"kind": "stun", "ip": RELAY_IP, "port": RELAY_PORT}
TURN = {"kind": "turn", "ip": RELAY_IP, "port": RELAY_PORT, "user": USER, "password": PASSWORD}

RELAY = Program(
    "relay", lambda: "", lambda: [sys.executable, str(HERE / "relay.py"), USER, PASSWORD, RELAY_IP]
)


@dataclass(frozen=True)
class Place:
    """A standing network. Programs are started on its hosts."""

    topology: Topology
    lab: KernelLab

    def peers(self, one: Program, other: Program) -> contextlib.AbstractContextManager[list[Peer]]:
        """One program at Alice's and one at Bob's."""
        return running(
            *((program, self.start(host)) for program, host in zip((one, other), ENDS, strict=True))
        )

    def start(self, host: str) -> functools.partial[subprocess.Popen[Any]]:
        return functools.partial(self.lab.popen, host)

    def is_known_as(self, address: tuple[str, int], elsewhere: tuple[str, int]) -> bool:
        """Whether the second can be what the internet sees of the first; some NATs give every path a port."""
        ip, port = address
        for router in self.topology.routers:
            if router.nat is None:
                continue
            segments = {interface.segment for interface in router.inside}
            for host in self.topology.hosts:
                if any(i.ip == ip and i.segment in segments for i in host.interfaces):
                    same_port = elsewhere[1] == port or not router.nat.port_preservation
                    return elsewhere[0] == router.outside.ip and same_port
        return address == elsewhere


@contextlib.contextmanager
def standing(topology: Topology) -> Iterator[Place]:
    """The network, with the relay at work, for the length of the block."""
    with KernelLab(topology) as lab:
        place = Place(topology, lab)
        with running((RELAY, place.start(EDGE))):
            yield place
