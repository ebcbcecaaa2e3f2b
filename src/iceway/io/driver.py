"""Drives one machine on real sockets, by the law of `core/machine.py`: change, drain, re-arm.

Everything happens on one event loop, in the order in which it came: an input that arises while outputs are
carried out (a socket that opens at once, a command out of `on_event`) waits until the queue is empty. `now` is
CLOCK_MONOTONIC, so the traces of several processes of one machine share their time. An exception out of a
machine is a bug of ours: it is logged with its traceback and recorded, and the driver goes on.

    async with Driver(machine, keystore=keys, node="edge", on_event=heard) as driver:
        driver.call(lambda now: machine.gather(servers, now))
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self, TypeVar

from iceway.core.errors import UsageError
from iceway.core.machine import (
    AddressesChanged,
    Answer,
    ClockSet,
    CloseListener,
    CloseMulticast,
    CloseStream,
    CloseUdp,
    Connect,
    Input,
    Listen,
    Machine,
    OpenMulticast,
    OpenUdp,
    Resolve,
    Resolved,
    SendDatagram,
    SendMulticast,
    SendStream,
)
from iceway.io.addresses import usable_addresses
from iceway.io.dtls import DtlsConnections, DtlsLimits
from iceway.io.keystore import KeyStore
from iceway.io.multicast import MulticastSockets
from iceway.io.netwatch import watch_network
from iceway.io.recorder import Recorder
from iceway.io.streams import StreamLimits, Streams
from iceway.io.udp import UdpSockets
from iceway.trace.records import Note, Record

TICK = 5.0  # seconds between looks at the wall clock, the interfaces and the trace file
CLOCK_JUMP = 0.5  # seconds of difference worth telling the machine
MAX_LOOKUPS = 64
STOP_GRACE = 1.0
_AFTER_A_BUG = 0.25  # seconds before a machine that raised is woken again, lest it spin

_log = logging.getLogger("iceway.driver")
T = TypeVar("T")


class NameResolver(Protocol):
    """What a driver asks for names. Never raises: errors are words."""

    async def resolve(self, name: str, record_type: str) -> tuple[tuple[Answer, ...], str | None]: ...


class Driver:
    """One machine on this host's network. Use it as an async context manager, or `start` and `stop` it."""

    def __init__(
        self,
        machine: Machine,
        *,
        keystore: KeyStore | None = None,
        resolver: NameResolver | None = None,
        recorder: Recorder | None = None,
        node: str = "",
        on_event: Callable[[object, float], None] | None = None,
        limits: StreamLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        addresses: Callable[[], tuple[str, ...]] = usable_addresses,
        watch: Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Callable[[], None]] = watch_network,
    ) -> None:
        self.machine = machine
        self.node = node
        self.recorder = recorder or Recorder()
        self._keystore = keystore or KeyStore()
        self._resolver = resolver
        self._on_event = on_event
        self._limits = limits or StreamLimits()
        self._monotonic = monotonic
        self._wall = wall
        self._addresses = addresses
        self._watch = watch
        self._stop_watching: Callable[[], None] = lambda: None

        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = False
        self._pumping = False
        self._inbox: deque[Input] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._not_before = -math.inf
        self._tick_at = math.inf
        self._wall_offset = 0.0
        self._ips: tuple[str, ...] = ()
        self._lookups: set[asyncio.Task[None]] = set()
        self._lookup_slots = asyncio.Semaphore(MAX_LOOKUPS)
        self._requests: dict[type, Callable[..., None]] = {}

    def now(self) -> float:
        return self._monotonic()

    async def start(self) -> None:
        """Tell the machine the wall clock and the host's addresses, and carry out what it wants."""
        if self._loop is not None:
            raise UsageError("a driver starts once")
        loop = self._loop = asyncio.get_running_loop()
        self._udp = UdpSockets(loop, self._deliver, self._settle)
        self._multicast = MulticastSockets(loop, self._deliver, self._settle)
        self._streams = Streams(loop, self.feed, self.record, self._keystore, self._limits)
        self._dtls = DtlsConnections(
            loop, self._deliver, self._settle, self.record, self._keystore, DtlsLimits()
        )
        self._requests = {
            SendDatagram: self._udp.send,
            OpenUdp: self._open_udp,
            CloseUdp: self._close_udp,
            SendMulticast: self._multicast.send,
            OpenMulticast: self._open_multicast,
            CloseMulticast: self._close_multicast,
            Listen: self._listen,
            CloseListener: self._close_listener,
            Connect: self._connect,
            SendStream: self._send_stream,
            CloseStream: self._close_stream,
            Resolve: self._resolve,
        }
        self._running = True
        self._wall_offset = self._wall() - self.now()
        self._ips = self._addresses()
        self._tick_at = self.now() + TICK
        self._inbox.extend((ClockSet(self._wall_offset), AddressesChanged(self._ips)))
        self._stop_watching = self._watch(loop, self._network_changed)
        self._pump()
        self._rearm()

    async def stop(self) -> None:
        """Close everything, waiting about a second for what was sent. The machine hears of nothing more.

        Whoever wants the machine to take leave (BYE, Refresh 0) calls it to and waits for its event first.
        """
        if not self._running:
            return
        self._running = False
        self._stop_watching()
        self._inbox.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._lookups:
            task.cancel()
        await asyncio.gather(*self._lookups, return_exceptions=True)
        self._udp.close_all()
        self._dtls.close_all()
        self._multicast.close_all()
        await self._streams.close_all(STOP_GRACE)
        self.recorder.flush()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def call(self, command: Callable[[float], T]) -> T:
        """Run a command of the machine and carry out what follows. What the command raises, this raises."""
        if not self._running:
            raise UsageError("the driver is not running")
        try:
            return command(self.now())
        finally:
            self._pump()
            self._rearm()

    def feed(self, event: Input) -> None:
        """Hand the machine an input."""
        self._deliver(event)
        self._settle()

    def record(self, record: Record) -> None:
        self.recorder.record(record, self.now(), self.node)

    # --- change, drain, re-arm --------------------------------------------------------------------------
    def _deliver(self, event: Input) -> None:
        if self._running:
            self._inbox.append(event)
            self._pump()

    def _settle(self) -> None:
        if self._running and not self._pumping:
            self._rearm()

    def _pump(self) -> None:
        """Until nothing waits on either side. A call from within a pump is done by the outer one."""
        if self._pumping:
            return
        self._pumping = True
        try:
            self._drain()
            while self._inbox and self._running:
                event = self._inbox.popleft()
                try:
                    self.machine.handle_input(event, self._monotonic())
                except Exception:
                    self._bug(f"handling {type(event).__name__}")
                self._drain()
        finally:
            self._pumping = False

    def _drain(self) -> None:
        poll_output, requests = self.machine.poll_output, self._requests
        try:
            while (output := poll_output()) is not None:
                try:
                    requests.get(type(output), self._tell)(output)
                except Exception:
                    self._bug(f"carrying out {type(output).__name__}")
        except Exception:
            self._bug("draining")

    def _tell(self, output: object) -> None:
        """What is no request: a record, or an event for the program."""
        if isinstance(output, Record):
            self.record(output)
        elif self._on_event is not None:
            self._on_event(output, self.now())

    def _rearm(self) -> None:
        """One timer. One that comes too early is left alone: it finds out and re-arms."""
        if not self._running or self._loop is None:
            return
        at = self._tick_at
        try:
            wanted = self.machine.poll_timeout()
            if wanted is not None:
                at = min(at, max(wanted, self._not_before))
        except Exception:
            self._bug("asking for the next timeout")
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        # Rounded up to the loop's millisecond, or it would wake too early and spin until the instant comes.
        delay = math.ceil(max(0.0, at - self.now()) * 1000) / 1000
        self._timer = self._loop.call_later(delay, self._wake)
        self._timer_at = at

    def _wake(self) -> None:
        self._timer = None
        now = self.now()
        if now >= self._tick_at:
            self._tick(now)
        try:
            at = self.machine.poll_timeout()
            if at is not None and at <= now and now >= self._not_before:
                self.machine.handle_timeout(now)
        except Exception:
            self._not_before = now + _AFTER_A_BUG
            self._bug("handling a timeout")
        self._pump()
        self._rearm()

    def _tick(self, now: float) -> None:
        self._tick_at = now + TICK
        offset = self._wall() - now
        if abs(offset - self._wall_offset) > CLOCK_JUMP:
            self._wall_offset = offset
            self._inbox.append(ClockSet(offset))
        self._look_at_addresses()
        self.recorder.flush()

    def _look_at_addresses(self) -> None:
        ips = self._addresses()
        if ips != self._ips:
            self._ips = ips
            self._inbox.append(AddressesChanged(ips))

    def _network_changed(self) -> None:
        if self._running:
            self._look_at_addresses()
            self._pump()
            self._rearm()

    def _bug(self, doing: str) -> None:
        """Called while an exception is handled."""
        name = type(self.machine).__name__
        _log.exception("bug in %s of %s while %s", name, self.node or "this process", doing)
        self.record(Note("error", f"internal error in {name} while {doing}; the log has the traceback"))

    # --- requests ---------------------------------------------------------------------------------------
    def _open_udp(self, request: OpenUdp) -> None:
        self._inbox.append(self._udp.open(request))

    def _close_udp(self, request: CloseUdp) -> None:
        self._udp.close(request.local)

    def _open_multicast(self, request: OpenMulticast) -> None:
        self._inbox.append(self._multicast.open(request))

    def _close_multicast(self, request: CloseMulticast) -> None:
        self._multicast.close(request.key)

    def _listen(self, request: Listen) -> None:
        listeners = self._dtls if request.datagrams else self._streams
        self._inbox.append(listeners.listen(request))

    def _close_listener(self, request: CloseListener) -> None:
        listeners = self._dtls if self._dtls.listens(request.key) else self._streams
        listeners.close_listener(request.key)

    def _connect(self, request: Connect) -> None:
        if self._streams.knows(request.stream) or self._dtls.knows(request.stream):
            raise UsageError(f"stream {request.stream} is in use")
        if request.datagrams:
            self._dtls.connect(request)
        else:
            self._streams.connect(request)

    def _send_stream(self, request: SendStream) -> None:
        if self._dtls.knows(request.stream):
            self._dtls.send(request.stream, request.data)
        else:
            self._streams.send(request.stream, request.data)

    def _close_stream(self, request: CloseStream) -> None:
        if self._dtls.knows(request.stream):
            self._dtls.close(request.stream, abort=request.abort)
        else:
            self._streams.close(request.stream, abort=request.abort)

    def _resolve(self, request: Resolve) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._look_up(request))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _look_up(self, request: Resolve) -> None:
        answers: tuple[Answer, ...] = ()
        error: str | None = "no resolver is configured"
        if self._resolver is not None:
            async with self._lookup_slots:
                try:
                    answers, error = await self._resolver.resolve(request.name, request.record_type)
                except Exception:
                    self._bug(f"resolving {request.name}")
                    error = "internal error"
        self.feed(Resolved(request.key, request.name, request.record_type, answers, error))
