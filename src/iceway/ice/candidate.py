"""Candidates: where a peer may be reached (RFC 8445 §5.1), and how SDP writes them (RFC 8839 §5.1).

A candidate's `base` is the transport address that its checks leave from: the host address for `host`, `srflx`
and `prflx`, the relayed address itself for `relay`. Only local candidates have one; nothing after `related`
crosses the wire. Priorities make every host candidate better than every reflexive one, those better than
every relayed one, and among relayed ones UDP better than TCP better than TLS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError
from iceway.trace.records import CandidateInfo
from iceway.wire.mdns import host_name

MAX_FOUNDATION = 32  # RFC 8839 §5.1
MAX_COMPONENT = 256  # RFC 8445 §13
MAX_ATTRIBUTE = 2048


class CandidateType(StrEnum):
    HOST = "host"
    SRFLX = "srflx"
    PRFLX = "prflx"
    RELAY = "relay"


TYPE_PREFERENCE = {  # RFC 8445 §5.1.2.2
    CandidateType.HOST: 126,
    CandidateType.PRFLX: 110,
    CandidateType.SRFLX: 100,
    CandidateType.RELAY: 0,
}

TCP_TYPE_PREFERENCE = {  # RFC 6544 §4.2: below all that goes over UDP directly, above all that is relayed
    CandidateType.HOST: 90,
    CandidateType.PRFLX: 80,
    CandidateType.SRFLX: 70,
    CandidateType.RELAY: 0,
}

FACING = {"active": "passive", "passive": "active", "so": "so"}  # RFC 6544 §6.2: who can meet whom

# RFC 6544 §4.2: direction-pref by `tcptype`
_DIRECTIONS = {"active": 6, "passive": 4, "so": 2}
_REFLEXIVE_DIRECTIONS = {"so": 6, "active": 4, "passive": 2}

_RELAY_RANK = {None: 3, Transport.UDP: 3, Transport.DTLS: 3, Transport.TCP: 2, Transport.TLS: 1}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One transport address to try. `extensions` are SDP's unknown (name, value) pairs, kept in order."""

    type: CandidateType
    address: Address
    priority: int
    foundation: str
    component: int = 1
    transport: Transport = Transport.UDP
    related: Address | None = None
    tcp_type: str | None = None
    extensions: tuple[tuple[str, str], ...] = ()
    base: Address | None = None
    relay_transport: Transport | None = None
    server: str | None = None
    name: str | None = None
    """What is told in place of the IP (mDNS): of a local candidate that hides it, of a remote one that hid it."""

    @property
    def info(self) -> CandidateInfo:
        """The candidate as records tell it."""
        return CandidateInfo(
            type=self.type.value,
            transport=self.transport.value,
            address=self.address,
            priority=self.priority,
            foundation=self.foundation,
            component=self.component,
            related=self.related,
            relay_transport=self.relay_transport.value if self.relay_transport else None,
            server=self.server,
            tcp_type=self.tcp_type,
        )

    def __str__(self) -> str:
        return str(self.info)


@dataclass(frozen=True, slots=True)
class NamedCandidate:
    """A host candidate of the peer whose address is not known yet: it told an mDNS name in place of the IP."""

    name: str
    port: int
    priority: int
    foundation: str
    component: int = 1
    transport: Transport = Transport.UDP
    tcp_type: str | None = None
    extensions: tuple[tuple[str, str], ...] = ()

    def at(self, ip: str) -> Candidate:
        """The candidate, once the name is found to stand for this address."""
        return Candidate(
            type=CandidateType.HOST,
            address=Address.of(ip, self.port),
            priority=self.priority,
            foundation=self.foundation,
            component=self.component,
            transport=self.transport,
            tcp_type=self.tcp_type,
            extensions=self.extensions,
            name=self.name,
        )

    def __str__(self) -> str:
        return f"host {self.name}:{self.port}"


def priority(
    type: CandidateType, local_preference: int, component: int, transport: Transport = Transport.UDP
) -> int:
    """RFC 8445 §5.1.2.1. `local_preference` is 0–65535, larger is better."""
    preferences = TYPE_PREFERENCE if transport is Transport.UDP else TCP_TYPE_PREFERENCE
    return (preferences[type] << 24) + (local_preference << 8) + (256 - component)


def local_preference(rank: int, relay_transport: Transport | None = None) -> int:
    """The preference of the `rank`-th (from 0) address of its kind; the way to a relay outweighs the rank."""
    return (_RELAY_RANK[relay_transport] << 14) + 0x3FFF - min(rank, 0x3FFF)


def tcp_preference(type: CandidateType, tcp_type: str, rank: int) -> int:
    """RFC 6544 §4.2: the direction outweighs the rank (from 0) of the interface.

    Who connects outwards passes most firewalls; behind a NAT, opening from both sides does.
    """
    order = _REFLEXIVE_DIRECTIONS if type is CandidateType.SRFLX else _DIRECTIONS
    return (order[tcp_type] << 13) + 0x1FFF - min(rank, 0x1FFF)


def parse(text: str) -> Candidate | NamedCandidate:
    """A `candidate` attribute, with or without `a=` and `candidate:` before it.

    Raises ParseError; also for what iceway cannot use (names other than those of mDNS, unknown transports).
    RFC 8839 §5.1 wants such candidates ignored, so whoever reads them drops the line and goes on.
    """
    if len(text) > MAX_ATTRIBUTE:
        raise ParseError("a candidate longer than 2048 characters")
    words = text.strip().removeprefix("a=").removeprefix("candidate:").split()
    if len(words) < 8 or words[6].lower() != "typ":
        raise ParseError(
            f"{_short(text)} is no candidate: foundation component transport priority ip port typ type"
        )
    foundation, component, transport, preference, ip, port, _, type = words[:8]
    if len(foundation) > MAX_FOUNDATION or not all(
        c.isascii() and (c.isalnum() or c in "+/") for c in foundation
    ):
        raise ParseError(f"{_short(foundation)} is not a foundation")
    if type not in TYPE_PREFERENCE:
        raise ParseError(f"{_short(type)} is not a candidate type")
    rest = words[8:]
    if len(rest) % 2:
        raise ParseError(f"the candidate's extension {_short(rest[-1])} has no value")
    related_ip = related_port = tcp_type = None
    extensions = []
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        if name == "raddr":
            related_ip = value
        elif name == "rport":
            related_port = _number(value, 65535, "port")
        elif name == "tcptype":
            tcp_type = value
        else:
            extensions.append((name, value))
    try:
        known_transport = Transport(transport.lower())
    except ValueError:
        raise ParseError(f"{_short(transport)} is not a transport that candidates use") from None
    hidden = host_name(ip)
    if hidden is not None and type == CandidateType.HOST:
        return NamedCandidate(
            name=hidden,
            port=_number(port, 65535, "port"),
            priority=_number(preference, 2**31 - 1, "priority", 1),
            foundation=foundation,
            component=_number(component, MAX_COMPONENT, "component", 1),
            transport=known_transport,
            tcp_type=tcp_type,
            extensions=tuple(extensions),
        )
    return Candidate(
        type=CandidateType(type),
        address=Address.of(ip, _number(port, 65535, "port")),
        priority=_number(preference, 2**31 - 1, "priority", 1),
        foundation=foundation,
        component=_number(component, MAX_COMPONENT, "component", 1),
        transport=known_transport,
        related=_related(related_ip, related_port),
        tcp_type=tcp_type,
        extensions=tuple(extensions),
    )


def serialize(candidate: Candidate | NamedCandidate) -> str:
    """The attribute's value, without `candidate:` before it."""
    match candidate:
        case NamedCandidate(name=place, port=port):
            end = f"typ {CandidateType.HOST.value}"
        case Candidate(address=(ip, port), name=name, type=type, related=related):
            place = name or ip
            end = f"typ {type.value}" + (f" raddr {related.ip} rport {related.port}" if related else "")
    text = (
        f"{candidate.foundation} {candidate.component} {candidate.transport.value.upper()} {candidate.priority}"
        f" {place} {port} {end}"
    )
    if candidate.tcp_type is not None:
        text += f" tcptype {candidate.tcp_type}"
    return text + "".join(f" {name} {value}" for name, value in candidate.extensions)


class Foundations:
    """Short names for "of the same kind" (RFC 8445 §5.1.1.3), numbered in the order in which kinds appear."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], str] = {}

    def of(
        self, type: CandidateType, base_ip: str, server: str = "", relay_transport: Transport | None = None
    ) -> str:
        """`server` is the IP of the STUN or TURN server that gave the candidate."""
        kind = (type.value, base_ip, server, relay_transport.value if relay_transport else "")
        return self._known.setdefault(kind, str(len(self._known) + 1))


def _related(ip: str | None, port: int | None) -> Address | None:
    """RFC 8839 §5.1: both or neither. Some peers hide the address as a name; then there is none to know."""
    if ip is None or port is None:
        return None
    try:
        return Address.of(ip, port)
    except ParseError:
        return None


def _number(text: str, most: int, what: str, least: int = 0) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or not least <= int(text) <= most:
        raise ParseError(f"{_short(text)} is not a {what}")
    return int(text)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
