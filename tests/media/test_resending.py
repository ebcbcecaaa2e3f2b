"""What was sent is sent again: the same bytes, not too often, not too much."""

from __future__ import annotations

from iceway.media.resending import MAX_KEPT, SentPackets


def test_the_same_bytes_but_not_twice_in_a_moment() -> None:
    sent = SentPackets()
    for sequence in (65_535, 0, 1):
        sent.keep(sequence, b"packet %d" % sequence)
    assert list(sent.again((0, 65_535, 7), 1.0, 0.1)) == [b"packet 0", b"packet 65535"]
    assert list(sent.again((0, 1), 1.04, 0.1)) == [b"packet 1"]
    assert list(sent.again((0,), 1.05, 0.1)) == []  # nothing left of what sending earned
    sent.keep(2, bytes(100))
    assert list(sent.again((0,), 1.06, 0.1)) == [b"packet 0"]
    assert sent.resent == 4


def test_the_share_counts_each_packet_once_and_starts_anew() -> None:
    sent = SentPackets()
    for sequence in range(10):
        sent.keep(sequence, bytes(100))
    for at in (1.0, 2.0):
        assert len(list(sent.again((3, 4), at, None))) == 2
    assert sent.share_resent() == 0.2
    assert sent.share_resent() == 0.0


def test_only_the_latest_are_kept_and_numbers_go_round() -> None:
    sent = SentPackets()
    for count in range(65_536 + 10):
        sent.keep(count & 0xFFFF, b"%d" % count)
    assert list(sent.again((9, 65_535, 65_536 - MAX_KEPT), 0.0, None)) == [b"65545", b"65535"]
    sent.clear()
    assert list(sent.again((9,), 9.0, None)) == []
