"""The outside of DTLS (RFC 6347 §4.1): where the records of a datagram begin and end, and what kind they are.

What is in them is the business of whoever has the keys; here is only what anybody on the way can see.
"""

from __future__ import annotations

from typing import NamedTuple

from iceway.core.errors import ParseError

HEADER = 13
CHANGE_CIPHER_SPEC = 20
ALERT = 21
HANDSHAKE = 22
APPLICATION_DATA = 23
CLIENT_HELLO = 1
MTU = 1200  # bytes of one datagram in a handshake: what any path takes

_FIRST, _LAST = 20, 63  # RFC 7983 §7
_KNOWN = range(CHANGE_CIPHER_SPEC, APPLICATION_DATA + 2)  # 24: heartbeat
_VERSIONS = (0xFEFF, 0xFEFD)  # DTLS 1.0, which first hellos still say, and 1.2


class RecordHeader(NamedTuple):
    """One record as it looks from outside. `epoch` 0 is in clear."""

    content_type: int
    epoch: int
    size: int


def is_dtls(data: bytes) -> bool:
    """Whether a datagram is DTLS among STUN, channel data and RTP (RFC 7983 §7)."""
    return bool(data) and _FIRST <= data[0] <= _LAST


def is_hello(data: bytes) -> bool:
    """Whether a datagram may begin a connection: the only thing that strangers are listened to for."""
    return (
        len(data) > HEADER + 12 and data[0] == HANDSHAKE and data[1] == 0xFE and data[HEADER] == CLIENT_HELLO
    )


def parse_records(data: bytes) -> tuple[RecordHeader, ...]:
    """The records of a datagram. Raises ParseError for anything that is not whole records."""
    found = []
    while data:
        if len(data) < HEADER:
            raise ParseError(f"{len(data)} bytes are no record of DTLS")
        if data[0] not in _KNOWN:
            raise ParseError(f"content type {data[0]} is none of DTLS 1.2")
        if int.from_bytes(data[1:3]) not in _VERSIONS:
            raise ParseError(f"version {data[1:3].hex()} is none of DTLS 1.2")
        size = HEADER + int.from_bytes(data[11:13])
        if size > len(data):
            raise ParseError(f"a record of {size} bytes in {len(data)}")
        found.append(RecordHeader(data[0], int.from_bytes(data[3:5]), size))
        data = data[size:]
    return tuple(found)


def datagrams(records: bytes, mtu: int = MTU) -> list[bytes]:
    """Whole records of ours, as many to a datagram as the path is sure to take."""
    found = [b""]
    while records:
        size = HEADER + int.from_bytes(records[11:13])
        record, records = records[:size], records[size:]
        if found[-1] and len(found[-1]) + len(record) > mtu:
            found.append(b"")
        found[-1] += record
    return [datagram for datagram in found if datagram]
