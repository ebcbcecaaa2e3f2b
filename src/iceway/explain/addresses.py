"""What kind of address this is, in the words of people who run networks; and what NATs did to it.

Documentation ranges count as public: labs live there.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.explain.cast import Cast
from iceway.explain.messages import attribute, is_check
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CandidateGathered,
    PacketDropped,
    PacketTranslated,
    PairFormed,
    PairSucceeded,
    StunReceived,
)

_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",
                 "fc00::/7", "fe80::/10", "::1/128")
)  # fmt: skip


@lru_cache(maxsize=4096)
def is_private(ip: str) -> bool:
    """Whether the address means something inside its own network only."""
    try:
        parsed = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return any(parsed.version == network.version and parsed in network for network in _PRIVATE)


def same_network(first: str, second: str) -> bool:
    """Whether two addresses look like one subnet: /24, or /64 for IPv6. A guess, and used as one."""
    a, b = ipaddress.ip_address(first), ipaddress.ip_address(second)
    if a.version != b.version:
        return False
    bits = 8 if a.version == 4 else 64
    return int(a) >> bits == int(b) >> bits


@dataclass(frozen=True, slots=True)
class Remapping:
    """One inside address seen from outside under two different ones: endpoint-dependent mapping."""

    inside: Address
    first: Address
    first_to: str
    second: Address
    second_to: str
    nat: str = ""
    seen: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.first_to} saw {self.first}, {self.second_to} saw {self.second}"


class NatEvidence:
    """What the records prove about the NAT in front of each node."""

    def __init__(self, entries: Sequence[Entry], cast: Cast) -> None:
        self._cast = cast
        self._symmetric: dict[str, Remapping] = {}
        self._seen: dict[tuple[str, Address, str], tuple[Address, str, int]] = {}
        self._owner = {
            entry.record.candidate.address: entry.node
            for entry in entries
            if isinstance(entry.record, CandidateGathered) and entry.record.candidate.type == "host"
        }
        for entry in entries:
            self._read(entry)
        self._read_succeeded(entries)
        self._read_peers(entries)

    def symmetric(self, node: str) -> Remapping | None:
        """Proof that the NAT in front of a node maps each destination anew; None if there is none."""
        return self._symmetric.get(node)

    def _read(self, entry: Entry) -> None:
        record = entry.record
        if isinstance(record, PacketTranslated) and record.outgoing and record.transport == "udp":
            owner = self._owner.get(record.before)
            if owner is not None:
                self._saw(owner, record.before, record.after, record.peer, entry.id, record.nat)
        elif isinstance(record, StunReceived) and record.message_class.lower().startswith("success"):
            mapped = attribute(record, "XOR-MAPPED-ADDRESS")
            if mapped and record.transport == "udp" and record.relay is None:
                try:
                    self._saw(entry.node, record.local, Address.parse(mapped), record.remote, entry.id)
                except ParseError:
                    return

    def _read_succeeded(self, entries: Sequence[Entry]) -> None:
        pairs: dict[tuple[str, str, int], PairFormed] = {}
        for entry in entries:
            record = entry.record
            if isinstance(record, PairFormed):
                pairs[entry.node, record.agent, record.pair] = record
            elif isinstance(record, PairSucceeded):
                pair = pairs.get((entry.node, record.agent, record.pair))
                if pair and pair.local.type != "relay":
                    base = pair.local.related or pair.local.address
                    self._saw(entry.node, base, record.mapped, pair.remote.address, entry.id)

    def _read_peers(self, entries: Sequence[Entry]) -> None:
        """A check from the announced IP but a port nobody announced: the NAT gave this way a port of its own.

        Only checks of ports that no host behind the same address announced count, so that two hosts behind one
        NAT are not taken for one.
        """
        announced: dict[str, list[tuple[str, Address, Address, int]]] = defaultdict(list)
        for entry in entries:
            if isinstance(entry.record, CandidateGathered) and entry.record.candidate.type == "srflx":
                candidate = entry.record.candidate
                base = candidate.related or candidate.address
                announced[candidate.address.ip].append((entry.node, base, candidate.address, entry.id))
        for entry in entries:
            record = entry.record
            if isinstance(record, PacketDropped) and record.transport == "udp":
                came_from, seer = record.source, record.where
            elif isinstance(record, StunReceived) and is_check(record) and record.relay is None:
                came_from, seer = record.remote, entry.node
            else:
                continue
            told = {known for _, _, known, _ in announced.get(came_from.ip, ())}
            for node, base, address, gathered in announced.get(came_from.ip, ()):
                if node not in (seer, *self._symmetric) and came_from not in told:
                    self._symmetric[node] = Remapping(
                        base, address, "the edge", came_from, self._cast.name(seer), seen=(gathered, entry.id)
                    )

    def _saw(
        self, node: str, inside: Address, outside: Address, to: Address, seen: int, nat: str = ""
    ) -> None:
        if inside == outside or node in self._symmetric:
            return
        for (owner, base, _), (other, other_to, other_seen) in self._seen.items():
            if owner == node and base == inside and other.ip == outside.ip and other.port != outside.port:
                self._symmetric[node] = Remapping(
                    inside, other, other_to, outside, self._named(to), nat, (other_seen, seen)
                )
                return
        self._seen.setdefault((node, inside, to.ip), (outside, self._named(to), seen))

    def _named(self, address: Address) -> str:
        """Who looked at an outside address from there, as a sentence calls them."""
        node = self._cast.known(address)
        return self._cast.name(node) if node else str(address)
