"""Packets that are missing: when they are asked for, how often, and when no more."""

from __future__ import annotations

import pytest

from iceway.media.missing import MAX_ASKED, MAX_MISSING, OVERTAKING, MissingPackets


def test_a_gap_is_asked_for_after_a_moment_and_again_until_it_is_filled() -> None:
    missing = MissingPackets()
    for sequence in (10, 13):
        missing.arrived(sequence, 0.0, 1.0)
    assert missing.next_at() == 1.0 + OVERTAKING
    assert missing.due(1.01, None) == ()
    assert missing.due(1.02, 0.1) == (11, 12)
    missing.arrived(12, 0.0, 1.1)
    assert missing.due(1.16, 0.1) == ()
    assert missing.due(1.171, 0.1) == (11,)
    missing.arrived(11, 0.0, 1.3)
    assert missing.next_at() is None
    assert (missing.requested, missing.recovered) == (2, 2)


def test_who_was_only_overtaken_is_not_asked_for() -> None:
    missing = MissingPackets()
    for sequence, now in ((1, 0.0), (3, 0.0), (2, 0.01)):
        missing.arrived(sequence, 0.0, now)
    assert missing.due(1.0, None) == ()
    assert (missing.requested, missing.recovered) == (0, 0)


def test_jitter_gives_more_time_to_overtake() -> None:
    missing = MissingPackets()
    for sequence in (1, 3):
        missing.arrived(sequence, 0.02, 0.0)
    assert missing.next_at() == pytest.approx(0.03)


def test_nothing_is_asked_for_without_end_or_without_need() -> None:
    missing = MissingPackets()
    for sequence in (65_534, 65_537, 65_540):
        missing.arrived(sequence, 0.0, 0.0)
    assert missing.due(1.0, None) == (65_535, 0, 2, 3)
    missing.forget_before(65_538)
    asked = [missing.due(2.0 + step, None) for step in range(2 * MAX_ASKED)]
    assert asked == [(2, 3)] * (MAX_ASKED - 1) + [()] * (MAX_ASKED + 1)


def test_a_large_gap_is_bounded() -> None:
    missing = MissingPackets()
    for sequence in (0, 2000, 2500):
        missing.arrived(sequence, 0.0, 0.0)
    assert len(missing.due(1.0, None)) == MAX_MISSING
    missing.restart()
    assert missing.next_at() is None
