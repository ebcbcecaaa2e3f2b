"""Each rule against a trace that breaks its law, and the honest word where no rule knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iceway.core.address import Address
from iceway.explain.findings import Finding, Severity, findings
from iceway.explain.path import verdict
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    CandidateGathered,
    ConnectionClosed,
    ConnectionOpened,
    ConsentLost,
    CredentialsReceived,
    CredentialsRefused,
    GatheringStarted,
    IceStateChanged,
    Malformed,
    MediaKeyFailed,
    MediaRejected,
    MediaStarted,
    MediaSummary,
    NameResolved,
    Note,
    PairNominated,
    PairSelected,
    PairSucceeded,
    Record,
    RelayRefused,
    ServerAnswered,
    ServerRefused,
    ServerUnreachable,
    SipAuthenticationFailed,
    SipReceived,
    SipTransactionFailed,
    StunReceived,
)
from tests.explain.call_story import CALL, ICE, NETWORKS, CallStory, changed, relay, told, view_of

TURN = "turn:av.example.test:3478?transport=udp"
TURN_TCP = "turn:av.example.test:3478?transport=tcp"
HERE, EDGE = Address("192.168.1.20", 50000), Address("198.51.100.2", 3478)


def trace(*said: tuple[str, Record]) -> list[Entry]:
    """Records of nodes, a tenth of a second apart."""
    return [Entry(number, number / 10, node, record) for number, (node, record) in enumerate(said, 1)]


def only(entries: list[Entry], words: str) -> Finding:
    found = [finding for finding in findings(entries) if words in finding.title]
    assert len(found) == 1, [finding.title for finding in findings(entries)]
    assert found[0].remedy
    assert found[0].meaning
    known = {entry.id for entry in entries}
    assert set(found[0].seen) <= known
    return found[0]


# --- relays ---------------------------------------------------------------------------------------------
def refused(code: int, reason: str, detail: str = "") -> list[Entry]:
    challenge = StunReceived("udp", HERE, EDGE, "Allocate", "error", "aa", (("ERROR-CODE", f"{code} x"),))
    return trace(
        ("alice", CredentialsReceived("av.example.test", 3478, 443, 28800.0)),
        ("alice", GatheringStarted(ICE, ("192.168.1.20",), (TURN,))),
        ("alice", challenge),
        ("alice", replace(challenge, transaction_id="bb")),
        ("alice", ServerRefused(ICE, TURN, code, reason, detail)),
    )


def test_expired_credentials_with_how_long_and_how_often() -> None:
    found = only(refused(401, "Credentials expired", "credentials expired 93 s ago"), "expired 93 s ago")
    assert found.severity is Severity.ERROR
    assert found.title == f"No relay for Alice: {TURN} answered 401 twice; the credentials expired 93 s ago"
    assert "clock" in found.meaning
    assert found.seen == (5,)


def test_the_relays_own_cause_is_joined_to_what_the_client_was_told() -> None:
    entries = refused(401, "Unauthorized")
    entries.append(
        Entry(6, 0.6, "edge", RelayRefused(HERE, "udp", "Allocate", 401, "credentials expired 93 s ago", "u"))
    )
    found = only(entries, "expired 93 s ago")
    assert found.seen == (5, 6)


def test_another_edges_key() -> None:
    entries = refused(401, "Unauthorized")
    detail = "made with a key this edge does not hold"
    entries.append(Entry(6, 0.6, "edge", RelayRefused(HERE, "udp", "Allocate", 401, detail, "u")))
    found = only(entries, "key this edge does not hold")
    assert "All edges of a pool must hold the same key" in found.meaning
    assert "certificate with its private key on every edge" in found.remedy


def test_a_clock_that_runs_ahead() -> None:
    detail = "expires too far in the future: a clock is wrong"
    assert "clocks" in only(refused(401, "Unauthorized", detail), "clock is wrong").remedy


def test_an_unexplained_401_is_not_dressed_up() -> None:
    found = only(refused(401, "Unauthorized"), "answered 401 twice: Unauthorized")
    assert "does not say why" in found.meaning


@pytest.mark.parametrize(
    ("code", "words", "severity"),
    [
        (486, "used up its share", Severity.WARNING),
        (508, "no addresses left", Severity.ERROR),
        (442, "442", Severity.WARNING),
    ],
)
def test_other_refusals(code: int, words: str, severity: Severity) -> None:
    assert only(refused(code, "no"), words).severity is severity


def test_the_edges_trace_alone_tells_the_cause() -> None:
    entries = trace(("edge", RelayRefused(HERE, "udp", "Allocate", 401, "credentials expired 2 h ago")))
    assert only(entries, "expired 2 h ago").title.startswith("No relay for A client")


def test_blocked_udp_is_told_from_a_dead_relay() -> None:
    silent = ServerUnreachable(ICE, TURN, "no answer to 7 requests in 39.5 s")
    blocked = trace(("alice", silent), ("alice", ServerAnswered(ICE, TURN_TCP, None, 0.04)))
    assert "firewall blocks UDP in front of Alice" in only(blocked, "firewall blocks UDP").title
    other = ServerAnswered(ICE, "turn:av2.example.test:3478?transport=udp", None, 0.04)
    assert only(trace(("alice", silent), ("alice", other)), "had no answer from").severity is Severity.WARNING
    assert only(trace(("alice", silent)), "reaches no STUN or TURN server at all").severity is Severity.ERROR


def test_blocked_udp_is_seen_before_the_client_gives_up() -> None:
    entries = changed(told("relayed_tcp"), lambda entry: not isinstance(entry.record, ServerUnreachable))
    found = only(entries, "firewall blocks UDP in front of Bob")
    assert "no answer to 3 requests in 1.5 s, still trying when the trace ends" in found.title


def test_no_credentials() -> None:
    entries = trace(("alice", CredentialsRefused("sip:alice@example.test", "504: no edge answered")))
    assert "5062" in only(entries, "got no relay credentials: 504").remedy


def test_gathering_without_any_relay() -> None:
    entries = trace(
        ("alice", GatheringStarted(ICE, ("192.168.1.20",), ())),
        ("alice", CandidateGathered(ICE, CallStory("reflexive").alice.candidates[0])),
    )
    only(entries, "gathered without any relay")


def test_credentials_without_a_relay_candidate() -> None:
    entries = trace(
        ("alice", CredentialsReceived("av.example.test", 3478, 443, 28800.0)),
        ("alice", GatheringStarted(ICE, ("192.168.1.20",), (TURN,))),
        ("alice", CandidateGathered(ICE, CallStory("reflexive").alice.candidates[0])),
    )
    only(entries, "has credentials, but no relay candidate")


def test_a_refused_private_peer_is_normal() -> None:
    entries = told("reflexive")
    entries.append(
        Entry(999, 9.0, "edge", RelayRefused(HERE, "udp", "CreatePermission", 403, "10.0.0.20 is private"))
    )
    assert only(entries, "refused to forward to private").severity is Severity.INFO


# --- signalling -----------------------------------------------------------------------------------------
def test_a_missing_srv_record() -> None:
    entries = trace(
        ("alice", NameResolved("_sip._tls.example.test", "SRV")),
        ("alice", NameResolved("_sips._tcp.example.test", "SRV")),
    )
    found = only(entries, "finds no server in DNS")
    assert found.severity is Severity.ERROR
    assert "_sip._tls.example.test" in found.remedy
    assert found.seen == (1, 2)


def test_one_srv_record_is_enough() -> None:
    entries = trace(
        ("alice", NameResolved("_sips._tcp.example.test", "SRV")),
        ("alice", NameResolved("_sip._tls.example.test", "SRV", ("0 0 443 edge.example.test",))),
    )
    assert findings(entries) == []


def test_a_relays_records_say_nothing_about_the_server_of_calls() -> None:
    missing = trace(
        ("alice", NameResolved("_turn._udp.example.test", "SRV")),
        ("alice", NameResolved("example.test", "NAPTR")),
        ("alice", NameResolved("abc.local", "mDNS", (), "nobody on our links answered")),
    )
    assert not [one for one in findings(missing) if "finds no server" in one.title]
    beside = trace(
        ("alice", NameResolved("_sip._tls.example.test", "SRV")),
        ("alice", NameResolved("_turn._udp.example.test", "SRV", ("0 0 3478 av.example.test",))),
    )
    only(beside, "finds no server in DNS")


def test_a_silent_name_server() -> None:
    entries = trace(("alice", NameResolved("_sip._tls.example.test", "SRV", (), "timed out")))
    assert "name server" in only(entries, "timed out").remedy


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("certificate is for a.test, not b.test", "DNS names"),
        ("certificate not trusted", "CA"),
        ("certificate expired", "clocks"),
        ("client certificate required", "identity"),
    ],
)
def test_certificates(reason: str, word: str) -> None:
    entries = trace(("alice", ConnectionClosed("sip/1", reason, EDGE)))
    found = only(entries, reason)
    assert word in found.meaning + found.remedy


def test_an_edge_that_is_down_and_one_that_took_over() -> None:
    refused = ConnectionClosed("sip/1", "connection refused", EDGE)
    down = only(
        trace(("alice", refused), ("alice", refused)),
        "cannot reach 198.51.100.2:3478: connection refused (2 times)",
    )
    assert down.severity is Severity.ERROR
    other = ConnectionOpened("sip/2", HERE, Address("198.51.100.3", 443), "tls", False)
    assert only(trace(("alice", refused), ("alice", other)), "cannot reach").severity is Severity.WARNING
    back = ConnectionOpened("sip/2", HERE, EDGE, "tls", False)
    assert findings(trace(("alice", refused), ("alice", back))) == []


def test_a_wrong_password_seen_by_the_server() -> None:
    entries = trace(("frontend", SipAuthenticationFailed("alice", EDGE, "wrong password")))
    assert "iceway user password alice" in only(entries, "alice is not let in: wrong password").remedy
    unknown = trace(("frontend", SipAuthenticationFailed("mallory", EDGE, "unknown user")))
    assert "iceway user add mallory" in only(unknown, "mallory").remedy


def test_a_wrong_password_seen_by_the_client_alone() -> None:
    challenge = SipReceived("tls", HERE, EDGE, "SIP/2.0 401 Unauthorized", "c", "1 REGISTER", "")
    again = replace(challenge, cseq="2 REGISTER")
    only(
        trace(("alice", challenge), ("alice", again)),
        "cannot register: 401 Unauthorized, then 401 Unauthorized",
    )
    good = replace(challenge, cseq="2 REGISTER", start_line="SIP/2.0 200 OK")
    assert findings(trace(("alice", challenge), ("alice", good))) == []


@pytest.mark.parametrize(
    ("reason", "next_step"),
    [
        ("404 Not Found", "Check the address"),
        ("480 Temporarily Unavailable", "iceway answer"),
        ("603 Decline", "Nothing, unless"),
        ("500 Server Internal Error", "See the findings about servers"),
    ],
)
def test_a_refused_call_comes_with_what_to_do_about_that_refusal(reason: str, next_step: str) -> None:
    failed = CallState(CALL, "failed", "sip:alice@example.test", "sip:bob@example.test", reason)
    assert next_step in only(trace(("alice", failed)), f"failed: {reason}").remedy


def test_a_call_that_is_made_again_at_once_did_not_fail() -> None:
    def state(call: str, word: str) -> Record:
        reason = "488 Not acceptable here" if word == "failed" else ""
        return CallState(call, word, "sip:alice@a.test", "sip:bob@a.test", reason)

    said = [state("a", "trying"), state("a", "failed"), state("b", "trying"), state("b", "confirmed")]
    entries = trace(*(("alice", record) for record in said))
    only([entry._replace(at=entry.at * 10) for entry in entries], "failed: 488")
    assert findings([entry._replace(at=entry.at / 10) for entry in entries]) == []


def test_unanswered_requests_failed_calls_and_the_programs_own_errors() -> None:
    entries = trace(
        ("alice", SipTransactionFailed("INVITE", CALL, "no answer in 32 s")),
        (
            "alice",
            CallState(
                CALL, "failed", "sip:alice@example.test", "sip:bob@example.test", "408 Request Timeout"
            ),
        ),
        ("edge", Note("error", "cannot listen on 443: permission denied")),
        ("edge", Note("info", "all is well")),
        ("edge", Malformed("STUN", HERE, "length is odd", 21)),
    )
    only(entries, "had no answer to INVITE: no answer in 32 s")
    only(entries, "failed: 408 Request Timeout")
    only(entries, "cannot listen on 443")
    assert only(entries, "dropped 1 malformed STUN message").severity is Severity.INFO
    assert len(findings(entries)) == 4
    assert findings(entries)[-1].severity is Severity.INFO


# --- path and sound -------------------------------------------------------------------------------------
@pytest.mark.parametrize("network", NETWORKS)
def test_a_good_call_has_no_error(network: str) -> None:
    assert Severity.ERROR not in {finding.severity for finding in findings(told(network))}


def test_a_direct_call_is_said_to_be_as_good_as_it_gets() -> None:
    (found,) = findings(told("one_lan"))
    assert found.title == "The call found the best path that its networks allow: direct"


def test_a_symmetric_nat_is_named_when_it_costs_something() -> None:
    found = only(told("relayed_udp"), "Alice is behind a symmetric NAT")
    assert found.severity is Severity.INFO
    assert "198.51.100.77:41873" in found.meaning
    assert not any("symmetric" in finding.title for finding in findings(told("reflexive")))


def without_path(entries: list[Entry]) -> list[Entry]:
    """The same call, but no pair ever worked."""
    gone = (PairSelected, PairSucceeded, PairNominated, MediaStarted, MediaSummary)
    kept = changed(entries, lambda entry: not isinstance(entry.record, gone))
    failed = [
        Entry(9000 + n, 20.0, node, IceStateChanged(ICE, "failed", "no pair works"))
        for n, node in enumerate(("alice", "bob"))
    ]
    kept = changed(
        kept, lambda e: not (isinstance(e.record, IceStateChanged) and e.record.state == "completed")
    )
    return kept + failed


def test_answered_and_no_pair_works() -> None:
    found = next(f for f in findings(without_path(told("relayed_udp"))) if "Alice" in f.title)
    assert found.severity is Severity.ERROR
    assert found.title == "Alice's call was answered, but none of 12 pairs works"
    assert "private addresses of different networks" in found.meaning
    assert "Both sides had a relay" in found.meaning


def test_no_pair_works_for_want_of_a_relay() -> None:
    def no_relay(entry: Entry) -> bool:
        candidate = getattr(entry.record, "candidate", None) or getattr(entry.record, "local", None)
        return getattr(candidate, "type", "") != "relay"

    found = next(
        f for f in findings(changed(without_path(told("relayed_udp")), no_relay)) if "Alice" in f.title
    )
    assert "Alice had no relay candidate" in found.meaning
    assert "Give both sides a relay" in found.remedy


def test_an_unknown_cause_is_admitted() -> None:
    entries = trace(
        ("alice", CandidateGathered(ICE, CallStory("reflexive").alice.candidates[0])),
        ("alice", IceStateChanged(ICE, "failed", "gave up")),
    )
    found = only(entries, "found no path, and the records do not say why")
    assert "'failed' (gave up)" in found.meaning


def test_two_ends_on_different_pairs() -> None:
    entries = [
        entry._replace(record=replace(entry.record, local=relay(49160)))
        if entry.node == "bob" and isinstance(entry.record, PairSelected)
        else entry
        for entry in told("reflexive")
    ]
    assert only(entries, "The two ends chose different paths").severity is Severity.ERROR


def deaf(entries: list[Entry], node: str) -> list[Entry]:
    kept = changed(
        entries,
        lambda e: (
            e.node != node or not isinstance(e.record, MediaStarted) or e.record.direction != "received"
        ),
    )
    return [
        e._replace(record=replace(e.record, packets_received=0))
        if e.node == node and isinstance(e.record, MediaSummary)
        else e
        for e in kept
    ]


def test_one_way_sound() -> None:
    found = only(deaf(told("reflexive"), "bob"), "One-way sound: Bob never heard Alice")
    assert found.severity is Severity.ERROR
    assert "No packet arrived" in found.meaning


def test_one_way_sound_from_the_deaf_ends_trace_alone() -> None:
    only(deaf(view_of(told("reflexive"), "bob"), "bob"), "One-way sound: Bob never heard Alice")


def test_one_way_sound_because_of_keys() -> None:
    entries = deaf(told("reflexive"), "bob")
    entries.append(Entry(999, 5.0, "bob", MediaRejected(CALL, "bad authentication")))
    assert "thrown away: bad authentication" in only(entries, "One-way sound").meaning
    only(entries, "did not play some of what came in: bad authentication")


def test_no_sound_for_want_of_keys() -> None:
    entries = told("reflexive")
    entries.append(Entry(999, 5.0, "bob", MediaKeyFailed(CALL, "the certificate is not the one announced")))
    found = only(entries, "No sound: Bob has no keys for it")
    assert found.severity is Severity.ERROR
    assert found.meaning == "The certificate is not the one announced."
    assert "SDES" in found.remedy


def with_pictures(entries: list[Entry], *, seen: bool = True) -> list[Entry]:
    """Alice shows pictures before anybody speaks; Bob sees them, or not."""
    shown = [Entry(990, 0.4, "alice", MediaStarted(CALL, "sent", "VP8/90000", False, "video"))]
    if seen:
        shown.append(Entry(991, 0.5, "bob", MediaStarted(CALL, "received", "VP8/90000", False, "video")))
    return [*entries, *shown]


def test_pictures_do_not_count_as_sound() -> None:
    only(with_pictures(deaf(told("reflexive"), "bob")), "One-way sound: Bob never heard Alice")
    assert (
        verdict(with_pictures(told("reflexive"))).first_media_at == verdict(told("reflexive")).first_media_at
    )


def test_pictures_that_never_came() -> None:
    found = only(with_pictures(told("reflexive"), seen=False), "Bob never saw Alice's picture")
    assert found.severity is Severity.ERROR


def test_pictures_that_go_one_way_only_are_no_fault() -> None:
    assert findings(with_pictures(told("reflexive"))) == findings(told("reflexive"))
    alone = view_of(with_pictures(told("reflexive")), "alice")
    assert findings(alone) == findings(view_of(told("reflexive"), "alice"))


def test_late_sound() -> None:
    entries = [
        e._replace(at=e.at + 3.0)
        if e.node == "bob" and isinstance(e.record, MediaStarted) and e.record.direction == "received"
        else e
        for e in told("reflexive")
    ]
    found = only(entries, "Bob heard the first sound 3.1 s after the answer")
    assert "round trips" in found.title


def test_lost_consent_and_recovery() -> None:
    entries = told("reflexive")
    entries.append(Entry(998, 7.0, "alice", ConsentLost(ICE, 2, 30.0)))
    assert only(entries, "Alice's path died").severity is Severity.ERROR
    again = next(e for e in entries if e.node == "alice" and isinstance(e.record, PairSelected))
    entries.append(again._replace(id=999, at=8.0))
    assert only(entries, "Alice's path died").severity is Severity.WARNING


def test_heavy_loss() -> None:
    entries = [
        e._replace(record=replace(e.record, packets_lost=40))
        if e.node == "bob" and isinstance(e.record, MediaSummary)
        else e
        for e in told("reflexive")
    ]
    only(entries, "Bob lost 13% of the sound")


def test_gravest_first() -> None:
    entries = deaf(told("relayed_tcp"), "bob")
    severities = [finding.severity for finding in findings(entries)]
    assert severities == sorted(severities, key=list(Severity).index)
    assert len(set(severities)) > 1


def test_a_warning_about_a_connection_that_came_up_later_is_dropped() -> None:
    warning = Note("warning", f"No connection to {EDGE}: connection refused")
    entries = trace(("edge", warning), ("edge", warning))
    assert only(entries, "connection refused (2 times)").severity is Severity.WARNING
    opened = ConnectionOpened("sip/1", HERE, EDGE, "tls", False)
    assert findings(trace(("edge", warning), ("edge", opened))) == []
