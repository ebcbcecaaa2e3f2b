"""Authenticated requests: which nonce, which key, which answer is believed."""

from __future__ import annotations

from random import Random

from iceway.turn.requester import Answered, Refused, Requester, Unanswered
from iceway.wire import stun
from iceway.wire.stun import Method, StunMessage

OLD = stun.long_term_key("1000:alice", "r", "old")
NEW = stun.long_term_key("2000:alice", "r", "new")


class Wire:
    """What a requester sent, parsed."""

    def __init__(self) -> None:
        self.sent: list[StunMessage] = []
        self.requester = Requester(
            "1000:alice", "old", Random(1), lambda data: self.sent.append(stun.parse(data)), reliable=False
        )

    def asks(self, purpose: str, now: float = 0.0) -> StunMessage:
        self.requester.start(purpose, Method.REFRESH, (), now)
        return self.sent[-1]

    def challenged(self, request: StunMessage, code: int = 401, nonce: bytes = b"n1") -> StunMessage:
        answer = stun.error_response(request, code, "", stun.REALM("r"), stun.NONCE(nonce))
        assert self.requester.handle_response(answer, 0.0) is None
        return self.sent[-1]

    def answered(self, request: StunMessage, key: bytes, now: float = 0.1) -> object:
        answer = stun.parse(stun.serialize(stun.success_response(request), key))
        return self.requester.handle_response(answer, now)


def test_one_purpose_ends_in_one_outcome() -> None:
    wire = Wire()
    signed = wire.challenged(wire.asks("a"))
    assert wire.requester.owns(signed.transaction_id)
    outcome = wire.answered(signed, OLD)
    assert isinstance(outcome, Answered)
    assert (outcome.purpose, outcome.round_trip) == ("a", 0.1)
    assert wire.answered(signed, OLD) is None
    assert wire.requester.poll_timeout() is None


def test_a_stale_nonce_is_replaced_for_all_that_follow() -> None:
    wire = Wire()
    wire.challenged(wire.asks("a"))
    assert wire.challenged(wire.asks("b"), 438, b"n2").get(stun.NONCE) == b"n2"
    assert wire.asks("c").get(stun.NONCE) == b"n2"


def test_two_requests_challenged_at_once_are_both_sent_again() -> None:
    wire = Wire()
    first, second = wire.asks("a"), wire.asks("b")
    again_first = wire.challenged(first)
    again_second = wire.challenged(second, nonce=b"n2")
    assert isinstance(wire.answered(again_first, OLD), Answered)
    assert isinstance(wire.answered(again_second, OLD), Answered)


def test_renewed_credentials_serve_the_next_request_and_spoil_none_under_way() -> None:
    wire = Wire()
    under_way = wire.challenged(wire.asks("a"))
    wire.requester.renew("2000:alice", "new")
    next_one = wire.asks("b")
    assert next_one.get(stun.USERNAME) == b"2000:alice"
    assert stun.verify_integrity(next_one, NEW)
    assert wire.answered(under_way, NEW) is None
    assert isinstance(wire.answered(under_way, OLD), Answered)
    assert isinstance(wire.answered(next_one, NEW), Answered)


def test_a_request_refused_for_its_old_credentials_is_tried_with_the_new() -> None:
    wire = Wire()
    under_way = wire.challenged(wire.asks("a"))
    wire.requester.renew("2000:alice", "new")
    again = wire.challenged(under_way, nonce=b"n2")
    assert stun.verify_integrity(again, NEW)
    refusal = stun.error_response(again, 401, "", stun.REALM("r"), stun.NONCE(b"n3"))
    assert isinstance(wire.requester.handle_response(refusal, 0.0), Refused)


def test_a_challenge_without_nonce_is_a_refusal() -> None:
    wire = Wire()
    refusal = stun.error_response(wire.asks("a"), 401, "No", stun.REALM("r"))
    outcome = wire.requester.handle_response(refusal, 0.0)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.reason, outcome.challenges) == (401, "No", 0)


def test_an_error_without_a_code_is_an_error_all_the_same() -> None:
    wire = Wire()
    request = wire.asks("a")
    answer = StunMessage(Method.REFRESH, stun.MessageClass.ERROR, request.transaction_id)
    outcome = wire.requester.handle_response(answer, 0.0)
    assert isinstance(outcome, Refused)
    assert outcome.code == 500


def test_silence_is_an_outcome_and_each_request_has_its_own() -> None:
    wire = Wire()
    wire.asks("a", 0.0)
    wire.requester.start("b", Method.REFRESH, (), 0.0, requests=1)
    outcomes = list(wire.requester.handle_timeout(8.0))
    assert outcomes == [Unanswered("b", "no answer to the request in 8.0 s")]
    assert len(wire.sent) == 3
    wire.requester.forget_server()
    assert wire.requester.poll_timeout() is None
    assert not wire.asks("c").has_integrity
