"""Sound ⇄ payloads: Opus through libopus, G.722 and G.711 through FFmpeg, all by PyAV.

Encoders take one frame and give one payload; decoders take one payload and give as many samples as it holds,
and bridge what did not come. Codec contexts run without threads, so equal input gives equal bytes.
"""

from __future__ import annotations

from typing import Literal, Protocol, cast

import av
import numpy as np

from iceway.core.errors import ParseError
from iceway.media.conceal import Concealer
from iceway.media.resample import Decimator, Interpolator
from iceway.media.sound import FRAME, RATE, Samples, silence

__all__ = [
    "FRAME",
    "MAX_DECODED",
    "RATE",
    "Decoder",
    "Encoder",
    "Samples",
    "decoder",
    "encoder",
    "silence",
]

MAX_DECODED = RATE * 120 // 1000  # the longest Opus packet (RFC 6716 §2)

_OPUS_BIT_RATE = 32_000
# libopus' effort, 0–10: at 5 a frame costs about 0.2 ms, and speech at this rate gains nothing above.
_OPUS_COMPLEXITY = 5
# libopus goes on at nearly full strength for long; what lasts longer than a syllable is a mere hum.
_FADE_FROM, _FADE_TO = RATE * 40 // 1000, RATE * 160 // 1000


class Encoder(Protocol):
    def encode(self, frame: Samples) -> bytes:
        """The payload of one frame of `FRAME` samples."""
        ...


class Decoder(Protocol):
    def decode(self, payload: bytes) -> Samples:
        """The samples of one payload. Raises ParseError if it is none of this codec's."""
        ...

    def conceal(self, count: int) -> Samples:
        """`count` samples in place of sound that did not come."""
        ...


def encoder(name: str) -> Encoder:
    """An encoder for "opus", "G722", "PCMU" or "PCMA"."""
    return OpusEncoder() if name == "opus" else SampleEncoder(*_BY_SAMPLES[name])


def decoder(name: str) -> Decoder:
    return OpusDecoder() if name == "opus" else SampleDecoder(*_BY_SAMPLES[name])


# FFmpeg's name, and the rate of the samples. That of G.722 is not its RTP clock, by an error of old (RFC 3551 §4.5.2).
_BY_SAMPLES = {"G722": ("g722", 16_000), "PCMU": ("pcm_mulaw", 8_000), "PCMA": ("pcm_alaw", 8_000)}


class OpusEncoder:
    """Mono at about 32 kb/s, one frame a packet.

    Tuned for "audio" and an expected loss: frames then lean less on those before them, so that 5 % of packets
    lost cost 4 % of the sound and not 10 % as with libopus' tuning for voice.
    """

    def __init__(self) -> None:
        context = _context("libopus", "w", RATE)
        context.bit_rate = _OPUS_BIT_RATE
        context.options = {
            "application": "audio",
            "packet_loss": "10",
            "frame_duration": "20",
            "compression_level": str(_OPUS_COMPLEXITY),
        }
        self._context = context
        self._pts = 0

    def encode(self, frame: Samples) -> bytes:
        raw = _frame(frame, RATE, self._pts)
        self._pts += FRAME
        return b"".join(bytes(packet) for packet in self._context.encode(raw))


class OpusDecoder:
    """Any Opus, mixed down to mono and, where packets are missing, concealed by the decoder itself.

    It must be told of each hole, or it misjudges the next frames too, which are coded as differences. FFmpeg
    has no call for that; but a frame of no bytes is one that was lost (RFC 6716 §2.1.9), and a packet of
    nothing but the table-of-contents byte holds such a frame.
    """

    def __init__(self) -> None:
        self._context = _context("libopus", "r", RATE)
        self._lost_frame = b""
        self._concealed = 0
        self._left = silence(0)

    def decode(self, payload: bytes) -> Samples:
        samples = _decode(self._context, payload)
        self._lost_frame = bytes([payload[0] & 0xFC])
        self._concealed, self._left = 0, silence(0)
        return samples

    def conceal(self, count: int) -> Samples:
        while len(self._left) < count:
            if not self._lost_frame or self._concealed >= _FADE_TO:
                self._left = np.concatenate([self._left, silence(count - len(self._left))])
                break
            filling = _decode(self._context, self._lost_frame)
            at = self._concealed + np.arange(len(filling))
            loudness = np.clip((_FADE_TO - at) / (_FADE_TO - _FADE_FROM), 0.0, 1.0)
            self._concealed += len(filling)
            self._left = np.concatenate([self._left, np.rint(filling * loudness).astype(np.int16)])
        filled, self._left = self._left[:count], self._left[count:]
        return filled


class SampleEncoder:
    """G.711, G.722: 160 bytes a frame, low-passed and decimated to the codec's rate."""

    def __init__(self, codec: str, rate: int) -> None:
        self._rate = rate
        self._context = _context(codec, "w", rate)
        self._down = Decimator(RATE // rate)

    def encode(self, frame: Samples) -> bytes:
        packets = self._context.encode(_frame(self._down.process(frame), self._rate, None))
        return b"".join(bytes(packet) for packet in packets)


class SampleDecoder:
    def __init__(self, codec: str, rate: int) -> None:
        self._context = _context(codec, "r", rate)
        self._up = Interpolator(RATE // rate)
        self._concealer = Concealer()

    def decode(self, payload: bytes) -> Samples:
        return self._concealer.heard(self._up.process(_decode(self._context, payload)))

    def conceal(self, count: int) -> Samples:
        return self._concealer.fill(count)


def _context(codec: str, mode: Literal["r", "w"], rate: int) -> av.AudioCodecContext:
    context = cast(av.AudioCodecContext, av.CodecContext.create(codec, mode))
    context.sample_rate = rate
    context.layout = "mono"
    context.format = "s16"
    context.thread_count = 1
    return context


def _frame(samples: Samples, rate: int, pts: int | None) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis, :], format="s16", layout="mono")
    frame.sample_rate = rate
    frame.pts = pts
    return frame


def _decode(context: av.AudioCodecContext, payload: bytes) -> Samples:
    if not payload:
        raise ParseError("an empty payload holds no sound")
    try:
        frames = context.decode(av.Packet(payload))
    except (av.error.FFmpegError, ValueError) as error:
        raise ParseError(f"the payload cannot be decoded: {error}") from error
    pieces = [
        np.frombuffer(memoryview(frame.planes[0]), np.int16, frame.samples) for frame in frames
    ]  # s16, mono
    if not pieces:
        raise ParseError("the payload holds no sound")
    return np.concatenate(pieces)[:MAX_DECODED]  # a copy: the planes are FFmpeg's
