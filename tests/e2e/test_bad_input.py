"""Garbage at every door of the office: a record with the reason, the right answer, and the next call works."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from iceway.core.address import Address
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.lab.topologies import DOMAIN, EDGE_INNER, EDGE_OUTER, FRONTEND
from iceway.lab.world.tls import Certificate
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CandidateGathered,
    ConnectionClosed,
    CredentialsMinted,
    CredentialsRefused,
    Malformed,
    SipReceived,
)
from iceway.wire import mras
from tests.e2e.calls import agreed_path, both_join, connect, end_of, shares, talk, titles
from tests.e2e.story import every
from tests.e2e.stranger import Stranger

OUTSIDE, INSIDE = "198.51.100.53", "10.0.0.53"


@dataclass(frozen=True)
class Door:
    """Where to knock, from where, and how: the name to ask for, the certificate to show."""

    node: str
    address: Address
    come_from: str
    tls: str
    certificate: str | None = None


DOORS = {
    "access": Door("edge", Address(EDGE_OUTER, 443), OUTSIDE, f"edge.{DOMAIN}"),
    "mras": Door("edge", Address(EDGE_INNER, 5062), INSIDE, f"edge.{DOMAIN}", f"frontend.{DOMAIN}"),
    "frontend": Door("frontend", Address(FRONTEND, 5061), INSIDE, f"frontend.{DOMAIN}"),
}

GARBAGE = {
    "zeros": bytes(500),
    "http": b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n",
    "line noise": random.Random(1).randbytes(3000),
    "no headers": b"INVITE sip:bob@example.test SIP/2.0\r\n\r\n",
    "no request": b"SIP/2.0 999 Why\r\nCSeq: x\r\n\r\n",
    "negative length": b"OPTIONS sip:example.test SIP/2.0\r\nContent-Length: -5\r\n\r\n",
    "monstrous length": b"OPTIONS sip:example.test SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n",
    "endless line": b"OPTIONS sip:example.test SIP/2.0\r\nSubject: " + b"a" * 200_000,
    "headers without end": b"OPTIONS sip:example.test SIP/2.0\r\n" + b"X: y\r\n" * 20_000,
    "nothing but CRLF": b"\r\n" * 100_000,
}


@dataclass
class Scene:
    office: VirtualOffice
    alice: VirtualPerson
    bob: VirtualPerson

    @property
    def trace(self) -> list[Entry]:
        return self.office.world.trace

    def stranger(self, door: Door) -> Stranger:
        certificate = Certificate((door.certificate,)) if door.certificate else None
        return Stranger(self.office.world, "names", door.come_from, certificate)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """After the test a normal call works, over the registrations made before."""
    scene = Scene(*both_join(topologies.reflexive()))
    yield scene
    talk(scene.alice, scene.bob, seconds=0.5)
    assert agreed_path(scene.office.close()) == "reflexive"


# --- SIP ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("door", DOORS)
def test_garbage_at_sip_doors(scene: Scene, door: str) -> None:
    knocked = DOORS[door]
    stranger = scene.stranger(knocked)
    for what, data in GARBAGE.items():
        before = len(scene.trace)
        stream = stranger.connects(knocked.address, knocked.tls)
        stranger.says(stream, data)
        stranger.was_closed(stream, 40.0)
        seen = scene.trace[before:]
        noticed = every(seen, Malformed, knocked.node, protocol="sip")
        noticed_end = every(
            seen, ConnectionClosed, knocked.node, remote=lambda held: held and held.ip == knocked.come_from
        )
        answered = stranger.mouth.received[stream]
        if what in ("zeros", "line noise"):  # could still become a message, for half a minute
            assert [record.reason for record in noticed_end] == ["a message was not finished in 30 s"]
        elif what != "nothing but CRLF":  # which are keep-alives (RFC 5626 §4.4.1)
            assert noticed, f"{what}: no record; closed: {noticed_end}; answered: {answered[:200]!r}"
            assert all(record.reason for record in noticed)
        assert not answered or answered.startswith((b"SIP/2.0 4", b"\r\n")), f"{what}: {answered[:200]!r}"
    assert "malformed sip message" in titles(scene.trace)


@pytest.mark.parametrize("door", DOORS)
def test_half_a_message_is_waited_for_and_then_given_up(scene: Scene, door: str) -> None:
    knocked = DOORS[door]
    stranger = scene.stranger(knocked)
    stream = stranger.connects(knocked.address, knocked.tls)
    stranger.says(stream, b"OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/TLS ")
    scene.office.world.advance(5.0)
    assert stream not in stranger.mouth.closed, "a slow sender has some seconds"
    assert stranger.was_closed(stream)
    closed = every(
        scene.trace, ConnectionClosed, knocked.node, remote=lambda held: held.ip == knocked.come_from
    )
    assert closed[-1].reason


def test_a_message_in_three_pieces_is_a_message(scene: Scene) -> None:
    door = DOORS["frontend"]
    stranger = scene.stranger(door)
    stream = stranger.connects(door.address, door.tls)
    message = options("frontend")
    for piece in (message[:10], message[10:90], message[90:]):
        stranger.says(stream, piece)
        scene.office.world.advance(0.5)
    assert stranger.heard(stream).startswith(b"SIP/2.0 ")
    assert every(scene.trace, SipReceived, "frontend", start="OPTIONS")


def test_a_request_that_lacks_what_it_needs_is_answered_400(scene: Scene) -> None:
    """RFC 3261 §21.4.1: enough to answer, not enough to work with."""
    door = DOORS["frontend"]
    stranger = scene.stranger(door)
    stream = stranger.connects(door.address, door.tls)
    stranger.says(stream, options("frontend").replace(b"CSeq: 1 OPTIONS", b"CSeq: 1 INVITE"))
    assert stranger.heard(stream).startswith(b"SIP/2.0 400 ")


def test_tls_ports_do_not_mind_what_is_no_tls(scene: Scene) -> None:
    for door in DOORS.values():
        stranger = scene.stranger(door)
        stream = stranger.connects(door.address)
        stranger.says(stream, b"hello, is this SIP?\r\n\r\n")
        assert stranger.was_closed(stream)
        scene.office.world.kill(stranger.name)


def test_nobody_gets_in_through_the_access_edge_unregistered(scene: Scene) -> None:
    """A stranger who speaks proper SIP is challenged, and gets nothing."""
    door = DOORS["access"]
    stranger = scene.stranger(door)
    stream = stranger.connects(door.address, door.tls)
    invite = options("edge").replace(b"OPTIONS sip:edge.example.test", b"INVITE sip:bob@example.test")
    stranger.says(stream, invite.replace(b"1 OPTIONS", b"1 INVITE"))
    assert b"SIP/2.0 407 " in stranger.heard(stream)
    assert not scene.bob.events[1:]


# --- relay credentials ----------------------------------------------------------------------------------
BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;">]>
<request xmlns="http://schemas.microsoft.com/2006/09/sip/mrasp" requestID="1" version="1.0" to="sip:m@example.test"
 from="sip:alice@example.test"><credentialsRequest credentialsRequestID="1"><identity>&c;</identity>
</credentialsRequest></request>"""
HOSTILE = {
    "bomb": BOMB,
    "external": BOMB.replace(b'"lol"', b'SYSTEM "file:///etc/passwd"'),
    "deep": b"<a>" * 20_000,
    "cut": b"<request xmlns='http://schemas.microsoft.com/2006/09/sip/mrasp'",
    "not xml": b"\xff\xfe\x00",
    "empty": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_xml_of_a_user(scene: Scene, what: str) -> None:
    minted = len(every(scene.trace, CredentialsMinted))
    service = scene.office.frontend.media_relay_service
    scene.office.world.call(
        "alice",
        lambda now: scene.alice.phone.user_agent.request_out_of_dialog(
            "SERVICE", service, now, body=HOSTILE[what], content_type=mras.CONTENT_TYPE
        ),
    )
    before = len(scene.trace)
    scene.office.world.advance(2.0)
    assert every(scene.trace, Malformed, "frontend", protocol="mras")
    (answer,) = every(scene.trace[before:], SipReceived, "alice", cseq="SERVICE")
    assert answer.start_line == "SIP/2.0 200 OK"  # [MS-AVEDGEA] refuses in the body
    assert 'reasonPhrase="Request Malformed"' in answer.text
    assert len(every(scene.trace, CredentialsMinted)) == minted


def test_hostile_xml_of_a_front_end(scene: Scene) -> None:
    """Who shows the front end's certificate is believed to be it, and still may not hurt the edge."""
    door = DOORS["mras"]
    stranger = scene.stranger(door)
    for body in HOSTILE.values():
        stream = stranger.connects(door.address, door.tls)
        stranger.says(stream, service_request(body))
        assert b'reasonPhrase="Request Malformed"' in stranger.heard(stream)
    assert len(every(scene.trace, Malformed, "edge", protocol="mras")) == len(HOSTILE)


def test_the_credential_service_wants_the_front_ends_certificate(scene: Scene) -> None:
    door = DOORS["mras"]
    unknown = Stranger(scene.office.world, "names", door.come_from)
    stream = unknown.connects(door.address, door.tls)
    assert unknown.was_closed(stream)
    scene.office.world.kill(unknown.name)
    other = Stranger(scene.office.world, "names", door.come_from, Certificate(("mallory.example.test",)))
    stream = other.connects(door.address, door.tls)
    other.says(stream, service_request(b""))
    assert other.heard(stream).startswith(b"SIP/2.0 403 ")
    assert every(scene.trace, CredentialsRefused, "edge", reason="mallory.example.test")


def test_credentials_for_somebody_else(scene: Scene) -> None:
    wanted = mras.CredentialsRequest("1", "sip:bob@example.test", mras.Location.INTERNET, 480)
    service = scene.office.frontend.media_relay_service
    body = mras.serialize_request(
        mras.MrasRequest(request_id="1", to=service, from_="sip:alice@example.test", credentials=(wanted,))
    )
    minted = len(every(scene.trace, CredentialsMinted))
    scene.office.world.call(
        "alice",
        lambda now: scene.alice.phone.user_agent.request_out_of_dialog(
            "SERVICE", service, now, body=body, content_type=mras.CONTENT_TYPE
        ),
    )
    scene.office.world.advance(2.0)
    assert every(scene.trace, CredentialsRefused, "frontend", reason="asked for credentials of sip:bob")
    assert every(scene.trace, SipReceived, "alice", cseq="SERVICE")[-1].text.count('reasonPhrase="Forbidden"')
    assert len(every(scene.trace, CredentialsMinted)) == minted


# --- relay and media ------------------------------------------------------------------------------------
def noise(seed: int, size: int = 200) -> list[bytes]:
    """Datagrams that look a little like STUN, ChannelData, RTP, or nothing."""
    rng = random.Random(seed)
    heads = [
        b"\x00\x01\x00\x08\x21\x12\xa4\x42",
        b"\x00\x03",
        b"\x01\x01",
        b"\x40\x00\xff\xff",
        b"\x80\x60",
        b"\xff",
        b"",
    ]
    return [rng.choice(heads) + rng.randbytes(rng.randrange(0, size)) for _ in range(300)]


def test_malformed_datagrams_at_the_relay(scene: Scene) -> None:
    stranger = Stranger(scene.office.world, "names", OUTSIDE)
    for data in noise(1):
        stranger.sends(Address(EDGE_OUTER, 3478), data)
    scene.office.world.advance(1.0)
    noticed = every(scene.trace, Malformed, "edge", protocol="stun|turn")
    assert noticed
    assert noticed[0].remote is not None
    assert noticed[0].remote.ip == OUTSIDE


@pytest.mark.parametrize("tls", [None, f"edge.{DOMAIN}"])
def test_malformed_streams_at_the_relay(scene: Scene, tls: str | None) -> None:
    stranger = Stranger(scene.office.world, "names", OUTSIDE)
    address = Address(EDGE_OUTER, 5349 if tls else 3478)
    for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\xff" * 5000, random.Random(2).randbytes(70_000)):
        stream = stranger.connects(address, tls)
        stranger.says(stream, data)
        assert stranger.was_closed(stream), data[:20]
    half = stranger.connects(address, tls)
    stranger.says(half, b"\x00\x03\x00\x10\x21\x12\xa4\x42")
    assert stranger.was_closed(half), "half a message is not waited for without end"
    assert every(scene.trace, Malformed, "edge")


def test_malformed_datagrams_at_a_call() -> None:
    """Noise at the very socket that carries the call's sound: dropped, and every word is heard."""
    office, alice, bob = both_join(topologies.one_lan())
    call = connect(alice, bob)
    stranger = Stranger(office.world, "names", INSIDE)
    sockets = [
        record.candidate.address
        for record in every(office.world.trace, CandidateGathered)
        if record.candidate.type == "host"
    ]
    assert len(sockets) == 2
    for data in noise(3):
        for socket in sockets:
            stranger.sends(socket, data)
        office.world.advance(0.02)
    office.world.advance(2.0)
    alice.hangs_up(call)
    office.world.advance(1.0)
    assert min(shares(alice, bob)) >= 0.97
    assert end_of(bob).answered
    trace = office.close()
    for who in ("alice", "bob"):
        assert every(trace, Malformed, who)


# --- helpers --------------------------------------------------------------------------------------------
def options(server: str) -> bytes:
    return (
        f"OPTIONS sip:{server}.example.test SIP/2.0\r\n"
        "Via: SIP/2.0/TLS 10.0.0.53:5061;branch=z9hG4bKstranger\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:stranger@example.test>;tag=1\r\nTo: <sip:example.test>\r\n"
        "Call-ID: stranger\r\nCSeq: 1 OPTIONS\r\nContact: <sip:stranger@10.0.0.53:5061;transport=tls>\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def service_request(body: bytes) -> bytes:
    head = (
        "SERVICE sip:edge.example.test:5062;transport=tls SIP/2.0\r\n"
        "Via: SIP/2.0/TLS 10.0.0.53:5061;branch=z9hG4bKservice\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:frontend.example.test>;tag=1\r\nTo: <sip:edge.example.test>\r\n"
        "Call-ID: service\r\nCSeq: 1 SERVICE\r\n"
        f"Content-Type: {mras.CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
