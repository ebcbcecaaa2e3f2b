"""What may become of pairs: how good they would be, and which of them can hardly work.

Those are checked later and waited for less, and none is left out because of it. There are three signs, each from
what both ends have shown of themselves:

* The peer's address is private, and the addresses that the two ends show the world differ: then they live in two
  private networks. Where both are one all the same (a VPN between two offices), its answer takes no longer than
  one by way of the internet.
* No server answered over UDP on our interface, while servers did on another one or over TCP: no packet comes far from there.
* Each check of either side leaves from a port of its own, even towards one IP of the other: whatever address one
  of them learns is void when the other uses it, so address after address comes up and none of them works.

RFC 8445 §6.1.4.2 goes by priority alone; priorities stay as they are, and what both ends say of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from iceway.core.address import Address, Transport
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.checklist import CandidatePair, Checklist, Prospect
from iceway.ice.scope import Scope, is_private, scope_of

COMPARED_FAMILY = 4
"""In IPv6 every host shows an address of its own, which says nothing about who lives together."""


class Prospects:
    """`is_mute` says of a host base whether servers stay silent on it that answer elsewhere."""

    def __init__(self, checklist: Checklist, is_mute: Callable[[Address, float], bool]) -> None:
        self._checklist = checklist
        self._is_mute = is_mute
        self._mapped: dict[tuple[Address, str], set[Address]] = {}

    def appraise(self, ours: Sequence[Candidate], theirs: Iterable[Candidate], now: float) -> None:
        """Judge all pairs by what is known now."""
        here, there = outside_ips(ours), outside_ips(theirs)
        apart = bool(here and there) and not here & there
        mute = {
            pair.base
            for pair in self._checklist
            if pair.local.type is CandidateType.HOST
            and pair.local.transport is Transport.UDP
            and self._is_mute(pair.base, now)
        }
        reflexive = {c.base: c for c in reversed(ours) if c.type is CandidateType.SRFLX}
        for pair in self._checklist:
            pair.prospect = self._of(pair, apart, mute)
            # What leaves for the internet is seen there under the address that servers saw.
            pair.hoped_local = None if is_private(pair.remote.address.ip) else reflexive.get(pair.base)

    def mapped(self, pair: CandidatePair, address: Address) -> None:
        """The peer saw a check of this pair come from there. Over TCP every connection has a port of its own."""
        if pair.local.transport is not Transport.UDP:
            return
        seen = self._mapped.setdefault((pair.base, pair.remote.address.ip), set())
        if len(seen) < 2:
            seen.add(address)

    def _of(self, pair: CandidatePair, apart: bool, mute: set[Address]) -> Prospect:
        if self._both_move(pair):
            return Prospect.NONE
        if pair.base in mute:
            return Prospect.POOR
        if pair.remote.type is CandidateType.HOST and is_private(pair.remote.address.ip):
            relayed = pair.local.type is CandidateType.RELAY
            if apart or (relayed and not is_private(pair.base.ip)):
                return Prospect.POOR
        return Prospect.GOOD

    def _both_move(self, pair: CandidatePair) -> bool:
        """Whether neither our port nor the peer's is the same for two ports of the other's one IP."""
        if len(self._mapped.get((pair.base, pair.remote.address.ip), ())) < 2:
            return False
        heard = (
            other
            for other in self._checklist
            if other.base == pair.base
            and other.remote.address.ip == pair.remote.address.ip
            and other.heard_at is not None
        )
        return sum(1 for _ in heard) > 1


def outside_ips(candidates: Iterable[Candidate]) -> set[str]:
    """The IPs under which the internet knows the owner of some candidates; what hides behind a relay counts too."""
    shown = (c.related if c.type is CandidateType.RELAY else c.address for c in candidates)
    return {
        address.ip
        for address in shown
        if address is not None
        and address.family == COMPARED_FAMILY
        and scope_of(address.ip) is Scope.USABLE
        and not is_private(address.ip)
    }
