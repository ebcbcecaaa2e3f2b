"""Pictures and slides on the command line: `iceway call` and `iceway answer` as processes, their recordings read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from iceway.media.files import load
from iceway.media.heard import compare
from iceway.media.pattern import numbered, read
from iceway.media.picture import picture_of
from iceway.media.sound import FRAME
from iceway.media.speech import speech
from iceway.media.video_files import MkvRecorder
from tests.e2e.programs import DOMAIN, Company, password

A_FEW = 10
"""Pictures that tell that a stream flows. How many arrive of all is asked in virtual time (`test_pictures.py`), where no
other program makes this machine slow."""


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    company = Company(tmp_path)
    yield company
    company.close()


def film(path: Path) -> None:
    """Alice's speech, and ten numbered pictures a second with it."""
    recorder, sound = MkvRecorder(path, size=(320, 180)), load(speech("alice"))
    for frame, at in enumerate(range(0, len(sound) - FRAME, FRAME)):
        if frame % 5 == 0:
            recorder.pictures.show(numbered(frame // 5), frame / 50)
        recorder.sound.write(sound[at : at + FRAME])
    recorder.pictures.close()
    recorder.sound.close()


def seen(recording: Path, stream: int = 0) -> list[tuple[float, int]]:
    """Time and number of the pictures in one stream of a recording."""
    with av.open(str(recording)) as container:
        readings = [(frame.time, read(picture_of(frame))) for frame in container.decode(video=stream)]
    return [(at or 0.0, reading.number) for at, reading in readings if reading is not None]


def test_a_film_and_slides_in_a_call_that_both_record(company: Company) -> None:
    film(company.path("film.mkv"))
    company.serves()
    company.adds("alice", "bob")
    shows = ("--video", "pattern:320x180", "--share", "watch", "--ring-for", "0")
    bob = company.run(
        "bob",
        *("answer", *company.account("bob"), "--play", str(speech("bob")), "--record", "bob-{n}.mkv", *shows),
        ICEWAY_PASSWORD=password("bob"),
    )
    bob.prints("registered as")
    alice = company.done(
        "alice",
        *("call", f"bob@{DOMAIN}", *company.account("alice"), "--json", "--play", "film.mkv"),
        *("--share", "pattern:640x360", "--record", "alice.mkv"),
        ICEWAY_PASSWORD=password("alice"),
    )
    assert alice.process.returncode == 0, alice.told()
    told = [json.loads(line) for line in alice.output.splitlines()]
    assert {"event": "streams", "streams": ["audio", "video", "slides"]} in told
    stats = told[-1]["stats"]
    assert list(stats) == ["audio", "video", "slides"]
    assert min(stats["video"]["frames_sent"], stats["video"]["frames_shown"]) > A_FEW
    assert stats["slides"]["frames_shown"] == 0, "Bob only watches"
    bob.prints("^the call carries audio, video, slides$")
    bob.prints("^bob ↔ alice: direct")
    assert bob.interrupted() == 0

    heard = compare(speech("alice"), company.path("bob-1.mkv"))
    assert heard.share > 0.9
    assert compare(speech("bob"), company.path("alice.mkv")).share > 0.9
    film_seen, slides_seen = seen(company.path("bob-1.mkv")), seen(company.path("bob-1.mkv"), 1)
    numbers = [number for _, number in film_seen]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > A_FEW
    # The picture of each tenth of a second is seen when its sound is heard.
    apart = np.array([at - number / 10 - heard.delay for at, number in film_seen])
    assert np.abs(np.median(apart)) < 0.25
    slides = [number for _, number in slides_seen]
    assert slides == sorted(slides)
    assert len(slides) > A_FEW
    assert len(seen(company.path("alice.mkv"))) > A_FEW
