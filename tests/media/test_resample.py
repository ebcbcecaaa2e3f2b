"""Rates changed in a stream: exact lengths, no seams, nothing above the low rate's reach."""

from __future__ import annotations

import numpy as np
import pytest

from iceway.media.resample import Decimator, Interpolator


@pytest.mark.parametrize("factor", [3, 6])
def test_down_and_up_again_is_the_same_sound_a_little_later(factor: int) -> None:
    said = np.rint(np.sin(np.arange(9600) * 2 * np.pi * 500 / 48000) * 10000).astype(np.int16)
    heard = Interpolator(factor).process(Decimator(factor).process(said))
    assert len(heard) == len(said)
    delay = 16 * factor - 1
    error = heard[delay + 500 : 9000].astype(int) - said[500 : 9000 - delay]
    assert abs(error).max() < 60


def test_pieces_make_no_seams() -> None:
    said = (np.random.default_rng(3).normal(size=5760) * 5000).astype(np.int16)
    whole_down, whole_up = Decimator(6).process(said), Interpolator(6).process(said)
    down, up = Decimator(6), Interpolator(6)
    pieces = [said[at : at + 960] for at in range(0, 5760, 960)]
    assert np.array_equal(np.concatenate([down.process(piece) for piece in pieces]), whole_down)
    assert np.array_equal(np.concatenate([up.process(piece) for piece in pieces]), whole_up)
    assert len(up.process(said[:0])) == 0


def test_loud_sound_is_clipped_not_wrapped() -> None:
    square = np.where(np.arange(4800) % 96 < 48, 32767, -32768).astype(np.int16)
    low = Decimator(6).process(square)
    assert low.max() == 32767
    assert (low[40:44] > 0).all() or (low[40:44] < 0).all()
