"""Whatever the network does to packets, both ends come to the same path, once it lets enough of them through.

Up to a fifth of all packets, and single ones at that; `tests/properties` has more networks and fewer losses.
"""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.ice.config import Policy
from iceway.wire import stun
from tests.ice.harness import INDEPENDENT, PORT, Nat, Network, exchange, mirrored, turn

HOME, HQ = "198.51.100.10", "198.51.100.20"

weather = st.fixed_dictionaries(
    {"jitter": st.sampled_from([0.0, 0.02, 0.06, 0.3]), "loss": st.sampled_from([0.0, 0.1, 0.2])}
)
nats = st.none() | st.builds(
    Nat,
    ip=st.just(""),
    mapping=st.sampled_from([INDEPENDENT, PORT]),
    filtering=st.sampled_from([INDEPENDENT, PORT]),
    blocks_udp=st.sampled_from([False, False, True]),
)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    weather=weather,
    home=nats,
    hq=nats,
    roles=st.tuples(st.booleans(), st.booleans()),
    delays=st.tuples(st.sampled_from([0.001, 0.03, 0.3]), st.sampled_from([0.001, 0.03, 0.3])),
    patience=st.sampled_from([0.0, 0.05, 0.4]),
    again=st.booleans(),
)
@example(  # A late answer to an earlier check ended the nomination of the same pair.
    seed=1211,
    weather={"jitter": 0.06, "loss": 0.3},
    home=Nat("", PORT, PORT, blocks_udp=True),
    hq=None,
    roles=(False, True),
    delays=(0.001, 0.03),
    patience=0.05,
    again=False,
)
@example(  # Each check showed a new address, until there was no room for the one that was nominated.
    seed=1831,
    weather={"jitter": 0.0, "loss": 0.0},
    home=Nat("", PORT, INDEPENDENT),
    hq=Nat("", PORT, INDEPENDENT),
    roles=(False, True),
    delays=(0.001, 0.001),
    patience=0.4,
    again=False,
)
@example(  # The controlled side gave relays back while the controlling one still tried to nominate them.
    seed=2090,
    weather={"jitter": 0.02, "loss": 0.3},
    home=Nat("", INDEPENDENT, INDEPENDENT),
    hq=Nat("", INDEPENDENT, INDEPENDENT),
    roles=(False, True),
    delays=(0.3, 0.03),
    patience=0.4,
    again=False,
)
def test_both_ends_agree(seed, weather, home, hq, roles, delays, patience, again) -> None:
    network = Network(seed, **weather)
    network.renominates = again
    network.edge()
    if home:
        network.nats["home"] = Nat(HOME, home.mapping, home.filtering, home.blocks_udp)
    if hq:
        network.nats["hq"] = Nat(HQ, hq.mapping, hq.filtering, hq.blocks_udp)
    ips = [
        {"192.168.1.10": "home", "2001:db8::1": None} if home else {"2001:db8::1": None, "203.0.113.1": None},
        {"10.0.0.20": "hq"} if hq else {"203.0.113.2": None, "2001:db8::2": None},
    ]
    alice, bob = (
        network.agent(
            name, at, controlling=role, delay=delay, nomination_patience=patience, policy=Policy.ALL
        )
        for name, at, role, delay in zip(("alice", "bob"), ips, roles, delays, strict=True)
    )
    for peer in (alice, bob):
        peer.gather(turn(), turn(transport=Transport.TCP))
    network.run(3)
    exchange(alice, bob)
    for number in range(20):
        network.at(network.now + number, lambda: (alice.tells(bob), bob.tells(alice)))
    assert network.run(70, until=lambda: mirrored(alice, bob))
    network.loss = 0.0  # With a third lost on every leg, consent may rightly end.
    network.run(20)
    # And they stay with it, or are on the move to a better one just now.
    assert network.run(15 if again else 0, until=lambda: mirrored(alice, bob))
    alice.says(b"to bob")
    bob.says(b"to alice")
    network.run(2)
    assert bob.heard == [b"to bob"]
    assert alice.heard == [b"to alice"]


def nominates(data: bytes) -> bool:
    return stun.is_stun(data) and stun.parse(data).get(stun.USE_CANDIDATE) is not None


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    lost=st.integers(0, 6),
    back=st.booleans(),
    late=st.sampled_from([0.0, 4.0, 12.0]),
    again=st.booleans(),
)
def test_a_nomination_that_gets_stuck_and_comes_late_does_not_part_them(
    seed, lost, back, late, again
) -> None:
    """The first nominated path swallows packets for a while, in one direction, and gives them out late."""
    network = Network(seed)
    network.renominates = again
    alice = network.agent("alice", {"203.0.113.1": None, "2001:db8::1": None}, controlling=True)
    bob = network.agent("bob", {"203.0.113.2": None, "2001:db8::2": None}, controlling=False)
    for peer in (alice, bob):
        peer.gather()
    network.run(0.1)
    swallowed: list[tuple[Address, Address]] = []
    nominated: list[bytes] = []

    def swallow(source: Address, target: Address, data: bytes) -> bool:
        if nominates(data):
            nominated.append(data[8:20])
        answer = stun.is_stun(data) and data[8:20] in nominated
        stuck = (answer and not nominates(data)) if back else nominates(data)
        if stuck and source.family == 4 and len(swallowed) < lost:
            swallowed.append((source, target))
            if late:
                network.at(network.now + late, lambda: network._arrive(None, source, target, data))
            return True
        return False

    network.drop = swallow
    exchange(alice, bob)
    assert network.run(60, until=lambda: mirrored(alice, bob))
    network.run(30)
    assert mirrored(alice, bob)
