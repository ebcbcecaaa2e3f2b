"""Measures what a NAT does, from outside, as RFC 5780 §4 does: with two addresses and two ports.

The probe speaks through a field: the virtual world (`WorldField`) or real kernels (`KernelField`), so that
both answer the same questions. It knows nothing of how the NAT was described.
"""

from __future__ import annotations

import socket
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from iceway.core.address import Address
from iceway.core.machine import DatagramReceived, Input, OpenUdp, Outbox, SendDatagram
from iceway.lab.namespaces import KernelLab
from iceway.lab.topology import Behaviour
from iceway.lab.world import World

EI, AD, APD = Behaviour
_PORT, _OTHER_PORT = 3478, 3479
_KERNEL_PATIENCE = 0.25
_WORLD_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was seen. `preserved`: the outside port was the inside one. `mapping` None: nothing came out."""

    mapping: Behaviour | None
    filtering: Behaviour | None = None
    preserved: bool = False


class Field(Protocol):
    """Sockets on hosts. `heard` waits for the next datagram at a socket: who it seems to come from, or None."""

    def open(self, host: str, port: int) -> Address: ...

    def send(self, source: Address, destination: Address) -> None: ...

    def heard(self, at: Address) -> Address | None: ...


def measure(field: Field, inside: str, outside: str, elsewhere: str, port: int = 5004) -> Measurement:
    """The NAT between the host `inside` and two hosts outside with addresses of their own."""
    local = field.open(inside, port)
    first = field.open(outside, _PORT)
    other_port = field.open(outside, _OTHER_PORT)
    other_address = field.open(elsewhere, _PORT)

    field.send(local, first)
    seen = field.heard(first)
    if seen is None:
        return Measurement(None)

    # Filtering first, while `first` is the only one that was written to.
    filtering = APD
    for stranger, behaviour in ((other_port, AD), (other_address, EI)):
        field.send(stranger, seen)
        if field.heard(local) is not None:
            filtering = behaviour

    mapping = EI
    for remote, behaviour in ((other_address, AD), (other_port, APD)):
        field.send(local, remote)
        if field.heard(remote) != seen:
            mapping = behaviour
    return Measurement(mapping, filtering, preserved=seen.port == port)


class KernelField:
    """Real sockets in the namespaces of a standing laboratory."""

    def __init__(self, lab: KernelLab) -> None:
        self._lab = lab
        self._sockets: dict[Address, socket.socket] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def open(self, host: str, port: int) -> Address:
        with self._lab.enter(host):
            opened = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        opened.settimeout(_KERNEL_PATIENCE)
        opened.bind((self._lab.topology.host(host).ips[0], port))
        local = Address(*opened.getsockname())
        self._sockets[local] = opened
        return local

    def send(self, source: Address, destination: Address) -> None:
        self._sockets[source].sendto(b"probe", destination)

    def heard(self, at: Address) -> Address | None:
        try:
            return Address(*self._sockets[at].recvfrom(2048)[1])
        except TimeoutError:
            return None


class WorldField:
    """Sockets of a virtual world whose hosts run nothing else."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sockets: dict[Address, _Socket] = {}

    def open(self, host: str, port: int) -> Address:
        machine = _Socket(Address(self._world.topology.host(host).ips[0], port))
        self._world.run(host, machine, name=f"{host}:{port}")
        self._sockets[machine.local] = machine
        return machine.local

    def send(self, source: Address, destination: Address) -> None:
        machine = self._sockets[source]
        self._world.call(self._name(source), lambda now: machine.send(destination, now))

    def heard(self, at: Address) -> Address | None:
        machine = self._sockets[at]
        self._world.run_until(lambda: machine.heard, _WORLD_PATIENCE)
        return machine.heard.popleft() if machine.heard else None

    def _name(self, local: Address) -> str:
        host = next(host for host in self._world.topology.hosts if local.ip in host.ips)
        return f"{host.name}:{local.port}"


class _Socket(Outbox):
    """A machine that is a UDP socket."""

    def __init__(self, local: Address) -> None:
        super().__init__()
        self.local = local
        self.heard: deque[Address] = deque()
        self.emit(OpenUdp("socket", local))

    def send(self, remote: Address, now: float) -> None:
        self.emit(SendDatagram(self.local, remote, b"probe"))

    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, DatagramReceived):
            self.heard.append(event.remote)

    def handle_timeout(self, now: float) -> None:
        pass

    def poll_timeout(self) -> float | None:
        return None
