from __future__ import annotations

import asyncio

import numpy as np
import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.media.files import MemorySink, Sink
from iceway.media.sound import RATE, Samples
from iceway.tui.ringing import Ringer, Tone, sounds
from tests.tui.fakes import until


def heard(tone: Tone, seconds: float) -> Samples:
    return np.concatenate([sounds(tone, frame) for frame in range(round(seconds / 0.02))])


@pytest.mark.parametrize("tone", Tone)
def test_it_sounds_and_pauses_and_sounds_again(tone: Tone) -> None:
    _, length, period, level = tone.value
    samples = heard(tone, 2 * period)
    for start in (0.0, period):
        loud = samples[round(start * RATE) : round((start + length) * RATE)]
        quiet = samples[round((start + length) * RATE) : round((start + period) * RATE)]
        assert np.abs(loud).max() == pytest.approx(level * 32767, rel=0.05)
        assert not quiet.any()


def test_who_talks_is_not_startled() -> None:
    assert np.abs(heard(Tone.BEEP, 1.0)).max() < np.abs(heard(Tone.RING, 1.0)).max() / 3


def test_the_warble_is_two_notes() -> None:
    spectrum = np.abs(np.fft.rfft(heard(Tone.RING, 1.0)))
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
        ringer.sound(Tone.RING)
        ringer.sound(Tone.RING)
        await until(lambda: len(speakers.samples) >= RATE // 20)
        ringer.sound(None)
        ringer.sound(None)
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
        ringer.sound(Tone.RINGBACK)  # for which there is no bell
        await asyncio.sleep(0)
        ringer.sound(Tone.RING)
        await asyncio.sleep(0)
        ringer.sound(None)

    asyncio.run(scene())
    assert bells == ["ding"]
