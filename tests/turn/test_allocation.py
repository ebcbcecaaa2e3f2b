"""Permissions and channels of one allocation: when they end and what conflicts."""

from __future__ import annotations

from iceway.core.address import Address, ClientAddress, PeerAddress, Transport
from iceway.turn.allocation import Allocation, Client

PEER = PeerAddress(Address("192.0.2.1", 7000))
OTHER = PeerAddress(Address("192.0.2.1", 7001))


def allocation() -> Allocation:
    client = Client(Transport.UDP, Address("203.0.113.1", 3478), ClientAddress(Address("198.51.100.7", 1)))
    relayed = Address("203.0.113.1", 50_000)
    return Allocation(client, "alice", relayed, relayed, 600.0)


def test_a_permission_lasts_300_seconds_and_is_new_once() -> None:
    """RFC 8656 §9."""
    mine = allocation()
    assert mine.permit(PEER.ip, 0.0)
    assert not mine.permit(PEER.ip, 100.0)
    assert mine.permits(PEER.ip, 399.9)
    assert not mine.permits(PEER.ip, 400.0)
    assert mine.permit(PEER.ip, 400.0)


def test_room_counts_only_permissions_that_live() -> None:
    mine = allocation()
    mine.permit("a", 0.0)
    mine.permit("b", 200.0)
    assert mine.room_for_permissions({"a", "b"}, 2, 200.0)
    assert not mine.room_for_permissions({"c"}, 2, 200.0)
    assert mine.room_for_permissions({"c"}, 2, 300.0)
    assert set(mine.permissions) == {"b"}


def test_a_channel_lasts_600_seconds_and_brings_its_permission() -> None:
    """RFC 8656 §12."""
    mine = allocation()
    assert mine.bind(b"\x40\x00", PEER, 0.0)
    assert not mine.bind(b"\x40\x00", PEER, 100.0)
    assert mine.channels[b"\x40\x00"].ends_at == 700.0
    assert mine.permits(PEER.ip, 399.0)


def test_a_number_has_one_peer_and_a_peer_one_number_while_they_live() -> None:
    mine = allocation()
    mine.bind(b"\x40\x00", PEER, 0.0)
    assert mine.channel_conflict(b"\x40\x00", PEER, 9, 1.0) is None
    assert mine.channel_conflict(b"\x40\x00", OTHER, 9, 1.0) == "channel 0x4000 is bound to 192.0.2.1:7000"
    assert mine.channel_conflict(b"\x40\x01", PEER, 9, 1.0) == "192.0.2.1:7000 has channel 0x4000"
    assert mine.channel_conflict(b"\x40\x01", OTHER, 1, 1.0) == "the allocation has 1 channels"
    assert mine.channel_conflict(b"\x40\x00", OTHER, 1, 600.0) is None
    assert not mine.channels
    assert not mine.channel_to


def test_the_same_dead_channel_found_by_both_keys_is_removed_once() -> None:
    mine = allocation()
    mine.bind(b"\x40\x00", PEER, 0.0)
    assert mine.channel_conflict(b"\x40\x00", PEER, 9, 600.0) is None
    assert mine.bind(b"\x40\x00", PEER, 600.0)


def test_causes_of_drops_are_news_once() -> None:
    mine = allocation()
    assert mine.first_drop("a", "x")
    assert not mine.first_drop("a", "x")
    assert mine.first_drop("a", "y")
    assert mine.first_drop("b", "x")
