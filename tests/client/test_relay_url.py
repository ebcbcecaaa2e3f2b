from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.client.relay_url import parse_relay_url
from iceway.core.address import Transport
from iceway.core.errors import UsageError
from iceway.ice.config import ServerKind


@pytest.mark.parametrize(
    ("url", "kind", "host", "port", "transport"),
    [
        ("stun:stun.example.test", ServerKind.STUN, "stun.example.test", 0, Transport.UDP),
        ("stun:192.0.2.1:3479", ServerKind.STUN, "192.0.2.1", 3479, Transport.UDP),
        ("turn:u:p@av.example.test", ServerKind.TURN, "av.example.test", 0, Transport.UDP),
        ("turn:u:p@av.example.test?transport=udp", ServerKind.TURN, "av.example.test", 0, Transport.UDP),
        ("turn:u:p@192.0.2.1:443?transport=tcp", ServerKind.TURN, "192.0.2.1", 443, Transport.TCP),
        ("turns:u:p@av.example.test", ServerKind.TURN, "av.example.test", 0, Transport.TLS),
        ("turns:u:p@av.example.test:443", ServerKind.TURN, "av.example.test", 443, Transport.TLS),
        ("turn:u:p@[2001:db8::1]:3480", ServerKind.TURN, "2001:db8::1", 3480, Transport.UDP),
    ],
)
def test_what_people_write(url: str, kind: ServerKind, host: str, port: int, transport: Transport) -> None:
    server = parse_relay_url(url)
    assert (server.kind, server.host, server.port, server.transport) == (kind, host, port, transport)
    assert server.label.startswith(url.partition(":")[0]), "and it can be told in a record"
    assert "p@" not in server.label


def test_special_characters_in_user_and_password_are_escaped() -> None:
    server = parse_relay_url("turn:1700000000%3Aalice:p%40ss%3Aw:rd@av.example.test")
    assert (server.username, server.password) == ("1700000000:alice", "p@ss:w:rd")
    assert "p@ss" not in repr(server)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("av.example.test", "is not a relay"),
        ("http://av.example.test", "is not a relay"),
        ("turn:av.example.test", "needs a user and a password"),
        ("turn:alice@av.example.test", "needs a user and a password"),
        ("turn::p@av.example.test", "needs a user and a password"),
        ("turn:u:p@av.example.test?transport=", "?transport= is not understood"),
        ("turn:u:p@av.example.test:http", "'http' is no port"),
        ("turn:u:p@", "names its host"),
    ],
)
def test_what_is_wrong_is_said_with_the_right_form(url: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_relay_url(url)
    assert word in str(caught.value)
    assert "turn:user:password@host" in str(caught.value)


@given(st.text(st.sampled_from("turns:@?[]%.0123ab=&/ é")))
def test_any_text_is_a_server_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_relay_url(f"turn:{text}")
