"""Calls whose keys come from a DTLS handshake on the media path, and who gets on with whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import pytest

from iceway.client import events
from iceway.client.config import PhoneConfig, ServerAddress
from iceway.client.keys import CallKeys
from iceway.core.address import Transport
from iceway.core.errors import UsageError
from iceway.explain.model import PathClass
from iceway.frontend.config import FrontEndConfig, ListenConfig
from iceway.io.selfsigned import media_identity
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson, frontend_config
from iceway.lab.topology import Interface, Link, Topology
from iceway.media.dtls import DtlsIdentity
from iceway.media.files import Source, ToneSource
from iceway.media.keying import Keys
from iceway.trace.entry import Entry
from iceway.trace.records import (
    Malformed,
    MediaKeyed,
    MediaKeyFailed,
    MediaRejected,
    MediaStarted,
    SipReceived,
    SipSent,
)
from iceway.wire.fingerprint import Fingerprint
from tests.e2e.calls import agreed_path, connect, end_of, hum, longest_gap, shares, talk, titles, voice
from tests.e2e.story import Story, every

IN_CLEAR = ServerAddress("frontend.example.test", 5060, Transport.TCP)
CERTIFICATES = {name: media_identity() for name in ("alice", "bob")}


@dataclass(frozen=True, slots=True)
class Impostor(DtlsIdentity):
    """Announces a certificate that it does not have."""

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint("sha-256", bytes(32))


def both(
    topology: Topology,
    keys: tuple[Keys, Keys] = (Keys.BOTH, Keys.BOTH),
    certificates: dict[str, DtlsIdentity] = CERTIFICATES,
    ring_for: float | None = 1.0,
    tones: bool = False,
) -> tuple[VirtualOffice, VirtualPerson, VirtualPerson]:
    office = VirtualOffice(topology, 1)
    people = []
    for name, wanted in zip(("alice", "bob"), keys, strict=True):

        def says(name: str = name) -> Source:
            return ToneSource() if tones else voice(name)

        certificate = None if wanted is Keys.SDES else certificates[name]
        people.append(office.joins(name, says=says, ring_for=ring_for, keys=wanted, certificate=certificate))
    for person in people:
        assert person.waits_for(events.Ready), person.events
    return office, *people


# --- the four paths ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Told:
    path: PathClass
    trace: list[Entry]
    heard: tuple[float, float]


@pytest.fixture(
    scope="module",
    params=[
        (topologies.one_lan, PathClass.DIRECT),
        (topologies.reflexive, PathClass.REFLEXIVE),
        (topologies.relayed_udp, PathClass.RELAY_UDP),
        (topologies.relayed_tcp, PathClass.RELAY_TCP),
    ],
    ids=lambda param: param[0].__name__,
)
def call(request: pytest.FixtureRequest) -> Told:
    topology, path = request.param
    office, alice, bob = both(topology())
    talk(alice, bob)
    heard = shares(alice, bob)
    return Told(path, office.close(), heard)


def test_both_hear_everything_on_the_best_path(call: Told) -> None:
    assert agreed_path(call.trace) is call.path
    assert min(call.heard) >= 0.97, call.heard
    for kind in (Malformed, MediaRejected, MediaKeyFailed):
        assert not every(call.trace, kind)


def test_who_can_do_both_offers_both_and_the_answer_takes_the_handshake(call: Told) -> None:
    """Bob, who answers, opens: he has a path first, and hello and answer travel together (RFC 5763 §5)."""
    offered = (r"^m=audio \d+ RTP/SAVP ", "^a=crypto:1 ", "^a=fingerprint:sha-256 ", "^a=setup:actpass")
    story = Story(call.trace).then("alice", SipSent, start="INVITE", says=offered)
    answered = (r"^m=audio \d+ RTP/SAVP ", "^a=fingerprint:sha-256 ", "^a=setup:active")
    story.then("bob", SipSent, start="SIP/2.0 183", says=answered)
    for answer in every(call.trace, SipReceived, "alice", start="SIP/2.0 ", cseq="INVITE"):
        assert "a=crypto" not in answer.text
    (ours,) = every(call.trace, MediaKeyed, "alice")
    (theirs,) = every(call.trace, MediaKeyed, "bob")
    assert (ours.role, theirs.role) == ("passive", "active")
    assert ours.suite == theirs.suite == "AEAD_AES_128_GCM"


def test_there_are_keys_while_it_rings_and_sound_with_them(call: Told) -> None:
    """The handshake goes the way that ICE finds for the early answer (RFC 5763 §6.2)."""
    for who in ("alice", "bob"):
        story = Story(call.trace).then(who, MediaKeyed)
        direction = "received" if who == "alice" else "sent"
        story.then(who, MediaStarted, direction=direction, early=True)
        story.then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE")


def test_the_offer_that_settles_says_only_what_was_agreed(call: Told) -> None:
    says = ("^a=remote-candidates", "^a=fingerprint:", "^a=setup:actpass")
    settling = Story(call.trace).then("alice", SipSent, start="INVITE", says=says).record
    assert isinstance(settling, SipSent)
    assert "a=crypto" not in settling.text
    story = Story(call.trace).then("bob", SipReceived, start="INVITE", says=says)
    story.then("bob", SipSent, start="SIP/2.0 200", says="^a=setup:active")


# --- who gets on with whom --------------------------------------------------------------------------------
@pytest.mark.parametrize("caller", Keys)
@pytest.mark.parametrize("callee", Keys)
def test_every_pair_of_policies(caller: Keys, callee: Keys) -> None:
    office, alice, bob = both(topologies.one_lan(), (caller, callee))
    if {caller, callee} == {Keys.DTLS, Keys.SDES}:
        alice.calls("bob")
        assert alice.waits_for(events.CallEnded)
        assert "DTLS" in end_of(alice).reason, "the reason comes with the 488"
        office.close()
        return
    talk(alice, bob)
    assert min(shares(alice, bob)) >= 0.97
    trace = office.close()
    by_dtls = Keys.SDES not in (caller, callee)
    assert len(every(trace, MediaKeyed)) == (2 if by_dtls else 0)


def test_keys_in_sdp_do_not_cross_signalling_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    def config() -> FrontEndConfig:
        ports = (ListenConfig(), ListenConfig(address="0.0.0.0:5060", transport="tcp"))
        return frontend_config().model_copy(update={"listen": ports})

    monkeypatch.setattr("iceway.lab.office.frontend_config", config)
    office = VirtualOffice(topologies.one_lan(), 1)
    monkeypatch.setattr("iceway.lab.office.PhoneConfig", partial(PhoneConfig, server=IN_CLEAR))
    bob = office.joins("bob", keys=Keys.SDES, ring_for=1.0)
    assert bob.waits_for(events.Ready), bob.events
    with pytest.raises(UsageError, match="in clear"):
        bob.calls("alice")
    monkeypatch.setattr("iceway.lab.office.PhoneConfig", PhoneConfig)
    alice = office.joins("alice", keys=Keys.SDES)
    assert alice.waits_for(events.Ready), alice.events
    alice.calls("bob")
    assert alice.waits_for(events.CallEnded)
    assert "others on the way could read them" in end_of(alice).reason
    office.close()


# --- bad paths and strangers ------------------------------------------------------------------------------
def test_a_fifth_of_all_packets_lost() -> None:
    topology = topologies.reflexive()
    lossy = replace(
        topology,
        segments=tuple(
            replace(one, link=Link(delay=0.020, loss=0.2)) if one.name == "internet" else one
            for one in topology.segments
        ),
    )
    office, alice, _ = both(lossy, tones=True)
    alice.calls("bob", ToneSource())
    assert office.world.run_until(lambda: len(every(office.world.trace, MediaKeyed)) == 2, 30.0)
    assert alice.waits_for(events.CallAnswered)
    office.world.advance(3.0)
    trace = office.close()
    for who in ("alice", "bob"):
        assert every(trace, MediaStarted, who, direction="received")
    assert not every(trace, MediaKeyFailed)


@pytest.mark.parametrize("impostor", ["alice", "bob"])
def test_a_wrong_fingerprint_means_no_sound_and_is_explained(impostor: str) -> None:
    real = CERTIFICATES[impostor]
    certificates = CERTIFICATES | {impostor: Impostor(real.certificate, real.key)}
    office, alice, bob = both(topologies.reflexive(), certificates=certificates)
    connect(alice, bob)
    office.world.advance(2.0)
    honest = bob if impostor == "alice" else alice
    (silent,) = (event for event in honest.events if isinstance(event, events.CallKeyless))
    assert "fingerprint" in silent.reason
    assert not alice.saw(events.CallEnded), "the call itself goes on"
    alice.hangs_up()
    assert bob.waits_for(events.CallEnded)
    trace = office.close()
    assert not every(trace, MediaStarted)
    assert not any(len(sink.samples) for sink in (*alice.heard, *bob.heard))
    assert "No sound" in titles(trace)
    assert "not the one whose fingerprint it announced" in titles(trace)


def test_a_handshake_that_never_ends_leaves_a_silent_call_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Something on the way lets STUN through and not DTLS."""
    monkeypatch.setattr(CallKeys, "receive", lambda keys, data, source, now: None)
    office, alice, bob = both(topologies.reflexive())
    connect(alice, bob)
    for person in (alice, bob):
        assert person.waits_for(events.CallKeyless, 25.0), person.events
        assert not person.saw(events.CallEnded)
    alice.hangs_up()
    assert bob.waits_for(events.CallEnded)
    trace = office.close()
    assert "did not end within 20 s: nobody answered it" in titles(trace)
    assert not every(trace, MediaStarted)


# --- restarts ---------------------------------------------------------------------------------------------
def test_the_association_outlives_ice_restarts() -> None:
    """Alice gets another address: another path, the same keys (RFC 5763 §6.6)."""
    office, alice, bob = both(topologies.reflexive(), ring_for=0.5, tones=True)
    call = hum(alice, bob)
    office.world.advance(1.0)
    moved_at = office.world.now
    office.world.move("alice", Interface("internet", "198.51.100.90"))
    assert alice.waits_for(events.CallRestored, 5.0), alice.events
    office.world.advance(3.0)
    since = office.world.now - moved_at
    for person in (alice, bob):
        assert longest_gap(person, since) < 1.2
    alice.hangs_up(call)
    assert bob.waits_for(events.CallEnded)
    trace = office.close()
    assert [len(every(trace, MediaKeyed, who)) for who in ("alice", "bob")] == [1, 1]
    assert not every(trace, MediaKeyFailed)
