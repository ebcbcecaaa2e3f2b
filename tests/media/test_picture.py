"""Pictures and FFmpeg's frames."""

from __future__ import annotations

import av
import numpy as np
import pytest

from iceway.media.picture import fitting, frame_of, framed, luma, picture_of, plain, size


def test_there_and_back() -> None:
    picture = plain(64, 36, 99)
    assert size(picture) == (64, 36)
    assert luma(picture).shape == (36, 64)
    assert np.array_equal(picture_of(frame_of(picture)), picture)


def test_odd_sizes_become_even_and_colours_become_planes() -> None:
    frame = av.VideoFrame.from_ndarray(np.full((37, 65, 3), 255, np.uint8), format="rgb24")
    picture = picture_of(frame)
    assert size(picture) == (64, 36)
    assert luma(picture).mean() > 230
    assert size(picture_of(frame, 32, 18)) == (32, 18)


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ((1280, 720), (1280, 720)),
        ((1281, 719), (1280, 718)),
        ((1920, 1200), (1152, 720)),
        ((800, 3000), (192, 720)),
        ((3, 3), (2, 2)),
        ((9000, 1), (1280, 2)),
    ],
)
def test_what_is_too_large_is_made_to_fit_as_a_whole(
    measures: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitting(*measures, (1280, 720)) == expected


@pytest.mark.parametrize(
    ("measures", "columns", "rows"),
    [
        ((64, 36), (0, 64), (0, 36)),
        ((32, 36), (16, 48), (0, 36)),
        ((128, 36), (0, 64), (8, 26)),
        ((16, 8), (0, 64), (2, 34)),
    ],
)
def test_a_picture_of_another_shape_is_framed_in_black(
    measures: tuple[int, int], columns: tuple[int, int], rows: tuple[int, int]
) -> None:
    picture = plain(*measures, level=200)
    picture[measures[1] :] = 60
    whole = framed(picture, 64, 36)
    assert size(whole) == (64, 36)
    expected = plain(64, 36)
    expected[rows[0] : rows[1], columns[0] : columns[1]] = 200
    assert np.array_equal(luma(whole), luma(expected))
    shades = whole[36:].reshape(2, 18, 32)
    inside = shades[:, rows[0] // 2 : rows[1] // 2, columns[0] // 2 : columns[1] // 2]
    assert set(inside.ravel().tolist()) == {60}
    assert np.count_nonzero(shades == 60) == inside.size
