"""How local candidates are made: foundation, priority, and the addresses they are told with.

Priorities of one component are unique (RFC 8445 §5.1.2): where two would be equal, what was found later gets
the next lower local preference. That keeps the order of pairs the same on both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from iceway.core.address import Address, Transport, canonical_ip
from iceway.ice.candidate import (
    Candidate,
    CandidateType,
    Foundations,
    local_preference,
    priority,
    tcp_preference,
)
from iceway.ice.config import AgentConfig, Policy
from iceway.ice.servers import SERVERS_PER_INTERFACE, HostSocket, Job
from iceway.turn.events import Allocated

NOWHERE = Address("0.0.0.0", 0)  # RFC 8839 §5.1: related address of those who hide theirs
NOWHERE6 = Address("::", 0)


class Maker:
    """Candidates of one agent, from what its sockets and servers gave."""

    def __init__(
        self,
        config: AgentConfig,
        foundations: Foundations,
        name_of: Callable[[str], str | None] = lambda ip: None,
    ) -> None:
        """`name_of` tells the name that hides an interface's IP, or None if it is not to be hidden."""
        self._config = config
        self._name_of = name_of
        self._foundations = foundations

    def host(self, socket: HostSocket) -> Candidate:
        preference = local_preference(socket.rank * SERVERS_PER_INTERFACE)
        return Candidate(
            type=CandidateType.HOST,
            address=socket.local,
            priority=priority(CandidateType.HOST, preference, socket.component),
            foundation=self._foundations.of(CandidateType.HOST, socket.local.ip),
            component=socket.component,
            base=socket.local,
            name=self._name_of(socket.local.ip),
        )

    def external(self, socket: HostSocket) -> Candidate | None:
        """What a one-to-one NAT makes of the socket's address, as the configuration says."""
        outside = self._outside(socket.local)
        if outside is None:
            return None
        preference = local_preference(socket.rank * SERVERS_PER_INTERFACE)
        return Candidate(
            type=CandidateType.SRFLX,
            address=outside,
            priority=priority(CandidateType.SRFLX, preference, socket.component),
            foundation=self._foundations.of(CandidateType.SRFLX, socket.local.ip, "external"),
            component=socket.component,
            related=self._shown(socket.local),
            base=socket.local,
        )

    def over_tcp(self, socket: HostSocket, base: Address, tcp_type: str) -> Candidate:
        """A host candidate of this `tcptype`."""
        preference = tcp_preference(CandidateType.HOST, tcp_type, socket.rank)
        return Candidate(
            type=CandidateType.HOST,
            address=base,
            priority=priority(CandidateType.HOST, preference, socket.component, Transport.TCP),
            foundation=self._foundations.of(CandidateType.HOST, base.ip, tcp_type, Transport.TCP),
            component=socket.component,
            transport=Transport.TCP,
            tcp_type=tcp_type,
            base=base,
            name=self._name_of(base.ip),
        )

    def external_over_tcp(self, socket: HostSocket, base: Address, tcp_type: str) -> Candidate | None:
        """A listener as the outside of a one-to-one NAT, or of a forwarded port, shows it."""
        outside = self._outside(base)
        return None if outside is None else self._seen_over_tcp(socket, base, tcp_type, outside, "external")

    def reflexive_over_tcp(
        self, socket: HostSocket, base: Address, tcp_type: str, mapped: Address, asked: Address, label: str
    ) -> Candidate:
        """What a server at `asked` saw of a connection from the base (RFC 6544 §5.2)."""
        found = self._seen_over_tcp(socket, base, tcp_type, mapped, asked.ip)
        return replace(found, server=label)

    def _seen_over_tcp(
        self, socket: HostSocket, base: Address, tcp_type: str, seen: Address, by: str
    ) -> Candidate:
        preference = tcp_preference(CandidateType.SRFLX, tcp_type, socket.rank)
        return Candidate(
            type=CandidateType.SRFLX,
            address=seen,
            priority=priority(CandidateType.SRFLX, preference, socket.component, Transport.TCP),
            foundation=self._foundations.of(CandidateType.SRFLX, base.ip, f"{tcp_type} {by}", Transport.TCP),
            component=socket.component,
            transport=Transport.TCP,
            tcp_type=tcp_type,
            related=self._shown(base),
            base=base,
        )

    def _shown(self, local: Address) -> Address:
        """The related address that is told for what comes from a socket."""
        if self._name_of(local.ip) is None:
            return local
        return NOWHERE6 if local.family == 6 else NOWHERE

    def _outside(self, inside: Address) -> Address | None:
        for ip, outside in self._config.external_ips:
            if canonical_ip(ip) == inside.ip:
                return Address(canonical_ip(outside), inside.port)
        return None

    def ranked(self, candidate: Candidate, others: Sequence[Candidate]) -> Candidate:
        """The candidate with the preference that the application gives it, and a priority of its own."""
        prefer = self._config.preference
        if prefer is not None:
            preference = min(max(prefer(candidate), 0), 0xFFFF)
            own = priority(candidate.type, preference, candidate.component, candidate.transport)
            candidate = replace(candidate, priority=own)
        return unique(candidate, others)

    def reflexive(self, job: Job, socket: HostSocket, mapped: Address) -> Candidate:
        return Candidate(
            type=CandidateType.SRFLX,
            address=mapped,
            priority=priority(CandidateType.SRFLX, local_preference(job.rank), job.component),
            foundation=self._foundations.of(CandidateType.SRFLX, socket.local.ip, job.address.ip),
            component=job.component,
            related=self._shown(socket.local),
            base=socket.local,
            server=job.server.label,
        )

    def relayed(self, job: Job, allocated: Allocated) -> Candidate:
        hidden = self._config.policy is Policy.RELAY or allocated.mapped is None
        nowhere = NOWHERE6 if allocated.relayed.family == 6 else NOWHERE
        transport = job.server.transport
        return Candidate(
            type=CandidateType.RELAY,
            address=allocated.relayed,
            priority=priority(CandidateType.RELAY, local_preference(job.rank, transport), job.component),
            foundation=self._foundations.of(
                CandidateType.RELAY, allocated.relayed.ip, job.address.ip, transport
            ),
            component=job.component,
            related=nowhere if hidden else allocated.mapped,
            base=allocated.relayed,
            relay_transport=transport,
            server=job.server.label,
        )


def unique(candidate: Candidate, others: Sequence[Candidate]) -> Candidate:
    """The candidate with a priority that none of the others of its component has."""
    taken = {other.priority for other in others if other.component == candidate.component}
    wanted = candidate.priority
    while wanted in taken:
        wanted -= 1 << 8  # one local preference
    if wanted < 1:  # The least preferred relay of many: there is room above.
        wanted = next(p for p in range(candidate.priority, 1 << 31, 1 << 8) if p not in taken)
    return candidate if wanted == candidate.priority else replace(candidate, priority=wanted)
