"""Somebody on the network who sends what they like and keeps what comes back."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from iceway.core.address import Address
from iceway.core.machine import (
    Connect,
    DatagramReceived,
    Input,
    OpenUdp,
    Outbox,
    SendDatagram,
    SendStream,
    StreamClosed,
    StreamConnected,
    StreamReceived,
    TlsClient,
    UdpOpened,
)
from iceway.lab.world.tls import Certificate
from iceway.lab.world.world import World


class _Mouth(Outbox):
    """Machine without opinions."""

    def __init__(self) -> None:
        super().__init__()
        self.local: Address | None = None
        self.datagrams: list[tuple[Address, bytes]] = []
        self.received: dict[str, bytes] = defaultdict(bytes)
        self.connected: set[str] = set()
        self.closed: dict[str, str] = {}

    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case UdpOpened(local=local):
                self.local = local
            case DatagramReceived(remote=remote, data=data):
                self.datagrams.append((remote, data))
            case StreamConnected(stream=stream):
                self.connected.add(stream)
            case StreamReceived(stream=stream, data=data):
                self.received[stream] += data
            case StreamClosed(stream=stream, reason=reason):
                self.closed[stream] = reason

    def handle_timeout(self, now: float) -> None:
        pass

    def poll_timeout(self) -> float | None:
        return None


@dataclass
class Stranger:
    """Runs beside whatever else runs on a host. `certificate` is shown to servers that ask for one."""

    world: World
    host: str
    ip: str
    certificate: Certificate | None = None
    mouth: _Mouth = field(default_factory=_Mouth)
    _streams: int = 0

    def __post_init__(self) -> None:
        name = f"stranger at {self.host}"
        identities = {"own": self.certificate} if self.certificate else {}
        self.name = name
        self.world.run(self.host, self.mouth, name=name, identities=identities)
        self._say(OpenUdp("udp", Address(self.ip, 0)))
        self.world.run_until(lambda: self.mouth.local is not None, 1.0)

    def sends(self, remote: Address, data: bytes) -> None:
        """One datagram."""
        assert self.mouth.local is not None
        self._say(SendDatagram(self.mouth.local, remote, data))

    def connects(self, remote: Address, tls: str | None = None) -> str:
        """A stream that is up. `tls` is the name to look for in the server's certificate."""
        self._streams += 1
        stream = f"stream.{self._streams}"
        how = TlsClient(tls, "own" if self.certificate else None) if tls else None
        self._say(Connect(stream, remote, tls=how))
        assert self.world.run_until(
            lambda: stream in self.mouth.connected or stream in self.mouth.closed, 15.0
        ), "nothing came of the connection"
        return stream

    def says(self, stream: str, data: bytes) -> None:
        self._say(SendStream(stream, data))

    def heard(self, stream: str, seconds: float = 1.0) -> bytes:
        """What came back on a stream after a while."""
        self.world.advance(seconds)
        return self.mouth.received[stream]

    def was_closed(self, stream: str, seconds: float = 120.0) -> bool:
        return self.world.run_until(lambda: stream in self.mouth.closed, seconds)

    def _say(self, output: object) -> None:
        self.world.call(self.name, lambda now: self.mouth.emit(output))
