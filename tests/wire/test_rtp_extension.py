"""Elements of RTP's header extension: found among others, and never where there are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.wire.rtp import RtpPacket, parse_rtp, serialize_rtp
from iceway.wire.rtp_extension import NUMBERS, find_element, serialize_element


def packet(extension: tuple[int, bytes] | None, csrcs: tuple[int, ...] = ()) -> bytes:
    return serialize_rtp(RtpPacket(96, 1, 2, 3, b"payload", csrcs=csrcs, extension=extension))


@given(st.sampled_from(NUMBERS), st.binary(min_size=1, max_size=16), st.integers(0, 15))
def test_what_is_written_is_found(number: int, value: bytes, csrcs: int) -> None:
    data = packet(serialize_element(number, value), tuple(range(csrcs)))
    assert find_element(data, number) == value
    assert find_element(data, number % 14 + 1) is None
    assert parse_rtp(data).payload == b"payload"


def test_elements_among_others_in_both_forms() -> None:
    # RFC 8285 §4.2 and §4.3: padding between elements, any order.
    one = packet((0xBEDE, bytes.fromhex("10ff 00 00 22aabbcc 4031".replace(" ", "")) + bytes(2)))
    assert [find_element(one, number) for number in (1, 2, 4, 5)] == [b"\xff", b"\xaa\xbb\xcc", b"1", None]
    two = packet((0x1000, bytes.fromhex("0100 00 0402 3132 1401 aa".replace(" ", "")) + bytes(2)))
    assert [find_element(two, number) for number in (1, 4, 20)] == [b"", b"12", b"\xaa"]
    assert find_element(packet((0xBEDE, bytes.fromhex("f0aa4031"))), 4) is None
    assert find_element(packet((0x1234, bytes.fromhex("10ff4031"))), 1) is None
    assert find_element(packet(None), 1) is None


@pytest.mark.parametrize(("number", "value"), [(0, b"1"), (15, b"1"), (1, b""), (1, b"x" * 17)])
def test_what_does_not_fit_is_told(number: int, value: bytes) -> None:
    with pytest.raises(ValueError, match="another form"):
        serialize_element(number, value)


@given(st.binary(max_size=60), st.integers(0, 255))
def test_any_bytes_may_be_asked(data: bytes, number: int) -> None:
    found = find_element(data, number)
    assert found is None or found in data
    marked = bytes([0x90]) + data
    found = find_element(marked, number)
    assert found is None or found in marked
