"""Authenticated requests of a TURN client: challenges answered, answers verified, silence noticed.

The client says what it wants (`start` with a `purpose` of its own); this takes care of long-term credentials
(RFC 8489 §9.2), of 401 and 438 with their realm and nonce, and of retransmission, and reports one `Outcome`
per purpose. Bytes leave through the `transmit` callback, so that it knows nothing of sockets.

An answer with a wrong MESSAGE-INTEGRITY is as if it had not come. Error answers without any are believed,
because servers in the field send them so; to forge one takes the 96 random bits of the transaction id.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iceway.turn.transaction import RC, RTO, Transaction
from iceway.wire import stun
from iceway.wire.stun import MessageClass, StunMessage

if TYPE_CHECKING:
    from random import Random

MAX_CHALLENGES = 4
"""How often one request may be sent anew because of a 401 or 438 before the server is given up."""

Attributes = tuple[tuple[stun.Attribute[Any], Any], ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """`first_try`: the request went out once, so what was sent right behind it came after it."""

    purpose: Hashable
    response: StunMessage
    round_trip: float
    first_try: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """An error answer that asking again cannot help. `challenges` counts 401s and 438s of this request."""

    purpose: Hashable
    response: StunMessage
    code: int
    reason: str
    challenges: int


@dataclass(frozen=True, slots=True)
class Unanswered:
    purpose: Hashable
    detail: str


Outcome = Answered | Refused | Unanswered


@dataclass(slots=True)
class _Pending:
    purpose: Hashable
    method: int
    attributes: Attributes
    requests: int
    challenges: int
    key: bytes | None
    """What it was protected with, and its answer must be; None for a request without credentials."""
    transaction: Transaction


class Requester:
    """The requests of one client that are under way, and what it knows of realm and nonce."""

    def __init__(
        self,
        username: str | bytes,
        password: str | bytes,
        rng: Random,
        transmit: Callable[[bytes], None],
        *,
        reliable: bool,
        rto: float = RTO,
        requests: int = RC,
    ) -> None:
        self._username = username.encode() if isinstance(username, str) else username
        self._password = password
        self._rng = rng
        self._transmit = transmit
        self._reliable = reliable
        self._rto = rto
        self._requests = requests
        self._realm: str | None = None
        self._nonce: bytes | None = None
        self._key = b""
        self._pending: dict[bytes, _Pending] = {}

    def start(
        self,
        purpose: Hashable,
        method: int,
        attributes: Attributes,
        now: float,
        *,
        requests: int | None = None,
    ) -> None:
        """Send a request; with credentials if the server has told its realm already."""
        self._send(purpose, method, attributes, requests or self._requests, 0, now)

    def under_way(self, purpose: Hashable) -> bool:
        return any(pending.purpose == purpose for pending in self._pending.values())

    def owns(self, transaction_id: bytes) -> bool:
        return transaction_id in self._pending

    def renew(self, username: str | bytes, password: str | bytes) -> None:
        """Use other credentials of the same user from the next request on."""
        self._username = username.encode() if isinstance(username, str) else username
        self._password = password
        if self._realm is not None:
            self._key = stun.long_term_key(self._username, self._realm, password)

    def new_transaction_id(self) -> bytes:
        return self._rng.randbytes(12)

    def forget_all(self) -> None:
        self._pending.clear()

    def forget_server(self) -> None:
        """Before talking to another server: nothing under way, no realm, no nonce."""
        self._pending.clear()
        self._realm = self._nonce = None

    def handle_response(self, message: StunMessage, now: float) -> Outcome | None:
        """None: not ours, not trustworthy, or a challenge that was answered."""
        pending = self._pending.get(message.transaction_id)
        if (
            pending is None
            or message.method != pending.method
            or message.message_class in (MessageClass.REQUEST, MessageClass.INDICATION)
            or not self._trusted(message, pending)
        ):
            return None
        del self._pending[message.transaction_id]
        if message.message_class is MessageClass.SUCCESS:
            first_try = pending.transaction.sent == 1 and pending.challenges == 0
            return Answered(pending.purpose, message, now - pending.transaction.started_at, first_try)
        said = message.get(stun.ERROR_CODE)
        code, reason = said if said is not None else (500, "error without a code")
        if code in (401, 438) and self._accept_challenge(message, pending, code):
            self._send(
                pending.purpose,
                pending.method,
                pending.attributes,
                pending.requests,
                pending.challenges + 1,
                now,
            )
            return None
        return Refused(pending.purpose, message, code, reason, pending.challenges)

    def handle_timeout(self, now: float) -> Iterator[Outcome]:
        for transaction_id, pending in list(self._pending.items()):
            transaction = pending.transaction
            if now < transaction.deadline or transaction_id not in self._pending:
                continue
            again = transaction.on_timeout(now)
            if again is not None:
                self._transmit(again)
                continue
            del self._pending[transaction_id]
            yield Unanswered(pending.purpose, transaction.failure(now))

    def poll_timeout(self) -> float | None:
        return min((pending.transaction.deadline for pending in self._pending.values()), default=None)

    # --- helpers --------------------------------------------------------------------------------------
    def _send(
        self,
        purpose: Hashable,
        method: int,
        attributes: Attributes,
        requests: int,
        challenges: int,
        now: float,
    ) -> None:
        transaction_id = self.new_transaction_id()
        full, key = attributes, None
        if self._realm is not None and self._nonce is not None:
            credentials = stun.USERNAME(self._username), stun.REALM(self._realm), stun.NONCE(self._nonce)
            full, key = (*attributes, *credentials), self._key
        request = StunMessage(method, MessageClass.REQUEST, transaction_id, full)
        data = stun.serialize(request, key, fingerprint=True)
        transaction = Transaction(data, now, reliable=self._reliable, rto=self._rto, requests=requests)
        self._pending[transaction_id] = _Pending(
            purpose, method, attributes, requests, challenges, key, transaction
        )
        self._transmit(data)

    def _trusted(self, message: StunMessage, pending: _Pending) -> bool:
        if pending.key is None:
            return True
        if message.has_integrity:
            return stun.verify_integrity(message, pending.key)
        return message.message_class is MessageClass.ERROR

    def _accept_challenge(self, message: StunMessage, pending: _Pending, code: int) -> bool:
        """Take over realm and nonce; False when asking again would only repeat the answer."""
        realm, nonce = message.get(stun.REALM), message.get(stun.NONCE)
        realm = self._realm if realm is None else realm
        if realm is None or nonce is None or pending.challenges >= MAX_CHALLENGES:
            return False
        if code == 401 and pending.key is not None and realm == self._realm and pending.key == self._key:
            # It saw our credentials and does not like them (RFC 8489 §9.2.5).
            return False
        if realm != self._realm:
            self._key = stun.long_term_key(self._username, realm, self._password)
        self._realm, self._nonce = realm, nonce
        return True
