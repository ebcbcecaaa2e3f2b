"""Which ways media may take: what reaches the agent, and what is wrong said by its field."""

from __future__ import annotations

from random import Random

import pytest

from iceway.client.call import Call
from iceway.client.config import PhoneConfig
from iceway.client.media import Media
from iceway.client.ways import Ways
from iceway.core.errors import UsageError
from iceway.core.machine import OpenUdp, drain
from iceway.ice.config import IceServer, Policy, ServerKind
from iceway.lab import topologies
from iceway.lab.world import World
from iceway.media.files import MemorySink, SilenceSource
from tests.client.test_call import Wire


def sockets(ways: Ways, *ips: str) -> list[OpenUdp]:
    """The sockets that a call opens on a host with these addresses."""
    call = Call(
        "call.1",
        PhoneConfig("sip:alice@example.test", "-", ways=ways),
        Random(1),
        Wire(World(topologies.one_lan())),
        peer="sip:bob@example.test",
        media=Media(SilenceSource(), MemorySink(), SilenceSource()),
        incoming=False,
    )
    call.begin(ips, (IceServer(ServerKind.STUN, "stun.example.test"),), 0.0)
    return [output for output in drain(call) if isinstance(output, OpenUdp)]


def test_all_ways_without_a_word() -> None:
    config = Ways().agent_config(controlling=True)
    assert config.controlling
    assert (config.policy, config.tcp, config.mdns) == (Policy.ALL, False, False)
    assert config.interface_filter is None


def test_every_word_reaches_the_agent() -> None:
    ways = Ways(
        policy=Policy.NO_RELAY,
        ports=(50000, 50010),
        external_ips=(("10.0.0.5", "203.0.113.5"),),
        relay_families=(4, 6),
        tcp=True,
        mdns=True,
    )
    config = ways.agent_config(controlling=False)
    assert not config.controlling
    assert config.policy is Policy.NO_RELAY
    assert config.ports == (50000, 50010)
    assert config.external_ips == (("10.0.0.5", "203.0.113.5"),)
    assert config.relay_families == (4, 6)
    assert config.tcp
    assert config.mdns


def test_ports_and_interfaces_of_the_sockets() -> None:
    opened = sockets(Ways(ports=(50000, 50010)), "10.0.0.21", "10.9.0.1")
    assert [(one.local.ip, one.ports) for one in opened] == [
        ("10.0.0.21", (50000, 50010)),
        ("10.9.0.1", (50000, 50010)),
    ]


@pytest.mark.parametrize("without", ["10.9.0.1", "10.9.0.0/16", "10.9.0.1/16"])
def test_a_vpn_that_is_left_out(without: str) -> None:
    opened = sockets(Ways(without=(without,)), "10.0.0.21", "10.9.0.1", "2001:db8::1")
    assert [one.local.ip for one in opened] == ["10.0.0.21", "2001:db8::1"]


def test_interfaces_are_named_in_any_form() -> None:
    assert Ways(interfaces=("2001:DB8:0::1",)).may_use("2001:db8::1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"policy": "some"}, "policy: 'some' is none; there are all, relay, no-relay"),
        ({"interfaces": ("eth0",)}, "interfaces: 'eth0' is not an IP address"),
        ({"without": ("10.0.0.0/33",)}, "without: '10.0.0.0/33' is no address and no subnet"),
        ({"ports": (9, 8)}, "ports: 9 to 8 is no range of ports"),
        ({"relay_families": (5,)}, "relay families are 4 and 6"),
        ({"external_ips": (("10.0.0.5", "host"),)}, "external_ips: 'host' is not an IP address"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_is_wrong_is_said_by_its_field(words: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        Ways(**words)  # type: ignore[arg-type]
