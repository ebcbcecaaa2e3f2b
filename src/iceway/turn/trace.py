"""STUN messages as records: what `StunSent` and `StunReceived` hold, made in one place for client and server."""

from __future__ import annotations

from iceway.core.address import Address, Transport
from iceway.trace.records import StunReceived, StunSent
from iceway.wire import stun
from iceway.wire.stun import StunMessage


def stun_sent(
    data: bytes, transport: Transport, local: Address, remote: Address, relay: Address | None = None
) -> StunSent:
    """The record of a message just serialized; parsing it again shows what is really on the wire."""
    message = stun.parse(data)
    return StunSent(
        transport=transport.value,
        local=local,
        remote=remote,
        method=message.method_name,
        message_class=message.class_name,
        transaction_id=message.transaction_id.hex(),
        attributes=stun.describe(message),
        raw=data.hex(),
        relay=relay,
    )


def stun_received(
    message: StunMessage, transport: Transport, local: Address, remote: Address, relay: Address | None = None
) -> StunReceived:
    return StunReceived(
        transport=transport.value,
        local=local,
        remote=remote,
        method=message.method_name,
        message_class=message.class_name,
        transaction_id=message.transaction_id.hex(),
        attributes=stun.describe(message),
        raw=message.raw.hex(),
        relay=relay,
    )
