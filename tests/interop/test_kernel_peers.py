"""Our agent meets aioice, libnice and pion behind the NATs of this kernel: both roles, every class of path.

Every agent is a program on a host of its own (see tests/interop/peers), the relay is ours, and candidates trickle
as each finds them. Either way data goes both ways and both ends settle on one pair, of the class that the networks
allow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from iceway.lab.grid.networks import topology
from iceway.lab.namespaces import available
from tests.conftest import unavailable
from tests.interop.peers.networks import STUN, TURN, Place, standing
from tests.interop.peers.process import PLACES, Peer, meet
from tests.interop.peers.programs import ICEWAY, OTHERS, PION, Program

pytestmark = pytest.mark.interop("ip", "nft", "nsenter", "unshare")

SETTLING = 15.0
"""Seconds: pion as the controlling agent waits for 2 s before it nominates a relay."""


@dataclass(frozen=True)
class Meeting:
    """The network that both are behind, the server and policy that both use, and what has to come of it."""

    network: str
    servers: tuple[dict[str, Any], ...]
    policy: str
    kinds: frozenset[str]

    def fits(self, types: list[str]) -> bool:
        """Whether the two candidates of a pair are such as this meeting should end with."""
        return bool(self.kinds & set(types)) and ("relay" in types) == ("relay" in self.kinds)


MEETINGS = {
    "host": Meeting("open", (), "all", frozenset({"host"})),
    "ipv6": Meeting("ipv6", (), "all", frozenset({"host"})),
    "srflx": Meeting("port-restricted", (STUN,), "all", frozenset({"srflx", "prflx"})),
    "relay": Meeting("symmetric", (TURN,), "all", frozenset({"relay"})),
    "relay-only": Meeting("port-restricted", (TURN,), "relay", frozenset({"relay"})),
}


@pytest.fixture(scope="module")
def networks() -> Iterator[Callable[[str], Place]]:
    """A network by its name; it stands until another one is wanted."""
    allowed, reason = available()
    if not allowed:
        unavailable(f"kernel networks: {reason}")
    with contextlib.ExitStack() as standing_now:
        current: dict[str, Place] = {}

        def get(name: str) -> Place:
            if name not in current:
                standing_now.close()
                current.clear()
                current[name] = standing_now.enter_context(standing(topology(name, name)))
            return current[name]

        yield get


@pytest.fixture(params=OTHERS, ids=lambda program: program.name)
def other(request: pytest.FixtureRequest) -> Program:
    program: Program = request.param
    missing = program.missing()
    if missing and program is PION:
        pytest.skip(missing)  # even in CI: Debian's Go is too old for it
    if missing:
        unavailable(missing)
    return program


@pytest.mark.parametrize("controlling", [True, False], ids=["we-control", "they-control"])
@pytest.mark.parametrize("meeting", MEETINGS.values(), ids=MEETINGS, scope="module")
def test_peers_meet(
    networks: Callable[[str], Place], meeting: Meeting, other: Program, controlling: bool
) -> None:
    place = networks(meeting.network)
    with place.peers(ICEWAY, other) as (ours, theirs):
        meet(ours, theirs, meeting.servers, meeting.policy, (controlling, not controlling))
        talk(ours, theirs, place)
        assert meeting.fits(ours.last("selected")["types"])


@pytest.mark.parametrize("controlling", [True, False], ids=["both-control", "nobody-controls"])
def test_a_conflict_of_roles_is_settled(
    networks: Callable[[str], Place], other: Program, controlling: bool
) -> None:
    place = networks("open")
    with place.peers(ICEWAY, other) as (ours, theirs):
        meet(ours, theirs, controlling=(controlling, controlling))
        talk(ours, theirs, place)


def talk(ours: Peer, theirs: Peer, place: Place) -> None:
    """Both hear each other and settle on one pair."""
    ours.until(lambda: ours.last("heard") == f"from {PLACES[1]}")
    theirs.until(lambda: theirs.last("heard") == f"from {PLACES[0]}")
    for peer in (ours, theirs):
        peer.until(lambda peer=peer: peer.pair is not None, SETTLING)
    ours.until(lambda: same_pair(ours, theirs, place), SETTLING)
    assert not ours.all("failed")


def same_pair(ours: Peer, theirs: Peer, place: Place) -> bool:
    """Peers name their own side of a pair by its base, which we know by what the NAT makes of it."""
    assert ours.pair is not None
    assert theirs.pair is not None
    local, remote = ours.pair
    their_local, their_remote = theirs.pair
    return their_remote == local and place.is_known_as(their_local, remote)
