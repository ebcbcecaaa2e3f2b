"""Heads of HTTP requests: what browsers write, what nobody may, and rubbish."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.http import MAX_FIELDS, HttpRequest, parse_request

HOST = "Host: edge.example.test"


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def asked(*fields: str, line: str = "GET /page?x=1 HTTP/1.1") -> HttpRequest:
    return parse_request(head(line, HOST, *fields))


def test_a_browser_asks_for_a_page() -> None:
    request = asked("Accept-Encoding: gzip, br", "X-Empty:", 'If-None-Match:\t"a"  ')
    assert (request.method, request.path, request.minor_version) == ("GET", "/page", 1)
    assert request.field("accept-encoding") == "gzip, br"
    assert request.field("if-none-match") == '"a"'
    assert request.field("x-empty") == request.field("x-absent") == ""
    assert not request.has_body
    assert request.keeps_open


def test_fields_of_one_name_are_one_list() -> None:
    request = asked("Connection: keep-alive", "connection: Upgrade;x=1", "Upgrade: WebSocket")
    assert request.names("connection") == ("keep-alive", "upgrade")
    assert request.wants_websocket


def test_the_connection_ends_when_it_is_said_so_or_was_never_meant_to_last() -> None:
    assert not asked("Connection: close").keeps_open
    assert not parse_request(head("GET / HTTP/1.0")).keeps_open


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_body_is_announced(field: str) -> None:
    assert asked(field).has_body
    assert not asked("Content-Length: 0").has_body


@pytest.mark.parametrize(
    "lines",
    [
        ("GET / HTTP/1.1",),  # no Host
        ("GET / HTTP/1.1", HOST, HOST),
        ("GET  / HTTP/1.1", HOST),
        ("GET / HTTP/2.0", HOST),
        ("GET http://elsewhere.test/ HTTP/1.1", HOST),
        ("GET /\xe4 HTTP/1.1", HOST),
        ("GET /a b HTTP/1.1", HOST),
        ("GET / HTTP/1.1", HOST, " folded"),
        ("GET / HTTP/1.1", HOST, "Space : before"),
        ("GET / HTTP/1.1", HOST, "Bare: \r carriage return"),
        ("GET / HTTP/1.1", HOST, "Nul: \0"),
        ("GET / HTTP/1.1", HOST, "no colon"),
        ("GET / HTTP/1.1", HOST, *["X: y"] * MAX_FIELDS),
    ],
)
def test_what_is_written_otherwise_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(ParseError):
        parse_request(head(*lines))


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from([b"GET / HTTP/1.1", b"\r\n", b"\n", HOST.encode(), b":", b" ", b"\0", b"a"])
        ).map(b"".join),
    )
)
@example(b"GET / HTTP/1.0\r\n\r\n")
def test_no_bytes_break_it(data: bytes) -> None:
    try:
        request = parse_request(data)
    except ParseError:
        return
    assert request.path.startswith(("/", "*"))
    assert not any("\r" in value or "\n" in value for _, value in request.fields)
