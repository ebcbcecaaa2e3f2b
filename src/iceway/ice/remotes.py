"""The peer's candidates: announced ones, and those that its checks make us learn (RFC 8445 §7.3.1.3).

Both are bounded, and so are the checks that are kept from before the peer's credentials are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from iceway.core.address import Address, Transport
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.config import AgentConfig
from iceway.ice.scope import Scope, scope_of

MAX_EARLY = 32  # ways on which checks may come before the peer's credentials
MAX_REFLEXIVE = 32  # candidates that checks may make us learn


@dataclass(frozen=True, slots=True)
class HeardCheck:
    """An authentic check from the peer."""

    base: Address
    source: Address
    priority: int
    nominates: bool
    transaction_id: bytes
    ufrag: str
    nomination: int = 0  # its number, if it has one


class RemoteCandidates:
    """By component and address; iterates in the order in which they became known."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._known: dict[tuple[int, Transport, Address], Candidate] = {}
        self._early: dict[tuple[Address, Address], HeardCheck] = {}
        self._unannounced: dict[Candidate, None] = {}
        self._learned = 0
        self.ips: tuple[str, ...] = ()
        """Every IP of the peer; asked for with every packet, so it is kept ready."""

    def __iter__(self) -> Iterator[Candidate]:
        return iter(tuple(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def get(self, component: int, address: Address, transport: Transport = Transport.UDP) -> Candidate | None:
        return self._known.get((component, transport, address))

    def add(self, candidate: Candidate) -> None:
        key = candidate.component, candidate.transport, candidate.address
        self._unannounced.pop(self._known.get(key, candidate), None)
        self._known[key] = candidate
        self._note_ips()

    def forget(self, candidate: Candidate) -> None:
        del self._known[candidate.component, candidate.transport, candidate.address]
        self._unannounced.pop(candidate, None)
        self._note_ips()

    def useless(self, candidate: Candidate) -> str:
        """Why an announced candidate is not used; empty if it is."""
        if candidate.transport is not Transport.UDP and not self._config.tcp:
            return "candidates over TCP are not used"
        if candidate.transport is not Transport.UDP and candidate.tcp_type not in ("passive", "so"):
            return "nobody listens there; the peer connects to us if it can"
        if not 1 <= candidate.component <= self._config.components:
            return f"there is no component {candidate.component}"
        if scope_of(candidate.address.ip) is Scope.LOCAL or candidate.address.port == 0:
            return "nothing can be sent to this address"
        known = self.get(candidate.component, candidate.address, candidate.transport)
        if known is not None:
            return "" if known in self._unannounced else f"repeats {known}"
        if len(self._known) - len(self._unannounced) >= self._config.max_remote_candidates:
            return f"more than {self._config.max_remote_candidates} candidates"
        return ""

    def learned(self) -> list[Candidate]:
        """Those that nobody announced, whatever type announced ones have."""
        return list(self._unannounced)

    def learn(
        self,
        component: int,
        check: HeardCheck,
        transport: Transport = Transport.UDP,
        tcp_type: str | None = None,
    ) -> Candidate:
        """A peer-reflexive candidate; its priority is what the check says."""
        self._learned += 1
        candidate = Candidate(
            type=CandidateType.PRFLX,
            address=check.source,
            priority=check.priority,
            foundation=f"learned{self._learned}",
            component=component,
            transport=transport,
            tcp_type=tcp_type,
        )
        self.add(candidate)
        self._unannounced[candidate] = None
        return candidate

    def keep(self, check: HeardCheck) -> bool:
        """Remember a check until the peer's credentials come; False if there is no room."""
        known = self._early.get((check.base, check.source))
        if known is None and len(self._early) >= MAX_EARLY:
            return False
        if known is None or not known.nominates or check.ufrag != known.ufrag:
            self._early[check.base, check.source] = check
        return True

    def take_early(self, ufrag: str) -> list[HeardCheck]:
        """The kept checks of this peer; those of others are dropped."""
        early, self._early = self._early, {}
        return [check for check in early.values() if check.ufrag == ufrag]

    def _note_ips(self) -> None:
        self.ips = tuple(dict.fromkeys(address.ip for *_, address in self._known))
