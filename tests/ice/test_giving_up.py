"""When paths that worked die before one was selected, and when checks would go on for ever: it ends, with a reason."""

from __future__ import annotations

from iceway.ice.events import Failed, PairValid
from tests.ice.harness import EDGE, INDEPENDENT, PORT, Nat, Network, exchange, turn
from tests.ice.test_agreement import nominates


def test_paths_that_worked_and_died_are_not_mourned_one_after_the_other() -> None:
    """Nine valid pairs, each good for a nomination of 9.5 s or a consent of 30 s."""
    network = Network()
    alice, bob = (
        network.agent(name, {f"{net}.{n}": None for n in range(1, 4)}, controlling=name == "alice")
        for name, net in (("alice", "203.0.113"), ("bob", "198.51.100"))
    )
    for peer in (alice, bob):
        peer.gather()
    network.run(0.1)
    network.drop = lambda source, target, data: nominates(data)
    exchange(alice, bob)
    assert network.run(5, until=lambda: bool(alice.events(PairValid) and bob.events(PairValid)))
    network.run(0.4)
    network.drop = lambda source, target, data: True
    assert network.run(85, until=lambda: bool(alice.events(Failed) and bob.events(Failed)))
    assert "that nominated it" in alice.events(Failed)[0].reason


def test_checks_that_call_forth_checks_end() -> None:
    """Both NATs map every destination anew and let anybody in, so each check arrives and shows a new address, whose
    answer takes another way back; the relay that would help is silent."""
    network = Network()
    network.nats = {
        "home": Nat("198.51.100.10", PORT, INDEPENDENT),
        "hq": Nat("198.51.100.20", PORT, INDEPENDENT),
    }
    network.edge()
    alice = network.agent("alice", {"192.168.1.10": "home"}, controlling=True, patience=5)
    bob = network.agent("bob", {"10.0.0.20": "hq"}, controlling=False, patience=5)
    for peer in (alice, bob):
        peer.gather(turn())
    network.run(1)
    network.drop = lambda source, target, data: EDGE in (source.ip, target.ip)
    exchange(alice, bob)
    assert network.run(11, until=lambda: bool(alice.events(Failed) and bob.events(Failed)))
