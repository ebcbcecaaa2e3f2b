"""Links with delay, loss, jitter, reordering, copies or a rate on real kernels: `python -m iceway.lab.wires`.

Kernels without netem cannot delay a frame, so a process of its own carries the frames of such segments between the
ports of their nodes, as a switch would, and lets each meet what `Crossing` says. What finds out who owns an address
(ARP, IPv6 neighbour discovery) crosses at once: in a topology that is no traffic.

It is told everything in its argument, says `ready` and lives until its standard input ends, so that it cannot
outlive whoever holds the other end. Nothing but a laboratory starts it; the laboratory keeps offloads off, so
frames are whole and their checksums true.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import json
import os
import select
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from random import Random

from iceway.lab.crossing import Crossing
from iceway.lab.topology import Link

READY = b"ready\n"
_EVERY_PROTOCOL = 0x0003  # ETH_P_ALL
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_SO_RCVBUFFORCE = 33
_BUFFER = 4 << 20
_BURST = 64
"""Frames taken from one port before what is due goes out."""
_HEADER = 14
_ARP, _IPV6 = b"\x08\x06", b"\x86\xdd"
_ICMPV6, _HOP_BY_HOP = 58, 0
_DISCOVERY = range(130, 138), range(143, 144)
"""Types of ICMPv6 that are about the neighbourhood: listeners (RFC 2710, 3810), routers, neighbours (RFC 4861)."""
_GROUP = 0x01


class Port:
    """Where a node is plugged in: a packet socket on the hub's end of its cable."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)  # deaf until bound
        self.socket.setblocking(False)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        except PermissionError:  # in a user namespace
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.socket.bind((device, _EVERY_PROTOCOL))

    def send(self, frame: bytes) -> None:
        with contextlib.suppress(OSError):  # the node's end is down, or its queue is full
            self.socket.send(frame)


class Wire:
    """One segment: which port owns which hardware address, learnt as switches learn it."""

    def __init__(self, crossing: Crossing, ports: Sequence[Port]) -> None:
        self.ports = ports
        self._crossing = crossing
        self._owners: dict[bytes, Port] = {}

    def carry(self, frame: bytes, source: Port, now: float) -> list[tuple[float, Port]]:
        """When the frame is due at which ports."""
        self._owners[frame[6:12]] = source
        owner = None if frame[0] & _GROUP else self._owners.get(frame[:6])
        receivers = [owner] if owner else [port for port in self.ports if port is not source]
        if is_discovery(frame):
            return [(now, port) for port in receivers]
        due = []
        for port in receivers:
            fate = self._crossing.cross(len(frame) - _HEADER, source.device, port.device, now)
            if not isinstance(fate, str):
                due += [(arrival, port) for arrival in fate]
        return due


def is_discovery(frame: bytes) -> bool:
    """Whether a frame asks or tells who owns an address, or what routers and listeners there are."""
    kind = frame[12:14]
    if kind == _ARP:
        return True
    if kind != _IPV6 or len(frame) < _HEADER + 41:
        return False
    protocol, at = frame[_HEADER + 6], _HEADER + 40
    if protocol == _HOP_BY_HOP and len(frame) > at + 8:  # router alert, of listener reports
        protocol, at = frame[at], at + 8
    return protocol == _ICMPV6 and any(frame[at] in types for types in _DISCOVERY)


def run(wires: Sequence[Wire], life: int) -> None:
    """Carry until the descriptor `life` is at its end."""
    by_socket = {port.socket: (wire, port) for wire in wires for port in wire.ports}
    readable: list[socket.socket | int] = [*by_socket, life]
    due: list[tuple[float, int, Port, bytes]] = []
    order = itertools.count()
    while True:
        wait = max(0.0, due[0][0] - time.monotonic()) if due else None
        for ready in select.select(readable, [], [], wait)[0]:
            if isinstance(ready, int):
                return
            wire, port = by_socket[ready]
            for _ in range(_BURST):
                try:
                    frame = ready.recv(65536)
                except BlockingIOError:
                    break
                for arrival, receiver in wire.carry(frame, port, time.monotonic()):
                    heapq.heappush(due, (arrival, next(order), receiver, frame))
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, _, receiver, frame = heapq.heappop(due)
            receiver.send(frame)


def argument(seed: int, links: Mapping[str, tuple[Link, Sequence[str]]]) -> str:
    """What the process is told: of each segment its link and the devices of its ports."""
    told = {name: {"link": asdict(link), "ports": list(ports)} for name, (link, ports) in links.items()}
    return json.dumps({"seed": seed, "segments": told})


def main() -> None:
    told = json.loads(sys.argv[1])
    wires = [
        Wire(
            Crossing(Link(**segment["link"]), Random(f"{told['seed']}:{name}")),
            [Port(device) for device in segment["ports"]],
        )
        for name, segment in told["segments"].items()
    ]
    with contextlib.suppress(
        OSError
    ):  # ordinary users may not; then a busy machine makes links a little late
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    gc.disable()  # frames make no cycles, and a collection would hold them all up
    os.write(1, READY)
    run(wires, 0)


if __name__ == "__main__":
    main()
