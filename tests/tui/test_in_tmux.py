"""The phone as somebody sees it: the program in a terminal, against the servers and clients that anybody would run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from iceway.media.speech import speech
from tests.e2e.programs import DOMAIN, LIMIT, Company, password

pytestmark = pytest.mark.interop("tmux")


@dataclass
class Terminal:
    """A tmux of its own, of 100 × 30, in which the phone runs; `told` are files in its directory."""

    company: Company

    def tmux(self, *words: str) -> str:
        run = subprocess.run(
            ["tmux", "-S", str(self.company.path("tmux")), *words], capture_output=True, text=True, check=True
        )
        return run.stdout

    def opens(self, user: str, *options: str) -> None:
        """…and says how the phone ended, and what it left of the terminal."""
        where = self.company.directory
        phone = [sys.executable, "-m", "iceway", "phone", *self.company.account(user), *options]
        told = "echo phone ended $?; stty -a | grep -o -e '-*echo ' | head -1; sleep 600"
        self.tmux(
            *("new-session", "-d", "-x", "100", "-y", "30", "-c", str(where)),
            *(
                "-e",
                f"ICEWAY_PASSWORD={password(user)}",
                "-e",
                f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}",
            ),
            *(
                word
                for name in ("CONFIG", "STATE", "DATA")
                for word in ("-e", f"XDG_{name}_HOME={where / name}")
            ),
            f"unset COLUMNS LINES; {shlex.join(phone)}; {told}",
        )

    @property
    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def shows(self, *texts: str) -> str:
        """Wait until all of that is on the screen."""
        deadline = time.monotonic() + LIMIT
        while not all(text in self.screen for text in texts):
            assert time.monotonic() < deadline, f"{texts} not seen:\n{self.screen}"
            time.sleep(0.05)
        return self.screen

    def closed(self, text: str) -> None:
        """Wait until that is on the screen no more."""
        deadline = time.monotonic() + LIMIT
        while text in self.screen:
            assert time.monotonic() < deadline, f"{text} is still seen:\n{self.screen}"
            time.sleep(0.05)

    def presses(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def closes(self) -> None:
        """The window is closed, and what runs in it told so (SIGHUP)."""
        with suppress(subprocess.CalledProcessError):  # it is closed already
            self.tmux("kill-server")


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    """Front end and edge; Alice, Bob and Carol have accounts."""
    company = Company(tmp_path)
    try:
        company.serves()
        company.adds("alice", "bob", "carol")
        yield company
    finally:
        company.close()


@pytest.fixture
def terminal(company: Company) -> Iterator[Terminal]:
    terminal = Terminal(company)
    yield terminal
    terminal.closes()


SOUND = ("--play", str(speech("alice")), "--hear", "nothing", "--video", "pattern")


def test_an_evening_with_the_phone(company: Company, terminal: Terminal) -> None:
    bob = company.answers("bob", "--video", "pattern")
    terminal.opens("alice", *SOUND)
    terminal.shows("alice@example.test ● registered", "Nobody is on the line")

    terminal.presses("n")
    terminal.presses("bob", "Enter")
    terminal.shows("bob  talking", "me ━", "direct", "opus")
    assert "silent" not in terminal.shows(" dB")  # both speak
    terminal.presses("3")
    terminal.shows("Alice hears the first sound")
    terminal.presses("2")
    terminal.shows("chosen, answered in")
    terminal.presses("1")

    terminal.presses("v")
    terminal.shows("talking", "video", "640×360")
    terminal.presses("4")
    terminal.shows("▀▀▀▀▀▀▀▀")
    terminal.presses("1")
    terminal.presses("h")
    bob.prints("they hold the call")
    terminal.shows("on hold")
    terminal.presses("h")
    bob.prints("the call goes on")
    terminal.presses("k")
    terminal.shows("Keys are sent")
    terminal.presses("5")
    bob.prints("they press 5")
    terminal.presses("Escape")
    terminal.closed("sent 5")  # a key right behind it would be one with Alt
    terminal.presses("r")
    terminal.shows("● recording")
    terminal.presses("x")
    terminal.shows("over", "hung up here")
    (recording,) = (company.path("DATA") / "iceway" / "recordings").iterdir()
    assert recording.stat().st_size > 44

    carol = company.run(
        *("carol", "call", f"alice@{DOMAIN}", *company.account("carol")), ICEWAY_PASSWORD=password("carol")
    )
    terminal.shows("carol is calling")
    terminal.presses("a")
    carol.prints("answered")
    terminal.shows("carol  talking")
    terminal.presses("q")
    terminal.shows("q again hangs up and leaves")
    terminal.presses("q")
    terminal.shows("phone ended 0", "\necho")
    assert carol.ends() == 0
    log = (company.path("STATE") / "iceway" / "phone.log").read_text()
    assert "Traceback" not in log


def test_a_server_that_is_not_there_yet(company: Company, terminal: Terminal) -> None:
    company.programs[0].interrupted()
    terminal.opens("alice", *SOUND)
    terminal.shows("Not registered", "refused", "Trying again in")
    company.serves("serve-again")
    terminal.presses("R")
    terminal.shows("● registered")
    terminal.presses("C-c")
    terminal.shows("phone ended 0", "\necho")


def test_a_window_that_is_closed_hangs_up(company: Company, terminal: Terminal) -> None:
    bob = company.answers("bob")
    terminal.opens("alice", *SOUND)
    terminal.shows("● registered")
    terminal.presses("n")
    terminal.presses("bob", "Enter")
    terminal.shows("bob  talking")
    terminal.closes()
    bob.prints("bob ↔ alice: direct")
    carol = company.done(
        *("carol", "call", f"alice@{DOMAIN}", *company.account("carol")), ICEWAY_PASSWORD=password("carol")
    )
    assert "480" in carol.output  # she is not registered any more


def test_what_is_wrong_with_options_is_said_on_a_whole_terminal(company: Company, terminal: Terminal) -> None:
    terminal.opens("alice", *SOUND, "--ports", "9-8")
    terminal.shows("iceway: --ports: 9 to 8 is no range of ports", "phone ended 2", "\necho")
