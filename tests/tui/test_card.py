from __future__ import annotations

from iceway.media.picture import plain
from iceway.tui.card import Watched


def test_a_stream_that_ends_lets_go_of_the_camera() -> None:
    closed = []

    class Camera:
        def read(self) -> None: ...

        def close(self) -> None:
            closed.append(1)

    watched = Watched()
    watched.shows = Camera()
    watched.show(plain(16, 16), 0.0)
    assert watched.count == 1
    watched.close()
    watched.close()
    assert watched.latest is None
    assert closed == [1]
