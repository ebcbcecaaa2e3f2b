"""edge.toml: the shortest file, the whole file, what it means for the machines, faults that name their field."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from iceway.core.address import Address, Transport
from iceway.core.errors import EnvironmentFailure
from iceway.edge.config import EdgeConfig, RelaySection, load_config
from iceway.wire.mras import Location

SHORTEST = """
name = "edge.example.test"
domain = "example.test"
frontend = "fe.example.test"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(text)
    return path


def test_three_lines_are_enough_and_everything_is_guarded(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SHORTEST))
    access = config.access_config()
    assert str(access.public) == "sip:edge.example.test:5061;transport=tls"
    assert str(access.frontend) == "sip:fe.example.test:5061;transport=tls"
    assert access.frontend_name == "fe.example.test"
    assert config.mras_config().trusted_frontends == ("fe.example.test",)
    turn = config.turn_config("192.0.2.5")
    assert turn.relay_ip == "192.0.2.5"
    assert turn.allow_peers == ()
    assert [listener.transport for listener in turn.listeners] == [
        Transport.UDP,
        Transport.TCP,
        Transport.TLS,
    ]
    assert config.tls.key == tmp_path.resolve() / "edge.key"


def test_the_documented_file_shows_the_defaults(tmp_path: Path) -> None:
    documented = Path(__file__).parents[2] / "config" / "edge.toml"
    shown = load_config(written(tmp_path, documented.read_text()))
    assert shown == load_config(written(tmp_path, SHORTEST))


def test_what_is_public_may_differ_from_what_is_here() -> None:
    config = EdgeConfig.model_validate(
        {
            "name": "edge.example.test",
            "domain": "example.test",
            "frontend": "10.0.0.2:5071",
            "frontend_name": "fe.example.test",
            "access": {"listen": ["10.0.0.1:4443"], "public": "sip.example.test:443"},
            "relay": {
                "host": "198.51.100.5",
                "internal_host": "av.int.example.test",
                "ip": "10.0.0.1",
                "public_ip": "198.51.100.5",
                "udp_port": 3478,
                "tcp_port": 443,
                "tls_port": None,
            },
        }
    )
    access = config.access_config()
    assert str(access.public) == "sip:sip.example.test:443;transport=tls"
    assert access.listen == (Address("10.0.0.1", 4443),)
    assert access.frontend_name == "fe.example.test"
    turn = config.turn_config("192.0.2.5")
    assert (turn.relay_ip, turn.external_ip) == ("10.0.0.1", "198.51.100.5")
    outside, inside = config.mras_config().relays
    assert (outside.host, outside.location, outside.udp_port, outside.tcp_port) == (
        "198.51.100.5",
        Location.INTERNET,
        3478,
        443,
    )
    assert (inside.host, inside.location) == ("av.int.example.test", Location.INTRANET)


def test_a_door_for_browsers_is_closed_unless_named(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, SHORTEST)).access_config().websocket_listen == ()
    text = SHORTEST + (
        '[access]\nwebsocket = ["0.0.0.0:443"]\nwebsocket_path = "/sip"\n'
        'websocket_origins = ["https://phone.example.test"]\n'
    )
    access = load_config(written(tmp_path, text)).access_config()
    assert access.websocket_listen == (Address("0.0.0.0", 443),)
    assert (access.websocket.path, access.websocket.origins) == ("/sip", ("https://phone.example.test",))


def test_retired_keys_are_found_beside_the_file(tmp_path: Path) -> None:
    text = SHORTEST + '[credentials]\nretired_keys = [{ key = "old.key", until = 2026-01-02T08:00:00Z }]'
    (old,) = load_config(written(tmp_path, text)).credentials.retired_keys
    assert old.key == tmp_path.resolve() / "old.key"
    assert old.until == datetime(2026, 1, 2, 8, tzinfo=UTC)


def test_a_relay_that_listens_on_one_address_relays_from_it() -> None:
    config = EdgeConfig(
        name="e.example.test",
        domain="example.test",
        frontend="fe.example.test",
        relay=RelaySection(listen="192.0.2.7"),
    )
    assert config.turn_config("10.9.9.9").relay_ip == "192.0.2.7"


@pytest.mark.parametrize(
    ("damage", "by", "said"),
    [
        ('frontend = "fe.example.test"', "", "frontend: Field required"),
        ("fe.example.test", "fe.example.test:port", "frontend: 'port' is not a port"),
        ("edge.example.test", "edge example", "name: "),
        ("frontend =", "access = {listen = []}\nfrontend =", "access.listen names no port"),
        ("frontend =", 'access = {listen = ["edge:5061"]}\nfrontend =', "access.listen.0: "),
        ("frontend =", 'access = {websocket = ["443"]}\nfrontend =', "access.websocket.0: "),
        ("frontend =", 'access = {websocket = ["0.0.0.0:5061"]}\nfrontend =', "both want 0.0.0.0:5061"),
        ("frontend =", 'access = {websocket_path = "sip"}\nfrontend =', "access.websocket_path: "),
        ("frontend =", 'access = {websocket_origins = ["phone.test"]}\nfrontend =', "write https://phone"),
        ("frontend =", "relay = {ip = 7}\nfrontend =", "relay.ip: "),
        ("frontend =", 'relay = {ip = "edge"}\nfrontend =', "relay.ip: 'edge' is not an IP address"),
        ("frontend =", 'relay = {allow_peers = ["ten"]}\nfrontend =', "relay.allow_peers.0: "),
        ("frontend =", "relay = {ports = [9, 8]}\nfrontend =", "relay.ports"),
        ("frontend =", "relay = {udp_prot = 1}\nfrontend =", "relay.udp_prot: "),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, damage: str, by: str, said: str) -> None:
    assert damage in SHORTEST
    with pytest.raises(EnvironmentFailure, match=r"edge\.toml") as failure:
        load_config(written(tmp_path, SHORTEST.replace(damage, by, 1)))
    assert said in failure.value.cause


def test_a_relay_needs_a_port() -> None:
    with pytest.raises(ValueError, match="neither udp_port nor tcp_port"):
        EdgeConfig.model_validate(
            {
                "name": "e.a.test",
                "domain": "a.test",
                "frontend": "fe",
                "relay": {"udp_port": None, "tcp_port": None},
            }
        )
