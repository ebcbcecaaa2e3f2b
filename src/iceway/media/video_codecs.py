"""Pictures ⇄ coded pictures: VP8 through libvpx, H.264 through libx264 and FFmpeg's decoder, all by PyAV.

Encoders are set for conversation: no picture waits for another, none is left out, and whole pictures come only when
asked for. Codec contexts run without threads, so equal input gives equal bytes. A decoder refuses pictures of more
than `MAX_PIXELS`, before it has room made for them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av
from av.video.frame import PictureType

from iceway.core.errors import ParseError
from iceway.media.picture import MAX_PIXELS, Picture, frame_of, picture_of, size

VIDEO_CLOCK = 90_000
_LONGEST_GOP = 3000
_WORTH_REOPENING = 0.15  # a smaller change of rate does not pay for the whole picture that libvpx then needs

_OPTIONS = {
    "VP8": {
        "deadline": "realtime",
        "cpu-used": "-8",  # an effort of 8; without the sign libvpx would set it by how busy the machine is
        "lag-in-frames": "0",
        "auto-alt-ref": "0",
        "error-resilient": "default",
        "static-thresh": "1",
    },
    "H264": {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline", "forced-idr": "1"},
}
_ENCODERS = {"VP8": "libvpx", "H264": "libx264"}
_DECODERS = {"VP8": "vp8", "H264": "h264"}


class VideoEncoder:
    """One stream of pictures; their size may change on the way. `name` is "VP8" or "H264"."""

    def __init__(self, name: str, frame_rate: float, bit_rate: int) -> None:
        self._name = name
        self._rate = Fraction(frame_rate).limit_denominator(1000)
        self._wanted = self._bit_rate = bit_rate
        self._context: av.VideoCodecContext | None = None
        self._pts = 0

    @property
    def bit_rate(self) -> int:
        """Bit/s that it is set to."""
        return self._bit_rate

    def set_bit_rate(self, bit_rate: int) -> None:
        """libx264 changes its rate on the way; libvpx is begun anew, for changes that are worth it."""
        self._wanted = bit_rate
        if self._context is None:
            self._bit_rate = bit_rate
        elif self._name == "H264":
            self._context.bit_rate = self._bit_rate = bit_rate
        elif abs(bit_rate - self._bit_rate) > _WORTH_REOPENING * self._bit_rate:
            self._context = None

    def encode(self, picture: Picture, whole: bool = False) -> bytes:
        """The coded picture; `whole` asks for one that can be shown without any before it."""
        width, height = size(picture)
        if self._context is None or (self._context.width, self._context.height) != (width, height):
            self._context = self._opened(width, height)
        frame = frame_of(picture)
        frame.pts, frame.time_base = self._pts, 1 / self._rate
        frame.pict_type = PictureType.I if whole else PictureType.NONE
        self._pts += 1
        return b"".join(bytes(packet) for packet in self._context.encode(frame))

    def _opened(self, width: int, height: int) -> av.VideoCodecContext:
        context = cast(av.VideoCodecContext, av.CodecContext.create(_ENCODERS[self._name], "w"))
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate, context.time_base = self._rate, 1 / self._rate
        context.gop_size = _LONGEST_GOP
        context.thread_count = 1
        self._bit_rate = self._wanted
        context.bit_rate = self._bit_rate
        half_a_second = str(self._bit_rate // 2)
        context.options = {
            **_OPTIONS[self._name],
            "minrate": str(self._bit_rate) if self._name == "VP8" else "0",
            "maxrate": str(self._bit_rate),
            "bufsize": half_a_second,
        }
        return context


class VideoDecoder:
    """One stream of coded pictures, each given whole."""

    def __init__(self, name: str) -> None:
        context = cast(av.VideoCodecContext, av.CodecContext.create(_DECODERS[name], "r"))
        context.thread_count = 1
        context.options = {"max_pixels": str(MAX_PIXELS), "flags": "low_delay"}
        self._context = context

    def decode(self, data: bytes) -> list[Picture]:
        """The pictures that this gives, none or one as a rule. Raises ParseError if it is none of this codec's."""
        try:
            frames = self._context.decode(av.Packet(data))
            return [picture_of(frame) for frame in frames if frame.width >= 2 and frame.height >= 2]
        except (av.error.FFmpegError, ValueError) as error:
            raise ParseError(f"the picture cannot be decoded: {error}") from error
