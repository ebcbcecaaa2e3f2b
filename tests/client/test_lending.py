"""Media on loan: one call at a time plays and is heard, and nobody closes what another one waits for."""

from __future__ import annotations

import numpy as np
import pytest

from iceway.client.lending import BETWEEN, Loan
from iceway.client.media import Media
from iceway.core.errors import UsageError
from iceway.media import pattern
from iceway.media.files import SilenceSource, ToneSource
from iceway.media.pattern import PatternSource
from iceway.media.picture import Picture
from iceway.media.pictures import Pictures
from iceway.media.sound import FRAME, Samples
from iceway.media.supplied import let_go

FRAME_OF_SOUND = np.full(FRAME, 1000, np.int16)


class Ear:
    """Takes sound and pictures."""

    def __init__(self) -> None:
        self.heard = 0
        self.closed = 0
        self.times: list[float] = []

    def show(self, picture: Picture, at: float) -> None:
        assert not self.closed
        self.times.append(at)

    def write(self, samples: Samples) -> None:
        assert not self.closed
        self.heard += 1

    def close(self) -> None:
        self.closed += 1


def lent() -> tuple[Ear, Loan, Media]:
    ear = Ear()
    loan = Loan(Media(ToneSource(), ear, SilenceSource()))
    return ear, loan, loan.media()


def loud(media: Media) -> bool:
    frame = media.source.read()
    return frame is not None and bool(np.abs(frame).max() > 100)


def test_who_waits_is_silent_and_hears_nothing_until_its_turn() -> None:
    ear, loan, old = lent()
    heir = loan.successor(("audio",))
    new = heir.media()
    assert (loud(old), loud(new)) == (True, False)
    new.sink.write(FRAME_OF_SOUND)
    assert ear.heard == 0
    heir.take_over()
    assert (loud(old), loud(new)) == (False, True)
    old.sink.write(FRAME_OF_SOUND)
    new.sink.write(FRAME_OF_SOUND)
    assert ear.heard == 1
    old.sink.close()
    assert not ear.closed
    new.sink.close()
    new.sink.close()
    assert ear.closed == 1


def test_when_the_holder_ends_first_the_one_who_waits_has_it() -> None:
    ear, loan, old = lent()
    new = loan.successor(("audio",)).media()
    old.sink.close()
    assert loud(new)
    assert not ear.closed
    new.sink.close()
    assert ear.closed == 1


def test_who_gives_up_waiting_leaves_it_to_the_holder() -> None:
    ear, loan, old = lent()
    loan.successor(("audio",)).media().sink.close()
    assert loud(old)
    assert not ear.closed
    again = loan.successor(("audio",))
    again.take_over()
    again.take_over()
    assert loud(again.media())
    old.sink.close()
    again.media().sink.close()
    assert ear.closed == 1


# --- pictures -----------------------------------------------------------------------------------------------
def shown(eye: Ear) -> Media:
    return Media(ToneSource(), Ear(), SilenceSource(), video=Pictures(PatternSource(320, 180), eye))


def seen(media: Media, kind: str = "video") -> int | None:
    """The number of the next picture that is sent; None if that is none of the pattern."""
    pictures = getattr(media, kind)
    picture = pictures.source.read()
    reading = pattern.read(picture) if picture is not None else None
    return reading.number if reading is not None else None


def test_pictures_go_the_same_way_and_their_times_go_on() -> None:
    eye = Ear()
    loan = Loan(shown(eye))
    old = loan.media()
    heir = loan.successor(("audio", "video"))
    new = heir.media()
    assert old.video is not None
    assert new.video is not None
    assert old.video.sink is not None
    assert new.video.sink is not None
    assert seen(old) is not None
    waiting = new.video.source
    assert waiting is not None
    black = waiting.read()
    assert black is not None, "None would be its end"
    assert black[0, 0] == 16
    old.video.sink.show(black, 0.0)
    old.video.sink.show(black, 2.0)
    new.video.sink.show(black, 0.0)
    assert eye.times == [0.0, 2.0]
    heir.take_over()
    assert seen(new) is not None
    assert seen(old) is None
    for at in (7.0, 7.5):
        new.video.sink.show(black, at)
    assert eye.times == [0.0, 2.0, 2.0 + BETWEEN, 2.5 + BETWEEN]
    old.video.sink.close()
    assert not eye.closed
    new.video.sink.close()
    assert eye.closed == 1


def test_a_stream_that_was_added_goes_on_and_one_that_was_dropped_does_not() -> None:
    loan = Loan(shown(Ear()))
    given: list[Pictures] = []
    loan.add("slides", Pictures(PatternSource(320, 180)), given.append)
    assert given[0].direction == "sendonly"
    new = loan.successor(("audio", "slides")).media()
    assert new.video is None
    assert new.slides is not None
    assert new.kinds == ("audio", "slides")


def test_what_a_call_refuses_is_not_lent() -> None:
    loan = Loan(shown(Ear()))

    def refuses(_: Pictures) -> None:
        raise UsageError("it has video already")

    with pytest.raises(UsageError):
        loan.add("video", Pictures(PatternSource(640, 360)), refuses)
    assert seen(loan.media()) is not None


def test_a_call_that_is_not_made_after_all_leaves_everything_where_it_was() -> None:
    eye = Ear()
    loan = Loan(shown(eye))
    loan.successor(("audio", "video")).renounce()
    media = loan.media()
    assert media.video is not None
    assert media.video.sink is not None
    media.video.sink.close()
    media.video.sink.close()
    assert eye.closed == 1


class Device(PatternSource):
    """A camera, and a microphone by its side."""

    def __init__(self) -> None:
        super().__init__(64, 36)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def over(media: Media) -> None:
    """As a call ends: sinks first, then what it showed."""
    media.sink.close()
    if media.video is not None:
        let_go(media.video.sink)
        let_go(media.video.source)


@pytest.mark.parametrize("eye", [None, Ear()], ids=["only shown", "shown and seen"])
@pytest.mark.parametrize("taken_over", [True, False], ids=["taken over before", "taken over at the end"])
def test_a_camera_is_let_go_of_by_the_last_call_that_has_it(taken_over: bool, eye: Ear | None) -> None:
    camera = Device()
    loan = Loan(Media(ToneSource(), Ear(), SilenceSource(), video=Pictures(camera, eye)))
    old, heir = loan.media(), loan.successor(["audio", "video"])
    new = heir.media()
    if taken_over:
        heir.take_over()
    over(old)
    assert camera.closed == 0
    assert seen(new) == 0
    over(new)
    over(new)
    assert camera.closed == 1


def test_who_gave_up_waiting_lets_go_of_nothing() -> None:
    camera = Device()
    loan = Loan(Media(ToneSource(), Ear(), SilenceSource(), video=Pictures(camera, None)))
    old, new = loan.media(), loan.successor(["audio", "video"]).media()
    over(new)
    assert camera.closed == 0
    over(old)
    assert camera.closed == 1


def test_a_microphone_is_let_go_of_with_its_call() -> None:
    class Microphone(ToneSource):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    microphone, early = Microphone(), Microphone()
    Loan(Media(microphone, Ear(), early)).media().sink.close()
    assert (microphone.closed, early.closed) == (1, 1)
