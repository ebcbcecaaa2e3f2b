"""Two edges of one pool: what one of them mints is good at the other, because they hold the same key.

The front end asks `edge`; the relay's name leads to `edge2`, which never speaks with either of them.
"""

from __future__ import annotations

from dataclasses import replace

from iceway.client import events
from iceway.edge.config import AccessSection, CredentialsSection, EdgeConfig, RelaySection
from iceway.edge.credentials import KeyRing, RetiredKeys, TokenKeys
from iceway.edge.edge import Edge
from iceway.explain.findings import Severity, findings
from iceway.explain.model import PathClass
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.lab.topologies import DOMAIN
from iceway.lab.topology import Host, Interface, Topology
from iceway.lab.world.tls import Certificate
from iceway.lab.world.world import WALL_START
from iceway.trace.entry import Entry
from iceway.trace.records import (
    AllocationCreated,
    CandidateGathered,
    CredentialsMinted,
    RelayRefused,
    ServerRefused,
)
from tests.e2e.calls import agreed_path, shares, talk, voice
from tests.e2e.story import every

POOL = TokenKeys.derive(b"the private key of the pool's certificate")
NEW = TokenKeys.derive(b"the private key of its next certificate")
SECOND_OUTER, SECOND_INNER = "198.51.100.3", "10.0.0.3"


def with_second_edge(topology: Topology) -> Topology:
    """The same network with another edge beside the first, which the relay's name leads to."""
    second = Host(
        "edge2",
        (Interface("internet", SECOND_OUTER), Interface("hq", SECOND_INNER)),
        nameserver="10.0.0.53",
    )
    views = tuple(
        replace(
            view,
            records=tuple(
                replace(record, data=SECOND_OUTER) if record.name == f"av.{DOMAIN}" else record
                for record in view.records
            ),
        )
        for view in topology.views
    )
    return replace(topology, hosts=(*topology.hosts, second), views=views)


def second_edge() -> EdgeConfig:
    return EdgeConfig(
        name=f"edge2.{DOMAIN}",
        domain=DOMAIN,
        frontend=f"frontend.{DOMAIN}:5061",
        access=AccessSection(listen=(f"{SECOND_OUTER}:443",)),
        credentials=CredentialsSection(listen=f"{SECOND_INNER}:5062"),
        relay=RelaySection(host=f"av.{DOMAIN}", listen=SECOND_OUTER),
    )


def pool(
    topology: Topology, first: KeyRing, second: KeyRing
) -> tuple[VirtualOffice, VirtualPerson, VirtualPerson]:
    """An office with two edges that hold these keys; Alice and Bob are ready."""
    office = VirtualOffice(with_second_edge(topology), 1, keys=first)
    edge = Edge(second_edge(), second, office.world.rng("edge2"))
    office.world.run("edge2", edge, identities={"edge": Certificate((f"edge2.{DOMAIN}",))})
    office.world.call("edge2", edge.start)
    alice = office.joins("alice", says=lambda: voice("alice"))
    bob = office.joins("bob", says=lambda: voice("bob"), ring_for=1.0)
    for person in (alice, bob):
        assert person.waits_for(events.Ready), person.events
    return office, alice, bob


def relayed_at_second(trace: list[Entry]) -> bool:
    assert len(every(trace, CredentialsMinted, "edge")) == 2
    assert not every(trace, CredentialsMinted, "edge2")
    assert not every(trace, AllocationCreated, "edge")
    return bool(every(trace, AllocationCreated, "edge2"))


def test_what_one_edge_minted_the_other_accepts() -> None:
    office, alice, bob = pool(topologies.relayed_udp(), KeyRing(POOL), KeyRing(POOL))
    talk(alice, bob)
    assert min(shares(alice, bob)) >= 0.97
    trace = office.close()
    assert relayed_at_second(trace)
    assert not every(trace, ServerRefused)
    assert agreed_path(trace) is PathClass.RELAY_UDP


def test_an_edge_that_rolled_over_accepts_the_old_key_until_it_retires() -> None:
    rolled = KeyRing(NEW, (RetiredKeys(POOL, WALL_START + 8 * 3600),))
    office, alice, bob = pool(topologies.relayed_tcp(), KeyRing(POOL), rolled)
    talk(alice, bob)
    trace = office.close()
    assert relayed_at_second(trace)
    assert agreed_path(trace) is PathClass.RELAY_TCP


def test_an_edge_with_another_key_refuses_and_the_explanation_names_the_cause() -> None:
    office, alice, bob = pool(topologies.reflexive(), KeyRing(POOL), KeyRing(NEW))
    talk(alice, bob)  # its STUN needs no credentials, and these networks no relay
    trace = office.close()
    assert not relayed_at_second(trace)
    assert agreed_path(trace) is PathClass.REFLEXIVE
    refused = every(trace, RelayRefused, "edge2", code=401, detail="does not hold")
    assert refused
    assert all(POOL.label in record.detail for record in refused)
    assert every(trace, ServerRefused, "alice", code=401, detail="a key this edge does not hold")
    # Everybody's records together, and Alice's alone, name the cause and the cure.
    for entries in (trace, [entry for entry in trace if entry.node == "alice"]):
        found = next(one for one in findings(entries) if "does not hold" in one.title)
        assert found.severity is Severity.ERROR
        assert "No relay for" in found.title
        assert "another certificate key" in found.meaning
        assert "same key" in found.meaning
        assert "every edge of the pool" in found.remedy


def test_without_another_way_the_call_ends_with_the_cause_explained() -> None:
    office, alice, _ = pool(topologies.relayed_udp(), KeyRing(POOL), KeyRing(NEW))
    alice.calls("bob")
    assert alice.waits_for(events.CallEnded, 60.0)
    trace = office.close()
    assert not [one for one in every(trace, CandidateGathered) if one.candidate.type == "relay"]
    assert [
        one.title
        for one in findings(trace)
        if one.severity is Severity.ERROR and "does not hold" in one.title
    ]
