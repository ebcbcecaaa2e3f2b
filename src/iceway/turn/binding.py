"""What is my address from outside? One STUN Binding transaction over an open UDP socket (RFC 8489 §11).

The socket belongs to somebody else, who hands in the datagrams that `owns` says are ours. One object asks
once and ends with one event, `Bound` or `BindingFailed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import DatagramReceived, Input, Outbox, SendDatagram
from iceway.trace.records import Malformed
from iceway.turn.events import BindingFailed, Bound
from iceway.turn.trace import stun_received, stun_sent
from iceway.turn.transaction import RC, RTO, Transaction
from iceway.wire import stun
from iceway.wire.stun import MessageClass, Method, StunMessage

if TYPE_CHECKING:
    from random import Random


class BindingClient(Outbox):
    """Machine. `ask(now)`, then datagrams and timeouts until an event comes."""

    def __init__(
        self,
        name: str,
        server: Address,
        rng: Random,
        *,
        local: Address,
        server_label: str = "",
        rto: float = RTO,
        requests: int = RC,
    ) -> None:
        super().__init__()
        self.name = name
        self.server = server
        self.local = local
        self.label = server_label or f"stun:{server}"
        self._rng = rng
        self._rto = rto
        self._requests = requests
        self._transaction_id = b""
        self._transaction: Transaction | None = None
        self._closed = False

    # --- commands -------------------------------------------------------------------------------------
    def ask(self, now: float) -> None:
        if self._transaction_id:
            raise UsageError("a binding client asks once")
        self._transaction_id = self._rng.randbytes(12)
        request = StunMessage(Method.BINDING, MessageClass.REQUEST, self._transaction_id)
        data = stun.serialize(request, fingerprint=True)
        self._transaction = Transaction(data, now, reliable=False, rto=self._rto, requests=self._requests)
        self._send(data)

    def close(self, now: float) -> None:
        """Stop asking, or never begin; no event follows."""
        self._transaction = None
        self._closed = True

    # --- machine --------------------------------------------------------------------------------------
    @property
    def done(self) -> bool:
        return self._closed or (bool(self._transaction_id) and self._transaction is None)

    def owns(self, transaction_id: bytes) -> bool:
        """Whether a response with this transaction id answers our request."""
        return self._transaction is not None and transaction_id == self._transaction_id

    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case DatagramReceived(local=self.local, remote=self.server, data=data):
                self._handle_datagram(data, now)

    def handle_timeout(self, now: float) -> None:
        transaction = self._transaction
        if transaction is None or now < transaction.deadline:
            return
        again = transaction.on_timeout(now)
        if again is not None:
            self._send(again)
            return
        self._transaction = None
        self.emit(BindingFailed(None, "no answer", transaction.failure(now)))

    def poll_timeout(self) -> float | None:
        return self._transaction.deadline if self._transaction else None

    # --- helpers --------------------------------------------------------------------------------------
    def _send(self, data: bytes) -> None:
        self.emit(SendDatagram(self.local, self.server, data))
        self.emit(stun_sent(data, Transport.UDP, self.local, self.server))

    def _handle_datagram(self, data: bytes, now: float) -> None:
        try:
            message = stun.parse(data)
        except ParseError as error:
            self.emit(Malformed("stun", self.server, str(error), len(data)))
            return
        transaction = self._transaction
        if transaction is None or not self.owns(message.transaction_id) or message.method != Method.BINDING:
            return
        if message.message_class not in (MessageClass.SUCCESS, MessageClass.ERROR):
            return
        self.emit(stun_received(message, Transport.UDP, self.local, self.server))
        self._transaction = None
        if message.message_class is MessageClass.SUCCESS:
            # Servers of RFC 3489 know only the plain attribute.
            mapped = message.get(stun.XOR_MAPPED_ADDRESS) or message.get(stun.MAPPED_ADDRESS)
            if mapped is None or message.unknown_required:
                self.emit(BindingFailed(None, "useless answer", "the answer names no mapped address"))
            else:
                self.emit(Bound(mapped, now - transaction.started_at))
            return
        error_code = message.get(stun.ERROR_CODE) or stun.ErrorCode(500, "error without a code")
        detail = f"the server answered {error_code.code} {error_code.reason}".rstrip()
        self.emit(BindingFailed(error_code.code, error_code.reason, detail))
