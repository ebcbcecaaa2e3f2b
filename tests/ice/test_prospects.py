"""What is thought of a pair before it was tried; what follows from it is in `test_checklist` and `test_nomination`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iceway.core.address import Address, Transport
from iceway.ice.candidate import Candidate, CandidateType, local_preference, priority
from iceway.ice.checklist import CandidatePair, Checklist, Prospect
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.prospects import Prospects, outside_ips

HOST, SRFLX, PRFLX, RELAY = (
    CandidateType.HOST,
    CandidateType.SRFLX,
    CandidateType.PRFLX,
    CandidateType.RELAY,
)
HOME, OFFICE = "198.51.100.77", "198.51.100.1"


def candidate(
    type: CandidateType,
    ip: str,
    port: int = 5000,
    related: str | None = None,
    transport: Transport = Transport.UDP,
) -> Candidate:
    address = Address(ip, port)
    return Candidate(
        type,
        address,
        priority(type, local_preference(0), 1),
        f"{type}{ip}",
        transport=transport,
        related=Address(related, 9) if related else None,
        base=Address(related, 5000) if related and type is SRFLX else address,
    )


class Scene:
    """Our candidates, the peer's, and the pairs between those that send and those that are sent to."""

    def __init__(self, ours: list[Candidate], theirs: list[Candidate], mute: tuple[str, ...] = ()) -> None:
        self.ours, self.theirs = ours, theirs
        self.checklist = Checklist(ChecklistSet(True))
        self.prospects = Prospects(self.checklist, lambda base, now: base.ip in mute)
        for local in ours:
            for remote in theirs:
                if local.type is not SRFLX and local.address.family == remote.address.family:
                    self.checklist.add(local, remote)

    def pair(self, ours: str, theirs: str, port: int = 5000) -> CandidatePair:
        found = self.checklist.find(Address(ours, 5000), Address(theirs, port))
        assert found is not None
        self.prospects.appraise(self.ours, self.theirs, 0.0)
        return found

    def prospect(self, ours: str, theirs: str) -> Prospect:
        return self.pair(ours, theirs).prospect


MINE = [candidate(HOST, "192.168.1.20"), candidate(SRFLX, HOME, related="192.168.1.20")]


def test_a_private_address_behind_another_nat_is_a_poor_prospect() -> None:
    scene = Scene(MINE, [candidate(HOST, "10.0.0.20"), candidate(SRFLX, OFFICE, related="10.0.0.20")])
    assert scene.prospect("192.168.1.20", "10.0.0.20") is Prospect.POOR
    assert scene.prospect("192.168.1.20", OFFICE) is Prospect.GOOD


def test_behind_one_nat_private_addresses_are_the_way() -> None:
    scene = Scene(MINE, [candidate(HOST, "10.0.0.20"), candidate(SRFLX, HOME, 6000, related="10.0.0.20")])
    assert scene.prospect("192.168.1.20", "10.0.0.20") is Prospect.GOOD


@pytest.mark.parametrize("ours", [MINE, MINE[:1]])
def test_of_a_peer_without_an_outside_nothing_is_presumed(ours: list[Candidate]) -> None:
    theirs = [candidate(HOST, "10.0.0.20")]
    assert Scene(ours, theirs).prospect("192.168.1.20", "10.0.0.20") is Prospect.GOOD


def test_a_public_address_is_what_it_says() -> None:
    scene = Scene(MINE, [candidate(HOST, OFFICE)])
    assert scene.prospect("192.168.1.20", OFFICE) is Prospect.GOOD


def test_a_relay_on_the_internet_reaches_no_private_address() -> None:
    theirs = [candidate(HOST, "10.0.0.20")]
    assert Scene([candidate(RELAY, HOME)], theirs).prospect(HOME, "10.0.0.20") is Prospect.POOR
    inside = Scene([candidate(RELAY, "10.1.0.2")], theirs)
    assert inside.prospect("10.1.0.2", "10.0.0.20") is Prospect.GOOD


def test_an_interface_on_which_no_server_answers_is_a_poor_prospect() -> None:
    tunnel = candidate(HOST, "10.8.0.20")
    scene = Scene([tunnel, *MINE], [candidate(SRFLX, OFFICE, related="10.0.0.20")], mute=("10.8.0.20",))
    assert scene.prospect("10.8.0.20", OFFICE) is Prospect.POOR
    assert scene.prospect("192.168.1.20", OFFICE) is Prospect.GOOD


def test_over_tcp_such_an_interface_is_as_good_as_any() -> None:
    """UDP is blocked: that no server answers over it says nothing of TCP."""
    mine = [candidate(HOST, "192.168.1.20", transport=Transport.TCP)]
    theirs = [candidate(HOST, "203.0.113.5", transport=Transport.TCP)]
    scene = Scene(mine, theirs, mute=("192.168.1.20",))
    assert scene.prospect("192.168.1.20", "203.0.113.5") is Prospect.GOOD


def test_over_tcp_every_connection_has_a_port_of_its_own_and_that_is_no_sign() -> None:
    mine = [candidate(HOST, "192.168.1.20", transport=Transport.TCP)]
    theirs = [candidate(SRFLX, HOME, port, transport=Transport.TCP) for port in (5001, 5002)]
    scene = Scene(mine, theirs)
    for port in (5001, 5002):
        pair = scene.pair("192.168.1.20", HOME, port)
        pair.heard_at = 1.0
        scene.prospects.mapped(pair, Address(OFFICE, 7000 + port))
    assert scene.pair("192.168.1.20", HOME, 5001).prospect is Prospect.GOOD


def test_where_every_check_of_both_sides_takes_another_port_no_address_is_worth_waiting_for() -> None:
    theirs = [candidate(SRFLX, OFFICE), *(candidate(PRFLX, OFFICE, port) for port in (5001, 5002, 5003))]
    scene = Scene(MINE, theirs)
    pairs = [scene.pair("192.168.1.20", OFFICE, port) for port in (5000, 5001, 5002, 5003)]
    for at, pair in enumerate(pairs[1:3]):
        pair.heard_at = float(at)
    scene.prospects.mapped(pairs[0], Address(HOME, 7000))
    scene.prospects.mapped(pairs[1], Address(HOME, 7000))
    assert scene.pair("192.168.1.20", OFFICE, 5003).prospect is Prospect.GOOD  # our port is always the same
    scene.prospects.mapped(pairs[1], Address(HOME, 7001))
    assert scene.pair("192.168.1.20", OFFICE, 5003).prospect is Prospect.NONE
    pairs[1].heard_at = None  # as if theirs were
    assert scene.pair("192.168.1.20", OFFICE, 5003).prospect is Prospect.GOOD


def test_what_leaves_for_the_internet_counts_as_our_reflexive_candidate() -> None:
    scene = Scene(MINE, [candidate(HOST, "10.0.0.20"), candidate(SRFLX, OFFICE, related="10.0.0.20")])
    assert scene.pair("192.168.1.20", OFFICE).hoped_local is MINE[1]
    assert scene.pair("192.168.1.20", "10.0.0.20").hoped_local is None


def test_the_outside_is_what_the_internet_sees_of_a_host() -> None:
    hidden = replace(candidate(RELAY, "198.51.100.2"), related=Address("0.0.0.0", 0))
    assert outside_ips(
        [
            candidate(HOST, "192.168.1.20"),
            candidate(HOST, "2001:db8::20"),
            candidate(PRFLX, HOME),
            candidate(RELAY, "198.51.100.2", related=OFFICE),
            candidate(RELAY, "198.51.100.3"),
            hidden,
        ]
    ) == {HOME, OFFICE}
