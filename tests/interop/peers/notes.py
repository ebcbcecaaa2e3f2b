"""A program of somebody's desktop: a few lines of text on a coloured ground that fills the screen.

usage: notes.py TITLE TEXT
"""

from __future__ import annotations

import sys
import tkinter


def main(title: str, text: str) -> None:
    window = tkinter.Tk()
    window.title(title)
    window.geometry(f"{window.winfo_screenwidth()}x{window.winfo_screenheight()}+0+0")
    window.configure(bg="#2f4f6f")
    label = tkinter.Label(window, text=text, justify="left", font=("Helvetica", -26), bg="#fffbe0")
    label.place(relx=0.58, rely=0.12)
    label.configure(padx=24, pady=20)
    window.mainloop()


main(sys.argv[1], sys.argv[2])
