"""Reports that tools for browsers' statistics can read."""

from __future__ import annotations

import json

import pytest

from iceway.core.address import Transport
from iceway.ice.config import Policy
from tests.ice.harness import Nat, Network, Peer, exchange, mirrored, turn

HOME = "198.51.100.10"


def called(**config: object) -> tuple[Network, Peer, Peer]:
    network = Network()
    network.edge()
    network.nats["home"] = Nat(HOME)
    alice = network.agent("alice", {"192.168.1.10": "home"}, controlling=True, **config)
    bob = network.agent("bob", {"203.0.113.20": None}, controlling=False)
    alice.gather(turn(transport=Transport.TCP), turn())
    bob.gather()
    network.run(1)
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    return network, alice, bob


def reported(peer: Peer, kind: str) -> list[dict]:
    entries = peer.agent.statistics(peer.now)
    assert json.loads(json.dumps(entries)) == entries
    assert all(entry["id"] == id for id, entry in entries.items())
    return [entry for entry in entries.values() if entry["type"] == kind]


def test_before_anything_happened_there_is_a_transport() -> None:
    alice = Network().agent("alice", {}, controlling=True)
    assert reported(alice, "transport") == [
        {
            "type": "transport",
            "id": "alice/ice/1",
            "iceState": "new",
            "iceRole": "controlling",
            "iceLocalUsernameFragment": alice.agent.local_ufrag,
            "selectedCandidatePairChanges": 0,
            "packetsSent": 0,
            "packetsReceived": 0,
            "bytesSent": 0,
            "bytesReceived": 0,
            "timestamp": 1_000_000.0,
        }
    ]


def test_the_selected_pair_and_its_candidates_are_found_by_their_ids() -> None:
    _, alice, _ = called()
    entries = alice.agent.statistics(alice.now)
    (transport,) = reported(alice, "transport")
    assert transport["iceState"] == "completed"
    pair = entries[transport["selectedCandidatePairId"]]
    assert (pair["state"], pair["nominated"], pair["transportId"]) == ("succeeded", True, transport["id"])
    local, remote = entries[pair["localCandidateId"]], entries[pair["remoteCandidateId"]]
    assert (local["type"], local["candidateType"], local["address"]) == ("local-candidate", "srflx", HOME)
    assert (remote["candidateType"], remote["address"], remote["protocol"]) == ("host", "203.0.113.20", "udp")
    assert sum(pair["nominated"] for pair in reported(alice, "candidate-pair")) == 1


def test_packets_and_bytes_are_counted_where_they_went() -> None:
    network, alice, bob = called()
    for size in (100, 200):
        alice.says(bytes([255]) * size)
    bob.says(b"\xff" * 7)
    network.run(1)
    for peer, sent, received in ((alice, (2, 300), (1, 7)), (bob, (1, 7), (2, 300))):
        (pair,) = [pair for pair in reported(peer, "candidate-pair") if pair["nominated"]]
        assert (pair["packetsSent"], pair["bytesSent"]) == sent
        assert (pair["packetsReceived"], pair["bytesReceived"]) == received


def test_checks_and_consent_are_counted_with_their_round_trips() -> None:
    network, alice, bob = called()
    network.run(60)
    (pair,) = [pair for pair in reported(alice, "candidate-pair") if pair["nominated"]]
    assert 9 <= pair["consentRequestsSent"] <= 16
    assert pair["responsesReceived"] == pair["consentRequestsSent"] + pair["requestsSent"]
    assert pair["currentRoundTripTime"] == pytest.approx(0.04)
    assert pair["totalRoundTripTime"] == pytest.approx(0.04 * pair["responsesReceived"])
    (theirs,) = [pair for pair in reported(bob, "candidate-pair") if pair["nominated"]]
    assert theirs["requestsReceived"] == theirs["responsesSent"] >= pair["consentRequestsSent"]


def test_relayed_candidates_say_how_the_relay_is_reached() -> None:
    _, alice, _ = called(policy=Policy.RELAY)
    relays = [c for c in reported(alice, "local-candidate") if c["candidateType"] == "relay"]
    assert {c["relayProtocol"] for c in relays} == {"udp", "tcp"}
    assert all(c["url"].startswith("turn:198.51.100.2:") for c in relays)


def test_candidates_without_a_pair_are_reported_too() -> None:
    """A reflexive candidate sends from its host's address, so that no pair is its own."""
    _, alice, bob = called()
    told = {(entry["candidateType"], entry["address"]) for entry in reported(alice, "local-candidate")}
    assert ("srflx", HOME) in told
    assert {kind for kind, _ in told} == {"host", "srflx", "relay"}
    assert all(e["usernameFragment"] == alice.agent.local_ufrag for e in reported(alice, "local-candidate"))
    assert all(e["usernameFragment"] == bob.agent.local_ufrag for e in reported(alice, "remote-candidate"))


def test_gathering_is_no_state_of_a_transport() -> None:
    network = Network()
    network.edge()
    alice = network.agent("alice", {"203.0.113.20": None}, controlling=True)
    alice.gather(turn())
    (transport,) = reported(alice, "transport")
    assert transport["iceState"] == "new"


def test_a_transport_sums_up_its_pairs() -> None:
    network, alice, _ = called()
    alice.says(b"\xff" * 100)
    network.run(1)
    (transport,) = reported(alice, "transport")
    assert (transport["packetsSent"], transport["bytesSent"]) == (1, 100)
