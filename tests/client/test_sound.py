from __future__ import annotations

from iceway.client.sound import CallSource
from iceway.media.codecs import Samples, silence
from iceway.media.files import Source


class Frames(Source):
    """As many frames as it is given, each of one value."""

    def __init__(self, *values: int) -> None:
        self._left = list(values)

    def read(self) -> Samples | None:
        return silence() + self._left.pop(0) if self._left else None


def first(frame: Samples | None) -> int:
    assert frame is not None
    return int(frame[0])


def test_early_sound_until_the_answer_then_the_main_one_from_its_beginning() -> None:
    source = CallSource(Frames(1, 2, 3), Frames(7, 8))
    assert [first(source.read()), first(source.read())] == [1, 2]
    source.answered = True
    assert [first(source.read()), first(source.read())] == [7, 8]
    assert source.read() is None, "the main source is out, and that is told"


def test_early_sound_that_is_out_is_followed_by_silence() -> None:
    source = CallSource(Frames(1), Frames(7))
    assert [first(source.read()) for _ in range(3)] == [1, 0, 0]
