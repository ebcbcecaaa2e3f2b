"""The credential service as a conversation over mutual TLS."""

from __future__ import annotations

from random import Random

import pytest

from iceway.core.address import Address
from iceway.edge.credentials import Accepted, KeyRing, TokenKeys
from iceway.edge.mras_service import MrasService, MrasServiceConfig
from iceway.trace.records import CredentialsMinted, CredentialsRefused, Malformed
from iceway.wire import mras
from iceway.wire.mras import CredentialsRequest, Location, MediaRelay, MrasRequest, ReasonPhrase
from tests.sip.bench import NOON, Bench, Peer

ALICE = "sip:alice@example.test"
OUTSIDE = MediaRelay("av.example.test", Location.INTERNET, 3478, 443)
INSIDE = MediaRelay("av.int.example.test", Location.INTRANET, 3478, 3478)
RING = KeyRing(TokenKeys.derive(b"pool"), max_lifetime=8 * 3600)


def service() -> Bench:
    config = MrasServiceConfig(
        Address("10.0.0.1", 5062), ("fe.example.test",), (OUTSIDE, INSIDE), "example.test"
    )
    machine = MrasService(config, RING, Random(1))
    bench = Bench(machine)
    machine.start(0.0)
    bench.settle()
    return bench


def asks(peer: Peer, body: bytes, *, method: str = "SERVICE", content: str = mras.CONTENT_TYPE) -> None:
    peer.says(
        f"{method} sip:edge.example.test:5062;transport=tls SIP/2.0",
        "Via: SIP/2.0/TLS 10.0.0.2;branch=z9hG4bK1",
        "From: <sip:fe.example.test>;tag=f",
        "To: <sip:edge.example.test>",
        "Call-ID: c",
        f"CSeq: 1 {method}",
        "Max-Forwards: 70",
        f"Content-Type: {content}",
        body=body.decode(),
    )


def wish(location: Location | None = Location.INTERNET, minutes: int | None = 480) -> bytes:
    item = CredentialsRequest("7", ALICE, location, minutes)
    return mras.serialize_request(MrasRequest("1", "sip:mras", ALICE, (item,)))


def test_a_trusted_front_end_gets_credentials_for_its_user() -> None:
    bench = service()
    frontend = bench.connects("10.0.0.2", names=("fe.example.test",))
    asks(frontend, wish())
    answer = frontend.hears_response(200)
    assert answer.content_type == mras.CONTENT_TYPE
    response = mras.parse_response(answer.body)
    assert response.reason is ReasonPhrase.OK
    (granted,) = response.credentials
    assert granted.duration == 480
    assert granted.relays == (OUTSIDE,)
    assert granted.realm == "example.test"
    verdict = RING.verify(granted.username, NOON + 60)
    assert isinstance(verdict, Accepted)
    assert verdict.password == granted.password
    (minted,) = bench.seen(CredentialsMinted)
    assert minted == CredentialsMinted(verdict.user_id, RING.current.label, NOON + 8 * 3600)


@pytest.mark.parametrize(
    ("location", "relays"),
    [(Location.INTRANET, (INSIDE,)), (Location.INTERNET, (OUTSIDE,)), (None, (OUTSIDE, INSIDE))],
)
def test_relays_are_listed_by_location(location: Location | None, relays: tuple[MediaRelay, ...]) -> None:
    frontend = service().connects("10.0.0.2", names=("fe.example.test",))
    asks(frontend, wish(location))
    (granted,) = mras.parse_response(frontend.hears_response(200).body).credentials
    assert granted.relays == relays


def test_policy_shortens_and_silence_means_the_default() -> None:
    frontend = service().connects("10.0.0.2", names=("FE.example.test",))
    asks(frontend, wish(minutes=100000))
    (granted,) = mras.parse_response(frontend.hears_response(200).body).credentials
    assert granted.duration == 480
    frontend = service().connects("10.0.0.2", names=("fe.example.test",))
    asks(frontend, wish(minutes=5))
    (granted,) = mras.parse_response(frontend.hears_response(200).body).credentials
    assert granted.duration == 5


@pytest.mark.parametrize("names", [(), ("evil.test",), ("fe.example.test.evil.test",)])
def test_strangers_get_403_and_a_record_says_who(names: tuple[str, ...]) -> None:
    bench = service()
    stranger = bench.connects("10.0.0.66", names=names)
    asks(stranger, wish())
    assert stranger.hears_response(403).body == b""
    (refused,) = bench.seen(CredentialsRefused)
    assert isinstance(refused, CredentialsRefused)
    assert "10.0.0.66" in refused.reason
    assert bench.seen(CredentialsMinted) == []


def test_the_listener_demands_a_client_certificate() -> None:
    (listen,) = service().listeners.values()
    assert listen.tls is not None
    assert listen.tls.require_client_certificate


def test_faults_of_the_body_come_in_a_200() -> None:
    bench = service()
    frontend = bench.connects("10.0.0.2", names=("fe.example.test",))
    asks(frontend, b"<!DOCTYPE x><request/>")
    assert mras.parse_response(frontend.hears_response(200).body).reason is ReasonPhrase.MALFORMED
    assert bench.seen(Malformed)
    frontend = service().connects("10.0.0.2", names=("fe.example.test",))
    asks(frontend, wish().replace(b'version="1.0" to', b'version="9.0" to'))
    assert mras.parse_response(frontend.hears_response(200).body).reason is ReasonPhrase.VERSION_MISMATCH


def test_an_edge_without_an_inner_relay_says_not_supported() -> None:
    config = MrasServiceConfig(Address("10.0.0.1", 5062), ("fe.example.test",), (OUTSIDE,), "example.test")
    machine = MrasService(config, RING, Random(1))
    bench = Bench(machine)
    machine.start(0.0)
    bench.settle()
    frontend = bench.connects("10.0.0.2", names=("fe.example.test",))
    asks(frontend, wish(Location.INTRANET))
    assert mras.parse_response(frontend.hears_response(200).body).reason is ReasonPhrase.NOT_SUPPORTED


def test_other_methods_and_bodies_are_told_what_is_served() -> None:
    frontend = service().connects("10.0.0.2", names=("fe.example.test",))
    asks(frontend, b"", method="INVITE")
    assert "SERVICE" in (frontend.hears_response(405).headers.get("Allow") or "")
    frontend = service().connects("10.0.0.2", names=("fe.example.test",))
    asks(frontend, b"hello", content="text/plain")
    assert frontend.hears_response(415).headers.get("Accept") == mras.CONTENT_TYPE
