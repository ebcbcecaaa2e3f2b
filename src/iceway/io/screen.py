"""The screen, a part of it or one window as a source of pictures, by mss (X11).

A window is what is seen where it lies: it is followed when it moves, and what covers it is seen, too. A screen that
changes its size is shown at the new one. Pictures are scaled down to `limit` as a whole, never up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

import av
import mss
import numpy as np
from mss.exception import ScreenShotError

from iceway.core.errors import EnvironmentFailure, UsageError
from iceway.io.capture import CapturedPictures
from iceway.io.x11 import Region, Window, WindowServer, wayland
from iceway.media.picture import Picture, fitting, picture_of

LIMIT = 1280, 720
FRAME_RATE = 30.0


class ScreenSource(CapturedPictures):
    """What is on the screen: `monitor` (0: all of them; None: the first), or a `region` of it, with the pointer."""

    def __init__(
        self,
        region: Region | None = None,
        *,
        monitor: int | None = None,
        limit: tuple[int, int] = LIMIT,
        frame_rate: float = FRAME_RATE,
        display: str | None = None,
    ) -> None:
        camera = _Grabber(display, limit)
        try:
            camera.monitor(monitor)
        except BaseException:
            camera.close()
            raise

        def where() -> Region:
            whole = camera.monitor(monitor)
            if region is None:
                return whole
            return Region(whole.left + region.left, whole.top + region.top, region.width, region.height)

        super().__init__(_Screen(camera, where, "screen"), frame_rate)


class WindowSource(CapturedPictures):
    """A window, by a part of its title in any case, or by its number (X id). It ends when the window is closed."""

    def __init__(
        self,
        which: str | int,
        *,
        limit: tuple[int, int] = LIMIT,
        frame_rate: float = FRAME_RATE,
        display: str | None = None,
    ) -> None:
        camera = _Grabber(display, limit)
        try:
            server = camera.windows()
            window = find(server, which)
        except BaseException:
            camera.close()
            raise
        last = window.region

        def where() -> Region:
            nonlocal last
            lies = server.region(window.id)
            if lies is None and not server.exists(window.id):
                raise EnvironmentFailure(f"the window {window.title!r} is closed")
            last = lies or last  # one that is hidden for a while shows what is in its place
            return last

        super().__init__(_Screen(camera, where, f"window {window.title!r}"), frame_rate)


def screens(display: str | None = None) -> list[Region]:
    """All screens as one, then each."""
    grabber = _Grabber(display, LIMIT)
    try:
        return grabber.monitors
    finally:
        grabber.close()


def find(server: WindowServer, which: str | int) -> Window:
    """The window that is meant. Raises UsageError, with the windows that there are, if that is not clear."""
    windows = server.windows()
    if isinstance(which, int):
        found = [window for window in windows if window.id == which]
    else:
        found = [window for window in windows if window.title == which] or [
            window for window in windows if which.lower() in window.title.lower()
        ]
    if len(found) == 1:
        return found[0]
    name = f"0x{which:x}" if isinstance(which, int) else repr(which)
    if found:
        raise UsageError(f"{len(found)} windows are called {name}: {_listed(found)}; name one by its number")
    raise UsageError(
        f"there is no window {name}; there are {_listed(windows)}"
        if windows
        else "there is no window to share"
    )


def _listed(windows: list[Window]) -> str:
    more = f" and {len(windows) - 20} more" if len(windows) > 20 else ""
    return ", ".join(f"{window.title!r} (0x{window.id:x})" for window in windows[:20]) + more


class _Screen:
    """A region of the desktop, which may move, as a device."""

    def __init__(self, grabber: _Grabber, where: Callable[[], Region], name: str) -> None:
        self.name = name
        self._grabber = grabber
        self._where = where

    def grab(self) -> Picture:
        self._grabber.follow()
        try:
            return self._grabber.grab(self._where())
        except EnvironmentFailure:
            if not self._grabber.follow():  # it shrank just now
                raise
            return self._grabber.grab(self._where())

    def close(self) -> None:
        self._grabber.close()


class _Grabber:
    """mss, with its errors told to people, and pictures as media has them."""

    def __init__(self, display: str | None, limit: tuple[int, int]) -> None:
        self._limit = limit
        self._display = display
        self._server = WindowServer(display) if sys.platform.startswith("linux") else None
        try:
            if self._server is not None and self._server.shows_only_its_own():
                raise wayland()
            self._open()
        except BaseException:
            if self._server is not None:
                self._server.close()
            raise

    def _open(self) -> None:
        """mss keeps what it once found out about screens, so it is begun anew when that has changed."""
        try:
            on_x11 = self._server is not None
            self._mss = mss.MSS(with_cursor=True, display=self._display) if on_x11 else mss.MSS()
            self.monitors = [
                Region(one["left"], one["top"], one["width"], one["height"]) for one in self._mss.monitors
            ]
        except ScreenShotError as error:
            raise _failure(error) from error

    def follow(self) -> bool:
        """Notice whether the desktop has another size than before."""
        if self._server is None or self._server.desktop() in (None, self.monitors[0]):
            return False
        with suppress(ScreenShotError):
            self._mss.close()
        self._open()
        return True

    def windows(self) -> WindowServer:
        """Who knows where windows lie."""
        if self._server is None:
            raise EnvironmentFailure(
                "only an X server tells where windows lie",
                "Share a part of the screen: screen+X,Y,WIDTHxHEIGHT.",
            )
        return self._server

    def monitor(self, number: int | None) -> Region:
        """0: all of them as one; None: the first, or what is left."""
        count = len(self.monitors) - 1
        if number is None:
            return self.monitors[min(1, count)]
        if not 0 <= number <= count:
            raise UsageError(f"there is no screen {number}; there are 1 to {count}, and 0 for all of them")
        return self.monitors[number]

    def grab(self, region: Region) -> Picture:
        whole = self.monitors[0]
        left, top = max(region.left, whole.left), max(region.top, whole.top)
        right = min(region.left + region.width, whole.left + whole.width)
        bottom = min(region.top + region.height, whole.top + whole.height)
        # Black where it reaches out of the screen.
        seen = np.zeros((region.height, region.width, 4), np.uint8)
        if left < right and top < bottom:
            try:
                shot = self._mss.grab((left, top, right, bottom))
            except (ScreenShotError, AssertionError) as error:  # mss asserts that a server gone still answers
                raise _failure(error) from error
            pixels = np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)
            if pixels.shape == seen.shape:
                seen = pixels
            else:
                row, column = top - region.top, left - region.left
                seen[row : row + shot.height, column : column + shot.width] = pixels
        frame = av.VideoFrame.from_ndarray(seen, format="bgra")
        return picture_of(frame, *fitting(region.width, region.height, self._limit))

    def close(self) -> None:
        with suppress(ScreenShotError):  # the server went first
            self._mss.close()
        if self._server is not None:
            self._server.close()


def _failure(error: ScreenShotError | AssertionError) -> EnvironmentFailure:
    words = (str(error) or "the X server is gone").splitlines()[0]
    return EnvironmentFailure(
        f"the screen cannot be captured: {words}",
        "Run it inside the desktop session whose screen is meant; DISPLAY names it.",
    )
