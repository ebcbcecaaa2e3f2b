"""Clients of RFC 3489 learn their address; whatever else comes without the magic cookie gets no answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.trace.records import Malformed
from iceway.turn import classic
from iceway.wire import stun
from iceway.wire.stun import MessageClass, Method, StunMessage
from tests.turn.harness import RELAY, Net, Node, add_server

CLIENT = Address("198.51.100.7", 40_000)
LIBNICE = bytes.fromhex("000100001fd5530f1244e424ad61479d3235a731")
"""What libnice 0.1.21 sends to a STUN server."""


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def server(net: Net) -> Node:
    return add_server(net)


def test_libnice_learns_its_address(net: Net, server: Node) -> None:
    client = net.peer(*CLIENT)
    client.sends(RELAY, LIBNICE)
    net.run(1)
    (_, answer), *more = client.heard
    assert not more
    assert answer[:2] == bytes.fromhex("0101")  # Binding success
    assert answer[4:20] == LIBNICE[4:20]  # all of it is the transaction ID
    assert answer[20:] == bytes.fromhex("0001 0008 0001 9c40 c6336407")  # MAPPED-ADDRESS 198.51.100.7:40000
    assert not server.records(Malformed)


def test_an_ipv6_client_learns_its_address() -> None:
    answer = classic.answer(LIBNICE, Address("2001:db8::7", 9))
    assert answer is not None
    assert answer[20:].hex() == "000100140002000920010db8" + "00" * 11 + "07"


def test_a_client_of_today_is_not_taken_for_one_of_yore() -> None:
    request = stun.serialize(StunMessage(Method.BINDING, MessageClass.REQUEST, bytes(12)))
    assert classic.answer(request, CLIENT) is None


@pytest.mark.parametrize(
    "asked",
    [
        bytes.fromhex("00010008") + LIBNICE[4:] + bytes.fromhex("00030004 00000006"),  # CHANGE-REQUEST
        bytes.fromhex("01010000") + LIBNICE[4:],  # an answer
        LIBNICE[:-1],
        LIBNICE + b"\0",
    ],
)
def test_anything_else_is_garbage_as_before(net: Net, server: Node, asked: bytes) -> None:
    client = net.peer(*CLIENT)
    client.sends(RELAY, asked)
    net.run(1)
    assert not client.heard
    assert len(server.records(Malformed)) == 1


@given(st.binary(max_size=64), st.ip_addresses(), st.integers(0, 65535))
def test_never_crashes_and_never_answers_with_much_more(data: bytes, ip: object, port: int) -> None:
    answer = classic.answer(data, Address.of(str(ip), port))
    assert answer is None or len(answer) <= len(data) + 24
