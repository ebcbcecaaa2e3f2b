"""What has been tried so far, in one line."""

from __future__ import annotations

from iceway.core.address import Address
from iceway.ice.attempts import so_far
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.checklist import CandidatePair, PairState


def pair(number: int, local: CandidateType, remote: CandidateType) -> CandidatePair:
    ours, theirs = (
        Candidate(kind, Address(ip, 1000 + number), 1, f"{number}")
        for kind, ip in ((local, "192.0.2.1"), (remote, "192.0.2.2"))
    )
    return CandidatePair(number, ours, theirs, 1)


def test_pairs_are_counted_by_what_became_of_them() -> None:
    host, relay = CandidateType.HOST, CandidateType.RELAY
    failed, silent, waiting, odd = (
        pair(1, relay, host),
        pair(2, host, host),
        pair(3, host, relay),
        pair(4, host, host),
    )
    failed.state, failed.failure = PairState.FAILED, "403 Forbidden"
    silent.first_sent_at = 1.0
    odd.hint = "an answer that proves nothing said 401"
    another = pair(5, host, host)
    another.first_sent_at = 1.0
    told = so_far([failed, silent, waiting, odd, another], ["turn:a: no answer"], heard_of_peer=True)
    assert told.startswith("2 pairs from host to host checked, no answer; ")
    assert "1 pair failed: 403 Forbidden" in told
    assert "1 pair from host to relay not checked yet" in told
    assert "said 401" in told
    assert told.endswith("; turn:a: no answer")


def test_nothing_to_try_has_a_reason_too() -> None:
    assert so_far([], [], heard_of_peer=False) == "the other side has named no candidates"
    assert so_far([], [], heard_of_peer=True) == "no candidate of the other side can be paired with ours"


def test_many_reasons_stay_one_line() -> None:
    pairs = [pair(number, CandidateType.HOST, CandidateType.HOST) for number in range(9)]
    for number, one in enumerate(pairs):
        one.state, one.failure = PairState.FAILED, f"reason {number}"
    assert so_far(pairs, [], heard_of_peer=True).endswith("; 5 reasons more")
