"""Drawing no more than what changed: text that is compared before it is shown, and values that are before they are drawn.

A new layout of the screen costs ten times what new text in an old place does, so a slate asks for one only when its text
takes another number of lines.
"""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class Seen:
    """What each part was drawn from."""

    def __init__(self) -> None:
        self._drawn: dict[str, object] = {}

    def new(self, part: str, of: object) -> bool:
        """Whether a part must be drawn, since it shows something else."""
        if part in self._drawn and self._drawn[part] == of:
            return False
        self._drawn[part] = of
        return True

    def forget(self, part: str) -> None:
        self._drawn.pop(part, None)


class Slate(Static):
    """A place for text."""

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._written = Text()

    def write(self, text: Text) -> None:
        before, self._written = self._written, text
        if (before, before.style, before.spans) != (text, text.style, text.spans):
            width = self.size.width
            self.update(text, layout=_height(before, width) != _height(text, width))


def _height(text: Text, width: int) -> int:
    """How many lines a text takes, near enough to notice that it takes another number."""
    return sum(-(-len(line) // max(1, width)) or 1 for line in text.plain.split("\n"))
