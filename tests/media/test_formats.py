"""Formats of pictures in SDP: feedback both understand, and which H.264 is ours."""

from __future__ import annotations

import pytest

from iceway.media.formats import VIDEO_CODECS, codec_lines, codecs_of
from iceway.wire.sdp import MediaDescription, attribute

OURS = tuple(VIDEO_CODECS.values())


def section(formats: str, *lines: str) -> MediaDescription:
    return MediaDescription(
        "video",
        9,
        "RTP/SAVP",
        tuple(formats.split()),
        tuple(attribute(*line.split(":", 1)) for line in lines),
    )


def test_feedback_is_what_both_understand() -> None:
    lines = (
        "rtpmap:100 VP8/90000",
        "rtcp-fb:100 nack",
        "rtcp-fb:* ccm  fir",
        "rtcp-fb:101 nack pli",
        "rtcp-fb:100 goog-remb",
    )
    (found,) = codecs_of(section("100 101", *lines), OURS)
    assert (found.payload_type, found.feedback) == (100, ("nack",))
    (found,) = codecs_of(
        section("100", "rtpmap:100 vp8/90000", "rtcp-fb:* ccm fir", "rtcp-fb:* nack pli"), OURS
    )
    assert found.feedback == ("nack pli", "ccm fir")
    (found,) = codecs_of(section("100", "rtpmap:100 VP8/90000", "rtcp-fb:", "rtcp-fb:100"), OURS)
    assert found.feedback == ()


@pytest.mark.parametrize(
    ("fmtp", "taken"),
    [
        ("packetization-mode=1;profile-level-id=42e01f", "42e01f"),
        ("profile-level-id=42001F; packetization-mode=1", "42001f"),
        ("packetization-mode=1", "42001f"),
        ("packetization-mode=1;profile-level-id=42C034;max-mbps=1", "42c01f"),
        ("profile-level-id=42e01f", None),
        ("packetization-mode=0;profile-level-id=42e01f", None),
        ("packetization-mode=1;profile-level-id=640c1f", None),
        ("packetization-mode=1;profile-level-id=nonsense", None),
        ("", None),
    ],
)
def test_h264_is_taken_in_mode_1_and_a_baseline_profile(fmtp: str, taken: str | None) -> None:
    found = codecs_of(section("102", "rtpmap:102 H264/90000", f"fmtp:102 {fmtp}"), OURS)
    if taken is None:
        assert found == ()
    else:
        assert f"profile-level-id={taken};" in found[0].parameters


def test_of_many_forms_of_a_codec_the_one_that_we_speak() -> None:
    lines = [f"rtpmap:{number} H264/90000" for number in (102, 103, 104)]
    lines += ["fmtp:102 profile-level-id=42e01f", "fmtp:103 packetization-mode=1;profile-level-id=64001f"]
    lines += ["fmtp:104 packetization-mode=1;profile-level-id=42e01f"]
    assert [codec.payload_type for codec in codecs_of(section("102 103 104", *lines), OURS)] == [104]


def test_what_we_say_of_a_codec_is_what_we_would_take() -> None:
    for codec in OURS:
        said = MediaDescription("video", 9, "RTP/SAVP", (str(codec.payload_type),), tuple(codec_lines(codec)))
        assert codecs_of(said, OURS) == (codec,)
