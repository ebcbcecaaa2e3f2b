"""The ends of a call with sound, pictures and a shared desktop: what each shows of the test pattern, and watches.

Both have a camera, and the caller shares a desktop, which has a size and a rate of its own. In the virtual world the
ends are phones of the office; on kernels `python -m iceway.lab.pictured` stands in for `iceway call` and `iceway answer`,
takes of their options what the lab gives them, and writes what it noted to `{name}-pictures.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from iceway.core.errors import EnvironmentFailure
from iceway.lab.watching import Account, Clock, Showing, Snapshot, Watched, Watching, compare, delay_of
from iceway.media.pictures import Pictures

SECONDS = 4.0  # of pictures: about as long as what is said
SEEN_ENOUGH = 0.95


@dataclass(frozen=True, slots=True)
class Stream:
    """How a kind of pictures is shown. `by` are those who show it; the other side watches."""

    words: str
    width: int
    height: int
    frame_rate: float
    budget: int
    by: tuple[str, ...]

    @property
    def count(self) -> int:
        return round(SECONDS * self.frame_rate)


STREAMS: Mapping[str, Stream] = {
    "video": Stream("camera", 320, 180, 15.0, 400_000, ("alice", "bob")),
    "slides": Stream("desktop", 640, 360, 5.0, 600_000, ("alice",)),
}


class Eyes:
    """One end's sources and sinks, and what they noted."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._showing: dict[str, Showing] = {}
        self._watching: dict[str, Watching] = {}
        for kind, stream in STREAMS.items():
            if name in stream.by:
                self._showing[kind] = Showing(clock, stream.count, stream.width, stream.height)
            if set(stream.by) - {name}:
                self._watching[kind] = Watching(clock, stream.count)

    @property
    def pictures(self) -> dict[str, Pictures]:
        """What to bring to the call, by kind."""
        return {
            kind: Pictures(
                self._showing.get(kind), self._watching.get(kind), stream.frame_rate, stream.budget
            )
            for kind, stream in STREAMS.items()
        }

    @property
    def accounts(self) -> dict[str, Account]:
        return {
            kind: Account.of(self._showing.get(kind), self._watching.get(kind))
            for kind in (self._showing | self._watching)
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """How one stream of `shower` came over to `viewer`, with some of its pictures."""

    viewer: str
    shower: str
    kind: str
    watched: Watched
    kept: tuple[tuple[Snapshot, float | None], ...]
    """With the delay of each, where its number could be read."""

    @property
    def words(self) -> str:
        return f"{self.shower.capitalize()}'s {STREAMS[self.kind].words}"

    def faults(self) -> list[str]:
        found, what = [], f"{self.viewer} and {self.words}"
        if self.watched.share < SEEN_ENOUGH:
            found.append(f"{what}: only {self.watched.arrived} of {self.watched.taken} pictures arrived")
        if not self.watched.in_order:
            found.append(f"{what}: pictures were unreadable or out of order")
        if not self.watched.upright:
            found.append(f"{what}: pictures do not lie as they were shown")
        return found


def seen_by_both(accounts: Mapping[str, Mapping[str, Account]]) -> list[Seen]:
    """Everything that was shown in a call, by the accounts of both ends."""
    found = []
    for kind, stream in STREAMS.items():
        for shower in stream.by:
            (viewer,) = set(accounts) - {shower}
            shown, watched = accounts[shower][kind], accounts[viewer][kind]
            kept = tuple((one, delay_of(one.sighting, shown.taken)) for one in watched.kept)
            found.append(Seen(viewer, shower, kind, compare(shown.taken, watched.seen), kept))
    return found


# --- on kernels: one end as a program -------------------------------------------------------------------
def read_accounts(directory: Path, name: str) -> dict[str, Account]:
    """What an end that was a program noted. Raises EnvironmentFailure."""
    path = directory / f"{name}-pictures.json"
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EnvironmentFailure(f"what {name} saw cannot be read from {path}: {error}") from error
    return {kind: Account.from_json(account) for kind, account in noted.items()}


def main() -> int:
    parser = argparse.ArgumentParser("iceway.lab.pictured")
    parser.add_argument("does", choices=("call", "answer"))
    parser.add_argument("peer", nargs="?")
    parser.add_argument("--as", dest="identity", required=True)
    for name in ("play", "record", "password-file", "ca", "trace"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--ring-for", type=float)
    parser.add_argument("--once", action="store_true")
    given = parser.parse_args()
    from iceway.io.run import run

    name = given.identity.partition("@")[0]
    eyes = Eyes(name, time.monotonic)
    try:
        answered = run(_end(given, eyes))
    finally:  # a call that failed is told as pictures that nobody saw
        noted = {kind: account.to_json() for kind, account in eyes.accounts.items()}
        Path(f"{name}-pictures.json").write_text(json.dumps(noted), encoding="utf-8")
    return 0 if answered else 1


async def _end(given: argparse.Namespace, eyes: Eyes) -> bool:
    """One end until the call is over; whether it was answered."""
    from iceway.client.run import CallFailed, Client, make_media

    video, slides = eyes.pictures["video"], eyes.pictures["slides"]
    client = Client(
        f"sip:{given.identity}",
        given.password_file.read_text(encoding="utf-8").strip(),
        trust=[given.ca],
        ring_for=given.ring_for,
        media=lambda _: make_media(given.play, given.record, video=video, share=slides),
        trace=given.trace,
        node=given.identity.partition("@")[0],
    )
    async with client:
        sys.stdout.write(f"registered as {given.identity}\n")
        sys.stdout.flush()
        if given.does == "answer":
            call = await client.incoming()
        else:
            call = await client.call(
                f"sip:{given.peer}", play=given.play, record=given.record, video=video, share=slides
            )
        with suppress(CallFailed):
            await call.answered(30.0)
            if given.does == "call":
                await call.played(30.0)
                await call.ended(1.0)
            else:
                await call.ended(60.0)
        call.hang_up()
        return call.was_answered


if __name__ == "__main__":
    sys.exit(main())
