"""Plays cells of the grid and judges them by the oracle.

A cell is right if both ends select the same pair, of the class and types that the oracle expects, within its
budgets, and each then hears what the other says; or if there is no way and both say so. Cells share nothing, so
they may be played in several processes; the result is the same, byte for byte.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from iceway.explain.model import PathClass, PathVerdict
from iceway.explain.path import verdicts
from iceway.ice.config import AgentConfig
from iceway.ice.nomination import MAX_WAIT
from iceway.lab.grid.ends import Introductions
from iceway.lab.grid.meeting import Meeting
from iceway.lab.grid.networks import EDGE, ENDS, NETWORKS, RELAY_PORT, WEB_PORT, topology
from iceway.lab.oracle import Path
from iceway.lab.oracle_budget import Expectation, expect
from iceway.lab.topology import Topology
from iceway.trace.entry import Entry

CLASSES = {
    Path.HOST: PathClass.DIRECT,
    Path.REFLEXIVE: PathClass.REFLEXIVE,
    Path.RELAY_UDP: PathClass.RELAY_UDP,
    Path.RELAY_TCP: PathClass.RELAY_TCP,
    Path.RELAY_TLS: PathClass.RELAY_TLS,
    Path.NONE: PathClass.NONE,
}
_ROUNDING = 1e-6
PATIENCE = 60.0
"""Virtual seconds until a cell without a path must have said so (RFC 8863 lets it take 39.5)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What became of one pair of networks. Times are seconds from when both had each other's description until
    the later end had its first valid pair, and its nominated one; they are held against budgets if they were
    `simulated`. `faults` is empty for a cell that is right."""

    left: str
    right: str
    expected: Expectation
    verdicts: tuple[PathVerdict, PathVerdict]
    connect: float | None
    select: float | None
    heard: bool
    faults: tuple[str, ...]
    trace: tuple[Entry, ...]
    simulated: bool = True

    @property
    def path(self) -> PathClass:
        return self.verdicts[0].path

    @property
    def types(self) -> tuple[str, str] | None:
        """The types of Alice's and Bob's candidate, each as Alice knows it."""
        mine, theirs = self.verdicts[0].local, self.verdicts[0].remote
        return (mine.type, theirs.type) if mine and theirs else None

    @property
    def connect_trips(self) -> float | None:
        return self._trips(self.connect)

    @property
    def select_trips(self) -> float | None:
        return self._trips(self.select)

    def _trips(self, seconds: float | None) -> float | None:
        """In round trips of the path."""
        whole = self.expected.round_trip
        return seconds / whole if seconds is not None and whole else None


def pairs() -> list[tuple[str, str]]:
    """All cells by name, row after row."""
    return [(left.name, right.name) for left, right in itertools.product(NETWORKS, NETWORKS)]


def expectation(network: Topology) -> Expectation:
    """What the oracle says of a topology of the grid, given how quick and how patient our agent is."""
    config = AgentConfig(controlling=True)
    return expect(
        network,
        *ENDS,
        EDGE,
        relay_port=RELAY_PORT,
        tls_port=WEB_PORT,
        ta=config.ta,
        patience=config.nomination_patience,
        longest_wait=MAX_WAIT,
    )


def play(left: str, right: str, seed: int = 1) -> Cell:
    """One cell, from nothing to talking."""
    network = topology(left, right)
    expected = expectation(network)
    meeting = Meeting(network, seed)
    meeting.meet()
    meeting.world.run_until(lambda: meeting.selected() or meeting.failed(), PATIENCE)
    heard = meeting.talk() if meeting.selected() else False
    return judged(left, right, expected, meeting, heard, tuple(meeting.world.trace))


def judged(
    left: str,
    right: str,
    expected: Expectation,
    meeting: Introductions,
    heard: bool,
    trace: tuple[Entry, ...],
    *,
    simulated: bool = True,
) -> Cell:
    """What became of a meeting that is over."""
    found = {one.node: one for one in verdicts(trace)}
    one, two = (found[name] for name in ENDS)
    connect = meeting.since_told(end.connected_at for end in meeting.ends.values())
    select = meeting.since_told(end.selected_at for end in meeting.ends.values())
    cell = Cell(left, right, expected, (one, two), connect, select, heard, (), trace, simulated)
    return replace(cell, faults=tuple(_faults(cell)))


def play_all(
    wanted: Sequence[tuple[str, str]] | None = None,
    *,
    seed: int = 1,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda done: None,
    play: Callable[[str, str, int], Cell] = play,
) -> list[Cell]:
    """Cells (all of them, if none are named) in the order asked for, by `play` or by `kernel.play_on_kernel`."""
    asked = list(wanted if wanted is not None else pairs())
    cells = []
    for cell in _played(asked, seed, jobs, play):
        cells.append(cell)
        progress(len(cells))
    return cells


def _played(
    asked: list[tuple[str, str]], seed: int, jobs: int, play: Callable[[str, str, int], Cell]
) -> Iterator[Cell]:
    if jobs <= 1:
        yield from (play(left, right, seed) for left, right in asked)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        lefts, rights = zip(*asked, strict=True)
        yield from pool.map(play, lefts, rights, itertools.repeat(seed), chunksize=4)


def _faults(cell: Cell) -> Iterator[str]:
    expected, wanted = cell.expected, CLASSES[cell.expected.path]
    if cell.path is not wanted:
        yield f"the path is {cell.path.value}, where {wanted.value} was expected"
        return
    if wanted is PathClass.NONE:
        return
    if not all(one.agreed for one in cell.verdicts):
        yield "the two ends selected different pairs"
    if not cell.heard:
        yield "what one end said did not reach the other"
    if cell.types not in expected.types:
        wanted_types = " or ".join(sorted(" ↔ ".join(types) for types in expected.types))
        yield f"the pair is {' ↔ '.join(cell.types or ('none',))}, where {wanted_types} was expected"
    if not cell.simulated:
        return
    for what, took, budget in (
        ("connecting", cell.connect_trips, expected.to_connect),
        ("selecting a pair", cell.select_trips, expected.to_select),
    ):
        if took is None or budget is None or took > budget + _ROUNDING:
            known = f"{took:.1f}" if took is not None else "too many"
            yield f"{what} took {known} round trips of a budget of {budget or 0:.1f}"
