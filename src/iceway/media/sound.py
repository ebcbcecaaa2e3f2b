"""Sound as the program holds it: 48 kHz mono, signed 16 bits, in numpy arrays; a frame is 20 ms of it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Samples: TypeAlias = npt.NDArray[np.int16]

RATE = 48_000
FRAME = 960  # samples: 20 ms
FRAME_DURATION = 0.020


def silence(samples: int = FRAME) -> Samples:
    return np.zeros(samples, np.int16)
