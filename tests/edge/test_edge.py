"""The edge as one machine: what it opens, what it needs, how its keys roll over."""

from __future__ import annotations

from random import Random

import pytest

from iceway.core.address import Address
from iceway.core.errors import EnvironmentFailure
from iceway.core.machine import AddressesChanged
from iceway.edge.authenticator import TokenAuthenticator
from iceway.edge.config import EdgeConfig, RelaySection
from iceway.edge.credentials import KeyRing, TokenKeys
from iceway.edge.edge import Edge
from iceway.trace.records import CredentialsMinted, Started
from iceway.turn.auth import Accepted, Rejected
from iceway.wire import mras, stun
from tests.edge.test_mras_service import asks, wish
from tests.sip.bench import NOON, Bench

POOL, NEXT = TokenKeys.derive(b"pool"), TokenKeys.derive(b"next year's pool")


def edge(relay: RelaySection | None = None) -> tuple[Edge, Bench]:
    config = EdgeConfig(
        name="edge.example.test",
        domain="example.test",
        frontend="10.0.0.2",
        frontend_name="fe.example.test",
        relay=relay or RelaySection(),
    )
    machine = Edge(config, KeyRing(POOL), Random(1))
    return machine, Bench(machine, lambda _: "connection refused", ip="198.51.100.1")


def test_everything_opens_at_the_start() -> None:
    machine, bench = edge()
    bench.give(AddressesChanged(("198.51.100.1",)))
    machine.start(0.0)
    bench.settle()
    ports = sorted(listen.local.port for listen in bench.listeners.values())
    assert ports == [3478, 5061, 5062, 5349]
    tls = {listen.local.port: listen.tls for listen in bench.listeners.values()}
    assert tls[3478] is None
    assert tls[5062] is not None
    assert tls[5062].require_client_certificate
    assert [address.port for address in bench.udp.values()] == [3478]
    assert bench.seen(Started) == [Started("edge", bench.seen(Started)[0].version, "edge.example.test")]  # type: ignore[attr-defined]
    assert len(bench.events) == 5  # a Listening of each


def test_a_host_without_addresses_needs_a_relay_address() -> None:
    machine, _ = edge()
    with pytest.raises(EnvironmentFailure) as failure:
        machine.start(0.0)
    assert "relay.ip" in failure.value.remedy
    given, _ = edge(RelaySection(ip="192.0.2.5"))
    given.start(0.0)


def test_a_certificate_rolls_over_while_the_edge_runs() -> None:
    machine, bench = edge()
    bench.give(AddressesChanged(("198.51.100.1",)))
    machine.start(0.0)
    bench.settle()
    machine.use_keys(KeyRing(POOL).roll(NEXT, NOON), 1.0)
    frontend = bench.connects("10.0.0.2", listener=str(Address("0.0.0.0", 5062)), names=("fe.example.test",))
    asks(frontend, wish())
    assert mras.parse_response(frontend.hears_response(200).body).credentials
    (minted,) = bench.seen(CredentialsMinted)
    assert isinstance(minted, CredentialsMinted)
    assert minted.key_id == NEXT.label


def test_the_relay_gets_the_key_for_the_text_that_clients_send() -> None:
    minted = KeyRing(POOL).mint("sip:alice@example.test", 3600, NOON)
    authenticator = TokenAuthenticator(KeyRing(POOL))
    answer = authenticator.lookup(minted.username.encode(), "example.test", NOON)
    key = stun.long_term_key(minted.username, "example.test", minted.password)
    assert answer == Accepted(key, minted.user_id, NOON + 3600)


def test_the_relay_tells_honest_clients_why_and_others_nothing() -> None:
    minted = KeyRing(POOL).mint("sip:alice@example.test", 3600, NOON)
    authenticator = TokenAuthenticator(KeyRing(POOL))
    late = authenticator.lookup(minted.username.encode(), "example.test", NOON + 3693)
    assert late == Rejected("credentials expired 93 s ago", "Credentials expired 93 s ago")
    for junk in (b"", b"\xff\xfe", b"alice", minted.username.encode()[:-4] + b"AAA="):
        answer = authenticator.lookup(junk, "example.test", NOON)
        assert isinstance(answer, Rejected)
        assert answer.phrase == "Unauthorized"
    authenticator.ring = KeyRing(NEXT)
    foreign = authenticator.lookup(minted.username.encode(), "example.test", NOON)
    assert isinstance(foreign, Rejected)
    assert foreign.phrase == "Credentials made with a key this edge does not hold"
