"""Who one talks with, could talk with and talked with: the left side of the phone."""

from __future__ import annotations

import time

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from iceway.tui.card import Card, state_of
from iceway.tui.contacts import Contact
from iceway.tui.desk import Desk
from iceway.tui.drawing import FAIR, GOOD, LINK, PLAIN, POOR, QUIET
from iceway.tui.slate import Seen, Slate

STATES = {"talking": GOOD, "rings": FAIR, "waiting": FAIR, "path lost": POOR, "over": QUIET}
"""Colours of what `state_of` says; the rest is fair."""


class Side(Vertical):
    """Two lists: calls, the latest first; and people, contacts before recent calls."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(id="side")
        self._desk = desk
        self._seen = Seen()
        self._heading = Slate(id="calls-heading", classes="heading")
        self.calls = OptionList(id="calls", markup=False)
        self.people = OptionList(id="people", markup=False)

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self.calls
        yield Slate(id="people-heading", classes="heading")
        yield self.people

    def on_mount(self) -> None:
        self._heading.write(Text("Calls"))
        self.query_one("#people-heading", Slate).write(Text("People"))

    def draw(self) -> None:
        self._draw_calls()
        book = self._desk.book
        if self._seen.new("people", (tuple(book.contacts), tuple(book.recent))):
            self._draw_people()

    def address(self, option: str) -> str:
        """Whose row in the list of people that is."""
        kind, _, number = option.partition("-")
        book = self._desk.book
        rows = book.contacts if kind == "contact" else book.recent if kind == "recent" else []
        return rows[int(number)].address if rows else ""

    @property
    def chosen(self) -> str:
        """The address that the bar is on."""
        return self.address(self._option)

    @property
    def contact(self) -> Contact | None:
        """The contact that the bar is on."""
        kind, _, number = self._option.partition("-")
        return self._desk.book.contacts[int(number)] if kind == "contact" else None

    @property
    def _option(self) -> str:
        at = self.people.highlighted
        return "" if at is None else self.people.get_option_at_index(at).id or ""

    def _draw_calls(self) -> None:
        desk = self._desk
        cards = desk.cards[::-1]
        rows = [Option(self._row(card), id=card.live.name) for card in cards]
        drawn = tuple((str(row.prompt), row.id) for row in rows)
        if self._seen.new("calls", drawn):
            self.calls.set_options(rows)
            self.calls.display = self._heading.display = bool(rows)
        if self._seen.new("chosen", (desk.chosen, drawn)) and desk.chosen in cards:
            self.calls.highlighted = cards.index(desk.chosen)

    def _row(self, card: Card) -> Text:
        state = state_of(card, self._desk.story)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("▸" if card is self._desk.chosen else " ", LINK)
        text.append(f"{card.name[:14]:<14} ", PLAIN)
        return text.append(state, STATES.get(state, FAIR))

    def _draw_people(self) -> None:
        book, now = self._desk.book, self._desk.wall()
        rows = [Option(_name(contact), id=f"contact-{n}") for n, contact in enumerate(book.contacts)]
        if not rows:
            rows.append(Option(Text.assemble(("no contacts yet (c)", QUIET)), disabled=True))
        if book.recent:
            rows.append(Option(Text.assemble(("Recent", QUIET)), disabled=True))
        for number, recent in enumerate(book.recent):
            row = Text(no_wrap=True, overflow="ellipsis")
            row.append("↙ " if recent.incoming else "↗ ", GOOD if recent.answered else POOR)
            row.append(f"{book.name_of(recent.address)[:12]:<12} ", PLAIN)
            rows.append(Option(row.append(_when(recent.at, now), QUIET), id=f"recent-{number}"))
        at = self.people.highlighted
        self.people.set_options(rows)
        if book.contacts or book.recent:
            first = 0 if book.contacts else 2  # behind what says that there are none
            self.people.highlighted = min(max(at or 0, first), len(rows) - 1)


def _name(contact: Contact) -> Text:
    return Text(contact.name, PLAIN, no_wrap=True, overflow="ellipsis")


def _when(at: float, now: float) -> str:
    """The time of day, or the day if that was not today."""
    then, today = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%d %b", then)
