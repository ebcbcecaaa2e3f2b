"""The four networks of the demo: the path each allows, the sound both ways, and DESIGN's call step by step."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from iceway.client import events
from iceway.explain.model import PathClass
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    CandidateGathered,
    ConnectionOpened,
    CredentialsMinted,
    CredentialsReceived,
    CredentialsRequested,
    Malformed,
    MediaRejected,
    MediaStarted,
    NameResolved,
    PairNominated,
    PairSelected,
    PairSucceeded,
    Registered,
    SipReceived,
    SipSent,
    SipTransactionFailed,
)
from tests.e2e.calls import agreed_path, both_join, shares, talk, voice
from tests.e2e.story import Story, every

EVERYTHING = {("host", None), ("srflx", None), ("relay", "udp"), ("relay", "tcp")}
WITHOUT_UDP = {("host", None), ("relay", "tcp")}


@dataclass(frozen=True)
class Network:
    """What one of the topologies leads one to expect."""

    name: str
    path: PathClass
    alice_outside: bool = True
    bobs_candidates: frozenset[tuple[str, str | None]] = frozenset(EVERYTHING)


NETWORKS = {
    "one_lan": Network("one_lan", PathClass.DIRECT, alice_outside=False),
    "reflexive": Network("reflexive", PathClass.REFLEXIVE),
    "relayed_udp": Network("relayed_udp", PathClass.RELAY_UDP),
    "relayed_tcp": Network("relayed_tcp", PathClass.RELAY_TCP, bobs_candidates=frozenset(WITHOUT_UDP)),
}


@dataclass(frozen=True)
class Told:
    """A finished call: its network, its trace, and what share of the speech arrived at Alice and at Bob."""

    network: Network
    trace: list[Entry]
    heard: tuple[float, float]


@pytest.fixture(scope="module", params=NETWORKS)
def call(request: pytest.FixtureRequest) -> Told:
    network = NETWORKS[request.param]
    office, alice, bob = both_join(topologies.named(network.name))
    talk(alice, bob)
    heard = shares(alice, bob)
    return Told(network, office.close(), heard)


def test_the_path_is_the_best_that_the_network_allows(call: Told) -> None:
    assert agreed_path(call.trace) is call.network.path


def test_both_hear_everything(call: Told) -> None:
    assert min(call.heard) >= 0.97, call.heard


def test_nothing_goes_wrong_on_the_way(call: Told) -> None:
    for kind in (Malformed, SipTransactionFailed, MediaRejected):
        assert not every(call.trace, kind)


# --- DESIGN §1, step by step ----------------------------------------------------------------------------
def test_locate_and_register(call: Told) -> None:
    # Bob is inside: SRV leads him to the front end itself.
    story = Story(call.trace)
    story.then("bob", NameResolved, name="^_sipinternaltls._tcp", answers=lambda held: "frontend" in held[0])
    story.then("bob", ConnectionOpened, transport="tls", peer_names=("frontend.example.test",))
    story.then("bob", SipSent, start="REGISTER sip:example.test")
    story.then("frontend", SipReceived, start="REGISTER").then("frontend", SipSent, start="SIP/2.0 401")
    story.then("bob", SipSent, start="REGISTER", says="^Authorization: Digest")
    story.then("frontend", Registered, aor="bob", outside=False)
    story.then("frontend", SipSent, start="SIP/2.0 200", says="^X-Iceway-Media-Relay-Service: <?sip:")
    story.then("bob", SipReceived, start="SIP/2.0 200").then("bob", Registered)
    assert not every(call.trace, SipReceived, "bob", start="SIP/2.0 200", says="RemoteUser")

    # Alice's name server decides what she is: outside, it leads her to the edge.
    story = Story(call.trace)
    if not call.network.alice_outside:
        story.then("alice", NameResolved, name="^_sipinternaltls", answers=lambda held: "frontend" in held[0])
        story.then("alice", SipSent, start="REGISTER").then(
            "frontend", Registered, aor="alice", outside=False
        )
        story.never("edge", SipReceived, start="REGISTER")
        return
    story.then("alice", NameResolved, name="^_sip._tls", answers=lambda held: "443 edge" in held[0])
    story.then("alice", ConnectionOpened, transport="tls", peer_names=("edge.example.test",))
    story.then("alice", SipSent, start="REGISTER")
    story.then("edge", SipReceived, start="REGISTER")
    story.then("edge", SipSent, start="REGISTER", says=r"^Path: <sip:\S+@edge.example.test:443;.*ob>")
    story.then("frontend", SipSent, start="SIP/2.0 401").then("alice", SipReceived, start="SIP/2.0 401")
    story.then("alice", SipSent, start="REGISTER", says="^Authorization: Digest")
    story.then("frontend", Registered, aor="alice", outside=True, path=lambda held: "edge" in held[0])
    story.then(
        "frontend", SipSent, start="SIP/2.0 200", says=("^ms-user-logon-data: RemoteUser", "Relay-Service")
    )
    story.then("edge", SipSent, start="SIP/2.0 200")
    story.then("alice", SipReceived, start="SIP/2.0 200", says=("RemoteUser", "Relay-Service"))


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_relay_credentials(call: Told, who: str) -> None:
    outside = who == "alice" and call.network.alice_outside
    location = "internet" if outside else "intranet"
    story = Story(call.trace).then(who, Registered)
    story.then(who, CredentialsRequested, identity=f"sip:{who}@", location=location, duration=8 * 3600)
    story.then(who, SipSent, start="SERVICE", says=(rf"<location>{location}", "<duration>480<"))
    if outside:
        story.then("edge", SipReceived, start="SERVICE").then("edge", SipSent, start="SERVICE")
    asked = story.then("frontend", SipReceived, start="SERVICE", says=f"^From: .*sip:{who}@").record
    assert isinstance(asked, SipReceived)
    # The front end vouches for whom it has authenticated; the edge believes its certificate.
    story.then("frontend", SipSent, start="SERVICE", says=f"sip:{who}@example.test")
    story.then("edge", SipReceived, start="SERVICE", transport="tls")
    minted = story.then("edge", CredentialsMinted).record
    assert isinstance(minted, CredentialsMinted)
    assert who not in minted.user_id  # opaque
    story.then("edge", SipSent, start="SIP/2.0 200").then("frontend", SipReceived, start="SIP/2.0 200")
    story.then("frontend", SipSent, start="SIP/2.0 200", call_id=asked.call_id)
    story.then(
        who, CredentialsReceived, host="av.example.test", udp_port=3478, tcp_port=3478, duration=8 * 3600
    )
    for record in every(call.trace, SipSent, says="<password>"):
        assert "<password>[hidden]</password>" in record.text


def test_gathering_and_the_offer(call: Told) -> None:
    story = Story(call.trace).then("alice", CredentialsReceived)
    story.then("alice", CandidateGathered, candidate=lambda held: held.type == "host")
    for kind in ("srflx", "relay"):
        story.then("alice", CandidateGathered, candidate=lambda held, kind=kind: held.type == kind)
    story.then("alice", CallState, state="trying")
    story.then(
        "alice",
        SipSent,
        start="INVITE sip:bob@",
        says=(
            r"^a=candidate:\S+ 1 UDP \d+ \S+ \d+ typ host",
            "typ srflx raddr",
            "typ relay raddr",
            "^a=ice-ufrag",
        ),
    )
    assert gathered(call.trace, "alice") == EVERYTHING
    assert gathered(call.trace, "bob") == call.network.bobs_candidates


def test_ringing_with_candidates_and_checks(call: Told) -> None:
    story = Story(call.trace).then("bob", SipReceived, start="INVITE", says="a=candidate")
    bobs_checks = story.meanwhile()  # he knows Alice's candidates, and she may learn of his from his checks
    story.then("bob", SipSent, start="SIP/2.0 180").then("bob", CallState, state="ringing")
    kinds = tuple(f"typ {kind}" for kind, _ in call.network.bobs_candidates)
    story.then("bob", SipSent, start="SIP/2.0 183", says=("^Require: .*100rel", "^RSeq: [0-9]+", *kinds))
    story.then("alice", SipReceived, start="SIP/2.0 183", says="a=candidate")
    alices_checks = story.meanwhile()
    story.then("alice", SipSent, start="PRACK", says="^RAck: [0-9]+ [0-9]+ INVITE")
    story.then("bob", SipReceived, start="PRACK").then("bob", SipSent, start="SIP/2.0 200", cseq="PRACK")
    story.then("alice", SipReceived, start="SIP/2.0 200", cseq="PRACK")
    story.then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE")
    for who, checks in (("alice", alices_checks), ("bob", bobs_checks)):
        checks.then(who, PairSucceeded).then(who, PairSelected)
        checks.then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE")


def test_sound_before_the_answer(call: Told) -> None:
    story = Story(call.trace).then("bob", MediaStarted, direction="sent", early=True)
    story.then("alice", MediaStarted, direction="received", early=True)
    story.then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE").then("alice", SipReceived, cseq="INVITE")
    story.then("alice", MediaStarted, direction="sent", early=False)
    story.then("bob", MediaStarted, direction="received", early=False)


def test_pick_up_settle_and_the_end(call: Told) -> None:
    story = Story(call.trace).then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE")
    story.then("alice", SipReceived, start="SIP/2.0 200", cseq="INVITE").then("alice", SipSent, start="ACK")
    story.then("alice", CallState, state="confirmed")
    bobs = story.meanwhile().then("bob", SipReceived, start="ACK").then("bob", CallState, state="confirmed")
    # None of the four paths is that of the default addresses, which are the relay's.
    story.then("alice", SipSent, start="INVITE", says=r"^a=remote-candidates:1 \S+ \d+")
    bobs.then("bob", SipReceived, start="INVITE", says="a=remote-candidates")
    bobs.then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE", says="^a=candidate")
    bobs.then("bob", CallState, state="settled")
    story.then("alice", SipReceived, start="SIP/2.0 200", cseq="INVITE").then("alice", SipSent, start="ACK")
    story.then("alice", CallState, state="settled")
    bobs.then("bob", SipReceived, start="ACK")
    story.then("alice", SipSent, start="BYE").then("alice", CallState, state="ended", reason="hung up here")
    story.then("bob", SipReceived, start="BYE").then("bob", SipSent, start="SIP/2.0 200", cseq="BYE")
    story.then("bob", CallState, state="ended").then("alice", SipReceived, start="SIP/2.0 200", cseq="BYE")
    story.never("edge", CallState)
    for who in ("alice", "bob"):
        nominated = every(call.trace, PairNominated, who)
        selected = every(call.trace, PairSelected, who, early=False)
        assert nominated
        assert {one.pair for one in selected} == {nominated[-1].pair}


def test_the_settling_names_the_selected_pair(call: Told) -> None:
    """RFC 8839 §4.4.1.2.2: the offer's candidate and remote candidate are the pair that both selected."""
    offer = Story(call.trace).then("alice", SipSent, start="INVITE", says="a=remote-candidates").record
    assert isinstance(offer, SipSent)
    for one in every(call.trace, PairSelected, "alice", early=False):
        assert f"a=remote-candidates:1 {one.remote.address.ip} {one.remote.address.port}" in offer.text
        assert f" {one.local.address.ip} {one.local.address.port} typ " in offer.text
        assert offer.text.count("a=candidate:") == 1


def test_defaults_that_were_right_need_no_settling() -> None:
    """Two who only use relays end on the relays that their default addresses named."""
    office = VirtualOffice(topologies.reflexive(), 1)
    alice = office.joins("alice", relay_only=True)
    bob = office.joins("bob", says=lambda: voice("bob"), ring_for=1.0, relay_only=True)
    assert alice.waits_for(events.Ready)
    assert bob.waits_for(events.Ready)
    talk(alice, bob)
    assert min(shares(alice, bob)) >= 0.97
    trace = office.close()
    assert agreed_path(trace) is PathClass.RELAY_UDP
    assert gathered(trace, "alice") == {("relay", "udp"), ("relay", "tcp")}
    story = Story(trace).then("alice", CallState, state="confirmed")
    story.meanwhile().never("alice", SipSent, start="INVITE")
    story.then("alice", CallState, state="settled")
    assert every(trace, CallState, "bob", state="settled")
    for sent in every(trace, SipSent, "alice", start="INVITE"):
        assert "192.168.1.20" not in sent.text.partition("\r\n\r\n")[2], (
            "who wants only relays says no address"
        )


def gathered(trace: list[Entry], who: str) -> set[tuple[str, str | None]]:
    """What came of asking servers; what checks find later is peer-reflexive."""
    found = [record.candidate for record in every(trace, CandidateGathered, who)]
    return {(one.type, one.relay_transport) for one in found if one.type != "prflx"}
