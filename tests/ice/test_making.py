"""How local candidates are made."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.ice.candidate import Candidate, CandidateType, Foundations
from iceway.ice.config import AgentConfig
from iceway.ice.making import Maker, unique
from iceway.ice.servers import HostSocket

SOCKET = HostSocket(Address("10.0.0.5", 5000), component=1, rank=0)


@given(st.lists(st.tuples(st.sampled_from([255, 511, 767, 1023]), st.sampled_from([1, 2])), max_size=20))
def test_priorities_of_a_component_never_meet_even_at_the_bottom(wanted: list[tuple[int, int]]) -> None:
    found: list[Candidate] = []
    for priority, component in wanted:
        candidate = Candidate(CandidateType.RELAY, SOCKET.local, priority, "1", component)
        found.append(unique(candidate, found))
    taken = [(candidate.component, candidate.priority) for candidate in found]
    assert len(set(taken)) == len(taken)
    assert all(0 < priority < 1 << 31 for _, priority in taken)


def test_the_first_of_two_keeps_its_priority_and_the_second_gets_the_next() -> None:
    maker = Maker(AgentConfig(True), Foundations())
    first = maker.host(SOCKET)
    second = maker.ranked(maker.host(replace(SOCKET, local=Address("10.0.0.6", 5000))), [first])
    assert first.priority - second.priority == 1 << 8


def test_active_goes_before_passive_and_udp_before_both() -> None:
    maker = Maker(AgentConfig(True, tcp=True), Foundations())
    active = maker.over_tcp(SOCKET, Address("10.0.0.5", 9), "active")
    passive = maker.over_tcp(SOCKET, Address("10.0.0.5", 7000), "passive")
    assert maker.host(SOCKET).priority > active.priority > passive.priority
    assert active.foundation != passive.foundation != maker.host(SOCKET).foundation


def test_the_outside_of_a_nat_is_known_for_its_own_inside_only() -> None:
    maker = Maker(AgentConfig(True, tcp=True, external_ips=(("10.0.0.5", "198.51.100.1"),)), Foundations())
    other = replace(SOCKET, local=Address("10.0.0.6", 5000))
    assert maker.external(SOCKET).address == Address("198.51.100.1", 5000)
    assert maker.external(other) is None
    assert maker.external_over_tcp(SOCKET, Address("10.0.0.5", 7000), "passive").address == Address(
        "198.51.100.1", 7000
    )
    assert maker.external_over_tcp(other, Address("10.0.0.6", 7000), "passive") is None


def test_over_tcp_the_direction_outweighs_the_interface() -> None:
    """RFC 6544 §4.2: direction-pref in the upper 3 bits, 13 bits for the interface."""
    maker = Maker(AgentConfig(True, tcp=True), Foundations())
    base, seen, server = (
        Address("10.0.0.5", 7000),
        Address("198.51.100.1", 7000),
        Address("198.51.100.2", 3478),
    )
    second = replace(SOCKET, rank=1)

    def preference(candidate: Candidate) -> tuple[int, int]:
        local = candidate.priority >> 8 & 0xFFFF
        return local >> 13, local & 0x1FFF

    kinds = ("active", "passive", "so")
    assert [preference(maker.over_tcp(SOCKET, base, kind)) for kind in kinds] == [
        (6, 8191),
        (4, 8191),
        (2, 8191),
    ]
    assert preference(maker.over_tcp(second, base, "passive")) == (4, 8190)
    assert [
        preference(maker.reflexive_over_tcp(SOCKET, base, kind, seen, server, "stun:s")) for kind in kinds
    ] == [(4, 8191), (2, 8191), (6, 8191)]


def test_reflexive_candidates_over_tcp_are_below_host_ones_and_above_relays() -> None:
    maker = Maker(AgentConfig(True, tcp=True), Foundations())
    base, server = Address("10.0.0.5", 7000), Address("198.51.100.2", 3478)
    host = maker.over_tcp(SOCKET, base, "so")
    seen = maker.reflexive_over_tcp(SOCKET, base, "so", Address("198.51.100.1", 7000), server, "stun:s")
    assert host.priority > seen.priority > 0xFFFF << 8
    assert (seen.base, seen.related, seen.tcp_type, seen.server) == (base, base, "so", "stun:s")


def test_the_applications_preference_does_not_lift_tcp_above_udp() -> None:
    maker = Maker(AgentConfig(True, tcp=True, preference=lambda candidate: 65535), Foundations())
    udp = maker.ranked(maker.host(SOCKET), [])
    tcp = maker.ranked(maker.over_tcp(SOCKET, Address("10.0.0.5", 9), "active"), [])
    assert udp.priority > tcp.priority
    assert tcp.priority >> 24 == 90
