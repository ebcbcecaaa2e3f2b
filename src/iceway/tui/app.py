"""The phone on a screen. It shows what the desk holds and passes on what keys and mouse ask for; it decides nothing.

However much happens, the screen is drawn anew ten times a second at most: `_tick` asks each part (`side.py`, `stage.py`)
to draw what changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.suggester import SuggestFromList
from textual.theme import Theme
from textual.widgets import Button, Footer, Input, OptionList, Static

from iceway.core.errors import IcewayError
from iceway.explain.clean import clean
from iceway.tui.card import Card
from iceway.tui.contacts import Contact
from iceway.tui.desk import Desk
from iceway.tui.dialogs import Ask, ContactForm, Explained, Help, Keypad
from iceway.tui.drawing import FAIR, GOOD, LINK, PLAIN, POOR, QUIET
from iceway.tui.ringing import Ringer, Tone
from iceway.tui.side import Side
from iceway.tui.slate import Seen, Slate
from iceway.tui.stage import Stage

if TYPE_CHECKING:
    from iceway.media.files import Sink

T = TypeVar("T")
TICK = 0.1  # seconds
SLOW = 5  # ticks between looks at figures
SECOND = 10  # ticks
PATIENCE = 5.0  # seconds in which a key that asks may be pressed again
GLANCE = 2  # ticks between pictures
THEME = Theme(
    name="iceway", primary="#6f9fc8", secondary="#8aa3b8", accent="#d7af5f", warning="#d7af5f", error="#d7786f",
    success="#8fbc8f", foreground="#c8d3dc", background="#12171c", surface="#182028", panel="#222c36",
)  # fmt: skip
_NOT_ALWAYS = ("answer", "hang_up", "mute", "retry")  # actions whose place in the footer depends
_LINES = {"connecting": ("◌", FAIR), "registered": ("●", GOOD), "lost": ("◌", FAIR), "down": ("×", POOR)}


class PhoneApp(App[Exception | None]):
    """Ends with None when its user leaves, or with what was wrong with how it was started."""

    CSS_PATH = "phone.tcss"
    TITLE = "iceway phone"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [
        Binding("a", "answer", "answer", tooltip="answer what rings, and hold the others"),
        Binding("d", "decline", "decline", tooltip="decline what rings"),
        Binding("x,delete", "hang_up", "end", key_display="x", tooltip="hang up; take an ended call off the list"),
        Binding("m", "mute", "mute", tooltip="mute, or speak again"),
        Binding("h", "hold", "hold", tooltip="hold the call, or resume it and hold the others"),
        Binding("k", "keypad", "keys", tooltip="telephone keys"),
        Binding("t", "transfer", "pass", tooltip="pass them on, to somebody or to the other call"),
        Binding("v", "show('video')", "video", tooltip="show your camera, or no more"),
        Binding("s", "show('slides')", "share", tooltip="share your screen, or no more"),
        Binding("r", "record", "record", tooltip="record both sides, or stop"),
        Binding("n,slash", "dial", show=False, key_display="n", tooltip="type whom to call; Enter on a person calls too"),
        Binding("c", "contact", "contact", show=False, tooltip="a new contact, or whom you talk with as one"),
        Binding("e", "edit", "edit", show=False, tooltip="change the contact"),
        Binding("backspace", "forget", "delete", show=False, tooltip="delete the contact"),
        Binding("z", "quiet", "quiet", show=False, tooltip="turn callers away, or let them through"),
        Binding("R", "retry", "retry", tooltip="register now"),
        Binding("1", "view('call')", "call", show=False, tooltip="levels, path, quality"),
        Binding("2", "view('paths')", "paths", show=False, tooltip="candidates and checks"),
        Binding("3", "view('log')", "log", show=False, tooltip="what happened, in words"),
        Binding("4", "view('picture')", "picture", show=False, tooltip="what they show"),
        Binding("l", "people", "people", show=False, tooltip="people, or the call (in a narrow terminal)"),
        Binding("w", "explain", "why", tooltip="why the call goes the way it does, told whole"),
        Binding("question_mark", "help", "help", key_display="?", tooltip="these keys"),
        Binding("q", "leave", "quit", tooltip="hang up, sign off and leave"),
        Binding("ctrl+c,ctrl+q", "leave(True)", show=False, priority=True, key_display="^c", tooltip="the same, at once"),
        Binding("escape", "lists", show=False, tooltip="back to the lists"),
    ]  # fmt: skip

    def __init__(self, desk: Desk, identity: str, speakers: Callable[[], Sink] | None = None) -> None:
        """`speakers`: what to ring with."""
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (70, "-normal"), (120, "-wide")]
        self.desk = desk
        self._identity = clean(identity.removeprefix("sip:"))
        self._ticks = 0
        self._seen = Seen()
        self._top, self._ring, self._ring_text = Slate(id="top"), Horizontal(id="ring"), Slate(id="ring-text")
        self._side, self._stage = Side(desk), Stage(desk)
        self._number = Input(
            id="number", placeholder="bob, or bob@example.test", max_length=200, compact=True
        )
        self._ringer = Ringer(speakers, self.bell)
        self._asked_to_leave = False
        self._doomed: Contact | None = None  # asked whether to delete it
        self._running_desk: asyncio.Task[None] | None = None

    # --- what there is ------------------------------------------------------------------------------------
    def compose(self) -> ComposeResult:
        yield self._top
        with self._ring:
            yield self._ring_text
            yield Button("answer (a)", id="ring-answer", variant="success")
            yield Button("decline (d)", id="ring-decline", variant="error")
        with Horizontal(id="body"):
            yield self._side
            yield self._stage
        with Horizontal(id="dial"):
            yield Static("n: call", id="dial-label")
            yield self._number
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.register_theme(THEME)
        self.theme = THEME.name
        self.call_after_refresh(self._begin)
        self.set_interval(TICK, self._tick)
        self._side.people.focus()
        self._tick()

    def _begin(self) -> None:
        """The first picture is there: now what takes long to load."""
        self._running_desk = asyncio.create_task(self._run_desk())

    async def _run_desk(self) -> None:
        try:
            await self.desk.run()
        except Exception as error:  # a wrong option, or a bug: whoever started the phone is told
            self.exit(error)

    def on_unmount(self) -> None:
        self._ringer.sound(None)
        if self._running_desk is not None:
            self._running_desk.cancel()

    # --- drawing ------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        self._ticks += 1
        desk, stage = self.desk, self._stage
        stage.draw_log()
        slow = self._ticks % SLOW == 0
        if self._seen.new("desk", (desk.changes, desk.chosen, self._ticks // SECOND)):
            self._draw_top()
            self._draw_ring()
            self._side.draw()
            stage.draw()
            if self._seen.new("keys", tuple(self.check_action(name, ()) for name in _NOT_ALWAYS)):
                self.refresh_bindings()
        stage.draw_levels()
        stage.draw_path()
        if self._seen.new("figures", (desk.chosen, self.size)) or slow:
            stage.draw_figures()
        if self._ticks % GLANCE == 0:
            stage.draw_picture()
        self._ringer.sound(self._tone())

    def _tone(self) -> Tone | None:
        if any(card.rings for card in self.desk.cards):
            return Tone.BEEP if any(card.talking for card in self.desk.cards) else Tone.RING
        ringing = self.desk.story.ringing
        return Tone.RINGBACK if any(one.waits and one.address in ringing for one in self.desk.cards) else None

    def _draw_top(self) -> None:
        desk = self.desk
        sign, style = _LINES[desk.line.state]
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("iceway ", f"bold {LINK}").append(f"{self._identity} ", PLAIN)
        text.append(f"{sign} {desk.line.state}", style)
        if desk.line.reason:
            text.append(f": {desk.line.reason}", QUIET)
        if desk.quiet:
            text.append("  do not disturb", FAIR)
        self._top.write(text)

    def _draw_ring(self) -> None:
        ringing = [card for card in self.desk.cards if card.rings]
        if self._seen.new("rings", bool(ringing)):
            self._ring.set_class(bool(ringing), "-on")
        if ringing:
            first = ringing[0]
            more = f", and {len(ringing) - 1} more" if len(ringing) > 1 else ""
            waiting = "\nanswering holds the other call" if first.live.waiting else ""
            self._ring_text.write(Text(f"{first.name} is calling{more}\n{first.address}{waiting}"))

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
            case "mute" | "hold" | "keypad" | "record" | "transfer" | "show":
                return talking
            case "view" if parameters == ("picture",):
                return self._stage.shows_pictures
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

    def action_transfer(self) -> None:
        if (card := self.desk.chosen) is None:
            return
        others = [one.name for one in self.desk.cards if one is not card and one.talking]
        hint = f"Enter alone: {others[0]}, with whom you talk too" if others else ""
        names = [*others, *(contact.name for contact in self.desk.book.contacts)]

        def pass_on(text: str | None) -> None:
            if text is not None:
                self._tried(partial(self.desk.transfer, card), text)

        self.push_screen(Ask(f"Pass {card.name} on to:", hint, names), pass_on)

    def action_show(self, kind: str) -> None:
        self._with_call(lambda card: self.desk.show(card, kind))

    def action_dial(self) -> None:
        book = self.desk.book
        names = [*(one.name for one in book.contacts), *(one.address for one in book.contacts)]
        self._number.suggester = SuggestFromList(names, case_sensitive=False)
        self._number.focus()

    def action_lists(self) -> None:
        self._number.value = ""
        self._side.people.focus()

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
        self._side.people.focus()
        await self._call(event.value)

    @on(OptionList.OptionSelected, "#people")
    async def _person_chosen(self, event: OptionList.OptionSelected) -> None:
        if address := self._side.address(event.option_id or ""):
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
    def action_contact(self) -> None:
        stranger = self.desk.chosen.address if self.desk.chosen is not None else self._side.chosen
        self._edit(None, "" if self.desk.book.knows(stranger) else stranger)

    def action_edit(self) -> None:
        if (contact := self._side.contact) is not None:
            self._edit(contact)

    def _edit(self, contact: Contact | None, address: str = "") -> None:
        def keep(name: str, address: str) -> None:
            whole = self.desk.address(address) if address.strip() else ""
            self.desk.book.put(Contact(name, whole), instead_of=contact)
            self._seen.forget("desk")

        self.push_screen(ContactForm(contact, keep, address))

    def action_forget(self) -> None:
        contact = self._side.contact
        if contact is None:
            return
        if self._doomed is not contact:
            self._doomed = contact
            self.notify(f"Backspace again deletes {contact.name}", markup=False)
            self.set_timer(PATIENCE, self._spare)
            return
        self.desk.book.remove(contact)
        self._seen.forget("desk")

    def _spare(self) -> None:
        self._doomed = None

    def action_quiet(self) -> None:
        self._tried(self.desk.disturb, not self.desk.quiet)

    # --- the rest -----------------------------------------------------------------------------------------
    def action_view(self, name: str) -> None:
        self._stage.look_at(name)

    def action_people(self) -> None:
        self.screen.toggle_class("-people")
        self.call_after_refresh(self._side.people.focus)

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
            self.set_timer(PATIENCE, self._stay)
            return
        if self._running_desk is not None:
            self._running_desk.cancel()
        await self.desk.leave()
        self.exit(None)

    def _stay(self) -> None:
        self._asked_to_leave = False
