"""Sources and sinks of pictures in memory."""

from __future__ import annotations

from iceway.media.picture import plain
from iceway.media.pictures import MemoryPictures, MemorySink, NullSink


def test_pictures_once_or_over_and_over() -> None:
    one, other = plain(8, 8, 20), plain(8, 8, 30)
    once, loop = MemoryPictures([one, other]), MemoryPictures([one, other], loop=True)
    assert [picture is not None and picture[0, 0] for picture in (once.read() for _ in range(3))] == [
        20,
        30,
        False,
    ]
    assert [picture is not None and picture[0, 0] for picture in (loop.read() for _ in range(3))] == [
        20,
        30,
        20,
    ]
    assert MemoryPictures([], loop=True).read() is None


def test_a_sink_keeps_what_was_seen_and_when() -> None:
    sink = MemorySink()
    for sort in (sink, NullSink()):
        sort.show(plain(8, 8), 0.5)
        sort.close()
    assert [(at, picture.shape) for at, picture in sink.seen] == [(0.5, (12, 8))]
