"""Which ways a client's media may take: what a user or an operator may want to say about ICE."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from iceway.core.address import canonical_ip
from iceway.core.errors import ParseError, UsageError
from iceway.ice.config import AgentConfig, Policy


@dataclass(frozen=True, slots=True)
class Ways:
    """Without any of it all ways are tried and the best one is taken.

    `policy`: "relay" never shows the peer where we are, "no-relay" asks for no relay. `interfaces` are the only host
    addresses to use (None: all), `without` addresses and subnets never to use. `ports` bounds the UDP ports,
    `external_ips` are (inside, outside) addresses of a one-to-one NAT, `relay_families` the address families to ask
    relays for (4, 6). `tcp` adds candidates over TCP, for networks without UDP; `mdns` hides host addresses behind
    names that only neighbours can resolve.
    """

    policy: Policy = Policy.ALL
    interfaces: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    ports: tuple[int, int] | None = None
    external_ips: tuple[tuple[str, str], ...] = ()
    relay_families: tuple[int, ...] = ()
    tcp: bool = False
    mdns: bool = False

    def __post_init__(self) -> None:
        if self.policy not in tuple(Policy):
            raise UsageError(f"policy: {self.policy!r} is none; there are {', '.join(Policy)}")
        try:
            for ip in self.interfaces or ():
                canonical_ip(ip)
        except ParseError as error:
            raise UsageError(f"interfaces: {error}") from error
        for subnet in self.without:
            try:
                ip_network(subnet, strict=False)
            except ValueError as error:
                raise UsageError(f"without: {subnet!r} is no address and no subnet") from error
        try:
            self.agent_config(controlling=True)
        except UsageError as error:
            field = "ports: " if "range of ports" in str(error) else ""
            raise UsageError(f"{field}{error}") from error

    def agent_config(self, *, controlling: bool, components: int = 1) -> AgentConfig:
        return AgentConfig(
            controlling=controlling,
            policy=Policy(self.policy),
            ports=self.ports,
            relay_families=self.relay_families,
            tcp=self.tcp and components == 1,
            components=components,
            mdns=self.mdns,
            interface_filter=self.may_use if self.interfaces is not None or self.without else None,
            external_ips=self.external_ips,
        )

    def may_use(self, ip: str) -> bool:
        """Whether media may leave from this address of ours."""
        if self.interfaces is not None and ip not in map(canonical_ip, self.interfaces):
            return False
        return not any(ip_address(ip) in ip_network(subnet, strict=False) for subnet in self.without)
