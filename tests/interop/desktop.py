"""A desktop for as long as a test takes: an X server without a screen (Xvfb) and programs on it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from iceway.io.x11 import Window, WindowServer
from tests.conftest import unavailable

PATIENCE = 20.0
PEERS = Path(__file__).parent / "peers"


class Desktop:
    """`display` is its name. What was started on it ends with it."""

    def __init__(self, width: int = 1024, height: int = 640) -> None:
        if importlib.util.find_spec("tkinter") is None:
            unavailable("tkinter missing: apt-get install python3-tk")
        reading, writing = os.pipe()
        self._programs = [
            subprocess.Popen(
                [
                    "Xvfb",
                    "-displayfd",
                    str(writing),
                    "-screen",
                    "0",
                    f"{width}x{height}x24",
                    "-nolisten",
                    "tcp",
                ],
                pass_fds=[writing],
                stderr=subprocess.DEVNULL,
            )
        ]
        os.close(writing)
        with open(reading, encoding="ascii") as said:
            number = said.readline().strip()  # it tells its number once it is ready
        if not number:
            self.close()
            unavailable("Xvfb does not start here")
        self.display = f":{number}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def moving_window(self, title: str, period: float = 0.1) -> Window:
        """Open a window with the test pattern that moves every `period` seconds."""
        return self._opened("window.py", title, str(period))

    def notes(self, title: str, text: str) -> Window:
        """Fill the screen with a colour and a text, behind whatever is opened after it."""
        return self._opened("notes.py", title, text)

    def _opened(self, program: str, title: str, given: str) -> Window:
        """Start a program; the window with this title, once it is seen."""
        environment = {**os.environ, "DISPLAY": self.display}
        self._programs.append(
            subprocess.Popen([sys.executable, PEERS / program, title, given], env=environment)
        )
        give_up = time.monotonic() + PATIENCE
        with WindowServer(self.display) as server:
            while time.monotonic() < give_up:
                for window in server.windows():
                    if window.title == title:
                        return window
                time.sleep(0.05)
        raise AssertionError(f"no window {title!r} within {PATIENCE:.0f} s")

    def close_windows(self) -> None:
        for program in self._programs[1:]:
            program.terminate()
            program.wait(PATIENCE)
        del self._programs[1:]

    def close(self) -> None:
        self.close_windows()
        for program in self._programs:
            program.terminate()
            program.wait(PATIENCE)
        self._programs.clear()
