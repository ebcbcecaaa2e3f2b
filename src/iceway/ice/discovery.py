"""Where the servers of a URI are: TURN by RFC 5928, STUN by RFC 8489 §8.

An IP literal needs nothing; a port, or a port's absence with neither SRV nor NAPTR records, leaves the host's own
addresses; a transport leaves SRV; neither leaves NAPTR, which leads to any of these. RFC 5928 takes these steps in
turn and makes one list. Here everything that may be needed is asked at once, and the list is split by transport:
which transport gets through is found out by trying them all, while the servers of one transport, in the order of
NAPTR and SRV, are each other's spares.

The walk is repeated after every answer, over what is known by then. An order that chance decided is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport, is_ip
from iceway.core.machine import Answer, Resolved
from iceway.core.srv import by_priority_and_weight
from iceway.wire.server_uri import DEFAULT_PORT, DEFAULT_SECURE_PORT, ServerUri

if TYPE_CHECKING:
    from random import Random

MAX_LOOKUPS = 32  # of one URI, whatever the answers say
MAX_DEPTH = 4  # NAPTR records that lead to NAPTR records
MAX_TARGETS = 16  # of one transport

_SRV = {
    (True, Transport.UDP): "_turn._udp",
    (True, Transport.TCP): "_turn._tcp",
    (True, Transport.TLS): "_turns._tcp",
    (True, Transport.DTLS): "_turns._udp",
    (False, Transport.UDP): "_stun._udp",
}
_NAPTR = {  # RFC 5928 §5, RFC 7350 §7
    "turn.udp": Transport.UDP,
    "turn.tcp": Transport.TCP,
    "turn.tls": Transport.TLS,
    "turn.dtls": Transport.DTLS,
}
_ADDRESS = {4: "A", 6: "AAAA"}


class Reason(StrEnum):
    """Why a URI, or one transport of it, leads nowhere."""

    UNSUPPORTED = "unsupported"
    DECLINED = "declined"
    NO_SUCH_NAME = "no such name"
    LOOKUP_FAILED = "look-up failed"


@dataclass(frozen=True, slots=True)
class Dead:
    """A way that leads nowhere; `detail` is for people. `transport` is None where it concerns the whole URI."""

    transport: Transport | None
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Target:
    """A server to try. `host` is a name or an IP literal."""

    transport: Transport
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class _Pending:
    """Something of these transports is still being looked up; what follows in the list has to wait."""

    transports: frozenset[Transport]


_Step = Target | _Pending | Dead
_Question = tuple[str, str]  # name, record type
_Lead = tuple[str, str, Transport]  # place, flags


class Discovery:
    """One URI. `ask(name, record_type)` looks something up; the answer comes back by `answered`."""

    def __init__(
        self, uri: ServerUri, families: tuple[int, ...], rng: Random, ask: Callable[[str, str], None]
    ) -> None:
        self.uri = uri
        self._families = families
        self._rng = rng
        self._ask = ask
        self._answers: dict[_Question, Resolved | None] = {}
        self._orders: dict[str, list[Answer]] = {}
        self._steps: list[_Step] = []
        self._walk()

    # --- questions ---------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        """Whether an answer that matters is still to come; those asked for in vain are not waited for."""
        return any(
            isinstance(step, _Pending)
            or (
                isinstance(step, Target)
                and any(self._addresses_of(step, family) is None for family in self._families)
            )
            for step in self._steps
        )

    def addresses(self) -> Iterator[tuple[Transport, Address]]:
        """What is known for certain by now: of each transport and family in the order of trying."""
        blocked: set[tuple[Transport, int]] = set()
        for step in self._steps:
            match step:
                case _Pending(transports=transports):
                    blocked |= {(transport, family) for transport in transports for family in self._families}
                case Target():
                    for family in self._families:
                        found = self._addresses_of(step, family)
                        if found is None:
                            blocked.add((step.transport, family))
                        elif (step.transport, family) not in blocked:
                            yield from ((step.transport, address) for address in found)

    def dead_ends(self) -> tuple[Dead, ...]:
        """What led nowhere; to be asked once nothing is `busy`."""
        ends = [step for step in self._steps if isinstance(step, Dead)]
        for step in self._steps:
            if isinstance(step, Target) and not any(
                self._addresses_of(step, family) for family in self._families
            ):
                ends.append(self._unresolved(step))
        return tuple(dict.fromkeys(ends))

    # --- inputs ------------------------------------------------------------------------------------------
    def answered(self, event: Resolved) -> None:
        question = event.name, event.record_type
        if question in self._answers and self._answers[question] is None:
            self._answers[question] = event
            self._walk()

    def widen(self, families: tuple[int, ...]) -> None:
        """The host has other families now."""
        self._families = families
        self._walk()

    # --- the walk ----------------------------------------------------------------------------------------
    def _walk(self) -> None:
        self._steps = list(self._ways())
        counts: dict[Transport, int] = {}
        for step in list(self._steps):
            if isinstance(step, Target):
                counts[step.transport] = counts.get(step.transport, 0) + 1
                if counts[step.transport] > MAX_TARGETS:
                    self._steps.remove(step)
                    continue
                for family in self._families:
                    if not is_ip(step.host):
                        self._look_up(step.host, _ADDRESS[family])

    def _ways(self) -> Iterator[_Step]:
        uri = self.uri
        transports = self._transports()
        if isinstance(transports, Dead):
            yield transports
        elif is_ip(uri.host) or uri.port is not None:
            for transport in transports:
                yield Target(transport, uri.host, uri.port or uri.default_port)
        elif uri.relays and uri.transport is None:
            yield from self._by_naptr(transports)
        else:
            yield from self._by_srv(transports)

    def _transports(self) -> tuple[Transport, ...] | Dead:
        """RFC 5928 §3, step 1: which transports are ours and what the URI says. The order decides ranks."""
        uri = self.uri
        if not uri.relays:
            if uri.secure:
                detail = (
                    "over TLS a STUN server would tell the address of a connection, which is of no use here"
                )
                return Dead(None, Reason.UNSUPPORTED, detail)
            return (Transport.UDP,)
        if uri.transport is None and uri.secure:
            return (Transport.TLS,)
        if uri.transport is None:
            named = uri.port is not None or is_ip(uri.host)
            # A port that is given, or the one of a plain server, is not the one that speaks TLS.
            return (Transport.UDP, Transport.TCP) if named else (Transport.UDP, Transport.TCP, Transport.TLS)
        if uri.transport == "tcp":
            return (Transport.TLS,) if uri.secure else (Transport.TCP,)
        if uri.transport == "udp":
            return (Transport.DTLS,) if uri.secure else (Transport.UDP,)
        what = f"TURN over {uri.transport}"
        return Dead(None, Reason.UNSUPPORTED, f"{what} is not spoken here; try ?transport=tcp")

    def _by_naptr(self, transports: tuple[Transport, ...]) -> Iterator[_Step]:
        host = self.uri.host
        answer = self._look_up(host, "NAPTR")
        # Most domains have none: what is needed then is asked at the same time.
        spare = list(self._by_srv(transports))
        if answer is None:
            yield _Pending(frozenset(transports))
            return
        ways = list(self._along(answer.answers, transports, 1, set()))
        if ways:
            yield from ways
        else:
            yield from spare

    def _along(
        self, records: Iterable[Answer], wanted: tuple[Transport, ...], depth: int, been: set[_Lead]
    ) -> Iterator[_Step]:
        """S-NAPTR (RFC 3958 §2.2): records of ours, in their order, to where each leads, and nowhere twice."""
        for record in sorted(records, key=lambda record: (record.order, record.preference)):
            service, *protocols = record.service.lower().split(":")
            leads = [_NAPTR[name] for name in protocols if name in _NAPTR]
            place, flags = record.data.rstrip(".").lower(), record.flags.lower()
            transports = tuple(t for t in leads if t in wanted and (place, flags, t) not in been)
            if service != "relay" or not transports or record.regexp or not place:
                continue
            been.update((place, flags, transport) for transport in transports)
            match flags:
                case "s":
                    yield from self._servers(place, transports)
                case "a":
                    for transport in transports:
                        yield Target(transport, place, _port(transport))
                case "" if depth < MAX_DEPTH:
                    further = self._look_up(place, "NAPTR")
                    if further is None:
                        yield _Pending(frozenset(transports))
                    else:
                        yield from self._along(further.answers, transports, depth + 1, been)

    def _by_srv(self, transports: tuple[Transport, ...]) -> Iterator[_Step]:
        """SRV records of each transport; if there are none at all, the host itself at the default ports."""
        uri = self.uri
        ways: list[_Step] = []
        for transport in transports:
            ways += self._servers(f"{_SRV[uri.relays, transport]}.{uri.host}", (transport,))
        # Without SRV records the host's addresses are needed: they are asked for at the same time.
        for family in self._families:
            self._look_up(uri.host, _ADDRESS[family])
        if ways:
            yield from ways
            return
        plain = tuple(t for t in transports if uri.secure or not t.is_secure)
        for transport in plain:
            yield Target(transport, uri.host, _port(transport))

    def _servers(self, name: str, transports: tuple[Transport, ...]) -> Iterator[_Step]:
        """The servers of one SRV name."""
        answer = self._look_up(name, "SRV")
        if answer is None:
            yield _Pending(frozenset(transports))
            return
        if name not in self._orders:
            self._orders[name] = by_priority_and_weight(list(answer.answers), self._rng)
        offered = [server for server in self._orders[name] if server.data.rstrip(".") and server.port]
        for transport in transports:
            if answer.answers and not offered:
                # RFC 2782: a target of "." says that the service is decidedly not offered.
                yield Dead(transport, Reason.DECLINED, f"{name} says that there is no such service")
            for server in offered:
                yield Target(transport, server.data.rstrip(".").lower(), server.port)

    def _look_up(self, name: str, record_type: str) -> Resolved | None:
        """The answer, or None while it is on its way."""
        question = name, record_type
        if question not in self._answers:
            if len(self._answers) >= MAX_LOOKUPS:
                return Resolved("", name, record_type, error="too many look-ups for one server")
            self._answers[question] = None
            self._ask(name, record_type)
        return self._answers[question]

    # --- addresses ---------------------------------------------------------------------------------------
    def _addresses_of(self, target: Target, family: int) -> tuple[Address, ...] | None:
        """None while it is not known."""
        if is_ip(target.host):
            found = [Address.of(target.host, target.port)]
        else:
            answer = self._look_up(target.host, _ADDRESS[family])
            if answer is None:
                return None
            found = [Address.of(record.data, target.port) for record in answer.answers if is_ip(record.data)]
        return tuple(address for address in found if address.family == family)

    def _unresolved(self, target: Target) -> Dead:
        if is_ip(target.host):
            return Dead(None, Reason.UNSUPPORTED, f"this host has no address of the family of {target.host}")
        errors = [
            answer.error
            for family in self._families
            if (answer := self._look_up(target.host, _ADDRESS[family])) is not None and answer.error
        ]
        whole = self.uri.host == target.host
        whose = "its name" if whole else f"the name of its server {target.host}"
        reason = Reason.LOOKUP_FAILED if errors else Reason.NO_SUCH_NAME
        detail = f"{whose} did not resolve: {errors[0] if errors else 'no such name'}"
        return Dead(None if whole else target.transport, reason, detail)


def _port(transport: Transport) -> int:
    return DEFAULT_SECURE_PORT if transport.is_secure else DEFAULT_PORT
