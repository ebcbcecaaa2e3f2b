"""Which pair one component uses: the best valid one until nomination, then the nominated one for good.

Media may flow on `active` as soon as there is one (RFC 8445 §12). `consent` watches the active pair.
"""

from __future__ import annotations

from iceway.ice.checklist import CandidatePair
from iceway.ice.consent import Consent
from iceway.ice.nomination import Following


class Selection:
    """The state of one component. `nominating` is the pair whose nomination waits for its answer, `given_up`
    how many nominations never got one."""

    def __init__(self, component: int) -> None:
        self.component = component
        self.active: CandidatePair | None = None
        self.selected = False
        self.valid_since: float | None = None
        self.nominating: CandidatePair | None = None
        self.given_up = 0
        self.following = Following()
        self.consent: Consent | None = None

    @property
    def consent_timer(self) -> tuple[str, int]:
        return "consent", self.component

    @property
    def nomination_timer(self) -> tuple[str, int]:
        return "nominate", self.component
