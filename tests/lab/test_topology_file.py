"""TOML in, the same topology out; mistakes are named by field."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.lab import topologies
from iceway.lab.topology import Behaviour, Firewall, Forward, Link, Nat
from iceway.lab.topology_file import dump, load

SMALL = """
name = "small"
[[segment]]
name = "lan"
subnet = "10.0.0.0/24"
link = {delay = 0.001, rate = 1000000}
[[host]]
name = "a"
interfaces = [{segment = "lan", ip = "10.0.0.1"}]
[[router]]
name = "box"
inside = [{segment = "lan", ip = "10.0.0.9"}]
outside = {segment = "lan", ip = "10.0.0.8"}
nat = {filtering = "address-dependent", forwards = [{transport = "tcp", port = 80, to = "10.0.0.1:8080"}]}
firewall = {tcp_ports = [443]}
[[view]]
name = "all"
records = [{name = "a.test", type = "A", data = "10.0.0.1"}]
"""


@pytest.mark.parametrize("name", topologies.TOPOLOGIES)
def test_every_topology_of_the_library_survives_the_way_through_a_file(name):
    office = topologies.named(name)
    assert load(dump(office)) == office


def test_what_the_library_leaves_at_its_default_survives_too():
    office = topologies.reflexive().with_link("home", Link(0.1, 0.2, 0.3, 0.4, 0.5, 6e6))
    nat = Nat(ports=(5000, 5001), hairpin=True, forwards=(Forward("udp", 1, Address("10.0.0.1", 2)),))
    office = office.with_router("hq-nat", nat=nat, firewall=Firewall(tcp_ports=(443, 80)))
    assert load(dump(office)) == office


def test_a_file_written_by_hand():
    router = load(SMALL).router("box")
    assert router.nat.filtering is Behaviour.ADDRESS_DEPENDENT
    assert router.nat.forwards[0].to == Address("10.0.0.1", 8080)
    assert load(SMALL).segment("lan").link.rate == 1e6


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('name = "small"', "name = 3", "name: text expected, not 3"),
        ('name = "small"', "", "name: missing"),
        ('subnet = "10.0.0.0/24"', "", "segment[0].subnet: missing"),
        ("delay = 0.001", "latency = 1", "segment[0].link.latency: no such field; Link has delay"),
        ("delay = 0.001", 'delay = "1 ms"', "segment[0].link.delay: a number expected"),
        (
            "address-dependent",
            "full-cone",
            "router[0].nat.filtering: 'full-cone' is none of endpoint-independent",
        ),
        ('"tcp"', '"sctp"', "router[0].nat.forwards[0].transport: 'sctp' is none of udp, tcp"),
        ("[443]", "443", "router[0].firewall.tcp_ports: a list expected, not 443"),
        ("10.0.0.1:8080", "10.0.0.1", "names no port"),
        ("[[host]]", "[[hosts]]", "hosts: write one [[host]] for each"),
        ("[[host]]", "[[", "not TOML"),
        ('"10.0.0.9"', '"10.1.0.9"', "router[0].inside[0].ip: 10.1.0.9 is not in"),
    ],
)
def test_a_mistake_is_named_by_its_field(before, after, complaint):
    assert before in SMALL
    with pytest.raises(ParseError) as failure:
        load(SMALL.replace(before, after, 1))
    assert complaint in str(failure.value)


@given(st.text(max_size=200))
def test_any_text_is_a_topology_or_a_parse_error(text):
    with contextlib.suppress(ParseError):
        load(text)
