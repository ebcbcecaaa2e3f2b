"""Two agents, a network between them, and what they make of it."""

from __future__ import annotations

from tests.ice.harness import Network, exchange, mirrored


def lan() -> tuple[Network, object, object]:
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True)
    bob = network.agent("bob", {"10.0.0.2": None}, controlling=False)
    return network, alice, bob


def test_two_hosts_in_one_network_meet_directly() -> None:
    network, alice, bob = lan()
    alice.gather()
    bob.gather()
    network.run(0.1)
    exchange(alice, bob)
    assert network.run(2, until=lambda: mirrored(alice, bob))
    assert alice.agent.selected.local.type == "host"
    alice.says(b"hello")
    bob.says(b"hi")
    network.run(0.1)
    assert bob.heard == [b"hello"]
    assert alice.heard == [b"hi"]
