"""STUN and TURN servers as the gatherer keeps them: what is known of each, and one job per place to ask from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.core.machine import TlsClient
from iceway.ice.config import AgentConfig, IceServer, Policy, ServerKind
from iceway.ice.scope import is_private
from iceway.turn.binding import BindingClient
from iceway.turn.client import State, TurnClient
from iceway.turn.transaction import RTO
from iceway.wire.channel_data import is_channel_data
from iceway.wire.stun import is_stun

if TYPE_CHECKING:
    from random import Random

SERVERS_PER_INTERFACE = 64  # ranks of one interface's candidates before the next interface's begin
DATA_INDICATION = b"\x00\x17"  # RFC 8656 §17: how its header begins

Client = TurnClient | BindingClient


@dataclass(slots=True, eq=False)
class HostSocket:
    """One open UDP socket: an interface and a component. `rank` counts interfaces, best first.

    With `relays_only` it is no base of candidates: a second allocation at one server needs a second 5-tuple.
    `leaving`: its interface is gone, and it stays for a path that is in use.
    """

    local: Address
    component: int
    rank: int
    relays_only: bool = False
    leaving: bool = False


@dataclass(slots=True, eq=False)
class ServerState:
    """A server, one way of reaching it, and its addresses. `spares` are tried unless one of these is `alive`.

    `asked`: from at least one place, or it was told why not.
    """

    server: IceServer
    rank: int
    addresses: tuple[Address, ...] = ()
    spares: tuple[Address, ...] = ()
    alive: bool = False
    asked: bool = False


@dataclass(slots=True, eq=False)
class Job:
    """One server asked from one place. `socket` is None over TCP and TLS; `family` is that of the relay wanted.

    `doubted`: its relay is asked whether it still stands, and asked for anew if it does not. `scouts`: it asks a
    TURN server for our address alone, one round trip before the allocation can tell it, which accounts for the server.
    """

    state: ServerState
    address: Address
    component: int
    rank: int
    socket: HostSocket | None
    client: Client
    family: int = 4
    started_at: float | None = None
    answered: bool = False
    finished: bool = False
    relayed: Address | None = None
    retired: bool = False
    doubted: bool = False
    scouts: bool = False

    @property
    def server(self) -> IceServer:
        return self.state.server

    @property
    def local(self) -> Address | None:
        return self.socket.local if self.socket else None

    @property
    def local_ip(self) -> str | None:
        """The interface that it depends on; None while a stream is not connected."""
        if isinstance(self.client, TurnClient):
            return self.client.local.ip if self.client.local else None
        return self.local.ip if self.local else None

    @property
    def turn(self) -> TurnClient:
        """The client of a job that has a relay."""
        assert isinstance(self.client, TurnClient)
        return self.client

    @property
    def ended(self) -> bool:
        client = self.client
        return client.state is State.ENDED if isinstance(client, TurnClient) else client.done

    def start(self, now: float) -> None:
        self.started_at = now
        if isinstance(self.client, TurnClient):
            self.client.allocate(now)
        else:
            self.client.ask(now)


def client_of(
    name: str,
    server: IceServer,
    address: Address,
    socket: HostSocket | None,
    family: int | None,
    rng: Random,
    *,
    scouts: bool = False,
) -> Client | None:
    """The machine that asks this server; None if the answer would be of no use to UDP (STUN over a stream)."""
    if server.kind is ServerKind.TURN and not scouts:
        tls = TlsClient(server.host or address.ip) if server.transport.is_secure else None
        return TurnClient(
            name,
            address,
            server.transport,
            server.username,
            server.password,
            rng,
            local=socket.local if socket else None,
            tls=tls,
            server_label=server.label,
            requested_family=family,
        )
    if socket is not None:
        return BindingClient(name, address, rng, local=socket.local, server_label=server.label)
    return None


def not_asked(server: IceServer, config: AgentConfig) -> str:
    """Why an agent of this configuration has no use for a server; empty if it has."""
    if config.lite:
        return "a lite agent asks no servers (RFC 8445 §5.2)"
    if server.asks_for_tcp and not config.tcp:
        return "it could only help candidates over TCP, which are not wanted"
    if config.policy is Policy.NO_RELAY:
        if server.transport.is_secure:
            how = server.transport.upper()
            return f"relays are not wanted (policy no-relay), and over {how} it could do nothing else"
        if server.transport is Transport.TCP and not config.tcp:
            return "relays are not wanted (policy no-relay), nor are candidates over TCP"
    return ""


def claims(client: Client, data: bytes) -> bool:
    """Whether a datagram from a server's address is for its client, and not a check or media from there."""
    if is_stun(data):
        if client.owns(data[8:20]):
            return True
        return isinstance(client, TurnClient) and data[:2] == DATA_INDICATION
    return isinstance(client, TurnClient) and is_channel_data(data)


def is_mute(jobs: Iterable[Job], ip: str, now: float) -> bool:
    """Whether servers were asked twice over UDP from the interface `ip` and none answered, while some did on another
    interface of its family, or over TCP."""
    asked = heard = elsewhere = False
    for job in jobs:
        place = job.local_ip
        if job.socket is not None and place == ip:
            asked = asked or (job.started_at is not None and job.started_at + RTO <= now)
            heard = heard or job.answered
        elif job.answered and place is not None:
            elsewhere = elsewhere or Address(place, 0).family == Address(ip, 0).family
    return asked and elsewhere and not heard


def refusal(ip: str, code: int | None, reason: str) -> str:
    if code is None:
        return f"the relay did not say whether it may forward to {ip}: {reason}"
    if code == 403:
        kind = "private " if is_private(ip) else ""
        return f"relay refuses {kind}peer address {ip}: 403 {reason}".rstrip()
    return f"relay refuses peer address {ip}: {code} {reason}".rstrip()


def said_of_expiry(username: str, wall_time: float) -> str:
    """What our clock says of a name "expiry:user", which coturn and others refuse without saying why."""
    expiry, colon, _ = username.partition(":")
    if not colon or not (expiry.isascii() and expiry.isdigit()) or len(expiry) > 12:
        return ""
    left = int(expiry) - wall_time
    if left <= 0:
        return f"; by our clock they expired {-left:.0f} s ago"
    return (
        f"; by our clock they are good for {left:.0f} s more, so the password is wrong, "
        f"or the server's clock is {left:.0f} s ahead of ours or more"
    )
