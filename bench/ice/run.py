"""Time to connect and CPU a session: ours, aioice, libnice and pion, each with itself, on the same networks.

Each network stands once on this kernel (namespaces, NATs, links with delay and loss), and the implementations take
turns in it, round after round. Time counts from "gather", told to both sides at once, until both have received
data, and until both have selected a pair; signalling passes candidates on as they are found, at once. aioice
cannot trickle out, so its candidates come when it has all of them, as they do for its users. CPU is that of one
agent's whole process from "gather" until half a second after both had selected.

    make bench-ice
    .venv/bin/python bench/ice/run.py [--rounds N] [--rows NAME …] [--only PROGRAM …] [--json FILE]
    .venv/bin/python bench/ice/run.py --read FILE      # the tables of an earlier run

Needs what `make interop` needs. Medians are printed, and the ratio to the best of the others; the JSON has every
sample.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from machine import machine
from rows import ROWS, Row
from versions import versions

from tests.interop.peers.networks import Place, standing
from tests.interop.peers.process import Peer, meet
from tests.interop.peers.programs import EVERYBODY, ICEWAY, Program

PATIENCE = 45.0
AFTERWARDS = 0.5


@dataclass(frozen=True)
class Sample:
    """One session. Seconds since "gather"; None: not within the patience. CPU of each agent."""

    row: str
    program: str
    connect: float | None
    select: float | None
    agreed: bool
    cpu: tuple[float, float]


def play(row: Row, program: Program, place: Place) -> Sample:
    """One session of a program with itself."""
    with place.peers(program, program) as both:
        began = time.monotonic()
        meet(*both, row.servers)
        done = _wait(both, "heard")
        for peer in both:
            peer.tell("hush")
        done = _wait(both, "selected") and done
        time.sleep(AFTERWARDS)
        for peer in both:
            peer.tell("cpu")
        for peer in both:
            peer.until(lambda peer=peer: peer.all("cpu"))
        one, other = both
        connect = max(peer.at("heard") for peer in both) - began if done else None
        select = max(peer.at("selected", -1) for peer in both) - began if done else None
        return Sample(
            row.name,
            program.name,
            connect,
            select,
            done and _agree(one, other),
            (one.last("cpu"), other.last("cpu")),
        )


def _wait(both: list[Peer], key: str) -> bool:
    deadline = time.monotonic() + PATIENCE
    try:
        for peer in both:
            peer.until(lambda peer=peer: peer.all(key), deadline - time.monotonic())
    except AssertionError:
        return False
    return True


def _agree(one: Peer, other: Peer) -> bool:
    """Whether they mean one pair: by port where they can only be compared so, since NATs change IPs."""
    assert one.pair is not None
    assert other.pair is not None
    same_kind = ("relay" in one.last("selected")["types"]) == ("relay" in other.last("selected")["types"])
    ports = [{end[1] for end in peer.pair} for peer in (one, other) if peer.pair]
    return same_kind and bool(ports[0] & ports[1])


def compete(rows: list[Row], programs: list[Program], rounds: int) -> list[Sample]:
    samples = []
    for row in rows:
        with standing(row.topology) as place:
            for number in range(rounds):
                for program in programs:
                    sample = play(row, program, place)
                    samples.append(sample)
                    took = "never" if sample.connect is None else f"{sample.connect * 1e3:.0f} ms"
                    print(f"  {row.name}, round {number + 1}: {program.name} {took}", file=sys.stderr)
    return samples


# --- telling ----------------------------------------------------------------------------------------------
def table(rows: list[Row], programs: list[Program], samples: list[Sample]) -> str:
    """As Markdown."""
    lines = []
    for title, what, bound in (
        ("until both have received data", "connect", "connect_bound"),
        ("until both have selected", "select", "select_bound"),
    ):
        head = ["ms " + title, "least", *(program.name for program in programs), "ours, beyond the least"]
        lines += ["", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
        for row in rows:
            found = {p: _median(samples, row, p, what) for p in programs}
            least = getattr(row, bound)
            cells = [row.name, f"{least * 1e3:.0f}"]
            cells += [_told(found, program) for program in programs]
            ours = found.get(ICEWAY)
            beyond = "" if ours is None else f"{(ours - least) / row.path_trip:.1f} round trips"
            lines.append(_line([*cells, beyond]))
    lines += [
        "",
        _line(["the slowest session, ms until both have received data", *(p.name for p in programs)]),
    ]
    lines.append(_line(["---", *["---:"] * len(programs)]))
    for row in rows:
        lines.append(_line([row.name, *(_slowest(samples, row, program) for program in programs)]))
    lines += ["", _line(["ms of CPU an agent", *(p.name for p in programs)])]
    lines.append(_line(["---", *["---:"] * len(programs)]))
    for row in rows:
        costs = [
            [cost for s in samples if (s.row, s.program) == (row.name, p.name) for cost in s.cpu]
            for p in programs
        ]
        lines.append(_line([row.name, *(f"{statistics.median(cost) * 1e3:.1f}" for cost in costs)]))
    parted = {p.name: sum(s.program == p.name and not s.agreed for s in samples) for p in programs}
    lines += [
        "",
        "Sessions that did not end with one pair: " + ", ".join(f"{k} {v}" for k, v in parted.items()),
    ]
    return "\n".join(lines)


def _median(samples: list[Sample], row: Row, program: Program, what: str) -> float | None:
    times = [getattr(s, what) for s in samples if (s.row, s.program) == (row.name, program.name)]
    known = [taken for taken in times if taken is not None]
    return statistics.median(known) if len(known) > len(times) / 2 else None


def _slowest(samples: list[Sample], row: Row, program: Program) -> str:
    times = [s.connect for s in samples if (s.row, s.program) == (row.name, program.name)]
    known = [taken for taken in times if taken is not None]
    return f"{max(known) * 1e3:.0f}" if len(known) == len(times) else "never"


def _told(found: dict[Program, float | None], program: Program) -> str:
    mine = found[program]
    others = [taken for other, taken in found.items() if other is not program and taken is not None]
    if mine is None:
        return "never"
    return f"{mine * 1e3:.0f} ({mine / min(others):.2f})" if others else f"{mine * 1e3:.0f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="ICE implementations side by side.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS])
    parser.add_argument("--only", nargs="+", choices=[program.name for program in EVERYBODY])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", type=Path)
    options = parser.parse_args()
    if options.read:
        told = json.loads(options.read.read_text())
        show(told["machine"], told["versions"], [Sample(**sample) for sample in told["samples"]])
        return
    wanted = [row for row in ROWS if options.rows is None or row.name in options.rows]
    programs = []
    for program in EVERYBODY:
        if options.only is None or program.name in options.only:
            if missing := program.missing():
                print(f"without {program.name}: {missing}", file=sys.stderr)
            else:
                programs.append(program)
    samples = compete(wanted, programs, options.rounds)
    known = versions()
    show(machine(), known, samples)
    if options.json:
        told = {"machine": machine(), "versions": known, "samples": [asdict(sample) for sample in samples]}
        options.json.write_text(json.dumps(told, indent=1) + "\n")


def show(where: str, known: dict[str, str], samples: list[Sample]) -> None:
    rows = [row for row in ROWS if any(sample.row == row.name for sample in samples)]
    programs = [p for p in EVERYBODY if any(sample.program == p.name for sample in samples)]
    rounds = max(Counter((sample.row, sample.program) for sample in samples).values())
    print(f"{where}; {', '.join(f'{name} {version}' for name, version in known.items())}")
    print(f"{rounds} rounds; medians, and the ratio to the best of the others")
    print(table(rows, programs, samples))


if __name__ == "__main__":
    main()
