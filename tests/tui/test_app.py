"""The phone on a screen: what is seen, what keys and clicks do. The client is a fake, and no time passes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, RichLog, Static

from iceway.core.errors import UsageError
from iceway.media.files import MemorySink
from iceway.media.picture import plain
from iceway.trace.records import CallState
from iceway.tui.app import SLOW, PhoneApp
from iceway.tui.contacts import Contact, Recent
from iceway.tui.desk import Desk
from iceway.tui.preview import PictureView
from iceway.tui.ringing import Ringer, Tone
from tests.tui.fakes import ALICE, BOB, CAROL, FakeCall, FakeClient, desk, finds_a_path, stats, until


@dataclass
class Phone:
    """The phone in somebody's hands."""

    app: PhoneApp
    pilot: Pilot[Exception | None]
    desk: Desk
    clients: list[FakeClient]
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        def tell(message: str, **_: object) -> None:
            self.told.append(message)

        self.app.notify = tell  # type: ignore[method-assign, assignment]

    @property
    def client(self) -> FakeClient:
        return self.clients[-1]

    async def sees(self) -> None:
        """The screen is drawn, and every part of it has been looked at."""
        await self.pilot.pause()
        self.desk.changes += 1
        for _ in range(SLOW):
            self.app._tick()
        await self.pilot.pause()

    async def presses(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.sees()

    async def dials(self, text: str) -> FakeCall:
        await self.presses("n", *text, "enter")
        return self.client.calls[-1]

    async def talks(self, to: str = "bob") -> FakeCall:
        call = await self.dials(to)
        finds_a_path(self.client, call)
        call.measured = stats()
        call.is_answered()
        await self.sees()
        return call

    def text(self, part: str) -> str:
        return str(self.app.query_one(f"#{part}", Static).content)

    def list(self, part: str) -> list[str]:
        return [str(option.prompt) for option in self.app.query_one(f"#{part}", OptionList).options]

    def footer(self) -> set[str]:
        return {
            binding.binding.description
            for binding in self.app.screen.active_bindings.values()
            if binding.enabled
        }


Scene = Callable[[Phone], Awaitable[None]]


def on(
    tmp_path: Path, scene: Scene, size: tuple[int, int] = (100, 30), *refusals: str, people: int = 1
) -> PhoneApp:
    """A phone, registered (or not: `refusals`), with Bob and Carol among its contacts."""
    one, clients = desk(tmp_path, *refusals)
    if people:
        one.book.put(Contact("Bob", BOB))
        one.book.put(Contact("Carol", CAROL))
    app = PhoneApp(one, ALICE)

    async def live() -> None:
        async with app.run_test(size=size) as pilot:
            phone = Phone(app, pilot, one, clients)
            await until(lambda: one.line.state != "connecting")
            await phone.sees()
            await scene(phone)

    asyncio.run(live())
    return app


def test_dialling_shows_the_call_its_levels_path_and_quality(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        assert "● registered" in phone.text("top")
        call = await phone.dials("bob")
        assert call.peer == BOB
        assert "calling" in phone.text("title")
        finds_a_path(phone.client, call)
        call.measured = stats(lost=20)
        call.is_answered()
        await phone.sees()
        call.talks(16000)
        phone.desk.clock.now += 42  # type: ignore[attr-defined]
        await phone.sees()
        assert "talking 0:42" in phone.text("title")
        assert phone.text("levels").count("█") > 20
        assert "relayed over UDP through 198.51.100.2:3478" in phone.text("path")
        assert "4.0%" in phone.text("figures")
        assert phone.list("calls") == ["▸Bob            talking"]

    on(tmp_path, scene)


def test_an_incoming_call_rings_and_is_answered_with_a_key(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = phone.client.rings(BOB)
        await phone.sees()
        assert phone.app.query_one("#ring").display
        assert phone.text("ring-text") == f"Bob is calling\n{BOB}"
        assert {"answer", "decline"} <= phone.footer()
        await phone.presses("a")
        assert call.asked == ["take"]
        assert not phone.app.query_one("#ring").display
        assert "talking" in phone.text("title")
        assert "answer" not in phone.footer()

    on(tmp_path, scene)


@pytest.mark.parametrize(("button", "asked"), [("#ring-answer", "take"), ("#ring-decline", "refuse 603")])
def test_an_incoming_call_is_answered_or_declined_with_the_mouse(
    tmp_path: Path, button: str, asked: str
) -> None:
    async def scene(phone: Phone) -> None:
        call = phone.client.rings(BOB)
        await phone.sees()
        await phone.pilot.click(button)
        await phone.sees()
        assert call.asked == [asked]

    on(tmp_path, scene)


def test_declining(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = phone.client.rings(BOB)
        await phone.sees()
        await phone.presses("d")
        assert call.asked == ["refuse 603"]
        assert "↙ Bob" in phone.list("people")[3]

    on(tmp_path, scene)


def test_a_second_call_waits_and_is_taken(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        await phone.talks()
        phone.client.rings(CAROL, waiting=True)
        await phone.sees()
        assert "answering holds the other call" in phone.text("ring-text")
        assert len(phone.list("calls")) == 2
        assert "waiting" in phone.list("calls")[0]
        await phone.presses("a")
        assert "Carol" in phone.text("title")
        phone.app.query_one("#calls", OptionList).focus()
        await phone.presses("down", "enter")
        assert "Bob" in phone.text("title")

    on(tmp_path, scene)


def test_keys_in_a_call(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = await phone.talks()
        for key, asked in (
            ("m", "mute True"),
            ("m", "mute False"),
            ("h", "hold"),
            ("h", "resume"),
            ("x", "hang up"),
        ):
            await phone.presses(key)
            assert call.asked[-1] == asked, key
        assert "over" in phone.text("title")
        assert "hung up here" in phone.text("title")
        assert "MOS" in phone.text("figures")  # it can still be read how it was
        await phone.presses("x")
        assert "Nobody is on the line" in phone.text("title")
        await phone.presses("m", "h", "r", "x", "k")  # nothing to do it with
        assert call.asked[-1] == "hang up"

    on(tmp_path, scene)


def test_muting_and_recording_show(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = await phone.talks()
        await phone.presses("m", "r")
        assert "muted" in phone.text("title")
        assert "● recording" in phone.text("title")
        call.talks(1000)
        await phone.sees()
        assert "muted" in phone.text("levels")
        await phone.presses("r")
        assert "recording" not in phone.text("title")
        assert len(list((tmp_path / "recordings").iterdir())) == 1

    on(tmp_path, scene)


def test_the_keypad_sends_what_is_pressed_and_clicked(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = await phone.talks()
        await phone.presses("k", "1", "2", "number_sign", "d")
        await phone.pilot.click("#keys Button:last-child")
        await phone.presses("escape")
        assert call.asked == ["keys 1", "keys 2", "keys #", "keys D", "keys #"]
        assert "keys ↑12#D#" in phone.text("title")

    on(tmp_path, scene)


def test_views_change_by_key_and_the_log_tells_in_words(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        await phone.talks()
        assert phone.app.query_one("#call").display
        await phone.presses("2")
        assert not phone.app.query_one("#call").display
        assert phone.app.query_one("#paths").display
        assert "▸ relay over UDP 198.51.100.2:50010" in phone.text("candidates")
        await phone.presses("3")
        lines = "\n".join(line.text for line in phone.app.query_one("#log", RichLog).lines)
        assert "Alice hears the first sound" in lines
        await phone.presses("1")
        assert phone.app.query_one("#call").display

    on(tmp_path, scene, (80, 24))


def test_views_change_by_mouse(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        await phone.talks()
        for x, view in ((10, "paths"), (19, "log"), (2, "call")):
            await phone.pilot.click("#tabs", offset=(x, 0))
            await phone.sees()
            assert phone.app.query_one(f"#{view}").display
        await phone.pilot.click("#tabs", offset=(45, 0))  # beside them

    on(tmp_path, scene, (80, 24))


def test_a_wide_terminal_shows_all_views_at_once(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        await phone.talks()
        assert all(phone.app.query_one(f"#{view}").display for view in ("call", "paths", "log"))
        assert not phone.app.query_one("#tabs").display

    on(tmp_path, scene, (200, 50))


def test_a_narrow_terminal_shows_people_or_the_call(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        assert not phone.app.query_one("#side").display
        await phone.presses("l")
        assert phone.app.query_one("#side").display
        assert not phone.app.query_one("#stage").display
        await phone.presses("enter")  # calls Bob, and shows the call
        assert phone.client.calls[0].peer == BOB
        assert phone.app.query_one("#stage").display
        assert "Bob" in phone.text("title")

    on(tmp_path, scene, (48, 16))


@pytest.mark.parametrize("size", [(20, 6), (48, 16), (80, 24), (119, 30), (200, 50)])
def test_it_fits_every_terminal(tmp_path: Path, size: tuple[int, int]) -> None:
    async def scene(phone: Phone) -> None:
        call = await phone.talks()
        phone.client.rings(CAROL, waiting=True)
        for view in ("1", "2", "3"):
            call.talks(20000)
            await phone.presses(view)
        await phone.pilot.resize_terminal(100, 40)
        await phone.sees()
        assert "talking" in phone.text("title")

    on(tmp_path, scene, size)


# --- transfers and pictures -----------------------------------------------------------------------------
def test_they_are_passed_on_to_who_is_typed(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = await phone.talks()
        await phone.presses("t", *"Carol", "enter")
        assert call.asked[-1] == f"transfer {CAROL}"
        assert "passed on" in phone.text("title")
        call.is_transferred("486 Busy Here")
        await phone.sees()
        assert "not transferred: 486 Busy Here" in phone.text("title")
        assert "talking" in phone.text("title")
        await phone.presses("t", "escape")
        await phone.presses("t", "enter")
        assert phone.told == ["transfer to whom? Type a name or an address"]

    on(tmp_path, scene)


def test_enter_alone_joins_the_two_whom_one_talks_with(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        await phone.talks()
        carol = await phone.talks("Carol")
        await phone.presses("t")
        assert "Enter alone: Bob" in str(phone.app.screen.query(Static).last().content)
        await phone.presses("enter")
        assert carol.asked[-1] == "transfer call.1"

    on(tmp_path, scene)


def test_camera_and_desktop_are_shown_and_no_more(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = await phone.talks()
        for key, kind in (("v", "video"), ("s", "slides")):
            await phone.presses(key)
            await until(lambda kind=kind: kind in call.streams)
            await phone.sees()
            assert kind in phone.text("title")
            await phone.presses(key)
            assert call.asked[-2:] == [f"add {kind}", f"drop {kind}"]
            assert kind not in phone.text("title")

    on(tmp_path, scene)


def test_what_they_show_is_on_the_screen_for_as_long_as_they_show_it(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = phone.client.rings(BOB)
        await phone.sees()
        await phone.presses("a", "4")
        view = phone.app.query_one(PictureView)
        assert not view.display  # there is nothing to look at yet
        sink = call.pictures["video"].sink
        sink.show(plain(64, 48, 200), 0.0)
        for _ in range(2):
            phone.app._tick()
        await phone.presses("4")
        for _ in range(2):
            phone.app._tick()
        await phone.sees()
        assert view.display
        assert "4 Picture" in phone.text("tabs")
        assert "▀▀▀" in "".join(
            segment.text for y in range(view.size.height) for segment in view.render_line(y)
        )
        sink.close()
        for _ in range(2):
            phone.app._tick()
        await phone.sees()
        assert not view.display
        assert phone.app.query_one("#call").display

    on(tmp_path, scene, (80, 24))


def test_it_rings_until_it_is_answered(tmp_path: Path) -> None:
    heard: list[Speakers] = []

    class Speakers(MemorySink):
        closed = False

        def close(self) -> None:
            self.closed = True

    def speakers() -> Speakers:
        heard.append(Speakers())
        return heard[-1]

    async def scene(phone: Phone) -> None:
        phone.app._ringer = Ringer(speakers, phone.app.bell)
        phone.client.rings(BOB)
        await phone.sees()
        await until(lambda: heard and len(heard[0].samples))
        await phone.presses("a")
        await until(lambda: heard[0].closed)
        assert len(heard) == 1

    on(tmp_path, scene)


def test_one_hears_that_it_rings_there_until_something_is_heard(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = await phone.dials("bob")
        assert phone.app._tone() is None
        phone.client.records(CallState("1", "ringing", ALICE, BOB))
        assert phone.app._tone() is Tone.RINGBACK
        call.talks(0)  # the other side has ringback of its own
        assert phone.app._tone() is None
        call.is_answered()
        await phone.sees()
        phone.client.rings(CAROL, waiting=True)
        await phone.sees()
        assert phone.app._tone() is Tone.BEEP
        call.ends("over")
        await phone.sees()
        assert phone.app._tone() is Tone.RING

    on(tmp_path, scene)


# --- people ---------------------------------------------------------------------------------------------
def test_a_contact_is_added_changed_and_deleted(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        assert phone.list("people") == ["no contacts yet (c)"]
        await phone.presses("c", *"Dave", "enter", *"dave", "enter")
        assert phone.list("people") == ["Dave"]
        assert phone.desk.book.contacts == [Contact("Dave", "sip:dave@example.test")]
        await phone.presses("down", "e", "end", "s", "enter", "enter")
        assert phone.list("people") == ["Daves"]
        await phone.presses("backspace")
        assert phone.list("people") == ["Daves"]
        assert phone.told == ["Backspace again deletes Daves"]
        await phone.presses("backspace")
        assert phone.list("people") == ["no contacts yet (c)"]
        await phone.presses("e", "backspace")  # nobody is chosen

    on(tmp_path, scene, people=0)


def test_what_is_wrong_with_a_contact_is_said_in_the_form(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        await phone.presses("c", *"Bob", "enter", *"b@x", "enter")
        assert "a contact Bob already" in str(phone.app.screen.query_one("#wrong", Static).content)
        await phone.presses("escape")
        assert [one.name for one in phone.desk.book.contacts] == ["Bob", "Carol"]

    on(tmp_path, scene)


def test_who_called_becomes_a_contact(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        phone.client.rings("sip:erin@other.test")
        await phone.sees()
        await phone.presses("c", *"Erin", "enter", "enter")
        assert Contact("Erin", "sip:erin@other.test") in phone.desk.book.contacts

    on(tmp_path, scene)


def test_recent_calls_are_called_back(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        phone.desk.book.called(Recent(CAROL, phone.desk.wall() - 60, incoming=True))
        await phone.sees()
        people = phone.app.query_one("#people", OptionList)
        people.highlighted = 3
        people.focus()
        await phone.presses("enter")
        assert phone.client.calls[0].peer == CAROL

    on(tmp_path, scene)


# --- the line -------------------------------------------------------------------------------------------
def test_a_server_that_cannot_be_reached_is_a_screen_with_the_reason_and_a_retry(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        assert phone.app.query_one("#down").display
        assert "Not registered" in phone.text("down")
        assert "connection refused" in phone.text("down")
        assert "is the server running?" in phone.text("down")
        assert "Trying again in 5 s" in phone.text("down")
        assert "retry" in phone.footer()
        await phone.presses("n", *"bob", "enter")
        assert phone.told == ["not registered yet, so nobody can be called"]
        await phone.presses("R")
        await until(lambda: phone.desk.line.state == "registered")
        await phone.sees()
        assert not phone.app.query_one("#down").display

    on(tmp_path, scene, (100, 30), "connection refused")


def test_a_lost_registration_shows_and_so_does_quiet(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        phone.desk.registration("the connection was closed")
        await phone.sees()
        assert "◌ lost: the connection was closed" in phone.text("top")
        phone.desk.registration(None)
        await phone.presses("z")
        assert "do not disturb" in phone.text("top")
        assert phone.client.asked[-1] == "quiet True"
        await phone.presses("z")
        assert "do not disturb" not in phone.text("top")

    on(tmp_path, scene)


def test_wrong_options_end_it_with_their_error(tmp_path: Path) -> None:
    one, _ = desk(tmp_path)

    def connect(_: Desk) -> None:
        raise UsageError("--ports: 9 to 8 is no range of ports")

    one._connect = connect  # type: ignore[assignment]
    app = PhoneApp(one, ALICE)
    asyncio.run(asyncio.wait_for(app.run_async(headless=True), 10))
    assert str(app.return_value) == "--ports: 9 to 8 is no range of ports"


# --- the rest -------------------------------------------------------------------------------------------
def test_help_names_every_key(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        await phone.presses("question_mark")
        said = "\n".join(str(one.content) for one in phone.app.screen.query(Static))
        for binding in PhoneApp.BINDINGS:
            assert binding.tooltip in said
        await phone.presses("escape")
        assert len(phone.app.screen_stack) == 1

    on(tmp_path, scene)


def test_why_tells_the_whole_story(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        await phone.presses("w")
        assert "direct, as both are in one network" in str(
            phone.app.screen.query_one("#explained Static", Static).content
        )
        await phone.presses("w")
        assert len(phone.app.screen_stack) == 1

    on(tmp_path, scene)


def test_quitting_asks_once_while_a_call_is_up(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = await phone.talks()
        await phone.presses("q")
        assert "q again hangs up and leaves" in phone.told[0]
        assert not call.end_reason
        await phone.pilot.press("q")
        assert call.end_reason == "hung up here"
        assert phone.client.asked[-1] == "stop"

    on(tmp_path, scene)


def test_control_c_leaves_at_once_and_hangs_up(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        call = await phone.talks()
        await phone.presses("n")  # while something is being typed, too
        await phone.pilot.press("ctrl+c")
        assert call.end_reason == "hung up here"
        assert phone.client.asked[-1] == "stop"

    on(tmp_path, scene)


def test_hostile_names_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        evil = "sip:\x1b]0;owned\x07[red]\u202egnp@evil.test"
        call = phone.client.rings(evil)
        await phone.sees()
        await phone.presses("a", "3", "c", "escape")
        call.ends("\x1b[2Jgone")
        await phone.sees()
        strips = phone.app.screen._compositor.render_strips()
        shown = "".join(segment.text for strip in strips for segment in strip)
        assert "owned" in shown
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)

    on(tmp_path, scene)


def test_escape_leaves_the_line_that_is_typed(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        await phone.presses("slash", *"mh")
        number = phone.app.query_one("#number", Input)
        assert number.value == "mh"  # keys are letters there
        await phone.presses("escape")
        assert number.value == ""
        assert phone.app.focused is phone.app.query_one("#people")

    on(tmp_path, scene)


def test_nothing_is_drawn_anew_when_nothing_happens(tmp_path: Path) -> None:
    async def scene(phone: Phone) -> None:
        await phone.talks()
        for _ in range(40):  # meters come to rest
            phone.app._tick()
        drawn: list[object] = []
        for part in phone.app.query(Static):
            part.update = lambda *given, **_: drawn.append(given)  # type: ignore[method-assign, assignment]
        for _ in range(4):
            phone.app._tick()
        assert drawn == []

    on(tmp_path, scene)
