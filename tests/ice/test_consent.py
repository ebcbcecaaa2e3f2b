"""Consent freshness by itself; `test_session` shows it at work."""

from __future__ import annotations

import random

from iceway.core.address import Address
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.checklist import CandidatePair
from iceway.ice.consent import Consent


def consent(now: float = 0.0) -> Consent:
    address = Address("10.0.0.1", 5000)
    here = Candidate(CandidateType.HOST, address, 1, "1", base=address)
    return Consent(CandidatePair(1, here, here, 1), 5.0, 30.0, random.Random(7), now)


def test_requests_go_out_every_five_seconds_give_or_take_a_fifth() -> None:
    # RFC 7675 §5.1.
    watch, now, pauses = consent(), 0.0, []
    for number in range(200):
        assert not watch.request_due(watch.next_at - 0.001)
        pauses.append(watch.next_at - now)
        now = watch.next_at
        watch.sent(str(number).encode(), now)
        watch.answered(str(number).encode(), now)
    assert 4.0 <= min(pauses) < 4.2
    assert 5.8 < max(pauses) <= 6.0


def test_thirty_seconds_of_silence_end_it() -> None:
    watch = consent()
    assert not watch.expired(29.9)
    assert watch.expired(30.0)
    assert watch.next_at <= 30.0


def test_an_answer_renews_it_however_slow_the_path() -> None:
    watch = consent()
    watch.sent(b"a", 5.0)
    watch.sent(b"b", 10.0)
    assert watch.answered(b"a", 12.0) == 7.0
    assert not watch.expired(41.9)
    assert watch.expired(42.0)
    assert watch.silent_for(42.0) == 30.0


def test_answers_count_once_and_only_to_requests_of_the_last_thirty_seconds() -> None:
    watch = consent()
    watch.sent(b"a", 0.0)
    watch.sent(b"b", 31.0)
    assert not watch.knows(b"a")
    assert watch.knows(b"b")
    watch.answered(b"b", 31.5)
    assert not watch.knows(b"b")
