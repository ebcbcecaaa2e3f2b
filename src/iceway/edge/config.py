"""`edge.toml` as typed values, and what its parts mean for the machines. The shortest file that works:

name = "edge.example.test"
domain = "example.test"
frontend = "fe.example.test"
"""

from __future__ import annotations

from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from iceway.core.address import Address, Transport, canonical_ip, split_host_port
from iceway.core.configuration import HostName, ListenAddress, Origin, Section, UrlPath, load_section
from iceway.core.errors import ParseError
from iceway.core.machine import TlsServer
from iceway.edge.access import AccessConfig
from iceway.edge.mras_service import MrasServiceConfig
from iceway.sip.websocket import WebSocketConfig
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.web.pages import Pages
from iceway.wire.mras import Location, MediaRelay
from iceway.wire.sip import SipUri

IDENTITY = "edge"


def _host(text: str) -> str:
    try:
        split_host_port(text)
    except ParseError as error:
        raise ValueError(str(error)) from error
    return text


def _ip(text: str) -> str:
    try:
        return canonical_ip(text)
    except ParseError as error:
        raise ValueError(str(error)) from error


def _network(text: str) -> str:
    return str(ip_network(text, strict=False))


Host = Annotated[str, AfterValidator(_host)]
"""A host name or IP address, with a port or without."""
Ip = Annotated[str, AfterValidator(_ip)]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=1, le=65535)]


class TlsFiles(Section):
    """PEM files. The private key is also what relay credentials are derived from."""

    certificate: Path = Path("edge.crt")
    key: Path = Path("edge.key")
    trust: Path = Path("ca.crt")


class RetiredKey(Section):
    """The private key of an earlier certificate, whose credentials stay good until a time."""

    key: Path
    until: datetime


class AccessSection(Section):
    """The door for clients outside. `public` is how they reach it, if not by `name` and the port listened on.

    `websocket` is the door for browsers: SIP in WebSockets over TLS, at one path, from the page that is found there
    (`web_phone`) or from pages of `websocket_origins`.
    """

    listen: tuple[ListenAddress, ...] = ("0.0.0.0:5061",)
    public: Host | None = None
    max_connections_per_ip: Annotated[int, Field(ge=1)] = 200
    websocket: tuple[ListenAddress, ...] = ()
    websocket_path: UrlPath = "/"
    websocket_origins: tuple[Origin, ...] = ()
    web_phone: bool = True


class CredentialsSection(Section):
    """The credential service for front ends, and how long credentials live at most."""

    listen: ListenAddress = "0.0.0.0:5062"
    max_hours: Annotated[float, Field(ge=1 / 60, le=720)] = 8.0
    retired_keys: tuple[RetiredKey, ...] = ()


class RelaySection(Section):
    """STUN and TURN. `ip` is where relayed ports open (default: the host's first address), `public_ip` what
    the world knows it by. `host` is told to clients outside, `internal_host` to those inside."""

    host: str | None = None
    internal_host: str | None = None
    listen: Ip = "0.0.0.0"
    ip: Ip | None = None
    public_ip: Ip | None = None
    udp_port: Port | None = 3478
    tcp_port: Port | None = 3478
    tls_port: Port | None = 5349
    dtls_port: Port | None = None
    ports: tuple[Port, Port] = (49152, 65535)
    allow_peers: tuple[Network, ...] = ()
    max_allocations: Annotated[int, Field(ge=1)] = 10_000
    max_allocations_per_user: Annotated[int, Field(ge=1)] = 50


class EdgeConfig(Section):
    name: HostName
    domain: HostName
    frontend: Host
    frontend_name: HostName | None = None
    access: AccessSection = AccessSection()
    credentials: CredentialsSection = CredentialsSection()
    relay: RelaySection = RelaySection()
    tls: TlsFiles = TlsFiles()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.access.listen:
            raise ValueError("access.listen names no port, so no client could come in")
        if both := set(self.access.listen) & set(self.access.websocket):
            raise ValueError(
                f"access.listen and access.websocket both want {min(both)}; give one another port"
            )
        if self.relay.udp_port is None and self.relay.tcp_port is None:
            raise ValueError("relay has neither udp_port nor tcp_port, so no client could use it")
        if self.relay.ports[0] > self.relay.ports[1]:
            raise ValueError("relay.ports must be a low and a high port")
        return self

    # --- what it means --------------------------------------------------------------------------------
    @property
    def frontend_host(self) -> str:
        """The name that the front end's certificate must bear."""
        return self.frontend_name or split_host_port(self.frontend)[0]

    def access_config(self, pages: Pages | None = None) -> AccessConfig:
        """`pages`: what browsers see at the door where they may open a WebSocket."""
        host, port = split_host_port(self.frontend)
        listen = tuple(map(Address.parse, self.access.listen))
        public_host, public_port = split_host_port(self.access.public or self.name)
        return AccessConfig(
            public=SipUri.of(None, public_host, public_port or listen[0].port, transport="tls"),
            names=(self.name,),
            domain=self.domain,
            listen=listen,
            frontend=SipUri.of(None, host, port or 5061, transport="tls"),
            frontend_name=self.frontend_host,
            identity=IDENTITY,
            max_connections_per_ip=self.access.max_connections_per_ip,
            websocket_listen=tuple(map(Address.parse, self.access.websocket)),
            websocket=WebSocketConfig(self.access.websocket_path, self.access.websocket_origins, pages=pages),
        )

    def mras_config(self) -> MrasServiceConfig:
        relay = self.relay
        outside = relay.host or self.name
        hosts = {Location.INTERNET: outside, Location.INTRANET: relay.internal_host or outside}
        relays = tuple(
            MediaRelay(host, location, relay.udp_port, relay.tcp_port) for location, host in hosts.items()
        )
        return MrasServiceConfig(
            listen=Address.parse(self.credentials.listen),
            trusted_frontends=(self.frontend_host,),
            relays=relays,
            realm=self.domain,
            identity=IDENTITY,
        )

    def turn_config(self, host_ip: str) -> TurnServerConfig:
        """`host_ip`: the host's first address, for a relay that was not given its own."""
        relay = self.relay
        listeners = [
            TurnListener(transport, Address(relay.listen, port))
            for transport, port in ((Transport.UDP, relay.udp_port), (Transport.TCP, relay.tcp_port))
            if port is not None
        ]
        listeners += [
            TurnListener(transport, Address(relay.listen, port), TlsServer(IDENTITY))
            for transport, port in ((Transport.TLS, relay.tls_port), (Transport.DTLS, relay.dtls_port))
            if port is not None
        ]
        return TurnServerConfig(
            realm=self.domain,
            listeners=tuple(listeners),
            relay_ip=relay.ip or (relay.listen if relay.listen not in ("0.0.0.0", "::") else host_ip),
            external_ip=relay.public_ip,
            relay_ports=relay.ports,
            allow_peers=relay.allow_peers,
            max_allocations=relay.max_allocations,
            max_allocations_per_user=relay.max_allocations_per_user,
        )


def load_config(path: Path) -> EdgeConfig:
    """Read a file; raises EnvironmentFailure naming file, field and cure. Relative paths count from the file."""
    config = load_section(path, EdgeConfig)
    here = path.resolve().parent
    tls = TlsFiles(**{name: here / getattr(config.tls, name) for name in TlsFiles.model_fields})
    retired = tuple(
        RetiredKey(key=here / old.key, until=old.until) for old in config.credentials.retired_keys
    )
    credentials = config.credentials.model_copy(update={"retired_keys": retired})
    return config.model_copy(update={"tls": tls, "credentials": credentials})
