"""Pages over HTTP: whole, packed, unchanged, missing; and what may not be asked."""

from __future__ import annotations

import gzip
from http.client import HTTPMessage, parse_headers
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.web.pages import Page, Pages
from iceway.wire.http import parse_request

STORY = b"Once upon a time. " * 50
PAGES = Pages(
    {
        "/": Page(STORY, "text/html; charset=utf-8"),
        "/dot": Page(b".", "image/svg+xml"),
        "/gone": Page(b"-", "x/y", 503),
    }
)


class Heard:
    """A response, taken apart by Python's own reader."""

    def __init__(self, data: bytes, last: bool) -> None:
        reader = BytesIO(data)
        version, status, *_ = reader.readline().decode().split()
        assert version == "HTTP/1.1"
        self.status, self.last = int(status), last
        self.fields: HTTPMessage = parse_headers(reader)
        self.body = reader.read()
        assert (self.fields["Connection"] == "close") == last
        assert "script-src 'self';" in self.fields["Content-Security-Policy"]
        assert self.fields["X-Content-Type-Options"] == "nosniff"


def asks(path: str, *fields: str, method: str = "GET") -> Heard:
    head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: h", *fields, "", ""])
    answer = PAGES.answer(parse_request(head.encode()))
    return Heard(answer.data, answer.last)


def test_a_page_is_served_whole_and_the_connection_stays() -> None:
    page = asks("/?from=mail")
    assert (page.status, page.body, page.last) == (200, STORY, False)
    assert page.fields["Content-Length"] == str(len(STORY))
    assert page.fields["Content-Type"] == "text/html; charset=utf-8"


def test_whoever_takes_gzip_gets_less() -> None:
    page = asks("/", "Accept-Encoding: br, gzip;q=0.8")
    assert page.fields["Content-Encoding"] == "gzip"
    assert gzip.decompress(page.body) == STORY
    assert asks("/", "Accept-Encoding: gzip;q=0, br").body == STORY
    assert asks("/dot", "Accept-Encoding: gzip").body == b"."


def test_a_page_that_is_known_is_not_sent_again() -> None:
    etag = asks("/").fields["ETag"]
    again = asks("/", f'If-None-Match: "other", W/{etag}')
    assert (again.status, again.body, again.fields["ETag"]) == (304, b"", etag)
    assert asks("/", f"If-None-Match: {etag}", "Accept-Encoding: gzip").status == 200, "another form"
    assert asks("/", "If-None-Match: *").status == 304


def test_head_tells_all_but_the_page() -> None:
    page = asks("/", method="HEAD")
    assert (page.status, page.body, page.fields["Content-Length"]) == (200, b"", str(len(STORY)))


def test_a_page_that_says_what_is_missing_is_always_sent() -> None:
    assert asks("/gone").status == asks("/gone", "If-None-Match: *").status == 503


@pytest.mark.parametrize("path", ["/../etc/passwd", "/%2e%2e/", "//", "/x", "*"])
def test_there_is_nothing_beyond_the_pages(path: str) -> None:
    assert asks(path).status == 404


def test_nothing_can_be_done_but_reading() -> None:
    refused = asks("/", "Content-Length: 3", method="POST")
    assert (refused.status, refused.fields["Allow"], refused.last) == (405, "GET, HEAD", True)
    assert asks("/", "Content-Length: 3").status == 400


def test_a_page_may_connect_to_where_it_came_from_and_nowhere_else() -> None:
    def may_connect(host: str) -> str:
        answer = PAGES.answer(parse_request(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()))
        policy = Heard(answer.data, answer.last).fields["Content-Security-Policy"]
        return policy.partition("connect-src ")[2].partition(";")[0]

    assert may_connect("edge.example.test:8443") == "'self' wss://edge.example.test:8443"
    assert may_connect("[2001:db8::1]") == "'self' wss://[2001:db8::1]"
    for host in ("evil.test *", "*", "a; script-src *", "a,b", ""):
        assert may_connect(host) == "'self'"


def test_the_connection_ends_where_that_is_wanted() -> None:
    assert asks("/", "Connection: close").last


@given(st.text(st.characters(codec="latin-1", exclude_categories=("Cc",)), max_size=30))
def test_no_wish_breaks_it(wish: str) -> None:
    for field in ("Accept-Encoding", "If-None-Match", "Connection"):
        head = f"GET / HTTP/1.1\r\nHost: h\r\n{field}: {wish}\r\n\r\n".encode("latin-1")
        answer = PAGES.answer(parse_request(head))
        assert Heard(answer.data, answer.last).status in (200, 304)
