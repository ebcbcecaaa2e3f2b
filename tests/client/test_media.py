"""What arrives on a transport that several streams share finds the stream that it is of."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from iceway.client.media import CallMedia, Media
from iceway.media.description import Negotiated
from iceway.media.files import MemorySink, SilenceSource
from iceway.media.formats import CODECS, VIDEO_CODECS
from iceway.media.pictures import MemorySink as Seen
from iceway.media.pictures import Pictures
from iceway.wire.rtp import RtpPacket, serialize_rtp
from iceway.wire.rtp_extension import serialize_element

KINDS = ("audio", "video", "slides")
SOUND, PICTURES = CODECS["PCMU"], VIDEO_CODECS["VP8"]


def carrying(**announced: tuple[int, ...]) -> CallMedia:
    """A call in clear whose two streams of pictures have the same payload type."""
    media = Media(
        SilenceSource(), MemorySink(), SilenceSource(), Pictures(sink=Seen()), Pictures(sink=Seen())
    )
    carried = CallMedia("call.1", media, random.Random(1), "alice")
    for number, kind in enumerate(KINDS):
        codec = SOUND if kind == "audio" else PICTURES
        terms = Negotiated(codec, (codec,), None, None, None, None, named=(4, str(number)))
        carried.agreed(kind, replace(terms, their_ssrcs=announced.get(kind, ())), "id", 0.0)
    return carried


def packet(payload_type: int, ssrc: int, mid: bytes | None = None) -> bytes:
    extension = serialize_element(4, mid) if mid is not None else None
    return serialize_rtp(RtpPacket(payload_type, 1, 2, ssrc, b"\x10\x00", extension=extension))


def reached(carried: CallMedia, data: bytes) -> list[str]:
    """The streams that have counted it, for good or bad."""
    carried.receive(data, KINDS, 0.0)
    stats = carried.stats(0.0)
    found = {"audio": stats.audio, "video": stats.video, "slides": stats.slides}
    return [kind for kind, one in found.items() if one and one.packets_received + one.packets_rejected]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (packet(SOUND.payload_type, 1), "audio"),
        (packet(PICTURES.payload_type, 22), "video"),
        (packet(PICTURES.payload_type, 33), "slides"),
        (packet(PICTURES.payload_type, 4, b"2"), "slides"),
        (packet(PICTURES.payload_type, 4, b"1"), "video"),
    ],
)
def test_packets_find_their_stream(data: bytes, kind: str) -> None:
    assert reached(carrying(video=(22,), slides=(33,)), data) == [kind]


def test_what_nobody_announced_is_for_a_stream_that_announced_nothing() -> None:
    assert reached(carrying(video=(22,)), packet(PICTURES.payload_type, 99)) == ["slides"]


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80" * 11, b"\x90\x60" + b"\xff" * 12])
def test_short_and_odd_datagrams_do_no_harm(data: bytes) -> None:
    carrying().receive(data, KINDS, 0.0)
