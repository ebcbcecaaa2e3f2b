from __future__ import annotations

import socket
import subprocess

import pytest

from iceway.io import addresses
from iceway.io.addresses import order_addresses, usable_addresses


def test_the_default_route_comes_first_and_ipv4_before_ipv6() -> None:
    found = ["127.0.0.1", "172.17.0.1", "10.0.0.5", "::1", "fe80::1", "fd00::7", "2001:db8::5"]
    assert order_addresses(found, default=["10.0.0.5", "2001:db8::5"]) == (
        "10.0.0.5",
        "172.17.0.1",
        "2001:db8::5",
        "fd00::7",
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["127.0.0.1", "::1", "fe80::1"], ("127.0.0.1", "::1")),
        (["169.254.3.4"], ("127.0.0.1",)),
        ([], ("127.0.0.1",)),
    ],
)
def test_loopback_is_used_when_it_is_all_there_is(found: list[str], expected: tuple[str, ...]) -> None:
    assert order_addresses(found) == expected


def test_the_addresses_of_this_machine_can_be_bound() -> None:
    for ip in usable_addresses():
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))


def test_asking_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every driver asks every few seconds."""
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: started.append(args))
    assert usable_addresses()
    assert not started


def test_a_system_that_will_not_list_its_interfaces_is_asked_for_its_routes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses() -> list[str]:
        raise OSError

    monkeypatch.setattr(addresses, "_interface_addresses", refuses)
    monkeypatch.setattr(addresses, "_route_addresses", lambda: ["10.0.0.5"])
    assert usable_addresses() == ("10.0.0.5",)
