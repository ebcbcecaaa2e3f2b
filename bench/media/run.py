"""CPU of one call with sound, and of one with pictures too: ours, aiortc and baresip, each with itself, in turns.

Two processes of a program call each other on loopback, sound both ways (Opus, 20 ms, SRTP), and in the rows of video
640×360 pictures both ways as well, 15 a second at 500 kbit/s. When media has flowed for three seconds, the CPU of both
processes is counted for some seconds, all their threads together. Programs take turns, round after round; medians.

    make bench-media
    .venv/bin/python bench/media/run.py [--rounds N] [--seconds N] [--rows ROW …] [--only PROGRAM …] [--json FILE]
    .venv/bin/python bench/media/run.py --read FILE      # the table of an earlier run

Ours calls through its front end, so it is the whole client: registered, with ICE and its consents, with records.
baresip's sound is a sine and its pictures are its `fakevideo`, grey and at rest, which costs an encoder next to nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "ice"))

import baresip
from cpu import cpu
from machine import machine
from scenery import FRAME_RATE
from told import Told

HERE = Path(__file__).parent
ROWS = ("audio", "VP8", "H264")
SETTLING = 3.0


@dataclass(frozen=True)
class Sample:
    """One call: CPU of each end, in shares of a core; pictures a second that came, of those that there were."""

    row: str
    program: str
    busy: tuple[float, float]
    seen: float | None


def measured(pids: tuple[int, int], seconds: float) -> tuple[float, float]:
    began, used = time.monotonic(), [cpu(pid) for pid in pids]
    time.sleep(seconds)
    took = time.monotonic() - began
    one, other = ((cpu(pid) - before) / took for pid, before in zip(pids, used, strict=True))
    return one, other


@contextmanager
def ours(row: str, directory: str) -> Iterator[tuple[Told, Told]]:
    with Told(str(HERE / "stage.py"), directory, "alice", "bob") as stage:
        place = stage.says()
        party = [str(HERE / "party.py")]
        where = [str(place["port"]), place["trust"], row]
        with Told(*party, "alice", *where) as alice, Told(*party, "bob", *where) as bob:
            alice.says()
            bob.says()
            bob.hears(take=True)
            alice.hears(call="bob")
            yield alice, bob


@contextmanager
def theirs(row: str, directory: str) -> Iterator[tuple[Told, Told]]:
    party = str(HERE / "aiortc_party.py")
    with Told(party) as alice, Told(party) as bob:
        alice.says()
        bob.says()
        offer = alice.hears(offer=row)["sdp"]
        alice.hears(answer=bob.hears(take=offer, media=row)["sdp"])
        yield alice, bob


def told(name: str, standing: Callable[[str, str], object], row: str, seconds: float, key: str) -> Sample:
    with tempfile.TemporaryDirectory() as directory, standing(row, directory) as (alice, bob):  # type: ignore[attr-defined]
        time.sleep(SETTLING)
        before = bob.hears(report=True)
        began = time.monotonic()
        busy = measured((alice.pid, bob.pid), seconds)
        after, took = bob.hears(report=True), time.monotonic() - began
        seen = None if row == "audio" else (after[key] - before[key]) / took
        return Sample(row, name, busy, seen)


def by_baresip(row: str, seconds: float) -> Sample:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        pids = stack.enter_context(baresip.standing(row, Path(directory)))
        time.sleep(SETTLING)
        return Sample(row, "baresip", measured(pids, seconds), None)


PROGRAMS: dict[str, Callable[[str, float], Sample]] = {
    "iceway": lambda row, seconds: told("iceway", ours, row, seconds, "seen"),
    "aiortc": lambda row, seconds: told("aiortc", theirs, row, seconds, "video"),
    "baresip": by_baresip,
}


def compete(rows: list[str], programs: list[str], rounds: int, seconds: float) -> list[Sample]:
    samples = []
    for number in range(rounds):
        for row in rows:
            for program in programs:
                if program == "baresip" and not baresip.can(row):
                    continue
                samples.append(sample := PROGRAMS[program](row, seconds))
                busy = " and ".join(f"{share:.1%}" for share in sample.busy)
                print(f"  {row}, round {number + 1}: {program} {busy}", file=sys.stderr)
    return samples


def table(samples: list[Sample]) -> str:
    """As Markdown."""
    programs = [name for name in PROGRAMS if any(one.program == name for one in samples)]
    head = [
        "share of a core an end",
        *programs,
        *(f"ours to {name}'s" for name in programs if name != "iceway"),
    ]
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for row in dict.fromkeys(one.row for one in samples):
        costs = {name: _median(samples, row, name) for name in programs}
        cells = [f"{cost:.1%}" if cost is not None else "" for cost in costs.values()]
        mine = costs.get("iceway")
        ratios = [
            f"{mine / cost:.2f}" if mine is not None and cost else ""
            for name, cost in costs.items()
            if name != "iceway"
        ]
        lines.append(_line([row if row == "audio" else f"audio and {row}", *cells, *ratios]))
    seen = {
        (one.program, one.row): statistics.median(
            s.seen for s in samples if (s.program, s.row) == (one.program, one.row)
        )
        for one in samples
        if one.seen is not None
    }
    told = [f"{program} {row} {rate:.1f}" for (program, row), rate in seen.items()]
    return "\n".join(lines) + (
        f"\n\nPictures a second of {FRAME_RATE:.0f}: {', '.join(told)}" if told else ""
    )


def _median(samples: list[Sample], row: str, program: str) -> float | None:
    shares = [share for one in samples if (one.row, one.program) == (row, program) for share in one.busy]
    return statistics.median(shares) if shares else None


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def versions() -> str:
    known = {name: version(name) for name in ("iceway", "aiortc", "av")}
    return ", ".join(f"{name} {number}" for name, number in {**known, "baresip": baresip.version()}.items())


def main() -> None:
    parser = argparse.ArgumentParser(description="Media side by side.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--only", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", type=Path)
    options = parser.parse_args()
    if options.read:
        kept = json.loads(options.read.read_text())
        where, known = kept["machine"], kept["versions"]
        samples = [Sample(**{**one, "busy": tuple(one["busy"])}) for one in kept["samples"]]
    else:
        programs = [name for name in options.only if name != "baresip" or baresip.missing() is None]
        if "baresip" in options.only and "baresip" not in programs:
            print(f"without baresip: {baresip.missing()}", file=sys.stderr)
        samples = compete(options.rows, programs, options.rounds, options.seconds)
        where, known = machine(), versions()
    if options.json:
        kept = {"machine": where, "versions": known, "samples": [asdict(one) for one in samples]}
        options.json.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"{where}; {known}")
    print(table(samples))


if __name__ == "__main__":
    try:
        main()
    except subprocess.SubprocessError as error:
        sys.exit(str(error))
