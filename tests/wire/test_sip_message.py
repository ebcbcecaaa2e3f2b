"""SIP messages on the wire: parsing, views, changed copies."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iceway.core.errors import ParseError, UsageError
from iceway.wire.sip import (
    CSeq,
    Headers,
    MalformedMessage,
    NameAddr,
    RAck,
    Request,
    Response,
    make_response,
    parse_message,
    validate,
)

INVITE = (
    b"INVITE sip:bob@biloxi.test SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP pc33.atlanta.test;branch=z9hG4bK776asdhds\r\n"
    b"Max-Forwards: 70\r\n"
    b"To: Bob <sip:bob@biloxi.test>\r\n"
    b"From: Alice <sip:alice@atlanta.test>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710@pc33.atlanta.test\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:alice@pc33.atlanta.test>\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: 4\r\n"
    b"\r\n"
    b"v=0\xff"
)


def invite() -> Request:
    message = parse_message(INVITE)
    assert isinstance(message, Request)
    return message


def test_a_request_parses_into_start_line_headers_and_body() -> None:
    request = invite()
    validate(request)
    assert (request.method, request.uri) == ("INVITE", "sip:bob@biloxi.test")
    assert request.body == b"v=0\xff"
    assert request.top_via.branch == "z9hG4bK776asdhds"
    assert request.from_ == NameAddr.parse("Alice <sip:alice@atlanta.test>;tag=1928301774")
    assert request.from_.tag == "1928301774"
    assert request.to.tag is None
    assert request.cseq == CSeq(314159, "INVITE")
    assert request.max_forwards == 70
    assert request.content_type == "application/sdp"
    assert [contact.uri for contact in request.contacts] == ["sip:alice@pc33.atlanta.test"]


def test_serialize_writes_back_what_came() -> None:
    assert invite().serialize() == INVITE


def test_a_response_parses_with_and_without_reason() -> None:
    for line, reason in ((b"200 OK", "OK"), (b"200 ", ""), (b"200", ""), (b"200 \xd0\xb4\xd0\xb0", "да")):
        response = parse_message(b"SIP/2.0 " + line + b"\r\nl: 0\r\n\r\n")
        assert isinstance(response, Response)
        assert (response.status, response.reason) == (200, reason)


def test_compact_forms_fold_and_case_are_one_header() -> None:
    message = parse_message(
        b"OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/TCP one;branch=z9hG4bK1,\r\n SIP/2.0/UDP two ; branch=z9hG4bK2\r\n"
        b"VIA : SIP / 2.0 / TLS\r\n\t[2001:db8::1]:5061;branch=z9hG4bK3\r\nk: 100rel\r\nSupported: path, gruu\r\n\r\n"
    )
    assert [(via.transport, via.sent_by) for via in message.vias] == [
        ("TCP", "one"),
        ("UDP", "two"),
        ("TLS", "[2001:db8::1]:5061"),
    ]
    assert message.headers.values("supported") == ("100rel", "path", "gruu")
    assert message.supports("GRUU")


def test_vias_are_pushed_and_popped_from_the_top() -> None:
    request = invite().with_first("Via", "SIP/2.0/TLS edge.test;branch=z9hG4bKe")
    assert [via.host for via in request.vias] == ["edge.test", "pc33.atlanta.test"]
    assert request.without_first_value("Via").serialize() == INVITE
    two = invite().with_header("Via", "SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b;branch=2")
    assert two.without_first_value("Via").headers.all("Via") == ("SIP/2.0/UDP b;branch=2",)


def test_commas_in_quotes_brackets_and_challenges_do_not_split() -> None:
    headers = Headers.of(
        ("Contact", '"Bell, \\"A,\\" Alexander" <sip:bell@b?Subject=a,b>;q=0.5, sip:watson@b'),
        ("WWW-Authenticate", 'Digest realm="a", nonce="b"'),
    )
    assert len(headers.values("Contact")) == 2
    assert NameAddr.parse(headers.values("Contact")[0]).display == 'Bell, "A," Alexander'
    assert headers.values("WWW-Authenticate") == ('Digest realm="a", nonce="b"',)


def test_header_values_written_by_us_cannot_break_the_message() -> None:
    with pytest.raises(UsageError):
        invite().with_header("Subject", "hello\r\nX-Injected: yes")
    with pytest.raises(UsageError):
        Headers.of(("Bad Name", "x"))


def test_content_length_is_always_right() -> None:
    assert b"Content-Length: 2\r\n" in invite().with_body(b"hi").serialize()
    bare = invite().with_body(b"")
    assert "Content-Type" not in bare.headers
    assert b"Content-Length: 0\r\n" in bare.serialize()


def test_without_content_length_a_datagram_is_body_to_its_end() -> None:
    assert parse_message(b"SIP/2.0 200 OK\r\nX: y\r\n\r\nall of it").body == b"all of it"


def test_octets_beyond_content_length_are_cut() -> None:
    assert parse_message(b"SIP/2.0 200 OK\r\nl: 3\r\n\r\nall of it").body == b"all"


def test_a_response_mirrors_its_request() -> None:
    ringing = make_response(invite(), 180, to_tag="bob1")
    assert (ringing.status, ringing.reason) == (180, "Ringing")
    assert ringing.to.tag == "bob1"
    assert ringing.headers.get("Call-ID") == invite().call_id
    assert ringing.cseq == invite().cseq
    assert "Contact" not in ringing.headers
    assert make_response(invite(), 100, to_tag="bob1").to.tag is None


def test_rack_and_rseq() -> None:
    message = parse_message(b"PRACK sip:a@b SIP/2.0\r\nRAck: 776656 1 INVITE\r\nRSeq: 988789\r\n\r\n")
    assert message.rack == RAck(776656, 1, "INVITE")
    assert message.rseq == 988789


@given(st.binary(max_size=300))
@example(b"\r\n\r\n")
@example(b"SIP/2.0 200 OK\r\n\r\n")
def test_no_bytes_make_the_parser_raise_anything_but_its_error(data: bytes) -> None:
    _parse_everything(data)


@given(st.integers(0, len(INVITE) - 1), st.binary(max_size=12), st.integers(0, 12))
def test_no_damage_to_a_message_makes_a_view_raise_anything_but_its_error(
    at: int, patch: bytes, removed: int
) -> None:
    _parse_everything(INVITE[:at] + patch + INVITE[at + removed :])


def _parse_everything(data: bytes) -> None:
    try:
        message = parse_message(data)
        validate(message)
        assert parse_message(message.serialize()).body == message.body
    except MalformedMessage:
        return
    for view in ("vias", "contacts", "routes", "record_routes", "rack", "rseq", "expires"):
        try:
            getattr(message, view)
        except ParseError:
            continue


def test_runs_of_blanks_cost_nothing_where_lines_are_folded() -> None:
    folded = INVITE.replace(b"\r\nCall-ID", b"\r\nSubject: a\r\n b" + b" " * 60_000 + b"c\r\nCall-ID", 1)
    before = time.process_time()
    subject = parse_message(folded).headers.get("Subject")
    assert subject == "a b" + " " * 60_000 + "c"
    assert time.process_time() - before < 0.5


def test_a_list_that_cannot_be_read_supports_nothing() -> None:
    text = b'OPTIONS sip:a@b SIP/2.0\r\nSupported: 100rel, path," gruu\r\nContent-Length: 0\r\n\r\n'
    assert not parse_message(text).supports("100rel")


def test_a_line_that_ends_in_lf_alone_is_a_line() -> None:
    """libre writes its PRACK so. What goes on from here has CRLF everywhere."""
    written = invite().serialize().replace(b"Max-Forwards", b"RAck: 7 1 INVITE\nMax-Forwards", 1)
    message = parse_message(written)
    assert message.rack == RAck(7, 1, "INVITE")
    assert message.serialize() == written.replace(b"INVITE\nMax", b"INVITE\r\nMax")
