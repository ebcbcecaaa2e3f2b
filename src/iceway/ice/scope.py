"""How far an IP address reaches, as ICE cares (RFC 8445 §5.1.1.1)."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from functools import lru_cache


class Scope(StrEnum):
    """`LOCAL`: link-local, multicast or unspecified; nobody else can use it."""

    LOOPBACK = "loopback"
    LOCAL = "local"
    USABLE = "usable"


@lru_cache(maxsize=1024)
def scope_of(ip: str) -> Scope:
    """The scope of an IP literal; LOCAL for anything else."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return Scope.LOCAL
    if address.is_loopback:
        return Scope.LOOPBACK
    if address.is_link_local or address.is_multicast or address.is_unspecified or ip == "255.255.255.255":
        return Scope.LOCAL
    return Scope.USABLE


@lru_cache(maxsize=1024)
def is_private(ip: str) -> bool:
    """Whether only a part of the world can reach it (RFC 1918, RFC 6598, RFC 4193)."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return any(address in network for network in _PRIVATE if network.version == address.version)


def usable_interfaces(ips: tuple[str, ...]) -> tuple[str, ...]:
    """The interfaces to gather from, in order: loopback only if there is nothing else."""
    unique = tuple(dict.fromkeys(ips))
    usable = tuple(ip for ip in unique if scope_of(ip) is Scope.USABLE)
    return usable or tuple(ip for ip in unique if scope_of(ip) is Scope.LOOPBACK)


_PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
