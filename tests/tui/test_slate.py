from __future__ import annotations

import asyncio

from rich.text import Text
from textual.app import App, ComposeResult

from iceway.tui.slate import Seen, Slate


def test_a_part_is_drawn_when_it_shows_something_else() -> None:
    seen = Seen()
    assert seen.new("title", None)  # nothing was drawn yet, not even nothing
    assert not seen.new("title", None)
    assert seen.new("title", "Bob")
    assert seen.new("path", "Bob")
    seen.forget("title")
    seen.forget("never drawn")
    assert seen.new("title", "Bob")


def test_only_another_height_asks_for_another_layout() -> None:
    layouts: list[bool] = []

    class Watched(Slate):
        def update(self, content: object = "", *, layout: bool = True) -> None:
            layouts.append(layout)

    class Wall(App[None]):
        def compose(self) -> ComposeResult:
            yield Watched()

    async def scene() -> None:
        app = Wall()
        async with app.run_test(size=(20, 5)) as pilot:
            slate = app.query_one(Watched)
            while not slate.size.width:
                await pilot.pause()
            for text, layout in (
                (Text("talking 0:01"), [False]),
                (Text("talking 0:01"), []),
                (Text("talking 0:02"), [False]),
                (Text("talking 0:02", "bold"), [False]),
                (Text("talking 0:02\nmuted"), [True]),
                (Text("a line that is longer than the wall is wide"), [True]),
            ):
                layouts.clear()
                slate.write(text)
                assert layouts == layout, text

    asyncio.run(scene())
