"""STUN messages on record: what people see, whole bytes for the deeper look, no secret."""

from __future__ import annotations

from iceway.core.address import Address, Transport
from iceway.turn.trace import stun_received, stun_sent
from iceway.wire import stun
from iceway.wire.stun import MessageClass, Method, StunMessage

HERE, THERE = Address("198.51.100.7", 1), Address("203.0.113.1", 3478)


def test_both_ends_record_the_same_message_alike() -> None:
    message = StunMessage(Method.ALLOCATE, MessageClass.REQUEST, bytes(12), (stun.LIFETIME(600),))
    data = stun.serialize(message, b"key", fingerprint=True)
    sent = stun_sent(data, Transport.TCP, HERE, THERE)
    received = stun_received(stun.parse(data), Transport.TCP, THERE, HERE, relay=HERE)
    assert (sent.method, sent.message_class, sent.transport) == ("Allocate", "request", "tcp")
    assert sent.transaction_id == "00" * 12
    assert sent.raw == received.raw == data.hex()
    assert sent.attributes == (
        ("LIFETIME", "600 s"),
        ("MESSAGE-INTEGRITY", "present"),
        ("FINGERPRINT", "present"),
    )
    assert (sent.relay, received.relay) == (None, HERE)
    assert (sent.remote, received.remote) == (THERE, HERE)
