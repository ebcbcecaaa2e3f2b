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


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("stun:stun.example.test", IceServer(STUN, "stun.example.test", 3478)),
        ("stun:192.0.2.1:19302", IceServer(STUN, "192.0.2.1", 19302)),
        ("stun:[2001:db8::1]:3479", IceServer(STUN, "2001:db8::1", 3479)),
        ("turn:a.test", IceServer(TURN, "a.test", 3478, Transport.UDP, "user", "secret")),
        ("turn:a.test?transport=udp", IceServer(TURN, "a.test", 3478, Transport.UDP, "user", "secret")),
        ("turn:a.test:80?transport=tcp", IceServer(TURN, "a.test", 80, Transport.TCP, "user", "secret")),
        ("turns:a.test", IceServer(TURN, "a.test", 5349, Transport.TLS, "user", "secret")),
        ("turns:[2001:db8::1]:443", IceServer(TURN, "2001:db8::1", 443, Transport.TLS, "user", "secret")),
    ],
)
def test_urls(url: str, wanted: IceServer) -> None:
    assert ice_servers([RTCIceServer(url, "user", "secret")]) == (wanted,)


def test_every_url_of_every_server_is_used_in_order() -> None:
    configured = [
        RTCIceServer(["stun:a.test", "stun:b.test"]),
        RTCIceServer(["turn:a.test", "turn:a.test?transport=tcp", "turns:a.test"], "user", "secret"),
        RTCIceServer("turn:c.test", "other", "secret"),
        RTCIceServer("stun:a.test"),
    ]
    labels = [server.label for server in ice_servers(configured)]
    assert labels == [
        "stun:a.test:3478",
        "stun:b.test:3478",
        "turn:a.test:3478?transport=udp",
        "turn:a.test:3478?transport=tcp",
        "turns:a.test:5349?transport=tcp",
        "turn:c.test:3478?transport=udp",
    ]


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (RTCIceServer("turn:a.test?transport=warp", "user", "secret"), "over that transport"),
        (RTCIceServer("turn:a.test", "user", "a-token", "oauth"), "not a password"),
    ],
)
def test_what_cannot_be_used_is_left_out_with_a_warning(
    server: RTCIceServer, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "iceway.aiortc"):
        assert ice_servers([server]) == ()
    assert reason in caplog.text
    assert "secret" not in caplog.text
    assert "a-token" not in caplog.text


@pytest.mark.parametrize(
    "url",
    ["", "stun", "http://a.test", "stun:", "turn:a.test:port", "turn:[::1", "stun:a.test?transport=udp"],
)
def test_what_is_no_url_raises(url: str) -> None:
    with pytest.raises(ValueError, match="malformed uri"):
        ice_servers([RTCIceServer(url)])


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
