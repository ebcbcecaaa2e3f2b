"""A small network in virtual time: machines on IPs, plain peers, delay, loss, streams cut at will.

Only the cast at the end (`add_server`, `add_client`) knows TURN.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random

from iceway.core.address import Address, Transport
from iceway.core.machine import (
    ClockSet,
    CloseListener,
    CloseStream,
    CloseUdp,
    Connect,
    DatagramReceived,
    Input,
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
    UdpFailed,
    UdpOpened,
)
from iceway.trace.entry import Entry, from_json, to_json
from iceway.trace.records import Record
from iceway.turn.auth import Authenticator, StaticAuthenticator
from iceway.turn.client import TurnClient
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import TurnServer

WALL = 1_800_000_000.0
DELAY = 0.02
RELAY_IP = "203.0.113.1"
RELAY = Address(RELAY_IP, 3478)
REALM = "example.test"


class Node:
    """A machine on an IP, with all it ever put out."""

    def __init__(self, net: Net, ip: str, machine: Machine) -> None:
        self.net = net
        self.ip = ip
        self.machine = machine
        self.outputs: list[object] = []
        self.sockets: list[Address] = []

    def events(self, *kinds: type) -> list[object]:
        """Events of these types, or all that are no record and no request."""
        return [o for o in self.outputs if (isinstance(o, kinds) if kinds else _is_event(o))]

    def records(self, *kinds: type) -> list[Record]:
        return [o for o in self.outputs if isinstance(o, Record) and (not kinds or isinstance(o, kinds))]

    def sent(self) -> list[bytes]:
        return [o.data for o in self.outputs if isinstance(o, SendDatagram | SendStream)]

    def feed(self, event: Input) -> None:
        self.machine.handle_input(event, self.net.now)
        self.drain()

    def drain(self) -> None:
        while (output := self.machine.poll_output()) is not None:
            self.outputs.append(output)
            if isinstance(output, Record):
                entry = Entry(1, self.net.now, self.ip, output)
                assert from_json(to_json(entry)).record == output
            self.net.carry_out(self, output)


class Peer:
    """A UDP socket without a machine: remembers what comes, echoes it if told to."""

    def __init__(self, net: Net, address: Address, echo: bool = False) -> None:
        self.net = net
        self.address = address
        self.echo = echo
        self.heard: list[tuple[Address, bytes]] = []

    def sends(self, remote: Address, data: bytes) -> None:
        self.net.send(self.address, remote, data)

    def receive(self, remote: Address, data: bytes) -> None:
        self.heard.append((remote, data))
        if self.echo:
            self.sends(remote, data)


class RawStream:
    """The client end of a stream without a machine."""

    def __init__(self, net: Net, local: Address, remote: Address) -> None:
        self.heard = b""
        self.closed: str | None = None
        self._end = net.open_stream(self, local, remote, "raw")
        self.net = net

    def sends(self, data: bytes) -> None:
        self.net.stream_send(self._end, data)

    def closes(self) -> None:
        self.net.stream_close(self._end)

    def feed(self, event: Input) -> None:
        match event:
            case StreamReceived(data=data):
                self.heard += data
            case StreamClosed(reason=reason):
                self.closed = reason


@dataclass(eq=False)
class End:
    """One end of a stream."""

    owner: Node | RawStream
    stream: str
    local: Address
    remote: Address
    other: End | None = None
    open: bool = True
    seen: list[bytes] = field(default_factory=list)


class Net:
    def __init__(self, seed: int = 0) -> None:
        self.now = 1000.0
        self.rng = Random(seed)
        self.lose: Callable[[Address, Address, bytes], bool] = lambda source, target, data: False
        self.chop: int | None = None
        """Size of the pieces in which stream data arrives; None: as sent."""
        self.black_holes: set[Address] = set()
        self.delay = DELAY
        self.nodes: list[Node] = []
        self._udp: dict[Address, Node | Peer] = {}
        self._listeners: dict[Address, tuple[Node, str]] = {}
        self._ends: dict[tuple[int, str], End] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._streams = count(1)
        self._port = 50_000
        self.taken: set[Address] = set()

    # --- who is there ---------------------------------------------------------------------------------
    def add(self, ip: str, machine: Machine, wall_offset: float = WALL) -> Node:
        node = Node(self, ip, machine)
        self.nodes.append(node)
        node.feed(ClockSet(wall_offset - 1000.0))
        return node

    def peer(self, ip: str, port: int, echo: bool = False) -> Peer:
        peer = Peer(self, Address(ip, port), echo)
        self._udp[peer.address] = peer
        return peer

    def share_socket(self, node: Node, local: Address) -> None:
        """Let a node have a socket that it did not open."""
        self._udp[local] = node

    def call(self, node: Node, command: Callable[..., None], *arguments: object) -> None:
        command(*arguments, self.now)
        node.drain()

    # --- time -----------------------------------------------------------------------------------------
    def at(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.run_until(lambda: False, seconds)

    def run_until(self, done: Callable[[], bool], timeout: float = 60.0) -> bool:
        end = self.now + timeout
        while not done():
            times = [(t, node) for node in self.nodes if (t := node.machine.poll_timeout()) is not None]
            timer = min(times, key=lambda pair: pair[0], default=None)
            packet_at = self._heap[0][0] if self._heap else None
            if packet_at is not None and (timer is None or packet_at <= timer[0]):
                if packet_at > end:
                    break
                self.now = max(self.now, packet_at)
                heapq.heappop(self._heap)[2]()
            elif timer is not None and timer[0] <= end:
                self.now = max(self.now, timer[0])
                timer[1].machine.handle_timeout(self.now)
                timer[1].drain()
            else:
                break
        else:
            return True
        self.now = max(self.now, end)
        return done()

    # --- requests -------------------------------------------------------------------------------------
    def carry_out(self, node: Node, request: object) -> None:
        match request:
            case SendDatagram(local=local, remote=remote, data=data):
                if self._udp.get(local) is node:
                    self.send(local, remote, data)
            case OpenUdp(key=key, local=local, ports=ports):
                self._open_udp(node, key, local, ports)
            case CloseUdp(local=local):
                del self._udp[local]
            case Listen(key=key, local=local):
                self._listeners[local] = (node, key)
                self.at(0, lambda: node.feed(ListenerOpened(key, local)))
            case CloseListener(key=key):
                self._listeners = {a: pair for a, pair in self._listeners.items() if pair != (node, key)}
            case Connect(stream=stream, remote=remote):
                self._port += 1
                self.open_stream(node, Address(node.ip, self._port), remote, stream)
            case SendStream(stream=stream, data=data):
                if (end := self._ends.get((id(node), stream))) is not None:
                    self.stream_send(end, data)
            case CloseStream(stream=stream):
                if (end := self._ends.pop((id(node), stream), None)) is not None:
                    self.stream_close(end)

    def _open_udp(self, node: Node, key: str, local: Address, ports: tuple[int, int] | None) -> None:
        candidates = [local.port] if local.port else range(*(ports or (50_000, 60_000)))
        for port in candidates:
            address = Address(local.ip, port)
            if address not in self._udp and address not in self.taken:
                self._udp[address] = node
                self.at(0, partial(node.feed, UdpOpened(key, address)))
                return
        self.at(0, lambda: node.feed(UdpFailed(key, "address already in use")))

    # --- datagrams ------------------------------------------------------------------------------------
    def send(self, source: Address, target: Address, data: bytes) -> None:
        if self.lose(source, target, data):
            return

        def arrive() -> None:
            receiver = self._udp.get(target)
            if isinstance(receiver, Peer):
                receiver.receive(source, data)
            elif receiver is not None:
                receiver.feed(DatagramReceived(target, source, data))

        self.at(self.delay, arrive)

    # --- streams --------------------------------------------------------------------------------------
    def open_stream(self, owner: Node | RawStream, local: Address, remote: Address, stream: str) -> End:
        near = End(owner, stream, local, remote)
        self._ends[id(owner), stream] = near

        def arrive() -> None:
            if remote in self.black_holes:
                return
            found = self._listeners.get(remote)
            if found is None:
                self.at(self.delay, lambda: self._deliver_close(near, "connection refused"))
                return
            node, key = found
            far = End(node, f"{key}/{next(self._streams)}", remote, local, near)
            near.other = far
            self._ends[id(node), far.stream] = far
            node.feed(StreamAccepted(far.stream, key, remote, local))
            self.at(self.delay, lambda: near.open and owner.feed(StreamConnected(stream, local, remote)))

        self.at(self.delay, arrive)
        return near

    def stream_send(self, end: End, data: bytes) -> None:
        end.seen.append(data)
        size = self.chop or max(1, len(data))
        pieces = [data[at : at + size] for at in range(0, len(data), size)]

        def arrive(piece: bytes) -> None:
            other = end.other
            if other is not None and other.open:
                other.owner.feed(StreamReceived(other.stream, piece))

        for piece in pieces:
            self.at(self.delay, lambda piece=piece: arrive(piece))

    def stream_close(self, end: End) -> None:
        end.open = False
        other = end.other
        if other is not None:
            self.at(self.delay, lambda: self._deliver_close(other, "closed by peer"))

    def _deliver_close(self, end: End, reason: str) -> None:
        if end.open:
            end.open = False
            self._ends.pop((id(end.owner), end.stream), None)
            end.owner.feed(StreamClosed(end.stream, reason))


def _is_event(output: object) -> bool:
    return not isinstance(output, Record) and not type(output).__module__.endswith("core.machine")


# --- the usual cast -------------------------------------------------------------------------------------
def server_config(**changes: object) -> TurnServerConfig:
    plain: dict[str, object] = {
        "realm": REALM,
        "listeners": (TurnListener(Transport.UDP, RELAY), TurnListener(Transport.TCP, RELAY)),
        "relay_ip": RELAY_IP,
    }
    return TurnServerConfig(**(plain | changes))  # type: ignore[arg-type]


def add_server(
    net: Net,
    config: TurnServerConfig | None = None,
    authenticator: Authenticator | None = None,
) -> Node:
    """A relay that listens, with the users alice, bob and carol."""
    users = {name: f"{name}'s password" for name in ("alice", "bob", "carol")}
    server = TurnServer(
        config or server_config(), authenticator or StaticAuthenticator(users), Random("relay")
    )
    node = net.add(RELAY_IP, server)
    net.call(node, server.start)
    net.run(0.01)
    return node


def add_client(
    net: Net,
    ip: str,
    transport: Transport = Transport.UDP,
    *,
    user: str = "alice",
    password: str | None = None,
    server: Address = RELAY,
    **more: object,
) -> Node:
    """A client of the relay on an own IP; not yet allocating."""
    local = Address(ip, 40_000)
    password = f"{user}'s password" if password is None else password
    udp = local if transport is Transport.UDP else None
    client = TurnClient(
        f"{user}.{ip}", server, transport, user, password, Random(net.rng.random()), local=udp, **more
    )  # type: ignore[arg-type]
    node = net.add(ip, client)
    net.share_socket(node, local)
    return node
