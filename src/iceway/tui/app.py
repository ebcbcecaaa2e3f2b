"""The phone on a screen. It shows what the desk holds and passes on what keys and mouse ask for; it decides nothing.

However much happens, the screen is drawn anew ten times a second at most: `_tick` looks whether something changed, and
asks each part only for what it shows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar, TypeVar

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import Resize
from textual.suggester import SuggestFromList
from textual.theme import Theme
from textual.widgets import Button, Footer, Input, OptionList, RichLog, Static
from textual.widgets.option_list import Option

from iceway.core.errors import IcewayError
from iceway.explain.clean import clean
from iceway.tui import drawing
from iceway.tui.contacts import Contact
from iceway.tui.desk import Card, Desk, state_of
from iceway.tui.dialogs import ContactForm, Explained, Help, Keypad
from iceway.tui.drawing import FAIR, GOOD, LINK, PLAIN, POOR, QUIET
from iceway.tui.quality import figures

T = TypeVar("T")
TICK = 0.1  # seconds
SLOW = 5  # ticks between looks at figures
BELL = 30  # ticks between rings of the terminal's bell
MAX_LOG = 500
THEME = Theme(
    name="iceway", primary="#6f9fc8", secondary="#8aa3b8", accent="#d7af5f", warning="#d7af5f", error="#d7786f",
    success="#8fbc8f", foreground="#c8d3dc", background="#12171c", surface="#182028", panel="#222c36",
)  # fmt: skip
VIEWS = {"call": "Call", "paths": "Paths", "log": "Log", "picture": "Picture"}
_NOT_ALWAYS = ("answer", "hang_up", "mute", "retry")  # actions whose place in the footer depends
_MOODS = {"good": GOOD, "bad": POOR, "quiet": QUIET}
_LINES = {"connecting": ("◌", FAIR), "registered": ("●", GOOD), "lost": ("◌", FAIR), "down": ("×", POOR)}
_STATES = {"talking": GOOD, "rings": FAIR, "waiting": FAIR, "path lost": POOR, "over": QUIET}


class PhoneApp(App[IcewayError | None]):
    """Ends with None when its user leaves, or with what was wrong with how it was started."""

    CSS_PATH = "phone.tcss"
    TITLE = "iceway phone"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [
        Binding("a", "answer", "answer", tooltip="answer what rings, and hold the others"),
        Binding("d", "decline", "decline", tooltip="decline what rings"),
        Binding("x,delete", "hang_up", "hang up", key_display="x", tooltip="hang up; take an ended call off the list"),
        Binding("m", "mute", "mute", tooltip="mute, or speak again"),
        Binding("h", "hold", "hold", tooltip="hold the call, or resume it and hold the others"),
        Binding("k", "keypad", "keys", tooltip="telephone keys"),
        Binding("r", "record", "record", tooltip="record both sides, or stop"),
        Binding("n,slash", "dial", "dial", key_display="n", tooltip="type whom to call; Enter on a person calls too"),
        Binding("c", "contact", "contact", tooltip="a new contact, or whom you talk with as one"),
        Binding("e", "edit", "edit", show=False, tooltip="change the contact"),
        Binding("backspace", "forget", "delete", show=False, tooltip="delete the contact"),
        Binding("z", "quiet", "quiet", show=False, tooltip="turn callers away, or let them through"),
        Binding("R", "retry", "retry", tooltip="register now"),
        Binding("1", "view('call')", "call", show=False, tooltip="levels, path, quality"),
        Binding("2", "view('paths')", "paths", show=False, tooltip="candidates and checks"),
        Binding("3", "view('log')", "log", show=False, tooltip="what happened, in words"),
        Binding("l", "people", "people", show=False, tooltip="people, or the call (in a narrow terminal)"),
        Binding("w", "explain", "why", tooltip="why the call goes the way it does, told whole"),
        Binding("question_mark", "help", "help", key_display="?", tooltip="these keys"),
        Binding("q", "leave", "quit", tooltip="hang up, sign off and leave"),
        Binding("ctrl+c,ctrl+q", "leave(True)", show=False, priority=True, key_display="^c", tooltip="the same, at once"),
        Binding("escape", "lists", show=False, tooltip="back to the lists"),
    ]  # fmt: skip

    def __init__(self, desk: Desk, identity: str) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (70, "-normal"), (120, "-wide")]
        self.desk = desk
        self._identity = clean(identity.removeprefix("sip:"))
        self._ticks = 0
        self._seen: dict[str, object] = {}
        self._asked_to_leave = False
        self._running_desk: asyncio.Task[None] | None = None
        self._parts: dict[str, Static] = {}

    # --- what there is ------------------------------------------------------------------------------------
    def compose(self) -> ComposeResult:
        yield Static(id="top", markup=False)
        with Horizontal(id="ring"):
            yield Static(id="ring-text", markup=False)
            yield Button("answer (a)", id="ring-answer", variant="success")
            yield Button("decline (d)", id="ring-decline", variant="error")
        with Horizontal(id="body"):
            with Vertical(id="side"):
                yield Static("Calls", classes="heading", id="calls-heading")
                yield OptionList(id="calls", markup=False)
                yield Static("People", classes="heading")
                yield OptionList(id="people", markup=False)
            with Vertical(id="stage"):
                yield Static(id="tabs")
                yield Static(id="down", markup=False)
                with Vertical(id="views", classes="show-call"):
                    with VerticalScroll(id="call", can_focus=False):
                        yield Static(id="title", markup=False)
                        yield Static(id="levels", markup=False)
                        yield Static(id="path", markup=False)
                        yield Static(id="figures", markup=False)
                    with VerticalScroll(id="paths"):
                        yield Static(id="pairs", markup=False)
                        yield Static(id="candidates", markup=False)
                    yield RichLog(id="log", wrap=True, min_width=0, max_lines=MAX_LOG, markup=False)
                    yield Static(id="picture", markup=False)
        with Horizontal(id="dial"):
            yield Static("call", id="dial-label")
            yield Input(id="number", placeholder="bob, or bob@example.test", max_length=200, compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._ring, self._stage, self._views = (
            self.query_one(f"#{name}") for name in ("ring", "stage", "views")
        )
        self._calls, self._people = (self.query_one(f"#{name}", OptionList) for name in ("calls", "people"))
        self._call_view, self._paths_view = (self.query_one(f"#{name}") for name in ("call", "paths"))
        self._story_log, self._number = self.query_one("#log", RichLog), self.query_one("#number", Input)
        self._parts = {one.id: one for one in self.query(Static).results(Static) if one.id is not None}
        self.register_theme(THEME)
        self.theme = THEME.name
        for name, title in VIEWS.items():
            self.query_one(f"#{name}").border_title = title
        self._running_desk = asyncio.create_task(self._run_desk())
        self.set_interval(TICK, self._tick)
        self._people.focus()
        self._tick()

    async def _run_desk(self) -> None:
        try:
            await self.desk.run()
        except IcewayError as error:
            self.exit(error)

    def on_unmount(self) -> None:
        if self._running_desk is not None:
            self._running_desk.cancel()

    # --- drawing ------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        self._ticks += 1
        desk, card = self.desk, self.desk.chosen
        desk.story.tell()
        self._draw_log()
        slow = self._ticks % SLOW == 0
        if self._new("desk", (desk.changes, card, slow and self._ticks // 10)):
            self._draw_top()
            self._draw_ring()
            self._draw_lists()
            self._draw_down()
            self._draw_title(card)
            possible = tuple(self.check_action(name, ()) for name in _NOT_ALWAYS)
            if self._new("bindings", possible):
                self.refresh_bindings()
        self._draw_levels(card)
        name = card.live.name if card else ""
        if self._new("path", (name, desk.story.size(name), self.size)):
            self._draw_path(card)
        if slow or self._new("figures", (card, self.size)):
            self._draw_figures(card)
        if any(one.rings for one in desk.cards) and self._ticks % BELL == 1:
            self.bell()

    def _new(self, part: str, seen: object) -> bool:
        """Whether a part must be drawn, since what it shows is not what it showed."""
        if self._seen.get(part, self) == seen:
            return False
        self._seen[part] = seen
        return True

    def _draw_top(self) -> None:
        desk = self.desk
        sign, style = _LINES[desk.line.state]
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("iceway ", f"bold {LINK}")
        text.append(f"{self._identity} ", PLAIN)
        text.append(f"{sign} {desk.line.state}", style)
        if desk.line.reason:
            text.append(f": {desk.line.reason}", QUIET)
        if desk.quiet:
            text.append("  do not disturb", FAIR)
        self._show("top", text)

    def _draw_ring(self) -> None:
        ringing = [card for card in self.desk.cards if card.rings]
        ring = self._ring
        ring.set_class(bool(ringing), "-on")
        if ringing:
            first = ringing[0]
            more = f", and {len(ringing) - 1} more" if len(ringing) > 1 else ""
            waiting = "\nanswering holds the other call" if first.live.waiting else ""
            self._show("ring-text", Text(f"{first.name} is calling{more}\n{first.address}{waiting}"))

    def _draw_lists(self) -> None:
        desk = self.desk
        rows = [Option(self._call_row(card), id=card.live.name) for card in reversed(desk.cards)]
        shown = list(reversed(desk.cards))
        key = tuple((str(row.prompt), row.id) for row in rows)
        calls = self._calls
        if self._new("calls", key):
            calls.set_options(rows)
        if self._new("chosen", (desk.chosen, key)) and desk.chosen in shown:
            calls.highlighted = shown.index(desk.chosen)
        calls.display = bool(rows)
        self._parts["calls-heading"].display = bool(rows)
        self._draw_people()

    def _call_row(self, card: Card) -> Text:
        state = state_of(card, self.desk.story)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("▸" if card is self.desk.chosen else " ", LINK)
        text.append(f"{card.name[:14]:<14} ", PLAIN)
        return text.append(state, _STATES.get(state, FAIR))

    def _draw_people(self) -> None:
        book = self.desk.book
        if not self._new("people", (tuple(book.contacts), tuple(book.recent), self.size.width)):
            return
        people = self._people
        at = people.highlighted
        rows: list[Option | None] = []
        for number, contact in enumerate(book.contacts):
            rows.append(
                Option(Text(contact.name, PLAIN, no_wrap=True, overflow="ellipsis"), id=f"contact-{number}")
            )
        if not book.contacts:
            rows.append(Option(Text("no contacts yet (c)", QUIET), disabled=True))
        if book.recent:
            rows.append(Option(Text("Recent", QUIET), disabled=True))
        for number, recent in enumerate(book.recent):
            sign = "↙" if recent.incoming else "↗"
            row = Text(no_wrap=True, overflow="ellipsis")
            row.append(f"{sign} ", GOOD if recent.answered else POOR)
            row.append(f"{book.name_of(recent.address)[:12]:<12} ", PLAIN)
            row.append(_when(recent.at, self.desk.wall()), QUIET)
            rows.append(Option(row, id=f"recent-{number}"))
        people.set_options([row for row in rows if row is not None])
        if book.contacts or book.recent:
            people.highlighted = min(at or 0, people.option_count - 1)
        names = [one.name for one in book.contacts] + [one.address for one in book.contacts]
        self._number.suggester = SuggestFromList(names, case_sensitive=False)

    def _draw_down(self) -> None:
        line = self.desk.line
        down = line.state == "down" and not self.desk.cards
        self._stage.set_class(down, "-down")
        if not down:
            return
        text = Text.assemble(("Not registered\n\n", f"bold {POOR}"))
        text.append(f"{line.reason}\n\n", PLAIN)
        for advice in line.advice:
            text.append(f"· {advice}\n", QUIET)
        if not line.advice:
            text.append(
                "Check --as, --server and --nameserver; --trace FILE writes down what happens.\n", QUIET
            )
        if line.retry_at is not None:
            text.append(f"\nTrying again in {max(0, line.retry_at - self.desk.clock()):.0f} s. ", PLAIN)
        text.append("R: try now   w: the whole story   q: quit", LINK)
        self._show("down", text)

    def _draw_title(self, card: Card | None) -> None:
        tabs = Text()
        shown = self._view()
        for number, (name, title) in enumerate(VIEWS.items(), 1):
            if name != "picture":
                tabs.append(f" {number} {title} ", f"bold {LINK} on #222c36" if name == shown else QUIET)
        self._show("tabs", tabs)
        text = Text()
        if card is None:
            text.append("Nobody is on the line.\n", f"bold {PLAIN}")
            text.append("n: dial   Enter: call who is chosen   c: new contact   ?: all keys", QUIET)
            self._show("title", text)
            return
        state = state_of(card, self.desk.story)
        until = card.over_at or self.desk.clock()
        text.append(f"{card.name}", f"bold {PLAIN}")
        text.append(f"  {state} ", _STATES.get(state, FAIR))
        text.append(drawing.span(until - (card.answered_at or card.began)), PLAIN)
        for flag, style in self._flags(card):
            text.append(f"  {flag}", style)
        text.append(f"\n{card.address}", QUIET)
        reason = clean(card.live.end_reason) if card.over else card.trouble or card.voice.trouble
        if reason:
            text.append(f"\n{reason}", POOR if not card.over else FAIR)
        self._show("title", text)

    def _flags(self, card: Card) -> list[tuple[str, str]]:
        found = []
        if card.muted:
            found.append(("muted", FAIR))
        if card.voice.recording is not None:
            found.append(("● recording", POOR))
        if card.keys_sent or card.keys_heard:
            heard = f" ↓{card.keys_heard}" if card.keys_heard else ""
            found.append((f"keys ↑{card.keys_sent}{heard}", QUIET))
        return found

    def _draw_levels(self, card: Card | None) -> None:
        widget = self._parts["levels"]
        if card is None or card.over:
            widget.display = False
            return
        widget.display = True
        voice = card.voice
        before = (voice.said.now, voice.heard.now, voice.said.peak, voice.heard.peak)
        voice.said.look(), voice.heard.look()
        after = (voice.said.now, voice.heard.now, voice.said.peak, voice.heard.peak)
        if before == after and not self._new("levels", (card, card.muted, self.size)):
            return
        width = max(24, min(72, widget.size.width))
        text = drawing.levels(voice.said, voice.heard, width, muted=card.muted, name=card.name)
        widget.update(text, layout=False)

    def _draw_path(self, card: Card | None) -> None:
        one = self.desk.story.path(card.live.name) if card else None
        width = self._call_view.size.width or 50
        if card is None:
            self._show("path", Text())
        else:
            self._show("path", drawing.path(one, card.name, max(20, width - 2)))
        self._parts["pairs"].update(drawing.pairs(one, self._paths_view.size.width or 50))
        self._show("candidates", drawing.candidates(one))

    def _draw_figures(self, card: Card | None) -> None:
        if card is None:
            self._show("figures", Text())
        elif not card.over and card.answered_at is not None:
            width = self._call_view.size.width or 50
            self._show("figures", drawing.figures(figures(card.live.stats()), width - 1))

    def _draw_log(self) -> None:
        log = self._story_log
        lines = self.desk.story.lines
        count = self._seen.get("log", 0)
        assert isinstance(count, int)
        new = min(self.desk.story.count - count, len(lines))
        if new <= 0:
            return
        self._seen["log"] = self.desk.story.count
        offset = self.desk.wall() - self.desk.clock()
        for line in list(lines)[-new:]:
            row = Table.grid(padding=(0, 1, 0, 0))
            row.add_column(no_wrap=True, style=QUIET)
            row.add_column()
            row.add_row(
                time.strftime("%H:%M:%S", time.localtime(line.at + offset)),
                Text(line.text, _MOODS.get(line.mood, PLAIN)),
            )
            log.write(row)

    def _show(self, widget: str, text: Text) -> None:
        """Only what differs from what is there costs a look."""
        shown = self._parts[widget]
        before = self._seen.get(f"text {widget}")
        if self._new(f"text {widget}", (text, tuple(text.spans))):
            height = _height(text, shown.size.width)
            same = isinstance(before, tuple) and height == _height(before[0], shown.size.width)
            shown.update(text, layout=not same)  # another layout costs ten times as much

    def on_resize(self, event: Resize) -> None:
        if self._parts:
            self._seen.pop("log", None)
            self._story_log.clear()

    # --- keys ---------------------------------------------------------------------------------------------
    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What makes no sense now is neither done nor in the footer."""
        card = self.desk.chosen
        talking = card is not None and card.talking
        match action:
            case "answer" | "decline":
                return any(one.rings for one in self.desk.cards)
            case "hang_up":
                return card is not None
            case "mute" | "hold" | "keypad" | "record":
                return talking
            case "retry":
                return self.desk.line.state == "down"
            case _:
                return True

    def _tried(self, act: Callable[[T], None], given: T) -> None:
        """Do it; an error is something to tell."""
        try:
            act(given)
        except IcewayError as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        self.notify(clean(str(error)), severity="warning", markup=False)

    def action_answer(self) -> None:
        if ringing := [card for card in self.desk.cards if card.rings]:
            self._tried(self.desk.answer, ringing[0])
            self._onto_stage()

    def action_decline(self) -> None:
        if ringing := [card for card in self.desk.cards if card.rings]:
            self._tried(self.desk.decline, ringing[0])

    def action_hang_up(self) -> None:
        if (card := self.desk.chosen) is not None:
            if card.over:
                self.desk.dismiss(card)
            else:
                self._tried(self.desk.hang_up, card)

    def action_mute(self) -> None:
        self._with_call(self.desk.mute)

    def action_hold(self) -> None:
        self._with_call(self.desk.hold)

    def action_record(self) -> None:
        self._with_call(self.desk.record)

    def _with_call(self, act: Callable[[Card], None]) -> None:
        if (card := self.desk.chosen) is not None and card.talking:
            self._tried(act, card)

    def action_keypad(self) -> None:
        card = self.desk.chosen
        if card is None:
            return

        def press(key: str) -> str:
            try:
                self.desk.press(card, key)
            except IcewayError as error:
                return clean(str(error))
            return f"sent {card.keys_sent}"

        self.push_screen(Keypad(press))

    def action_dial(self) -> None:
        self._number.focus()

    def action_lists(self) -> None:
        self._number.value = ""
        self._people.focus()

    async def _call(self, text: str) -> None:
        try:
            await self.desk.call(text)
        except IcewayError as error:
            self._complain(error)
        else:
            self._onto_stage()

    def _onto_stage(self) -> None:
        self.screen.remove_class("-people")
        self.action_view("call")

    @on(Input.Submitted, "#number")
    async def _dialled(self, event: Input.Submitted) -> None:
        event.input.value = ""
        self._people.focus()
        await self._call(event.value)

    @on(OptionList.OptionSelected, "#people")
    async def _person_chosen(self, event: OptionList.OptionSelected) -> None:
        if address := self._address_at(event.option_id or ""):
            await self._call(address)

    @on(OptionList.OptionSelected, "#calls")
    def _call_chosen(self, event: OptionList.OptionSelected) -> None:
        for card in self.desk.cards:
            if card.live.name == event.option_id:
                self.desk.choose(card)
                self._onto_stage()

    @on(Button.Pressed, "#ring-answer")
    def _answer_clicked(self) -> None:
        self.action_answer()

    @on(Button.Pressed, "#ring-decline")
    def _decline_clicked(self) -> None:
        self.action_decline()

    # --- people -------------------------------------------------------------------------------------------
    def _address_at(self, option: str) -> str:
        kind, _, number = option.partition("-")
        rows = (
            self.desk.book.contacts
            if kind == "contact"
            else self.desk.book.recent
            if kind == "recent"
            else []
        )
        return rows[int(number)].address if rows else ""

    def _highlighted(self) -> str:
        people = self._people
        if people.highlighted is None or not people.option_count:
            return ""
        return people.get_option_at_index(people.highlighted).id or ""

    def _contact_at(self) -> Contact | None:
        kind, _, number = self._highlighted().partition("-")
        return self.desk.book.contacts[int(number)] if kind == "contact" else None

    def action_contact(self) -> None:
        stranger = self._address_at(self._highlighted()) if self._contact_at() is None else ""
        if self.desk.chosen is not None:
            stranger = self.desk.chosen.address
        known = self.desk.book.knows(stranger)
        self._edit(None, "" if known else stranger)

    def action_edit(self) -> None:
        if (contact := self._contact_at()) is not None:
            self._edit(contact)

    def _edit(self, contact: Contact | None, address: str = "") -> None:
        def keep(name: str, address: str) -> None:
            whole = self.desk.address(address) if address.strip() else ""
            self.desk.book.put(Contact(name, whole), instead_of=contact)
            self._seen.pop("desk", None)

        self.push_screen(ContactForm(contact, keep, address))

    def action_forget(self) -> None:
        if (contact := self._contact_at()) is not None:
            self.desk.book.remove(contact)
            self._seen.pop("desk", None)
            self.notify(f"{contact.name} is no contact any more", markup=False)

    def action_quiet(self) -> None:
        self._tried(self.desk.disturb, not self.desk.quiet)

    # --- the rest -----------------------------------------------------------------------------------------
    def _view(self) -> str:
        views = self._views
        return next((name for name in VIEWS if views.has_class(f"show-{name}")), "call")

    def action_view(self, name: str) -> None:
        views = self._views
        for other in VIEWS:
            views.set_class(other == name, f"show-{other}")
        self._seen.pop("desk", None)
        self._seen.pop("path", None)

    def action_people(self) -> None:
        self.screen.toggle_class("-people")
        self.call_after_refresh(self._people.focus)

    def action_retry(self) -> None:
        self.desk.retry()

    def action_explain(self) -> None:
        self.push_screen(Explained(self.desk.explain()))

    def action_help(self) -> None:
        keys = []
        for binding in self.BINDINGS:
            assert isinstance(binding, Binding)
            keys.append((binding.key_display or binding.key.replace("escape", "Esc"), binding.tooltip))
        self.push_screen(Help(keys))

    async def action_leave(self, at_once: bool = False) -> None:
        if not at_once and not self._asked_to_leave and any(not card.over for card in self.desk.cards):
            self._asked_to_leave = True
            self.notify("a call is up: q again hangs up and leaves")
            self.set_timer(5.0, self._stay)
            return
        if self._running_desk is not None:
            self._running_desk.cancel()
        await self.desk.leave()
        self.exit(None)

    def _stay(self) -> None:
        self._asked_to_leave = False


def _height(text: Text, width: int) -> int:
    """How many lines a text takes, near enough to notice that it takes another number."""
    return sum(-(-len(line) // max(1, width)) or 1 for line in text.plain.split("\n"))


def _when(at: float, now: float) -> str:
    """The time of day, or the day if that was not today."""
    then, today = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%d %b", then)
