"""What an ICE agent is told: its configuration, its servers, and the numbers of the RFCs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport, canonical_ip
from iceway.core.errors import ParseError, UsageError
from iceway.wire import server_uri
from iceway.wire.server_uri import ServerUri

if TYPE_CHECKING:
    from iceway.ice.candidate import Candidate

DEFAULT_TA = 0.050  # RFC 8445 §14.2: between two new checks of one agent, if its peer proposes nothing else
LEAST_TA = 0.005  # RFC 8445 §14.2
TA = 0.020
"""What we propose (RFC 8839 §5.5): a check as often as speech sends a packet, so checks crowd out no more than the
media that comes after them (RFC 8445 appendix B.1)."""
MAX_TA = 1.0  # a peer that wants more time between checks does not get it
GATHERING_TA = 0.005  # RFC 8445 §14.2 lets nothing go faster than one transaction in 5 ms
RTO = 0.5  # RFC 8445 §14.3
REQUESTS = 7  # Rc, RFC 8489 §6.2.1: requests in all, the first one included
LAST_WAIT = 16  # Rm, RFC 8489 §6.2.1: after the last one, in RTOs
PATIENCE = 39.5  # RFC 8863 §4: never give up before
KEEPALIVE = 15.0  # Tr, RFC 8445 §11
CONSENT_INTERVAL = 5.0  # RFC 7675 §5.1, times 0.8 to 1.2
CONSENT_EXPIRY = 30.0  # RFC 7675 §5.1
MAX_PAIRS = 100  # RFC 8445 §6.1.2.5


class Policy(StrEnum):
    """`RELAY`: only relayed candidates are offered and used, so that the peer never learns where we are.

    `NO_RELAY`: no relay of ours is asked for; TURN servers over UDP are asked for our address alone. The peer may
    still use its own.
    """

    ALL = "all"
    RELAY = "relay"
    NO_RELAY = "no-relay"


class ServerKind(StrEnum):
    STUN = "stun"
    TURN = "turn"


Place = tuple[ServerKind, str, int, Transport]


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server: by `address` if that is known, by `host` and `port`, or by `from_uri`.

    Under TLS the certificate must name `host`. `username` and `password` are TURN's long-term credentials. With a `uri`
    its servers, their ports (then 0 here) and their transports are looked up in DNS.
    """

    kind: ServerKind
    host: str = ""
    port: int = 3478
    transport: Transport = Transport.UDP
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    address: Address | None = None
    uri: ServerUri | None = None

    def __post_init__(self) -> None:
        if self.address is None and self.uri is None and not (self.host and 0 < self.port < 65536):
            raise UsageError(f"a server needs an address, or a host and a port: {self.host!r} {self.port}")

    @classmethod
    def from_uri(cls, text: str, username: str = "", password: str = "") -> IceServer:
        """The server of a `stun:`, `turn:` or `turns:` URI (RFC 7064, 7065). Raises ParseError.

        What the URI leaves open is discovered: without a port by SRV, without a transport by NAPTR as well.
        """
        uri = server_uri.parse(text)
        secured = Transport.DTLS if uri.transport == "udp" else Transport.TLS
        secure = secured if uri.secure else Transport.UDP
        return cls(
            kind=ServerKind.TURN if uri.relays else ServerKind.STUN,
            host=uri.host,
            port=uri.port or 0,
            transport=Transport.TCP if uri.transport == "tcp" and not uri.secure else secure,
            username=username,
            password=password,
            uri=uri,
        )

    @property
    def asks_for_tcp(self) -> bool:
        """A STUN server over a stream knows what a TCP candidate looks like from outside, and nothing else."""
        return self.kind is ServerKind.STUN and self.transport.is_stream

    @property
    def place(self) -> Place:
        """What stays the same when the credentials change, and whatever DNS says."""
        if self.uri is not None:
            return self.kind, str(self.uri), 0, Transport.UDP
        return self.kind, self.host or str(self.address), self.port, self.transport

    @property
    def label(self) -> str:
        """As records name it: `turn:av.example.test:3478?transport=udp`."""
        scheme = f"{self.kind.value}s" if self.transport.is_secure else self.kind.value
        if self.uri is not None and not self.port:
            return str(self.uri)
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"{host}:{self.port}" if self.host else str(self.address)
        if self.kind is ServerKind.STUN:
            return f"{scheme}:{where}"
        return f"{scheme}:{where}?transport={'tcp' if self.transport.is_stream else 'udp'}"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """`controlling` is the role to begin with (the offerer's); a conflict may swap it.

    `ta` is the time between two new checks that we propose; the larger one of both peers' holds.
    `renomination`: with peers that announce it, too, the path moves when a better one comes up later.
    `nomination_patience` bounds how long a valid pair waits for a better one (longer where a long checklist repeats
    its checks later), `patience` how long checks go
    on before failure; `release_after` when relays that the selected pair does not use are given back.
    `relay_families` (4, 6 or both) are the relayed addresses to ask each TURN server for; empty: IPv4 ones, and
    IPv6 ones of servers that are reached over IPv6. `lite` (RFC 8445 §2.5) is for hosts that everybody can reach:
    no servers, no checks of our own, the peer decides. `tcp` adds candidates over TCP (RFC 6544) for networks
    without UDP; it needs a single component. `tcp_types` are the kinds of them: connecting, being connected to, and
    both at once ("so"), which is what two NATs let through. Servers over TCP tell the outside of the latter two.

    `mdns` tells a random name in place of each host address, which only neighbours on the same link can resolve, and
    hides the addresses that reflexive candidates come from. Names of the peer are asked for
    with or without it, unless `resolve_names` says no: a server with many peers would flood its link with questions.

    `ports` bounds the host candidates' ports; `interface_filter` says of an interface's IP whether to use it;
    `external_ips` are (inside, outside) addresses of a one-to-one NAT; `preference` gives a candidate another
    local preference (0 to 65535, more is better; RFC 8445 §5.1.2.1), by which candidates of one type are ranked.
    """

    controlling: bool
    components: int = 1
    renomination: bool = True
    ports: tuple[int, int] | None = None
    policy: Policy = Policy.ALL
    relay_families: tuple[int, ...] = ()
    lite: bool = False
    tcp: bool = False
    tcp_types: tuple[str, ...] = ("active", "passive", "so")
    mdns: bool = False
    resolve_names: bool = True
    interface_filter: Callable[[str], bool] | None = None
    external_ips: tuple[tuple[str, str], ...] = ()
    preference: Callable[[Candidate], int] | None = None
    ta: float = TA
    rto: float = RTO
    nomination_patience: float = RTO + 0.05  # the first checks of both sides often meet closed filters
    patience: float = PATIENCE
    keepalive: float = KEEPALIVE
    consent_interval: float = CONSENT_INTERVAL
    consent_expiry: float = CONSENT_EXPIRY
    release_after: float = 10.0
    max_remote_candidates: int = 64

    def __post_init__(self) -> None:
        if any(family not in (4, 6) for family in self.relay_families):
            raise UsageError(f"relay families are 4 and 6, not {self.relay_families}")
        if not LEAST_TA <= self.ta <= MAX_TA:
            raise UsageError(f"ta must be {LEAST_TA} to {MAX_TA} seconds, not {self.ta}")
        if self.ports is not None and not 0 < self.ports[0] <= self.ports[1] < 65536:
            raise UsageError(f"{self.ports[0]} to {self.ports[1]} is no range of ports")
        if any(kind not in ("active", "passive", "so") for kind in self.tcp_types):
            raise UsageError(f"candidates over TCP are active, passive or so, not {self.tcp_types}")
        if self.tcp and self.components > 1:
            raise UsageError("candidates over TCP are for a single component")
        for inside, outside in self.external_ips:
            try:
                families = {Address(canonical_ip(ip), 0).family for ip in (inside, outside)}
            except ParseError as error:
                raise UsageError(f"external_ips: {error}") from error
            if len(families) > 1:
                raise UsageError(f"external_ips: {inside} and {outside} are of two families")
