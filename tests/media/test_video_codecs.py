"""Coded pictures: there and back, whole ones on request, garbage, and pictures too large to be true."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.media import h264, vp8
from iceway.media.pattern import numbered, read
from iceway.media.picture import MAX_PIXELS, plain, size
from iceway.media.video_codecs import VideoDecoder, VideoEncoder

CODECS = ["VP8", "H264"]


def is_whole(codec: str, coded: bytes) -> bool:
    payload = vp8.packetize(coded, 0, 9000) if codec == "VP8" else h264.packetize(coded, 9000)
    return (vp8 if codec == "VP8" else h264).parse(payload[0]).starts_key


@pytest.mark.parametrize("codec", CODECS)
def test_whole_pictures_come_first_and_when_asked_for(codec: str) -> None:
    encoder = VideoEncoder(codec, 10, 200_000)
    coded = [encoder.encode(numbered(at), whole=at == 7) for at in range(20)]
    assert [at for at, data in enumerate(coded) if is_whole(codec, data)] == [0, 7]
    late = VideoDecoder(codec)
    shown = [picture for data in coded[7:] for picture in late.decode(data)]
    assert [getattr(read(picture), "number", None) for picture in shown] == list(range(7, 20))


@pytest.mark.parametrize("codec", CODECS)
def test_the_size_may_change_on_the_way(codec: str) -> None:
    encoder, decoder = VideoEncoder(codec, 10, 200_000), VideoDecoder(codec)
    for measures in ((320, 180), (160, 90), (640, 360)):
        for number in range(3):
            (shown,) = decoder.decode(encoder.encode(numbered(number, *measures)))
            assert size(shown) == measures


@pytest.mark.parametrize("codec", CODECS)
def test_equal_pictures_give_equal_bytes(codec: str) -> None:
    runs = []
    for _ in range(2):
        encoder = VideoEncoder(codec, 10, 200_000)
        runs.append([encoder.encode(numbered(at)) for at in range(5)])
    assert runs[0] == runs[1]


def test_a_small_change_of_rate_is_not_worth_a_whole_picture_to_libvpx() -> None:
    encoder = VideoEncoder("VP8", 10, 200_000)
    encoder.encode(numbered(0))
    encoder.set_bit_rate(190_000)
    assert not is_whole("VP8", encoder.encode(numbered(1)))
    encoder.set_bit_rate(150_000)
    assert is_whole("VP8", encoder.encode(numbered(2)))
    assert encoder.bit_rate == 150_000


def test_libx264_changes_its_rate_without_one() -> None:
    encoder = VideoEncoder("H264", 10, 200_000)
    encoder.encode(numbered(0))
    encoder.set_bit_rate(50_000)
    assert not is_whole("H264", encoder.encode(numbered(1)))


def test_a_picture_too_large_is_refused_before_there_is_room_for_it() -> None:
    coded = bytearray(VideoEncoder("VP8", 10, 200_000).encode(plain(64, 64)))
    coded[6:10] = (16_383).to_bytes(2, "little") * 2
    with pytest.raises(ParseError):
        VideoDecoder("VP8").decode(bytes(coded))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(CODECS), st.binary(min_size=1, max_size=300), st.integers(0, 200))
def test_garbage_raises_one_error_at_most(codec: str, garbage: bytes, at: int) -> None:
    encoder, decoder = VideoEncoder(codec, 10, 200_000), VideoDecoder(codec)
    for number in range(2):
        coded = encoder.encode(numbered(number, 64, 36))
        for data in (coded[:at] + garbage + coded[at + len(garbage) :], garbage, b""):
            try:
                decoder.decode(data)
            except ParseError:
                continue


def _stream(codec: str) -> list[bytes]:
    """A dozen coded pictures of sizes that change, some of them whole."""
    encoder = VideoEncoder(codec, 10, 200_000)
    sizes = [(64, 36)] * 4 + [(320, 180)] * 4 + [(36, 64)] * 4
    return [encoder.encode(numbered(at, *measures), whole=at % 3 == 0) for at, measures in enumerate(sizes)]


STREAMS = {codec: _stream(codec) for codec in CODECS}


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(CODECS),
    st.lists(
        st.tuples(
            st.integers(0, 11),  # which picture
            st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),  # bytes put in place
            st.integers(1, 2000),  # cut there
        ),
        max_size=12,
    ),
)
def test_real_streams_changed_at_will_raise_one_error_at_most(
    codec: str, changes: list[tuple[int, list[tuple[int, int]], int]]
) -> None:
    """In any order, with bytes changed in headers and in pictures, cut short: what is shown is always a picture."""
    decoder = VideoDecoder(codec)
    for which, places, end in changes:
        data = bytearray(STREAMS[codec][which])
        for at, value in places:
            data[at % len(data)] = value
        try:
            shown = decoder.decode(bytes(data[:end]))
        except ParseError:
            continue
        for picture in shown:
            width, height = size(picture)
            assert picture.dtype.name == "uint8"
            assert not width % 2 + height % 2
            assert 0 < width * height <= MAX_PIXELS


@pytest.mark.parametrize("codec", CODECS)
def test_pictures_whose_size_changes_each_time_do_not_pile_up(codec: str) -> None:
    encoder, decoder = VideoEncoder(codec, 10, 400_000), VideoDecoder(codec)
    before = 0
    for number in range(40):
        measures = (1280, 720) if number % 2 else (640, 1280)
        for picture in decoder.decode(encoder.encode(plain(*measures), whole=True)):
            assert size(picture) == measures
        if number == 10:
            before = _resident()
    assert _resident() - before < 60 * 2**20, "some pictures of 1.4 MB each, not all of them"


@pytest.mark.parametrize("measures", [(16_383, 16_383), (16_382, 2), (4098, 2304)])
def test_sizes_that_are_claimed_and_not_sent_cost_no_memory(measures: tuple[int, int]) -> None:
    coded = bytearray(STREAMS["VP8"][0])
    coded[6:10] = b"".join(side.to_bytes(2, "little") for side in measures)
    decoder, before = VideoDecoder("VP8"), _resident()
    for _ in range(20):
        with suppress(ParseError):
            assert all(size(one)[0] * size(one)[1] <= MAX_PIXELS for one in decoder.decode(bytes(coded)))
    assert _resident() - before < 30 * 2**20


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
