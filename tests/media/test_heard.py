"""How much was heard, judged on recordings damaged in known ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from iceway.media.codecs import decoder, encoder
from iceway.media.files import WavSink, load
from iceway.media.heard import compare
from iceway.media.sound import FRAME, RATE, Samples, silence
from iceway.media.speech import speech


@pytest.fixture(scope="module", params=["alice", "bob"])
def said(request: pytest.FixtureRequest) -> Samples:
    return load(speech(request.param))


def coded(samples: Samples, codec: str) -> Samples:
    enc, dec = encoder(codec), decoder(codec)
    whole = range(0, len(samples) - FRAME + 1, FRAME)
    return np.concatenate([dec.decode(enc.encode(samples[at : at + FRAME])) for at in whole])


def test_the_recording_itself_was_heard_whole(said: Samples) -> None:
    heard = compare(said, said)
    assert heard.share == 1.0
    assert heard.correlation == pytest.approx(1.0)
    assert heard.delay == 0.0


@pytest.mark.parametrize("codec", ["opus", "PCMU"])
def test_coding_volume_and_delay_are_no_loss(said: Samples, codec: str) -> None:
    heard = compare(said, np.concatenate([silence(RATE // 2), coded(said, codec) // 4, silence(RATE)]))
    assert heard.share > 0.97
    assert heard.correlation > 0.9
    assert heard.delay == pytest.approx(0.5, abs=0.02)


def test_a_gap_of_three_tenths_is_three_tenths_lost(said: Samples) -> None:
    heard = coded(said, "opus").copy()
    start, length = int(len(heard) * 0.35), int(len(heard) * 0.3)
    heard[start : start + length] = 0
    assert compare(said, heard).share == pytest.approx(0.7, abs=0.05)


def test_so_is_a_cut_that_closes_up(said: Samples) -> None:
    heard = coded(said, "opus")
    start, length = int(len(heard) * 0.35), int(len(heard) * 0.3)
    cut = np.concatenate([heard[:start], heard[start + length :]])
    assert compare(said, cut).share == pytest.approx(0.7, abs=0.05)


def test_and_a_beginning_that_is_missing(said: Samples) -> None:
    heard = compare(said, coded(said, "opus")[int(len(said) * 0.3) :])
    assert heard.share == pytest.approx(0.7, abs=0.05)
    assert heard.delay == pytest.approx(-0.3 * len(said) / RATE, abs=0.02)


def test_and_three_of_ten_packets(said: Samples) -> None:
    heard = coded(said, "opus").copy()
    for at in range(0, len(heard), FRAME):
        if at // FRAME * 3 % 10 < 3:
            heard[at : at + FRAME] = 0
    assert compare(said, heard).share == pytest.approx(0.7, abs=0.08)


def test_noise_tone_and_silence_are_not_the_recording(said: Samples) -> None:
    noise = (np.random.default_rng(7).normal(size=len(said)) * 3000).astype(np.int16)
    tone = np.rint(np.sin(np.arange(len(said)) * 0.0576) * 8000).astype(np.int16)
    for other in (noise, tone, silence(len(said)), silence(0), silence(5)):
        heard = compare(said, other)
        assert heard.share < 0.03
        assert heard.correlation < 0.2


def test_another_voice_is_not_the_recording() -> None:
    assert compare(speech("alice"), speech("bob")).share < 0.1
    assert compare(speech("bob"), speech("alice")).share < 0.1


def test_nothing_said_is_nothing_heard(said: Samples) -> None:
    assert compare(silence(0), said).share == 0.0
    assert compare(silence(RATE), said).share == 0.0


def test_files_of_other_rates_are_compared_too(tmp_path: Path) -> None:
    sink = WavSink(tmp_path / "heard.wav", 16_000)
    sink.write(load(speech("alice"))[: 4 * RATE // 10 * 10])
    sink.close()
    assert compare(speech("alice"), tmp_path / "heard.wav").share > 0.97
