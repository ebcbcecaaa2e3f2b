"""The first words of a connection: which agent it wants, if any."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.ice.mux_doors import MAX_FIRST, Doors, Visitor, first_word
from iceway.ice.tcp import frame
from iceway.wire import stun
from iceway.wire.stun import MessageClass, Method, StunMessage

HERE = Address("203.0.113.1", 443)


def check(
    username: bytes = b"ours:theirs", *, signed: bool = True, kind: MessageClass = MessageClass.REQUEST
) -> bytes:
    message = StunMessage(Method.BINDING, kind, b"t" * 12, (stun.USERNAME(username),))
    return stun.serialize(message, stun.short_term_key("secret") if signed else None, fingerprint=True)


def test_a_check_names_its_agent_once_it_is_whole() -> None:
    said = frame(check())
    assert [first_word(said[:end]) for end in (0, 1, 2, 30, len(said) - 1)] == [None] * 5
    assert first_word(said) == first_word(said + b"more") == "ours"


@pytest.mark.parametrize(
    "said",
    [
        frame(b""),
        (MAX_FIRST + 1).to_bytes(2, "big"),
        b"\x16\x03\x01\x02\x00",  # the beginning of TLS
        frame(b"\xff" * 40),
        frame(check(signed=False)),
        frame(check(b"no colon")),
        frame(check(kind=MessageClass.INDICATION)),
        frame(check()[:-1] + b"\0"),
    ],
)
def test_anything_else_is_refused_as_soon_as_it_shows(said: bytes) -> None:
    with pytest.raises(ParseError):
        first_word(said)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: frame(check()[:40] + tail)))
def test_no_bytes_raise_anything_else(said: bytes) -> None:
    with contextlib.suppress(ParseError):
        first_word(said)


def test_whoever_leaves_makes_room() -> None:
    doors = Doors(most=2, most_per_site=1)
    sites = [Address(f"2001:db8:0:{n}::1", 1) for n in range(3)]
    neighbour = Address("2001:db8:0:0::2", 1)
    assert doors.come(Visitor("1", HERE, sites[0]))
    assert not doors.come(Visitor("2", HERE, neighbour)), "one /64 is one site"
    assert doors.come(Visitor("3", HERE, sites[1]))
    assert not doors.come(Visitor("4", HERE, sites[2]))
    assert doors.leave("1") is not None
    assert doors.leave("1") is None
    assert doors.come(Visitor("2", HERE, neighbour))
    assert (len(doors), doors.streams) == (2, ("3", "2"))
