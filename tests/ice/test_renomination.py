"""Two agents that both announced renomination move to a better path when there is one, and nobody else does."""

from __future__ import annotations

import itertools

import pytest

from iceway.core.address import Address, Transport
from iceway.ice.candidate import Candidate, CandidateType, local_preference, parse, priority, serialize
from iceway.ice.checklist import CandidatePair, PairState, Prospect, pair_priority
from iceway.ice.events import CandidateFound, PairValid, Selected
from iceway.ice.improvement import AT_ONCE, Improvement, far_slower
from iceway.trace import records
from iceway.wire import stun
from tests.ice.harness import EDGE, Nat, Network, Peer, exchange, mirrored, turn

HOME, HQ = "198.51.100.10", "198.51.100.20"


def two_homes(*, renominates: bool = True, seed: int = 1) -> tuple[Network, Peer, Peer]:
    """Behind two NATs, with a relay; gathered, and unknown to each other yet."""
    network = Network(seed)
    network.renominates = renominates
    network.edge()
    network.nats |= {"home": Nat(HOME), "hq": Nat(HQ)}
    alice = network.agent("alice", {"192.168.1.10": "home"}, controlling=True)
    bob = network.agent("bob", {"10.0.0.20": "hq"}, controlling=False)
    for peer in (alice, bob):
        peer.gather(turn())
    network.run(1)
    return network, alice, bob


def only_the_relay_is_told(alice: Peer, bob: Peer) -> None:
    for peer, other in ((alice, bob), (bob, alice)):
        ufrag, pwd, again = peer.agent.local_ufrag, peer.agent.local_pwd, peer.network.renominates
        other.do(lambda agent, now, u=ufrag, p=pwd, r=again: agent.set_remote(u, p, now, renomination=r))
        for event in peer.events(CandidateFound):
            if event.candidate.type is CandidateType.RELAY:
                text = serialize(event.candidate)
                other.do(lambda agent, now, text=text: agent.add_remote_candidate(parse(text), now))


def types(peer: Peer) -> list[tuple[str, str]]:
    return [(event.path.local.type.value, event.path.remote.type.value) for event in peer.events(Selected)]


def talk(network: Network, alice: Peer, bob: Peer, seconds: float) -> int:
    """A packet each way every 20 ms; how many each of them said."""
    count = round(seconds / 0.02)
    for number in range(count):
        alice.says(b"a%d" % number)
        bob.says(b"b%d" % number)
        network.run(0.02)
    network.run(0.5)
    return count


def between_the_homes(source: Address, target: Address, data: bytes) -> bool:
    return EDGE not in (source.ip, target.ip)


def numbers(network: Network, peer: Peer) -> list[int]:
    """The numbers of the nominations that a peer sent, each once."""
    found = (dict(r.attributes).get("NOMINATION") for r in peer.records(records.StunSent))
    return [int(number) for number in dict.fromkeys(found) if number is not None]


def test_a_candidate_that_comes_late_takes_the_call_off_the_relay_without_a_lost_packet() -> None:
    network, alice, bob = two_homes()
    edge = network.hosts[0].machine
    only_the_relay_is_told(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    relayed = alice.agent.selected
    assert "relay" in (relayed.local.type, relayed.remote.type)
    for peer, other in ((alice, bob), (bob, alice)):
        network.at(network.now + 1.0, lambda peer=peer, other=other: peer.tells(other))
    said = talk(network, alice, bob, 4.0)
    assert mirrored(alice, bob)
    for peer in (alice, bob):
        assert types(peer)[-1] == ("srflx", "srflx")
        assert len(peer.events(PairValid)) == 1
        assert peer.agent.selected == peer.agent.active_path()
    assert sorted(alice.heard) == sorted(b"b%d" % n for n in range(said))
    assert sorted(bob.heard) == sorted(b"a%d" % n for n in range(said))
    assert numbers(network, alice) == [1, 2]
    report = alice.agent.statistics(network.now)
    (transport,) = (entry for entry in report.values() if entry["type"] == "transport")
    assert transport["selectedCandidatePairChanges"] >= 2
    network.run(30)
    assert not edge.allocations, "the relay is given back"


def test_a_way_that_opens_later_is_found_by_looking_again() -> None:
    network, alice, bob = two_homes()
    network.drop = between_the_homes
    exchange(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    network.run(40)
    assert len(alice.events(Selected)) == 1
    network.drop = lambda *packet: False
    assert network.run(70, until=lambda: mirrored(alice, bob) and len(alice.events(Selected)) == 2)
    assert types(alice) == [("srflx", "relay"), ("srflx", "srflx")]


def test_looking_again_costs_little() -> None:
    network, alice, bob = two_homes()
    network.drop = between_the_homes
    exchange(alice, bob)
    network.run(100)
    before = len(alice.records(records.PairChecked))
    network.run(600)
    assert 10 <= len(alice.records(records.PairChecked)) - before <= 10 * 4 * AT_ONCE


def test_nobody_moves_unless_both_announced_it() -> None:
    network, alice, bob = two_homes(renominates=False)
    only_the_relay_is_told(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    network.run(1)
    for peer, other in ((alice, bob), (bob, alice)):
        peer.tells(other)
    checked = len(alice.records(records.PairChecked))
    network.run(60)
    assert len(alice.events(Selected)) == len(bob.events(Selected)) == 1
    assert len(alice.records(records.PairChecked)) == checked
    assert numbers(network, alice) == []


@pytest.mark.parametrize("config", ["renomination", "lite"])
def test_who_does_not_want_it_does_not_announce_it(config: str) -> None:
    network = Network()
    quiet = network.agent("quiet", {"10.0.0.1": None}, controlling=True, **{config: config == "lite"})
    assert not quiet.agent.renomination
    assert network.agent("bob", {"10.0.0.2": None}, controlling=False).agent.renomination


@pytest.mark.parametrize("answers", [False, True])
def test_a_move_that_gets_stuck_parts_nobody(answers: bool) -> None:
    """Every nomination of the better path is lost, or every answer to one: both stay, or both come back."""
    network, alice, bob = two_homes()
    only_the_relay_is_told(alice, bob)
    assert network.run(5, until=lambda: mirrored(alice, bob))
    network.run(1)
    asked: set[bytes] = set()

    def swallow(source: Address, target: Address, data: bytes) -> bool:
        if not stun.is_stun(data) or not between_the_homes(source, target, data):
            return False
        nominates = stun.parse(data).get(stun.USE_CANDIDATE) is not None
        if nominates:
            asked.add(data[8:20])
        return data[8:20] in asked and nominates is not answers

    network.drop = swallow
    alice.tells(bob)
    bob.tells(alice)
    assert network.run(2, until=lambda: bool(asked))
    network.run(5)
    assert mirrored(alice, bob) is not answers  # bob moved and alice does not know
    assert network.run(10, until=lambda: mirrored(alice, bob))
    used = alice.records(records.PairSelected)[-1].pair
    assert [r.pair for r in alice.records(records.PairSucceeded)].count(used) == 1, "it was never in doubt"
    assert "relay" in types(alice)[-1]
    network.drop = lambda *packet: False
    assert network.run(70, until=lambda: mirrored(alice, bob) and types(alice)[-1] == ("srflx", "srflx"))


# --- what is better, and worth another look ---------------------------------------------------------------
WORKS, FAILED = PairState.SUCCEEDED, PairState.FAILED
RELAY, SRFLX, HOST = CandidateType.RELAY, CandidateType.SRFLX, CandidateType.HOST


def pair(
    id: int,
    ours: CandidateType,
    *recent: float,
    theirs: CandidateType = HOST,
    state: PairState = WORKS,
    way: Transport | None = None,
) -> CandidatePair:
    """A pair of two types; our relay is reached over `way`."""
    local, remote = (
        Candidate(type, Address(f"10.0.{n}.{id}", 5000), priority(type, local_preference(id, over), 1), "1")
        for n, type, over in ((0, ours, way), (1, theirs, None))
    )
    made = CandidatePair(id, local, remote, pair_priority(local.priority, remote.priority), state)
    made.valid_priority = made.priority
    for round_trip in recent:
        made.measured(round_trip)
    return made


def test_a_move_must_be_worth_it() -> None:
    best_last = [
        pair(9, RELAY, way=Transport.TCP, theirs=RELAY),
        pair(8, RELAY, way=Transport.TCP, theirs=SRFLX),
        pair(7, RELAY, way=Transport.UDP, theirs=RELAY),
        pair(6, RELAY, way=Transport.UDP, theirs=SRFLX),
        pair(5, SRFLX, theirs=SRFLX),
        pair(4, HOST),
    ]
    for worse, better in itertools.pairwise(best_last):
        assert Improvement().better([better, worse], worse) is better
        assert Improvement().better([better, worse], better) is None


def test_another_pair_of_the_same_grade_is_not() -> None:
    for ours, theirs in ((RELAY, SRFLX), (SRFLX, SRFLX), (HOST, HOST)):
        first, second = pair(1, ours, theirs=theirs), pair(2, ours, theirs=theirs)
        assert first.valid_priority > second.valid_priority
        assert Improvement().better([first, second], second) is None


def test_a_path_that_is_far_slower_is_left_and_not_come_back_to() -> None:
    slow = pair(1, HOST, 0.6, 0.61, 0.62)
    quick = pair(2, SRFLX, 0.05, 0.06, 0.05)
    assert Improvement().better([slow, quick], slow) is quick
    assert Improvement().better([slow, quick], quick) is None
    for _ in range(3):
        slow.measured(0.05)
    assert Improvement().better([slow, quick], quick) is slow


def test_one_slow_answer_or_a_small_difference_moves_nobody() -> None:
    quick = pair(2, SRFLX, 0.05, 0.05, 0.05)
    assert not far_slower(pair(1, HOST, 0.6, 0.06, 0.6), quick)
    assert not far_slower(pair(1, HOST, 0.6, 0.6), quick)
    assert not far_slower(pair(1, HOST, 0.15, 0.15, 0.15), quick)
    assert far_slower(pair(1, HOST, 0.25, 0.25, 0.25), quick)


def test_what_was_measured_inexactly_says_nothing_about_slowness() -> None:
    made = pair(1, HOST)
    made.measured(0.5, at_most=1.0)
    assert (made.round_trip, made.recent) == (0.5, ())


def test_a_look_checks_a_few_of_the_likeliest() -> None:
    pairs = [pair(n, HOST, state=FAILED) for n in range(1, 10)]
    pairs[0].hopeless = True
    pairs[1].prospect = Prospect.NONE
    pairs[2].prospect = Prospect.POOR
    pairs[3].state = PairState.IN_PROGRESS
    active = pair(10, RELAY, 0.05)
    assert [p.id for p in Improvement().to_check(pairs, pairs, active)] == [5, 6, 7, 8, 9]
    assert [p.id for p in Improvement().to_check(pairs, pairs[:6], active)] == [5, 6, 3]
    active.measured(0.5)
    assert [p.id for p in Improvement().to_check(pairs, [], active)] == [5, 6, 7, 8, 9]


def test_other_paths_are_measured_only_where_it_may_matter() -> None:
    above, active, below = pair(1, HOST, 0.6), pair(2, SRFLX, 0.05), pair(3, RELAY, 0.05)
    assert Improvement().to_measure([above, active, below], active) == [above]
    active.measured(0.3)
    assert Improvement().to_measure([above, active, below], active) == [above, below]


def test_moves_and_looks_become_rarer() -> None:
    improvement = Improvement()
    pauses, now = [], 0.0
    for _ in range(12):
        improvement.moves(now)
        pauses.append(improvement.next_move_at - now)
        now = improvement.next_move_at
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert pauses[-1] == 60.0
    assert [improvement.next_look(0.0) for _ in range(6)] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
