"""The chosen call: who it is with, levels, path and figures; candidates and checks; the log; what they show.

One view at a time, or all of them where there is room (`phone.tcss` says when). Without a server it says why.
"""

from __future__ import annotations

import time

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.events import Click
from textual.widgets import RichLog, Static

from iceway.explain.clean import clean
from iceway.tui import drawing
from iceway.tui.card import Card, state_of
from iceway.tui.desk import Desk
from iceway.tui.drawing import FAIR, GOOD, LINK, PLAIN, POOR, QUIET
from iceway.tui.preview import PictureView
from iceway.tui.quality import figures
from iceway.tui.side import STATES
from iceway.tui.slate import Seen, Slate

MAX_LOG = 500
VIEWS = {"call": "Call", "paths": "Paths", "log": "Log", "picture": "Picture"}
_MOODS = {"good": GOOD, "bad": POOR, "quiet": QUIET}
_WIDEST = 72  # columns of a meter; a longer one tells no more


class Stage(Vertical):
    """Drawn part by part, by whoever knows what may have changed."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(id="stage")
        self.view = "call"
        self._desk = desk
        self._seen = Seen()
        self._logged = 0
        self._tabs, self._down = Slate(id="tabs"), Slate(id="down")
        self._title, self._levels = Slate(id="title"), Slate(id="levels")
        self._path, self._figures, self._why = Slate(id="path"), Slate(id="figures"), Slate(id="why")
        self._pairs, self._candidates = Static(id="pairs", markup=False), Slate(id="candidates")
        self._log = RichLog(id="log", wrap=True, min_width=0, max_lines=MAX_LOG, markup=False)
        self._picture = PictureView(id="picture")
        self._call_view = VerticalScroll(
            self._title, self._levels, self._path, self._figures, self._why, id="call", can_focus=False
        )
        self._paths_view = VerticalScroll(self._pairs, self._candidates, id="paths")
        self._views = Vertical(self._call_view, self._paths_view, self._log, self._picture, id="views")

    def compose(self) -> ComposeResult:
        yield self._tabs
        yield self._down
        yield self._views

    def on_mount(self) -> None:
        for name, title in VIEWS.items():
            self.query_one(f"#{name}").border_title = title
        self.look_at(self.view)

    @on(Click, "#tabs")
    def _tab_clicked(self, event: Click) -> None:
        end = 0
        for name, label in self._labels():
            end += len(label)
            if event.x < end:
                self.look_at(name)
                return

    def _labels(self) -> list[tuple[str, str]]:
        """Views that there are, with what stands on their tabs."""
        return [
            (name, f" {number} {title} ")
            for number, (name, title) in enumerate(VIEWS.items(), 1)
            if name != "picture" or self.shows_pictures
        ]

    def look_at(self, view: str) -> None:
        """Bring a view to the front."""
        self.view = view
        for name in VIEWS:
            self._views.set_class(name == view, f"show-{name}")
        self._draw_tabs()
        self._seen.forget("path")

    @property
    def shows_pictures(self) -> bool:
        """Whether there are any of theirs to look at."""
        return self._views.has_class("-pictures")

    # --- the call -----------------------------------------------------------------------------------------
    def draw(self) -> None:
        """What commands and news change."""
        self._draw_tabs()
        self._draw_down()
        self._draw_title(self._desk.chosen)

    def _draw_tabs(self) -> None:
        tabs = Text()
        for name, label in self._labels():
            tabs.append(label, f"bold {LINK} on #222c36" if name == self.view else QUIET)
        self._tabs.write(tabs)

    def _draw_down(self) -> None:
        line = self._desk.line
        down = line.state == "down" and not self._desk.cards
        self.set_class(down, "-down")
        if not down:
            return
        text = Text.assemble(("Not registered\n\n", f"bold {POOR}"), (f"{line.reason}\n\n", PLAIN))
        for advice in line.advice:
            text.append(f"· {advice}\n", QUIET)
        if not line.advice:
            text.append(
                "Check --as, --server and --nameserver; --trace FILE writes down what happens.\n", QUIET
            )
        if line.retry_at is not None:
            text.append(f"\nTrying again in {max(0, line.retry_at - self._desk.clock()):.0f} s. ", PLAIN)
        self._down.write(text.append("R: try now   w: the whole story   q: quit", LINK))

    def _draw_title(self, card: Card | None) -> None:
        text = Text()
        if card is None:
            text.append("Nobody is on the line.\n", f"bold {PLAIN}")
            self._title.write(
                text.append("n: dial   Enter: call who is chosen   c: new contact   ?: all keys", QUIET)
            )
            return
        state = state_of(card, self._desk.story)
        until = card.over_at or self._desk.clock()
        text.append(card.name, f"bold {PLAIN}").append(f"  {state} ", STATES.get(state, FAIR))
        text.append(drawing.span(until - (card.answered_at or card.began)), PLAIN)
        for flag, style in _flags(card):
            text.append(f"  {flag}", style)
        text.append(f"\n{card.address}", QUIET)
        reason = clean(card.live.end_reason) if card.over else card.trouble or card.voice.trouble
        if reason:
            text.append(f"\n{reason}", FAIR if card.over else POOR)
        self._title.write(text)

    def draw_levels(self) -> None:
        card = self._desk.chosen
        shown = card is not None and not card.over
        if self._seen.new("levels shown", shown):
            self._levels.display = shown
        if card is None or card.over:
            return
        said, heard = card.voice.said, card.voice.heard
        said.look()
        heard.look()
        reading = (said.now, heard.now, said.peak, heard.peak, card, card.muted, self.size)
        if self._seen.new("levels", reading):
            width = max(24, min(_WIDEST, self._levels.size.width))
            text = drawing.levels(said, heard, width, muted=card.muted, name=card.name)
            self._levels.update(text, layout=False)

    def draw_path(self) -> None:
        """What ICE found so far, if that is news."""
        card, story = self._desk.chosen, self._desk.story
        name = card.live.name if card else ""
        if not self._seen.new("path", (name, card and card.over, story.size(name), self.size)):
            return
        one = story.path(name)
        width = self._call_view.size.width or 50
        self._path.write(drawing.path(one, card.name, max(20, width - 2), over=card.over) if card else Text())
        self._why.write(drawing.why_not(one, max(20, width - 2)))
        self._pairs.update(drawing.pairs(one, self._paths_view.size.width or 50))
        self._candidates.write(drawing.candidates(one))

    def draw_figures(self) -> None:
        card = self._desk.chosen
        if card is not None and card.talking:
            card.stats = card.live.stats()
        if card is None or card.stats is None:
            self._figures.write(Text())
        else:
            width = self._call_view.size.width or 50
            self._figures.write(drawing.figures(figures(card.stats), width - 1))

    def draw_picture(self) -> None:
        """What they show, slides before their face; nothing is scaled that is not looked at."""
        card = self._desk.chosen
        streams = {} if card is None or card.over else card.gear.watched
        every = [streams[kind] for kind in ("slides", "video") if kind in streams]
        seen = next((one for one in every if one.latest is not None), None)
        if self._seen.new("pictures", seen is not None):
            self._views.set_class(seen is not None, "-pictures")
            if seen is None and self.view == "picture":
                self.look_at("call")
            self._draw_tabs()
        if self._picture.display and self._seen.new(
            "picture", (seen, seen and seen.count, self._picture.size)
        ):
            self._picture.show(seen.latest if seen is not None else None)

    # --- the log ------------------------------------------------------------------------------------------
    def draw_log(self) -> None:
        story = self._desk.story
        story.tell()
        if self._seen.new(
            "log", self._log.size.width
        ):  # what is there was broken into lines for another width
            self._logged = 0
            self._log.clear()
        new = min(story.count - self._logged, len(story.lines))
        if new <= 0 or not self._log.size.width:
            return
        self._logged = story.count
        offset = self._desk.wall() - self._desk.clock()
        for line in list(story.lines)[-new:]:
            row = Table.grid(padding=(0, 1, 0, 0))
            row.add_column(no_wrap=True, style=QUIET)
            row.add_column()
            at = time.strftime("%H:%M:%S", time.localtime(line.at + offset))
            row.add_row(at, Text(line.text, _MOODS.get(line.mood, PLAIN)))
            self._log.write(row)


def _flags(card: Card) -> list[tuple[str, str]]:
    found = [] if card.over else [(kind, LINK) for kind in card.live.streams if kind != "audio"]
    if card.muted:
        found.append(("muted", FAIR))
    if card.voice.recording is not None:
        found.append(("● recording", POOR))
    if card.keys_sent or card.keys_heard:
        heard = f" ↓{card.keys_heard}" if card.keys_heard else ""
        found.append((f"keys ↑{card.keys_sent}{heard}", QUIET))
    return found
