"""The keys of a call's sound: from SDP, or from a DTLS association over the path that ICE finds.

An association belongs to the other side's certificate and outlives paths, re-INVITEs and ICE restarts (RFC 5763
§6.6). Each end of a forked call has one of its own, which waits while another end is talked to: whoever has shaken
hands does not do it again when it picks up at last. A hello may come before the answer that says whose it is
(RFC 5763 §6.2): a few datagrams wait for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from iceway.core.address import Address
from iceway.core.machine import Outbox
from iceway.media.description import Negotiated
from iceway.media.dtls import DtlsAssociation, DtlsIdentity, KeysAgreed
from iceway.media.keying import DtlsTerms

MAX_EARLY = 4  # datagrams of a handshake that come before we know whose it is
MAX_EARLY_BYTES = 8192
MAX_ENDS = 16  # that ring at once and whose associations are kept


@dataclass(slots=True)
class _End:
    """Whom we may come to talk to: what SDP said, the handshake for it, what came of it."""

    terms: DtlsTerms | None = None
    association: DtlsAssociation | None = None
    agreed: KeysAgreed | None = None


class CallKeys(Outbox):
    """One call's; `KeysAgreed` and `KeysFailed` say when to ask again what `keyed` gives."""

    def __init__(self, name: str, identity: DtlsIdentity | None) -> None:
        super().__init__()
        self._name = name
        self._identity = identity
        self._end = _End()
        self._ends: dict[str, _End] = {}
        self._leads_to: Address | None = None
        self._expected = False
        self._early: deque[tuple[Address, bytes]] = deque(maxlen=MAX_EARLY)
        self._count = 0

    def talk_to(self, end: str) -> None:
        """Offer and answer are with this end from now on, and so is the path."""
        if end not in self._ends and len(self._ends) >= MAX_ENDS:
            del self._ends[next(iter(self._ends))]
        before, self._end = self._end, self._ends.setdefault(end, _End())
        if self._end is not before:
            self._leads_to = None

    def keyed(self, negotiated: Negotiated, call_id: str) -> Negotiated | None:
        """What was negotiated, with its keys; None while the handshake for them is still to be done."""
        if negotiated.dtls is None:
            self._forget()
            return negotiated
        if self._is_new(negotiated.dtls):
            self._associate(negotiated.dtls, call_id)
        agreed = self._end.agreed
        if agreed is None:
            return None
        return replace(negotiated, send_key=agreed.send_key, recv_key=agreed.recv_key)

    def path_found(self, leads_to: Address, round_trip: float | None, now: float) -> None:
        self._leads_to = leads_to
        association = self._end.association
        if association is not None:
            association.begin(now, round_trip)
            if self._expected:
                association.expect(now)
            while self._early:
                source, data = self._early.popleft()
                if source == leads_to:
                    association.receive(data, now)
            self._collect(association)

    def expect(self, now: float) -> None:
        """Somebody has picked up."""
        self._expected = True
        if self._end.association is not None:
            self._end.association.expect(now)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """A datagram of DTLS. Of several ends only the one that the path leads to is meant."""
        association = self._end.association
        if len(self._ends) > 1 and source != self._leads_to:
            return
        if association is not None:
            association.receive(data, now)
            self._collect(association)
        elif self._identity is not None and len(data) <= MAX_EARLY_BYTES:
            self._early.append((source, data))

    def close(self) -> None:
        self._ends.clear()
        self._forget()

    # --- time ---------------------------------------------------------------------------------------------
    def handle_timeout(self, now: float) -> None:
        association = self._end.association
        if association is not None:
            association.handle_timeout(now)
            self._collect(association)

    def poll_timeout(self) -> float | None:
        """Only who is talked to is waited for."""
        return self._end.association.poll_timeout() if self._end.association else None

    # --- helpers ------------------------------------------------------------------------------------------
    def _is_new(self, terms: DtlsTerms) -> bool:
        """Another certificate is; the same one in another role is not once there are keys: softphones answer every
        later offer with "active", and mean nothing by it."""
        end = self._end
        if end.terms is None or end.agreed is None:
            return terms != end.terms
        return terms.fingerprints != end.terms.fingerprints

    def _associate(self, terms: DtlsTerms, call_id: str) -> None:
        assert self._identity is not None, "DTLS is negotiated by who has a certificate"
        self._count += 1
        self._end.terms, self._end.agreed = terms, None
        self._end.association = DtlsAssociation(
            f"{self._name}.{self._count}",
            self._identity,
            terms.fingerprints,
            active=terms.active,
            call_id=call_id,
        )

    def _collect(self, association: DtlsAssociation) -> None:
        while (output := association.poll_output()) is not None:
            if isinstance(output, KeysAgreed):
                self._end.agreed = output
            self.emit(output)

    def _forget(self) -> None:
        self._end.association = self._end.terms = self._end.agreed = None
        self._early.clear()
