"""What a user agent does besides calls: strangers' requests, its own, its user's mistakes."""

from __future__ import annotations

import random

import pytest

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.sip.endpoint import Endpoint, ResponseReceived, Target
from iceway.sip.useragent import (
    Incoming,
    RequestAnswered,
    RequestFailed,
)
from iceway.wire.sip import Headers, Request, Response
from tests.sip.phones import ANSWER, BOB, OFFER, Phones


class Stranger:
    """A bare endpoint that sends Bob's phone what it likes."""

    def __init__(self) -> None:
        self.phones = Phones()
        self.endpoint = Endpoint("eve", random.Random(9))
        self.e = self.phones.net.add("eve", self.endpoint, "192.0.2.3")
        self.endpoint.listen(Transport.UDP, Address("192.0.2.3", 5060), 0)
        self.phones.run(0)

    def asks(self, method: str, uri: str = "sip:bob@example.test", **fields: str) -> Response | None:
        headers = {
            "Max-Forwards": "70",
            "From": "<sip:eve@x.test>;tag=e",
            "To": "<sip:bob@example.test>",
            "Call-ID": "eve-1",
            "CSeq": f"1 {method}",
            "Contact": "<sip:eve@192.0.2.3>",
        } | {name.replace("_", "-"): value for name, value in fields.items()}
        request = Request(method, uri, headers=Headers.of(*((n, v) for n, v in headers.items() if v)))
        self.endpoint.request(request, Target(BOB, Transport.UDP), self.phones.net.now)
        self.phones.run(0.1)
        responses = self.e.seen(ResponseReceived)
        return responses[-1].response if responses else None


@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("OPTIONS", {}, 200),
        ("MESSAGE", {}, 405),
        ("BYE", {}, 481),
        ("BYE", {"To": "<sip:bob@example.test>;tag=none"}, 481),
        ("PRACK", {"To": "<sip:bob@example.test>;tag=none"}, 481),
        ("INVITE", {"Require": "100rel, precondition"}, 420),
        ("INVITE", {"Contact": ""}, 400),
        ("INVITE", {"To": "<sip:bob@example.test>;tag=none"}, 481),
    ],
)
def test_requests_a_phone_cannot_serve(method: str, fields: dict[str, str], status: int) -> None:
    stranger = Stranger()
    response = stranger.asks(method, **fields)
    assert response is not None
    assert response.status == status
    if status == 420:
        assert response.headers.get("Unsupported") == "precondition"
    if status in (405, 200):
        assert "INVITE" in response.headers.values("Allow")
    assert not stranger.phones.b.seen(Incoming)


def test_another_uri_scheme_is_answered_416() -> None:
    response = Stranger().asks("INVITE", uri="tel:+1234")
    assert response is not None
    assert response.status == 416


def test_an_invite_that_came_over_two_ways_is_taken_once() -> None:
    stranger = Stranger()
    stranger.asks("INVITE")
    response = stranger.asks("INVITE")
    assert response is not None
    assert response.status == 482
    assert len(stranger.phones.b.seen(Incoming)) == 1


def test_commands_that_do_not_fit_are_the_callers_mistake() -> None:
    phones = Phones()
    call = phones.calls()
    with pytest.raises(UsageError):
        phones.alice.bye(call, phones.net.now)
    with pytest.raises(UsageError):
        phones.alice.accept(call, ANSWER, phones.net.now)
    with pytest.raises(UsageError):
        phones.bob.cancel(phones.bobs, phones.net.now)
    with pytest.raises(UsageError):
        phones.alice.invite("not an address", OFFER, phones.net.now)
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    with pytest.raises(UsageError):
        phones.bob.answer_reinvite(phones.bobs, ANSWER, phones.net.now)
    phones.alice.bye("no such call", phones.net.now)


def test_a_request_outside_of_calls_is_answered_or_fails() -> None:
    phones = Phones()
    asked = phones.alice.request_out_of_dialog(
        "OPTIONS", "sip:bob@example.test", phones.net.now, (("Accept", "application/sdp"),)
    )
    phones.run()
    (answered,) = phones.a.seen(RequestAnswered)
    assert (answered.request, answered.response.status) == (asked, 200)
    phones.net.loses = lambda packet: True
    asked = phones.alice.request_out_of_dialog(
        "SERVICE", "sip:bob@example.test", phones.net.now, body=b"<x/>"
    )
    phones.run(40)
    assert phones.a.seen(RequestFailed) == [RequestFailed(asked, "no answer in 32 s", 408)]
