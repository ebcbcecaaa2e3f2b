"""Two address families side by side (RFC 8421): whose candidates come first, and which relays to ask for.

The family of the best interface gets a head start, then one address of the other is inserted after each so
many of it, so that a family whose paths are all dead costs a few checks and not all of them. An IPv6 relay is
asked for where IPv6 is spoken; an IPv4 one always, because that is what most peers can reach.
"""

from __future__ import annotations

from iceway.core.address import Address
from iceway.ice.config import AgentConfig


def interleaved(ips: tuple[str, ...]) -> tuple[str, ...]:
    """The interfaces in the order of their preference; within a family the order stays (RFC 8421 §4)."""
    if not ips:
        return ips
    leading = Address(ips[0], 0).family
    ours = [ip for ip in ips if Address(ip, 0).family == leading]
    others = [ip for ip in ips if Address(ip, 0).family != leading]
    if not others:
        return ips
    head_start = len(ips) // len(others)
    order: list[str] = []
    while others:
        order += ours[:head_start]
        del ours[:head_start]
        order.append(others.pop(0))
    return (*order, *ours)


def relay_families(config: AgentConfig, path: int) -> tuple[int, ...]:
    """The families of relays to ask a server for that is reached over the family `path`, at least one."""
    if config.relay_families:
        return config.relay_families
    return (4, 6) if path == 6 else (4,)
