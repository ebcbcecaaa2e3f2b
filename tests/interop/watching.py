"""What a page sees, by the numbers of our test pattern, and what we see of the browser: its camera and its desktop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.async_api import Page

from iceway.media.pattern import PatternSource, Reading, numbered, read
from iceway.media.picture import luma
from iceway.media.pictures import MemorySink

COLUMNS, ROWS, CELL = 8, 7, 10
# Of each picture that is shown, the level in the middle of each of the pattern's cells.
_WATCH = """
([id, columns, rows, cell]) => {
  const screen = document.getElementById(id);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns * cell, rows * cell];
  const brush = canvas.getContext("2d", {willReadFrequently: true});
  const seen = (window.seen ??= {})[id] = [];
  const look = () => {
    brush.drawImage(screen, 0, 0, canvas.width, canvas.height);
    const {data} = brush.getImageData(0, 0, canvas.width, canvas.height);
    seen.push(Array.from({length: columns * rows}, (_, at) => {
      let sum = 0;
      for (let y = 2; y < cell - 2; y++)
        for (let x = 2; x < cell - 2; x++) {
          const row = Math.floor(at / columns) * cell + y, column = (at % columns) * cell + x;
          const [red, green, blue] = data.subarray(4 * (row * canvas.width + column));
          sum += 0.299 * red + 0.587 * green + 0.114 * blue;
        }
      return Math.round(sum / (cell - 4) ** 2);
    }));
    screen.requestVideoFrameCallback(look);
  };
  screen.requestVideoFrameCallback(look);
}
"""


async def watch(page: Page, element: str) -> None:
    """Look at a video element from now on."""
    await page.evaluate(_WATCH, [element, COLUMNS, ROWS, CELL])


async def seen(page: Page, element: str) -> list[Reading | None]:
    """What was read from each picture since; None where there was no pattern."""
    pictures = await page.evaluate("(id) => seen[id]", element)
    return [_reading(np.array(levels, np.uint8)) for levels in pictures]


def _reading(levels: np.ndarray) -> Reading | None:
    picture = numbered(0, COLUMNS * CELL, ROWS * CELL).copy()
    picture[: ROWS * CELL] = np.kron(levels.reshape(ROWS, COLUMNS), np.ones((CELL, CELL), np.uint8))
    return read(picture)


def camera_file(path: Path, first: int, count: int, width: int = 320, height: int = 180) -> Path:
    """Numbered pictures as Chromium takes them for a camera (Y4M, 15 a second); it plays them over and over."""
    source = PatternSource(width, height, count, first)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F15:1 Ip A1:1 C420jpeg\n".encode())
        while (picture := source.read()) is not None:
            file.write(b"FRAME\n" + picture.tobytes())
    return path


def is_a_desktop(sink: MemorySink) -> None:
    """The browser's fake one: green, and something moves on it."""
    (_, earlier), (_, later) = sink.seen[-6], sink.seen[-1]
    chroma = later[luma(later).shape[0] :].astype(float).mean()
    assert chroma < 110, "green has little of both blue and red"
    assert np.abs(luma(later).astype(float) - luma(earlier).astype(float)).max() > 50


async def until(true: Callable[[], bool], patience: float = 15.0) -> None:
    async with asyncio.timeout(patience):
        while not true():  # noqa: ASYNC110  (nobody tells of single pictures)
            await asyncio.sleep(0.2)
