"""Who the two agents are to each other in one session: credentials, role, tie-breaker (RFC 8445 §5.3, §6.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.core.address import Transport
from iceway.ice.candidate import TCP_TYPE_PREFERENCE, TYPE_PREFERENCE, CandidateType
from iceway.ice.checklist import CandidatePair
from iceway.ice.checklist_set import Role
from iceway.ice.messages import Credentials, check_request, transaction_id
from iceway.wire import stun
from iceway.wire.stun import StunMessage

if TYPE_CHECKING:
    from random import Random


class Standing:
    """`remote` is None until the peer's answer came; no request can be made before.

    `lite` and `peer_lite`: who only answers. The other one is controlling, whatever was said (RFC 8445 §6.1.1).
    `renominates`: both announced that the controlling one may nominate again.
    """

    def __init__(self, local: Credentials, role: Role, rng: Random, *, lite: bool = False) -> None:
        self.local = local
        self.remote: Credentials | None = None
        self.lite = lite
        self.peer_lite = False
        self.renominates = False
        self.role = role
        self._rng = rng
        self._nominations = 0

    @property
    def controlling(self) -> bool:
        return self.role.controlling

    @property
    def roles_given(self) -> bool:
        """Who controls follows from who is lite, and no conflict changes it."""
        return self.lite or self.peer_lite

    def request(self, pair: CandidatePair, *, nominate: bool = False) -> tuple[bytes, bytes]:
        """A new check or consent request for the pair: its transaction id and its bytes."""
        assert self.remote is not None
        self._nominations += nominate
        id = transaction_id(self._rng)
        data = check_request(
            id,
            self.local,
            self.remote,
            priority=reflexive_priority(pair),
            controlling=self.controlling,
            tie_breaker=self.role.tie_breaker,
            nominate=nominate,
            nomination=self._nominations if nominate and self.renominates else None,
        )
        return id, data

    def signed_by_peer(self, response: StunMessage) -> bool:
        return self.remote is not None and stun.verify_integrity(
            response, stun.short_term_key(self.remote.pwd)
        )

    def conflict(self, request: StunMessage) -> bool | None:
        """RFC 8445 §7.3.1.1. None: the roles agree; False: they clash and we must switch; True: the peer must."""
        theirs = request.get(stun.ICE_CONTROLLING if self.controlling else stun.ICE_CONTROLLED)
        if theirs is None:
            return None
        if self.roles_given:
            return True
        return self.controlling == (self.role.tie_breaker >= theirs)


def reflexive_priority(pair: CandidatePair) -> int:
    """What the PRIORITY of a check says: the priority of a prflx candidate of this base (RFC 8445 §7.1.1).

    A check from a relayed candidate says that candidate's own: what the peer discovers by it is the relay. With
    the preference of prflx, a relay that the peer has not been told of would come before reflexive paths.
    """
    if pair.local.type is CandidateType.RELAY:
        return pair.local.priority
    preferences = TYPE_PREFERENCE if pair.local.transport is Transport.UDP else TCP_TYPE_PREFERENCE
    return (preferences[CandidateType.PRFLX] << 24) + (pair.local.priority & 0xFFFFFF)
