"""ChannelData (RFC 8656 §12.4) and the framing of a TURN stream, where it and STUN messages follow each other.

Over UDP a ChannelData message fills its datagram; over a stream it is padded to a multiple of four, which
its length does not count (RFC 8656 §12.5). `StreamFramer` cuts a byte stream into whole messages; bytes that
can start neither kind raise ParseError, after which the stream has no meaning any more and must be closed.
"""

from __future__ import annotations

from iceway.core.errors import ParseError, UsageError

FIRST_CHANNEL = 0x4000  # RFC 8656 §12
LAST_CHANNEL = 0x4FFF
LAST_OLD_CHANNEL = 0x7FFE  # RFC 5766 §11; clients in the field, coturn's among them, still use them all
HEADER_SIZE = 4
MAX_FRAME = 0xFFFF + 20
"""The largest STUN message that a header can announce."""

_STUN_HEADER = 20
_COOKIE = b"\x21\x12\xa4\x42"


def is_channel_data(data: bytes) -> bool:
    """Whether a datagram on a shared socket is ChannelData (RFC 7983 §7 and RFC 8656 §12).

    Narrower than the parser: where other protocols may arrive, we bind only channels that stand apart.
    """
    return len(data) >= HEADER_SIZE and 0x40 <= data[0] <= 0x4F


def parse_channel_data(data: bytes) -> tuple[int, bytes]:
    """Channel number and payload. What follows the payload in a datagram is padding and dropped."""
    if len(data) < HEADER_SIZE or not 0x40 <= data[0] <= 0x7F:
        raise ParseError("no ChannelData: too short or no channel number")
    size = data[2] << 8 | data[3]
    if size > len(data) - HEADER_SIZE:
        raise ParseError(f"ChannelData announces {size} bytes and holds {len(data) - HEADER_SIZE}")
    return data[0] << 8 | data[1], data[HEADER_SIZE : HEADER_SIZE + size]


def serialize_channel_data(channel: int, payload: bytes, *, stream: bool = False) -> bytes:
    """One ChannelData message; `stream` pads it as TCP and TLS demand."""
    size = len(payload)
    if size > 0xFFFF or not FIRST_CHANNEL <= channel <= LAST_OLD_CHANNEL:
        raise UsageError(f"{size} bytes on channel 0x{channel:04X}")
    head = channel.to_bytes(2, "big") + size.to_bytes(2, "big")
    if stream and size % 4:
        return head + payload + bytes(4 - size % 4)
    return head + payload


class StreamFramer:
    """Cuts what a stream brings into whole STUN messages and (still padded) ChannelData messages.

    Holds at most one unfinished message, of at most `max_frame` bytes; that may be raised as trust grows.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self.max_frame = max_frame

    @property
    def waiting(self) -> int:
        """Bytes of an unfinished message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages completed by these bytes. Raises ParseError when the stream makes no sense.

        Messages completed before the senseless bytes are lost with the stream.
        """
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        at = 0
        while (end := self._end_of_frame(at)) is not None and end <= len(buffer):
            frames.append(bytes(buffer[at:end]))
            at = end
        del buffer[:at]
        return frames

    def _end_of_frame(self, at: int) -> int | None:
        buffer = self._buffer
        left = len(buffer) - at
        if not left:
            return None
        first = buffer[at]
        if first < 4:
            cookie = bytes(buffer[at + 4 : at + 8])
            if cookie != _COOKIE[: len(cookie)]:
                raise ParseError("a STUN message without magic cookie on the stream")
            header = _STUN_HEADER
        elif 0x40 <= first <= 0x7F:
            header = HEADER_SIZE
        else:
            raise ParseError(f"byte 0x{first:02X} starts neither STUN nor ChannelData on the stream")
        if left < 4:
            return None
        size = buffer[at + 2] << 8 | buffer[at + 3]
        if first < 4 and size % 4:
            raise ParseError("a STUN message whose length is not a multiple of 4 on the stream")
        total = header + size + -size % 4
        if total > self.max_frame:
            raise ParseError(f"a message of {total} bytes on the stream, at most {self.max_frame} are taken")
        return at + total
