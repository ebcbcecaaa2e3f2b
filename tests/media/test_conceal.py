"""Holes are filled with what was there, which then goes away."""

from __future__ import annotations

import numpy as np
import pytest

from iceway.media.conceal import Concealer
from iceway.media.sound import FRAME, RATE, Samples


def voice(start: int, count: int, pitch: float = 150.0) -> Samples:
    at = (start + np.arange(count)) * 2 * np.pi * pitch / RATE
    return np.rint(6000 * np.sin(at) + 3000 * np.sin(3 * at)).astype(np.int16)


@pytest.mark.parametrize("pitch", [100.0, 150.0, 320.0])
def test_a_voiced_hole_goes_on_at_its_pitch(pitch: float) -> None:
    concealer = Concealer()
    for index in range(5):
        concealer.heard(voice(index * FRAME, FRAME, pitch))
    filled = concealer.fill(FRAME).astype(float)
    real = voice(5 * FRAME, FRAME, pitch).astype(float)
    assert np.corrcoef(filled, real)[0, 1] > 0.9
    assert 0.6 < filled.std() / real.std() < 1.0


def test_it_fades_to_silence_and_costs_no_time() -> None:
    concealer = Concealer()
    concealer.heard(voice(0, 4 * FRAME))
    loudness = [concealer.fill(FRAME).std() for _ in range(5)]
    assert loudness[0] > loudness[1] > loudness[2] > 0
    assert loudness[3] == loudness[4] == 0
    assert len(concealer.fill(17)) == 17


def test_the_return_of_sound_makes_no_click() -> None:
    concealer = Concealer()
    concealer.heard(voice(0, 4 * FRAME))
    before = concealer.fill(FRAME)
    after = concealer.heard(voice(5 * FRAME + 100, FRAME))
    assert len(after) == FRAME
    joined = np.concatenate([before, after]).astype(int)
    steepest = abs(np.diff(voice(0, FRAME).astype(int))).max()
    assert abs(np.diff(joined))[FRAME - 3 : FRAME + 3].max() <= 2 * steepest


def test_before_any_sound_there_is_silence() -> None:
    assert not Concealer().fill(FRAME).any()
