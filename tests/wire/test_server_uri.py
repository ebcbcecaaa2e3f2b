from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.server_uri import MAX_URI, ServerUri, parse


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        # RFC 7065, appendix A, and RFC 7064, appendix A
        ("turn:example.org", ServerUri("turn", "example.org")),
        ("turns:example.org", ServerUri("turns", "example.org")),
        ("turn:example.org:8000", ServerUri("turn", "example.org", 8000)),
        ("turn:example.org?transport=udp", ServerUri("turn", "example.org", None, "udp")),
        ("turn:example.org?transport=tcp", ServerUri("turn", "example.org", None, "tcp")),
        ("turns:example.org?transport=tcp", ServerUri("turns", "example.org", None, "tcp")),
        ("turn:example.org?transport=sctp-new", ServerUri("turn", "example.org", None, "sctp-new")),
        ("stun:example.org", ServerUri("stun", "example.org")),
        ("stuns:example.org:8000", ServerUri("stuns", "example.org", 8000)),
        # literals, case, final dots
        ("stun:192.0.2.1:3479", ServerUri("stun", "192.0.2.1", 3479)),
        ("turn:[2001:DB8::0:1]:443?transport=TCP", ServerUri("turn", "2001:db8::1", 443, "tcp")),
        ("TURN:Relay.Example.ORG.", ServerUri("turn", "relay.example.org")),
    ],
)
def test_what_the_rfcs_write(text: str, uri: ServerUri) -> None:
    assert parse(text) == uri
    assert parse(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("example.org", "is no server"),
        ("http:example.org", "is no server"),
        ("turn:", "names its host"),
        ("turn://example.org", "is no host name"),
        ("turn:user@example.org", "is no host name"),
        ("turn:example.org/path", "is no host name"),
        ("turn:example.org#fragment", "is no host name"),
        ("turn:a..b", "is no host name"),
        ("turn:-a.test", "is no host name"),
        ("turn:bücher.test", "is no host name"),
        ("turn:192.0.2.256", "is no IPv4 address"),
        ("turn:1.2.3", "is no IPv4 address"),
        ("turn:2001:db8::1", "is no port"),
        ("turn:[2001:db8::1", "is no server"),
        ("turn:[192.0.2.1]", "is no IPv6 address"),
        ("turn:[fe80::1%eth0]", "zone"),
        ("turn:example.org:", "is no port"),
        ("turn:example.org:0", "is no port"),
        ("turn:example.org:65536", "is no port"),
        ("turn:example.org:٣", "is no port"),
        ("turn:example.org?", "is not understood"),
        ("turn:example.org?transport=", "is not understood"),
        ("turn:example.org?transport=udp&x=1", "is not understood"),
        ("stun:example.org?transport=udp", "ends after its port"),
        ("turn:" + "a" * MAX_URI, "at most"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(ParseError, match=words.replace("?", r"\?")):
        parse(text)


@given(st.text() | st.text(st.sampled_from("[]:?=.%@/transpoudc0139 é\n")).map("turn:".__add__))
def test_any_text_is_a_uri_that_reads_back_the_same_or_a_parse_error(text: str) -> None:
    with contextlib.suppress(ParseError):
        uri = parse(text)
        assert parse(str(uri)) == uri
