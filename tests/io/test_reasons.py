from __future__ import annotations

import errno
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.io.reasons import bind_words, failure_words, name_mismatch


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "closed by peer"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "connection refused"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "reset by peer"),
        (BrokenPipeError(errno.EPIPE, "x"), "closed by peer"),
        (ConnectionAbortedError("closed"), "closed by peer"),
        (TimeoutError(), "timed out"),
        (OSError(errno.ETIMEDOUT, "x"), "timed out"),
        (OSError(errno.EHOSTUNREACH, "x"), "host unreachable"),
        (OSError(errno.ENETUNREACH, "x"), "network unreachable"),
        (OSError(errno.EPROTO, "Protocol error"), "protocol error"),
        (RuntimeError("odd"), "odd"),
        (RuntimeError(), "RuntimeError"),
        (ssl.SSLError(1, "[SSL: SOMETHING_NEW] text"), "TLS failed: "),
    ],
)
def test_why_a_connection_ended(error: BaseException | None, words: str) -> None:
    assert failure_words(error).startswith(words)
    if not words.endswith(" "):
        assert failure_words(error) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EADDRINUSE, "port 443 on 10.0.0.2 is in use"),
        (errno.EADDRNOTAVAIL, "address 10.0.0.2 is not on this machine"),
        (errno.EACCES, "no permission for port 443: run as root or grant CAP_NET_BIND_SERVICE"),
        (errno.EMFILE, "too many open files in this process"),
    ],
)
def test_why_a_port_could_not_be_had(number: int, words: str) -> None:
    assert bind_words(OSError(number, "x"), Address("10.0.0.2", 443)) == words


def certificate(*names: tuple[str, str]) -> dict[str, Any]:
    return {"subjectAltName": names}


@pytest.mark.parametrize(
    ("names", "wanted", "words"),
    [
        ([("DNS", "a.test")], "a.test", None),
        ([("DNS", "A.Test")], "a.TEST.", None),
        ([("DNS", "a.test"), ("DNS", "b.test")], "b.test", None),
        ([("IP Address", "10.0.0.2")], "10.0.0.2", None),
        ([("IP Address", "2001:DB8:0:0:0:0:0:1\n")], "2001:db8::1", None),
        ([("DNS", "a.test")], "b.test", "certificate is for a.test, not b.test"),
        ([("DNS", "a.test")], "sub.a.test", "certificate is for a.test, not sub.a.test"),
        ([("DNS", "*.test")], "a.test", "certificate is for *.test, not a.test"),  # RFC 5922 §7.2
        ([("DNS", "10.0.0.2")], "10.0.0.2", "certificate is for 10.0.0.2, not 10.0.0.2"),
        ([("URI", "sip:a.test")], "a.test", "certificate is for nobody, not a.test"),
        ([], "a.test", "certificate is for nobody, not a.test"),
    ],
)
def test_for_whom_a_certificate_is(names: list[tuple[str, str]], wanted: str, words: str | None) -> None:
    assert name_mismatch(certificate(*names), wanted) == words


def test_no_certificate_is_for_nobody() -> None:
    assert name_mismatch(None, "a.test") == "certificate is for nobody, not a.test"


@given(
    names=st.lists(st.tuples(st.sampled_from(["DNS", "IP Address", "URI"]), st.text())),
    wanted=st.text(min_size=1),
)
def test_strange_names_never_raise(names: list[tuple[str, str]], wanted: str) -> None:
    assert (
        name_mismatch(certificate(*names), wanted) is None
        or ("DNS", wanted) not in names
        or not wanted.isascii()
    )
