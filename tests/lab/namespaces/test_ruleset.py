"""What is said to nftables, and what is refused because no kernel does it."""

import pytest

from iceway.core.address import Address
from iceway.core.errors import EnvironmentFailure
from iceway.lab import topologies
from iceway.lab.namespaces.ruleset import ruleset
from iceway.lab.topology import Behaviour, Firewall, Forward, Nat

EI, AD, APD = Behaviour


def rules(**changes):
    return ruleset(
        topologies.reflexive().with_router("home-nat", **changes).router("home-nat"), ["eth0"], "eth1"
    )


def test_mapping_is_masquerade_and_its_flags():
    assert "oifname eth1 meta l4proto { tcp, udp } masquerade\n" in rules(nat=Nat(EI, APD))
    symmetric = rules(nat=Nat(APD, APD, port_preservation=False, ports=(40000, 50000)))
    assert "masquerade to :40000-50000 fully-random" in symmetric


def test_a_box_always_drops_what_is_for_itself():
    for nat in (Nat(), None):
        assert "hook input priority 0; policy drop" in rules(nat=nat)


def test_laxer_filters_remember_whom_to_let_in():
    assert "dnat" not in rules(nat=Nat(EI, APD)).replace("ct status ! dnat", "")
    assert "_asked" not in rules(nat=Nat(EI, EI))
    assert "udp dport . ip saddr @udp_asked dnat" in rules(nat=Nat(EI, AD))
    assert "tcp dport . ip saddr @tcp_asked dnat" in rules(nat=Nat(EI, AD))
    text = rules(nat=Nat(EI, EI, mapping_timeout=30.0, tcp_timeout=60.0))
    assert "@udp_mappings { udp sport timeout 30s" in text
    assert "@tcp_mappings { tcp sport timeout 60s" in text


def test_conntrack_does_not_see_a_stranger_whose_answer_gets_a_port_of_its_own():
    for mapping in (AD, APD):
        text = rules(nat=Nat(mapping, EI, port_preservation=False))
        assert "dnat" not in text.replace("ct status ! dnat", "")
        assert "udp dport . ip saddr . udp sport @udp_answers accept" in text
        assert "udp dport set udp dport map @udp_inside_ports notrack" in text
    assert "notrack" not in rules(nat=Nat(APD, APD, port_preservation=False))


def test_a_port_that_is_not_the_inside_one_is_kept_for_as_much_as_the_mapping_looks_at():
    assert "@udp_ports" not in rules(nat=Nat(EI, APD))
    assert "snat ip to ip saddr . udp sport map @udp_ports" in rules(
        nat=Nat(EI, APD, port_preservation=False)
    )
    assert "snat ip to ip saddr . udp sport . ip daddr map @udp_ports" in rules(
        nat=Nat(AD, APD, port_preservation=False)
    )


def test_the_first_of_several_mappings_preserves_the_port():
    text = rules(nat=Nat(APD, APD, ports=(40000, 50000)))
    assert "udp sport @udp_used masquerade to :40000-50000 fully-random" in text
    assert "meta l4proto { tcp, udp } masquerade\n" in text
    assert "_used" not in rules(nat=Nat(EI, APD))


def test_hairpinning_asks_the_filter_of_who_is_written_to():
    turned = "iifname { eth0 } ip daddr 198.51.100.77 "
    assert turned + "udp dport . udp sport @udp_turned dnat ip to" in rules(nat=Nat(EI, APD, hairpin=True))
    assert turned + "udp dport . ip daddr @udp_asked dnat ip to" in rules(nat=Nat(EI, AD, hairpin=True))
    assert turned + "dnat" not in rules(nat=Nat(EI, APD, hairpin=True))
    assert turned + "dnat ip to udp dport map @udp_mappings" in rules(nat=Nat(EI, EI, hairpin=True))
    assert "198.51.100.77" not in rules(nat=Nat(EI, EI))


def test_a_firewall_without_nat_remembers_in_both_families_whom_it_lets_in():
    text = rules(nat=None, firewall=Firewall(filtering=AD))
    for ip in ("ip", "ip6"):
        assert f"ct state new meta l4proto . {ip} saddr . {ip} daddr . th dport @asked_{ip} accept" in text
    assert "@asked" not in rules(nat=None, firewall=Firewall(filtering=APD))


def test_firewalls():
    assert "meta l4proto udp drop" in rules(firewall=Firewall(block_udp=True))
    assert "ct state new tcp dport != { 80, 443 } drop" in rules(firewall=Firewall(tcp_ports=(80, 443)))
    assert "ct state new ct status ! dnat drop" not in rules(nat=None)
    assert "ct state new ct status ! dnat drop" in rules(nat=None, firewall=Firewall(filtering=APD))


def test_forwards_go_in_and_come_out_at_their_port():
    text = rules(nat=Nat(forwards=(Forward("udp", 80, Address("192.168.1.20", 5000)),)))
    assert "iifname eth1 udp dport 80 dnat to 192.168.1.20:5000" in text
    assert "udp sport 5000 ip saddr 192.168.1.20 masquerade to :80" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nat": Nat(AD, AD, port_preservation=False, filter_by="endpoint")}, "filters by endpoint"),
        ({"nat": Nat(APD, APD, hairpin=True)}, "hairpinning but for endpoint-independent mapping"),
        ({"nat": Nat(EI, APD, hairpin=True, port_preservation=False)}, "with port preservation"),
    ],
)
def test_what_no_kernel_does_is_refused_in_words(changes, words):
    with pytest.raises(EnvironmentFailure, match=words):
        rules(**changes)
