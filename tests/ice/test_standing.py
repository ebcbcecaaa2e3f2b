"""Roles and tie-breakers: RFC 8445 §7.3.1.1 as a table."""

from __future__ import annotations

import random

import pytest

from iceway.core.address import Address
from iceway.ice.candidate import Candidate, CandidateType, local_preference, priority
from iceway.ice.checklist import CandidatePair
from iceway.ice.checklist_set import Role
from iceway.ice.messages import Credentials, check_request
from iceway.ice.standing import Standing, reflexive_priority
from iceway.wire import stun

OURS, THEIRS = Credentials("our", "o" * 22), Credentials("their", "t" * 22)


def standing(controlling: bool, tie_breaker: int) -> Standing:
    made = Standing(OURS, Role(controlling, tie_breaker), random.Random(1))
    made.remote = THEIRS
    return made


@pytest.mark.parametrize(
    ("we_control", "they_control", "ours", "theirs", "expected"),
    [
        (True, False, 1, 9, None),
        (False, True, 9, 1, None),
        # Both control: the larger one stays, the other is told 487 or switches by itself.
        (True, True, 9, 1, True),
        (True, True, 1, 9, False),
        (True, True, 5, 5, True),
        # Both are controlled: the larger one takes over.
        (False, False, 9, 1, False),
        (False, False, 1, 9, True),
        (False, False, 5, 5, False),
    ],
)
def test_conflicts(
    we_control: bool, they_control: bool, ours: int, theirs: int, expected: bool | None
) -> None:
    data = check_request(bytes(12), THEIRS, OURS, priority=1, controlling=they_control, tie_breaker=theirs)
    assert standing(we_control, ours).conflict(stun.parse(data)) is expected


def test_requests_are_new_every_time_and_say_who_we_are() -> None:
    address = Address("10.0.0.1", 5000)
    local = Candidate(
        CandidateType.HOST,
        address,
        priority(CandidateType.HOST, local_preference(3), 2),
        "1",
        2,
        base=address,
    )
    pair = CandidatePair(1, local, local, 1)
    ours = standing(True, 77)
    (first, data), (second, _) = ours.request(pair), ours.request(pair, nominate=True)
    assert first != second
    message = stun.parse(data)
    assert message.transaction_id == first
    assert message.get(stun.ICE_CONTROLLING) == 77
    # RFC 8445 §7.1.1: the local preference and component of the candidate, the type of a reflexive one.
    expected = priority(CandidateType.PRFLX, local_preference(3), 2)
    assert message.get(stun.PRIORITY) == expected == reflexive_priority(pair)


def test_checks_from_a_relay_say_the_relays_priority() -> None:
    """The peer may never have been told of it, and must not take it for something better than reflexive."""
    relayed = Address("198.51.100.2", 50000)
    own = priority(CandidateType.RELAY, local_preference(0), 1)
    relay = Candidate(CandidateType.RELAY, relayed, own, "3", 1, base=relayed)
    _, data = standing(True, 77).request(CandidatePair(1, relay, relay, 1))
    assert stun.parse(data).get(stun.PRIORITY) == own
    assert own < priority(CandidateType.SRFLX, local_preference(3), 1)


def test_signatures_of_the_peer() -> None:
    request = stun.StunMessage(1, stun.MessageClass.SUCCESS, bytes(12))
    answer = stun.parse(stun.serialize(request, stun.short_term_key(THEIRS.pwd)))
    assert standing(True, 1).signed_by_peer(answer)
    assert not Standing(OURS, Role(True, 1), random.Random(1)).signed_by_peer(answer)
    forged = stun.parse(stun.serialize(request, b"guess"))
    assert not standing(True, 1).signed_by_peer(forged)
