"""The recordings that calls are tried with."""

from __future__ import annotations

import wave

import pytest

from iceway.core.errors import UsageError
from iceway.media.speech import SPEAKERS, speech


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_a_recording_is_short_small_and_16_khz(speaker: str) -> None:
    with wave.open(str(speech(speaker))) as recording:
        assert (recording.getframerate(), recording.getnchannels(), recording.getsampwidth()) == (16000, 1, 2)
        assert 3.0 <= recording.getnframes() / 16000 <= 5.0
    assert speech(speaker).stat().st_size < 160_000


def test_nobody_else_has_spoken() -> None:
    with pytest.raises(UsageError, match="alice and bob"):
        speech("carol")
