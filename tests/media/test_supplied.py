"""Sources and sinks of programs that fail: the reason is told once, and nothing flies."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import numpy as np
import pytest

from iceway.core.machine import drain
from iceway.media.files import MemorySink as MemorySound
from iceway.media.files import SilenceSource, ToneSource, WavSink
from iceway.media.pattern import PatternSource, numbered
from iceway.media.picture import Picture, plain
from iceway.media.pictures import MemorySink as MemoryPictures
from iceway.media.session import AudioSession, SourceFinished
from iceway.media.sound import FRAME, Samples, silence
from iceway.media.supplied import PicturesIn, PicturesOut, SoundIn, SoundOut
from iceway.media.video import VideoSession
from iceway.media.video_files import MkvRecorder
from iceway.trace.records import Note
from tests.media.test_session import Call as AudioCall
from tests.media.test_video import Call as VideoCall
from tests.media.test_video import terms


class Gives:
    """A program's source: what it gives one after the other; an exception is raised."""

    def __init__(self, *things: object) -> None:
        self._things = list(things)
        self.closed = 0

    def read(self) -> object:
        thing = self._things.pop(0) if self._things else None
        if isinstance(thing, Exception):
            raise thing
        return thing


class Fails:
    """A program's sink."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.closed = 0

    def write(self, samples: Samples) -> None:
        raise self._error

    def show(self, picture: Picture, at: float) -> None:
        raise self._error

    def close(self) -> None:
        self.closed += 1
        raise self._error


def test_a_source_of_sound_that_raises_is_at_its_end() -> None:
    told: list[Note] = []
    frame = np.ones(FRAME, np.int16)
    source = SoundIn(Gives(frame, ZeroDivisionError("division by zero"), frame), told.append)  # type: ignore[arg-type]
    assert source.read() is frame
    assert source.read() is source.read() is None
    (note,) = told
    assert note.level == "error"
    assert note.text.endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (np.zeros(441, np.int16), "441 of int16"),
        (np.zeros(FRAME), "960 of float64"),
        (np.zeros((1, FRAME), np.int16), "1×960 of int16"),
        (b"sound", "a bytes"),
    ],
)
def test_what_is_no_frame_is_silence_and_said_once(thing: object, words: str) -> None:
    told: list[Note] = []
    source = SoundIn(Gives(thing, thing), told.append)  # type: ignore[arg-type]
    for _ in range(2):
        frame = source.read()
        assert frame is not None
        assert np.array_equal(frame, silence())
    assert source.read() is None
    (note,) = told
    assert words in note.text


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (np.zeros((540, 641), np.uint8), "540×641 of uint8"),
        (np.zeros((541, 640), np.uint8), "541×640"),
        (np.zeros((363 * 3 // 2, 640), np.uint8), "544×640"),
        (np.zeros((0, 0), np.uint8), "0×0"),
        (np.zeros((360, 640, 3), np.uint8), "360×640×3"),
        (np.zeros((540, 640)), "float64"),
        (np.zeros((6000, 8000), np.uint8), "6000×8000"),
        ("picture", "a str"),
    ],
)
def test_what_is_no_picture_is_the_one_before_again_and_said_once(thing: object, words: str) -> None:
    told: list[Note] = []
    good = numbered(3)
    source = PicturesIn(Gives(thing, good, thing, None), told.append)  # type: ignore[arg-type]
    first = source.read()
    assert first is not None
    assert (first[:180] == 16).all(), "black"
    assert source.read() is good
    assert source.read() is good
    assert source.read() is None
    (note,) = told
    assert words in note.text


def test_a_source_of_pictures_that_raises_is_at_its_end() -> None:
    told: list[Note] = []
    source = PicturesIn(Gives(numbered(1), RuntimeError("the window is gone"), numbered(2)), told.append)  # type: ignore[arg-type]
    assert source.read() is not None
    assert source.read() is source.read() is None
    assert [note.text.rpartition(": ")[2] for note in told] == ["the window is gone"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("closed file")]
)
def test_a_sink_that_raises_is_closed_once_and_not_asked_again(error: Exception) -> None:
    told: list[Note] = []
    program = Fails(error)
    sound, pictures = SoundOut(program, told.append), PicturesOut(program, told.append)
    for _ in range(3):
        sound.write(silence())
        pictures.show(plain(8, 8), 0.0)
    sound.close()
    pictures.close()
    assert program.closed == 2
    why = "No space left on device" if isinstance(error, OSError) else "ValueError: closed file"
    end = f"the recording may lack its end: {why}"
    assert [note.text for note in told] == [
        f"what is heard is not recorded from here on: {why}",
        end,
        f"what is seen is not recorded from here on: {why}",
        end,
    ]


# --- in sessions ------------------------------------------------------------------------------------------
def test_a_session_of_sound_outlives_its_source_and_its_sink() -> None:
    call = AudioCall(alice=Gives(RuntimeError("no microphone")), bob=ToneSource())  # type: ignore[arg-type]
    call.alice._sink = SoundOut(Fails(KeyError("ear")), call.alice.emit)
    call.both_talk().until(2.0)
    assert len(call.outputs("alice", SourceFinished)) == 1
    assert [type(note) for note in call.outputs("alice", Note)] == [Note] * 3
    assert call.bob.stats().packets_received > 90, "silence goes on"
    assert call.alice.stats().packets_received > 90


def test_a_session_of_pictures_outlives_its_source_and_its_sink() -> None:
    odd = np.zeros((541, 641), np.uint8)
    source = Gives(numbered(0), odd, numbered(1), RuntimeError("unplugged"))
    call = VideoCall(source=source)  # type: ignore[arg-type]
    bad = Fails(KeyError("eye"))
    call.bob = VideoSession("bob", terms()[1], PatternSource(), bad, random.Random(4))
    call.until(2.0)
    assert call.bob.stats(call.now).frames_shown == 3
    assert bad.closed == 1
    assert len(call.outputs("alice", Note)) == 2
    assert len(call.outputs("alice", SourceFinished)) == 1


def test_a_wav_file_on_a_full_disk_ends_the_recording_and_not_the_call() -> None:
    call = AudioCall(bob=ToneSource())
    call.alice = AudioSession(
        "alice", call.alice.negotiated, SilenceSource(), WavSink("/dev/full"), random.Random(3)
    )
    call.both_talk().until(3.0)
    call.alice.close(call.now)
    notes = [*call.outputs("alice", Note), *(o for o in drain(call.alice) if isinstance(o, Note))]
    assert notes
    assert all("No space left on device" in note.text for note in notes if isinstance(note, Note))
    assert call.alice.stats().packets_received > 140


def test_a_film_on_a_full_disk_ends_the_recording_and_not_the_call() -> None:
    recorder = MkvRecorder(Path("/dev/full"), size=(320, 180), with_sound=False)
    call = VideoCall()
    call.bob = VideoSession("bob", terms()[1], PatternSource(), recorder.pictures, random.Random(4))
    call.until(3.0)
    call.bob.close(call.now)
    notes = [*call.outputs("bob", Note), *(o for o in drain(call.bob) if isinstance(o, Note))]
    assert notes
    assert all("No space left on device" in note.text for note in notes if isinstance(note, Note))
    assert call.bob.stats(call.now).frames_shown > 40


def test_what_is_sound_passes_untouched() -> None:
    told: list[Note] = []
    sound, sight = MemorySound(), MemoryPictures()
    source = SoundIn(ToneSource(), told.append)
    frames = [source.read() for _ in range(3)]
    out, show = SoundOut(sound, told.append), PicturesOut(sight, told.append)
    for frame in frames:
        assert frame is not None
        out.write(frame)
    show.show(numbered(1), 0.25)
    out.close()
    assert np.array_equal(sound.samples, np.concatenate([frame for frame in frames if frame is not None]))
    assert sight.seen[0][0] == 0.25
    assert told == []
