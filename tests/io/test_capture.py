"""Pictures taken by a thread: the latest one, no waiting, and an end that is told."""

from __future__ import annotations

import threading

import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.io.capture import CapturedPictures
from iceway.media.pattern import numbered, read
from iceway.media.picture import Picture

PATIENCE = 10.0


class Easel:
    """A device that gives the next number each time its test lets it."""

    name = "easel"

    def __init__(self, fails_at: int = 1000, error: Exception | None = None) -> None:
        self.turn = threading.Semaphore(1)
        self.asked = threading.Semaphore(0)
        self.closed = threading.Event()
        self._number = 0
        self._fails_at = fails_at
        self._error = error or EnvironmentFailure("the easel fell over")

    def grab(self) -> Picture:
        self.asked.release()
        assert self.turn.acquire(timeout=PATIENCE)
        if self._number == self._fails_at:
            raise self._error
        self._number += 1
        return numbered(self._number, 64, 56)

    def close(self) -> None:
        self.closed.set()

    def paints(self) -> None:
        """One more picture; back when the source has it."""
        self.turn.release()
        assert self.asked.acquire(timeout=PATIENCE)


def number(source: CapturedPictures) -> int | None:
    picture = source.read()
    found = None if picture is None else read(picture)
    return found.number if found else None


def ended(source: CapturedPictures, easel: Easel) -> None:
    easel.turn.release()
    source.close()


def test_the_latest_picture_however_often_it_is_asked_for() -> None:
    easel = Easel()
    source = CapturedPictures(easel, None)
    assert easel.asked.acquire(timeout=PATIENCE)  # for the first picture
    assert easel.asked.acquire(timeout=PATIENCE)  # the thread asks for the next
    assert [number(source), number(source)] == [1, 1]
    easel.paints()
    assert [number(source), number(source)] == [2, 2]
    easel.paints()
    easel.paints()
    assert number(source) == 4, "those between are left out"
    assert source.size == (64, 56)
    ended(source, easel)


def test_a_device_without_a_pace_is_looked_at_once_after_each_reading() -> None:
    easel = Easel()
    source = CapturedPictures(easel, 1000.0)
    assert easel.asked.acquire(timeout=PATIENCE)
    assert not easel.asked.acquire(timeout=0.05), "nobody has read yet"
    assert number(source) == 1
    assert easel.asked.acquire(timeout=PATIENCE)
    easel.turn.release()
    assert not easel.asked.acquire(timeout=0.05), "one reading, one look"
    assert number(source) == 2
    ended(source, easel)


def test_closed_it_gives_nothing_and_the_device_is_let_go() -> None:
    easel = Easel()
    source = CapturedPictures(easel, None)
    ended(source, easel)
    source.close()
    assert source.read() is None
    assert easel.closed.wait(PATIENCE)


def test_a_device_that_gives_nothing_at_all_is_an_error_at_once() -> None:
    easel = Easel(fails_at=0)
    with pytest.raises(EnvironmentFailure, match="fell over"):
        CapturedPictures(easel, None)
    assert easel.closed.is_set()


@pytest.mark.parametrize("error", [None, ZeroDivisionError("paint / 0")], ids=["foreseen", "a bug"])
def test_a_device_that_gives_out_raises_why(error: Exception | None) -> None:
    easel = Easel(fails_at=1, error=error)
    source = CapturedPictures(easel, None)
    easel.turn.release()
    assert easel.closed.wait(PATIENCE)
    with pytest.raises(type(error) if error else EnvironmentFailure, match=r"paint / 0|fell over"):
        source.read()
    source.close()
    assert source.read() is None
