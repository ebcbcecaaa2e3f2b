from __future__ import annotations

import av
import numpy as np
import pytest
from textual.geometry import Size

from iceway.media.picture import Picture, picture_of, plain
from iceway.tui.preview import colours, strips


def quarters() -> Picture:
    """Red and green above, blue and white below."""
    rgb = np.zeros((120, 160, 3), np.uint8)
    rgb[:60, :80], rgb[:60, 80:], rgb[60:, :80], rgb[60:, 80:] = (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 255),
    )
    return picture_of(av.VideoFrame.from_ndarray(rgb, format="rgb24"))


def test_colours_and_places_are_those_of_the_picture() -> None:
    found = colours(quarters(), 4, 4).astype(int)
    for place, wanted in (
        ((0, 0), (255, 0, 0)),
        ((0, 3), (0, 255, 0)),
        ((3, 0), (0, 0, 255)),
        ((3, 3), (255, 255, 255)),
    ):
        assert np.abs(found[place] - wanted).max() <= 16, place


@pytest.mark.parametrize("room", [Size(1, 1), Size(80, 22), Size(40, 40), Size(200, 10)])
def test_it_fits_the_room_in_its_own_proportions(room: Size) -> None:
    lines = strips(plain(640, 360, 128), room)
    assert len(lines) <= room.height
    widths = {line.cell_length for line in lines}
    assert max(widths) <= room.width
    shown = [line.text.strip() for line in lines if line.text.strip()]
    if room.width >= 40:
        assert len(shown[0]) / (2 * len(shown)) == pytest.approx(640 / 360, rel=0.15)


def test_a_cell_is_two_pixels() -> None:
    picture = quarters()
    lines = strips(picture, Size(8, 3))
    middle = lines[1]
    (first, *_) = [segment for segment in middle if "▀" in segment.text]
    assert first.style is not None
    assert first.style.color is not None
    assert first.style.bgcolor is not None
    assert first.style.color.triplet is not None
    assert first.style.color.triplet.red > 200  # still the upper half
    assert first.style.bgcolor.triplet is not None
    assert first.style.bgcolor.triplet.blue > 200


def test_what_is_of_one_colour_is_one_run() -> None:
    assert all(len(list(line)) <= 3 for line in strips(plain(640, 360, 128), Size(80, 22)))
