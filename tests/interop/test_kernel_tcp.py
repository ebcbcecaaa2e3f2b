"""ICE over TCP behind the NATs of this kernel: no UDP, no relay, only a server that says what it sees.

Both ends are ours, since no other implementation opens from both sides. Conntrack takes the second SYN for an
answer to the first, and the kernels of the hosts make one connection of the two (RFC 9293 §3.5).
"""

from __future__ import annotations

import pytest

from iceway.lab.grid.networks import topology
from iceway.lab.namespaces import available
from tests.conftest import unavailable
from tests.interop.peers.networks import STUN, standing
from tests.interop.peers.process import meet
from tests.interop.peers.programs import ICEWAY

pytestmark = pytest.mark.interop("ip", "nft", "nsenter", "unshare")

ASKED = ({**STUN, "transport": "tcp"},)


@pytest.mark.parametrize(
    ("networks", "types"),
    [
        (("no-udp", "no-udp"), ["srflx", "srflx"]),
        (("no-udp", "open"), ["prflx", "host"]),
        (("open", "no-udp"), ["host", "prflx"]),
    ],
    ids=["both-behind-nats", "reaching-out", "being-reached"],
)
def test_two_agents_meet_over_tcp(networks: tuple[str, str], types: list[str]) -> None:
    allowed, reason = available()
    if not allowed:
        unavailable(f"kernel networks: {reason}")
    with standing(topology(*networks)) as place, place.peers(ICEWAY, ICEWAY) as (alice, bob):
        meet(alice, bob, ASKED, tcp=True)
        alice.until(lambda: alice.last("heard") == "from the other")
        bob.until(lambda: bob.last("heard") == "from one")
        for peer in (alice, bob):
            peer.until(lambda peer=peer: peer.pair is not None)
        assert alice.pair == bob.pair[::-1]
        assert alice.last("selected")["types"] == types
        assert bob.last("selected")["types"] == types[::-1]
