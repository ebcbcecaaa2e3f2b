"""Who gives way on a narrow link: the video, then the slides, never the sound; in figures, and over the lab's links."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iceway.lab.topology import Link
from iceway.media.budget import Budget
from iceway.media.pattern import PatternSource
from iceway.media.pictures import MemorySink
from iceway.media.rate import LEAST
from iceway.media.sound import RATE
from iceway.media.video import VideoSession
from tests.media.conversation import Conversation
from tests.media.test_session import Call
from tests.media.test_video import terms

CLEAR, QUEUED = 0.05, 0.2


class Figures:
    """A budget fed once a second with reports that are all alike."""

    def __init__(self, slides: bool = True) -> None:
        import random

        self._audio = Call().alice.stats()
        video = VideoSession("v", terms()[0], PatternSource(), MemorySink(), random.Random(1))
        self._video = replace(video.stats(0.0), frames_sent=1, bit_rate=600_000)
        self._slides = self._video if slides else None
        self.budget = Budget(600_000, 600_000)
        self.now = 0.0

    def seconds(self, count: int, round_trip: float, lost: float = 0.0) -> Figures:
        for _ in range(count):
            self.now += 1.0
            told = {
                "reports": int(self.now),
                "round_trips": int(self.now),
                "round_trip": round_trip,
                "fraction_lost": lost,
            }
            video = replace(self._video, **told, bit_rate=self.budget.video)
            slides = self._slides and replace(self._slides, **told, bit_rate=self.budget.slides)
            self.budget.update(replace(self._audio, **told), video, slides, self.now)
        return self


def test_on_a_clear_path_everything_is_allowed() -> None:
    figures = Figures().seconds(10, CLEAR)
    assert (figures.budget.video, figures.budget.slides) == (600_000, 600_000)


def test_a_queue_lowers_the_video_first_and_the_slides_once_it_is_down() -> None:
    figures = Figures().seconds(3, CLEAR).seconds(4, QUEUED)
    assert LEAST < figures.budget.video <= 420_000
    assert figures.budget.slides == 600_000
    figures.seconds(30, QUEUED)
    assert figures.budget.video == LEAST
    assert LEAST < figures.budget.slides < 600_000
    figures.seconds(20, QUEUED + 0.1)
    assert figures.budget.slides == LEAST


def test_what_is_slow_whatever_gives_way_is_the_path() -> None:
    figures = Figures().seconds(3, CLEAR).seconds(300, QUEUED)
    assert figures.budget.video > 100_000


def test_it_recovers_slowly_and_the_slides_first() -> None:
    figures = Figures().seconds(3, CLEAR).seconds(40, QUEUED)
    low = figures.budget.slides
    figures.seconds(4, CLEAR)
    assert figures.budget.slides == low, "not at once"
    figures.seconds(10, CLEAR)
    assert low < figures.budget.slides < 2 * low
    assert figures.budget.video == LEAST
    figures.seconds(200, CLEAR)
    assert (figures.budget.video, figures.budget.slides) == (600_000, 600_000)


def test_losses_without_a_queue_take_something_and_not_everything() -> None:
    assert Figures().seconds(30, CLEAR, lost=0.05).budget.video == 600_000
    assert Figures().seconds(60, CLEAR, lost=0.3).budget.video == 150_000


def test_without_pictures_there_is_nothing_to_lower() -> None:
    figures = Figures(slides=False).seconds(3, CLEAR).seconds(60, QUEUED)
    assert figures.budget.slides == 600_000
    budget = Budget()
    budget.update(None, None, None, 1.0)
    assert (budget.video, budget.slides) == (600_000, 600_000)


def test_a_queue_from_the_start_shows_by_what_ice_measured() -> None:
    figures = Figures().seconds(10, QUEUED)
    assert figures.budget.video == 600_000
    figures.budget.path_changed(figures.now, CLEAR)
    figures.seconds(10, QUEUED)
    assert figures.budget.video < 600_000


def made_up(call: Conversation, end: float) -> float:
    """The share of Bob's sound that was made up from now until then."""
    before, began = call.bob.concealed(), call.now
    return (call.until(end).bob.concealed() - before) / ((end - began) * RATE)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_too_narrow_for_sound_and_video_the_video_gives_way(codec: str) -> None:
    """150 kbit/s, of which sound takes 52: for six seconds some of it is lost, then next to nothing."""
    call = Conversation(Link(delay=0.03, rate=150_000), codec=codec)
    assert made_up(call, 6.0) < 0.06
    assert made_up(call, 30.0) < 0.01
    assert call.alice.pictures["video"].stats(30.0).bit_rate < 100_000
    assert len(call.bob.numbers("video")) >= 0.9 * 30 * 15


def test_where_three_streams_are_too_many_the_slides_are_lowered_last() -> None:
    call = Conversation(Link(delay=0.03, rate=400_000), kinds=("video", "slides"))
    assert made_up(call, 30.0) < 0.02
    assert len(call.bob.numbers("slides")) >= 0.95 * 30 * 5
    assert len(call.bob.numbers("video")) >= 0.9 * 30 * 15


def test_where_hardly_anything_but_sound_fits_sound_is_what_remains() -> None:
    call = Conversation(Link(delay=0.03, rate=100_000)).until(8.0)
    assert made_up(call, 30.0) < 0.01
    assert call.alice.pictures["video"].stats(30.0).bit_rate == LEAST


def test_a_link_that_narrows_in_mid_call() -> None:
    call = Conversation(Link(delay=0.03)).until(20.0)
    wide = call.alice.pictures["video"].stats(20.0).bit_rate
    assert wide > 300_000
    call.change(Link(delay=0.03, rate=200_000))
    assert made_up(call, 26.0) < 0.35
    assert made_up(call, 40.0) < 0.05
    assert call.alice.pictures["video"].stats(40.0).bit_rate < 150_000
    call.change(Link(delay=0.03))
    assert call.until(80.0).alice.pictures["video"].stats(80.0).bit_rate > 250_000
