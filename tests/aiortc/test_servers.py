from __future__ import annotations

import logging
from contextlib import suppress

import pytest
from aiortc import RTCIceServer
from hypothesis import given
from hypothesis import strategies as st

from iceway.aiortc.servers import ice_servers, servers_of_aioice
from iceway.core.address import Transport
from iceway.ice.config import IceServer, ServerKind

STUN, TURN = ServerKind.STUN, ServerKind.TURN


def test_every_uri_of_every_server_is_used_in_order() -> None:
    configured = [
        RTCIceServer(["stun:a.test:3478", "stun:b.test"]),
        RTCIceServer(
            ["turn:[2001:db8::1]:80", "turn:a.test:443?transport=tcp", "turns:a.test"], "user", "secret"
        ),
        RTCIceServer("turn:c.test:3478", "other", "secret"),
        RTCIceServer("stun:a.test:3478"),
    ]
    found = ice_servers(configured)
    assert [server.label for server in found] == [
        "stun:a.test:3478",
        "stun:b.test",
        "turn:[2001:db8::1]:80?transport=udp",
        "turn:a.test:443?transport=tcp",
        "turns:a.test",
        "turn:c.test:3478?transport=udp",
    ]
    assert [server.username for server in found] == ["", "", "user", "user", "user", "other"]


def test_a_credential_that_is_no_password_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "iceway.aiortc"):
        assert ice_servers([RTCIceServer("turn:a.test", "user", "a-token", "oauth")]) == ()
    assert "not a password" in caplog.text
    assert "a-token" not in caplog.text


@pytest.mark.parametrize(
    "uri",
    ["", "stun", "http://a.test", "stun:", "turn:a.test:port", "turn:[::1", "stun:a.test?transport=udp"],
)
def test_what_is_no_uri_raises(uri: str) -> None:
    with pytest.raises(ValueError, match="malformed uri"):
        ice_servers([RTCIceServer(uri)])


@given(st.text() | st.from_regex(r"(stun|turns?):.*"))
def test_nothing_but_value_error_comes_out(url: str) -> None:
    with suppress(ValueError):
        ice_servers([RTCIceServer(url, "user", "secret")])


def test_keywords_of_aioice() -> None:
    found = servers_of_aioice(("s.test", 3478), ("t.test", 443), "user", "secret", True, "tcp")
    assert found == (
        IceServer(STUN, "s.test", 3478),
        IceServer(TURN, "t.test", 443, Transport.TLS, "user", "secret"),
    )
    assert servers_of_aioice(None, None, None, None, False, "udp") == ()
    (plain,) = servers_of_aioice(None, ("t.test", 3478), None, None, False, "tcp")
    assert (plain.transport, plain.username) == (Transport.TCP, "")
