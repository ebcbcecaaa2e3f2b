"""Who is listened to: one source at a time, and nobody on the word of one packet."""

from __future__ import annotations

import pytest

from iceway.core.errors import ParseError
from iceway.media.far_source import LOOP, MAX_REPLACED, SPEAKS, UNDER_WAY, FarSource, Ours, OwnName
from iceway.wire.rtp import RtpPacket

FRAME = 160


class Line:
    """Packets of G.711, one every 20 ms; what of them was taken, by source and number."""

    def __init__(self, misorder: int = 100) -> None:
        self.source = FarSource(misorder)
        self.now = 0.0

    def says(
        self, sequence: int, ssrc: int = 1, timestamp: int | None = None, clock: int = 8000
    ) -> list[tuple[int, int, bool]]:
        """(source, number, anew) of each packet that this one brings."""
        stamp = round(self.now * 8000) if timestamp is None else timestamp
        packet = RtpPacket(0, sequence & 0xFFFF, stamp & 0xFFFF_FFFF, ssrc, b"x")
        placed = self.source.take(packet, clock, self.now)
        self.now += 0.02
        return [(one.packet.ssrc, one.packet.sequence, one.anew) for one in placed]


def test_the_first_source_is_believed_at_once_and_goes_on() -> None:
    line = Line()
    assert line.says(65_534) == [(1, 65_534, True)]
    assert [line.says(65_534 + step) for step in (1, 3, 2)] == [
        [(1, 65_535, False)],
        [(1, 1, False)],
        [(1, 0, False)],
    ]
    assert line.source.changes == 0


def test_a_single_packet_of_another_source_changes_nothing() -> None:
    line = Line()
    line.says(1)
    assert line.says(500, ssrc=2) == []
    assert line.says(2) == [(1, 2, False)]
    assert line.source.changes == 0


def test_two_in_a_row_prove_another_source_and_none_of_them_is_lost() -> None:
    line = Line()
    line.says(1)
    assert line.says(500, ssrc=2) == []
    assert line.says(501, ssrc=2) == [(2, 500, True), (2, 501, False)]
    assert line.says(502, ssrc=2) == [(2, 502, False)]
    assert line.source.changes == 1


def test_the_two_may_have_overtaken_each_other_or_lie_around_the_wrap() -> None:
    line = Line()
    line.says(1)
    assert line.says(0, ssrc=2) == []
    assert line.says(65_535, ssrc=2) == [(2, 65_535, True), (2, 0, False)]


def test_who_was_replaced_does_not_come_back_while_its_successor_speaks() -> None:
    line = Line()
    for sequence in (1, 2):
        line.says(sequence)
        line.says(sequence + 500, ssrc=2)
    for sequence in (3, 4, 5):
        with pytest.raises(ParseError, match="replaced"):
            line.says(sequence)
        assert line.says(sequence + 500, ssrc=2) == [(2, sequence + 500, False)]
    line.now += SPEAKS
    assert line.says(6) == []
    assert line.says(7) == [(1, 6, True), (1, 7, False)]
    assert line.source.changes == 2


def test_under_another_key_it_may_come_back_at_once() -> None:
    line = Line()
    for sequence in (1, 2):
        line.says(sequence)
        line.says(sequence + 500, ssrc=2)
    line.source.trust_anew()
    assert line.says(3) == []
    assert line.says(4) == [(1, 3, True), (1, 4, False)]


@pytest.mark.parametrize("jump", [3001, 30_000, -103])
def test_one_number_out_of_line_is_damage_and_two_are_a_new_beginning(jump: int) -> None:
    line = Line()
    line.says(1000)
    assert line.says(1000 + jump) == []
    assert line.says(1001) == [(1, 1001, False)]
    assert line.says(1002 + jump) == []
    assert line.says(1003 + jump) == [(1, (1002 + jump) & 0xFFFF, True), (1, (1003 + jump) & 0xFFFF, False)]


@pytest.mark.parametrize("leap", [8000 * 11, -8000 * 11, 1 << 31])
def test_a_timestamp_far_from_its_time_is_damage_or_a_new_beginning(leap: int) -> None:
    line = Line()
    line.says(1)
    assert line.says(2, timestamp=FRAME + leap) == []
    assert line.says(3) == [(1, 3, False)]
    assert line.says(4, timestamp=3 * FRAME + leap) == []
    assert line.says(5, timestamp=4 * FRAME + leap) == [(1, 4, True), (1, 5, False)]
    assert line.says(6, timestamp=5 * FRAME + leap) == [(1, 6, False)]


def test_a_pause_in_which_time_passed_for_both_is_no_leap() -> None:
    line = Line()
    line.says(1)
    line.now += 3600.0
    assert line.says(2) == [(1, 2, False)]


def test_packets_that_come_again_hundreds_late_are_no_jump_where_that_is_expected() -> None:
    line = Line(misorder=1500)
    line.says(2000)
    assert line.says(1000) == [(1, 1000, False)]
    assert line.says(1001) == [(1, 1001, False)]


def test_another_clock_is_another_stream() -> None:
    line = Line()
    line.says(1)
    assert line.says(2, clock=48_000) == []
    assert line.says(3, clock=48_000) == [(1, 2, True), (1, 3, False)]


def test_a_flood_of_sources_leaves_a_bounded_memory_and_the_one_that_speaks() -> None:
    line = Line()
    line.says(1)
    for ssrc in range(2, 2000):
        assert line.says(7, ssrc=ssrc) == []
    assert line.says(101) == [(1, 101, False)]
    for ssrc in range(2, 200):
        line.says(7, ssrc=ssrc)
        line.says(8, ssrc=ssrc)
    assert len(line.source._replaced) <= MAX_REPLACED


# --- our own number ---------------------------------------------------------------------------------------
def test_our_number_on_somebody_elses_packet_is_a_collision_once() -> None:
    name = OwnName()
    assert name.taken(5, 9, 0.0) is None
    assert name.taken(9, 9, 1.0) is Ours.COLLISION
    # From here on we are 10. What still comes under 9 may be our own; a moment later it is theirs.
    assert name.taken(9, 10, 1.0 + UNDER_WAY / 2) is Ours.LOOP
    assert name.taken(9, 10, 1.1 + UNDER_WAY) is None


def test_who_has_our_new_number_too_is_ourselves() -> None:
    name = OwnName()
    assert name.taken(9, 9, 0.0) is Ours.COLLISION
    for now in (0.1, 5.0, 50.0):
        assert name.taken(10, 10, now) is Ours.LOOP
        assert name.taken(9, 10, now) is Ours.LOOP
    assert name.taken(10, 10, 51.0 + LOOP) is Ours.COLLISION, "after so long it may be somebody else"
