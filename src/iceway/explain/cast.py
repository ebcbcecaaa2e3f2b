"""Who takes part: nodes of a trace, their roles and names, and who stands behind an address.

A trace may hold every node of a run (the lab), or one client's view only. What a node says about itself counts
first; for the rest, addresses are put to whoever announced them (candidates, relayed addresses), and what is
left over becomes a node of its own, called by its IP. A loopback IP is everybody's who runs on that machine, so there
the port has to match as well. Nothing here needs a topology.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.trace.entry import Entry
from iceway.trace.records import (
    AllocationCreated,
    CallState,
    CandidateGathered,
    CandidateReceived,
    ConnectionOpened,
    CredentialsMinted,
    GatheringStarted,
    PacketDropped,
    PacketTranslated,
    Registered,
    SipReceived,
    SipSent,
    Started,
    StunReceived,
    StunSent,
)

_ROLE_ORDER = {
    "caller": 0,
    "client": 1,
    "nat": 2,
    "name server": 3,
    "edge": 4,
    "frontend": 5,
    "peer": 6,
    "callee": 7,
}
_ROLE_WORDS = {"edge": "the edge", "frontend": "the front end", "name server": "the name server"}
_PLACES = {"hq": "HQ"}
_ROLE_ALIASES = {
    "front end": "frontend",
    "front-end": "frontend",
    "nameserver": "name server",
    "dns": "name server",
}
_OVER = ("ended", "failed")


class Cast:
    """Roles, names and addresses of everybody in a trace."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.roles: dict[str, str] = {}
        self._exact: dict[Address, str] = {}
        self._announced: dict[Address, str] = {}
        self._relayed: dict[Address, str] = {}
        self._by_ip: dict[str, str] = {}
        self._peer_of: dict[str, str] = {}
        self._users: set[str] = set()
        self._leases: dict[Address, tuple[Address, Address]] = {}
        for entry in entries:
            self._learn(entry)
        self._name_parties(entries)
        self.nodes: tuple[str, ...] = tuple(self.roles)

    def in_order(self, nodes: Iterable[str]) -> list[str]:
        """Left to right as a ladder shows them: caller, edge, front end, callee; strangers in the middle."""
        known = list(dict.fromkeys(nodes))
        return sorted(
            known, key=lambda node: (_ROLE_ORDER.get(self.roles.get(node, ""), 3), known.index(node))
        )

    def name(self, node: str) -> str:
        """How a sentence calls a node: Alice, the edge, the front end."""
        role = self.roles.get(node, "")
        if role in ("caller", "callee", "client", "peer"):
            return node[:1].upper() + node[1:]
        if role == "nat":
            place = node.lower().replace("nat", "").strip("-_ .")
            return f"the {_PLACES.get(place, place)} NAT" if place else "the NAT"
        if role in _ROLE_WORDS:
            several = sum(other == role for other in self.roles.values()) > 1
            return f"{_ROLE_WORDS[role]} {node}" if several and node != role else _ROLE_WORDS[role]
        return node

    def named(self, role: str) -> str | None:
        return next((node for node, held in self.roles.items() if held == role), None)

    def owner(self, address: Address) -> str | None:
        """The node that holds the address on an interface of its own."""
        return self._exact.get(address) or self._by_ip.get(address.ip)

    def ips(self) -> list[tuple[str, str]]:
        """Every IP that a node is known to hold, with the node."""
        return list(self._by_ip.items())

    def known(self, address: Address) -> str | None:
        """The party or server an address leads to, if anybody in the trace knows."""
        return self._announced.get(address) or self._relayed.get(address) or self.owner(address)

    def server(self, address: Address) -> str:
        """The node somebody means who asks a server at this address; its IP when nobody in the trace knows."""
        return self.known(address) or address.ip

    def behind(self, address: Address, seen_by: str = "") -> str:
        """The party somebody means who sends to this address; its IP when nobody in the trace knows."""
        return self.known(address) or self._peer_of.get(seen_by, "") or address.ip

    def relay_of(self, address: Address) -> str | None:
        """The node whose relay owns a relayed address."""
        return self._relayed.get(address) or (
            self.owner(address) if self.roles.get(self.owner(address) or "") == "edge" else None
        )

    def lease(self, relayed: Address) -> tuple[Address, Address] | None:
        """From where and to which server the client that leased a relayed address speaks to its relay."""
        return self._leases.get(relayed)

    def _learn(self, entry: Entry) -> None:
        node, record = entry.node, entry.record
        match record:
            case Started(role=role):
                self.roles[node] = _ROLE_ALIASES.get(role.lower(), role.lower())
            case PacketTranslated():
                self._guess(record.nat, "nat")
                outside = record.after if record.outgoing else record.before
                self._by_ip.setdefault(outside.ip, record.nat)
                return
            case PacketDropped():
                return
            case SipSent(local=local) | SipReceived(local=local) | ConnectionOpened(local=local):
                self._own(node, local)
            case StunSent(local=local) | StunReceived(local=local):
                if record.relay is None:
                    self._own(node, local)
                    self._learn_lease(record)
            case GatheringStarted(interfaces=interfaces):
                self._guess(node, "client")
                for ip in interfaces:
                    self._by_ip[ip] = node
            case CandidateGathered(candidate=candidate):
                self._announced.setdefault(candidate.address, node)
            case AllocationCreated(relayed=relayed):
                self._guess(node, "edge")
                self._relayed[relayed] = node
            case CredentialsMinted():
                self._guess(node, "edge")
            case Registered(outside=bool()):
                self._guess(node, "frontend")
            case CallState():
                self._guess(node, "client")
            case _:
                pass
        self.roles.setdefault(node, "")

    def _learn_lease(self, record: StunSent | StunReceived) -> None:
        if isinstance(record, StunSent) or record.method != "Allocate":
            return
        for name, value in record.attributes:
            if name == "XOR-RELAYED-ADDRESS":
                try:
                    self._leases[Address.parse(value)] = (record.local, record.remote)
                except ParseError:
                    return

    def _guess(self, node: str, role: str) -> None:
        """A role by what the node does, unless it said its role itself."""
        if not self.roles.get(node):
            self.roles[node] = role

    def _own(self, node: str, local: Address) -> None:
        self._exact.setdefault(local, node)
        if not ip_address(local.ip).is_loopback:
            self._by_ip[local.ip] = node

    def _name_parties(self, entries: Sequence[Entry]) -> None:
        """Who called whom; and, where only one side's trace is at hand, the other side's name."""
        rang: set[str] = set()
        for entry in entries:
            record = entry.record
            if not isinstance(record, SipSent | SipReceived) or not record.start_line.startswith("INVITE "):
                continue
            if self.roles.get(entry.node) in ("client", "") and entry.node not in rang:
                rang.add(entry.node)
                self.roles[entry.node] = "caller" if isinstance(record, SipSent) else "callee"
        states = [entry.record for entry in entries if isinstance(entry.record, CallState)]
        self._users = {user_of(uri) for state in states for uri in (state.local_uri, state.remote_uri)}
        clients = [node for node, role in self.roles.items() if role in ("client", "caller", "callee")]
        for entry in entries:
            record = entry.record
            if isinstance(record, CallState) and entry.node in clients and entry.node not in self._peer_of:
                self._peer_of[entry.node] = self._other_end(entry.node, user_of(record.remote_uri), clients)
        with_whom = dict(self._peer_of)  # as time goes on: a call may be followed by one with somebody else
        for entry in entries:
            record, node = entry.record, entry.node
            if isinstance(record, CallState) and node in with_whom and record.state not in _OVER:
                with_whom[node] = self._other_end(node, user_of(record.remote_uri), clients)
            elif isinstance(record, CandidateReceived) and (peer := with_whom.get(node)):
                self._announced.setdefault(record.candidate.address, peer)

    def _other_end(self, node: str, user: str, clients: list[str]) -> str:
        others = [client for client in clients if client != node]
        for other in others:
            if other == user or user_of(other) == user:
                return other
        if len(others) == 1 and user_of(others[0]) not in self._users - {user}:
            return others[0]
        if user and user not in self.roles:
            self.roles[user] = "peer"
        return user


def user_of(uri: str) -> str:
    """`sip:bob@example.test` → bob; text without an @ stays."""
    text = uri.partition("<")[2].partition(">")[0] or uri
    text = text.partition(":")[2] if text[:5].lower().startswith(("sip:", "sips:")) else text
    return text.partition("@")[0].partition(";")[0]
