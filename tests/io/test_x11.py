"""The X protocol: a server that speaks in tests, and whatever bytes one may send. Xvfb: tests/interop/test_screen.py."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iceway.core.errors import EnvironmentFailure, ParseError
from iceway.io import x11
from iceway.io.x11 import WindowServer, authorities

ROOT = 0x123
SET_UP = (
    struct.pack("<BxHHH", 1, 11, 0, (32 + 4 + 8 + 40) // 4)
    + struct.pack("<IIIIHHBB10x", 0, 0, 0, 0, 3, 0, 1, 1)
    + b"abc\0"
    + bytes(8)
    + struct.pack("<I36x", ROOT)
)


@contextmanager
def says(*said: bytes) -> Iterator[WindowServer]:
    """A connection to a server that has said all of this already and says no more."""
    ours, theirs = socket.socketpair()
    with pytest.MonkeyPatch.context() as patched, theirs:
        theirs.sendall(b"".join(said))
        theirs.shutdown(socket.SHUT_WR)
        patched.setattr(x11, "_connect", lambda host, number: ours)
        patched.setattr(x11, "_authorization", lambda host, number: (b"", b""))
        with WindowServer(":0") as server:
            yield server


def test_a_refusal_says_why_and_what_to_do() -> None:
    reason = b"No protocol specified\n\0\0"
    refusal = struct.pack("<BBHHH", 0, len(reason) - 2, 11, 0, len(reason) // 4) + reason
    with (
        pytest.raises(EnvironmentFailure, match=r"lets nobody in from here: No protocol.*XAUTHORITY"),
        says(refusal),
    ):
        pass


def test_windows_that_vanish_are_no_error() -> None:
    def atom(number: int) -> bytes:
        return struct.pack("<BxHII20x", 1, 0, 0, number)

    gone = struct.pack("<BB30x", 0, 3)
    event = struct.pack("<B31x", 34)
    listed = struct.pack("<BBHIIII12xI", 1, 32, 0, 1, 33, 0, 1, 0x77)
    with says(SET_UP, atom(1), event + atom(2), listed, gone, gone) as server:
        assert server.windows() == []


@given(st.lists(st.binary(max_size=64), max_size=6), st.booleans())
@example([struct.pack("<BxHIIH14x", 1, 0, 0, 0, 999)] * 4, True)
@example([struct.pack("<BxHI24x", 1, 0, 1 << 30)], True)
def test_whatever_a_server_says_is_an_answer_or_an_environment_failure(
    said: list[bytes], introduced: bool
) -> None:
    with suppress(EnvironmentFailure), says(SET_UP if introduced else b"", *said) as server:
        server.windows()
        server.shows_only_its_own()
        server.exists(1)


def entry(family: int, *parts: bytes) -> bytes:
    return struct.pack(">H", family) + b"".join(struct.pack(">H", len(part)) + part for part in parts)


def test_the_secret_is_that_of_the_display(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("home") / "authority"
    here, cookie = socket.gethostname().encode(), b"MIT-MAGIC-COOKIE-1"
    file.write_bytes(
        entry(256, b"elsewhere", b"7", cookie, b"not this")
        + entry(256, here, b"8", cookie, b"nor this")
        + entry(256, here, b"7", b"XDM-AUTHORIZATION-1", b"nor that")
        + entry(256, here, b"7", cookie, b"this one")
    )
    monkeypatch.setenv("XAUTHORITY", str(file))
    assert x11._authorization("", 7) == (cookie, b"this one")
    assert x11._authorization("", 9) == (b"", b"")
    file.write_bytes(b"\1\0\0")
    assert x11._authorization("", 7) == (b"", b"")


@given(st.binary(max_size=80))
def test_any_authority_file_is_read_or_refused(data: bytes) -> None:
    with suppress(ParseError):
        authorities(data)
