"""Which flow took the place of which: a client that comes back over another connection keeps its dialogs.

A dialog's route names the flow it began on (RFC 5626 §5.2), and no later request may change it (RFC 3261 §12.2).
But when a device registers anew, its registrar has proved that the new flow is the same user's, and instance and
reg-id say that it replaces the old one (RFC 5626 §6). So what was addressed to that may go to this.
"""

from __future__ import annotations

from typing import TypeVar

from iceway.wire.sip import Request, SipUri

MAX_DEVICES = 20_000
MAX_REPLACED = 20_000

Device = tuple[str, str, int | None]
K = TypeVar("K")


class Successors:
    """Bounded; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._flows: dict[Device, str] = {}
        self._replaced: dict[str, str] = {}

    def registered(self, request: Request, flow_id: str) -> str | None:
        """A REGISTER was accepted over this flow. The flow that it replaces, if any."""
        contacts = request.contacts
        if request.contact_is_star or len(contacts) != 1 or contacts[0].instance is None:
            return None
        user = SipUri.parse(request.to.uri)
        device = (user.aor.lower(), contacts[0].instance, contacts[0].reg_id)
        before = self._flows.pop(device, None)
        if 0 in (contacts[0].expires, request.expires):
            return None
        self._flows[device] = flow_id
        self._replaced.pop(flow_id, None)
        _limit(self._flows, MAX_DEVICES)
        if before in (None, flow_id):
            return None
        assert before is not None
        self._replaced[before] = flow_id
        _limit(self._replaced, MAX_REPLACED)
        return before

    def of(self, flow_id: str) -> str:
        """The flow that serves now what this one served."""
        seen = {flow_id}
        while (following := self._replaced.get(flow_id)) is not None and following not in seen:
            seen.add(following)
            flow_id = following
        return flow_id


def _limit(held: dict[K, str], most: int) -> None:
    while len(held) > most:
        del held[next(iter(held))]
