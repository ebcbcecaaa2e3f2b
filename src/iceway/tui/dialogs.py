"""What the phone asks and tells in between: a question, a contact, the keypad, help, the whole story of a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Vertical, VerticalScroll
from textual.events import Key
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, Static

from iceway.core.errors import IcewayError
from iceway.tui.contacts import Contact

_CLOSE: tuple[BindingType, ...] = (Binding("escape", "dismiss(None)", "Close", show=False),)
KEYS = "123456789*0#"
_MORE_KEYS = "ABCD"  # seldom seen on telephones, and sent all the same


class Ask(ModalScreen[str | None]):
    """One line of text; None if it was thought better of."""

    BINDINGS: ClassVar = [*_CLOSE]

    def __init__(self, question: str, hint: str = "", names: Sequence[str] = ()) -> None:
        super().__init__()
        self._question, self._hint, self._names = question, hint, names

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._question, markup=False)
            yield Input(suggester=SuggestFromList(self._names, case_sensitive=False), max_length=200)
            yield Static(self._hint or "Enter: do it · Esc: leave it", classes="hint", markup=False)

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())


class ContactForm(ModalScreen[None]):
    """Name and address of a contact. `keep` raises what is wrong with them, which is shown."""

    BINDINGS: ClassVar = [*_CLOSE]

    def __init__(self, contact: Contact | None, keep: Callable[[str, str], None], address: str = "") -> None:
        super().__init__()
        self._contact, self._keep, self._address = contact, keep, address

    def compose(self) -> ComposeResult:
        known = self._contact or Contact("", self._address)
        with Vertical(classes="dialog"):
            yield Static("Change a contact" if self._contact else "A new contact")
            yield Input(known.name, placeholder="name", id="name", max_length=200)
            yield Input(known.address, placeholder="bob@example.test", id="address", max_length=200)
            yield Static("", classes="wrong", id="wrong", markup=False)
            yield Static("Enter: keep it · Tab: next field · Esc: leave it", classes="hint")

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        if event.input.id == "name":
            self.query_one("#address").focus()
            return
        try:
            self._keep(self.query_one("#name", Input).value, event.value)
        except IcewayError as error:
            self.query_one("#wrong", Static).update(str(error))
        else:
            self.dismiss(None)


class Keypad(ModalScreen[None]):
    """Telephone keys, pressed with the mouse or as themselves."""

    BINDINGS: ClassVar = [*_CLOSE]

    def __init__(self, press: Callable[[str], str]) -> None:
        """`press` says what there is to show afterwards."""
        super().__init__()
        self._press = press

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("Keys are sent as you press them", id="pressed", markup=False)
            with Grid(id="keys"):
                for key in KEYS:
                    yield Button(key, name=key)
            yield Static("Esc: close", classes="hint")

    @on(Button.Pressed)
    def _clicked(self, event: Button.Pressed) -> None:
        self._send(event.button.name or "")

    def on_key(self, event: Key) -> None:
        key = (event.character or "").upper()
        if key and key in KEYS + _MORE_KEYS:
            event.stop()
            self._send(key)

    def _send(self, key: str) -> None:
        self.query_one("#pressed", Static).update(self._press(key))


class Help(ModalScreen[None]):
    """Every key and what it does."""

    BINDINGS: ClassVar = [*_CLOSE, Binding("question_mark,q,enter", "dismiss(None)", show=False)]

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        wide = max(len(key) for key, _ in self._keys)
        text = Text()
        for key, said in self._keys:
            text.append(f"{key:<{wide + 2}}", "bold").append(f"{said}\n")
        with VerticalScroll(classes="dialog"):
            yield Static("Keys\n")
            yield Static(text)
            yield Static("Esc: close", classes="hint")


class Explained(ModalScreen[None]):
    """The whole story, as `iceway explain` tells it."""

    BINDINGS: ClassVar = [*_CLOSE, Binding("w,q,enter", "dismiss(None)", show=False)]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", id="explained"):
            yield Static(self._text or "Nothing happened yet.", markup=False)
