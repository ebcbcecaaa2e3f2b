"""SIP URIs: parsing, writing, comparing (RFC 3261 §19.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.sip import Params, SipUri


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@atlanta.test",
        "sip:alice:secret@atlanta.test;transport=tcp",
        "sips:alice@atlanta.test?subject=project%20x&priority=urgent",
        "sip:+1-212-555-1212:1234@gateway.test;user=phone",
        "sips:1212@gateway.test",
        "sip:alice@[2001:db8::10]:5070",
        "sip:atlanta.test;method=REGISTER?to=alice%40atlanta.test",
        "sip:alice;day=tuesday@atlanta.test",
        "sip:user;par=u%40example.net@example.test",
        "sip:fe.lab.test@lab.test;gruu;opaque=srvr:MRAS:kM3x",
        "sip:%00null%00@host.test",
        "sip:192.0.2.1:50312;transport=tls;ms-opaque=d3470f2e1d;lr",
    ],
)
def test_a_uri_is_written_back_as_it_was(text: str) -> None:
    assert str(SipUri.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "sip:@host",
        "tel:+1234",
        "sip:a b@host",
        "sip:alice@host:port",
        "sip:alice@host:99999",
        "sip:alice@[fe80::zz]",
        "sip:alice@host;=x",
        "sip:al%zzice@host",
        "sip:alice@one@two",
        "<sip:alice@host>",
        "sip:alice@host;a\r\nb",
    ],
)
def test_what_is_no_sip_uri_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        SipUri.parse(text)


def test_parts() -> None:
    uri = SipUri.parse("SIPS:%61lice:pw@[2001:DB8:0::1]:5061;Transport=TLS;gruu;x=%41?a=b")
    assert (uri.scheme, uri.username, uri.password, uri.host, uri.port) == (
        "sips",
        "alice",
        "pw",
        "2001:db8::1",
        5061,
    )
    assert uri.transport == "tls"
    assert uri.param("GRUU") == ""
    assert uri.param("x") == "A"
    assert uri.param("none") is None
    assert uri.headers == "a=b"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sip:%61lice@atlanta.test;transport=TCP", "sip:alice@AtLanTa.test;Transport=tcp"),
        ("sip:carol@chicago.test", "sip:carol@chicago.test;newparam=5"),
        ("sip:carol@chicago.test;security=on", "sip:carol@chicago.test;newparam=5"),
        ("sip:a@b?x=1&y=2", "sip:a@b?y=2&x=1"),
        ("sip:a%2fb@c", "sip:a%2Fb@c"),
    ],
)
def test_equivalent(one: str, other: str) -> None:
    assert SipUri.parse(one).matches(SipUri.parse(other))
    assert SipUri.parse(other).matches(SipUri.parse(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SIP:ALICE@atlanta.test", "sip:alice@atlanta.test"),
        ("sip:bob@biloxi.test", "sip:bob@biloxi.test:5060"),
        ("sip:bob@biloxi.test", "sip:bob@biloxi.test;transport=udp"),
        ("sip:bob@biloxi.test", "sips:bob@biloxi.test"),
        ("sip:carol@chicago.test;security=on", "sip:carol@chicago.test;security=off"),
        ("sip:carol@chicago.test", "sip:carol@chicago.test?Subject=next"),
        ("sip:a%2Fb@c", "sip:a/b@c"),
        ("sip:biloxi.test", "sip:bob@biloxi.test"),
        ("sip:a@b;user=phone", "sip:a@b"),
    ],
)
def test_not_equivalent(one: str, other: str) -> None:
    assert not SipUri.parse(one).matches(SipUri.parse(other))
    assert not SipUri.parse(other).matches(SipUri.parse(one))


def test_address_of_record_drops_what_does_not_name_the_user() -> None:
    assert SipUri.parse("sip:%61lice:pw@Atlanta.TEST:5060;transport=tls?x=y").aor == "sip:alice@atlanta.test"


def test_built_uris_escape_what_they_must() -> None:
    uri = SipUri.of("a b@c", "host.test", 5060, transport="tcp", lr=None, opaque="x;y")
    assert str(uri) == "sip:a%20b%40c@host.test:5060;transport=tcp;lr;opaque=x%3By"
    again = SipUri.parse(str(uri))
    assert again.username == "a b@c"
    assert again.param("opaque") == "x;y"
    assert str(again.with_param("transport", "tls").without_param("opaque")).endswith(";transport=tls;lr")


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_any_user_and_parameter_survive_a_round_trip(user: str, value: str) -> None:
    uri = SipUri.parse(str(SipUri.of(user, "host.test", x=value)))
    assert (uri.username, uri.param("x")) == (user, value)


@given(st.text(alphabet='sip:@;=?%[]<>"a1. &\r\n\x00é', max_size=40))
def test_no_text_raises_anything_but_a_parse_error(text: str) -> None:
    for candidate in (text, "sip:" + text):
        try:
            uri = SipUri.parse(candidate)
        except ParseError:
            continue
        assert SipUri.parse(str(uri)) == uri
        assert uri.matches(uri)


def test_params_keep_order_and_case_but_compare_without() -> None:
    params = Params([("Tag", "1"), ("lr", None), ("x", '"a \\"b\\""')])
    assert (params.get("tag"), params.get("LR"), params.get("x"), params.get("y")) == ("1", "", 'a "b"', None)
    assert str(params.with_param("TAG", "2").without("lr")) == ';Tag=2;x="a \\"b\\""'
