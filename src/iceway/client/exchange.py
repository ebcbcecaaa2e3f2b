"""What offers and answers say about ICE, on the way out and on the way in."""

from __future__ import annotations

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.ice import candidate as candidates
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate
from iceway.wire.sdp import IceParameters

NOWHERE = Address("0.0.0.0", 9)  # the default address of an offer without candidates (RFC 8840 §4.1.1)


class CandidateExchange:
    """One agent's side of the exchange. `our_default` and `their_default` are what SDP promised last."""

    def __init__(self, agent: Agent) -> None:
        self.our_default: Address | None = None
        self.their_default: Address | None = None
        self._agent = agent

    # --- out ----------------------------------------------------------------------------------------------
    def everything(self) -> tuple[IceParameters, Address]:
        """All our candidates, and the default address among them."""
        self.our_default = self.default_address()
        return self.parameters(self._agent.local_candidates), self.our_default

    def parameters(
        self, own: tuple[Candidate, ...], remote: tuple[tuple[int, Address], ...] = ()
    ) -> IceParameters:
        return IceParameters(
            ufrag=self._agent.local_ufrag,
            pwd=self._agent.local_pwd,
            candidates=tuple(candidates.serialize(one) for one in own),
            remote_candidates=remote,
            options=("ice2",),
        )

    def default_address(self) -> Address:
        default = self._agent.default_candidate()
        return default.address if default else NOWHERE

    # --- in -----------------------------------------------------------------------------------------------
    def learn(self, ice: IceParameters | None, default: Address | None, now: float) -> bool:
        """Tell the agent who the other side is; False if it speaks no ICE that works."""
        if ice is None or ice.mismatch:
            return False
        self.their_default = default
        self._agent.set_remote(ice.ufrag, ice.pwd, now, lite=ice.lite)
        for text in ice.candidates:
            try:
                remote = candidates.parse(text)
            except ParseError:
                continue  # RFC 8839 §5.1: candidates that cannot be used are ignored
            self._agent.add_remote_candidate(remote, now)
        self._agent.end_of_remote_candidates(now)
        return True
