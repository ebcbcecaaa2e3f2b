"""Which peers a relay forwards to: the public Internet, and nothing that only the relay's own host can reach.

A relay sits inside the networks it protects, so a peer address is hostile until shown harmless: loopback,
link-local, private and shared ranges are refused, and so is every IPv6 form that carries an IPv4 address,
because such forms have been the way around deny-lists elsewhere. Networks in `allow_peers` are exempt.
Documentation ranges are ordinary here: laboratories use them as their Internet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from iceway.core.errors import UsageError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED = (
    ("0.0.0.0/8", "means this host"),
    ("10.0.0.0/8", "is private"),
    ("100.64.0.0/10", "belongs to a carrier's NAT"),
    ("127.0.0.0/8", "is loopback"),
    ("169.254.0.0/16", "is link-local"),
    ("172.16.0.0/12", "is private"),
    ("192.0.0.0/24", "is reserved for protocols"),
    ("192.88.99.0/24", "is a 6to4 relay"),
    ("192.168.0.0/16", "is private"),
    ("198.18.0.0/15", "is for benchmarks"),
    ("224.0.0.0/4", "is multicast"),
    ("240.0.0.0/4", "is reserved or broadcast"),
    ("::1/128", "is loopback"),
    ("::/128", "means this host"),
    ("::ffff:0:0/96", "is an IPv4 address in IPv6 form"),
    ("::ffff:0:0:0/96", "is an IPv4 address in IPv6 form"),
    ("::/96", "is an IPv4 address in IPv6 form"),
    ("64:ff9b::/96", "is an IPv4 address in IPv6 form"),
    ("64:ff9b:1::/48", "is an IPv4 address in IPv6 form"),
    ("2002::/16", "is an IPv4 address in IPv6 form (6to4)"),
    ("2001::/32", "is an IPv4 address in IPv6 form (Teredo)"),
    ("100::/64", "is a discard prefix"),
    ("2001:2::/48", "is for benchmarks"),
    ("2001:10::/28", "is no address of a host"),
    ("2001:20::/28", "is no address of a host"),
    ("5f00::/16", "is for segment routing"),
    ("fc00::/7", "is private"),
    ("fe80::/10", "is link-local"),
    ("fec0::/10", "is site-local"),
    ("ff00::/8", "is multicast"),
)
REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), why) for network, why in _REFUSED
)
_CACHE_LIMIT = 10_000


class PeerPolicy:
    """Answers by IP; what a relay's own addresses and ports mean is decided by the relay."""

    def __init__(self, allow_peers: Iterable[str] = ()) -> None:
        try:
            self._allowed: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in allow_peers)
        except ValueError as error:
            raise UsageError(f"allow_peers: {error}") from error
        self._cache: dict[str, str | None] = {}

    def is_exempt(self, ip: str) -> bool:
        """Whether the operator allowed this IP by name."""
        if not self._allowed:
            return False
        address = ipaddress.ip_address(ip)
        return any(address in network for network in self._allowed)

    def refusal(self, ip: str) -> str | None:
        """Why no relay forwards to this IP ("10.0.0.5 is private"), or None when it may."""
        try:
            return self._cache[ip]
        except KeyError:
            pass
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        answer = self._cache[ip] = self._judge(ip)
        return answer

    def _judge(self, ip: str) -> str | None:
        if self.is_exempt(ip):
            return None
        address = ipaddress.ip_address(ip)
        for network, why in REFUSED:
            if address in network:
                return f"{ip} {why}"
        return None
