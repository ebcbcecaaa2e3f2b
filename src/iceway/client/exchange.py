"""What the two sides tell each other about ICE: in offers and answers, and on their way after them (RFC 8840).

A side that trickles is told candidates as they are found, by INFO. Every fragment repeats what was said before
under the same user name, so one that is lost does no harm (RFC 8840 §4.4).
"""

from __future__ import annotations

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.ice import candidate as candidates
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate
from iceway.wire import sdpfrag
from iceway.wire.sdp import IceParameters

NOWHERE = Address("0.0.0.0", 9)  # the default address of an offer without candidates (RFC 8840 §4.1.1)
OPTIONS = ("trickle", "ice2")
RENOMINATION = "renomination"


class CandidateExchange:
    """One agent's side of the exchange. `our_default` and `their_default` are what SDP promised last.

    `they_trickle`: by their last description more of theirs may come by INFO, and they take ours that way.
    """

    def __init__(self, agent: Agent) -> None:
        self.our_default: Address | None = None
        self.their_default: Address | None = None
        self.they_trickle = False
        self._agent = agent
        self._said: IceParameters | None = None

    # --- out ----------------------------------------------------------------------------------------------
    def everything(self) -> tuple[IceParameters, Address]:
        """All our candidates, and the default address among them; they count as said."""
        self.our_default = self.default_address()
        self._said = self.parameters(self._agent.local_candidates, complete=self._agent.gathering_done)
        return self._said, self.our_default

    def parameters(
        self,
        own: tuple[Candidate, ...],
        remote: tuple[tuple[int, Address], ...] = (),
        *,
        complete: bool = False,
    ) -> IceParameters:
        return IceParameters(
            ufrag=self._agent.local_ufrag,
            pwd=self._agent.local_pwd,
            candidates=tuple(candidates.serialize(one) for one in own),
            remote_candidates=remote,
            options=(*OPTIONS, RENOMINATION) if self._agent.renomination else OPTIONS,
            end_of_candidates=complete,
            pacing=round(self._agent.pacing * 1000),
        )

    def default_address(self) -> Address:
        default = self._agent.default_candidate()
        return default.address if default else NOWHERE

    def unsaid(self, mid: str | None) -> str | None:
        """A fragment with all that there is to say, which then counts as said; None if there is nothing new.

        That no more are to come is of no interest once there is a path.
        """
        ice = IceParameters(
            ufrag=self._agent.local_ufrag,
            pwd=self._agent.local_pwd,
            candidates=tuple(candidates.serialize(one) for one in self._agent.local_candidates),
            end_of_candidates=self._agent.gathering_done,
        )
        if self._said is None or self._said.ufrag != ice.ufrag:
            return None  # under new credentials a description comes first
        ended = ice.end_of_candidates and not self._said.end_of_candidates
        if set(ice.candidates) <= set(self._said.candidates) and (not ended or self._agent.selected):
            return None
        self._said = ice
        return sdpfrag.serialize(sdpfrag.Section(mid, ice))

    # --- in -----------------------------------------------------------------------------------------------
    def learn(self, ice: IceParameters | None, default: Address | None, now: float, *, deaf: bool) -> bool:
        """Tell the agent who the other side is; False if it speaks no ICE that works.

        `deaf`: no INFO can come from there, whatever its description promises.
        """
        if ice is None or ice.mismatch:
            return False
        self.their_default = default
        self.they_trickle = "trickle" in ice.options and not deaf
        pacing = None if ice.pacing is None else ice.pacing / 1000
        renomination = RENOMINATION in ice.options
        self._agent.set_remote(
            ice.ufrag, ice.pwd, now, lite=ice.lite, pacing=pacing, renomination=renomination
        )
        self._add(ice, now)
        if ice.end_of_candidates or not self.they_trickle:
            self._agent.end_of_remote_candidates(now)
        return True

    def learn_more(self, body: bytes, mid: str | None, now: float) -> None:
        """Candidates that came by INFO. Raises ParseError; what belongs to other credentials is dropped."""
        for section in sdpfrag.parse(body):
            if section.ice.ufrag == self._agent.remote_ufrag and section.mid in (None, mid):
                self._add(section.ice, now)
                if section.ice.end_of_candidates:
                    self._agent.end_of_remote_candidates(now)

    def _add(self, ice: IceParameters, now: float) -> None:
        for text in ice.candidates:
            try:
                remote = candidates.parse(text)
            except ParseError:
                continue  # RFC 8839 §5.1: candidates that cannot be used are ignored
            self._agent.add_remote_candidate(remote, now)
