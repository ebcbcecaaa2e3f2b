"""A ring between two clocks: what is put is taken, and what their difference costs is a frame now and then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.io.sound_ring import TARGET, SoundRing
from iceway.media.sound import FRAME, RATE, Samples


def counted(first: int, count: int = FRAME) -> Samples:
    """Samples that are their own numbers, from 1 on."""
    return ((first + np.arange(count)) % 30_000 + 1).astype(np.int16)


def test_nothing_is_heard_before_there_is_enough_and_then_all_of_it() -> None:
    ring = SoundRing()
    ring.put(counted(0))
    assert not ring.take(FRAME).any()
    ring.put(counted(FRAME))
    taken = [ring.take(FRAME)]
    for frame in range(2, 20):
        ring.put(counted(frame * FRAME))
        taken.append(ring.take(FRAME))
    assert np.array_equal(np.concatenate(taken), counted(0, 19 * FRAME))
    assert (ring.repeated, ring.dropped, ring.dry) == (0, 0, 0)


def test_what_was_said_before_anybody_listened_is_forgotten() -> None:
    ring = SoundRing()
    for frame in range(100):
        ring.put(counted(frame * FRAME))
    assert len(ring) == TARGET
    assert np.array_equal(ring.take(FRAME), counted(98 * FRAME))
    assert ring.dropped == 0


def test_a_frame_that_is_late_makes_the_last_one_be_heard_twice_and_no_more_than_that() -> None:
    ring = SoundRing()
    ring.put(counted(0, TARGET))
    first, second, again = (ring.take(FRAME) for _ in range(3))
    assert not np.array_equal(first, second)
    assert np.array_equal(second, again)
    assert not ring.take(FRAME).any()
    assert (ring.repeated, ring.dry) == (1, 1)
    ring.put(counted(0))
    assert not ring.take(FRAME).any(), "first there must be enough again"
    ring.put(counted(FRAME))
    assert np.array_equal(ring.take(FRAME), counted(0))


def test_a_giver_who_is_gone_is_silence() -> None:
    ring = SoundRing()
    ring.put(counted(0, TARGET))
    assert not np.concatenate([ring.take(FRAME) for _ in range(50)][3:]).any()


@pytest.mark.parametrize("drift", [-0.002, 0.002], ids=["a slow microphone", "a fast microphone"])
def test_clocks_that_differ_cost_a_frame_now_and_then(drift: float) -> None:
    """Ten minutes of a device whose clock is wrong by 2 in 1000, in blocks of its own size."""
    ring, said, block = SoundRing(), 0.0, 441
    lay = []
    put = 0
    for _ in range(600 * 50):
        said += FRAME * (1 + drift)
        while put + block <= said:
            ring.put(counted(put, block))
            put += block
        ring.take(FRAME)
        lay.append(len(ring))
    frames = 600 * 50 * abs(drift)  # that the clocks differ by in all
    spent = ring.repeated if drift < 0 else ring.dropped
    assert spent == pytest.approx(frames, abs=6)
    assert (ring.dropped if drift < 0 else ring.repeated) <= 1
    assert ring.dry <= 1
    assert max(lay[100:]) <= TARGET + 3 * FRAME


def test_what_piled_up_while_nobody_took_is_left_out_at_once() -> None:
    ring = SoundRing()
    ring.put(counted(0, TARGET))
    ring.take(FRAME)
    for frame in range(50):  # held for a second
        ring.put(counted(frame * FRAME))
    assert len(ring) <= RATE // 5
    for frame in range(60):
        ring.put(counted(frame * FRAME))
        ring.take(FRAME)
    assert len(ring) <= TARGET + FRAME


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3000)), max_size=60))
def test_whatever_the_blocks_as_much_is_given_as_was_asked_for(steps: list[tuple[bool, int]]) -> None:
    ring = SoundRing()
    for puts, count in steps:
        if puts:
            ring.put(counted(0, count))
            assert len(ring) <= RATE // 5
        else:
            assert len(ring.take(count)) == count
