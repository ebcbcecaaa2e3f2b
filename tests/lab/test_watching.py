"""The pattern shown and watched: what is said of pictures that come, come late, are lost, turned or damaged."""

from __future__ import annotations

import io
import json

import av
import numpy as np
import pytest

from iceway.lab.watching import KEPT, Account, Showing, Watching, compare
from iceway.media import pattern
from iceway.media.picture import Picture, picture_of, plain


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(source: Showing) -> Picture:
    picture = source.read()
    assert picture is not None
    return picture


def passed(count: int = 40, lost: frozenset[int] = frozenset(), delay: float = 0.08) -> Account:
    """Ten pictures a second, shown after `delay`, but for those that are lost."""
    clock = Clock()
    showing, watching = Showing(clock, count), Watching(clock, count)
    for number in range(count):
        clock.now = 100 + number / 10
        picture = taken(showing)
        clock.now += delay
        if number not in lost:
            watching.show(picture, 0.0)
    assert showing.read() is None
    watching.close()
    return Account.of(showing, watching)


def test_every_picture_arrives() -> None:
    account = passed()
    watched = compare(account.taken, account.seen)
    assert (watched.taken, watched.arrived, watched.share) == (40, 40, 1.0)
    assert watched.in_order
    assert watched.upright
    assert watched.delays == pytest.approx([0.08] * 40)
    assert watched.delay == pytest.approx(0.08)


def test_what_is_lost_counts_even_at_the_end() -> None:
    account = passed(lost=frozenset({3, *range(31, 40)}))
    watched = compare(account.taken, account.seen)
    assert (watched.arrived, watched.share) == (30, 0.75)
    assert watched.in_order


def test_pictures_shown_again_count_once_and_those_that_go_back_are_out_of_order() -> None:
    account = passed()
    again = (*account.seen[:5], account.seen[4], *account.seen[5:])
    assert compare(account.taken, again).arrived == 40
    assert compare(account.taken, again).in_order
    assert not compare(account.taken, (account.seen[1], account.seen[0])).in_order


def test_turned_and_damaged_pictures_are_told() -> None:
    clock = Clock()
    watching = Watching(clock, 3)
    upright = pattern.numbered(0)
    turned = plain(320, 180)
    turned[:180] = upright[179::-1, ::-1]
    for picture in (upright, turned, plain(320, 180)):
        watching.show(picture, 0.0)
    assert [one.lies for one in watching.seen] == ["upright", "upside down", "unreadable"]
    watched = compare([99.0], watching.seen)
    assert not watched.upright
    assert not watched.in_order
    assert watched.delays == (1.0,)


def test_nothing_shown_is_no_share() -> None:
    assert compare([], []).share == 0.0
    assert compare([1.0], []).delay is None


def test_some_are_kept_for_people_spread_over_the_whole() -> None:
    kept = passed(count=75).kept
    numbers = [one.sighting.number for one in kept]
    assert len(kept) == KEPT
    assert numbers[0] == 0
    assert numbers[-1] > 60
    for one in kept:
        with av.open(io.BytesIO(one.jpeg)) as file:
            (frame,) = file.decode(video=0)
        read = pattern.read(picture_of(frame))
        assert read is not None
        assert (read.number, read.lies) == (one.sighting.number, "upright")


def test_an_account_survives_being_written_down() -> None:
    account = passed(lost=frozenset({7}))
    assert Account.from_json(json.loads(json.dumps(account.to_json()))) == account


def test_a_small_stream_keeps_all() -> None:
    assert len(passed(count=5).kept) == 5
    assert np.array_equal([one.sighting.number for one in passed(count=5).kept], range(5))
