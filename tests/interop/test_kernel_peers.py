"""Our agent meets aioice, libnice and pion behind the NATs of this kernel: both roles, every class of path.

Every agent is a program on a host of its own (see tests/interop/peers), the relay is ours, and candidates trickle
as each finds them. Either way data goes both ways and both ends settle on one pair, of the class that the networks
allow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from iceway.lab.grid.networks import topology
from iceway.lab.namespaces import available
from tests.conftest import unavailable
from tests.interop.peers.networks import STUN, TURN, Place, standing
from tests.interop.peers.process import Peer, meet
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
    "srflx": Meeting("port-restricted", (STUN,), "all", frozenset({"srflx", "prflx"})),
    "relay": Meeting("symmetric", (TURN,), "all", frozenset({"relay"})),
    "relay-only": Meeting("port-restricted", (TURN,), "relay", frozenset({"relay"})),
}


@pytest.fixture(scope="module", params=MEETINGS)
def meeting(request: pytest.FixtureRequest) -> Iterator[tuple[Meeting, Place]]:
    """A meeting and its network, which stands until the next one is wanted."""
    allowed, reason = available()
    if not allowed:
        unavailable(f"kernel networks: {reason}")
    agreed = MEETINGS[request.param]
    with standing(topology(agreed.network, agreed.network)) as place:
        yield agreed, place


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
def test_peers_meet(meeting: tuple[Meeting, Place], other: Program, controlling: bool) -> None:
    agreed, place = meeting
    programs = (ICEWAY, other) if controlling else (other, ICEWAY)
    with place.peers(*programs) as (alice, bob):
        meet(alice, bob, (agreed.servers, agreed.servers), agreed.policy)
        alice.until(lambda: alice.last("heard") == f"from {bob.program.name}, controlled")
        bob.until(lambda: bob.last("heard") == f"from {alice.program.name}, controlling")
        one = (alice, bob) if controlling else (bob, alice)
        for peer in (alice, bob):
            peer.until(lambda peer=peer: peer.pair is not None, SETTLING)
        alice.until(lambda: same_pair(*one, place), SETTLING)
        assert agreed.fits(one[0].last("selected")["types"])
        assert not one[0].all("failed")


def same_pair(ours: Peer, theirs: Peer, place: Place) -> bool:
    """Peers name their own side of a pair by its base, which we know by what the NAT makes of it."""
    assert ours.pair is not None
    assert theirs.pair is not None
    local, remote = ours.pair
    their_local, their_remote = theirs.pair
    return their_remote == local and place.is_known_as(their_local, remote)
