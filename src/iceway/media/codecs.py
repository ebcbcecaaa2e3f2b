"""Sound ⇄ payloads: Opus through libopus, G.711 through FFmpeg's tables, both by PyAV.

Inside the program sound is always 48 kHz mono, signed 16 bits, in numpy arrays; a frame is 20 ms of it.
Encoders take one frame and give one payload; decoders take one payload and give as many samples as it holds.
Codec contexts run without threads, so equal input gives equal bytes.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias, cast

import av
import numpy as np
import numpy.typing as npt

from iceway.core.errors import ParseError
from iceway.media.resample import Decimator, Interpolator

Samples: TypeAlias = npt.NDArray[np.int16]

RATE = 48_000
FRAME = 960  # samples: 20 ms
FRAME_DURATION = 0.020
MAX_DECODED = RATE * 120 // 1000  # the longest Opus packet (RFC 6716 §2)

_OPUS_BIT_RATE = 32_000
# libopus' effort, 0–10: at 5 a frame costs about 0.2 ms, and speech at this rate gains nothing above.
_OPUS_COMPLEXITY = 5


class Encoder(Protocol):
    def encode(self, frame: Samples) -> bytes:
        """The payload of one frame of `FRAME` samples."""
        ...


class Decoder(Protocol):
    def decode(self, payload: bytes) -> Samples:
        """The samples of one payload. Raises ParseError if it is none of this codec's."""
        ...


def encoder(name: str) -> Encoder:
    """An encoder for "opus", "PCMU" or "PCMA"."""
    return OpusEncoder() if name == "opus" else G711Encoder(_LAWS[name])


def decoder(name: str) -> Decoder:
    return OpusDecoder() if name == "opus" else G711Decoder(_LAWS[name])


def silence(samples: int = FRAME) -> Samples:
    return np.zeros(samples, np.int16)


_LAWS = {"PCMU": "pcm_mulaw", "PCMA": "pcm_alaw"}


class OpusEncoder:
    """Voice at 32 kb/s, mono, one frame a packet."""

    def __init__(self) -> None:
        context = _context("libopus", "w", RATE)
        context.bit_rate = _OPUS_BIT_RATE
        context.options = {
            "application": "voip",
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
    """Any Opus, mixed down to mono by the decoder itself."""

    def __init__(self) -> None:
        self._context = _context("libopus", "r", RATE)

    def decode(self, payload: bytes) -> Samples:
        return _decode(self._context, payload)


class G711Encoder:
    """160 bytes a frame, low-passed and decimated to 8 kHz."""

    def __init__(self, law: str) -> None:
        self._context = _context(law, "w", 8000)
        self._down = Decimator(6)

    def encode(self, frame: Samples) -> bytes:
        packets = self._context.encode(_frame(self._down.process(frame), 8000, None))
        return b"".join(bytes(packet) for packet in packets)


class G711Decoder:
    def __init__(self, law: str) -> None:
        self._context = _context(law, "r", 8000)
        self._up = Interpolator(6)

    def decode(self, payload: bytes) -> Samples:
        return self._up.process(_decode(self._context, payload))


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
    pieces = [frame.to_ndarray()[0].astype(np.int16, copy=False) for frame in frames]
    if not pieces:
        raise ParseError("the payload holds no sound")
    return np.concatenate(pieces)[:MAX_DECODED]
