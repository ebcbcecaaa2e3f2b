"""A running peer as whoever leads it sees it, and the signalling between two of them.

What a peer says is taken in by a thread of its own the moment it says it, and handed on at once: the signalling
of `introduce` costs two pipes and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from tests.interop.peers.programs import Program, environment

PATIENCE = 30.0
PLACES = ("one", "the other")
LOOK_AGAIN = 0.05
Start = Callable[..., "subprocess.Popen[Any]"]


class Peer:
    """One program. `listener` hears each thing that it says, in the thread that reads it."""

    def __init__(self, program: Program, start: Start = subprocess.Popen) -> None:
        self.program = program
        self.news: list[dict[str, Any]] = []
        self.listener: Callable[[dict[str, Any]], None] = lambda news: None
        self._something = threading.Condition()
        self._writing = threading.Lock()
        self._over = False
        pipe = subprocess.PIPE
        self._process = start(program.command(), stdin=pipe, stdout=pipe, env=environment())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.until(lambda: self.all("ready"))

    # --- leading it --------------------------------------------------------------------------------------
    def tell(self, do: str, **fields: object) -> None:
        line = json.dumps({"do": do, **fields}).encode() + b"\n"
        with self._writing, contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).write(line)
            _pipe(self._process.stdin).flush()

    def until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        """Wait for a condition on what was said, be it by another peer."""
        deadline = time.monotonic() + patience
        with self._something:
            while not condition():
                if self._over:
                    raise AssertionError(f"{self.program.name} has ended; it said {self.news[-8:]}")
                if time.monotonic() > deadline:
                    raise AssertionError(f"{self.program.name} said only {self.news[-8:]}")
                self._something.wait(LOOK_AGAIN)

    def close(self) -> None:
        """Ends when the program has."""
        self.tell("close")
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._reader.join(PATIENCE)
            _pipe(self._process.stdout).close()

    # --- what it said ------------------------------------------------------------------------------------
    def all(self, key: str) -> list[Any]:
        return [news[key] for news in self.news if key in news]

    def last(self, key: str) -> Any:
        """What it said last of this; None if nothing."""
        said = self.all(key)
        return said[-1] if said else None

    def at(self, key: str, which: int = 0) -> float:
        """When it said that."""
        return float([news["at"] for news in self.news if key in news][which])

    @property
    def pair(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """The addresses of the selected pair, its own first."""
        selected = self.last("selected")
        if selected is None:
            return None
        (ip, port), (other, other_port) = selected["local"], selected["remote"]
        return (ip, port), (other, other_port)

    def _read(self) -> None:
        for line in _pipe(self._process.stdout):
            news = json.loads(line)
            self.listener(news)
            with self._something:
                self.news.append(news)
                self._something.notify_all()
        with self._something:
            self._over = True
            self._something.notify_all()


@contextlib.contextmanager
def running(*peers: tuple[Program, Start]) -> Iterator[list[Peer]]:
    """Some peers, ended afterwards."""
    with contextlib.ExitStack() as stack:
        started = []
        for program, start in peers:
            peer = Peer(program, start)
            stack.callback(peer.close)
            started.append(peer)
        yield started


def introduce(one: Peer, other: Peer) -> None:
    """From now on each hears at once what the other says of itself. To be called before they gather."""
    for speaker, hearer in ((one, other), (other, one)):
        speaker.listener = lambda news, hearer=hearer: _pass_on(news, hearer)


def meet(
    one: Peer,
    other: Peer,
    servers: Sequence[dict[str, Any]] = (),
    policy: str = "all",
    controlling: tuple[bool, bool] = (True, False),
    **options: object,
) -> None:
    """Both gather, find each other by trickling, and greet: each by its place, since both may be of one maker.
    `options` are what both are configured with besides."""
    introduce(one, other)
    for peer, name, leads in zip((one, other), PLACES, controlling, strict=True):
        peer.tell("greet", text=f"from {name}")
        peer.tell("gather", controlling=leads, servers=list(servers), policy=policy, options=options)


def _pass_on(news: dict[str, Any], hearer: Peer) -> None:
    if "credentials" in news:
        hearer.tell("remote", **news["credentials"])
    elif "candidate" in news:
        hearer.tell("candidate", line=news["candidate"])
    elif "end" in news:
        hearer.tell("end")


def _pipe(pipe: IO[Any] | None) -> IO[Any]:
    assert pipe is not None
    return pipe
