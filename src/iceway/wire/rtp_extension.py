"""Elements in the header extension of RTP packets (RFC 8285), which SDP gives their numbers by `a=extmap`.

Elements with a header of one byte are written, both forms are read. What follows an element that is cut off is passed
over: the packet's payload is good all the same.
"""

from __future__ import annotations

ONE_BYTE, TWO_BYTES = 0xBEDE, 0x1000
NUMBERS = range(1, 15)  # with a header of one byte
MAX_LENGTH = 16


def serialize_element(number: int, value: bytes) -> tuple[int, bytes]:
    """Profile and words of an extension with this element alone. Raises ValueError for what does not fit."""
    if number not in NUMBERS or not 1 <= len(value) <= MAX_LENGTH:
        raise ValueError(f"{len(value)} bytes under number {number} need another form of header extension")
    content = bytes([number << 4 | len(value) - 1]) + value
    return ONE_BYTE, content + bytes(-len(content) % 4)


def find_element(data: bytes, number: int) -> bytes | None:
    """The value of an element of an RTP packet, None if it has none. Any bytes may be asked."""
    at = 12 + 4 * (data[0] & 0x0F) if data else 0
    if not data or not data[0] & 0x10 or at + 4 > len(data):
        return None
    profile, end = int.from_bytes(data[at : at + 2]), at + 4 + 4 * int.from_bytes(data[at + 2 : at + 4])
    at, end = at + 4, min(end, len(data))
    if profile == ONE_BYTE:
        head = 1
    elif profile & 0xFFF0 == TWO_BYTES:
        head = 2
    else:
        return None
    while at + head <= end:
        if data[at] == 0:  # padding
            at += 1
            continue
        found = data[at] >> 4 if head == 1 else data[at]
        length = (data[at] & 0x0F) + 1 if head == 1 else data[at + 1]
        if head == 1 and found == 15:  # RFC 8285 §4.2: nothing behind it may be read
            return None
        at += head
        if found == number:
            return data[at : at + length] if at + length <= end else None
        at += length
    return None
