"""Drives one machine on one host of a world, by the law of `core/machine.py`: change, drain, re-arm.

Answers to requests come back as later events of the clock, never from within the drain. An exception out of
a machine is a bug and flies out of the world's step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.core.machine import (
    AddressesChanged,
    ClockSet,
    CloseListener,
    CloseMulticast,
    CloseStream,
    CloseUdp,
    Connect,
    DatagramReceived,
    Input,
    Listen,
    Machine,
    MulticastFailed,
    MulticastOpened,
    MulticastReceived,
    OpenMulticast,
    OpenUdp,
    Resolve,
    SendDatagram,
    SendMulticast,
    SendStream,
    UdpFailed,
    UdpOpened,
)
from iceway.lab.world.host import BindError, HostNode
from iceway.lab.world.streams import Streams
from iceway.lab.world.tcp import TcpStack
from iceway.lab.world.tls import GARBAGE, KeyStore
from iceway.trace.records import Record

if TYPE_CHECKING:
    from iceway.lab.world.world import World

SPIN_LIMIT = 1000
"""Timeouts of one program at one instant after which it is taken to spin."""

T = TypeVar("T")


class Program:
    """A machine that runs on a host. `events` keeps what it emitted beside requests and records."""

    def __init__(
        self,
        world: World,
        host: HostNode,
        stack: TcpStack,
        machine: Machine,
        name: str,
        keys: KeyStore,
        wall_offset: float,
        on_event: Callable[[object, float], None] | None,
    ) -> None:
        self.machine = machine
        self.name = name
        self.events: list[tuple[float, object]] = []
        self.alive = True
        self._world = world
        self._host = host
        self._clock = world.clock
        self._wall_offset = wall_offset
        self._on_event = on_event
        self._draining = False
        self._armed_at: float | None = None
        self._spins = (0.0, 0)
        self._sockets: dict[Address, None] = {}
        self._groups: dict[str, None] = {}
        self._streams = Streams(stack, self._clock, keys, self._wall, self._input, self._record)

    def start(self) -> None:
        self._input(ClockSet(self._wall_offset))
        self._input(AddressesChanged(self._host.ips))

    def call(self, command: Callable[[float], T]) -> T:
        """Run a command of the machine and carry out what follows."""
        if not self.alive:
            raise UsageError(f"{self.name} does not run any more")
        try:
            return command(self._clock.now)
        finally:
            self._settle()

    def set_clock(self, wall_offset: float) -> None:
        self._wall_offset = wall_offset
        self._input(ClockSet(wall_offset))

    def addresses_changed(self) -> None:
        """The host has moved."""
        self._input(AddressesChanged(self._host.ips))

    def runs_on(self, host: HostNode) -> bool:
        return self.alive and self._host is host

    def stop(self, *, abort: bool = False) -> None:
        """End as a process does: the kernel closes what was open, the machine hears nothing more."""
        self.alive = False
        self._streams.close_all(abort=abort)
        for local in self._sockets:
            self._host.close_udp(local)
        for key in self._groups:
            self._host.leave(f"{self.name}:{key}")

    # --- change, drain, re-arm --------------------------------------------------------------------------
    def _input(self, event: Input) -> None:
        if self.alive:
            self.machine.handle_input(event, self._clock.now)
            self._settle()

    def _settle(self) -> None:
        if self._draining:
            return  # a command from within on_event: the drain under way goes on to what it caused
        self._draining = True
        try:
            while self.alive and (output := self.machine.poll_output()) is not None:
                self._carry_out(output)
        finally:
            self._draining = False
        self._rearm()

    def _rearm(self) -> None:
        at = self.machine.poll_timeout() if self.alive else None
        if at is None:
            self._armed_at = None
        elif self._armed_at is None or at != self._armed_at:
            self._armed_at = at
            self._clock.at(at, partial(self._wake, at))

    def _wake(self, armed_at: float) -> None:
        if armed_at != self._armed_at or not self.alive:
            return
        self._armed_at = None
        now = self._clock.now
        since, times = self._spins
        self._spins = (now, times + 1 if since == now else 1)
        if times > SPIN_LIMIT and since == now:
            raise UsageError(f"{self.name} spins: it wants a timeout at {armed_at} again and again")
        self.machine.handle_timeout(now)
        self._settle()

    # --- requests ---------------------------------------------------------------------------------------
    def _carry_out(self, output: object) -> None:
        match output:
            case SendDatagram(local, remote, data):
                self._host.send_datagram(local, remote, data)
            case SendStream(stream, data):
                self._streams.send(stream, data)
            case Record():
                self._record(output)
            case OpenUdp():
                self._later(self._open_udp(output))
            case SendMulticast(key, data, to):
                self._host.send_multicast(f"{self.name}:{key}", to, data)
            case OpenMulticast():
                self._later(self._open_multicast(output))
            case CloseMulticast(key):
                self._groups.pop(key, None)
                self._host.leave(f"{self.name}:{key}")
            case CloseUdp(local):
                self._sockets.pop(local, None)
                self._host.close_udp(local)
            case Listen():
                self._later(self._streams.listen(output))
            case CloseListener(key):
                self._streams.close_listener(key)
            case Connect():
                self._streams.connect(output)
            case CloseStream(stream, abort):
                self._streams.close(stream, abort=abort)
            case Resolve():
                delay, answer = self._world.names.resolve(self._host, output)
                self._later(answer, delay)
            case _:
                self.events.append((self._clock.now, output))
                if self._on_event is not None:
                    self._on_event(output, self._clock.now)

    def _open_udp(self, request: OpenUdp) -> UdpOpened | UdpFailed:
        try:
            bound = self._host.bind_udp(request.local, request.ports, self._datagram)
        except BindError as error:
            return UdpFailed(request.key, str(error))
        self._sockets[bound] = None
        return UdpOpened(request.key, bound)

    def _open_multicast(self, request: OpenMulticast) -> MulticastOpened | MulticastFailed:
        key = request.key

        def heard(source: Address, data: bytes) -> None:
            self._input(MulticastReceived(key, source, data))

        try:
            self._host.join(f"{self.name}:{key}", request.group, request.interface, heard)
        except BindError as error:
            return MulticastFailed(key, str(error))
        self._groups[key] = None
        return MulticastOpened(key)

    def _datagram(self, local: Address, remote: Address, data: object) -> None:
        self._input(DatagramReceived(local, remote, data if isinstance(data, bytes) else GARBAGE))

    def _later(self, event: Input, delay: float = 0.0) -> None:
        self._clock.after(delay, partial(self._input, event))

    def _record(self, record: Record) -> None:
        self._world.record(self.name, record)

    def _wall(self) -> float:
        return self._clock.now + self._wall_offset
