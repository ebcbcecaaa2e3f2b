"""Candidates: their order, and SDP's way to write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError
from iceway.ice.candidate import (
    Candidate,
    CandidateType,
    Foundations,
    NamedCandidate,
    local_preference,
    parse,
    priority,
    serialize,
)


def test_priority_follows_the_formula_of_rfc_8445_5_1_2_1() -> None:
    assert priority(CandidateType.HOST, 65535, 1) == 2130706431
    assert priority(CandidateType.SRFLX, 65535, 2) == (100 << 24) + (65535 << 8) + 254


def test_direct_beats_reflexive_beats_relay_over_udp_beats_tcp_beats_tls() -> None:
    worst_interface, best_interface = 5, 0
    order = [
        priority(CandidateType.HOST, local_preference(worst_interface), 1),
        priority(CandidateType.SRFLX, local_preference(best_interface), 1),
        priority(CandidateType.RELAY, local_preference(worst_interface, Transport.UDP), 1),
        priority(CandidateType.RELAY, local_preference(best_interface, Transport.TCP), 1),
        priority(CandidateType.RELAY, local_preference(worst_interface, Transport.TCP), 1),
        priority(CandidateType.RELAY, local_preference(best_interface, Transport.TLS), 1),
    ]
    assert order == sorted(order, reverse=True)
    assert len(set(order)) == len(order)


def test_local_preference_stays_in_16_bits_however_many_addresses() -> None:
    assert local_preference(0) == 65535
    assert 0 <= local_preference(10**6, Transport.TLS) < 65536


def test_a_candidate_as_rfc_8839_writes_it() -> None:
    candidate = parse(
        "a=candidate:2 1 UDP 1694498815 203.0.113.141 8998 typ srflx raddr 192.0.2.1 rport 5000 generation 0"
    )
    assert candidate.type is CandidateType.SRFLX
    assert candidate.address == Address("203.0.113.141", 8998)
    assert candidate.related == Address("192.0.2.1", 5000)
    assert candidate.extensions == (("generation", "0"),)
    assert candidate.transport is Transport.UDP


def test_addresses_become_canonical_so_that_they_compare() -> None:
    assert parse("1 1 udp 5 2001:DB8:0:0::1 9 typ host").address == Address("2001:db8::1", 9)


def test_a_hidden_related_address_is_none() -> None:
    line = "1 1 udp 5 192.0.2.1 9 typ srflx raddr abc.local rport 0"
    assert parse(line).related is None


def test_candidates_over_tcp_keep_their_type() -> None:
    candidate = parse("1 1 TCP 5 192.0.2.1 9 typ host tcptype active")
    assert (candidate.transport, candidate.tcp_type) == (Transport.TCP, "active")
    assert serialize(candidate) == "1 1 TCP 5 192.0.2.1 9 typ host tcptype active"


def test_a_candidate_whose_address_is_hidden_has_a_name_until_that_is_found() -> None:
    """As Chromium writes it."""
    line = (
        "candidate:1467250027 1 udp 2122260223 5ce7ab0a-7a1f-4a2f-8e9b-01b1d8c1f5a7.local 46243 typ host"
        " generation 0 ufrag x network-cost 999"
    )
    named = parse(line)
    assert isinstance(named, NamedCandidate)
    assert (named.name, named.port) == ("5ce7ab0a-7a1f-4a2f-8e9b-01b1d8c1f5a7.local", 46243)
    assert f"candidate:{serialize(named)}".lower() == line
    found = named.at("192.0.2.1")
    assert (found.address, found.priority, found.type) == (Address("192.0.2.1", 46243), 2122260223, "host")
    assert parse(serialize(found)) == named, "told again it is told by its name"
    assert parse("1 1 udp 5 ABC.Local 9 typ host") == parse("1 1 udp 5 abc.local 9 typ host")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "is no candidate"),
        ("1 1 udp 5 192.0.2.1 9 typ", "is no candidate"),
        ("1 1 udp 5 192.0.2.1 9 typ magic", "not a candidate type"),
        ("1 1 udp 5 192.0.2.1 70000 typ host", "not a port"),
        ("1 1 udp 0 192.0.2.1 9 typ host", "not a priority"),
        ("1 1 udp 4294967296 192.0.2.1 9 typ host", "not a priority"),
        ("1 0 udp 5 192.0.2.1 9 typ host", "not a component"),
        ("1 257 udp 5 192.0.2.1 9 typ host", "not a component"),
        ("1 1 sctp 5 192.0.2.1 9 typ host", "not a transport"),
        ("1 1 udp 5 abc.test 9 typ host", "not an IP address"),
        ("1 1 udp 5 a.b.local 9 typ host", "not an IP address"),
        ("1 1 udp 5 local 9 typ host", "not an IP address"),
        ("1 1 udp 5 -a.local 9 typ host", "not an IP address"),
        ("1 1 udp 5 abc.local 9 typ srflx", "not an IP address"),
        ("1 1 udp 5 abc.local 70000 typ host", "not a port"),
        ("é 1 udp 5 192.0.2.1 9 typ host", "not a foundation"),
        ("1 1 udp 5 192.0.2.1 9 typ host generation", "no value"),
        ("1 1 udp ٥ 192.0.2.1 9 typ host", "not a priority"),
        ("1 1 udp 5 192.0.2.1 9 typ host " + "x y " * 1000, "longer than"),
    ],
)
def test_what_is_no_candidate_is_refused_with_a_reason(line: str, why: str) -> None:
    with pytest.raises(ParseError, match=why):
        parse(line)


@settings(max_examples=200)
@given(st.one_of(st.text(max_size=120), st.text("0123456789 typhosudrlx.:", max_size=120)))
def test_no_text_raises_anything_but_a_parse_error(text: str) -> None:
    with contextlib.suppress(ParseError):
        parse(text)


addresses = st.builds(
    Address,
    st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)),
    st.integers(0, 65535),
)
candidates = st.builds(
    Candidate,
    type=st.sampled_from(CandidateType),
    address=addresses,
    priority=st.integers(1, 2**31 - 1),
    foundation=st.text("abcXYZ019+/", min_size=1, max_size=32),
    component=st.integers(1, 256),
    transport=st.sampled_from([Transport.UDP, Transport.TCP]),
    related=st.none() | addresses,
    tcp_type=st.none() | st.sampled_from(["active", "passive", "so"]),
    extensions=st.lists(
        st.tuples(st.sampled_from(["generation", "network-cost", "ufrag"]), st.text("abc019", min_size=1)),
        max_size=3,
    ).map(tuple),
)


@settings(max_examples=200)
@given(candidates)
def test_what_is_written_is_read_again(candidate: Candidate) -> None:
    assert parse(serialize(candidate)) == candidate


def test_equal_kinds_share_a_foundation_and_others_do_not() -> None:
    # RFC 8445 §5.1.1.3: type, base IP, server and the transport to it.
    foundations = Foundations()
    host = foundations.of(CandidateType.HOST, "10.0.0.1")
    assert foundations.of(CandidateType.HOST, "10.0.0.1") == host
    others = [
        foundations.of(CandidateType.HOST, "10.0.0.2"),
        foundations.of(CandidateType.SRFLX, "10.0.0.1", "198.51.100.2"),
        foundations.of(CandidateType.SRFLX, "10.0.0.1", "198.51.100.3"),
        foundations.of(CandidateType.RELAY, "198.51.100.2", "198.51.100.2", Transport.UDP),
        foundations.of(CandidateType.RELAY, "198.51.100.2", "198.51.100.2", Transport.TCP),
    ]
    assert len({host, *others}) == 6
