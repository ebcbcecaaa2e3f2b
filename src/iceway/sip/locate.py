"""Finding the server of a SIP domain or URI (RFC 3263), and of a client's own domain, inside or outside.

One question becomes a few look-ups, all asked at once; the answer is a list of targets, best first, to be
tried in turn. Services come in a fixed order (the domain's inside, then TLS, TCP, UDP), servers of one service
by priority and weight (RFC 2782). A domain without SRV records is tried at its own address.

Over TLS the name to prove is the server's own where it lies in the domain asked for, else the domain
(RFC 5922 §4): an answer of the DNS alone shall not make a foreign certificate good.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport, is_ip
from iceway.core.errors import ParseError
from iceway.core.machine import Answer, Input, Outbox, Resolve, Resolved
from iceway.core.srv import by_priority_and_weight
from iceway.core.timers import Timers
from iceway.sip.transport import Target
from iceway.trace.records import NameResolved
from iceway.wire.sip import SipUri

if TYPE_CHECKING:
    from random import Random

LOOKUP_TIMEOUT = 10.0
_MAX_SERVERS = 16

SERVICES: tuple[tuple[str, Transport], ...] = (
    ("_sipinternaltls._tcp", Transport.TLS),  # published inside only, so it wins where it is seen
    ("_sips._tcp", Transport.TLS),  # RFC 3263 §4.1
    ("_sip._tls", Transport.TLS),  # Microsoft's name for the access edge
    ("_sip._tcp", Transport.TCP),
    ("_sip._udp", Transport.UDP),
)
_DEFAULT_PORT = {Transport.TLS: 5061, Transport.TCP: 5060, Transport.UDP: 5060}


# --- events ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Located:
    """Where the server of `what` may be reached, best first. Never empty."""

    question: str
    what: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class NotLocated:
    """There is no server to be found, and why."""

    question: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Server:
    host: str
    port: int
    transport: Transport


@dataclass(slots=True)
class _Question:
    what: str
    domain: str
    transports: tuple[Transport, ...]
    awaited: set[tuple[str, str]] = field(default_factory=set)  # (name, type)
    answers: dict[tuple[str, str], tuple[Answer, ...]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    servers: list[_Server] | None = None  # None while SRV answers are awaited


class Locator(Outbox):
    """Asks the DNS; see the module's law. `transports` are those the owner is willing to use."""

    def __init__(self, name: str, rng: Random, transports: tuple[Transport, ...] = tuple(Transport)) -> None:
        super().__init__()
        self._name = name
        self._rng = rng
        self._transports = transports
        self._questions: dict[str, _Question] = {}
        self._timers = Timers()
        self._asked = 0

    # --- commands -------------------------------------------------------------------------------------
    def locate_domain(self, domain: str, now: float) -> str:
        """Find the server of a domain. Answered by `Located` or `NotLocated` with the question named here."""
        return self._locate(SipUri(domain), self._transports, now)

    def locate(self, uri: SipUri, now: float) -> str:
        """Find where requests to a URI go: its transport, port and IP literal are respected."""
        transports = self._transports
        if uri.is_secure:
            transports = (Transport.TLS,)
        elif uri.transport is not None:
            transports = tuple(t for t in transports if t.value == uri.transport)
        elif uri.port is not None or is_ip(uri.host):
            transports = (Transport.UDP,)  # RFC 3263 §4.1
        return self._locate(uri, transports, now)

    # --- machine --------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        if not isinstance(event, Resolved):
            return
        key, _, _ = event.key.rpartition("/")
        question = self._questions.get(key)
        lookup = (event.name, event.record_type)
        if question is None or lookup not in question.awaited:
            return
        self.emit(
            NameResolved(event.name, event.record_type, tuple(map(_readable, event.answers)), event.error)
        )
        question.awaited.discard(lookup)
        question.answers[lookup] = event.answers
        if event.error:
            question.faults.append(f"{event.record_type} {event.name}: {event.error}")
        if not question.awaited:
            self._go_on(key, question)

    def handle_timeout(self, now: float) -> None:
        for key in self._timers.due(now):
            assert isinstance(key, str)
            question = self._questions.get(key)
            if question is None:
                continue
            question.faults += [f"{kind} {name}: no answer" for name, kind in sorted(question.awaited)]
            question.awaited.clear()
            self._go_on(key, question)
            if key in self._questions:
                self._timers.arm(key, now + LOOKUP_TIMEOUT)

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- steps ----------------------------------------------------------------------------------------
    def _locate(self, uri: SipUri, transports: tuple[Transport, ...], now: float) -> str:
        self._asked += 1
        key = f"{self._name}/{self._asked}"
        question = _Question(str(uri), uri.host, transports)
        self._questions[key] = question
        self._timers.arm(key, now + LOOKUP_TIMEOUT)
        if not transports:
            self._finish(key, question, "its transport is not one of ours")
        elif is_ip(uri.host) or uri.port is not None:
            question.servers = [_Server(uri.host, uri.port or _DEFAULT_PORT[t], t) for t in transports]
            self._ask_addresses(key, question)
        else:
            for service, transport in SERVICES:
                if transport in transports:
                    self._ask(key, question, f"{service}.{uri.host}", "SRV")
        return key

    def _go_on(self, key: str, question: _Question) -> None:
        if question.servers is None:
            question.servers = self._servers(question)
            self._ask_addresses(key, question)
        else:
            self._finish(key, question)

    def _servers(self, question: _Question) -> list[_Server]:
        servers = []
        for service, transport in SERVICES:
            answers = question.answers.get((f"{service}.{question.domain}", "SRV"), ())
            # A target of "." says that the service is decidedly not offered (RFC 2782).
            offered = [answer for answer in answers if answer.data.rstrip(".") and answer.port]
            for answer in by_priority_and_weight(offered, self._rng):
                servers.append(_Server(answer.data.rstrip(".").lower(), answer.port, transport))
        if servers:
            return servers[:_MAX_SERVERS]
        order = [t for t in (Transport.TLS, Transport.TCP, Transport.UDP) if t in question.transports]
        return [_Server(question.domain, _DEFAULT_PORT[t], t) for t in order]

    def _ask_addresses(self, key: str, question: _Question) -> None:
        for host in dict.fromkeys(server.host for server in question.servers or ()):
            if not is_ip(host):
                self._ask(key, question, host, "A")
                self._ask(key, question, host, "AAAA")
        if not question.awaited:
            self._finish(key, question)

    def _ask(self, key: str, question: _Question, name: str, record_type: str) -> None:
        question.awaited.add((name, record_type))
        self.emit(Resolve(f"{key}/{record_type}.{name}", name, record_type))

    def _finish(self, key: str, question: _Question, refusal: str | None = None) -> None:
        del self._questions[key]
        self._timers.cancel(key)
        targets = dict.fromkeys(
            Target(address, server.transport, self._tls_name(server, question.domain))
            for server in question.servers or ()
            for address in _addresses(server, question)
        )
        if targets and refusal is None:
            self.emit(Located(key, question.what, tuple(targets)))
            return
        reason = refusal or "; ".join(question.faults)
        reason = reason or f"{question.domain} has neither SRV records for SIP nor an address"
        self.emit(NotLocated(key, question.what, reason))

    @staticmethod
    def _tls_name(server: _Server, domain: str) -> str | None:
        if server.transport is not Transport.TLS:
            return None
        domain = domain.lower().rstrip(".")
        return server.host if server.host.endswith("." + domain) else domain


def _addresses(server: _Server, question: _Question) -> list[Address]:
    if is_ip(server.host):
        return [Address.of(server.host, server.port)]
    found = []
    for record_type in ("A", "AAAA"):
        for answer in question.answers.get((server.host, record_type), ()):
            try:
                found.append(Address.of(answer.data, server.port))
            except ParseError:
                continue
    return found


def _readable(answer: Answer) -> str:
    if not answer.port:
        return answer.data
    return f"{answer.priority} {answer.weight} {answer.port} {answer.data}"
