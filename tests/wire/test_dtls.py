"""The outside of DTLS records: what is whole, what is not, and how flights are cut into datagrams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.dtls import HEADER, datagrams, is_dtls, is_hello, parse_records


def record(size: int, content_type: int = 22, epoch: int = 0) -> bytes:
    head = bytes([content_type, 0xFE, 0xFD]) + epoch.to_bytes(2) + bytes(6)
    return head + (size - HEADER).to_bytes(2) + bytes(size - HEADER)


def test_the_records_of_a_datagram() -> None:
    first, second = parse_records(record(40) + record(61, 20, epoch=1))
    assert (first.content_type, first.epoch, first.size) == (22, 0, 40)
    assert (second.content_type, second.epoch, second.size) == (20, 1, 61)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x16\xfe\xfd", "3 bytes"),
        (record(40)[:-1], "a record of 40 bytes in 39"),
        (record(40, 63), "content type 63"),
        (b"\x16\x03\x03" + record(40)[3:], "version 0303"),
        (record(40) + b"\0", "1 bytes"),
    ],
)
def test_what_is_no_whole_record(data: bytes, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        parse_records(data)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_readers(data: bytes) -> None:
    is_dtls(data)
    is_hello(data)
    try:
        found = parse_records(data)
    except ParseError:
        return
    assert sum(one.size for one in found) == len(data)


@given(st.lists(st.integers(HEADER, 1200), max_size=12))
def test_datagrams_end_where_records_do(sizes: list[int]) -> None:
    whole = b"".join(map(record, sizes))
    cut = datagrams(whole)
    assert b"".join(cut) == whole
    for datagram in cut:
        assert len(datagram) <= 1200
        parse_records(datagram)
