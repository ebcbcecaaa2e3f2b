"""What is known of the peer's candidates, and how much of it."""

from __future__ import annotations

import pytest

from iceway.core.address import Address, Transport
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.config import AgentConfig
from iceway.ice.remotes import MAX_EARLY, HeardCheck, RemoteCandidates


def remotes(**config: object) -> RemoteCandidates:
    return RemoteCandidates(AgentConfig(controlling=True, **config))


def candidate(ip: str = "10.0.0.2", port: int = 5000, **changed: object) -> Candidate:
    given = {"type": CandidateType.HOST, "address": Address(ip, port), "priority": 5, "foundation": "1"}
    return Candidate(**given | changed)


def check(port: int, ufrag: str = "theirs", nominates: bool = False) -> HeardCheck:
    here = Address("10.0.0.1", 5000)
    return HeardCheck(here, Address("10.0.0.2", port), 77, nominates, bytes(12), ufrag)


@pytest.mark.parametrize(
    ("announced", "why"),
    [
        (candidate(transport=Transport.TCP), "TCP"),
        (candidate(component=2), "no component 2"),
        (candidate("169.254.0.1"), "nothing can be sent"),
        (candidate("0.0.0.0"), "nothing can be sent"),
        (candidate(port=0), "nothing can be sent"),
    ],
)
def test_useless_candidates_and_why(announced: Candidate, why: str) -> None:
    assert why in remotes().useless(announced)


def test_a_repeated_candidate_is_useless_unless_the_first_was_only_learned() -> None:
    known = remotes()
    known.learn(1, check(5000))
    assert known.useless(candidate()) == ""
    known.add(candidate())
    assert known.useless(candidate()) == "repeats host 10.0.0.2:5000"


def test_there_is_an_end_to_announcements_and_learned_ones_do_not_count() -> None:
    known = remotes(max_remote_candidates=2)
    known.learn(1, check(9))
    for port in (1, 2):
        assert known.useless(candidate(port=port)) == ""
        known.add(candidate(port=port))
    assert known.useless(candidate(port=3)) == "more than 2 candidates"


def test_there_is_an_end_to_announcements_of_any_type() -> None:
    known = remotes(max_remote_candidates=2)
    for port in (5000, 5001):
        known.add(candidate(port=port, type=CandidateType.PRFLX))
    assert known.useless(candidate(port=5000)) == "repeats prflx 10.0.0.2:5000"
    assert known.useless(candidate(port=5002, type=CandidateType.PRFLX)) == "more than 2 candidates"
    assert known.learned() == []


def test_a_learned_candidate_has_the_priority_of_the_check() -> None:
    known = remotes()
    first, second = known.learn(1, check(1)), known.learn(1, check(2))
    assert (first.type, first.priority, first.address.port) == (CandidateType.PRFLX, 77, 1)
    assert first.foundation != second.foundation
    assert known.learned() == [first, second]


def test_the_ips_of_the_peer_are_known_in_order_and_once() -> None:
    known = remotes()
    for ip, port in (("10.0.0.3", 1), ("10.0.0.2", 1), ("10.0.0.3", 2)):
        known.add(candidate(ip, port))
    assert known.ips == ("10.0.0.3", "10.0.0.2")
    known.forget(candidate("10.0.0.2", 1))
    assert known.ips == ("10.0.0.3",)
    assert len(known) == 2


def test_early_checks_are_kept_by_way_and_a_nomination_is_not_forgotten() -> None:
    known = remotes()
    assert known.keep(check(1))
    assert known.keep(check(1, nominates=True))
    assert known.keep(check(1))
    (kept,) = known.take_early("theirs")
    assert kept.nominates
    assert known.take_early("theirs") == []


def test_early_checks_of_others_are_dropped_when_the_peer_is_known() -> None:
    known = remotes()
    known.keep(check(1, ufrag="fork"))
    known.keep(check(2))
    assert [kept.source.port for kept in known.take_early("theirs")] == [2]


def test_there_is_an_end_to_early_checks() -> None:
    known = remotes()
    assert [known.keep(check(port)) for port in range(MAX_EARLY + 1)] == [True] * MAX_EARLY + [False]
    assert known.keep(check(0)), "a way that is known may repeat itself"
