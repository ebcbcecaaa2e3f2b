"""What a picture is here: an array of bytes, the planes of 4:2:0 video one below the other.

`height × width` bytes of luma, then a quarter as much of each colour: FFmpeg's "yuv420p" as PyAV gives and takes it.
Width and height are even.
"""

from __future__ import annotations

from typing import cast

import av
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

MAX_PIXELS = 4096 * 2304


def size(picture: Picture) -> tuple[int, int]:
    """Width and height."""
    return picture.shape[1], picture.shape[0] * 2 // 3


def luma(picture: Picture) -> Picture:
    return picture[: picture.shape[0] * 2 // 3]


def plain(width: int, height: int, level: int = 16) -> Picture:
    """A picture of one grey; 16 is black."""
    picture = np.full((height * 3 // 2, width), 128, np.uint8)
    picture[:height] = level
    return picture


def frame_of(picture: Picture) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(picture, format="yuv420p")


def picture_of(frame: av.VideoFrame, width: int = 0, height: int = 0) -> Picture:
    """The frame as a picture, scaled to `width` × `height` or made even."""
    width, height = width or frame.width - frame.width % 2, height or frame.height - frame.height % 2
    if (frame.format.name, frame.width, frame.height) != ("yuv420p", width, height):
        frame = frame.reformat(width=width, height=height, format="yuv420p")
    return cast(Picture, frame.to_ndarray())


def framed(picture: Picture, width: int, height: int) -> Picture:
    """The picture as a whole in the middle of one of this size, larger or smaller than it was; black around it."""
    if size(picture) == (width, height):
        return picture
    its_width, its_height = size(picture)
    share = min(width / its_width, height / its_height)
    wide, tall = max(2, int(its_width * share) & ~1), max(2, int(its_height * share) & ~1)
    scaled = picture_of(frame_of(picture), wide, tall)
    left, top = (width - wide) // 4 * 2, (height - tall) // 4 * 2
    whole = plain(width, height)
    whole[top : top + tall, left : left + wide] = scaled[:tall]
    here, there = (
        whole[height:].reshape(2, height // 2, width // 2),
        scaled[tall:].reshape(2, tall // 2, wide // 2),
    )
    here[:, top // 2 : (top + tall) // 2, left // 2 : (left + wide) // 2] = there
    return whole


def fitting(width: int, height: int, limit: tuple[int, int]) -> tuple[int, int]:
    """The size, even, at which something so large fits into `limit` without being stretched."""
    share = min(1.0, limit[0] / width, limit[1] / height)
    return max(2, int(width * share) & ~1), max(2, int(height * share) & ~1)
