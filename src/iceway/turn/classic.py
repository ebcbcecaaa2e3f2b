"""Binding for clients of RFC 3489, which libnice's search for its own address still is (RFC 5389 §12.2).

They know no magic cookie: the four bytes are a part of their transaction ID, and the answer gives the address
plainly. Whoever asks for what RFC 5389 dropped (an answer to elsewhere, or from elsewhere) gets none.
"""

from __future__ import annotations

from iceway.core.address import Address
from iceway.wire.stun import is_stun
from iceway.wire.stun_attributes import MAPPED_ADDRESS

REQUEST, RESPONSE = b"\x00\x01", b"\x01\x01"
HEADER_SIZE = 20


def answer(data: bytes, source: Address) -> bytes | None:
    """What to answer to a datagram; None if it is no plain Binding request of such a client."""
    if len(data) != HEADER_SIZE or data[:4] != REQUEST + bytes(2) or is_stun(data):
        return None
    value = MAPPED_ADDRESS.encode(source, b"")
    attribute = MAPPED_ADDRESS.type.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value
    return RESPONSE + len(attribute).to_bytes(2, "big") + data[4:] + attribute
