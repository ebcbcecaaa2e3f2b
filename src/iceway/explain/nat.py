"""What stands between each interface and the internet, judged by what its own packets met (RFC 4787's words).

Only what real software records counts: addresses that others saw, checks that got through. What a laboratory's
boxes tell of themselves does not. A judgement is never more than was seen: mappings are compared where one socket
was seen by two others, a filter is known to be open when somebody got in who had not been written to, and to be
closed when the same way was shut before our packet and open after. All else is `not known`.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.explain.addresses import is_private, same_network
from iceway.explain.messages import attribute, is_check
from iceway.trace.entry import Entry
from iceway.trace.records import CandidateGathered, GatheringStarted, StunReceived, StunSent

_CARRIER = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598
_MOST_SEEN = 6


class Mapping(StrEnum):
    """Whether one socket looks the same to everybody (RFC 4787 §4.1)."""

    NONE = "no translation"
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    DEPENDENT = "dependent on the destination"
    UNKNOWN = "not known"


class Filtering(StrEnum):
    """Who gets in (RFC 4787 §5). `AT_MOST_ADDRESS`: other ports of an address that was written to do."""

    OPEN = "open to everybody"
    AT_MOST_ADDRESS = "open to other ports of an address that was written to"
    CLOSED = "closed to strangers"
    CLOSED_TO_PORTS = "closed to all but the very address and port that was written to"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Judgement:
    """`value` with its evidence in words and by entries. `sure` is False where loss could look the same."""

    value: str
    evidence: str = ""
    seen: tuple[int, ...] = ()
    sure: bool = True

    def __str__(self) -> str:
        return self.value if self.sure else f"{self.value} (likely)"


@dataclass(frozen=True, slots=True)
class NatBehaviour:
    """One interface of one node. `outside` is every address that others saw it under."""

    node: str
    interface: str
    outside: tuple[str, ...]
    mapping: Judgement
    filtering: Judgement
    hairpin: Judgement
    ports_kept: bool | None = None
    notes: tuple[Judgement, ...] = ()

    def __str__(self) -> str:
        """One line for people."""
        translated = self.mapping.value != Mapping.NONE
        known = [self.mapping.value if not translated else f"{self.mapping} mapping"]
        if self.mapping.value == Mapping.UNKNOWN:
            known = ["translated" if self.outside else "not known: nobody outside saw it"]
        if translated and self.ports_kept is not None:
            known.append("ports kept" if self.ports_kept else "ports changed")
        if self.filtering.value != Filtering.UNKNOWN:
            known.append(str(self.filtering))
        if self.hairpin.value != UNKNOWN.value:
            known.append(f"hairpin {self.hairpin}")
        return ", ".join((*known, *(str(note) for note in self.notes)))


UNKNOWN = Judgement("not known")


def nat_behaviours(entries: Sequence[Entry]) -> list[NatBehaviour]:
    """Every interface that an ICE agent used, in the order of first use."""
    sockets, knocks = _sockets(entries), _knocks(entries)
    for knock in knocks:
        socket = sockets.get((knock.node, knock.base))
        if socket is not None and knock.heard_from is not None:
            socket.mapped.append((knock.at, knock.heard_from, knock.heard))
    found: dict[tuple[str, str], list[_Socket]] = defaultdict(list)
    for socket in sockets.values():
        socket.mapped = [row for row in socket.mapped if not _neighbours(socket.base, row[0])]
        found[socket.node, socket.base.ip].append(socket)
    blocked, everybody = _udp_blocked(entries), list(sockets.values())
    return [
        _judge(node, ip, members, everybody, knocks, blocked.get(node))
        for (node, ip), members in found.items()
        if any(one.sent or one.mapped for one in members)
    ]


# --- what one socket met --------------------------------------------------------------------------------
@dataclass(slots=True)
class _Socket:
    """`mapped` are (who saw it, as what, entry), `sent` when each destination was first written to, `heard` the
    first request from each source."""

    node: str
    base: Address
    mapped: list[tuple[Address, Address, int]] = field(default_factory=list)
    sent: dict[Address, float] = field(default_factory=dict)
    heard: dict[Address, Entry] = field(default_factory=dict)

    @property
    def outside(self) -> set[Address]:
        return {seen for _, seen, _ in self.mapped}

    def wrote_to(self, ip: str, before: float) -> bool:
        return any(to.ip == ip and at <= before for to, at in self.sent.items())


def _sockets(entries: Sequence[Entry]) -> dict[tuple[str, Address], _Socket]:
    """The UDP sockets of ICE agents, with what went through them."""
    found: dict[tuple[str, Address], _Socket] = {}
    for entry in entries:
        record = entry.record
        if isinstance(record, CandidateGathered) and record.candidate.transport == "udp":
            candidate = record.candidate
            base = candidate.address if candidate.type == "host" else candidate.related
            if candidate.type in ("host", "srflx") and base is not None and candidate.component:
                found.setdefault((entry.node, base), _Socket(entry.node, base))
    for entry in entries:
        record = entry.record
        if not isinstance(record, StunSent | StunReceived) or record.transport != "udp" or record.relay:
            continue
        socket = found.get((entry.node, record.local))
        if socket is not None:
            _read(socket, entry, record)
    return found


def _read(socket: _Socket, entry: Entry, record: StunSent | StunReceived) -> None:
    kind = record.message_class.lower()
    if isinstance(record, StunSent):
        socket.sent.setdefault(record.remote, entry.at)
    elif kind == "request":
        socket.heard.setdefault(record.remote, entry)
    elif kind == "success" and (text := attribute(record, "XOR-MAPPED-ADDRESS")):
        try:
            socket.mapped.append((record.remote, Address.parse(text), entry.id))
        except ParseError:
            return


@dataclass(slots=True)
class _Knock:
    """One check transaction towards an address `at`: when it was sent, and whence its hearer's trace shows it."""

    node: str
    base: Address
    at: Address
    tries: list[Entry]
    heard_from: Address | None = None
    heard: int = 0


def _knocks(entries: Sequence[Entry]) -> list[_Knock]:
    found: dict[str, _Knock] = {}
    for entry in entries:
        record = entry.record
        if (
            not isinstance(record, StunSent | StunReceived)
            or not is_check(record)
            or record.transport != "udp"
        ):
            continue
        if isinstance(record, StunSent) and record.relay is None:
            knock = found.setdefault(
                record.transaction_id, _Knock(entry.node, record.local, record.remote, [])
            )
            knock.tries.append(entry)
        elif isinstance(record, StunReceived) and record.transaction_id in found:
            knock = found[record.transaction_id]
            knock.heard_from, knock.heard = record.remote, entry.id
    return list(found.values())


# --- judging --------------------------------------------------------------------------------------------
def _judge(
    node: str,
    ip: str,
    sockets: list[_Socket],
    others: Sequence[_Socket],
    knocks: Sequence[_Knock],
    blocked: Judgement | None,
) -> NatBehaviour:
    seen = [(socket, *row) for socket in sockets for row in socket.mapped]
    outside = tuple(dict.fromkeys(mapped.ip for _, _, mapped, _ in seen if mapped.ip != ip))
    translated = [(socket.base, mapped) for socket, _, mapped, _ in seen if mapped.ip != ip]
    notes = [*_carrier(ip, outside, seen), *([blocked] if blocked and not seen else [])]
    return NatBehaviour(
        node,
        ip,
        outside,
        _mapping(sockets),
        _filtering(sockets, others, knocks),
        _hairpin(sockets),
        all(base.port == mapped.port for base, mapped in translated) if translated else None,
        tuple(notes),
    )


def _neighbours(base: Address, other: Address) -> bool:
    """Whether packets between them need not pass the box in front of the interface."""
    return base.ip == other.ip or (is_private(other.ip) and same_network(base.ip, other.ip))


def _mapping(sockets: Iterable[_Socket]) -> Judgement:
    judged = [judgement for socket in sockets if (judgement := _mapping_of(socket)) is not None]
    # What differs between destinations proves more than what happens to be equal.
    order = (
        Mapping.ADDRESS_AND_PORT_DEPENDENT,
        Mapping.ADDRESS_DEPENDENT,
        Mapping.DEPENDENT,
        Mapping.ENDPOINT_INDEPENDENT,
        Mapping.NONE,
        Mapping.UNKNOWN,
    )
    unseen = Judgement(Mapping.UNKNOWN, "nobody outside said what this interface looks like")
    return min(judged, key=lambda one: order.index(Mapping(one.value)), default=unseen)


def _mapping_of(socket: _Socket) -> Judgement | None:
    """Compares what different destinations saw of one socket at the same time of its life."""
    first: dict[Address, tuple[Address, int]] = {}
    for who, mapped, entry in socket.mapped:
        first.setdefault(who, (mapped, entry))
    if not first:
        return None
    rows = [(who, mapped, entry) for who, (mapped, entry) in first.items()]
    ids = tuple(entry for _, _, entry in rows)[:_MOST_SEEN]
    looks = {mapped for _, mapped, _ in rows}
    if looks == {socket.base}:
        return Judgement(Mapping.NONE, f"{_listed(who for who, _, _ in rows)} saw {socket.base} itself", ids)
    ips = {who.ip for who, _, _ in rows}
    if len({look.ip for look in looks}) > 1 or socket.base in looks:
        # Two ways out: what one box does cannot be told from which box it was.
        return Judgement(Mapping.UNKNOWN, f"{socket.base} left through more than one address", ids)
    if len(looks) == 1:
        (look,) = looks
        if len(ips) > 1:
            said = f"{_listed(who for who, _, _ in rows)} all saw {look}"
            return Judgement(Mapping.ENDPOINT_INDEPENDENT, said, ids)
        return Judgement(Mapping.UNKNOWN, f"only {rows[0][0].ip} saw it, as {look}", ids)
    by_ip: dict[str, set[Address]] = defaultdict(set)
    for who, mapped, _ in rows:
        by_ip[who.ip].add(mapped)
    said = ", ".join(f"{who} saw port {mapped.port}" for who, mapped, _ in rows[:4])
    if any(len(held) > 1 for held in by_ip.values()):
        return Judgement(Mapping.ADDRESS_AND_PORT_DEPENDENT, said, ids)
    several = [who.ip for who, _, _ in rows]
    if any(several.count(held) > 1 for held in by_ip):
        return Judgement(Mapping.ADDRESS_DEPENDENT, said, ids)
    return Judgement(Mapping.DEPENDENT, said, ids)


def _filtering(sockets: Sequence[_Socket], others: Sequence[_Socket], knocks: Sequence[_Knock]) -> Judgement:
    partly: Judgement | None = None
    for socket in sockets:
        for source, entry in socket.heard.items():
            if _inside(socket, source) or socket.sent.get(source, entry.at) < entry.at:
                continue
            if not socket.wrote_to(source.ip, entry.at):
                said = f"{source} got in before anything was sent there"
                return Judgement(Filtering.OPEN, said, (entry.id,))
            said = f"{source} got in when only another of its ports had been written to"
            partly = Judgement(Filtering.AT_MOST_ADDRESS, said, (entry.id,))
    return partly or _closed(sockets, others, knocks) or Judgement(Filtering.UNKNOWN)


def _inside(socket: _Socket, source: Address) -> bool:
    """Whether a source stands where the box does not filter, or came back through it."""
    return is_private(source.ip) or source.ip in {seen.ip for seen in socket.outside} | {socket.base.ip}


def _closed(
    sockets: Sequence[_Socket], others: Sequence[_Socket], knocks: Sequence[_Knock]
) -> Judgement | None:
    """The other end's trace: its checks died at our outside, though it was heard by somebody else.

    The last of a check's tries counts, when the most had been written to; a single try may just have been lost.
    """
    found: Judgement | None = None
    targets = {seen: socket for socket in sockets for seen in socket.outside}
    callers = {(socket.node, socket.base): socket for socket in others}
    for knock in knocks:
        socket, caller = targets.get(knock.at), callers.get((knock.node, knock.base))
        if (
            socket is None
            or caller is None
            or knock.node == socket.node
            or knock.heard_from
            or len(knock.tries) < 2
        ):
            continue
        look = _mapping_of(caller)
        if look is None or look.value == Mapping.UNKNOWN or _neighbours(socket.base, knock.base):
            continue
        last, looks = knock.tries[-1], caller.outside
        fixed = look.value in (Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT)
        if fixed and any(socket.sent.get(one, last.at) < last.at for one in looks):
            continue  # This way was open: loss, or another box, ate the check.
        said = f"{len(knock.tries)} checks from {knock.base} to {knock.at} died"
        seen = tuple(entry.id for entry in knock.tries)[:_MOST_SEEN]
        if any(socket.wrote_to(one.ip, last.at) for one in looks):
            return Judgement(
                Filtering.CLOSED_TO_PORTS, f"{said}, with other ports there written to", seen, False
            )
        found = Judgement(Filtering.CLOSED, said, seen, sure=False)
    return found


def _hairpin(sockets: Sequence[_Socket]) -> Judgement:
    """Whether packets to the box's own outside come back in."""
    for socket in sockets:
        own = {seen.ip for seen in socket.outside if seen.ip != socket.base.ip}
        for source, entry in socket.heard.items():
            if source.ip in own:
                return Judgement("works", f"{source} is the box's own outside", (entry.id,))
        answered = {who.ip for who, _, _ in socket.mapped}
        if knocked := [to for to in socket.sent if to.ip in own]:
            if own & answered:
                return Judgement("works", f"{knocked[0]} answered", ())
            return Judgement("missing", f"nothing sent to {knocked[0]} came back", (), sure=False)
    return UNKNOWN


def _carrier(
    ip: str, outside: tuple[str, ...], seen: Sequence[tuple[_Socket, Address, Address, int]]
) -> Iterator[Judgement]:
    ids = tuple(entry for *_, entry in seen)[:2]
    if _in_carrier(ip):
        yield Judgement("behind a carrier's NAT", f"{ip} is an address of RFC 6598", ids)
    for one in outside:
        if is_private(one):
            kind = "a carrier's" if _in_carrier(one) else "another"
            yield Judgement(f"behind {kind} NAT as well", f"its outside {one} is private too", ids)


def _in_carrier(ip: str) -> bool:
    parsed = ipaddress.ip_address(ip)
    return parsed.version == 4 and parsed in _CARRIER


def _udp_blocked(entries: Sequence[Entry]) -> dict[str, Judgement]:
    """Nodes whose every question over UDP went unanswered while a stream to a server was answered."""
    asked: dict[str, list[int]] = defaultdict(list)
    answered: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        record = entry.record
        if isinstance(record, GatheringStarted):
            asked.setdefault(entry.node, [])
        elif entry.node in asked and isinstance(record, StunSent) and record.relay is None:
            if record.transport == "udp" and record.message_class.lower() == "request":
                asked[entry.node].append(entry.id)
        elif entry.node in asked and isinstance(record, StunReceived) and record.relay is None:
            answered[entry.node].add(record.transport)
    return {
        node: Judgement(
            "UDP blocked",
            f"no answer to {len(ids)} requests over UDP, where a server answered over "
            f"{' and '.join(sorted(one.upper() for one in answered[node]))}",
            tuple(ids[:_MOST_SEEN]),
            sure=False,
        )
        for node, ids in asked.items()
        if len(ids) > 2 and answered[node] and "udp" not in answered[node]
    }


def _listed(addresses: Iterable[Address]) -> str:
    texts = list(dict.fromkeys(str(one) for one in addresses))
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return ", ".join(texts[:3]) + more
