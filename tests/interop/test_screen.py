"""A real X server: the screen and a window that moves on it, read back by the numbers that the window shows."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from iceway.core.errors import EnvironmentFailure, UsageError
from iceway.io.screen import ScreenSource, WindowSource
from iceway.io.x11 import Region, WindowServer
from iceway.media.pattern import read
from iceway.media.picture import Picture, luma, size
from tests.interop.desktop import PATIENCE, Desktop

pytestmark = pytest.mark.interop("Xvfb")

Share = Callable[..., ScreenSource | WindowSource]


@pytest.fixture(scope="module")
def desktop() -> Iterator[Desktop]:
    with Desktop() as started:
        started.moving_window("Quarterly figures")
        yield started


@pytest.fixture
def share(desktop: Desktop) -> Iterator[Share]:
    """Opens a source on the desktop, closed at the end."""
    opened: list[ScreenSource | WindowSource] = []

    def open_one(kind: type[ScreenSource] | type[WindowSource], *given: object, **more: object) -> object:
        opened.append(kind(*given, display=desktop.display, **more))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one  # type: ignore[misc]
    for source in opened:
        source.close()


def watch(source: ScreenSource | WindowSource, seconds: float) -> list[Picture]:
    """What a session of 20 pictures a second would see."""
    seen = []
    for _ in range(int(seconds * 20)):
        picture = source.read()
        assert picture is not None
        seen.append(picture)
        time.sleep(0.05)
    return seen


def test_a_window_is_followed_as_it_moves(share: Share) -> None:
    seen = watch(share(WindowSource, "quarterly"), 2.0)
    assert {size(picture) for picture in seen} == {(320, 180)}
    readings = [reading for reading in map(read, seen) if reading is not None]
    numbers = [reading.number for reading in readings]
    # Now and then the window moves between being asked where it is and being looked at.
    assert len(readings) > 0.75 * len(seen)
    assert {reading.lies for reading in readings} == {"upright"}
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 10


def test_the_whole_screen_is_scaled_to_fit(share: Share) -> None:
    source = share(ScreenSource, limit=(640, 640))
    assert source.size == (640, 400)
    picture = watch(source, 0.2)[-1]
    assert luma(picture).max() > 180
    assert luma(picture).min() < 60


def test_a_region_is_black_where_it_reaches_out_of_the_screen(share: Share) -> None:
    picture = share(ScreenSource, Region(900, 600, 320, 180)).read()
    assert picture is not None
    assert size(picture) == (320, 180)
    assert set(luma(picture)[50:, :].ravel().tolist()) == {16}


def test_hardly_anybody_looks_while_nobody_asks(share: Share) -> None:
    source = share(ScreenSource, frame_rate=50.0)
    time.sleep(0.3)
    assert source.taken == 1
    watch(source, 0.5)
    assert 5 < source.taken <= 12
    taken = source.taken
    time.sleep(1.5)
    assert 1 <= source.taken - taken <= 2, "what is shown next is not older than a second"


def test_what_is_not_there_is_said_with_what_there_is(desktop: Desktop) -> None:
    with WindowServer(desktop.display) as server:
        (window,) = server.windows()
        assert not server.shows_only_its_own()
    with pytest.raises(
        UsageError, match=f"no window 'Letters'; there are 'Quarterly figures' .0x{window.id:x}"
    ):
        WindowSource("Letters", display=desktop.display)
    with pytest.raises(UsageError, match="no window 0x77"):
        WindowSource(0x77, display=desktop.display)
    with pytest.raises(UsageError, match="no screen 5; there are 1 to 1"):
        ScreenSource(monitor=5, display=desktop.display)


def test_two_windows_of_one_name_must_be_told_apart(desktop: Desktop) -> None:
    with Desktop() as other:
        first, second = other.moving_window("Letter to A"), other.moving_window("Letter to B")
        with pytest.raises(UsageError, match=r"2 windows are called 'letter'.*name one by its number"):
            WindowSource("letter", display=other.display)
        for window in (first, second):
            WindowSource(window.id, display=other.display).close()


def test_a_window_that_is_closed_ends_the_pictures() -> None:
    with Desktop() as other:
        other.moving_window("Short")
        source = WindowSource("Short", display=other.display)
        other.close_windows()
        with pytest.raises(EnvironmentFailure, match=r"the window .Short. is closed"):
            watch(source, PATIENCE)
        source.close()


def test_a_server_that_goes_away_ends_the_pictures() -> None:
    with Desktop() as other:
        source = ScreenSource(display=other.display)
    with pytest.raises(EnvironmentFailure, match="the X server is gone"):
        watch(source, PATIENCE)
    source.close()


@pytest.mark.interop("xrandr")
def test_a_screen_that_changes_its_size_is_shown_at_the_new_one() -> None:
    with Desktop(640, 480) as other:
        source = ScreenSource(display=other.display)
        assert {size(picture) for picture in watch(source, 0.2)} == {(640, 480)}
        for width, height in ((400, 300), (600, 440)):
            change = ["--output", "screen", "--off", "--fb", f"{width}x{height}"]
            subprocess.run(["xrandr", "-d", other.display, *change], check=True)
            watch(source, 0.3)
            assert {size(picture) for picture in watch(source, 0.2)} == {(width, height)}
        source.close()


def test_no_display_and_wayland_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(EnvironmentFailure, match=r"DISPLAY is not set.*desktop session"):
        ScreenSource()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(EnvironmentFailure, match=r"Wayland session.*X11 session"):
        ScreenSource()
    with pytest.raises(EnvironmentFailure, match="display :4321 does not answer"):
        WindowSource("any", display=":4321")
