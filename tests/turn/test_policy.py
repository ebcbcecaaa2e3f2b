"""The peer policy: what is refused, in every spelling, and what the operator may allow."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.errors import UsageError
from iceway.turn.policy import PeerPolicy

POLICY = PeerPolicy()


@pytest.mark.parametrize(
    "ip",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "2001:0:1:2::3",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_only_the_relay_can_reach_is_refused(ip: str) -> None:
    text = str(ipaddress.ip_address(ip))
    reason = POLICY.refusal(text)
    assert reason is not None
    assert reason.startswith(text)


@pytest.mark.parametrize(
    "ip",
    [
        "8.8.8.8",
        "172.32.0.1",
        "172.15.255.255",
        "100.63.255.255",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "2001:db8::1",
        "2001:4860:4860::8888",
        "2a00::1",
    ],
)
def test_the_internet_and_the_documentation_ranges_are_allowed(ip: str) -> None:
    assert POLICY.refusal(ip) is None


@given(st.ip_addresses(v=4))
@settings(max_examples=200)
def test_no_ipv6_spelling_of_an_ipv4_address_gets_through(ip: ipaddress.IPv4Address) -> None:
    value = int(ip)
    for spelling in (
        value,
        0xFFFF << 32 | value,
        0xFFFF << 48 | value,
        0x64_FF9B << 96 | value,
        0x2002 << 112 | value << 80,
        0x2001_0000 << 96 | (value ^ 0xFFFFFFFF),
    ):
        assert POLICY.refusal(str(ipaddress.IPv6Address(spelling))) is not None


def test_the_operator_may_allow_a_network() -> None:
    policy = PeerPolicy(["10.1.0.0/16", "fd00:1::/32"])
    assert policy.refusal("10.1.2.3") is None
    assert policy.is_exempt("10.1.2.3")
    assert policy.refusal("10.2.0.1") == "10.2.0.1 is private"
    assert policy.refusal("fd00:1::9") is None
    assert not policy.is_exempt("8.8.8.8")


def test_allowing_an_ipv4_network_does_not_allow_its_ipv6_spellings() -> None:
    assert PeerPolicy(["127.0.0.0/8"]).refusal("::ffff:7f00:1") is not None


def test_a_bad_network_is_named() -> None:
    with pytest.raises(UsageError, match=r"allow_peers: .*10\.0\.0\.1/8"):
        PeerPolicy(["10.0.0.1/8"])


def test_the_memory_of_judgements_is_bounded() -> None:
    policy = PeerPolicy()
    for number in range(10_050):
        policy.refusal(str(ipaddress.IPv4Address(0x08000000 + number)))
    assert len(policy._cache) <= 10_000
