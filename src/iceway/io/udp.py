"""The UDP sockets of one driver.

Plain non-blocking sockets under `add_reader`: opening is immediate, a readable socket is read in batches, and
what cannot be sent at once is lost, as UDP may lose it anyway. ICMP errors are not reported to machines: they
are forgeable, and protocols over UDP have timers of their own.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Iterable

from iceway.core.address import Address
from iceway.core.machine import DatagramReceived, Input, OpenUdp, SendDatagram, UdpFailed, UdpOpened
from iceway.io.reasons import bind_words
from iceway.io.stream import socket_address

BATCH = 32  # datagrams read from one socket before others get their turn
BUFFER = 1 << 20  # bytes asked for; the kernel grants what net.core.rmem_max allows
_LARGEST = 65535
_RANDOM_TRIES = 16


class UdpSockets:
    """Opens, reads, writes and closes them. `deliver` gets each input, `settle` the end of each batch."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[Input], None],
        settle: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._deliver = deliver
        self._settle = settle
        self._sockets: dict[Address, socket.socket] = {}
        self._chance = random.SystemRandom()

    def open(self, request: OpenUdp) -> UdpOpened | UdpFailed:
        try:
            sock = self._bound(request)
        except OSError as error:
            return UdpFailed(request.key, self._failure(request, error))
        local = socket_address(sock.getsockname())
        self._sockets[local] = sock
        self._loop.add_reader(sock.fileno(), self._read, sock, local)
        return UdpOpened(request.key, local)

    def send(self, request: SendDatagram) -> None:
        sock = self._sockets.get(request.local)
        if sock is None:
            return
        try:
            sock.sendto(request.data, request.remote)
        except OSError:
            return  # full buffers, no route, a message too long: lost like a packet

    def close(self, local: Address) -> None:
        sock = self._sockets.pop(local, None)
        if sock is not None:
            self._loop.remove_reader(sock.fileno())
            sock.close()

    def close_all(self) -> None:
        for local in list(self._sockets):
            self.close(local)

    def _bound(self, request: OpenUdp) -> socket.socket:
        family = socket.AF_INET6 if request.local.family == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            self._bind(sock, request)
        except BaseException:
            sock.close()
            raise
        return sock

    def _bind(self, sock: socket.socket, request: OpenUdp) -> None:
        refused: OSError | None = None
        for port in self._ports(request):
            try:
                sock.bind((request.local.ip, port))
                return
            except OSError as error:
                refused = error
                if request.ports is None or request.local.port:
                    break
        raise refused or OSError("the port range is empty")

    def _ports(self, request: OpenUdp) -> Iterable[int]:
        """The ports to try: unpredictable ones first (RFC 6056), then every one of the range."""
        if request.ports is None or request.local.port:
            return (request.local.port,)
        low, high = request.ports
        everyone = range(max(low, 1), min(high, 65535) + 1)
        if not everyone:
            return ()
        start = self._chance.randrange(len(everyone))
        guesses = [self._chance.choice(everyone) for _ in range(_RANDOM_TRIES)]
        return (*guesses, *everyone[start:], *everyone[:start])

    def _failure(self, request: OpenUdp, error: OSError) -> str:
        if request.ports is not None and not request.local.port:
            low, high = request.ports
            return f"no port from {low} to {high} on {request.local.ip} could be had ({bind_words(error, request.local)})"
        return bind_words(error, request.local)

    def _read(self, sock: socket.socket, local: Address) -> None:
        deliver = self._deliver
        for _ in range(BATCH):
            try:
                data, source = sock.recvfrom(_LARGEST)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                if sock.fileno() < 0:
                    break  # what the machine did upon the last datagram closed it
                continue
            deliver(DatagramReceived(local, socket_address(source), data))
        self._settle()
