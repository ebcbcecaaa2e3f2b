"""Pictures and FFmpeg's frames."""

from __future__ import annotations

import av
import numpy as np

from iceway.media.picture import frame_of, luma, picture_of, plain, size


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
