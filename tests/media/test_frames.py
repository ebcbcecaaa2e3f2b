"""The picture buffer: what it gives out, what it waits for, and when it gives up."""

from __future__ import annotations

import random
from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from iceway.media.frames import MAX_HELD, Fate, PictureBuffer
from iceway.media.vp8 import Piece


class Line:
    """Pictures of three packets each, numbered; `whole` ones need no other."""

    def __init__(self) -> None:
        self.buffer = PictureBuffer()
        self.now = 0.0

    def packet(self, sequence: int, whole: tuple[int, ...] = (0,)) -> Fate:
        picture, part = divmod(sequence, 3)
        piece = Piece(b"%d.%d " % (picture, part), picture in whole and part == 0)
        return self.buffer.put(sequence, picture * 3200, 96, piece, part == 2, self.now)

    def shown(self) -> list[str]:
        found = []
        while (picture := self.buffer.take(self.now)) is not None:
            found.append(picture.data.decode().strip())
        return found


def test_pictures_come_out_whole_and_in_order() -> None:
    line = Line()
    for sequence in (0, 2, 1, 5, 3):
        line.packet(sequence)
    assert line.shown() == ["0.0 0.1 0.2"]
    line.packet(4)
    assert line.shown() == ["1.0 1.1 1.2"]
    assert line.packet(3) is Fate.LATE
    assert (line.packet(7), line.packet(7)) == (Fate.KEPT, Fate.DUPLICATE)
    assert (line.buffer.lost, line.buffer.late, line.buffer.duplicate) == (0, 1, 1)


def test_a_hole_is_waited_for_and_then_given_up() -> None:
    line = Line()
    for sequence in (0, 1, 2, 3, 5, 6, 7, 8):
        line.packet(sequence)
    assert line.shown() == ["0.0 0.1 0.2"]
    assert line.buffer.gives_up_at() == 0.5
    line.now = 0.49
    assert line.shown() == []
    assert not line.buffer.needs_whole
    line.now = 0.5
    assert line.shown() == []
    assert line.buffer.needs_whole
    assert line.buffer.gives_up_at() is None
    for sequence in range(9, 15):
        line.packet(sequence, whole=(4,))
    assert line.shown() == ["4.0 4.1 4.2"]
    assert line.buffer.lost == 1


def test_a_hole_that_is_filled_leaves_nothing_to_wait_for() -> None:
    """The end of the picture is still to come; until then there is nothing to give up."""
    line = Line()
    for sequence in (0, 1, 2, 4):
        line.packet(sequence)
    line.shown()
    assert line.buffer.gives_up_at() == 0.5
    line.now = 0.1
    line.packet(3)
    assert line.shown() == []
    assert line.buffer.gives_up_at() is None
    line.now = 0.7
    assert line.shown() == []
    line.packet(5)
    assert line.shown() == ["1.0 1.1 1.2"]


def test_a_hole_that_is_filled_in_time_costs_nothing() -> None:
    line = Line()
    for sequence in (0, 1, 2, 3, 5, 6, 7, 8):
        line.packet(sequence)
    line.shown()
    line.now = 0.4
    line.packet(4)
    assert line.shown() == ["1.0 1.1 1.2", "2.0 2.1 2.2"]
    assert (line.buffer.lost, line.buffer.gives_up_at()) == (0, None)


def test_a_whole_picture_behind_the_hole_is_taken_at_once() -> None:
    line = Line()
    for sequence in (0, 1, 2, 4, 6, 7, 8):
        line.packet(sequence, whole=(0, 2))
    assert line.shown() == ["0.0 0.1 0.2", "2.0 2.1 2.2"]
    assert line.buffer.lost == 2


def test_of_two_whole_pictures_behind_it_the_one_that_is_complete() -> None:
    line = Line()
    for sequence in (0, 1, 2, 4, 6, 8, 9, 10, 11):
        line.packet(sequence, whole=(0, 2, 3))
    assert line.shown() == ["0.0 0.1 0.2", "3.0 3.1 3.2"]


def test_ends_that_are_not_marked_show_in_the_next_timestamp() -> None:
    buffer = PictureBuffer()
    buffer.put(0, 0, 96, Piece(b"a", True), False, 0.0)
    assert buffer.take(0.0) is None
    buffer.put(1, 3200, 96, Piece(b"b", False), False, 0.0)
    picture = buffer.take(0.0)
    assert picture is not None
    assert (picture.data, picture.whole) == (b"a", True)


def test_what_cannot_be_decoded_is_ground_for_nothing() -> None:
    line = Line()
    for sequence in (0, 1, 2):
        line.packet(sequence)
    assert line.shown() == ["0.0 0.1 0.2"]
    line.buffer.lose_ground()
    for sequence in range(3, 9):
        line.packet(sequence, whole=(2,))
    assert line.shown() == ["2.0 2.1 2.2"]


def test_a_flood_that_pretends_to_be_whole_pictures_costs_little() -> None:
    """A picture without an end whose every packet claims to begin it, behind a hole; and gaps of thousands."""
    began = process_time()
    endless, gappy = PictureBuffer(), PictureBuffer()
    for number in range(3000):
        if number != 1:
            endless.put(number, 0, 96, Piece(b"x", True), False, 0.0001 * number)
        gappy.put(number * 2900, number, 96, Piece(b"x", number == 0), False, 0.0001 * number)
        for buffer in (endless, gappy):
            while buffer.take(0.0001 * number) is not None:
                pass
    assert process_time() - began < 3.0
    assert gappy.lost > 1_000_000


def test_nothing_is_held_without_bound() -> None:
    line = Line()
    for sequence in range(1, 3 * MAX_HELD):
        line.packet(sequence, whole=())
        assert line.shown() == []
    line.packet(9000, whole=(3000,))
    line.packet(9001)
    line.packet(9002)
    assert line.shown() == ["3000.0 3000.1 3000.2"]


@given(st.integers(0, 2**32), st.integers(0, 40), st.floats(0, 0.5))
def test_whatever_comes_pictures_are_complete_ascending_and_grounded(
    seed: int, shuffle: int, loss: float
) -> None:
    rng, line = random.Random(seed), Line()
    whole = tuple(range(0, 40, 7))
    order = sorted(range(120), key=lambda sequence: sequence + rng.uniform(0, shuffle))
    shown: list[int] = []
    for sequence in order:
        line.now += 0.02
        if rng.random() < loss:
            continue
        line.packet(sequence, whole)
        for text in line.shown():
            picture = int(text.split(".")[0])
            assert text == " ".join(f"{picture}.{part}" for part in range(3))
            shown.append(picture)
    for one, other in zip([-1, *shown], shown, strict=False):
        assert other == one + 1 or (other > one and other in whole)
