"""A program of somebody's desktop: a window that shows the test pattern, a new number each time, and moves as it does.

usage: window.py TITLE PERIOD
"""

from __future__ import annotations

import sys
import tkinter

from iceway.media.pattern import numbered
from iceway.media.picture import frame_of

WIDTH, HEIGHT = 320, 180
STEP, ACROSS, DOWN = 8, 400, 200  # pixels: how far it moves at a time, and how far at most


def main(title: str, period: float) -> None:
    window = tkinter.Tk()
    window.title(title)
    label = tkinter.Label(window, borderwidth=0)
    label.pack()
    shown: list[tkinter.PhotoImage] = []  # Tk lets go of pictures that nobody holds

    def show(number: int) -> None:
        pixels = frame_of(numbered(number, WIDTH, HEIGHT)).to_ndarray(format="rgb24")
        picture = tkinter.PhotoImage(data=b"P6 %d %d 255\n" % (WIDTH, HEIGHT) + pixels.tobytes())
        label.configure(image=picture)
        shown[:] = [picture]
        left, top = 40 + STEP * number % ACROSS, 30 + STEP * number // 2 % DOWN
        window.geometry(f"{WIDTH}x{HEIGHT}+{left}+{top}")
        window.after(int(period * 1000), show, number + 1)

    show(0)
    window.mainloop()


main(sys.argv[1], float(sys.argv[2]))
