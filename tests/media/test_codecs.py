"""Sound in, payload out, sound back: the same sound, in whole frames, the same bytes every time."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.media.codecs import MAX_DECODED, decoder, encoder
from iceway.media.files import load
from iceway.media.formats import CODECS
from iceway.media.sound import FRAME, RATE, Samples
from iceway.media.speech import speech

NAMES = sorted(CODECS)


def frames_of(samples: Samples) -> list[Samples]:
    return [samples[at : at + FRAME] for at in range(0, len(samples) - FRAME + 1, FRAME)]


def tone(frequency: float, seconds: float = 1.0) -> Samples:
    return np.rint(np.sin(np.arange(int(RATE * seconds)) * 2 * np.pi * frequency / RATE) * 8000).astype(
        np.int16
    )


def power_at(samples: Samples, frequency: float) -> float:
    """The share of a signal's power that lies within 20 Hz of a frequency."""
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64) * np.hanning(len(samples)))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(spectrum[abs(frequencies - frequency) < 20].sum() / spectrum.sum())


@pytest.mark.parametrize("name", NAMES)
def test_a_tone_survives(name: str) -> None:
    enc, dec = encoder(name), decoder(name)
    said = tone(1000)
    heard = np.concatenate([dec.decode(enc.encode(frame)) for frame in frames_of(said)])
    assert len(heard) == len(said)
    assert power_at(heard[RATE // 10 :], 1000) > 0.99
    assert heard[RATE // 10 :].std() == pytest.approx(said.std(), rel=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_is_a_payload_of_the_expected_size(name: str) -> None:
    payload = encoder(name).encode(tone(300)[:FRAME])
    assert len(payload) == 160 if name != "opus" else 20 < len(payload) < 250


@pytest.mark.parametrize("name", NAMES)
def test_equal_sound_gives_equal_bytes(name: str) -> None:
    frames = frames_of(load(speech("alice")))[:50]
    one, other = encoder(name), encoder(name)
    assert [one.encode(frame) for frame in frames] == [other.encode(frame) for frame in frames]


def test_g711_is_what_the_standard_says() -> None:
    # ITU-T G.711: the code for silence, and full scale both ways.
    assert decoder("PCMU").decode(b"\xff" * 160).any() == np.False_
    loud = [decoder(name).decode(code * 160)[400] for name, code in (("PCMU", b"\x80"), ("PCMA", b"\xaa"))]
    assert loud == [pytest.approx(32124, rel=0.01), pytest.approx(32256, rel=0.01)]
    quiet = encoder("PCMU").encode(np.zeros(FRAME, np.int16))
    assert quiet == b"\xff" * 160
    assert encoder("PCMA").encode(np.zeros(FRAME, np.int16)) == b"\xd5" * 160


def test_what_g711_cannot_carry_does_not_fold_back() -> None:
    enc, dec = encoder("PCMU"), decoder("PCMU")
    heard = np.concatenate([dec.decode(enc.encode(frame)) for frame in frames_of(tone(5000))])
    assert heard[RATE // 10 :].std() < tone(5000).std() / 100


def test_g722_carries_twice_the_band() -> None:
    """RFC 3551 §4.5.2: 16 kHz of sound under a clock of 8 kHz."""
    enc, dec = encoder("G722"), decoder("G722")
    heard = np.concatenate([dec.decode(enc.encode(frame)) for frame in frames_of(tone(5000))])
    assert power_at(heard[RATE // 10 :], 5000) > 0.98
    assert CODECS["G722"].clock_rate == 8000


def test_packets_of_other_lengths_decode() -> None:
    assert len(decoder("PCMU").decode(b"\xff" * 80)) == FRAME // 2
    assert len(decoder("PCMA").decode(b"\xd5" * 480)) == FRAME * 3
    # A single-byte Opus packet, code 0 of configuration 31 (CELT, 20 ms): a frame that was not sent.
    assert len(decoder("opus").decode(b"\xf8")) == FRAME


@settings(max_examples=150)
@given(st.sampled_from(NAMES), st.binary(max_size=300))
def test_no_payload_crashes_a_decoder(name: str, payload: bytes) -> None:
    dec = decoder(name)
    try:
        samples = dec.decode(payload)
    except ParseError:
        samples = np.zeros(0, np.int16)
    assert samples.dtype == np.int16
    assert len(samples) <= 6 * MAX_DECODED
    # And it still decodes what is good.
    assert len(dec.decode(encoder(name).encode(tone(300)[:FRAME]))) == FRAME


@pytest.mark.parametrize("name", NAMES)
def test_a_lost_frame_costs_little_more_than_itself(name: str) -> None:
    """One in twelve lost: what follows a hole must come out as if there had been none."""
    enc, dec, lossless = encoder(name), decoder(name), decoder(name)
    good = total = 0
    for number, frame in enumerate(frames_of(load(speech("alice")))):
        payload = enc.encode(frame)
        whole = lossless.decode(payload).astype(float)
        heard = dec.conceal(FRAME) if number % 12 == 5 else dec.decode(payload)
        assert len(heard) == FRAME
        if number % 12 in (7, 8, 9, 10, 11) and whole.std() > 300:
            total += 1
            good += float(np.corrcoef(whole, heard)[0, 1]) > 0.8
    assert total > 30
    assert good / total > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_concealment_of_any_length_fades_to_silence(name: str) -> None:
    enc, dec = encoder(name), decoder(name)
    assert not dec.conceal(100).any()
    for frame in frames_of(load(speech("alice")))[10:30]:
        dec.decode(enc.encode(frame))
    pieces = [dec.conceal(700) for _ in range(30)]
    assert {len(piece) for piece in pieces} == {700}
    assert pieces[0].std() > 4 * pieces[10].std()
    assert not pieces[-1].any()


@pytest.mark.parametrize(
    ("layout", "duration"), [("stereo", "20"), ("stereo", "60"), ("mono", "10"), ("mono", "40")]
)
def test_any_peers_opus_is_heard_in_mono(layout: str, duration: str) -> None:
    context = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format = RATE, layout, "s16"
    context.options = {"frame_duration": duration}
    context.open()
    size, channels, said, dec = context.frame_size, 2 if layout == "stereo" else 1, tone(700), decoder("opus")
    heard = []
    for at in range(0, len(said) - size + 1, size):
        interleaved = np.repeat(said[at : at + size], channels)[np.newaxis, :]
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
        frame.sample_rate, frame.pts = RATE, at
        heard += [dec.decode(bytes(packet)) for packet in context.encode(frame)]
    assert {len(piece) for piece in heard} == {RATE * int(duration) // 1000}
    sound = np.concatenate(heard)[RATE // 10 :]
    assert power_at(sound, 700) > 0.99
    assert sound.std() == pytest.approx(said.std(), rel=0.05)
    assert len(dec.conceal(FRAME)) == FRAME
