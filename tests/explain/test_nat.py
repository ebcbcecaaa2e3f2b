"""What is said of NATs, held against what the laboratory knows they are: never wrong, and not too often silent."""

from __future__ import annotations

from collections import Counter

import pytest

from iceway.core.address import Address
from iceway.explain.nat import Filtering, Mapping, NatBehaviour, nat_behaviours
from iceway.lab.grid.networks import NETWORKS
from iceway.lab.grid.play import play
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CandidateGathered,
    CandidateInfo,
    GatheringStarted,
    Record,
    StunReceived,
    StunSent,
)

EI, AD, APD = Mapping.ENDPOINT_INDEPENDENT, Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT
OPEN, PARTLY, CLOSED, SHUT = (
    Filtering.OPEN,
    Filtering.AT_MOST_ADDRESS,
    Filtering.CLOSED,
    Filtering.CLOSED_TO_PORTS,
)
TRUTHS: dict[str, tuple[set[Mapping], set[Filtering]]] = {
    "open": ({Mapping.NONE}, {OPEN, PARTLY}),
    "full-cone": ({EI}, {OPEN, PARTLY}),
    "restricted": ({EI}, {PARTLY, CLOSED}),
    "port-restricted": ({EI}, {CLOSED, SHUT}),
    "double-nat": ({EI}, {CLOSED, SHUT}),
    "vpn": ({EI}, {CLOSED, SHUT}),
    "dual-stack": ({EI, Mapping.NONE}, {CLOSED, SHUT}),
    "ipv6": ({Mapping.NONE}, {CLOSED, SHUT}),
    "symmetric-open": ({APD, Mapping.DEPENDENT}, {OPEN, PARTLY}),
    "symmetric": ({APD, Mapping.DEPENDENT}, {CLOSED, SHUT}),
    "no-udp": (set(), set()),
    "web-only": (set(), set()),
}
"""What may be said of each network of the grid; that it is not known may always be said."""


def judged(left: str, right: str) -> dict[str, list[NatBehaviour]]:
    found: dict[str, list[NatBehaviour]] = {left: [], right: []}
    for one in nat_behaviours(play(left, right).trace):
        found[left if one.node == "alice" else right].append(one)
    return found


@pytest.mark.parametrize("left", [network.name for network in NETWORKS])
def test_never_wrong_about_any_network(left: str) -> None:
    for right in ("open", "port-restricted", "symmetric", "symmetric-open", "dual-stack"):
        for name, said in judged(left, right).items():
            mappings, filters = TRUTHS[name]
            for one in said:
                assert one.mapping.value in {*mappings, Mapping.UNKNOWN}, f"{name}: {one}"
                assert one.filtering.value in {*filters, Filtering.UNKNOWN}, f"{name}: {one}"


def test_most_translations_are_known_after_one_call() -> None:
    told = Counter[bool]()
    for left in ("full-cone", "restricted", "port-restricted", "symmetric", "symmetric-open", "open"):
        for right in ("open", "full-cone", "port-restricted", "symmetric"):
            told.update(one.mapping.value != Mapping.UNKNOWN for one in judged(left, right)[left])
    assert told[True] > 3 * told[False]


def test_blocked_udp_is_named_where_streams_are_answered() -> None:
    (behaviour,) = judged("no-udp", "open")["no-udp"]
    assert [str(note) for note in behaviour.notes] == ["UDP blocked (likely)"]
    assert "TCP" in behaviour.notes[0].evidence


def test_every_judgement_names_its_entries() -> None:
    trace = play("symmetric", "open").trace
    alice = next(one for one in nat_behaviours(trace) if one.node == "alice")
    known = {entry.id for entry in trace}
    assert alice.mapping.seen
    assert set(alice.mapping.seen) <= known
    assert "saw port" in alice.mapping.evidence


# --- by hand --------------------------------------------------------------------------------------------
HOST = Address("192.168.1.2", 5000)
LOOKS = Address("203.0.113.9", 6000)
SERVER, OTHER = Address("198.51.100.1", 3478), Address("198.51.100.2", 3478)


def trace(*records: Record) -> list[Entry]:
    info = CandidateInfo("host", "udp", HOST, 1, "1")
    begun = (GatheringStarted("a", (HOST.ip,), ()), CandidateGathered("a", info))
    return [
        Entry(number, float(number), "alice", one) for number, one in enumerate((*begun, *records), start=1)
    ]


def asks(server: Address) -> StunSent:
    return StunSent("udp", HOST, server, "Binding", "request", str(server))


def sees(server: Address, mapped: Address) -> StunReceived:
    attributes = (("XOR-MAPPED-ADDRESS", str(mapped)),)
    return StunReceived("udp", HOST, server, "Binding", "success", str(server), attributes)


def knocks(source: Address) -> StunReceived:
    return StunReceived("udp", HOST, source, "Binding", "request", f"from {source}", (("USERNAME", "a:b"),))


def behaviour(*records: Record) -> NatBehaviour:
    (found,) = nat_behaviours(trace(*records))
    return found


def test_one_server_alone_proves_no_mapping() -> None:
    found = behaviour(asks(SERVER), sees(SERVER, LOOKS))
    assert found.mapping.value == Mapping.UNKNOWN
    assert found.outside == (LOOKS.ip,)
    assert str(found) == "translated, ports changed"


def test_two_servers_that_agree_do() -> None:
    found = behaviour(asks(SERVER), sees(SERVER, LOOKS), asks(OTHER), sees(OTHER, LOOKS))
    assert found.mapping.value == EI
    assert str(SERVER) in found.mapping.evidence


def test_ports_of_one_server_tell_address_from_port_dependence() -> None:
    second = Address(SERVER.ip, 3479)
    elsewhere = Address(LOOKS.ip, 6001)
    by_address = behaviour(sees(SERVER, LOOKS), sees(second, LOOKS), sees(OTHER, elsewhere))
    by_port = behaviour(sees(SERVER, LOOKS), sees(second, elsewhere))
    assert by_address.mapping.value == AD
    assert by_port.mapping.value == APD


def test_whoever_gets_in_unasked_shows_an_open_filter() -> None:
    found = behaviour(asks(SERVER), sees(SERVER, LOOKS), knocks(Address("203.0.113.50", 4000)))
    assert found.filtering.value == OPEN
    assert found.filtering.sure


def test_whoever_was_written_to_shows_nothing() -> None:
    peer = Address("203.0.113.50", 4000)
    found = behaviour(asks(SERVER), sees(SERVER, LOOKS), asks(peer), knocks(peer))
    assert found.filtering.value == Filtering.UNKNOWN


def test_neighbours_prove_nothing_about_the_box_in_front() -> None:
    near = Address("192.168.1.3", 4000)
    found = behaviour(asks(near), sees(near, HOST), knocks(Address("192.168.1.4", 4000)))
    assert found.mapping.value == Mapping.UNKNOWN
    assert found.filtering.value == Filtering.UNKNOWN


def test_hairpin_is_seen_when_the_own_outside_knocks() -> None:
    works = behaviour(sees(SERVER, LOOKS), knocks(Address(LOOKS.ip, 7000)))
    missing = behaviour(sees(SERVER, LOOKS), asks(Address(LOOKS.ip, 7000)))
    assert works.hairpin.value == "works"
    assert str(missing.hairpin) == "missing (likely)"


def test_a_private_outside_is_one_more_nat() -> None:
    found = behaviour(sees(SERVER, Address("100.64.3.4", 6000)))
    assert [one.value for one in found.notes] == ["behind a carrier's NAT as well"]


def test_a_nonsense_address_is_no_evidence() -> None:
    broken = StunReceived("udp", HOST, SERVER, "Binding", "success", "1", (("XOR-MAPPED-ADDRESS", "what"),))
    assert behaviour(asks(SERVER), broken).outside == ()
