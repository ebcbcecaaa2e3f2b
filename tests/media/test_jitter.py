"""The jitter buffer: a numbered sound goes in however the network likes, and comes out in order and in time.

Each packet holds one constant value, its number, so what was played can be read off the samples.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.media.jitter import MAX_DELAY, MAX_HELD, START_DELAY, Fate, JitterBuffer
from iceway.media.sound import FRAME, RATE, Samples, silence


def decode(payload_type: int, payload: bytes) -> Samples:
    """Payload: a number, and how many samples it lasts."""
    if payload == b"bad":
        raise ParseError("bad")
    number, samples = payload.decode().split(":")
    return np.full(int(samples), int(number), np.int16)


class Listener:
    """A buffer with a clock: packets arrive at instants (in frames), playing begins with the first."""

    def __init__(self) -> None:
        self.buffer = JitterBuffer(decode, silence)
        self.played: list[int] = []

    def put(self, number: int, samples: int = FRAME, timestamp: int | None = None) -> Fate:
        at = number * FRAME if timestamp is None else timestamp
        return self.buffer.put(number, at, 0, f"{number + 1000}:{samples}".encode())

    def play(self, frames: int = 1) -> list[int]:
        """The number heard at the middle of each frame; 0 is not a packet (silence or concealment)."""
        heard = []
        for _ in range(frames):
            frame = self.buffer.get()
            assert len(frame) == FRAME
            middle = frame[FRAME // 4 : FRAME * 3 // 4]
            heard.append(int(middle[0]) - 1000 if middle.min() == middle.max() and middle[0] >= 1000 else -1)
        self.played += heard
        return heard


@pytest.fixture
def bob() -> Listener:
    return Listener()


def test_in_order_and_in_time(bob: Listener) -> None:
    bob.put(0)
    bob.put(1)
    for number in range(2, 50):
        bob.put(number)
        assert bob.play() == [number - 2]
    assert bob.buffer.lost == bob.buffer.late == bob.buffer.duplicate == 0
    assert bob.buffer.delay == pytest.approx(START_DELAY / RATE)


def test_reordered_packets_are_put_back(bob: Listener) -> None:
    for number in (1, 0, 3, 2, 5, 4):
        assert bob.put(number) is Fate.KEPT
    assert bob.play(6) == [0, 1, 2, 3, 4, 5]


def test_duplicates_are_counted_and_played_once(bob: Listener) -> None:
    bob.put(0)
    assert bob.put(0) is Fate.DUPLICATE
    bob.put(1)
    assert bob.play(2) == [0, 1]
    assert bob.buffer.duplicate == 1


def test_a_lost_packet_is_a_frame_of_concealment(bob: Listener) -> None:
    for number in (0, 1, 3, 4):
        bob.put(number)
    assert bob.play(5) == [0, 1, -1, 3, 4]
    assert bob.buffer.lost == 1


def test_a_late_packet_is_not_played_and_makes_the_buffer_patient(bob: Listener) -> None:
    for number in (0, 1, 3, 4):
        bob.put(number)
    bob.play(4)
    assert bob.put(2) is Fate.LATE
    # One frame of concealment goes in between, and from then on a packet that late is in time.
    assert bob.play() == [-1]
    bob.put(5)
    assert bob.play(2) == [4, 5]
    assert bob.buffer.late == 1


def test_an_outage_costs_its_own_time_and_no_more(bob: Listener) -> None:
    for number in range(3):
        bob.put(number)
    bob.play(3)
    assert bob.play(50) == [-1] * 50
    # Fifty packets were lost on the way; the next one is for right now.
    bob.put(53)
    bob.put(54)
    assert bob.play(2) == [53, 54]
    assert bob.buffer.lost == 50


def test_a_stall_that_delivers_everything_adds_delay(bob: Listener) -> None:
    bob.put(0)
    bob.play(4)
    for number in range(1, 5):
        bob.put(number)
    assert bob.play(4) == [1, 2, 3, 4]
    assert bob.buffer.lost == 0


def test_after_a_long_stall_the_buffer_catches_up(bob: Listener) -> None:
    bob.put(0)
    bob.play(41)
    for number in range(1, 41):
        bob.put(number)
    heard = bob.play(3)
    assert heard[-1] > 28, "not forty frames behind"
    assert bob.buffer.delay <= MAX_DELAY / RATE + 0.02
    assert bob.buffer.lost > 20


def test_a_pause_of_the_sender_is_no_loss(bob: Listener) -> None:
    """Discontinuous transmission: numbers go on, timestamps jump."""
    for number in range(3):
        bob.put(number)
    bob.play(3)
    bob.play(20)
    bob.put(3, timestamp=23 * FRAME)
    bob.put(4, timestamp=24 * FRAME)
    assert bob.play(2) == [3, 4]
    assert bob.buffer.lost == 0


def test_a_pause_known_beforehand_is_kept(bob: Listener) -> None:
    bob.put(0)
    bob.put(1, timestamp=5 * FRAME)
    assert bob.play(6) == [0, -1, -1, -1, -1, 1]


@pytest.mark.parametrize("length", [FRAME // 2, 2 * FRAME, 3 * FRAME])
def test_packets_of_other_lengths(bob: Listener, length: int) -> None:
    for number in range(4):
        bob.put(number, samples=length, timestamp=number * length)
    heard = bob.play(4 * length // FRAME)
    if length >= FRAME:
        assert heard == [number for number in range(4) for _ in range(length // FRAME)]
    assert bob.buffer.lost == 0
    assert bob.play() == [-1]


def test_what_does_not_decode_is_lost_and_filled(bob: Listener) -> None:
    bob.put(0)
    bob.buffer.put(1, FRAME, 0, b"bad")
    bob.put(2)
    assert bob.play(3) == [0, -1, 2]
    assert (bob.buffer.lost, bob.buffer.undecodable) == (1, 1)


def test_a_jump_of_the_timestamps_is_a_new_start(bob: Listener) -> None:
    bob.put(0)
    bob.put(1, timestamp=100 * RATE)
    bob.put(2, timestamp=100 * RATE + FRAME)
    bob.put(3, timestamp=5)
    assert bob.play(4) == [0, 1, 2, 3]


def test_another_stream_takes_over(bob: Listener) -> None:
    bob.put(100)
    bob.play(1)
    bob.buffer.restart()
    bob.put(7)
    bob.put(6)
    assert bob.play(2) == [6, 7]
    assert bob.buffer.lost == 0


def test_the_buffer_holds_only_so_much(bob: Listener) -> None:
    for number in range(4 * MAX_HELD):
        bob.put(number, timestamp=0)
    assert bob.buffer.delay < MAX_HELD * FRAME / RATE + 0.1
    assert len(bob.buffer._held) <= MAX_HELD


def test_a_fast_sender_does_not_pile_up(bob: Listener) -> None:
    """A clock half a percent fast for a minute: 300 ms too much sound, given back a frame at a time."""
    bob.put(0)
    bob.put(1)
    number = 2
    for tick in range(3000):
        while number < 2 + tick * 1.005:
            bob.put(number)
            number += 1
        bob.play()
    assert bob.buffer.delay < 0.15
    assert bob.buffer.lost == 0


def test_a_slow_sender_is_waited_for(bob: Listener) -> None:
    bob.put(0)
    bob.put(1)
    number = 2
    for tick in range(3000):
        while number < 2 + tick * 0.995:
            bob.put(number)
            number += 1
        bob.play()
    assert bob.buffer.lost == 0
    heard = [number for number in bob.played if number >= 0]
    assert heard == sorted(heard)
    assert 5 <= bob.played.count(-1) <= 40


@pytest.mark.parametrize("seed", range(5))
def test_jitter_is_learned(seed: int) -> None:
    """80 ms of jitter: after a second of learning, hardly anything is late."""
    rng, bob = random.Random(seed), Listener()
    arrivals = sorted((number + rng.uniform(0, 4), number) for number in range(500))
    at = arrivals[0][0] + 2
    late_at_first = 0
    for tick in range(505):
        while arrivals and arrivals[0][0] <= at + tick:
            bob.put(arrivals.pop(0)[1])
        bob.play()
        if tick == 100:
            late_at_first = bob.buffer.late
    assert bob.buffer.late - late_at_first <= 8
    heard = [number for number in bob.played if number >= 0]
    assert heard == sorted(set(heard))
    assert len(heard) > 480


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(-5, 60), st.integers(-3, 90) | st.just(10**9), st.integers(0, 3)), max_size=80
    )
)
def test_any_arrival_gives_whole_frames(events: list[tuple[int, int, int]]) -> None:
    bob = Listener()
    kept = 0
    for number, time, plays in events:
        kept += bob.put(number, timestamp=time * FRAME // 3) is Fate.KEPT
        bob.play(plays)
    bob.play(200)
    assert bob.buffer.delay == 0
    heard = {number for number in bob.played if number >= 0}
    assert len(heard) <= kept
