"""What a client knows of its peers: permissions, channels, queues, and when they are renewed."""

from __future__ import annotations

from iceway.core.address import Address
from iceway.turn.peers import (
    MAX_PEERS,
    PACKETS_BEFORE_CHANNEL,
    QUEUE_LIMIT,
    Peers,
    RenewChannel,
    RenewPermission,
)

PEER = Address("192.0.2.1", 7000)


def test_a_permission_is_asked_for_once_and_renewed_in_four_minutes() -> None:
    peers = Peers()
    assert peers.ask(PEER.ip)
    assert not peers.ask(PEER.ip)
    assert peers.next_at() is None
    assert peers.installed(PEER.ip, 100.0) == []
    assert peers.next_at() == 340.0
    assert list(peers.due(340.0)) == [RenewPermission(PEER.ip)]


def test_what_waited_comes_out_in_order_and_only_the_newest() -> None:
    peers = Peers()
    peers.ask(PEER.ip)
    for number in range(QUEUE_LIMIT + 5):
        peers.ips[PEER.ip].queue.append((PEER, b"%d" % number))
    waiting = peers.installed(PEER.ip, 0.0)
    assert [data for _, data in waiting] == [b"%d" % number for number in range(5, QUEUE_LIMIT + 5)]
    assert not peers.installed(PEER.ip, 0.0)


def test_a_refused_ip_stays_refused_and_a_forgotten_one_may_be_asked_again() -> None:
    peers = Peers()
    peers.ask("192.0.2.2")
    peers.refused("192.0.2.2")
    assert not peers.ask("192.0.2.2")
    peers.ask("192.0.2.3")
    peers.forget("192.0.2.3")
    assert peers.ask("192.0.2.3")


def test_a_channel_is_earned_by_packets_and_renewed_before_the_permission_ends() -> None:
    peers = Peers()
    earned = [peers.count(PEER) for _ in range(PACKETS_BEFORE_CHANNEL)]
    assert earned == [False] * (PACKETS_BEFORE_CHANNEL - 1) + [True]
    assert peers.ask_channel(PEER) == 0x4000
    assert peers.ask_channel(PEER) is None
    assert PEER not in peers.bound
    assert peers.by_channel == {0x4000: PEER}
    peers.channel_bound(PEER, 0.0)
    assert peers.bound == {PEER: 0x4000}
    assert list(peers.due(240.0)) == [RenewChannel(PEER)]


def test_a_lost_channel_keeps_its_number_and_is_not_sought_at_once() -> None:
    peers = Peers()
    peers.ask_channel(PEER)
    peers.channel_bound(PEER, 0.0)
    peers.channel_lost(PEER)
    assert not peers.bound
    assert peers.next_at() is None
    assert not any(peers.count(PEER) for _ in range(PACKETS_BEFORE_CHANNEL * 10))
    assert peers.ask_channel(PEER) == 0x4000
    assert peers.ask_channel(Address("192.0.2.1", 7001)) == 0x4001


def test_there_is_an_end_to_everything() -> None:
    peers = Peers()
    for number in range(MAX_PEERS):
        assert peers.ask(f"2001:db8::{number:x}")
        assert peers.ask_channel(Address(PEER.ip, 1000 + number))
    assert not peers.ask(PEER.ip)
    assert peers.ask_channel(PEER) is None
    assert not any(peers.count(PEER) for _ in range(100))
    peers.clear()
    assert peers.next_at() is None
    assert peers.ask(PEER.ip)
