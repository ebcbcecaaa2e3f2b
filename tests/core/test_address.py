"""Addresses: canonical text, and nothing taken that is no IP literal and port."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.address import Address, Transport, canonical_ip, is_ip, site_of, split_host_port
from iceway.core.errors import ParseError


@pytest.mark.parametrize(
    ("text", "expected", "family"),
    [
        ("192.0.2.1:5060", Address("192.0.2.1", 5060), 4),
        ("[2001:db8::1]:5060", Address("2001:db8::1", 5060), 6),
        ("[2001:DB8:0::0001]:1", Address("2001:db8::1", 1), 6),
        ("0.0.0.0:0", Address("0.0.0.0", 0), 4),
        ("[::]:65535", Address("::", 65535), 6),
    ],
)
def test_parses_and_prints_canonically(text: str, expected: Address, family: int) -> None:
    address = Address.parse(text)
    assert address == expected
    assert address.family == family
    assert Address.parse(str(address)) == address


def test_a_default_port_fills_a_missing_one_only() -> None:
    assert Address.parse("192.0.2.1", 3478).port == 3478
    assert Address.parse("[2001:db8::1]", 3478) == Address("2001:db8::1", 3478)
    assert Address.parse("192.0.2.1:5", 3478).port == 5
    with pytest.raises(ParseError, match="names no port"):
        Address.parse("192.0.2.1")


@pytest.mark.parametrize(
    "text",
    ["", ":", "host:1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:+1", "192.0.2.1:١",
     "192.0.2.1:000001", "[::1", "[::1]x:1", "[::1]:", "256.0.0.1:1", "[]:1", "1.2.3:4", " 192.0.2.1:1"],
)  # fmt: skip
def test_what_is_no_address_is_a_parse_error(text: str) -> None:
    with pytest.raises(ParseError):
        Address.parse(text)


def test_ports_out_of_range_are_refused() -> None:
    for port in (-1, 65536):
        with pytest.raises(ParseError):
            Address.of("192.0.2.1", port)


def test_hosts_and_ports_split() -> None:
    assert split_host_port("example.test") == ("example.test", None)
    assert split_host_port("example.test:443") == ("example.test", 443)
    assert split_host_port("[2001:db8::1]") == ("2001:db8::1", None)
    assert split_host_port("2001:db8::1") == ("2001:db8::1", None)


def test_ip_literals_are_told_from_names() -> None:
    assert is_ip("192.0.2.1")
    assert is_ip("[2001:db8::1]")
    assert not is_ip("example.test")
    assert canonical_ip("[2001:DB8::0:1]") == "2001:db8::1"


def test_streams_are_tcp_and_tls() -> None:
    assert [transport.is_stream for transport in (Transport.UDP, Transport.TCP, Transport.TLS)] == [
        False,
        True,
        True,
    ]


@given(st.text(max_size=60))
def test_no_text_raises_anything_but_a_parse_error(text: str) -> None:
    try:
        address = Address.parse(text, 1)
    except ParseError:
        return
    assert Address.parse(str(address)) == address


@given(st.ip_addresses(), st.integers(min_value=0, max_value=65535))
def test_every_address_survives_its_text(ip: object, port: int) -> None:
    address = Address.of(str(ip), port)
    assert Address.parse(str(address)) == address


def test_one_host_is_one_site_however_many_addresses_it_has() -> None:
    assert site_of("192.0.2.1") == "192.0.2.1"
    assert site_of("192.0.2.1") != site_of("192.0.2.2")
    assert site_of("2001:db8::1") == site_of("2001:db8::ffff:1:2:3")
    assert site_of("2001:db8::1") != site_of("2001:db8:0:1::1")
