"""The keys of a call's sound: from SDP, or from a DTLS association over the path that ICE finds.

An association belongs to the other side's certificate and outlives paths, re-INVITEs and ICE restarts (RFC 5763
§6.6). Another end of a forked call is another certificate, and gets one of its own; the one before is forgotten. A
hello may come before the answer that says whose it is (RFC 5763 §6.2): a few datagrams wait for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from iceway.core.machine import Outbox
from iceway.media.description import Negotiated
from iceway.media.dtls import DtlsAssociation, DtlsIdentity, KeysAgreed
from iceway.media.keying import DtlsTerms

MAX_EARLY = 4  # datagrams of a handshake that come before we know whose it is
MAX_EARLY_BYTES = 8192


class CallKeys(Outbox):
    """One call's; `KeysAgreed` and `KeysFailed` say when to ask again what `keyed` gives."""

    def __init__(self, name: str, identity: DtlsIdentity | None) -> None:
        super().__init__()
        self._name = name
        self._identity = identity
        self._association: DtlsAssociation | None = None
        self._terms: DtlsTerms | None = None
        self._agreed: KeysAgreed | None = None
        self._expected = False
        self._early: deque[bytes] = deque(maxlen=MAX_EARLY)
        self._count = 0

    def keyed(self, negotiated: Negotiated, call_id: str) -> Negotiated | None:
        """What was negotiated, with its keys; None while the handshake for them is still to be done."""
        if negotiated.dtls is None:
            self._forget()
            return negotiated
        if self._is_new(negotiated.dtls):
            self._associate(negotiated.dtls, call_id)
        if self._agreed is None:
            return None
        return replace(negotiated, send_key=self._agreed.send_key, recv_key=self._agreed.recv_key)

    def another_end(self) -> None:
        """Whoever answers next is somebody else, even with the same certificate."""
        self._forget()

    def path_found(self, now: float, round_trip: float | None) -> None:
        if self._association is not None:
            self._association.begin(now, round_trip)
            if self._expected:
                self._association.expect(now)
            while self._early:
                self._association.receive(self._early.popleft(), now)
            self._collect()

    def expect(self, now: float) -> None:
        """Somebody has picked up."""
        self._expected = True
        if self._association is not None:
            self._association.expect(now)

    def receive(self, data: bytes, now: float) -> None:
        """A datagram of DTLS from the path."""
        if self._association is not None:
            self._association.receive(data, now)
            self._collect()
        elif self._identity is not None and len(data) <= MAX_EARLY_BYTES:
            self._early.append(data)

    def close(self, now: float) -> None:
        self._forget()

    # --- time ---------------------------------------------------------------------------------------------
    def handle_timeout(self, now: float) -> None:
        if self._association is not None:
            self._association.handle_timeout(now)
            self._collect()

    def poll_timeout(self) -> float | None:
        return self._association.poll_timeout() if self._association else None

    # --- helpers ------------------------------------------------------------------------------------------
    def _is_new(self, terms: DtlsTerms) -> bool:
        """Another certificate is; the same one in another role is not once there are keys: softphones answer every
        later offer with "active", and mean nothing by it."""
        if self._terms is None or self._agreed is None:
            return terms != self._terms
        return terms.fingerprints != self._terms.fingerprints

    def _associate(self, terms: DtlsTerms, call_id: str) -> None:
        assert self._identity is not None, "DTLS is negotiated by who has a certificate"
        self._count += 1
        self._terms, self._agreed = terms, None
        self._association = DtlsAssociation(
            f"{self._name}.{self._count}",
            self._identity,
            terms.fingerprints,
            active=terms.active,
            call_id=call_id,
        )

    def _collect(self) -> None:
        while self._association is not None and (output := self._association.poll_output()) is not None:
            if isinstance(output, KeysAgreed):
                self._agreed = output
            self.emit(output)

    def _forget(self) -> None:
        self._association = self._terms = self._agreed = None
        self._early.clear()
