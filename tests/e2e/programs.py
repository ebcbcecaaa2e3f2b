"""iceway's programs as processes on loopback: started, waited for by what they print, killed, read.

Each office of programs has a loopback address of its own (all of 127/8 is this machine's), so that its ports are
nobody else's, and clients use no other interface, so that it does not matter what else the machine has.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from iceway.media.speech import speech
from iceway.trace.entry import Entry, read_lines

LIMIT = 60.0  # seconds; what takes longer hangs
DOMAIN = "example.test"
WEBSOCKET = "websocket-port"
PORTS = ("access-port", "relay-port", "relay-tls-port", "frontend-port", "mras-port")


class Program:
    """One process. What it prints goes to `{name}.out` and `{name}.err`; `output` is the former."""

    def __init__(self, name: str, arguments: Sequence[str], directory: Path, **environment: str) -> None:
        self.name = name
        self._files = directory / f"{name}.out", directory / f"{name}.err"
        unset = ("ICEWAY_PASSWORD", "NO_COLOR", "FORCE_COLOR")
        inherited = {key: value for key, value in os.environ.items() if key not in unset}
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                # Whoever started pytest may ignore SIGINT (a shell's background job does); we may not.
                ["env", "--default-signal=INT", sys.executable, "-m", "iceway", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=directory,
                env={**inherited, "COLUMNS": "100", "PYTHONUNBUFFERED": "1", **environment},
            )

    @property
    def output(self) -> str:
        return self._files[0].read_text(encoding="utf-8")

    @property
    def errors(self) -> str:
        return self._files[1].read_text(encoding="utf-8")

    def prints(self, pattern: str, times: int = 1) -> None:
        """Wait until something that matches has been printed so many times, to either stream."""
        deadline = time.monotonic() + LIMIT
        while len(re.findall(pattern, self.output + self.errors, re.MULTILINE)) < times:
            ended = self.process.poll()
            assert ended is None, f"{self.name} ended ({ended}) before {pattern!r}:\n{self.told()}"
            assert time.monotonic() < deadline, f"{self.name} does not print {pattern!r}:\n{self.told()}"
            time.sleep(0.02)

    def ends(self) -> int:
        """Its exit code, when it has ended by itself. No program ever shows a traceback."""
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end:\n{self.told()}") from None
        assert "Traceback" not in self.output + self.errors, self.told()
        return code

    def interrupted(self, number: signal.Signals = signal.SIGINT) -> int:
        """Its exit code after Ctrl-C."""
        self.process.send_signal(number)
        return self.ends()

    def killed(self) -> None:
        """As by kill -9: nothing is said or flushed any more."""
        self.process.kill()
        self.process.wait()

    def told(self) -> str:
        return f"{self.output}{self.errors}"


@dataclass
class Company:
    """A directory, an address and ports; whatever is started in it is ended with it."""

    directory: Path
    ip: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    programs: list[Program] = field(default_factory=list)

    def __post_init__(self) -> None:
        chance = random.Random(os.urandom(8))
        self.ip = f"127.{chance.randrange(1, 255)}.{chance.randrange(1, 255)}.{chance.randrange(1, 255)}"
        free = (port for port in chance.sample(range(20000, 32000), 100) if _is_free(self.ip, port))
        self.ports = dict(zip((*PORTS, WEBSOCKET), free, strict=False))

    def close(self) -> None:
        for program in self.programs:
            if program.process.poll() is None:
                program.killed()

    def run(self, name: str, *arguments: str, **environment: str) -> Program:
        program = Program(name, arguments, self.directory, **environment)
        self.programs.append(program)
        return program

    def done(self, name: str, *arguments: str, **environment: str) -> Program:
        """A program that has ended."""
        program = self.run(name, *arguments, **environment)
        program.ends()
        return program

    # --- servers ------------------------------------------------------------------------------------------
    def serves(self, name: str = "serve", *, websocket: bool = False) -> Program:
        """Front end and edge; `websocket`: with a door for browsers."""
        ports = (*PORTS, WEBSOCKET) if websocket else PORTS
        options = [word for port in ports for word in (f"--{port}", str(self.ports[port]))]
        program = self.run(name, "serve", "--domain", DOMAIN, "--data", "data", "--listen", self.ip, *options)
        program.prints("^Clients must trust")
        return program

    def starts(self, what: str, name: str) -> Program:
        """`iceway edge` or `iceway frontend` by itself, with the file that `iceway serve` wrote."""
        program = self.run(name, "-v", what, "--config", f"data/{what}.toml", "--trace", f"{name}.jsonl")
        program.prints(f"^{what}: ready")
        return program

    def adds(self, *users: str) -> None:
        for user in users:
            added = self.done(
                f"add-{user}", "user", "add", user, "-c", "data/frontend.toml", ICEWAY_PASSWORD=password(user)
            )
            assert added.output == f"added sip:{user}@{DOMAIN}\n", added.told()

    # --- clients ------------------------------------------------------------------------------------------
    def account(self, user: str) -> tuple[str, ...]:
        server = f"tls:{self.ip}:{self.ports['access-port']}"
        return (
            *("--as", f"{user}@{DOMAIN}", "--server", server),
            *("--ca", "data/ca/ca.pem", "--interface", "127.0.0.1"),
        )

    def answers(self, user: str, *options: str) -> Program:
        """Somebody waits for calls and will play their speech and record what they hear."""
        program = self.run(
            user,
            *("answer", *self.account(user), "--play", str(speech(user))),
            *("--record", f"{user}-{{n}}.wav", "--trace", f"{user}.jsonl", *options),
            ICEWAY_PASSWORD=password(user),
        )
        program.prints("registered as")
        return program

    def calls(self, user: str, peer: str, name: str, *options: str) -> Program:
        """Somebody calls, plays their speech, and hangs up; the program when it has ended."""
        return self.done(
            name,
            *("call", f"{peer}@{DOMAIN}", *self.account(user), "--play", str(speech(user))),
            *("--record", f"{name}.wav", "--trace", f"{name}.jsonl", *options),
            ICEWAY_PASSWORD=password(user),
        )

    def trace(self, name: str) -> list[Entry]:
        with (self.directory / f"{name}.jsonl").open(encoding="utf-8") as lines:
            return list(read_lines(lines))

    def path(self, name: str) -> Path:
        return self.directory / name


def password(user: str) -> str:
    return f"{user}'s password"


def _is_free(ip: str, port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((ip, port))
            except OSError:
                return False
    return True
