import pytest

from iceway.client import relays
from iceway.core.address import Transport
from iceway.core.errors import ParseError
from iceway.wire import mras
from iceway.wire.mras import Location


def answer(*listed: mras.MediaRelay) -> bytes:
    credentials = mras.CredentialsResponse("7", "name", "secret", 480, listed)
    return mras.serialize_response(mras.MrasResponse(mras.ReasonPhrase.OK, "7", credentials=(credentials,)))


INSIDE = mras.MediaRelay("inside.example.test", Location.INTRANET, 3478, 443)
OUTSIDE = mras.MediaRelay("198.51.100.2", Location.INTERNET, 3478, None)


def test_the_question_says_who_where_and_for_how_long() -> None:
    body = relays.question("sip:alice@example.test", "sip:mras@example.test", Location.INTERNET, "7")
    asked = mras.parse_request(body)
    assert asked.credentials[0] == mras.CredentialsRequest(
        "7", "sip:alice@example.test", Location.INTERNET, 480
    )
    assert asked.to == "sip:mras@example.test"


def test_each_port_of_a_relay_becomes_a_server_for_ice() -> None:
    granted = relays.grant(answer(INSIDE, OUTSIDE), Location.INTRANET)
    assert [(s.host, s.port, s.transport) for s in granted.servers] == [
        ("inside.example.test", 3478, Transport.UDP),
        ("inside.example.test", 443, Transport.TCP),
    ]
    assert granted.duration == 8 * 3600
    assert "secret" not in repr(granted)


def test_a_relay_elsewhere_is_better_than_none_and_an_address_needs_no_look_up() -> None:
    granted = relays.grant(answer(OUTSIDE), Location.INTRANET)
    assert [str(s.address) for s in granted.servers] == ["198.51.100.2:3478"]


def test_a_refusal_is_an_error_that_says_why() -> None:
    refusal = mras.serialize_response(mras.MrasResponse(mras.ReasonPhrase.FORBIDDEN, "7"))
    with pytest.raises(ParseError, match="Forbidden"):
        relays.grant(refusal, Location.INTERNET)
    with pytest.raises(ParseError):
        relays.grant(b"<nonsense", Location.INTERNET)
