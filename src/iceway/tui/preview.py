"""A picture in a terminal: every cell is two pixels, its upper half the character's colour, its lower half the ground's.

It is as large as there is room for. Nothing is scaled or coloured that nobody looks at.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from iceway.media.picture import Picture

_STEP = 8  # by which colours differ: fewer styles, longer runs


class PictureView(Widget):
    """Shows a picture as large as fits, in its own proportions."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[Strip] = []

    def show(self, picture: Picture | None) -> None:
        if picture is None:
            lines: list[Strip] = []
        else:
            lines = strips(picture, self.size, self.rich_style)
        if lines or self._lines:
            self._lines = lines
            self.refresh()

    def render_line(self, y: int) -> Strip:
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)


def strips(picture: Picture, room: Size, ground: Style | None = None) -> list[Strip]:
    """The picture's lines, in the middle of the room."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    scale = min(room.width / width, room.height * 2 / height)
    columns, rows = max(1, int(width * scale)), max(1, int(height * scale / 2))
    pixels = colours(picture, columns, rows * 2)
    left, above = (room.width - columns) // 2, (room.height - rows) // 2
    found = [Strip.blank(room.width, ground)] * above
    before, after = Segment(" " * left, ground), Segment(" " * (room.width - columns - left), ground)
    for row in range(rows):
        found.append(Strip([before, *_cells(pixels[2 * row], pixels[2 * row + 1]), after]))
    return found


def colours(picture: Picture, columns: int, rows: int) -> npt.NDArray[np.uint8]:
    """The picture in red, green and blue, at so many places (BT.601, as FFmpeg codes small pictures)."""
    import numpy as np

    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    y = (np.arange(rows) * 2 + 1) * height // (2 * rows)
    x = (np.arange(columns) * 2 + 1) * width // (2 * columns)
    chroma = picture[height:].reshape(2, height // 2, width // 2)
    luma = (picture[np.ix_(y, x)].astype(np.float32) - 16) * 1.164
    blue, red = (plane[np.ix_(y // 2, x // 2)].astype(np.float32) - 128 for plane in chroma)
    found = np.stack([luma + 1.596 * red, luma - 0.392 * blue - 0.813 * red, luma + 2.017 * blue], axis=-1)
    rounded: npt.NDArray[np.uint8] = (np.clip(found, 0, 255) // _STEP * _STEP).astype(np.uint8)
    return rounded


def _cells(upper: npt.NDArray[np.uint8], lower: npt.NDArray[np.uint8]) -> list[Segment]:
    """Runs of one style."""
    import numpy as np

    both = np.concatenate([upper, lower], axis=1)
    starts = [0, *(np.flatnonzero((both[1:] != both[:-1]).any(axis=1)) + 1).tolist(), len(both)]
    return [Segment("▀" * (end - start), _style(*both[start].tolist())) for start, end in pairwise(starts)]


@lru_cache(maxsize=4096)
def _style(*both: int) -> Style:
    return Style(color=Color.from_rgb(*both[:3]), bgcolor=Color.from_rgb(*both[3:]))
