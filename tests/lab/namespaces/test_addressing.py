"""What the nodes of a laboratory are told, as text."""

from iceway.lab import topologies
from iceway.lab.grid.networks import topology
from iceway.lab.namespaces.addressing import commands


def told(network, node):
    nodes = [*network.hosts, *network.routers]
    return commands(next(one for one in nodes if one.name == node), network)


def test_a_host_behind_a_gateway():
    assert told(topologies.reflexive(), "alice") == [
        "link set lo up",
        "link set eth0 up",
        "addr add 192.168.1.20/24 dev eth0",
        "route add 0.0.0.0/0 via 192.168.1.1",
    ]


def test_who_has_no_gateway_sends_into_nothing_by_every_family_it_speaks():
    edge = told(topology("dual-stack", "ipv6"), "edge")
    assert "route add 0.0.0.0/0 via 198.51.100.254 dev eth0" in edge
    assert "route add ::/0 via 2001:db8::ffff:ffff:ffff:fffe dev eth1" in edge
    assert "addr add 2001:db8::2/64 dev eth1 nodad" in edge
    assert "route add 2001:db8:a::/64 via 2001:db8::a" in edge


def test_each_family_has_its_own_way_out():
    alice = told(topology("dual-stack", "open"), "alice")
    assert [line for line in alice if "/0" in line] == [
        "route add 0.0.0.0/0 via 192.168.1.1",
        "route add ::/0 via 2001:db8:a::1",
    ]


def test_the_nothing_of_a_router_is_outside():
    assert [line for line in told(topology("ipv6", "open"), "alice-router6") if "/0" in line] == [
        "route add ::/0 via 2001:db8::ffff:ffff:ffff:fffe dev eth1"
    ]


def test_routes_of_a_source_have_a_table_of_their_own():
    alice = told(topology("vpn", "open"), "alice")
    assert alice[-2:] == [
        "rule add from 10.8.0.20 table 100",
        "route add 0.0.0.0/0 via 10.8.0.1 table 100",
    ]
