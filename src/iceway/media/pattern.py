"""A test pattern that numbers its pictures so that a program can read them, whatever coding did to them.

Seven rows of eight cells, black or white: the first and the last row are always the same and tell which way up the
picture is; between them stand 32 bits of the number and 8 bits of its CRC. Cells are found by their share of the
picture, so it may have been scaled. Colour bars run through the colour planes, for people.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from iceway.media.picture import Picture, luma, plain

_COLUMNS, _ROWS = 8, 7
_BLACK, _WHITE = 40, 210
_TOP, _BOTTOM = 0b11110010, 0b00000101
_LEAST_CONTRAST = 60
_BARS = ((128, 128), (90, 170), (170, 90), (100, 100))

_Cells = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reading:
    """The number of a picture, and how it lies: "upright", "upside down", "mirrored" or "flipped" top to bottom."""

    number: int
    lies: str = "upright"


class PatternSource:
    """Numbered pictures without end, or `count` of them, from `first` on."""

    def __init__(self, width: int = 320, height: int = 180, count: int | None = None, first: int = 0) -> None:
        self._size = width, height
        self._next = first
        self._end = None if count is None else first + count

    def read(self) -> Picture | None:
        if self._end is not None and self._next >= self._end:
            return None
        self._next += 1
        return numbered(self._next - 1, *self._size)


def numbered(number: int, width: int = 320, height: int = 180) -> Picture:
    """The picture with this number (modulo 2^32)."""
    picture = _bars(width, height).copy()
    rows, columns = _edges(height, _ROWS), _edges(width, _COLUMNS)
    cells = np.where(_cells(number & 0xFFFF_FFFF), _WHITE, _BLACK).astype(np.uint8)
    picture[:height] = np.repeat(np.repeat(cells, np.diff(rows), axis=0), np.diff(columns), axis=1)
    return picture


def read(picture: Picture) -> Reading | None:
    """What the picture says, None if it is no such pattern or too damaged to be sure."""
    levels = _levels(luma(picture))
    if levels.max() - levels.min() < _LEAST_CONTRAST:
        return None
    cells = levels > (levels.max() + levels.min()) / 2
    for lies, turned in (
        ("upright", cells),
        ("upside down", cells[::-1, ::-1]),
        ("mirrored", cells[:, ::-1]),
        ("flipped", cells[::-1]),
    ):
        packed = np.packbits(turned, axis=1).ravel().tobytes()
        number = int.from_bytes(packed[1:5])
        if packed == _coded(number):
            return Reading(number, lies)
    return None


def _coded(number: int) -> bytes:
    said = number.to_bytes(4)
    return bytes([_TOP]) + said + bytes([zlib.crc32(said) & 0xFF, _BOTTOM])


def _cells(number: int) -> _Cells:
    bits = np.unpackbits(np.frombuffer(_coded(number), np.uint8))
    return bits.reshape(_ROWS, _COLUMNS).astype(np.bool_)


def _levels(grey: Picture) -> npt.NDArray[np.float64]:
    """The mean of the middle of each cell."""
    rows, columns = _edges(grey.shape[0], _ROWS), _edges(grey.shape[1], _COLUMNS)
    levels = np.zeros((_ROWS, _COLUMNS))
    for row in range(_ROWS):
        top, tall = rows[row], rows[row + 1] - rows[row]
        for column in range(_COLUMNS):
            left, wide = columns[column], columns[column + 1] - columns[column]
            middle = grey[
                top + tall // 4 : top + 1 + 3 * tall // 4, left + wide // 4 : left + 1 + 3 * wide // 4
            ]
            levels[row, column] = middle.mean() if middle.size else 0.0
    return levels


def _edges(length: int, parts: int) -> list[int]:
    return [length * part // parts for part in range(parts + 1)]


@lru_cache(maxsize=4)
def _bars(width: int, height: int) -> Picture:
    picture = plain(width, height)
    columns = _edges(width // 2, len(_BARS))
    planes = picture[height:].reshape(2, height // 2, width // 2)
    for bar, colours in enumerate(_BARS):
        for plane, level in enumerate(colours):
            planes[plane, :, columns[bar] : columns[bar + 1]] = level
    return picture
