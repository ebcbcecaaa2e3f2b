"""Addresses, Via, CSeq, challenges."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.sip import (
    Challenge,
    Credentials,
    CSeq,
    NameAddr,
    Params,
    RAck,
    Via,
    parse_addresses,
    parse_challenges,
    split_outside,
)


def test_a_contact_of_outbound() -> None:
    contact = NameAddr.parse(
        '<sip:192.0.2.10:50312;transport=tls>;q=0.7;expires=300;+sip.instance="<urn:uuid:00>";reg-id=1'
    )
    assert (contact.q, contact.expires, contact.instance, contact.reg_id) == (0.7, 300, "urn:uuid:00", 1)
    assert contact.sip.port == 50312


def test_without_brackets_parameters_are_the_headers() -> None:
    address = NameAddr.parse("sip:caller@host.test;tag=323")
    assert (address.uri, address.tag) == ("sip:caller@host.test", "323")
    assert str(address) == "<sip:caller@host.test>;tag=323"


def test_other_schemes_are_addresses_too() -> None:
    assert NameAddr.parse('"Phone" <tel:+1234;phone-context=x>').uri == "tel:+1234;phone-context=x"
    with pytest.raises(ParseError):
        _ = NameAddr.parse("<tel:+1234>").sip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "*",
        "alice",
        '"Open <sip:a@b>',
        "Bell, Alexander <sip:a@b>",
        "sip:user@host?Route=%3Csip:x%3E",
        "<sip:a b@c>",
        "<sip:a@b",
        "<sip:a@b>;tag=1;;x",
        "<sip:a@b> trailing",
        "<sip:a@b>;=x",
    ],
)
def test_addresses_refused(text: str) -> None:
    with pytest.raises(ParseError):
        NameAddr.parse(text)


@pytest.mark.parametrize("value", ["2", "1.001", "-1", "x", "0.1234"])
def test_q_is_between_0_and_1(value: str) -> None:
    with pytest.raises(ParseError):
        _ = NameAddr.parse(f"<sip:a@b>;q={value}").q


@pytest.mark.parametrize(("name", "value"), [("expires", "soon"), ("expires", "4294967296"), ("reg-id", "0")])
def test_contact_numbers_out_of_range(name: str, value: str) -> None:
    address = NameAddr.parse(f"<sip:a@b>;{name}={value}")
    with pytest.raises(ParseError):
        _ = (address.expires, address.reg_id)


def test_via_with_spaces_ipv6_and_rport() -> None:
    via = Via.parse(
        "SIP / 2.0 /udp  [2001:db8::9:1] : 5060 ;rport=1024; received=[2001:db8::9:255];branch=z9hG4bKx"
    )
    assert (via.transport, via.host, via.port) == ("UDP", "2001:db8::9:1", 5060)
    assert (via.rport, via.received, via.branch) == (1024, "2001:db8::9:255", "z9hG4bKx")
    assert via.sent_by == "[2001:db8::9:1]:5060"
    assert str(via.with_param("rport", "7")).endswith(";rport=7;received=[2001:db8::9:255];branch=z9hG4bKx")
    assert Via.parse("SIP/2.0/TLS host;rport").rport is None


@pytest.mark.parametrize(
    "text", ["", "SIP/2.0/UDP", "SIP/3.0/UDP host", "SIP/2.0/UDP host:70000", "SIP/2.0/UDP host branch=x"]
)
def test_vias_refused(text: str) -> None:
    with pytest.raises(ParseError):
        Via.parse(text)


@pytest.mark.parametrize(
    "text", ["", "1", "x INVITE", "2147483648 INVITE", "1 IN VITE", "-1 INVITE", "1 (x)"]
)
def test_cseqs_refused(text: str) -> None:
    with pytest.raises(ParseError):
        CSeq.parse(text)


def test_numbers_and_methods() -> None:
    assert str(CSeq.parse(" 0009  INVITE ")) == "9 INVITE"
    assert str(RAck.parse("1 2 INVITE")) == "1 2 INVITE"
    with pytest.raises(ParseError):
        RAck.parse("1 INVITE")


def test_a_list_of_addresses() -> None:
    assert [a.uri for a in parse_addresses("<sip:a;lr>, <sip:b,c;lr>")] == ["sip:a;lr", "sip:b,c;lr"]
    assert parse_addresses(" ") == ()


def test_challenges() -> None:
    text = 'Digest realm="a \\"b\\"", nonce="n,1", qop="auth,auth-int", algorithm=SHA-256, stale=TRUE'
    challenge = Challenge.parse(text)
    assert (challenge.realm, challenge.nonce, challenge.qop) == ('a "b"', "n,1", ("auth", "auth-int"))
    assert (challenge.algorithm, challenge.stale, str(challenge)) == ("SHA-256", True, text)
    assert Challenge.parse('digest realm="x"').algorithm == "MD5"
    assert [c.scheme for c in parse_challenges(["NTLM TlRMTVNTUA==", "Digest !", text])] == ["NTLM", "Digest"]


def test_credentials_are_quoted_as_the_rfc_says() -> None:
    fields = [("username", "alice"), ("nc", "00000001"), ("qop", "auth"), ("algorithm", "MD5")]
    assert str(Credentials.digest(fields)) == 'Digest username="alice", nc=00000001, qop=auth, algorithm=MD5'
    assert str(Challenge.digest([("realm", "x"), ("qop", "auth")])) == 'Digest realm="x", qop="auth"'


@given(st.text(alphabet='ab<>";,=:\\ @s ip%[]é\t', max_size=40))
def test_no_text_raises_anything_but_a_parse_error(text: str) -> None:
    for parse in (NameAddr.parse, Via.parse, CSeq.parse, Challenge.parse, split_outside, parse_addresses):
        for candidate in (text, "<sip:a@b>;" + text, "SIP/2.0/UDP " + text, "Digest a=" + text):
            try:
                parse(candidate)
            except ParseError:
                continue


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=20))
def test_any_display_name_survives_a_round_trip(display: str) -> None:
    address = NameAddr("sip:a@b", display, Params([("tag", "1")]))
    assert NameAddr.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "a" + " " * 60_000 + "b",
        "\N{NO-BREAK SPACE}" * 30_000 + '"',
        '"a"' + " " * 60_000 + "b",
        "<sip:a@b" + " " * 60_000 + "c",
        "sip:a@b" + " " * 60_000 + "c",
    ],
    ids=["display", "leading", "quoted", "in brackets", "bare"],
)
def test_runs_of_blanks_cost_nothing(text: str) -> None:
    """A stranger fills a header with blanks: each is looked at once, not once for every other."""
    before = time.process_time()
    with pytest.raises(ParseError):
        NameAddr.parse(text)
    assert time.process_time() - before < 0.5
