from __future__ import annotations

import asyncio

import numpy as np
import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.media.files import MemorySink, Sink
from iceway.media.sound import RATE, Samples
from iceway.tui.ringing import PERIOD, Ringer, ringing
from tests.tui.fakes import until


def seconds(length: float, *, softly: bool) -> Samples:
    return np.concatenate([ringing(frame, softly=softly) for frame in range(round(length / 0.02))])


@pytest.mark.parametrize(("softly", "length"), [(False, 1.0), (True, 0.15)])
def test_it_rings_and_pauses_and_rings_again(softly: bool, length: float) -> None:
    heard = seconds(2 * PERIOD, softly=softly)
    for start in (0.0, PERIOD):
        loud = heard[round(start * RATE) : round((start + length) * RATE)]
        quiet = heard[round((start + length) * RATE) : round((start + PERIOD) * RATE)]
        assert np.abs(loud).max() > 1000
        assert not quiet.any()


def test_who_talks_hears_it_softly() -> None:
    loud, soft = (np.abs(seconds(1.0, softly=softly)).max() for softly in (False, True))
    assert soft < loud / 3


def test_the_warble_is_two_notes() -> None:
    spectrum = np.abs(np.fft.rfft(seconds(1.0, softly=False)))
    strongest = sorted(np.argsort(spectrum)[-40:])
    assert any(560 < hertz < 615 for hertz in strongest)
    assert any(710 < hertz < 770 for hertz in strongest)


def test_it_plays_until_it_is_stopped_and_lets_go_of_the_speakers() -> None:
    closed = []

    class Speakers(MemorySink):
        def close(self) -> None:
            closed.append(1)

    speakers = Speakers()

    async def scene() -> None:
        ringer = Ringer(lambda: speakers, bell=lambda: pytest.fail("there are speakers"))
        ringer.ring(softly=False)
        ringer.ring(softly=False)
        await until(lambda: len(speakers.samples) >= RATE // 20)
        ringer.stop()
        ringer.stop()
        await asyncio.sleep(0)

    asyncio.run(scene())
    assert closed == [1]


@pytest.mark.parametrize("why", ["not wanted", "missing"])
def test_without_speakers_it_is_the_bell(why: str) -> None:
    def missing() -> Sink:
        raise EnvironmentFailure("PortAudio is not installed", "")

    bells: list[str] = []

    async def scene() -> None:
        ringer = Ringer(None if why == "not wanted" else missing, bell=lambda: bells.append("ding"))
        ringer.ring(softly=False)
        await asyncio.sleep(0)
        ringer.stop()

    asyncio.run(scene())
    assert bells == ["ding"]
