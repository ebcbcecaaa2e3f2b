"""The verdict of each of the four calls, from both ends, from one end alone, and from spoiled traces."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iceway.core.address import Address
from iceway.explain.model import PathClass, candidate_class, pair_class
from iceway.explain.path import verdict, verdicts
from iceway.trace.entry import Entry
from iceway.trace.records import (
    AllocationCreated,
    CandidateGathered,
    CandidateInfo,
    MediaStarted,
    PairFailed,
    PairFormed,
    PairSelected,
    PairSucceeded,
)
from tests.explain.call_story import HQ_NAT, ICE, NETWORKS, CallStory, changed, relay, told, view_of

EXPECTED = {
    "one_lan": PathClass.DIRECT,
    "reflexive": PathClass.REFLEXIVE,
    "relayed_udp": PathClass.RELAY_UDP,
    "relayed_tcp": PathClass.RELAY_TCP,
}


@pytest.mark.parametrize("network", NETWORKS)
def test_both_ends_say_the_same_path_and_agree(network: str) -> None:
    alice, bob = verdicts(told(network))
    assert (alice.node, bob.node) == ("alice", "bob")
    assert alice.path is bob.path is EXPECTED[network]
    assert alice.agreed is bob.agreed is True
    assert (alice.peer, bob.peer) == ("bob", "alice")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("node", ["alice", "bob"])
def test_one_end_alone_knows_its_path_but_not_whether_they_agree(network: str, node: str) -> None:
    one = verdict(view_of(told(network), node))
    assert one.agreed is None
    if network == "relayed_tcp" and node == "alice":
        # SDP does not say how the other end reaches its relay; only what the trace holds may be told
        assert one.path.relayed
    else:
        assert one.path is EXPECTED[network]


def test_verdicts_can_be_asked_for_by_node_and_by_agent() -> None:
    entries = told("reflexive")
    assert verdict(entries).node == "alice"
    assert verdict(entries, "bob").node == "bob"
    assert verdict(entries, ICE).agent == ICE
    assert verdict(entries, "carol").path is PathClass.NONE


def test_an_empty_trace_is_no_error() -> None:
    assert verdicts([]) == []
    assert verdict([]).path is PathClass.NONE
    assert "no ICE agent" in verdict([]).reason


def test_ends_that_selected_different_pairs_do_not_agree() -> None:
    entries = [
        entry._replace(record=replace(entry.record, local=relay(49160)))
        if entry.node == "bob" and isinstance(entry.record, PairSelected)
        else entry
        for entry in told("reflexive")
    ]
    assert [one.agreed for one in verdicts(entries)] == [False, False]


def test_one_end_without_a_choice_is_no_agreement_either() -> None:
    entries = changed(told("reflexive"), lambda e: e.node != "bob" or not isinstance(e.record, PairSelected))
    alice, bob = verdicts(entries)
    assert (alice.agreed, bob.agreed) == (False, None)
    assert bob.path is PathClass.NONE


def test_time_from_answer_to_sound_in_seconds_and_round_trips() -> None:
    alice, bob = verdicts(told("reflexive"))
    assert alice.answer_to_media == 0.0
    assert alice.early_media
    assert bob.answer_to_media == pytest.approx(0.091, abs=0.001)
    assert bob.round_trip == 0.041
    assert bob.media_round_trips == pytest.approx(0.091 / 0.041, rel=0.01)


def test_no_sound_gives_no_time() -> None:
    entries = changed(told("reflexive"), lambda e: not isinstance(e.record, MediaStarted))
    assert verdict(entries, "bob").answer_to_media is None
    assert verdict(entries, "bob").media_round_trips is None


def test_a_stream_with_a_path_of_its_own_is_of_the_same_call() -> None:
    entries = told("reflexive")
    for entry in told("reflexive"):
        agent = getattr(entry.record, "agent", None)
        if agent is not None:
            video = replace(entry.record, agent=f"{agent}.video")  # type: ignore[call-arg]
            entries.append(entry._replace(id=entry.id + 5000, at=entry.at + 0.01, record=video))
    both = [one for one in verdicts(entries) if one.node == "bob"]
    assert [one.agent for one in both] == [ICE, f"{ICE}.video"]
    assert [one.answer_to_media for one in both] == [pytest.approx(0.091, abs=0.001)] * 2
    assert verdict(entries, "bob").agent == ICE


def test_a_way_that_bundling_made_needless_is_no_call_without_a_path() -> None:
    entries = told("reflexive")
    first = next(e for e in entries if isinstance(e.record, CandidateGathered) and e.node == "alice")
    assert isinstance(first.record, CandidateGathered)
    spare = replace(first.record, agent=f"{ICE}.video")
    assert len(verdicts([*entries, first._replace(id=9000, record=spare)])) == 2


def test_a_prflx_peer_is_given_the_type_its_owner_announced() -> None:
    bob = verdict(told("relayed_udp"), "bob")
    assert bob.remote is not None
    assert bob.remote.type == "srflx"


# --- why not better -------------------------------------------------------------------------------------
def why(network: str, node: str = "alice") -> list[str]:
    return [str(reason) for reason in verdict(told(network), node).why_not]


def test_the_best_path_needs_no_excuse() -> None:
    assert why("one_lan") == []


def test_private_networks_do_not_reach_each_other() -> None:
    (line,) = why("reflexive")
    assert line.startswith(
        "192.168.1.20 → 10.0.0.20: private addresses of different networks cannot reach each other ("
    )
    assert "no answer to" in line


def test_a_symmetric_nat_is_proven_by_two_outside_ports() -> None:
    direct, reflexive = why("relayed_udp")
    assert direct.startswith("192.168.1.20 → 10.0.0.20: private addresses")
    assert "the home NAT maps each destination anew (symmetric)" in reflexive
    assert "198.51.100.77:41873" in reflexive
    assert "198.51.100.77:52345" in reflexive


def test_a_symmetric_nat_is_proven_without_the_nats_own_trace() -> None:
    entries = changed(told("relayed_udp"), lambda entry: entry.node in ("alice", "bob", "hq-nat"))
    lines = [str(reason) for reason in verdict(entries).why_not]
    assert "the NAT in front of Alice maps each destination anew (symmetric)" in lines[1]
    assert "the HQ NAT saw 198.51.100.77:52345" in lines[1]


def test_blocked_udp_is_named_with_its_evidence() -> None:
    lines = why("relayed_tcp")
    assert any(
        "Bob has no reflexive candidate" in line and "no answer to 3 requests" in line for line in lines
    )
    bobs = why("relayed_tcp", "bob")
    assert any("UDP does not leave the network of Bob" in line for line in bobs)


def test_relays_do_not_forward_to_private_addresses() -> None:
    assert any("a relay does not forward to private addresses" in line for line in why("relayed_tcp"))


def test_the_agents_own_reason_is_quoted() -> None:
    entries = told("reflexive")
    failed = PairFailed(ICE, 1, "no answer to 7 checks in 8.1 s")
    entries.append(Entry(len(entries) + 1, 12.0, "alice", failed))
    (line,) = [str(reason) for reason in verdict(entries).why_not]
    assert line.endswith("(no answer to 7 checks in 8.1 s)")


def test_a_better_pair_that_worked_is_admitted() -> None:
    entries = told("relayed_udp")
    entries.append(Entry(999, 12.0, "alice", PairSucceeded(ICE, 2, 0.04, Address("198.51.100.77", 52345))))
    assert any(
        "this way works, yet the controlling side chose another" in str(r) for r in verdict(entries).why_not
    )


def test_hosts_of_one_network_that_cannot_talk_are_told_apart_from_foreign_ones() -> None:
    story = CallStory("one_lan")
    story.works = lambda who, mine, theirs: (mine.type, theirs.type) == ("relay", "relay")  # type: ignore[method-assign]
    story.stop_checks_at = 99.0
    entries = changed(story.tell().entries(), lambda entry: not isinstance(entry.record, PairSelected))
    reasons = [str(reason) for reason in verdict(entries).why_not]
    assert any("a host firewall or client isolation" in reason for reason in reasons)


# --- classes --------------------------------------------------------------------------------------------
HOST = CandidateInfo("host", "udp", Address("192.168.1.20", 1), 1, "1")
SRFLX = CandidateInfo("srflx", "udp", Address(HQ_NAT, 1), 1, "2")


def test_the_class_of_a_pair_is_its_worse_candidates() -> None:
    assert pair_class(HOST, HOST) is PathClass.DIRECT
    assert pair_class(HOST, SRFLX) is PathClass.REFLEXIVE
    assert pair_class(relay(1), SRFLX) is PathClass.RELAY_UDP
    assert pair_class(relay(1), relay(2, "tcp")) is PathClass.RELAY_TCP
    assert candidate_class(replace(relay(1), relay_transport="tls")) is PathClass.RELAY_TLS
    assert candidate_class(replace(HOST, type="prflx")) is PathClass.REFLEXIVE


def test_a_host_that_is_seen_elsewhere_is_reflexive() -> None:
    assert pair_class(HOST, HOST, mapped=Address(HQ_NAT, 7)) is PathClass.REFLEXIVE
    assert pair_class(HOST, HOST, mapped=HOST.address) is PathClass.DIRECT


def test_classes_rank_from_direct_to_none() -> None:
    assert [path.rank for path in PathClass] == list(range(6))
    assert [path.relayed for path in PathClass] == [False, False, True, True, True, False]


def test_the_relays_own_record_tells_whose_relay_it_is() -> None:
    entries = told("relayed_tcp")
    assert any(isinstance(entry.record, AllocationCreated) for entry in entries)
    gathered = [e for e in entries if isinstance(e.record, CandidateGathered) and e.node == "bob"]
    assert [e.record.candidate.type for e in gathered if isinstance(e.record, CandidateGathered)] == [
        "host",
        "relay",
    ]
    assert verdict(entries).path is PathClass.RELAY_TCP


def test_a_pair_whose_remote_end_was_heard_before_it_was_announced_is_what_the_announcement_says() -> None:
    """A check overtakes the answer that lists its sender, so the pair forms with a peer-reflexive candidate."""
    early = []
    for entry in view_of(told("one_lan"), "alice"):
        if isinstance(entry.record, PairFormed) and entry.record.remote.type == "host":
            heard = replace(entry.record.remote, type="prflx")
            entry = entry._replace(record=replace(entry.record, remote=heard))
        early.append(entry)
    one = verdict(early)
    (chosen,) = [pair for pair in one.pairs if pair.selected]
    assert chosen.path is one.path is PathClass.DIRECT
