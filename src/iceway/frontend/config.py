"""`frontend.toml` as typed values. Everything but the domain and the edges has a default that works.

domain = "example.test"
name = "fe.example.test"
edges = [{ name = "edge.example.test", mras = "edge.example.test:5062" }]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from iceway.core.configuration import (
    HostName,
    HostPort,
    ListenAddress,
    Origin,
    Section,
    UrlPath,
    load_section,
)


class ListenConfig(Section):
    """One port for SIP. UDP and TCP carry passwords' digests in clear and are for closed networks. `wss` is the door
    for browsers: SIP in WebSockets over TLS."""

    address: ListenAddress = "0.0.0.0:5061"
    transport: Literal["tls", "tcp", "udp", "wss"] = "tls"


class WebConfig(Section):
    """The doors for browsers: at which path they find the WebSocket, whose pages may open it (none named: the door's
    own), and whether the web phone is served there."""

    path: UrlPath = "/"
    origins: tuple[Origin, ...] = ()
    phone: bool = True


class EdgeConfig(Section):
    """An edge that is trusted: `name` is what its certificate must say, `mras` its credential service. `hosts`
    are other names or addresses under which clients reach it, as they stand in its Path and Record-Route."""

    name: HostName
    mras: HostPort
    hosts: tuple[str, ...] = ()


class TlsFiles(Section):
    """PEM files. `trust` holds the authorities whose certificates edges must show."""

    certificate: Path = Path("frontend.crt")
    key: Path = Path("frontend.key")
    trust: Path = Path("ca.crt")


class RegistrationConfig(Section):
    """How long registrations last, in seconds, and how many a user may have."""

    default_expires: Annotated[int, Field(ge=10, le=86400)] = 3600
    min_expires: Annotated[int, Field(ge=1, le=86400)] = 60
    max_expires: Annotated[int, Field(ge=10, le=604800)] = 7200
    max_bindings: Annotated[int, Field(ge=1, le=1000)] = 10

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_expires <= self.default_expires <= self.max_expires:
            raise ValueError("min_expires ≤ default_expires ≤ max_expires must hold")
        return self


class AuthenticationConfig(Section):
    """Digest algorithms, strongest first. Clients whose User-Agent begins with one of `md5_only_agents` are
    offered MD5 alone, because they give up when another is named as well."""

    algorithms: Annotated[tuple[Literal["SHA-256", "MD5"], ...], Field(min_length=1)] = ("SHA-256", "MD5")
    md5_only_agents: tuple[str, ...] = ("baresip v0.", "baresip v1.", "JsSIP ", "SIP.js/")


class RelayConfig(Section):
    """Asking edges for relay credentials: `timeout` seconds an edge before the next is tried."""

    timeout: Annotated[float, Field(gt=0, le=30)] = 3.0
    max_hours: Annotated[float, Field(gt=0, le=720)] = 8.0


class FrontEndConfig(Section):
    domain: HostName
    name: HostName
    listen: tuple[ListenConfig, ...] = (ListenConfig(),)
    edges: tuple[EdgeConfig, ...] = ()
    tls: TlsFiles = TlsFiles()
    database: str = "frontend.sqlite"
    registration: RegistrationConfig = RegistrationConfig()
    authentication: AuthenticationConfig = AuthenticationConfig()
    relay: RelayConfig = RelayConfig()
    web: WebConfig = WebConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.listen:
            raise ValueError("listen names no port, so nobody could reach this front end")
        if self.listen[0].transport == "wss":
            raise ValueError(
                "the first of listen must be for servers (tls, tcp or udp): its port goes into routes"
            )
        names = [edge.name.lower() for edge in self.edges]
        if len(set(names)) < len(names):
            raise ValueError("two edges have the same name")
        return self

    @property
    def has_web_phone(self) -> bool:
        return self.web.phone and any(listen.transport == "wss" for listen in self.listen)

    def edge_named(self, names: tuple[str, ...]) -> EdgeConfig | None:
        """The trusted edge whose name is among those of a verified certificate."""
        lowered = {name.lower() for name in names}
        return next((edge for edge in self.edges if edge.name.lower() in lowered), None)

    def edge_reached_as(self, host: str) -> EdgeConfig | None:
        """The trusted edge that a host in a route means."""
        host = host.lower()
        return next(
            (edge for edge in self.edges if host in {edge.name.lower(), *map(str.lower, edge.hosts)}), None
        )


def load_config(path: Path) -> FrontEndConfig:
    """Read a file; raises EnvironmentFailure naming file, field and cure. Relative paths count from the file."""
    config = load_section(path, FrontEndConfig)
    here = path.resolve().parent
    tls = TlsFiles(**{name: here / getattr(config.tls, name) for name in TlsFiles.model_fields})
    database = config.database if "://" in config.database else str(here / config.database)
    return config.model_copy(update={"tls": tls, "database": database})
