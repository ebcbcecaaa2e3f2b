"""What the driver costs: a bare UDP forwarder as a machine, beside the same in plain uvloop and plain sockets.

A load process sends 172-byte datagrams (20 ms of G.711 as RTP) through the forwarder and counts what comes out.
Printed are datagrams a second flat out and CPU a datagram of the forwarding process, medians over rounds in
which the contenders take turns, and their ratios to plain uvloop.

    .venv/bin/python bench/udp_driver.py [seconds a round] [rounds]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import socket
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import uvloop

from iceway.core.address import Address
from iceway.core.machine import DatagramReceived, Input, OpenUdp, Outbox, SendDatagram, UdpOpened
from iceway.io.driver import Driver

PAYLOAD = bytes(172)
WINDOW = 64  # datagrams under way: more would only be lost in the socket buffers
LOOPBACK = Address("127.0.0.1", 0)


class Forwarder(Outbox):
    """Sends whatever it hears to one place."""

    def __init__(self, target: Address) -> None:
        super().__init__()
        self.target = target
        self.local: Address | None = None

    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case DatagramReceived(local=local, data=data):
                self.emit(SendDatagram(local, self.target, data))
            case UdpOpened(local=local):
                self.local = local

    def handle_timeout(self, now: float) -> None:
        pass

    def poll_timeout(self) -> float | None:
        return None


def by_driver(target: Address, ready: Callable[[Address], None]) -> None:
    async def main() -> None:
        machine = Forwarder(target)
        async with Driver(machine) as driver:
            driver.call(lambda now: machine.emit(OpenUdp("u", LOOPBACK)))
            assert machine.local is not None
            ready(machine.local)
            await asyncio.Event().wait()

    uvloop.run(main())


def by_uvloop(target: Address, ready: Callable[[Address], None]) -> None:
    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.send = transport.sendto

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.send(data, target)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=LOOPBACK)
        ready(Address(*transport.get_extra_info("sockname")))
        await asyncio.Event().wait()

    uvloop.run(main())


def by_sockets(target: Address, ready: Callable[[Address], None]) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(LOOPBACK)
    ready(Address(*sock.getsockname()))
    while True:
        data, _ = sock.recvfrom(2048)
        sock.sendto(data, target)


CONTENDERS = {"plain uvloop": by_uvloop, "driver": by_driver, "plain sockets": by_sockets}


def serve(name: str, target: Address, pipe: Connection) -> None:
    """The forwarding process: says where it listens, then answers questions for its CPU time from a thread."""
    import threading

    def report() -> None:
        while True:
            pipe.recv()
            usage = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send(usage.ru_utime + usage.ru_stime)

    def ready(local: Address) -> None:
        pipe.send(local)
        threading.Thread(target=report, daemon=True).start()

    CONTENDERS[name](target, ready)


def measure(name: str, seconds: float) -> tuple[float, float]:
    """Datagrams a second, and microseconds of CPU a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as load:
        load.bind(LOOPBACK)
        load.settimeout(0.05)
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(
            target=serve, args=(name, Address(*load.getsockname()), theirs), daemon=True
        )
        process.start()
        target = ours.recv()

        def cpu() -> float:
            ours.send(None)
            return float(ours.recv())

        def pump(until: float) -> int:
            arrived = 0
            for _ in range(WINDOW):
                load.sendto(PAYLOAD, target)
            while time.perf_counter() < until:
                try:
                    load.recv(2048)
                    arrived += 1
                    load.sendto(PAYLOAD, target)
                except TimeoutError:  # the whole window was lost
                    for _ in range(WINDOW):
                        load.sendto(PAYLOAD, target)
            return arrived

        pump(time.perf_counter() + seconds / 4)
        cpu_before, begin = cpu(), time.perf_counter()
        arrived = pump(begin + seconds)
        elapsed, cpu_spent = time.perf_counter() - begin, cpu() - cpu_before
        process.kill()
        process.join()
    return arrived / elapsed, cpu_spent / max(arrived, 1) * 1e6


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            results[name].append(measure(name, seconds))
    rates = {name: statistics.median(rate for rate, _ in found) for name, found in results.items()}
    costs = {name: statistics.median(cost for _, cost in found) for name, found in results.items()}
    for name in CONTENDERS:
        print(
            f"{name:14} {rates[name]:9.0f} datagrams/s ({rates[name] / rates['plain uvloop']:.2f})"
            f"  {costs[name]:6.1f} us CPU each ({costs[name] / costs['plain uvloop']:.2f})"
        )


if __name__ == "__main__":
    main()
