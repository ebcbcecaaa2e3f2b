"""The demo's four networks and a part of the grid on kernel NATs: real sockets, the same agents and relay.

What the grid's topologies give in the virtual world they must give here: path class, candidate types, agreement.
Every one of the twelve networks meets others. Links take the time that the topology says; the machine's own comes on
top, so times are held against the network's, from below only.
"""

from __future__ import annotations

import pytest

from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.lab import topologies
from iceway.lab.grid.kernel import KernelMeeting, play_on_kernel
from iceway.lab.grid.networks import ENDS, NETWORKS, RELAY_PORT, WEB_PORT
from iceway.lab.grid.play import CLASSES, Cell, play, play_all
from iceway.lab.namespaces import available
from iceway.lab.oracle import Path, expected_path
from iceway.lab.topology import Behaviour, Topology
from tests.conftest import unavailable
from tests.grid.test_grid import behind_one_carrier

JOBS = 3  # most of a cell is waiting for packets on their way

CELLS = [
    ("open", "open"),
    ("open", "symmetric"),
    ("full-cone", "restricted"),
    ("full-cone", "symmetric"),
    ("restricted", "symmetric"),
    ("restricted", "port-restricted"),
    ("port-restricted", "port-restricted"),
    ("port-restricted", "symmetric"),
    ("double-nat", "double-nat"),
    ("double-nat", "symmetric"),
    ("vpn", "port-restricted"),
    ("vpn", "vpn"),
    ("symmetric", "symmetric"),
    ("open", "no-udp"),
    ("no-udp", "no-udp"),
    ("web-only", "full-cone"),
    ("web-only", "no-udp"),
    ("vpn", "web-only"),
    ("dual-stack", "dual-stack"),
    ("dual-stack", "port-restricted"),
    ("dual-stack", "no-udp"),
    ("ipv6", "dual-stack"),
    ("ipv6", "open"),
    ("ipv6", "ipv6"),
    ("web-only", "ipv6"),
    ("symmetric-open", "open"),
    ("symmetric-open", "restricted"),
    ("symmetric-open", "symmetric"),
]
"""Every class of path, and every network of the grid."""


def test_every_network_of_the_grid_is_played_on_kernels() -> None:
    assert {name for cell in CELLS for name in cell} == {network.name for network in NETWORKS}


@pytest.mark.kernel
@pytest.mark.parametrize("name", topologies.TOPOLOGIES)
def test_a_call_takes_its_path_on_kernel_nats(name: str) -> None:
    topology = topologies.named(name)
    expected = expected_path(topology, *ENDS, "edge", RELAY_PORT, WEB_PORT)
    assert met(topology) == [(CLASSES[expected], True)] * 2


def met(topology: Topology) -> list[tuple[PathClass, bool]]:
    """What became of two agents on a topology that talk: each one's path, and whether it is the other's."""
    with KernelMeeting(topology) as meeting:
        meeting.trickle()
        assert meeting.wait(meeting.selected)
        assert meeting.talk()
    judged = [verdict(meeting.trace, who) for who in ENDS]
    return [(one.path, one.agreed) for one in judged]


@pytest.mark.kernel
@pytest.mark.parametrize("filtering", Behaviour)
@pytest.mark.parametrize("hairpin", [True, False])
def test_two_homes_behind_one_carrier_on_kernel_nats(hairpin: bool, filtering: Behaviour) -> None:
    topology = behind_one_carrier(hairpin, filtering)
    expected = expected_path(topology, *ENDS, "edge", RELAY_PORT, WEB_PORT)
    assert expected is (Path.REFLEXIVE if hairpin else Path.RELAY_UDP)
    assert met(topology) == [(CLASSES[expected], True)] * 2


@pytest.fixture(scope="module")
def cells() -> dict[tuple[str, str], Cell]:
    allowed, reason = available()
    if not allowed:
        unavailable(f"no namespaces: {reason}; as an ordinary user: unshare -Urn make kernel")
    return {(cell.left, cell.right): cell for cell in play_all(CELLS, jobs=JOBS, play=play_on_kernel)}


@pytest.mark.kernel
@pytest.mark.parametrize("pair", CELLS, ids="-to-".join)
def test_a_cell_of_the_grid_is_the_same_on_kernel_nats(
    cells: dict[tuple[str, str], Cell], pair: tuple[str, str]
) -> None:
    real, simulated = cells[pair], play(*pair)
    assert real.faults == ()
    assert (real.path, real.heard) == (simulated.path, True)
    assert all(one.agreed for one in real.verdicts)
    assert real.connect_trips is not None
    assert real.connect_trips >= 1.0, "nobody connects before a check and its answer have crossed the network"
