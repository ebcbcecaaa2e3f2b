"""When a request is sent again, and when it has failed (RFC 8489 §6.2)."""

from __future__ import annotations

import pytest

from iceway.turn.transaction import Transaction


def instants(transaction: Transaction) -> tuple[list[float], float]:
    """When it was sent, and when it failed."""
    sent = [transaction.started_at]
    while (data := transaction.on_timeout(now := transaction.deadline)) is not None:
        assert data == b"request"
        sent.append(now)
    return sent, now


def test_over_udp_seven_requests_and_then_a_long_wait() -> None:
    transaction = Transaction(b"request", 0.0, reliable=False)
    assert instants(transaction) == ([0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5], 39.5)
    assert transaction.failure(39.5) == "no answer to 7 requests in 39.5 s"


def test_over_a_stream_one_request_and_the_same_whole_time() -> None:
    transaction = Transaction(b"request", 10.0, reliable=True)
    assert instants(transaction) == ([10.0], 49.5)
    assert transaction.failure(49.5) == "no answer to the request in 39.5 s"


@pytest.mark.parametrize(("requests", "end"), [(1, 1.6), (3, 1.9)])
def test_rto_and_counts_can_be_chosen(requests: int, end: float) -> None:
    transaction = Transaction(b"request", 0.0, reliable=False, rto=0.1, requests=requests)
    sent, failed = instants(transaction)
    assert len(sent) == requests
    assert failed == pytest.approx(end)


def test_a_late_driver_causes_no_burst() -> None:
    transaction = Transaction(b"request", 0.0, reliable=False)
    assert transaction.on_timeout(20.0) is not None
    assert transaction.deadline == 21.0


def test_a_request_may_be_repeated_sooner_than_was_planned() -> None:
    slow = Transaction(b"x", 0.0, reliable=False, rto=2.0)
    slow.hasten(0.5, 0.0, 0.2)
    assert slow.deadline == 0.5
    assert slow.on_timeout(0.5) == b"x"
    assert slow.deadline == 1.5
    slow.hasten(0.25, 0.5, 1.4)  # the second interval of 0.25 s is over already
    assert slow.deadline == 1.4


def test_haste_never_slows_a_request_down() -> None:
    quick = Transaction(b"x", 0.0, reliable=False, rto=0.5)
    quick.hasten(2.0, 0.0, 0.1)
    assert quick.deadline == 0.5
    stream = Transaction(b"x", 0.0, reliable=True, rto=2.0)
    before = stream.deadline
    stream.hasten(0.5, 0.0, 0.1)
    assert stream.deadline == before
