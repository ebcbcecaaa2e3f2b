"""What the oracle promises of a call beyond its path, on networks that can be reckoned by hand.

That real agents keep the promises is the grid's to show.
"""

from __future__ import annotations

import pytest

from iceway.ice.config import TA
from iceway.lab import topologies
from iceway.lab.grid.networks import topology
from iceway.lab.grid.play import expectation
from iceway.lab.oracle import Path
from iceway.lab.oracle_budget import expect
from iceway.lab.topology import Firewall

NET, LAN = 0.020, 0.0005  # one way, of the grid's topologies


@pytest.mark.parametrize(
    ("left", "right", "path", "types", "one_way"),
    [
        ("open", "open", Path.HOST, {("host", "host")}, NET),
        ("ipv6", "dual-stack", Path.HOST, {("host", "host")}, LAN + NET + LAN),
        ("full-cone", "open", Path.REFLEXIVE, {("srflx", "host")}, LAN + NET),
        ("double-nat", "open", Path.REFLEXIVE, {("srflx", "host")}, LAN + 0.004 + NET),
        ("vpn", "symmetric", Path.RELAY_UDP, {("srflx", "relay"), ("relay", "prflx")}, 2 * (LAN + NET)),
        ("ipv6", "open", Path.RELAY_UDP, {("relay", "host")}, LAN + 2 * NET),
        ("no-udp", "ipv6", Path.RELAY_TCP, {("relay", "relay")}, 2 * (LAN + NET)),
        ("web-only", "no-udp", Path.RELAY_TLS, {("relay", "relay")}, 2 * (LAN + NET)),
    ],
)
def test_path_types_and_round_trip(
    left: str, right: str, path: Path, types: set[tuple[str, str]], one_way: float
) -> None:
    expected = expectation(topology(left, right))
    assert (expected.path, expected.types) == (path, types)
    assert expected.round_trip == pytest.approx(2 * one_way)


def test_with_nothing_in_the_way_the_budget_is_one_round_trip() -> None:
    assert expectation(topology("open", "open")).to_connect == pytest.approx(1.0)


def test_two_port_restricted_nats_cost_two_turns_in_the_queue_and_half_a_round_trip() -> None:
    """The private address is checked first; the second check may come too early and be answered by a third."""
    expected = expectation(topology("port-restricted", "port-restricted"))
    round_trip = 2 * (LAN + NET + LAN)
    assert expected.to_connect == pytest.approx((2 * TA + 1.5 * round_trip) / round_trip)


@pytest.mark.parametrize("right", ["open", "port-restricted", "symmetric", "web-only"])
def test_every_dead_interface_costs_turns_in_the_queue(right: str) -> None:
    dead, alone = (expectation(topology(left, right)) for left in ("vpn", "port-restricted"))
    assert dead.path is alone.path
    assert (dead.to_connect or 0) > (alone.to_connect or 0)


def test_without_a_path_nothing_else_is_promised() -> None:
    office = topologies.reflexive().with_router(
        "home-nat", firewall=Firewall(block_udp=True, tcp_ports=(25,))
    )
    expected = expect(
        office, "alice", "bob", "edge", relay_port=3478, tls_port=443, ta=TA, patience=0.4, longest_wait=3.0
    )
    assert expected.path is Path.NONE
    assert (expected.types, expected.round_trip, expected.to_connect) == (frozenset(), None, None)
