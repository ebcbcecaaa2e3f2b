"""How far addresses reach."""

from __future__ import annotations

import pytest

from iceway.ice.scope import Scope, is_private, scope_of, usable_interfaces


@pytest.mark.parametrize(
    ("ip", "scope"),
    [
        ("127.0.0.1", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("169.254.1.1", Scope.LOCAL),
        ("fe80::1", Scope.LOCAL),
        ("224.0.0.1", Scope.LOCAL),
        ("ff02::1", Scope.LOCAL),
        ("0.0.0.0", Scope.LOCAL),
        ("255.255.255.255", Scope.LOCAL),
        ("not an address", Scope.LOCAL),
        ("10.0.0.1", Scope.USABLE),
        ("203.0.113.1", Scope.USABLE),
        ("2001:db8::1", Scope.USABLE),
    ],
)
def test_scopes(ip: str, scope: Scope) -> None:
    assert scope_of(ip) is scope


@pytest.mark.parametrize("ip", ["10.1.2.3", "172.31.0.1", "192.168.0.1", "100.64.0.1", "fd00::1"])
def test_private_addresses(ip: str) -> None:
    assert is_private(ip)


@pytest.mark.parametrize("ip", ["203.0.113.1", "198.51.100.1", "2001:db8::1", "172.32.0.1", "?"])
def test_others(ip: str) -> None:
    assert not is_private(ip)


def test_interfaces_keep_their_order_and_appear_once() -> None:
    assert usable_interfaces(("10.0.0.2", "::1", "10.0.0.1", "10.0.0.2")) == ("10.0.0.2", "10.0.0.1")
    assert usable_interfaces(("169.254.1.1", "::1", "127.0.0.1")) == ("::1", "127.0.0.1")
    assert usable_interfaces(()) == ()
