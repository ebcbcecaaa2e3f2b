"""ChannelData and the stream framer: padding, halves, single bytes, garbage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.errors import ParseError, UsageError
from iceway.wire import stun
from iceway.wire.channel_data import (
    StreamFramer,
    is_channel_data,
    parse_channel_data,
    serialize_channel_data,
)
from iceway.wire.stun import MessageClass, Method, StunMessage

BINDING = stun.serialize(StunMessage(Method.BINDING, MessageClass.REQUEST, bytes(12), (stun.SOFTWARE("x"),)))


def test_over_udp_nothing_is_padded() -> None:
    data = serialize_channel_data(0x4001, b"hello")
    assert data == b"\x40\x01\x00\x05hello"
    assert is_channel_data(data)
    assert parse_channel_data(data) == (0x4001, b"hello")


def test_over_a_stream_it_is_padded_and_the_length_does_not_count_it() -> None:
    """RFC 8656 §12.5."""
    data = serialize_channel_data(0x4FFF, b"hello", stream=True)
    assert data == b"\x4f\xff\x00\x05hello\0\0\0"
    assert parse_channel_data(data) == (0x4FFF, b"hello")
    assert len(serialize_channel_data(0x4000, b"four", stream=True)) == 8


def test_channels_of_rfc_5766_are_read_but_not_guessed_at() -> None:
    """Older clients number up to 0x7FFE; on a socket shared with others such a byte may mean anything."""
    data = serialize_channel_data(0x7FFE, b"x")
    assert parse_channel_data(data) == (0x7FFE, b"x")
    assert not is_channel_data(data)


@pytest.mark.parametrize("data", [b"", b"\x40\x00\x00", b"\x40\x00\x00\x01", b"\x80\x00\x00\x00", BINDING])
def test_what_is_no_channel_data_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_channel_data(data)


@pytest.mark.parametrize(("channel", "payload"), [(0x3FFF, b""), (0x7FFF, b""), (0x4000, bytes(65536))])
def test_what_cannot_be_written_is_the_callers_fault(channel: int, payload: bytes) -> None:
    with pytest.raises(UsageError):
        serialize_channel_data(channel, payload)


def test_the_framer_splits_what_came_together_and_keeps_halves() -> None:
    voice = serialize_channel_data(0x4000, b"abcde", stream=True)
    framer = StreamFramer()
    assert framer.feed(BINDING + voice + BINDING[:7]) == [BINDING, voice]
    assert framer.waiting == 7
    assert framer.feed(BINDING[7:]) == [BINDING]
    assert framer.waiting == 0


def test_the_framer_works_byte_by_byte() -> None:
    voice = serialize_channel_data(0x4000, b"abcde", stream=True)
    framer = StreamFramer()
    frames = [frame for byte in BINDING + voice + BINDING for frame in framer.feed(bytes([byte]))]
    assert frames == [BINDING, voice, BINDING]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x16\x03\x01", "starts neither"),
        (b"\x00\x01\x00\x08\x21\x12\xa4\x43", "magic cookie"),
        (b"\x00\x01\x00\x08\x21\x13", "magic cookie"),
        (b"\x00\x01\x00\x07", "multiple of 4"),
        (b"\x40\x00\x03\xe9", "1008 bytes"),
    ],
)
def test_garbage_ends_the_stream_as_soon_as_it_shows(data: bytes, why: str) -> None:
    with pytest.raises(ParseError, match=why):
        StreamFramer(max_frame=1000).feed(data)


_frames = st.lists(
    st.just(BINDING)
    | st.builds(
        serialize_channel_data, st.integers(0x4000, 0x4FFF), st.binary(max_size=30), stream=st.just(True)
    ),
    max_size=8,
)


@given(_frames, st.lists(st.integers(1, 40), min_size=1, max_size=10))
@settings(max_examples=100)
def test_however_the_bytes_arrive_the_same_messages_come_out(frames: list[bytes], cuts: list[int]) -> None:
    stream, framer, found, turn = b"".join(frames), StreamFramer(), [], 0
    while stream:
        size = cuts[turn % len(cuts)]
        found += framer.feed(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert found == frames


@given(st.lists(st.binary(max_size=60), max_size=6))
@settings(max_examples=150)
def test_the_framer_raises_nothing_but_its_own_error(pieces: list[bytes]) -> None:
    framer = StreamFramer(max_frame=100)
    try:
        for piece in pieces:
            framer.feed(piece)
            assert framer.waiting <= 100
    except ParseError:
        pass


@given(st.binary(max_size=60))
@settings(max_examples=150)
def test_the_parser_raises_nothing_but_its_own_error(data: bytes) -> None:
    try:
        channel, payload = parse_channel_data(data)
    except ParseError:
        return
    assert channel == 0x7FFF or data.startswith(serialize_channel_data(channel, payload))
