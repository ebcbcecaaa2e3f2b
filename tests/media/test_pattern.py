"""The numbered pattern: read back through coding, scaling and mistreatment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.media.pattern import PatternSource, Reading, numbered, read
from iceway.media.picture import frame_of, picture_of, plain, size
from iceway.media.video_codecs import VideoDecoder, VideoEncoder


@given(st.integers(0, 2**32 - 1))
def test_any_number_is_read_back(number: int) -> None:
    assert read(numbered(number, 64, 36)) == Reading(number)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
@pytest.mark.parametrize("measures", [(320, 180), (640, 360), (176, 144)])
def test_it_survives_coding_at_200_kbit(codec: str, measures: tuple[int, int]) -> None:
    encoder, decoder = VideoEncoder(codec, 15, 200_000), VideoDecoder(codec)
    source, noise = PatternSource(*measures, first=2**31), np.random.default_rng(1)
    coded, expected, found = 0, [], []
    for number in range(2**31, 2**31 + 30):
        picture = source.read()
        assert picture is not None
        grain = noise.integers(-15, 16, picture.shape)
        data = encoder.encode(np.clip(picture + grain, 0, 255).astype(np.uint8))
        coded += len(data)
        if data:  # libvpx leaves a picture out now and then, to keep to its rate
            expected.append(Reading(number))
            found += [read(shown) for shown in decoder.decode(data)]
    assert found == expected
    assert len(found) >= 25
    assert coded * 8 / 2 < 260_000


def test_how_it_lies_is_told() -> None:
    picture = numbered(1234)
    grey = picture[:180]
    for turned, lies in (
        (grey[::-1, ::-1], "upside down"),
        (grey[:, ::-1], "mirrored"),
        (grey[::-1], "flipped"),
    ):
        picture = picture.copy()
        picture[:180] = turned
        assert read(picture) == Reading(1234, lies)


def test_it_may_be_scaled() -> None:
    scaled = picture_of(frame_of(numbered(99, 320, 180)), 240, 200)
    assert size(scaled) == (240, 200)
    assert read(scaled) == Reading(99)


def test_what_is_no_pattern_or_damaged_says_nothing() -> None:
    assert read(plain(320, 180)) is None
    assert read(np.random.default_rng(1).integers(0, 255, (270, 320)).astype(np.uint8)) is None
    damaged = numbered(7).copy()
    damaged[30:60, 45:75] = 210 if damaged[45, 60] < 100 else 40
    assert read(damaged) is None


@given(st.integers(1, 20), st.integers(1, 20))
def test_small_pictures_crash_nothing(width: int, height: int) -> None:
    read(plain(width * 2, height * 2, 100))
    assert numbered(1, width * 2, height * 2).shape == (height * 3, width * 2)


def test_a_source_ends_when_it_was_told_to() -> None:
    source = PatternSource(64, 36, count=2, first=5)
    shown = [source.read() for _ in range(3)]
    assert [read(picture) if picture is not None else None for picture in shown] == [
        Reading(5),
        Reading(6),
        None,
    ]
