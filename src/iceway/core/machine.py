"""The machine contract: how every protocol of iceway meets the world.

A machine is plain objects. It never reads a clock, opens a socket, draws a random number of its own or
waits. Whoever drives it (`io/` on real sockets, `lab/world` in virtual time) follows one law:

    change → drain → re-arm

1. *change*: call `handle_input(event, now)`, `handle_timeout(now)`, or a command (any other public method
   that takes `now`).
2. *drain*: call `poll_output()` until it returns None, carrying out each output in order. The queue is one
   and ordered, so cause and effect stay visible.
3. *re-arm* one timer for `poll_timeout()`, the next instant (seconds, the clock of `now`) at which the
   machine wants `handle_timeout`; None means never. Calling it early is harmless.

`now` is monotonic seconds. Wall time is `now + offset`, and the offset arrives as `ClockSet`.

An output is one of the requests below (`Request`), a trace record (`iceway.trace.records.Record`), or an
event of the machine's own for whoever composed it. Requests name things by keys the machine chooses
(`key` of a socket, listener or look-up, `stream` of a connection); the driver only names streams that came
in by themselves (`StreamAccepted`). Keys are paths: a machine constructed with `name="call.1"` prefixes all
its keys with `call.1/`, so that a parent can route inputs back by prefix.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from iceway.core.address import Address


# --- TLS, as machines see it ----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class TlsClient:
    """Ask for TLS on an outgoing connection. `server_name` is checked against the certificate.

    `identity` names a certificate of the driver's key store to present (mutual TLS); None presents none.
    """

    server_name: str
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class TlsServer:
    """Offer TLS on a listener, with the certificate that the driver's key store knows as `identity`.

    Clients are asked for a certificate, unless `anonymous`: browsers break a WebSocket off when they are asked.
    """

    identity: str
    require_client_certificate: bool = False
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class TlsPeer:
    """What the handshake proved about the other end: the DNS names of its verified certificate, if any."""

    names: tuple[str, ...] = ()


# --- inputs ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ClockSet:
    """Wall time is `now + wall_offset` (Unix seconds). Sent once at the start, again when the clock jumps."""

    wall_offset: float


@dataclass(frozen=True, slots=True)
class AddressesChanged:
    """The host's usable interface addresses (no loopback unless it is all there is), best first."""

    ips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UdpOpened:
    key: str
    local: Address


@dataclass(frozen=True, slots=True)
class UdpFailed:
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """`local` is the address that `UdpOpened` reported for the socket."""

    local: Address
    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class MulticastOpened:
    key: str


@dataclass(frozen=True, slots=True)
class MulticastFailed:
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class MulticastReceived:
    """Somebody on the link sent this to the group, or to our address and the group's port.

    Drivers deliver nothing that came through a router (RFC 6762 §11), and also what we sent ourselves.
    """

    key: str
    source: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class ListenerOpened:
    key: str
    local: Address


@dataclass(frozen=True, slots=True)
class ListenerFailed:
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class StreamConnected:
    """A connection asked for with `Connect` is up, TLS handshake included."""

    stream: str
    local: Address
    remote: Address
    peer: TlsPeer | None = None


@dataclass(frozen=True, slots=True)
class StreamAccepted:
    """Somebody connected to the listener `key`. The driver names the stream `{key}/{n}`."""

    stream: str
    key: str
    local: Address
    remote: Address
    peer: TlsPeer | None = None


@dataclass(frozen=True, slots=True)
class StreamReceived:
    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamCongested:
    """The driver's send buffer for the stream passed its mark (True) or drained again (False)."""

    stream: str
    congested: bool


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The stream is gone; also the answer to a `Connect` that failed. The last word on this stream name.

    `reason` is for people: "connection refused", "certificate is for a.test, not b.test", "closed by peer".
    """

    stream: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One DNS record. `data` is an IP for A/AAAA, a host name for SRV, the replacement for NAPTR.

    Port, priority and weight are SRV's (RFC 2782), what follows them is NAPTR's (RFC 3403 §4.1).
    """

    data: str
    port: int = 0
    priority: int = 0
    weight: int = 0
    order: int = 0
    preference: int = 0
    flags: str = ""
    service: str = ""
    regexp: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The answer to `Resolve`. No answers and no error: the name exists without such records (or not at all).

    `error` is for people: "timed out", "SERVFAIL".
    """

    key: str
    name: str
    record_type: str
    answers: tuple[Answer, ...] = ()
    error: str | None = None


Input = (
    ClockSet
    | AddressesChanged
    | UdpOpened
    | UdpFailed
    | DatagramReceived
    | MulticastOpened
    | MulticastFailed
    | MulticastReceived
    | ListenerOpened
    | ListenerFailed
    | StreamConnected
    | StreamAccepted
    | StreamReceived
    | StreamCongested
    | StreamClosed
    | Resolved
)


# --- requests -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class OpenUdp:
    """Bind a UDP socket. Port 0: any; `ports` (inclusive low, high) narrows the choice."""

    key: str
    local: Address
    ports: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class CloseUdp:
    local: Address


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """Send from the open socket `local`. Sending from a socket that is gone is silently lost, like a packet."""

    local: Address
    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class OpenMulticast:
    """Join a multicast group on the interface that has this IP. Many may, each is told everything."""

    key: str
    group: Address
    interface: str


@dataclass(frozen=True, slots=True)
class CloseMulticast:
    key: str


@dataclass(frozen=True, slots=True)
class SendMulticast:
    """Send to the group, or `to` a neighbour, from the group's port and with TTL 255. May be lost, as packets are."""

    key: str
    data: bytes
    to: Address | None = None


@dataclass(frozen=True, slots=True)
class Listen:
    """`shared`: connections of our own may leave from this port (`Connect.local_port`). `datagrams` as in Connect."""

    key: str
    local: Address
    tls: TlsServer | None = None
    shared: bool = False
    datagrams: bool = False


@dataclass(frozen=True, slots=True)
class CloseListener:
    key: str


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a TCP connection, under TLS if `tls` is given. Answered by StreamConnected or StreamClosed.

    `local_port`, on `local_ip`, is that of a `shared` listener; 0 is any. If the other end connects to us from
    `remote` at the same time, both become one connection, which either of the two requests may come to know.

    With `datagrams` it is DTLS over UDP instead: what one `SendStream` carries is one datagram, which comes whole or
    not at all, and nobody repeats it.
    """

    stream: str
    remote: Address
    local_ip: str | None = None
    tls: TlsClient | None = None
    local_port: int = 0
    datagrams: bool = False


@dataclass(frozen=True, slots=True)
class SendStream:
    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Close after what was sent; `abort` throws it away. Also gives up a pending `Connect`."""

    stream: str
    abort: bool = False


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look a name up in DNS. `record_type` is "A", "AAAA", "SRV" or "NAPTR"."""

    key: str
    name: str
    record_type: str


Request = (
    OpenUdp
    | CloseUdp
    | SendDatagram
    | OpenMulticast
    | CloseMulticast
    | SendMulticast
    | Listen
    | CloseListener
    | Connect
    | SendStream
    | CloseStream
    | Resolve
)


class Machine(Protocol):
    """What a driver needs. See the module's law."""

    def handle_input(self, event: Input, now: float) -> None: ...

    def handle_timeout(self, now: float) -> None: ...

    def poll_output(self) -> object | None: ...

    def poll_timeout(self) -> float | None: ...


class Outbox:
    """The one ordered output queue of a machine; base class of most machines."""

    def __init__(self) -> None:
        self._outputs: deque[object] = deque()

    def emit(self, output: object) -> None:
        self._outputs.append(output)

    def poll_output(self) -> object | None:
        return self._outputs.popleft() if self._outputs else None


def drain(machine: Machine) -> list[object]:
    """All outputs waiting in a machine, in order."""
    outputs = []
    while (output := machine.poll_output()) is not None:
        outputs.append(output)
    return outputs


def earliest(*instants: float | None) -> float | None:
    """The earliest of some instants, None where there is none: how a parent computes `poll_timeout`."""
    first: float | None = None
    for instant in instants:
        if instant is not None and (first is None or instant < first):
            first = instant
    return first
