"""The whole grid, played by the real machines and judged by the oracle."""

from __future__ import annotations

import pytest

from iceway.core.errors import UsageError
from iceway.explain.model import PathClass
from iceway.lab.grid.networks import NETWORKS, network, topology
from iceway.lab.grid.play import Cell, pairs, play, play_all
from iceway.lab.topology_file import dump, load
from iceway.trace.entry import to_json
from iceway.trace.records import PacketDropped


@pytest.fixture(scope="module")
def cells() -> dict[tuple[str, str], Cell]:
    return {(cell.left, cell.right): cell for cell in play_all()}


def test_the_grid_is_twelve_by_twelve_and_every_cell_is_as_the_oracle_says(
    cells: dict[tuple[str, str], Cell],
) -> None:
    assert len(NETWORKS) == 12
    assert list(cells) == pairs()
    assert len(cells) == 144
    assert {pair: cell.faults for pair, cell in cells.items() if cell.faults} == {}


def test_every_class_of_path_is_in_the_grid(cells: dict[tuple[str, str], Cell]) -> None:
    assert {cell.path for cell in cells.values()} == set(PathClass) - {PathClass.NONE}


def test_the_path_does_not_depend_on_who_calls(cells: dict[tuple[str, str], Cell]) -> None:
    assert all(cell.path is cells[right, left].path for (left, right), cell in cells.items())


@pytest.mark.parametrize(
    ("left", "right", "path", "types"),
    [
        ("open", "open", PathClass.DIRECT, ("host", "host")),
        ("dual-stack", "ipv6", PathClass.DIRECT, ("host", "host")),
        ("open", "symmetric", PathClass.REFLEXIVE, ("host", "prflx")),
        ("double-nat", "double-nat", PathClass.REFLEXIVE, ("srflx", "srflx")),
        ("vpn", "port-restricted", PathClass.REFLEXIVE, ("srflx", "srflx")),
        ("restricted", "ipv6", PathClass.RELAY_UDP, ("srflx", "relay")),
        ("no-udp", "no-udp", PathClass.RELAY_TCP, ("relay", "relay")),
        ("open", "web-only", PathClass.RELAY_TLS, ("host", "relay")),
    ],
)
def test_textbook_cells(
    cells: dict[tuple[str, str], Cell], left: str, right: str, path: PathClass, types: tuple[str, str]
) -> None:
    cell = cells[left, right]
    assert (cell.path, cell.types, cell.heard) == (path, types, True)


def test_nothing_in_the_way_means_one_round_trip(cells: dict[tuple[str, str], Cell]) -> None:
    assert cells["open", "open"].connect_trips == pytest.approx(1.0)


def test_the_dead_vpn_swallows_what_is_sent_through_it(cells: dict[tuple[str, str], Cell]) -> None:
    drops = [e.record for e in cells["vpn", "open"].trace if isinstance(e.record, PacketDropped)]
    assert any(drop.where == "alice-vpn-gateway" and drop.source.ip == "10.8.0.20" for drop in drops)
    assert not any(drop.where == "alice-nat" and drop.source.ip == "10.8.0.20" for drop in drops)


def test_a_cell_is_the_same_every_time_and_in_any_process(cells: dict[tuple[str, str], Cell]) -> None:
    wanted = [("vpn", "dual-stack"), ("symmetric-open", "symmetric-open")]
    again = play_all(wanted, jobs=2)
    for pair, cell in zip(wanted, again, strict=True):
        assert [to_json(entry) for entry in cell.trace] == [to_json(entry) for entry in cells[pair].trace]
        assert cell == cells[pair]


def test_a_broken_promise_is_a_fault() -> None:
    """What the judge would say of a relay that only speaks UDP where all UDP is blocked."""
    from iceway.lab.grid import meeting

    patch = pytest.MonkeyPatch()
    with patch.context() as broken:
        broken.setattr(meeting, "PORTS", {meeting.Transport.UDP: 3478})
        cell = play("no-udp", "open")
    assert cell.path is PathClass.NONE
    assert cell.connect is None
    assert cell.faults == ("the path is none, where relayed over TCP was expected",)


@pytest.mark.parametrize(("left", "right"), pairs())
def test_topologies_of_the_grid_are_files(left: str, right: str) -> None:
    described = topology(left, right)
    assert load(dump(described)) == described


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no network 'moon'; it has open, full-cone"):
        network("moon")
