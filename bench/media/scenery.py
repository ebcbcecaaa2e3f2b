"""What every program of this comparison plays and shows, made before anybody counts."""

from __future__ import annotations

from functools import cache

import numpy as np

from iceway.media.files import MemorySource, Source, ToneSource
from iceway.media.pattern import numbered
from iceway.media.picture import Picture
from iceway.media.pictures import MemoryPictures
from iceway.media.sound import FRAME, RATE

FRAME_RATE = 15.0
WIDTH, HEIGHT = 640, 360
BIT_RATE = 500_000  # aiortc's own
_PICTURES = 45


def tone() -> Source:
    """A second of a tone, over and over."""
    source = ToneSource(440.0)
    frames = [source.read() for _ in range(RATE // FRAME)]
    return MemorySource(np.concatenate([frame for frame in frames if frame is not None]), loop=True)


def pictures() -> MemoryPictures:
    """Three seconds of numbered pictures with a camera's noise, over and over."""
    return MemoryPictures(_grainy(), loop=True)


@cache
def _grainy() -> list[Picture]:
    rng = np.random.default_rng(1)
    shown = []
    for number in range(_PICTURES):
        picture = numbered(number, WIDTH, HEIGHT)
        noise = rng.integers(-6, 7, picture.shape)
        shown.append(np.clip(picture + noise, 0, 255).astype(np.uint8))
    return shown
