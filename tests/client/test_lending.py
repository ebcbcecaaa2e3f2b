"""Media on loan: one call at a time plays and is heard, and nobody closes what another one waits for."""

from __future__ import annotations

import numpy as np

from iceway.client.lending import Loan
from iceway.client.media import Media
from iceway.media.files import SilenceSource, ToneSource
from iceway.media.sound import FRAME, Samples

FRAME_OF_SOUND = np.full(FRAME, 1000, np.int16)


class Ear:
    def __init__(self) -> None:
        self.heard = 0
        self.closed = 0

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
    heir = loan.successor()
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
    new = loan.successor().media()
    old.sink.close()
    assert loud(new)
    assert not ear.closed
    new.sink.close()
    assert ear.closed == 1


def test_who_gives_up_waiting_leaves_it_to_the_holder() -> None:
    ear, loan, old = lent()
    loan.successor().media().sink.close()
    assert loud(old)
    assert not ear.closed
    again = loan.successor()
    again.take_over()
    again.take_over()
    assert loud(again.media())
    old.sink.close()
    again.media().sink.close()
    assert ear.closed == 1
