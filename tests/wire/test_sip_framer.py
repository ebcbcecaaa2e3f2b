"""Messages and keep-alives in a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.sip import Keepalive, MalformedMessage, StreamFramer

ONE = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 5\r\n\r\n\r\n\r\nx"
TWO = b"SIP/2.0 200 OK\r\nCall-ID: 2\r\nl:\r\n 0\r\n\r\n"


def frames(framer: StreamFramer, *chunks: bytes) -> list[bytes | Keepalive]:
    found: list[bytes | Keepalive] = []
    for chunk in chunks:
        framer.feed(chunk)
        while (frame := framer.next_frame()) is not None:
            found.append(frame)
    return found


def test_messages_come_out_whole() -> None:
    framer = StreamFramer(opened=False)
    assert frames(framer, ONE + TWO[:10], TWO[10:]) == [ONE, TWO]
    assert not framer.holds_partial
    assert frames(framer, ONE[:-1]) == []
    assert framer.holds_partial


def test_a_server_hears_pings_and_a_client_pongs() -> None:
    assert frames(StreamFramer(opened=False), b"\r\n", b"\r\n" + ONE) == [Keepalive.PING, ONE]
    assert frames(StreamFramer(opened=True), b"\r\n\r", b"\n" + TWO) == [Keepalive.PONG, Keepalive.PONG, TWO]


def test_a_stray_line_end_before_a_message_is_no_half_ping() -> None:
    assert frames(StreamFramer(opened=False), b"\r\n" + ONE + b"\r\n" + TWO + b"\r\n\r\n") == [
        ONE,
        TWO,
        Keepalive.PING,
    ]


@given(st.lists(st.sampled_from([ONE, TWO, b"\r\n\r\n", b"\r\n"]), max_size=6), st.booleans(), st.data())
def test_how_the_bytes_are_cut_does_not_matter(parts: list[bytes], opened: bool, data: st.DataObject) -> None:
    stream = b"".join(parts)
    whole = frames(StreamFramer(opened), stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert frames(StreamFramer(opened), *chunks) == whole
    assert frames(StreamFramer(opened), *(bytes([b]) for b in stream)) == whole


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1", 400),
        (b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: -1", 400),
        (b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 1\r\nl: 2", 400),
        (b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 1048577", 513),
        (b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 99999999999999999999999", 400),
    ],
)
def test_a_length_that_cannot_be_trusted_ends_the_stream(head: bytes, status: int) -> None:
    with pytest.raises(MalformedMessage) as caught:
        frames(StreamFramer(opened=False), head + b"\r\n\r\n")
    assert caught.value.status == status
    assert caught.value.request is not None


def test_headers_are_limited_even_before_they_end() -> None:
    framer = StreamFramer(opened=False, max_head=100)
    with pytest.raises(MalformedMessage, match="larger than 100"):
        frames(framer, b"OPTIONS sip:a@b SIP/2.0\r\nX: " + b"y" * 100)


@given(st.lists(st.binary(max_size=40), max_size=5), st.booleans())
def test_no_bytes_raise_anything_but_a_parse_error(chunks: list[bytes], opened: bool) -> None:
    try:
        frames(StreamFramer(opened, max_head=50, max_body=20), *chunks)
    except ParseError:
        return
