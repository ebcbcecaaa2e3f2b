"""A TURN stream: however its bytes are cut into pieces, the same messages come out, and nothing but ParseError."""

from __future__ import annotations

from collections.abc import Iterator

from iceway.core.errors import ParseError
from iceway.wire import stun
from iceway.wire.channel_data import (
    FIRST_CHANNEL,
    HEADER_SIZE,
    LAST_OLD_CHANNEL,
    StreamFramer,
    is_channel_data,
    parse_channel_data,
    serialize_channel_data,
)
from tests.fuzz import stun as messages

FOUND: tuple[bytes, ...] = ()


def check(data: bytes) -> None:
    """The first byte says how long the pieces are."""
    if not data:
        return
    size, stream = data[0] + 1, data[1:]
    whole = _cut(stream, len(stream) or 1)
    assert _cut(stream, size) == whole
    for frame in whole[0]:
        if frame[0] < 4:
            messages.check(frame)
        else:
            _check_channel_data(frame)


def seeds() -> Iterator[bytes]:
    said = serialize_channel_data(FIRST_CHANNEL + 7, b"hello", stream=True)
    for message in messages.seeds():
        yield b"\x06" + said + message + said


def _cut(stream: bytes, size: int) -> tuple[list[bytes], bool]:
    """The messages, and whether the stream made sense to its end. Those before nonsense in a piece are lost."""
    framer, frames = StreamFramer(), []
    try:
        for at in range(0, len(stream), size):
            frames += framer.feed(stream[at : at + size])
    except ParseError:
        return [], False
    assert framer.waiting == len(stream) - sum(map(len, frames))
    return frames, True


def _check_channel_data(frame: bytes) -> None:
    channel, payload = parse_channel_data(frame)
    assert HEADER_SIZE + len(payload) <= len(frame) < HEADER_SIZE + len(payload) + 4
    if FIRST_CHANNEL <= channel <= LAST_OLD_CHANNEL:
        written = serialize_channel_data(channel, payload, stream=True)
        assert len(written) == len(frame)
        assert parse_channel_data(written) == (channel, payload)
        assert is_channel_data(written) is (channel < 0x5000)
    assert not stun.is_stun(frame)
