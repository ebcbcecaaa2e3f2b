"""A flash and a beep at one instant, sent as two streams and recorded at the other end: how far they are apart then."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from iceway.lab.topology import Link
from iceway.media.picture import Picture, luma, picture_of, plain
from iceway.media.sound import FRAME, RATE, Samples, silence
from iceway.media.video_files import MkvRecorder
from tests.media.conversation import RATES, Brings, Conversation

APART = 1 / RATES["video"] + 0.02
"""A picture and 20 ms: less than anybody notices."""


class Beeps:
    """60 ms of a tone at the beginning of each second."""

    def __init__(self) -> None:
        self._frame = 0

    def read(self) -> Samples:
        at, self._frame = self._frame % 50, self._frame + 1
        if at >= 3:
            return silence()
        time = (at * FRAME + np.arange(FRAME)) / RATE
        return np.rint(12_000 * np.sin(2 * np.pi * 800 * time)).astype(np.int16)


class Flashes:
    """One white picture at the beginning of each second."""

    def __init__(self) -> None:
        self._picture = 0

    def read(self) -> Picture:
        at, self._picture = self._picture % 15, self._picture + 1
        return plain(320, 180, 235 if at == 0 else 16)


def flashes(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        shown = [
            (float(frame.time or 0.0), float(luma(picture_of(frame)).mean()))
            for frame in container.decode(container.streams.video[0])
        ]
    return [at for (at, bright), (_, before) in zip(shown[1:], shown, strict=False) if bright > 120 > before]


def beeps(path: Path) -> list[float]:
    """When each of them begins; what goes on within half a second is the same one."""
    with av.open(str(path)) as container:
        pieces = [frame.to_ndarray()[0] for frame in container.decode(container.streams.audio[0])]
    loud = np.flatnonzero(np.abs(np.concatenate(pieces).astype(np.int32)) > 3000) / RATE
    return [float(at) for at, before in zip(loud, [-1.0, *loud], strict=False) if at - before > 0.5]


def apart(path: Path) -> list[float]:
    """Of each flash, the distance to the nearest beep: positive where the sound is late."""
    heard = np.array(beeps(path))
    return [float(heard[np.abs(heard - at).argmin()] - at) for at in flashes(path)]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "link",
    [
        Link(delay=0.03),
        Link(delay=0.15),
        Link(delay=0.03, jitter=0.05),
        Link(delay=0.03, jitter=0.12),
        Link(delay=0.03, jitter=0.05, loss=0.05),
    ],
    ids=["near", "far", "jitter", "much jitter", "loss"],
)
def test_sound_and_pictures_are_recorded_as_they_were_taken(link: Link, seed: int, tmp_path: Path) -> None:
    path = tmp_path / "call.mkv"
    recorder = MkvRecorder(path, size=(320, 180))
    call = Conversation(
        link,
        alice=Brings(says=Beeps(), shows=Flashes()),
        bob=Brings(hears=recorder.sound, watches=recorder.pictures),
        seed=seed,
    ).until(8.0)
    for session in call.bob.sessions.values():
        session.close(call.now)
    distances = apart(path)
    assert len(distances) >= 5
    assert max(abs(distance) for distance in distances) <= APART, distances
