"""A bench for SIP servers: the machine in the middle, peers that speak plain messages around it, virtual time.

A `Peer` is one connection (or UDP address) of somebody: it says messages and hears what the machine sends it.
Connections that the machine opens are accepted, or refused, by `answering`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from iceway.core.address import Address
from iceway.core.machine import (
    ClockSet,
    CloseStream,
    Connect,
    DatagramReceived,
    Listen,
    ListenerOpened,
    Machine,
    OpenUdp,
    SendDatagram,
    SendStream,
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamReceived,
    TlsPeer,
    UdpOpened,
)
from iceway.trace.records import Record
from iceway.wire.sip import Keepalive, Request, Response, StreamFramer, make_response, parse_message

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z: wall time at instant 0
Answering = Callable[[Connect], tuple[str, ...] | str]
"""Names of the certificate that a connection's far end shows, or why there is no connection."""


@dataclass
class Peer:
    """Somebody the machine talks to, over one connection or one UDP address."""

    bench: Bench
    remote: Address
    stream: str | None = None
    local: Address | None = None
    heard: deque[Request | Response] = field(default_factory=deque)
    closed: str | None = None
    connect: Connect | None = None
    raw: bytes = b""

    def __post_init__(self) -> None:
        self.framer = StreamFramer(opened=True)

    def says(self, *lines: str, body: str = "") -> None:
        """Send a message given by its start line and headers; Content-Length is added."""
        text = "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body])
        self.sends(text.encode())

    def sends(self, data: bytes) -> None:
        if self.stream is None:
            assert self.local is not None
            self.bench.give(DatagramReceived(self.local, self.remote, data))
        else:
            self.bench.give(StreamReceived(self.stream, data))

    def answers(
        self, request: Request, status: int, *headers: tuple[str, str], tag: str = "", body: bytes = b""
    ) -> Response:
        """Respond to a request that was heard."""
        response = make_response(request, status, to_tag=tag or f"t{self.remote.port}")
        for value in request.headers.all("Record-Route"):
            response = response.with_last("Record-Route", value)
        for name, value in headers:
            response = response.with_last(name, value)
        self.sends(response.with_body(body).serialize())
        return response

    def hears_request(self, method: str) -> Request:
        message = self.hears()
        assert isinstance(message, Request), f"heard {message.start_line}"
        assert message.method == method, f"heard {message.start_line}"
        return message

    def hears_response(self, status: int) -> Response:
        message = self.hears()
        assert isinstance(message, Response), f"heard {message.start_line}"
        assert message.status == status, f"heard {message.start_line} {message.headers.get('Warning')}"
        return message

    def hears(self) -> Request | Response:
        assert self.heard, "heard nothing"
        return self.heard.popleft()

    def hears_nothing(self) -> None:
        assert not self.heard, f"heard {self.heard[0].start_line}"

    def hangs_up(self, reason: str = "closed by peer") -> None:
        assert self.stream is not None
        self.bench.give(StreamClosed(self.stream, reason))

    def receive(self, data: bytes) -> None:
        if self.stream is None:
            self.heard.append(parse_message(data))
            return
        self.framer.feed(data)
        while (frame := self.framer.next_frame()) is not None:
            if isinstance(frame, Keepalive):
                self.raw += frame.value
            else:
                self.heard.append(parse_message(frame))


def everything_works(_: Connect) -> tuple[str, ...]:
    return ()


class Bench:
    """Drives one machine; everything it emits that is not a request is in `events` or `records`."""

    def __init__(
        self, machine: Machine, answering: Answering = everything_works, ip: str = "10.0.0.1"
    ) -> None:
        self.machine = machine
        self.answering = answering
        self.ip = ip
        self.now = 0.0
        self.listeners: dict[str, Listen] = {}
        self.udp: dict[str, Address] = {}
        self.dialled: list[Peer] = []
        self.records: list[Record] = []
        self.events: list[object] = []
        self.on_event: Callable[[object], None] = self.events.append
        self.requests: list[object] = []
        self._peers: dict[str | Address, Peer] = {}
        self._accepted = 0
        self.give(ClockSet(NOON))

    # --- the world ------------------------------------------------------------------------------------
    def connects(
        self, ip: str, port: int = 40000, *, listener: str | None = None, names: tuple[str, ...] = ()
    ) -> Peer:
        """Somebody connects to a listener (the only one, or the one on the given address)."""
        key = next(key for key, listen in self.listeners.items() if listener in (None, str(listen.local)))
        self._accepted += 1
        stream, remote = f"{key}/{self._accepted}", Address(ip, port)
        peer = self._peers[stream] = Peer(self, remote, stream)
        local = Address(self.ip, self.listeners[key].local.port)
        self.give(StreamAccepted(stream, key, local, remote, TlsPeer(names) if names else None))
        return peer

    def udp_peer(self, ip: str, port: int) -> Peer:
        (local,) = self.udp.values()
        peer = self._peers[Address(ip, port)] = Peer(self, Address(ip, port), local=local)
        return peer

    def waits(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        until = self.now + seconds
        while (at := self.machine.poll_timeout()) is not None and at <= until:
            self.now = max(self.now, at)
            self.machine.handle_timeout(self.now)
            self.settle()
        self.now = until

    def give(self, event: object) -> None:
        self.machine.handle_input(event, self.now)  # type: ignore[arg-type]
        self.settle()

    def settle(self) -> None:
        """Carry out everything the machine asks for."""
        while (output := self.machine.poll_output()) is not None:
            match output:
                case Listen(key=key):
                    self.listeners[key] = output
                    self.machine.handle_input(ListenerOpened(key, output.local), self.now)
                case OpenUdp(key=key, local=local):
                    self.udp[key] = Address(self.ip, local.port or 20000 + len(self.udp))
                    self.machine.handle_input(UdpOpened(key, self.udp[key]), self.now)
                case SendStream(stream, data):
                    self._peers[stream].receive(data)
                case SendDatagram(remote=remote, data=data):
                    if remote in self._peers:
                        self._peers[remote].receive(data)
                case Connect():
                    self._dial(output)
                case CloseStream(stream=stream):
                    if stream in self._peers:
                        self._peers[stream].closed = "closed"
                case Record():
                    self.records.append(output)
                case _ if type(output).__module__ == "iceway.core.machine":
                    self.requests.append(output)
                case _:
                    self.on_event(output)

    def seen(self, kind: type) -> list[Record]:
        return [record for record in self.records if isinstance(record, kind)]

    def _dial(self, connect: Connect) -> None:
        answer = self.answering(connect)
        if isinstance(answer, str):
            if answer:
                self.machine.handle_input(StreamClosed(connect.stream, answer), self.now)
            return
        peer = Peer(self, connect.remote, connect.stream, connect=connect)
        peer.framer = StreamFramer(opened=False)
        self._peers[connect.stream] = peer
        self.dialled.append(peer)
        connected = StreamConnected(connect.stream, Address(self.ip, 50000), connect.remote, TlsPeer(answer))
        self.machine.handle_input(connected, self.now)
