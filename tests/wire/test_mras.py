"""Credential bodies: the schema's examples, and everything a hostile sender could put in their place."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.errors import ParseError, UsageError
from iceway.wire.mras import (
    MAX_MINUTES,
    NAMESPACE,
    CredentialsRequest,
    CredentialsResponse,
    Location,
    MediaRelay,
    MrasRequest,
    MrasResponse,
    ReasonPhrase,
    parse_request,
    parse_response,
    serialize_request,
    serialize_response,
)

SERVICE = "sip:fe.example.test@example.test;gruu;opaque=srvr:MRAS:kM3x"
REQUEST = f"""
<request requestID="1804289383" version="1.0" from="sip:alice@example.test"
         to="{SERVICE}"
         xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <credentialsRequest credentialsRequestID="7">
    <identity>sip:alice@example.test</identity>
    <location>internet</location>
    <duration>480</duration>
  </credentialsRequest>
</request>
""".strip()
RESPONSE = f"""<?xml version="1.0"?>
<response xmlns="{NAMESPACE}" requestID="1804289383" version="1.0" serverVersion="2.0"
          to="{SERVICE}" from="sip:alice@example.test" reasonPhrase="OK">
  <credentialsResponse credentialsRequestID="7">
    <credentials><username>AQAA==</username><password>Ra4o/w=</password><duration>480</duration></credentials>
    <mediaRelayList><mediaRelay>
        <location>internet</location><hostName>av.example.test</hostName>
        <udpPort>3478</udpPort><tcpPort>443</tcpPort>
    </mediaRelay></mediaRelayList>
  </credentialsResponse>
</response>
"""


def test_a_client_asks_and_the_request_is_read() -> None:
    request = parse_request(REQUEST.encode())
    assert request == MrasRequest(
        request_id="1804289383",
        to=SERVICE,
        from_="sip:alice@example.test",
        credentials=(CredentialsRequest("7", "sip:alice@example.test", Location.INTERNET, 480),),
    )
    assert request.fault() is None


def test_a_server_answers_and_the_response_is_read() -> None:
    response = parse_response(RESPONSE.encode())
    assert response.reason is ReasonPhrase.OK
    assert response.server_version == "2.0"
    assert response.credentials == (
        CredentialsResponse(
            "7",
            "AQAA==",
            "Ra4o/w=",
            480,
            (MediaRelay("av.example.test", Location.INTERNET, udp_port=3478, tcp_port=443),),
        ),
    )


def test_location_and_duration_may_be_left_out() -> None:
    bare = REQUEST.replace("<location>internet</location>", "").replace("<duration>480</duration>", "")
    (item,) = parse_request(bare.encode()).credentials
    assert item.location is None
    assert item.duration is None


def test_a_wish_for_a_century_is_a_wish_for_the_longest() -> None:
    (item,) = parse_request(REQUEST.replace("480", "4000000000").encode()).credentials
    assert item.duration == MAX_MINUTES


def test_relays_can_be_asked_for_by_address_and_are_written_so() -> None:
    assert parse_request(REQUEST.replace("requestID=", 'route="directip" requestID=', 1).encode()).direct_ip
    answer = MrasResponse(
        ReasonPhrase.OK, "1", "sip:a", "sip:b", (CredentialsResponse("1", "u", "p", 1, (MediaRelay("::1"),)),)
    )
    body = serialize_response(answer)
    assert b"<directIPAddress>::1</directIPAddress>" in body
    assert parse_response(body) == answer


def test_faults_the_protocol_has_words_for_are_no_parse_errors() -> None:
    assert parse_request(REQUEST.replace('"1.0"', '"3.0"').encode()).fault() is ReasonPhrase.VERSION_MISMATCH
    request = parse_request(REQUEST.encode())
    many = dataclasses.replace(request, credentials=request.credentials * 101)
    assert parse_request(serialize_request(many)).fault() is ReasonPhrase.TOO_LARGE


def test_a_refusal_echoes_the_request_or_nothing() -> None:
    request = parse_request(REQUEST.encode())
    refusal = MrasResponse.refusing(request, ReasonPhrase.FORBIDDEN)
    assert parse_response(serialize_response(refusal)) == refusal
    assert refusal.to == SERVICE
    unread = serialize_response(MrasResponse.refusing(None, ReasonPhrase.MALFORMED))
    assert b"requestID" not in unread
    assert parse_response(unread).reason is ReasonPhrase.MALFORMED


@pytest.mark.parametrize(
    ("damage", "by"),
    [
        ("<identity>sip:alice@example.test</identity>", ""),
        ("<identity>sip:alice@example.test</identity>", "<identity/>"),
        ("<identity>sip:alice@example.test</identity>", "<identity>a</identity><identity>b</identity>"),
        ("internet", "moon"),
        (">480<", ">-1<"),
        (">480<", ">0<"),
        (">480<", ">٤٨٠<"),
        ('requestID="1804289383"', ""),
        ('requestID="1804289383"', f'requestID="{"9" * 65}"'),
        ('version="1.0"', ""),
        (NAMESPACE, "urn:other"),
        ("<request ", "<response "),
        ("</request>", ""),
        ("</request>", "</request><request/>"),
    ],
)
def test_what_the_schema_forbids_is_refused(damage: str, by: str) -> None:
    assert damage in REQUEST
    with pytest.raises(ParseError):
        parse_request(REQUEST.replace(damage, by).encode())


@pytest.mark.parametrize(
    ("damage", "by"),
    [
        ('reasonPhrase="OK"', 'reasonPhrase="Fine"'),
        ("<hostName>av.example.test</hostName>", "<directIPAddress>av.example.test</directIPAddress>"),
        ("<udpPort>3478</udpPort>", "<udpPort>65536</udpPort>"),
        ("<duration>480</duration>", ""),
        ("<location>internet</location>", ""),
    ],
)
def test_a_response_that_lies_is_refused(damage: str, by: str) -> None:
    assert damage in RESPONSE
    with pytest.raises(ParseError):
        parse_response(RESPONSE.replace(damage, by).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b'<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><request>&b;</request>',
        b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><request>&x;</request>',
        b'<!DOCTYPE r SYSTEM "http://192.0.2.1/x.dtd"><request/>',
        b'<?xml version="1.0" encoding="no-such-code"?><request/>',
        b"<a>" * 20000,
        b"<a>" * 20000 + b"</a>" * 20000,
        b"<request " + b"x" * (128 * 1024) + b"/>",
    ],
    ids=["empty", "nul", "laughs", "file", "dtd", "encoding", "open", "deep", "huge"],
)
def test_hostile_xml_is_only_a_parse_error(body: bytes) -> None:
    with pytest.raises(ParseError):
        parse_request(body)
    with pytest.raises(ParseError):
        parse_response(body)


def test_a_character_that_xml_cannot_carry_is_our_own_callers_mistake() -> None:
    with pytest.raises(UsageError):
        serialize_request(MrasRequest("1", "sip:a", "sip:b", (CredentialsRequest("1", "sip:\x00"),)))


def test_credentials_are_not_printed() -> None:
    assert "Ra4o" not in repr(parse_response(RESPONSE.encode()))
    assert "AQAA" not in repr(parse_response(RESPONSE.encode()))


_WORD = st.text("abc<>&\"'é ]", min_size=1, max_size=20).map(lambda text: f"x{text}x")
_REQUESTS = st.builds(
    MrasRequest,
    _WORD,
    _WORD,
    _WORD,
    st.lists(
        st.builds(
            CredentialsRequest,
            _WORD,
            _WORD,
            st.none() | st.sampled_from(Location),
            st.none() | st.integers(1, MAX_MINUTES),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    st.sampled_from(["1.0", "2.0"]),
    st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(_REQUESTS)
def test_requests_survive_the_wire(request: MrasRequest) -> None:
    assert parse_request(serialize_request(request)) == request


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, len(RESPONSE)), st.integers(0, 40), st.booleans())
def test_no_bytes_raise_anything_but_parse_error(junk: bytes, at: int, cut: int, whole: bool) -> None:
    template = RESPONSE.encode()
    body = junk if whole else template[:at] + junk[:8] + template[at + cut :]
    for parse in (parse_request, parse_response):
        try:
            parse(body)
        except ParseError:
            continue
